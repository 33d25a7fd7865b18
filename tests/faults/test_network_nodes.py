"""Faults of whole nodes: stopped, slow, killed, back again; and what their neighbours see of it."""

import asyncio

import pytest

from node.errors import HandshakeFailed, NodeError, PeerClosed, PeerTimeout, PeerUnreachable
from tests.faults.plan import Fault, Kind
from tests.faults.two_nodes import FIRST, FIRST_BACK, LATENCY, end_of, heard, now, pair, send, text
from tests.faults.virtual_time import run_virtual


def test_a_stalled_node_is_silent_keeps_its_connections_and_goes_on() -> None:
    """Nothing in, nothing out; a new connection is taken by its system, and the handshake gets no answer."""
    fault = Fault(Kind.STALL, "right", FIRST_BACK, seconds=60.0)

    async def main() -> tuple[list[int], list[int]]:
        async with pair(fault) as two:
            await two.right.send(text(5))
            await two.left.send(text(6))
            with pytest.raises(HandshakeFailed, match="not finished within 5 s"):
                await two.dial()
            return await heard(two.left, 50.0), await heard(two.left, 10.0) + await heard(two.right, 1.0)

    assert run_virtual(main()) == ([], [5, 6])


def test_who_writes_to_a_stalled_node_without_end_is_told() -> None:
    """Its buffers are bounded here as anywhere: the sender's own deadline ends the stream."""

    async def main() -> None:
        async with pair(Fault(Kind.STALL, "right", FIRST_BACK, seconds=600.0)) as two:
            await two.right.send(text(5))
            await send(two.left, 500)

    with pytest.raises(PeerTimeout, match="reading"):
        run_virtual(main())


def test_a_slow_node_is_slow_for_the_rest_of_the_run() -> None:
    """Everything it sends, from the message that set it off."""

    async def main() -> list[float]:
        async with pair(Fault(Kind.SLOW, "left", FIRST, seconds=3.0)) as two:
            waited = []
            for _ in range(2):
                began = now()
                await two.left.send(text(0))
                await two.right.recv()
                waited.append(round(now() - began, 6))
            return waited

    assert run_virtual(main()) == [3 + LATENCY] * 2


def test_a_killed_nodes_connections_break_and_its_door_is_gone() -> None:
    """The other side sees a lost connection after one latency, the next dialer nobody."""

    async def main() -> tuple[NodeError, NodeError, float]:
        async with pair() as two:
            await two.left.send(text(0))
            two.network.kill("right")
            began = now()
            ended, took = await end_of(two.left), now() - began
            with pytest.raises(PeerUnreachable, match="nobody listens"):
                await two.dial()
            return ended, await end_of(two.right), took

    theirs, own, took = run_virtual(main())

    assert isinstance(theirs, PeerClosed)
    assert (theirs.code, theirs.reason) == (1006, "connection lost")
    assert isinstance(own, PeerClosed)
    assert took == pytest.approx(LATENCY)


def test_what_a_killed_node_still_says_reaches_nobody() -> None:
    """Its tasks run on for a moment in this process; a killed process's do not."""

    async def main() -> list[str]:
        async with pair(Fault(Kind.KILL, "right", FIRST_BACK)) as two:
            with pytest.raises(PeerClosed):
                await two.right.send(text(1))
            await two.right.close("farewell")
            return [str(await end_of(two.left))]

    assert run_virtual(main()) == ["the other side ended the stream: connection lost (code 1006)"]


def test_a_revived_node_takes_new_connections_and_none_of_the_old() -> None:
    """After its seconds; the streams of its former life stay broken."""

    async def main() -> list[int]:
        async with pair(Fault(Kind.KILL, "right", FIRST_BACK, seconds=5.0)) as two:
            with pytest.raises(PeerClosed):
                await two.right.send(text(1))
            await asyncio.sleep(5)
            again = await two.dial()
            await again.send(text(7))
            assert isinstance(await end_of(two.left), PeerClosed)
            return await heard(await two.accepted.get(), 1.0)

    assert run_virtual(main()) == [7]
