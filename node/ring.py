"""The short way round: the last stage tells each token to the first one itself, so that no token waits for the client.

A token then takes one way per stage and not one more, and none at all where the route has one stage. What the client sends is
still what counts. Its own frames follow, the first stage compares them with what it was told, and two different words for
one token end the route. The ring never runs further ahead of the client than the credit of its vouchers, and where the first
stage cannot be told, the client's frames are the way, as they would be without a ring.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol

from incentives.errors import ChainError
from node.admission import Admitted
from node.errors import NodeError, ProtocolViolation
from node.messages import Attached, Ring, message_frame, message_of
from node.refusals import opening_seconds
from node.transport import Stream
from node.wire import Frame, FrameType

log = logging.getLogger(__name__)

Dial = Callable[[], Awaitable[Stream]]
"""Reaches the route's first stage. Raises: NodeError, ChainError."""


class Telling(Protocol):
    """Where the first stage hears of tokens: a stream, or for a route of one stage a queue."""

    async def send(self, frame: Frame) -> None:
        """Raises: NodeError."""
        ...

    async def recv(self) -> Frame:
        """Raises: NodeError."""
        ...

    async def close(self) -> None: ...


class OwnRing:
    """A stage that is both ends tells itself."""

    def __init__(self) -> None:
        self._frames: asyncio.Queue[Frame] = asyncio.Queue()

    async def send(self, frame: Frame) -> None:
        """Never waits: there is one token at a time."""
        self._frames.put_nowait(frame)

    async def recv(self) -> Frame:
        return await self._frames.get()

    async def close(self) -> None:
        """There is nothing to let go of."""


class Teller:
    """The last stage's end of the ring; use `begin` once, then `tell`, and `close` in any case."""

    def __init__(self, terms: Admitted) -> None:
        self._terms = terms
        self._ring: Telling | None = None
        self._dialling: asyncio.Task[None] | None = None

    def begin(self, reach: OwnRing | Dial) -> None:
        """Reach the first stage, in the background where it is another node."""
        if isinstance(reach, OwnRing):
            self._ring = reach
        else:
            self._dialling = asyncio.create_task(self._dial(reach))

    async def _dial(self, dial: Dial) -> None:
        try:
            async with asyncio.timeout(opening_seconds(1)):
                stream = await dial()
                await self._introduce(stream)
        except (NodeError, ChainError, TimeoutError) as error:
            log.info("the first stage takes no tokens from here, the client brings them: %s", error)

    async def _introduce(self, stream: Stream) -> None:
        terms = self._terms
        try:
            await stream.send(message_frame(Ring(terms.digest), terms.session, terms.route.epoch))
            answer = await stream.recv()
            if answer.type is not FrameType.CONTROL or not isinstance(message_of(answer), Attached):
                raise ProtocolViolation("it answered a Ring with something else")
        except BaseException:
            await stream.close()
            raise
        self._ring = stream

    async def tell(self, sampled: Frame) -> None:
        """Tell the first stage a token, if the client will want the one after it. Never fails: the client tells it too."""
        if self._ring is None or not goes_on(token_of(sampled), sampled.position, self._terms):
            return
        told = Frame(
            FrameType.TOKENS, sampled.payload, sampled.dtype, sampled.shape, sampled.session, sampled.epoch,
            position=sampled.position,
        )  # fmt: skip
        try:
            await self._ring.send(told)
        except NodeError as error:
            log.info("the first stage hears no tokens from here any more, the client brings them: %s", error)
            self._ring = None

    async def close(self) -> None:
        """Let the first stage go."""
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)
        if self._ring is not None:
            await self._ring.close()


def goes_on(token: int, position: int, terms: Admitted) -> bool:
    """Whether the client wants another token after this one."""
    return position + 1 < terms.capacity and token not in terms.stop_tokens


def token_of(frame: Frame) -> int:
    """The one token of a frame of shape (1,)."""
    return int.from_bytes(frame.payload, "little")
