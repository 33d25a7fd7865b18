"""Two nodes on a network where something goes wrong: `left` dials `right` and sends numbered frames."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from incentives.signing import LocalSigner
from node.errors import NodeError
from node.handshake import HandshakeTerms
from node.transport import Stream
from node.wire import Frame, FrameType
from tests.faults.network import FaultNetwork
from tests.faults.plan import Fault, FaultPlan
from tests.node.mallory import DOMAIN

LATENCY = 0.01
PEER = b"\x07" * 32
FIRST = 1
"""The number of a dialer's first frame: message 0 is its part of the handshake."""
FIRST_BACK = 2
"""The listener has two parts."""


@dataclass
class Pair:
    """Two nodes, `left` dials `right`."""

    network: FaultNetwork
    left: Stream
    right: Stream
    dial: Callable[[], Awaitable[Stream]]
    accepted: "asyncio.Queue[Stream]" = field(default_factory=asyncio.Queue)


@asynccontextmanager
async def pair(*faults: Fault, latency: float = LATENCY, jitter: float = 0.0) -> AsyncIterator[Pair]:
    """A connection from left to right."""
    network = FaultNetwork(FaultPlan(3, latency, jitter, faults))
    terms, accepted = HandshakeTerms(DOMAIN), asyncio.Queue[Stream]()
    left = network.transport("left", LocalSigner(b"\1" * 32), terms)
    right = network.transport("right", LocalSigner(b"\2" * 32), terms, PEER)

    async def hold(stream: Stream) -> None:
        await accepted.put(stream)
        await asyncio.sleep(3600)

    listener = await right.listen("right", 1, hold)
    stream = await left.dial(listener.endpoint, PEER)
    yield Pair(network, stream, await accepted.get(), lambda: left.dial(listener.endpoint, PEER), accepted)
    await network.close()


def text(number: int) -> Frame:
    """A frame that says a number."""
    return Frame(FrameType.CONTROL, number.to_bytes(2, "big"), step=number)


async def send(stream: Stream, count: int) -> None:
    """Frames 0 to count."""
    for number in range(count):
        await stream.send(text(number))


async def heard(stream: Stream, seconds: float = 60.0) -> list[int]:
    """The numbers that come within so many seconds."""
    numbers: list[int] = []
    try:
        async with asyncio.timeout(seconds):
            while True:
                numbers.append((await stream.recv()).step)
    except TimeoutError:
        return numbers


def now() -> float:
    """Virtual seconds."""
    return asyncio.get_running_loop().time()


async def end_of(stream: Stream) -> NodeError:
    """How a stream ends."""
    try:
        while True:
            await stream.recv()
    except NodeError as error:
        return error
