"""What the first stage hears of tokens: the prompt from the client, then each token from the last stage (see ring.py) and from
the client, whichever is faster; both must say the same.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from node.admission import Admitted
from node.errors import NodeError
from node.kept import Kept
from node.refusals import FailureCode, Refused
from node.ring import Telling, goes_on, token_of
from node.session_money import SessionMoney
from node.wire import Frame, FrameType, frame_to_tokens
from verification.routes import prompt_root

log = logging.getLogger(__name__)

WorkOn = Callable[[Frame], Awaitable[None]]


class Hearing:
    """What one session's first stage is told."""

    def __init__(
        self, terms: Admitted, kept: Kept, money: SessionMoney, vocab_size: int, turn: asyncio.Lock
    ) -> None:  # fmt: skip
        """turn: held by whoever works on a position."""
        self._terms = terms
        self._kept = kept
        self._money = money
        self._vocab_size = vocab_size
        self._turn = turn
        self._ring: asyncio.Future[Telling] = asyncio.get_running_loop().create_future()
        self._promised = 0

    def attach(self, ring: Telling) -> None:
        """Raises: Refused where there is a ring already."""
        if self._ring.done():
            raise Refused(FailureCode.PROTOCOL, "the last stage tells this session's tokens already")
        self._ring.set_result(ring)

    def promise(self, positions: int) -> None:
        """The client's voucher pays for so many. Later stages may have more to charge than this one, and so less credit left."""
        self._promised = positions

    async def run(self, work_on: WorkOn) -> None:
        """Work on what is told; a ring that ends ends no session. Raises: Refused naming the last stage, what work_on raises."""
        ring = await asyncio.shield(self._ring)
        while (frame := await _next(ring)) is not None:
            self._check(frame)
            await self._hear(frame, work_on)
        await asyncio.Event().wait()

    async def _hear(self, frame: Frame, work_on: WorkOn) -> None:
        """Unless the client was faster, and as soon as there is credit for it."""
        credit = self._money.credit
        while frame.position == credit.positions:
            if credit.allows(1) and frame.position < self._promised + credit.window:
                async with self._turn:
                    if frame.position == credit.positions:
                        await work_on(frame)
                return
            await self._money.raised()

    def _check(self, frame: Frame) -> None:
        terms = self._terms
        kind, expected = (frame.type, frame.shape, frame.session, frame.epoch), (FrameType.TOKENS, (1,))
        if kind != (*expected, terms.session, terms.route.epoch):
            raise self._untrue("something that is no token")
        if not terms.prompt_tokens <= frame.position <= self._money.credit.positions:
            raise self._untrue(f"a token for position {frame.position}, which is not the next one")
        token = token_of(frame)
        if token >= self._vocab_size:
            raise self._untrue(f"token {token}, which the model does not have")
        if not goes_on(token, frame.position, terms):  # what comes after it the client would never pay
            raise self._untrue(f"token {token} for position {frame.position}, after which the client wants no more")

    def compare(self, frame: Frame) -> None:
        """The client's own word for a token that was told before. Raises: Refused naming the last stage."""
        told, said = self._kept.tokens[frame.position], token_of(frame)
        if told != said:
            raise self._untrue(f"token {told} for position {frame.position}, and the client {said}")

    async def note(self, frame: Frame) -> None:
        """Remember tokens; when the prompt is whole, it must be the one that the route commits to. Raises: NodeError."""
        seen = self._kept.tokens
        seen += frame_to_tokens(frame, self._vocab_size).tolist()
        if frame.position + frame.shape[0] != self._terms.prompt_tokens:
            return
        root = await asyncio.to_thread(prompt_root, self._terms.salt, seen)
        if root != self._terms.route.prompt_root:
            raise Refused(FailureCode.WRONG_ROUTE, "the prompt is not the one that the route commits to")

    def _untrue(self, what: str) -> Refused:
        last = len(self._terms.route.stages) - 1
        return Refused(FailureCode.PROTOCOL, f"the last stage told the first one {what}", last)


async def _next(ring: Telling) -> Frame | None:
    """None where the last stage tells nothing more."""
    try:
        return await ring.recv()
    except NodeError as error:
        log.info("the last stage tells no tokens any more, the client brings them: %s", error)
        return None
