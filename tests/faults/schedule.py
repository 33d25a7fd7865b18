"""One run of requests through a world in which things go wrong, and what came of it."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from incentives.errors import IncentivesError
from node.client import Client
from node.client_errors import SessionFailed
from node.errors import NodeError
from node.reports import Report, Request
from tests.faults.network import WIRE_TASKS, Happened
from tests.faults.parts import Parts
from tests.faults.plan import Fault, FaultPlan
from tests.faults.virtual_time import MAIN_TASK, pending_tasks, run_virtual
from tests.faults.world import CLIENT, DEFAULT_SHAPE, Shape, World, running_world

RUN_SECONDS = 1800.0
"""Virtual. The longest that a request may take to an answer or a named error, whatever goes wrong."""
FREE_SECONDS = 300.0
"""Virtual. The longest that a stage may hold on to a session after its client has gone: a stall lasts 120."""
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request came to."""

    tokens: tuple[int, ...]
    """What the client got, one by one."""
    error: Exception | None
    """The named error that ended it, if one did."""
    report: Report | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run came to. Times in virtual seconds."""

    answers: tuple[Answer, ...]
    answered_at: float
    freed_at: float
    holding: tuple[str, ...]
    """Nodes that hold a session long after the end."""
    leaked: tuple[str, ...]
    """Tasks that are left when everything is closed."""
    alarms: tuple[str, ...]
    """Errors that the nodes did not know: what a peer does must never end there."""
    overpaid: tuple[str, ...]
    """Nodes that hold a voucher for more than the client has promised, or promises past what is locked."""
    fired: tuple[Fault, ...]
    trace: tuple[Happened, ...]

    def at(self, what: str) -> float:
        """When something first happened. Raises: StopIteration."""
        return next(each.at for each in self.trace if each.what == what)


def run_schedule(plan: FaultPlan, parts: Parts, requests: Sequence[Request], shape: Shape = DEFAULT_SHAPE) -> Outcome:
    """Run requests side by side under a plan. Raises: Deadlock, OutOfTime, TimeoutError; what no peer may cause."""
    limit = RUN_SECONDS + 2 * FREE_SECONDS
    with _alarms() as alarms:
        return run_virtual(_run(plan, parts, requests, shape, alarms), plan.seed, limit)


async def _run(
    plan: FaultPlan, parts: Parts, requests: Sequence[Request], shape: Shape, alarms: list[str]
) -> Outcome:  # fmt: skip
    loop = asyncio.get_running_loop()
    async with running_world(plan, parts, shape) as world:
        async with asyncio.timeout(RUN_SECONDS):
            answers = await asyncio.gather(*(ask(world.client, each) for each in requests))
        answered_at = loop.time()
        holding = await _until_free(world)
        freed_at = loop.time()
        overpaid = world.overpaid()
    await asyncio.sleep(POLL_SECONDS)
    leaked = pending_tasks(loop, apart_from=(WIRE_TASKS, MAIN_TASK))
    return Outcome(
        tuple(answers), answered_at, freed_at, tuple(holding), tuple(leaked), tuple(alarms), tuple(overpaid),
        tuple(world.faults.fired), tuple(world.faults.trace),
    )  # fmt: skip


async def ask(client: Client, request: Request) -> Answer:
    """Generate to the end, or to the error that ends it."""
    tokens: list[int] = []
    try:
        session = await client.open(request)
        try:
            async for token in session.tokens():
                tokens.append(token)
            return Answer(tuple(tokens), None, await session.finish())
        finally:
            await session.abandon()
    except (NodeError, IncentivesError) as error:
        return Answer(tuple(tokens), error, None)


async def _until_free(world: World) -> list[str]:
    """Wait until no stage holds anything; returns those that still do after FREE_SECONDS."""
    deadline = asyncio.get_running_loop().time() + FREE_SECONDS
    while world.holding() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(POLL_SECONDS)
    return world.holding()


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.heard.append(f"{record.name}: {record.getMessage()} ({error!r})")


@contextmanager
def _alarms() -> Iterator[list[str]]:
    """Everything that is logged as an error."""
    listener = _Listener()
    logging.getLogger().addHandler(listener)
    try:
        yield listener.heard
    finally:
        logging.getLogger().removeHandler(listener)


def complaints(outcome: Outcome, expected: Sequence[tuple[int, ...]]) -> list[str]:
    """What is wrong with an outcome, in words. A good one: each request has its text, or a part of it and a named error."""
    found = [text for answer, right in zip(outcome.answers, expected, strict=True) for text in _wrong(answer, right)]
    if outcome.holding:
        found.append(f"{', '.join(outcome.holding)} hold sessions {FREE_SECONDS:g} s after the end")
    found += [f"money: {each}" for each in outcome.overpaid]
    found += [f"a task is left: {each}" for each in outcome.leaked]
    return found + [f"an unexpected error: {each}" for each in outcome.alarms]


def _wrong(answer: Answer, right: tuple[int, ...]) -> Iterator[str]:
    if answer.tokens != right[: len(answer.tokens)]:
        yield f"wrong tokens: {answer.tokens} instead of {right}"
    if answer.error is None and answer.tokens != right:
        yield f"{len(answer.tokens)} of {len(right)} tokens, and no error"
    if isinstance(answer.error, SessionFailed) and answer.error.generated != right[: len(answer.error.generated)]:
        yield f"the error hands over {answer.error.generated} instead of {right}"


def unrecovered(outcome: Outcome, shape: Shape) -> list[str]:
    """What should not have ended although each span had a replica that nothing went wrong with, and the client was sound."""
    if not _recoverable(outcome.fired, shape):
        return []
    ended = [str(answer.error) for answer in outcome.answers if answer.error is not None]
    stale = [
        f"the error hands over {answer.error.generated}, the client had {answer.tokens}"
        for answer in outcome.answers
        if isinstance(answer.error, SessionFailed) and answer.error.generated != answer.tokens
    ]
    return [f"ended with a sound replica left: {each}" for each in ended] + stale


def _recoverable(fired: Sequence[Fault], shape: Shape) -> bool:
    touched = {fault.source for fault in fired} | {fault.target for fault in fired}
    sound = all(set(nodes) - touched for nodes in shape.ring[1:])
    return sound and not any(fault.source == CLIENT and fault.kind.is_of_a_process for fault in fired)
