"""`failover`: node processes are killed and stopped at every stage and in every phase of an answer; the text must not change.

Three stages with a spare each, the shipped exact model, six processes that a supervisor starts again. Every round draws from
its seed the stage, the phase, the kind of fault (SIGKILL, or SIGSTOP and SIGCONT after the answer) and the request (greedy or
sampled). The text is compared with the one of an undisturbed run of the same request. A recovery is timed from the fault to the
next token at the client.
"""

import argparse
import asyncio
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from incentives.signing import LocalSigner
from node.client import Client
from node.client_session import ClientSession
from node.demo import CLIENT_ACCOUNT, bring_up
from node.demo_nodes import DemoNodes, DemoPlan, node_processes
from node.devchain.local import LocalChain
from node.generation import ClientModel, running_client
from node.keys import running_pid
from node.lifetime import run_loop
from node.model_folder import resolve_model
from node.network import Network
from node.reports import Request
from sharding.sampling import SamplingParams

STAGES, SPARES = 3, 3
TOKENS, PROMPT_TOKENS = 40, 200
PHASES = ("prefill", "first", "middle", "last", "voucher", "recovery")
SPREAD_SECONDS = 0.05
"""Of the moment of the fault within its phase."""
STOPPED_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """One round, drawn from its seed."""

    seed: int
    stage: int
    phase: str
    stops: bool
    sampling: SamplingParams
    prompt: tuple[int, ...]
    delay: float

    @classmethod
    def draw(cls, seed: int, vocabulary: int) -> "Plan":
        dice = random.Random(seed)  # noqa: S311 - to be drawn again
        return cls(
            seed,
            stage=seed % STAGES,  # every pair of stage and phase comes equally often
            phase=PHASES[(seed // STAGES) % len(PHASES)],
            stops=dice.random() < STOPPED_SHARE,
            sampling=SamplingParams(0.0, 0, 1.0, 0) if dice.random() < 0.5 else SamplingParams(1.0, 50, 0.95, seed),
            prompt=tuple(dice.randrange(vocabulary) for _ in range(PROMPT_TOKENS)),
            delay=dice.random() * SPREAD_SECONDS,
        )

    def __str__(self) -> str:
        return f"seed {self.seed}: stage {self.stage} {'stopped' if self.stops else 'killed'}, {self.phase}"


@dataclass(slots=True)
class Outcome:
    """What came of a round."""

    plan: Plan
    identical: bool = False
    seconds: float | None = None
    replayed: int = 0
    recoveries: int = 0
    error: str = ""


def run(arguments: Sequence[str], say: Callable[[str], None]) -> dict[str, object]:
    """Measure and return the figures."""
    parser = argparse.ArgumentParser(prog="failover")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the first round; later ones count up")
    options = parser.parse_args(arguments)
    plan = DemoPlan("", TOKENS, STAGES, "auto", spares=SPARES, restart=True)
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name, LocalChain(plan.chain) as chain:
        folder = Path(name)
        with node_processes(plan, folder, chain.url) as nodes:
            network = bring_up(folder, chain.url, nodes)
            outcomes = run_loop(_rounds(network, nodes, folder, plan, options, say))
    return _figures(outcomes)


async def _rounds(
    network: Network,
    nodes: DemoNodes,
    folder: Path,
    plan: DemoPlan,
    options: argparse.Namespace,
    say: Callable[[str], None],
) -> list[Outcome]:
    model = ClientModel.from_folder(plan.model, resolve_model(plan.model, plan.profile))
    signer = LocalSigner.dev_account(CLIENT_ACCOUNT, network.chain.chain_id)
    outcomes = []
    async with running_client(network, model.terms, signer, folder / "client") as client:
        for seed in range(options.seed, options.seed + options.rounds):
            drawn = Plan.draw(seed, model.terms.vocab_size)
            await _all_serve(nodes)
            outcome = await _Round(client, nodes, drawn).run()
            outcomes.append(outcome)
            took = "no recovery" if outcome.seconds is None else f"{outcome.seconds:.2f} s, {outcome.replayed} replayed"
            say(f"{drawn}: {'identical' if outcome.identical else 'DIFFERENT ' + outcome.error}, {took}")
    return outcomes


async def _all_serve(nodes: DemoNodes) -> None:
    async with asyncio.timeout(60):
        while any(node.pid is None for node in nodes.nodes):
            await asyncio.sleep(0.05)


class _Round:
    """One answer with a fault in it."""

    def __init__(self, client: Client, nodes: DemoNodes, plan: Plan) -> None:
        self._client = client
        self._nodes = nodes
        self._plan = plan
        self._hit: list[int] = []
        self._hit_at: float | None = None

    async def run(self) -> Outcome:
        request = Request(self._plan.prompt, self._plan.sampling, TOKENS, 10**18)
        right = await self._undisturbed(request)
        outcome = Outcome(self._plan)
        self._client.planner.shunned._until.clear()
        session = await self._client.open(request)
        try:
            outcome.identical = await self._disturbed(session, outcome) == right
            report = await session.finish()
            outcome.replayed = sum(each.replayed for each in report.recoveries)
            outcome.recoveries = len(report.recoveries)
        except Exception as error:
            outcome.error = f"{type(error).__name__}: {error}"
        finally:
            await session.abandon()
            for pid in self._hit:
                _signal(pid, signal.SIGCONT)
        return outcome

    async def _undisturbed(self, request: Request) -> tuple[int, ...]:
        session = await self._client.open(request)
        tokens = tuple([token async for token in session.tokens()])
        await session.finish()
        return tokens

    async def _disturbed(self, session: ClientSession, outcome: Outcome) -> tuple[int, ...]:
        plan, tokens = self._plan, list[int]()
        at = {"first": 1, "middle": TOKENS // 2, "last": TOKENS - 2, "recovery": TOKENS // 3}.get(plan.phase)
        if plan.phase == "prefill":
            asyncio.get_running_loop().call_later(plan.delay, self._strike, session, plan.stage)
        if plan.phase == "voucher":
            self._strike_at_voucher(session)
        if plan.phase == "recovery":
            self._strike_at_recovery(session)
        async for token in session.tokens():
            if self._hit_at is not None and outcome.seconds is None and session._recoveries:
                outcome.seconds = time.perf_counter() - self._hit_at
            tokens.append(token)
            if len(tokens) == at:
                self._strike(session, plan.stage)
        return tuple(tokens)

    def _strike(self, session: ClientSession, stage: int) -> None:
        owner = session.run.opened.route.stages[stage].node
        node = next(each for each in self._nodes.nodes if each.owner.address == owner)
        pid = running_pid(node.settings.data_dir)
        if pid is None:
            return
        self._hit_at = self._hit_at or time.perf_counter()
        self._hit.append(pid)
        _signal(pid, signal.SIGSTOP if self._plan.stops else signal.SIGKILL)

    def _strike_at_voucher(self, session: ClientSession) -> None:
        """Between signing a voucher and its arrival at all stages, somewhere in the second half."""
        run, honest = session.run, session.run._send_message

        async def send(message: Any) -> None:
            if len(session.generated) > TOKENS // 2 and not self._hit:
                asyncio.get_running_loop().call_later(self._plan.delay / 50, self._strike, session, self._plan.stage)
            await honest(message)

        run._send_message = send  # type: ignore[method-assign]

    def _strike_at_recovery(self, session: ClientSession) -> None:
        """A stage of the new route is lost while it is being brought up to date."""
        opener, honest = self._client, self._client.reopen
        other = (self._plan.stage + 1 + self._plan.seed % (STAGES - 1)) % STAGES

        async def reopen(lost: ClientSession, failure: Any) -> Any:
            opener.reopen = honest  # type: ignore[method-assign]
            made = await honest(lost, failure)
            owner = made.opened.route.stages[other].node
            node = next(each for each in self._nodes.nodes if each.owner.address == owner)
            if (pid := running_pid(node.settings.data_dir)) is not None:
                self._hit.append(pid)
                asyncio.get_running_loop().call_later(self._plan.delay / 5, _signal, pid, signal.SIGKILL)
            return made

        opener.reopen = reopen  # type: ignore[method-assign]


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _percentile(values: Sequence[float], percent: int) -> float | None:
    if not values:
        return None
    order = sorted(values)
    return round(order[min(len(order) - 1, percent * len(order) // 100)], 3)


def _figures(outcomes: Sequence[Outcome]) -> dict[str, object]:
    crashed = [each.seconds for each in outcomes if each.seconds is not None and not each.plan.stops]
    stopped = [each.seconds for each in outcomes if each.seconds is not None and each.plan.stops]
    return {
        "kills": len(outcomes),
        "identical": sum(each.identical for each in outcomes),
        "p50_s": _percentile(crashed, 50),
        "p95_s": _percentile(crashed, 95),
        "stopped_p50_s": _percentile(stopped, 50),
        "stopped_p95_s": _percentile(stopped, 95),
        "stopped": len([each for each in outcomes if each.plan.stops]),
        "recovered": sum(bool(each.recoveries) for each in outcomes),
        "replayed_tokens": {
            "median": statistics.median(each.replayed for each in outcomes),
            "most": max(each.replayed for each in outcomes),
        },
        "failed_seeds": [each.plan.seed for each in outcomes if not each.identical],
        "errors": [f"{each.plan}: {each.error}" for each in outcomes if each.error][:10],
    }
