"""A token is late: which stage keeps it back? Asked of all stages at once, over streams of their own.

A process that is stopped or gone does not answer in time. One that answers says what it received and computed: twice the
same, with work in hand and no queue, and it is the one; rows that one stage says it computed and the next has not received
are held up between the two.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from node.client_errors import SessionFailed
from node.directory import NodeRecord
from node.errors import NodeError
from node.messages import Failure, Probe, Progress, message_frame, message_of
from node.refusals import FailureCode
from node.route_run import RouteRun
from node.transport import Stream
from node.wire import FrameType
from verification.addresses import Address

Dial = Callable[[NodeRecord], Awaitable[Stream]]
"""Opens a stream to a node, wherever it is now. Raises: PeerError's leaves."""
PROBE_SECONDS = 1.5
LOOKS = 5
AGAIN_SECONDS = 1.0
"""Between two looks: a stage that is at work has moved on by then."""


@dataclass(frozen=True, slots=True)
class Silent:
    """No answer: the process is gone or stopped, or no way leads there."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The stage lives and knows nothing of the session any more."""

    reason: str


Finding = Progress | Silent | Ended


async def diagnose(run: RouteRun, dial: Dial, records: Mapping[Address, NodeRecord]) -> SessionFailed | None:
    """The failure of the stage that holds the session up; None where all are alive and something moves or waits its turn."""
    first = await _look(run, dial, records)
    if (failure := _not_there(run, first)) is not None:
        return failure
    await asyncio.sleep(AGAIN_SECONDS)
    second = await _look(run, dial, records)
    return _not_there(run, second) or _stuck(run, first, second)


async def _look(run: RouteRun, dial: Dial, records: Mapping[Address, NodeRecord]) -> list[Finding]:
    stages = run.opened.route.stages
    asked = [_ask(run, dial, records.get(stage.node), place) for place, stage in enumerate(stages)]
    return list(await asyncio.gather(*asked))


async def _ask(run: RouteRun, dial: Dial, record: NodeRecord | None, stage: int) -> Finding:
    if record is None:
        return Silent("it has left the directory")
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            stream = await dial(record)
            async with stream:
                await stream.send(message_frame(Probe(run.opened.digest, stage), run.opened.route.nonce[:16]))
                frame = await stream.recv()
                answer = message_of(frame) if frame.type is FrameType.CONTROL else None
    except TimeoutError:
        return Silent(f"no answer within {PROBE_SECONDS:g} s")
    except NodeError as error:
        return Silent(str(error))
    match answer:
        case Progress():
            return answer
        case Failure(message=message):
            return Ended(message)
        case _:
            return Silent("an answer that is none")


async def slowest(
    run: RouteRun, dial: Dial, records: Mapping[Address, NodeRecord], pause: float
) -> SessionFailed | None:
    """The stage that has the session's work in hand most of the times that one looks; None where there is none such.

    pause: seconds between two looks, a fraction of what a token takes.
    """
    in_hand: Counter[int] = Counter()
    for _ in range(LOOKS):
        for stage, finding in enumerate(await _look(run, dial, records)):
            in_hand[stage] += isinstance(finding, Progress) and finding.received > finding.computed
        await asyncio.sleep(pause)
    stage, times = in_hand.most_common(1)[0]
    return run.failed(FailureCode.SLOW, "it has become slow", stage) if 2 * times > LOOKS else None


def _not_there(run: RouteRun, findings: Sequence[Finding]) -> SessionFailed | None:
    """The first stage that is silent, or else the first that has dropped the session."""
    for kind in (Silent, Ended):
        for stage, finding in enumerate(findings):
            if isinstance(finding, kind):
                return run.failed(FailureCode.STAGE_LOST, finding.reason, stage)
    return None


def _stuck(run: RouteRun, first: Sequence[Finding], second: Sequence[Finding]) -> SessionFailed | None:
    """The first stage that has had work between two looks, did none of it, and has no queue to blame.

    A stage reads the next rows when it has computed those before: one with work in hand keeps back what it has not received.
    """
    if _places(first) != _places(second):
        return None  # something moves
    for stage, finding in enumerate(second):
        if not isinstance(finding, Progress):
            return None
        if finding.computed < finding.received:
            busy = finding.waiting > 0  # a queue, not a fault
            return None if busy else run.failed(FailureCode.IDLE, "it has work and does not do it", stage)
        if finding.received < run.positions:
            text = "what it computed does not reach the next stage" if stage else "it does not take what it is sent"
            return run.failed(FailureCode.IDLE, text, max(0, stage - 1))
    return run.failed(FailureCode.IDLE, "it has computed the token and keeps it", run.last_stage)


def _places(findings: Sequence[Finding]) -> list[tuple[int, int]]:
    return [(each.received, each.computed) for each in findings if isinstance(each, Progress)]
