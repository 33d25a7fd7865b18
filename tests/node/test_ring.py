"""The last stage's end of the ring: what it tells the first stage, what not, and that nothing which fails there costs a token."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from incentives.errors import ChainUnavailable
from node.errors import NodeError, PeerClosed, PeerUnreachable
from node.messages import Attached, Closed, Failure, Ring, message_frame, message_of
from node.refusals import opening_seconds
from node.ring import OwnRing, Teller, goes_on
from node.transport import Stream
from node.wire import Frame, FrameType, decode, encode, sampled_frame, tokens_frame
from tests.faults.virtual_time import run_virtual
from tests.node.admitted import make_admitted

PROMPT, CAPACITY, STOP = 100, 150, 7
TERMS = make_admitted(stop_tokens=frozenset({STOP}), stage=2)


@dataclass
class FirstStage:
    """The other end of the stream."""

    answers: Sequence[Frame | NodeError] = (message_frame(Attached()),)
    sent: list[Frame] = field(default_factory=list)
    dials: int = 0
    closed: bool = False
    gone: bool = False

    async def dial(self) -> Stream:
        self.dials += 1
        return cast("Stream", self)

    async def send(self, frame: Frame) -> None:
        if self.gone:
            raise PeerClosed(1006, "gone")
        self.sent.append(decode(encode(frame)))

    async def recv(self) -> Frame:
        if not self.answers:
            await asyncio.Event().wait()
        if isinstance(self.answers[0], NodeError):
            raise self.answers[0]
        return self.answers[0]

    async def close(self) -> None:
        self.closed = True

    @property
    def told(self) -> list[int]:
        """The positions of the tokens that it heard of."""
        return [frame.position for frame in self.sent if frame.type is FrameType.TOKENS]


def sampled(position: int, token: int = 5) -> Frame:
    return sampled_frame(TERMS.session, 0, 3, position, token)


async def test_a_stage_that_is_both_ends_hears_in_order_what_it_tells() -> None:
    """As from a stream."""
    own = OwnRing()
    teller = Teller(TERMS)
    teller.begin(own)
    for position in (PROMPT, PROMPT + 1):
        await teller.tell(sampled(position))
    assert [(await own.recv()).position for _ in range(2)] == [PROMPT, PROMPT + 1]
    waiting = asyncio.create_task(own.recv())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    await teller.close()


def test_the_first_stage_is_asked_and_then_told_each_token() -> None:
    """By the route's digest; a token goes as the client would send it."""

    async def main() -> None:
        first, teller = FirstStage(), Teller(TERMS)
        teller.begin(first.dial)
        await asyncio.sleep(1.0)
        await teller.tell(sampled(PROMPT, 11))
        asked, told = first.sent
        assert (message_of(asked), asked.session, asked.epoch) == (Ring(TERMS.digest), TERMS.session, 0)
        assert told == decode(encode(tokens_frame(TERMS.session, 0, 0, PROMPT, [11])))
        assert not first.closed
        await teller.close()
        assert (first.closed, first.dials) == (True, 1)

    run_virtual(main())


def test_nothing_waits_for_the_ring() -> None:
    """Tokens from before it is there are the client's to bring."""

    async def main() -> None:
        first, teller = FirstStage(), Teller(TERMS)
        await teller.tell(sampled(PROMPT))
        teller.begin(first.dial)
        await teller.tell(sampled(PROMPT + 1))
        await asyncio.sleep(1.0)
        await teller.tell(sampled(PROMPT + 2))
        assert first.told == [PROMPT + 2]
        await teller.close()

    run_virtual(main())


@pytest.mark.parametrize(
    ("position", "token", "is_told"),
    [
        (PROMPT, STOP, False),
        (PROMPT, STOP + 1, True),
        (CAPACITY - 2, 5, True),
        (CAPACITY - 1, 5, False),
        (CAPACITY - 2, STOP, False),
    ],
)
def test_a_token_after_which_the_client_wants_no_more_is_not_told(position: int, token: int, is_told: bool) -> None:
    """Stop tokens and the last one that was asked for; the first stage goes by the same rule."""

    async def main() -> list[int]:
        first, teller = FirstStage(), Teller(TERMS)
        teller.begin(first.dial)
        await asyncio.sleep(1.0)
        await teller.tell(sampled(position, token))
        await teller.close()
        return first.told

    assert run_virtual(main()) == [position] * is_told
    assert goes_on(token, position, TERMS) is is_told


async def unreachable() -> Stream:
    raise PeerUnreachable("wss://first", "nobody listens there")


async def chainless() -> Stream:
    raise ChainUnavailable("http://chain", "down")


async def silent() -> Stream:
    return await asyncio.Event().wait()  # type: ignore[return-value]


@pytest.mark.parametrize("dial", [unreachable, chainless, silent])
def test_a_first_stage_that_is_not_reached_is_not_told(dial: Any) -> None:
    """And that is all; the session hears nothing of it."""

    async def main() -> None:
        teller = Teller(TERMS)
        teller.begin(dial)
        await asyncio.sleep(100.0)
        await teller.tell(sampled(PROMPT))
        await teller.close()

    run_virtual(main())


@pytest.mark.parametrize(
    "answers",
    [
        (message_frame(Failure("unknown_session", "no such session")),),
        (message_frame(Closed()),),
        (tokens_frame(TERMS.session, 0, 0, 0, [1]),),
        (Frame(FrameType.CONTROL, b"\xc1"),),
        (PeerClosed(1006, "gone"),),
        (),
    ],
    ids=["a refusal", "another message", "a token", "no message", "an end", "silence"],
)
def test_a_first_stage_that_does_not_agree_is_let_go(answers: Sequence[Frame | NodeError]) -> None:
    """Its stream is closed, in five seconds at the latest, and no token goes there."""
    assert opening_seconds(1) == 5.0

    async def main() -> None:
        first, teller = FirstStage(answers), Teller(TERMS)
        teller.begin(first.dial)
        await asyncio.sleep(5.5)
        assert first.closed
        await teller.tell(sampled(PROMPT))
        assert first.told == []
        await teller.close()

    run_virtual(main())


def test_a_ring_that_breaks_is_not_tried_again() -> None:
    """Telling never fails; the client brings the tokens from there on."""

    async def main() -> None:
        first, teller = FirstStage(), Teller(TERMS)
        teller.begin(first.dial)
        await asyncio.sleep(1.0)
        await teller.tell(sampled(PROMPT))
        first.gone = True
        await teller.tell(sampled(PROMPT + 1))
        first.gone = False
        await teller.tell(sampled(PROMPT + 2))
        await teller.close()
        assert (first.told, first.dials) == ([PROMPT], 1)

    run_virtual(main())


@pytest.mark.parametrize("dial", ["in the dial", "for the answer"])
def test_a_session_that_ends_meanwhile_leaves_no_stream(dial: str) -> None:
    """Whatever the ring waits for just then."""

    async def main() -> None:
        first, teller = FirstStage(()), Teller(TERMS)
        teller.begin(first.dial if dial == "for the answer" else silent)
        await asyncio.sleep(1.0)
        await teller.close()
        assert first.closed == bool(first.dials)
        assert len(asyncio.all_tasks()) == 1

    run_virtual(main())
