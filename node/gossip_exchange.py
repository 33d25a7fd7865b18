"""One exchange of records over one stream, from either side. Bounded in messages, bytes and time.

    dialer -> Summary (a part of all addresses)     listener -> Records, ..., Summary (of the same part)
    dialer, if it is a node -> Records, ..., Records of nothing

The frames are CONTROL frames of a session that no route can have.
"""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass

from node.errors import MalformedMessage, PeerClosed, PeerRefused, ProtocolViolation
from node.messages import Failure, message_of
from node.record_book import RecordBook
from node.record_messages import (
    MAX_SUMMARY_NODES,
    Gossip,
    Held,
    Records,
    Summary,
    decode_gossip,
    encode_gossip,
)
from node.transport import Stream
from node.wire import SESSION_BYTES, Frame, FrameType
from verification.addresses import Address, address_bytes

GOSSIP_SESSION = b"records".ljust(SESSION_BYTES, b"\0")
EXCHANGE_SECONDS = 5.0
MAX_BATCHES = 8
"""Messages of records in one direction, of 64 each; what is left comes with the next exchange."""
END = Records(())


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of an exchange."""

    accepted: tuple[Address, ...]
    hostile: bool
    """The peer sent what no honest one sends: forged or unreadable records in number."""
    round_trip: float = 0.0
    """Seconds from asking to the first answer."""


def gossip_frame(message: Gossip) -> Frame:
    """Wrap a message. Raises: MalformedMessage."""
    return Frame(FrameType.CONTROL, encode_gossip(message), session=GOSSIP_SESSION)


def gossip_of(frame: Frame) -> Gossip:
    """Read a message. Raises: MalformedMessage; PeerRefused where the peer said no instead."""
    if frame.type is not FrameType.CONTROL or frame.session != GOSSIP_SESSION:
        raise MalformedMessage(f"expected gossip, got a {frame.type.name} frame of a session")
    try:
        return decode_gossip(bytes(frame.payload))
    except MalformedMessage as error:
        if (failure := _failure_in(frame)) is None:
            raise
        raise PeerRefused(failure.code, failure.message) from error


def _failure_in(frame: Frame) -> Failure | None:
    try:
        message = message_of(frame)
    except MalformedMessage:
        return None
    return message if isinstance(message, Failure) else None


async def ask(stream: Stream, book: RecordBook, page: Summary, *, pushes: bool) -> Taken:
    """The dialer's side; `pushes`: give the listener what it lacks.

    Raises: PeerRefused, ProtocolViolation, MalformedMessage, PeerError's leaves, ClosedHere.
    """
    began = time.perf_counter()
    await stream.send(gossip_frame(page))
    message = gossip_of(await stream.recv())
    seconds, batches = time.perf_counter() - began, 0
    accepted: list[Address] = []
    while isinstance(message, Records):
        merged = book.merge(_counted(message, batches), time.time())
        accepted += merged.accepted
        if merged.hostile:
            return Taken(tuple(accepted), True, seconds)
        batches += 1
        message = gossip_of(await stream.recv())
    if pushes:
        with contextlib.suppress(PeerClosed):  # it takes nothing: to it this node is a stranger yet
            await _give(stream, (*book.missing(message, time.time())[:MAX_BATCHES], END))
    return Taken(tuple(accepted), False, seconds)


async def answer(stream: Stream, book: RecordBook, page: Summary, *, takes: bool) -> Taken:
    """The listener's side; `takes`: the dialer is a node, and may give records. Raises: as `ask`."""
    now = time.time()
    await _give(stream, (*book.missing(page, now)[:MAX_BATCHES], summary_within(book, page, now)))
    accepted: list[Address] = []
    for batches in range(MAX_BATCHES + 1 if takes else 0):
        message = gossip_of(await stream.recv())
        if not isinstance(message, Records):
            raise ProtocolViolation("a second summary in one exchange")
        if message == END:
            break
        merged = book.merge(_counted(message, batches), time.time())
        accepted += merged.accepted
        if merged.hostile:
            return Taken(tuple(accepted), True)
    return Taken(tuple(accepted), False)


def summary_within(book: RecordBook, page: Summary, now: float) -> Summary:
    """What a book holds between a page's first and last address; the last is nearer where that is too much for a message."""
    held = [Held(address_bytes(each.node), each.sequence) for each in book.live(now)]
    inside = [each for each in held if page.first <= each.node <= page.last]
    if len(inside) <= MAX_SUMMARY_NODES:
        return Summary(page.first, page.last, tuple(inside))
    kept = inside[:MAX_SUMMARY_NODES]
    return Summary(page.first, kept[-1].node, tuple(kept))


async def _give(stream: Stream, messages: Iterable[Gossip]) -> None:
    for message in messages:
        await stream.send(gossip_frame(message))


def _counted(message: Records, batches: int) -> Records:
    if batches >= MAX_BATCHES:
        raise ProtocolViolation(f"more than {MAX_BATCHES} messages of records in one exchange")
    return message
