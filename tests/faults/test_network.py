"""Each fault of a link does what it says, once, where it was planned; all else arrives as it was sent, in order, in its time."""

import pytest

from node.errors import NodeError, PeerClosed, PeerUnreachable, ProtocolViolation
from node.wire import Frame
from tests.faults.plan import Fault, Kind
from tests.faults.two_nodes import FIRST, FIRST_BACK, LATENCY, end_of, heard, now, pair, send, text
from tests.faults.virtual_time import run_virtual


async def run_frames(*faults: Fault, count: int = 4) -> list[int]:
    """What arrives of so many frames from left to right."""
    async with pair(*faults) as two:
        await send(two.left, count)
        return await heard(two.right)


@pytest.mark.parametrize(
    ("kind", "nth", "arrives"),
    [
        (Kind.DROP, 0, [1, 2, 3]),
        (Kind.DROP, 3, [0, 1, 2]),
        (Kind.DUPLICATE, 1, [0, 1, 1, 2, 3]),
        (Kind.REORDER, 1, [0, 2, 1, 3]),
        (Kind.REORDER, 3, [0, 1, 2, 3]),
        (Kind.DELAY, 1, [0, 1, 2, 3]),
        (Kind.DROP, 4, [0, 1, 2, 3]),
    ],
)
def test_a_fault_hits_its_message_and_no_other(kind: Kind, nth: int, arrives: list[int]) -> None:
    """The last and one past the last among them; a swapped last message has nothing to swap with and comes by itself."""
    fault = Fault(kind, "left", FIRST + nth, "right", seconds=0.5)

    assert run_virtual(run_frames(fault)) == arrives


def test_a_fault_against_the_other_direction_leaves_this_one_alone() -> None:
    """Counted per link: right's answers have numbers of their own."""
    assert run_virtual(run_frames(Fault(Kind.DROP, "right", FIRST_BACK, "left"))) == [0, 1, 2, 3]


def test_a_delayed_message_holds_up_those_behind_it() -> None:
    """As on one connection: later ones wait, earlier ones do not."""

    async def main() -> list[float]:
        async with pair(Fault(Kind.DELAY, "left", FIRST + 1, "right", seconds=2.0)) as two:
            began = now()
            await send(two.left, 3)
            return [round(now() - began, 6) for _ in range(3) if await two.right.recv()]

    assert run_virtual(main()) == [LATENCY, 2 + LATENCY, 2 + LATENCY]


def test_messages_in_flight_share_the_latency() -> None:
    """Three frames sent together arrive together: a wire is a pipe, not a queue at a counter."""

    async def main() -> float:
        async with pair() as two:
            began = now()
            await send(two.left, 3)
            await heard(two.right, 0.015)
            await two.right.send(text(0))
            await two.left.recv()
            return now() - began

    assert run_virtual(main()) == pytest.approx(0.015 + LATENCY)


@pytest.mark.parametrize("kind", [Kind.FLIP, Kind.GARBAGE])
def test_a_spoilt_message_is_another_one_or_ends_the_stream(kind: Kind) -> None:
    """Fifty of each: none arrives as it was sent, and none does harm beyond its stream."""

    async def main(chance: int) -> object:
        async with pair(Fault(kind, "left", FIRST, "right", chance=chance)) as two:
            await two.left.send(text(1))
            try:
                return await two.right.recv()
            except ProtocolViolation:
                return None

    got = [run_virtual(main(chance)) for chance in range(50)]

    assert text(1) not in [Frame(g.type, bytes(g.payload), step=g.step) if isinstance(g, Frame) and g.session == bytes(16)
                           and g.epoch == g.position == 0 else None for g in got]  # fmt: skip
    assert None in got


@pytest.mark.parametrize(("both_ways", "back"), [(False, True), (True, False)])
def test_a_partition_holds_one_way_or_both_and_loses_nothing(both_ways: bool, back: bool) -> None:
    """What was sent meanwhile arrives in order when it is over."""
    fault = Fault(Kind.PARTITION, "left", FIRST, "right", seconds=30.0, both_ways=both_ways)

    async def main() -> tuple[list[int], bool, list[int]]:
        async with pair(fault) as two:
            await send(two.left, 2)
            await two.right.send(text(9))
            during, answered = await heard(two.right, 29.0), await heard(two.left, 0.5) == [9]
            return during, answered, await heard(two.right)

    assert run_virtual(main()) == ([], back, [0, 1])


@pytest.mark.parametrize(("seconds", "reaches"), [(9.9, True), (10.1, False)])
def test_a_dialer_knocks_for_ten_seconds_at_a_door_behind_a_partition(seconds: float, reaches: bool) -> None:
    """Just under its patience, and just over."""
    fault = Fault(Kind.PARTITION, "left", FIRST, "right", seconds=seconds)

    async def main() -> None:
        async with pair(fault) as two:
            await two.left.send(text(0))
            await two.dial()

    if reaches:
        run_virtual(main())
    else:
        with pytest.raises(PeerUnreachable, match="no answer within 10 s"):
            run_virtual(main())


def test_a_stream_that_is_closed_delivers_what_was_sent_before() -> None:
    """The end comes after the last frame, as on any connection."""

    async def main() -> tuple[list[int], NodeError]:
        async with pair(jitter=0.005) as two:
            await send(two.left, 3)
            await two.left.close("done")
            numbers = [(await two.right.recv()).step for _ in range(3)]
            return numbers, await end_of(two.right)

    numbers, ended = run_virtual(main())

    assert numbers == [0, 1, 2]
    assert isinstance(ended, PeerClosed)
    assert ended.reason == "done"


def test_the_trace_has_every_message_and_every_fault_with_its_time() -> None:
    """And is the same in every run."""

    async def main() -> list[tuple[str, str, int]]:
        async with pair(Fault(Kind.DROP, "left", FIRST, "right"), jitter=0.005) as two:
            await send(two.left, 2)
            await heard(two.right)
            return [(each.what, each.source, each.nth) for each in two.network.trace]

    first, second = run_virtual(main()), run_virtual(main())

    assert first == second
    sent = [("sent", "right", 0), ("sent", "left", 0), ("sent", "right", 1), ("sent", "left", 1)]
    assert first == [*sent, ("drop", "left", 1), ("sent", "left", 2)]
