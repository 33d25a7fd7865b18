"""The inbox: bounded, in order, and honest about how a pipe ended."""

import asyncio

import pytest

from node.errors import ClosedHere, PeerClosed
from node.inbox import MAX_WAITING_MESSAGES, Inbox


async def test_messages_come_out_in_order() -> None:
    """First in, first out."""
    inbox = Inbox(100)
    for message in (b"a", b"b", b"c"):
        await inbox.put(message)

    assert [await inbox.take() for _ in range(3)] == [b"a", b"b", b"c"]


async def test_taker_waits_for_a_message() -> None:
    """An empty inbox is no error."""
    inbox = Inbox(100)
    taking = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    assert not taking.done()

    await inbox.put(b"a")

    assert await taking == b"a"


@pytest.mark.parametrize(("size", "count"), [(50, 2), (49, 3), (0, MAX_WAITING_MESSAGES)])
async def test_room_ends_at_the_limits(size: int, count: int) -> None:
    """Bytes and messages are both bounded; the one that is too many waits until another was taken."""
    inbox = Inbox(100)
    for _ in range(count):
        await asyncio.wait_for(inbox.put(bytes(size)), 1)

    waiting = asyncio.create_task(inbox.put(b"last"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await inbox.take()

    await asyncio.wait_for(waiting, 1)


async def test_message_past_the_limit_finds_an_empty_inbox() -> None:
    """A limit on what waits must not lock out what can never fit."""
    inbox = Inbox(100)

    await asyncio.wait_for(inbox.put(bytes(1000)), 1)

    assert len(await inbox.take()) == 1000


async def test_cancelled_taker_loses_nothing() -> None:
    """A reader that gave up can come back."""
    inbox = Inbox(100)
    taking = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)

    await inbox.put(b"a")

    assert await inbox.take() == b"a"


async def test_taker_cancelled_after_it_was_woken_loses_nothing() -> None:
    """The message stays although its taker was about to have it."""
    inbox = Inbox(100)
    taking = asyncio.create_task(inbox.take())
    await asyncio.sleep(0)
    await inbox.put(b"a")
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)

    assert await inbox.take() == b"a"


async def test_what_arrived_before_the_end_can_be_read() -> None:
    """The end comes after the messages, every time it is asked for, and the first end counts."""
    inbox = Inbox(100)
    await inbox.put(b"a")
    inbox.end(PeerClosed(1000, "bye"))
    inbox.end(PeerClosed(1006, "lost"))

    assert await inbox.take() == b"a"
    for _ in range(2):
        with pytest.raises(PeerClosed, match="bye"):
            await inbox.take()


async def test_discarding_end_drops_what_waits_and_counts_last() -> None:
    """Whoever closes does not want the rest."""
    inbox = Inbox(100)
    await inbox.put(b"a")
    inbox.end(PeerClosed(1000, "bye"))
    inbox.end(ClosedHere(), discard=True)

    with pytest.raises(ClosedHere):
        await inbox.take()


async def test_end_wakes_everybody() -> None:
    """Nobody waits for what will never come."""
    empty, full = Inbox(100), Inbox(1)
    await full.put(b"a")
    tasks = [asyncio.create_task(empty.take()), asyncio.create_task(full.put(b"b"))]
    await asyncio.sleep(0)

    for inbox in (empty, full):
        inbox.end(PeerClosed(1000, "bye"))
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 1)

    assert [type(result) for result in results] == [PeerClosed, PeerClosed]
