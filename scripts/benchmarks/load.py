"""`load`: requests that come whether the network keeps up or not, at half of what it can do, at all of it, and at twice that.

A random Llama of 6 x 512 (context 512, so that the trace's lengths are an eighth of the data set's) over two node processes in
the exact profile, with every setting of node.toml as it comes; one client process with four accounts, whose channels are funded
before anything is measured, and whose first prompts, in every place that there is, fill the nodes' caches with remembered
prefixes, as they are after a day: memory that grows later is a leak. First the capacity, in a closed loop: so many workers that
nothing idles each send the next request of the mix when their last is answered; capacity is the answers' tokens per second over
the mean tokens of an answer. Then some minutes of the highest load that count for nothing: as long as every place is taken for
the first time, the allocator still asks for pages. Then the traces, each as long in time as the others, each on an idle network.

A request is accepted when its session is open, busy when a stage said so and no session was opened, completed when all its tokens
came, and lost in every other case: accepted and not completed, refused for another reason, or silent. Times count from when it
was to arrive, so that a client that is late is no excuse. Goodput is tokens per second that came within the trace's time after
its first fifth, in which an idle network fills up, of completed requests whose first token came within two seconds and whose
further ones took at most 200 ms each on average. Memory is the nodes' resident memory together, a line fitted by least squares
to samples of the 2x phase after its first fifth.
"""

import argparse
import asyncio
import itertools
import math
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil

from benchmarks.load_figures import WARM_UP_SHARE, Outcome, Phase, load_figures, phase_figures
from benchmarks.stage_network import StageNetwork, StagePlan, running_stages
from benchmarks.trace import Request as Arrival
from benchmarks.trace import TraceShape, make_trace
from incentives.errors import ChainError
from incentives.units import ONE
from node.client import Client
from node.client_errors import SessionFailed
from node.errors import NodeError
from node.generation import model_terms, running_client
from node.lifetime import run_loop
from node.model_folder import resolve_model
from node.refusals import FailureCode
from node.reports import Request
from sharding.paging import PAGE_POSITIONS
from sharding.random_model import RandomShape, write_random_model
from sharding.sampling import SamplingParams

STAGES = 2
LOADS = (0.5, 1.0, 2.0)
CLIENT_ACCOUNTS = (6, 7, 8, 9)
CHANNELS_EACH = 16
"""As many sessions as a node lets one client have."""
CHANNEL_FUNDS = ONE
WORKERS = 32
FILLERS = len(CLIENT_ACCOUNTS) * CHANNELS_EACH
"""As many as a node has places."""
FILL_TOKENS = 16
ANSWER_SECONDS = 120.0
RSS_EVERY_SECONDS = 0.25
FILL_SEED = 10**9
SHAPE = RandomShape(
    num_hidden_layers=6, hidden_size=512, intermediate_size=1408, num_attention_heads=8, num_key_value_heads=8,
    vocab_size=4096, max_position_embeddings=512,
)  # fmt: skip

CACHE_BYTES_PER_POSITION = SHAPE.num_hidden_layers // STAGES * SHAPE.num_key_value_heads * 2 * (64 * 2 + 1)
"""On one node: a key and a value per head, of 64 numbers of two bytes with an exponent."""

Say = Callable[[str], None]


def run(arguments: Sequence[str], say: Say) -> dict[str, object]:
    """Measure and return the figures."""
    parser = argparse.ArgumentParser(prog="load")
    parser.add_argument("--seconds", type=float, default=40.0, help="that each trace lasts")
    parser.add_argument("--settle", type=float, default=200.0, help="seconds of the highest load before the traces")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--loads", type=float, nargs="+", default=list(LOADS))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name:
        say("writing the model")
        model = resolve_model(write_random_model(Path(name) / "model", SHAPE), "exact")
        plan = StagePlan(model, STAGES, client_accounts=CLIENT_ACCOUNTS)
        with running_stages(plan, Path(name) / "network") as up:
            return run_loop(_measure(up, model, Path(name), options, say))


async def _measure(
    up: StageNetwork, model: Path, folder: Path, options: argparse.Namespace, say: Say
) -> dict[str, object]:
    pids = [node.pid for node in up.nodes.nodes]
    driver = Driver([psutil.Process(pid) for pid in pids if pid is not None], SHAPE.vocab_size)
    async with _clients(up, model, folder, driver):
        say("opening channels")
        await asyncio.gather(*(_fund(client, driver) for client in driver.clients))
        say("filling the caches")
        await _fill(driver, up.nodes.nodes[0].settings.cache_megabytes << 20)
        capacity = await _capacity(driver, options)
        say(f"capacity: {capacity:.2f} requests/s")
        say(f"settling for {options.settle:.0f} s")
        await driver.open_loop(_trace(max(options.loads) * capacity, options.settle, options.seed + 2))
        phases = {}
        for load in options.loads:
            phases[load] = await driver.open_loop(_trace(load * capacity, options.seconds, options.seed))
            say(f"{load}x: {phase_figures(phases[load])}")
    times = {"seconds": options.seconds, "settled_seconds": options.settle}
    return load_figures(phases) | {"capacity_requests_per_s": round(capacity, 3)} | times


def _trace(rate: float, seconds: float, seed: int) -> Sequence[Arrival]:
    count = max(2, round(rate * seconds) + 1)
    return make_trace(TraceShape(rate, SHAPE.max_position_embeddings, count, seed))


@asynccontextmanager
async def _clients(up: StageNetwork, model: Path, folder: Path, driver: "Driver") -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for number, signer in enumerate(up.clients):
            client = running_client(up.network, model_terms(model), signer, folder / f"client{number}")
            driver.clients.append(await stack.enter_async_context(client))
        yield


async def _fund(client: Client, driver: "Driver") -> None:
    """Open a client's channels: what is measured is serving, not the chain's taking of deposits."""
    session = await client.open(driver.request(Arrival(0.0, 8, 2, 0)))
    try:
        async for _ in session.tokens():
            pass
        await session.finish()
    finally:
        await session.abandon()
    payees = session.run.opened.payees
    channels = [await client.money.take(payees, CHANNEL_FUNDS) for _ in range(CHANNELS_EACH)]
    for channel in channels:
        await client.money.give_back(channel.channel, channel.owing)


async def _fill(driver: "Driver", cache_bytes: int) -> None:
    """Long prompts, until each node remembers as many pages of prefixes as its cache has: what grows after that is a leak."""
    pages = cache_bytes // (CACHE_BYTES_PER_POSITION * PAGE_POSITIONS)
    length = SHAPE.max_position_embeddings - FILL_TOKENS
    count = 2 * (pages // (length // PAGE_POSITIONS) + FILLERS)  # only full pages are remembered; some are told busy
    prompts = (Arrival(0.0, length, FILL_TOKENS, FILL_SEED + number) for number in range(count))
    await driver.closed_loop(prompts, math.inf, FILLERS)


async def _capacity(driver: "Driver", options: argparse.Namespace) -> float:
    """Requests per second with WORKERS at once."""
    mix = make_trace(TraceShape(1.0, SHAPE.max_position_embeddings, 2000, options.seed + 1))
    began, ends = time.perf_counter(), time.perf_counter() + options.seconds
    outcomes = await driver.closed_loop(mix, ends)
    start = began + WARM_UP_SHARE * options.seconds
    tokens = sum(start <= at < ends for each in outcomes for at in each.tokens)
    return tokens / (ends - start) / statistics.fmean(each.max_tokens for each in mix)


class Driver:
    """Sends requests through all clients in turn and watches the nodes' memory."""

    def __init__(self, processes: Sequence[psutil.Process], vocab_size: int) -> None:
        self.clients: list[Client] = []
        self._processes = processes
        self._vocab_size = vocab_size
        self._turn: Iterator[int] = itertools.count()

    def request(self, arrival: Arrival) -> Request:
        """With a prompt that nobody else has: nothing is reused."""
        chance = random.Random(arrival.seed)  # noqa: S311 - to be drawn again
        prompt = tuple(chance.randrange(self._vocab_size) for _ in range(arrival.prompt_tokens))
        return Request(prompt, SamplingParams(1.0, 50, 0.95, arrival.seed), arrival.max_tokens, 10**18)

    async def open_loop(self, trace: Sequence[Arrival]) -> Phase:
        """Every request at its time; returns when all have ended."""
        began = time.perf_counter()
        watching = asyncio.create_task(self._watch_memory(samples := []))
        outcomes = await asyncio.gather(*(self._at(began + arrival.at_seconds, arrival) for arrival in trace))
        watching.cancel()
        return Phase(began, began + trace[-1].at_seconds, tuple(outcomes), tuple(samples))

    async def _at(self, moment: float, arrival: Arrival) -> Outcome:
        await asyncio.sleep(max(0.0, moment - time.perf_counter()))
        return await self._answer(moment, arrival)

    async def closed_loop(self, mix: Iterable[Arrival], ends: float, workers: int = WORKERS) -> list[Outcome]:
        """So many requests at any time until there are no more, none begun after `ends`."""
        waiting, outcomes = iter(mix), list[Outcome]()

        async def work() -> None:
            while time.perf_counter() < ends and (arrival := next(waiting, None)) is not None:
                outcomes.append(await self._answer(time.perf_counter(), arrival))

        await asyncio.gather(*(work() for _ in range(workers)))
        return outcomes

    async def _answer(self, moment: float, arrival: Arrival) -> Outcome:
        outcome = Outcome(arrival.max_tokens, moment)
        client = self.clients[next(self._turn) % len(self.clients)]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._converse(client, self.request(arrival), outcome)
            outcome.end, outcome.reason = "completed", ""
        except SessionFailed as error:
            is_busy = error.code == FailureCode.BUSY and outcome.opened is None
            outcome.end, outcome.reason = "busy" if is_busy else "lost", f"{error.code}: {error.message}"
        except (NodeError, ChainError, TimeoutError) as error:
            outcome.reason = f"{type(error).__name__}: {error}"
        return outcome

    async def _converse(self, client: Client, request: Request, outcome: Outcome) -> None:
        session = await client.open(request)
        outcome.opened = time.perf_counter()
        try:
            async for _ in session.tokens():
                outcome.tokens.append(time.perf_counter())
            await session.finish()
        finally:
            await session.abandon()

    async def _watch_memory(self, samples: list[tuple[float, int]]) -> None:
        while True:
            samples.append((time.perf_counter(), sum(each.memory_info().rss for each in self._processes)))
            await asyncio.sleep(RSS_EVERY_SECONDS)
