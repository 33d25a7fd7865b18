"""What the first stage takes for a token: from the last stage and from the client, each once, in order and within the credit."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from node.errors import NodeError, PeerClosed, ProtocolViolation
from node.hearing import Hearing
from node.kept import Kept
from node.ledger import Ledger
from node.refusals import FailureCode, Refused
from node.ring import OwnRing, token_of
from node.session_money import SessionMoney, SessionParts
from node.store import Store
from node.wire import DType, Frame, FrameType, tokens_frame
from tests.faults.virtual_time import run_virtual
from tests.node.admitted import PRICE, WINDOW, make_admitted, make_kept, promise
from tests.node.money_fakes import DOMAIN, FakeChannels, fake_network
from verification.routes import prompt_root

PROMPT, CAPACITY, VOCABULARY = 100, 150, 96
PREFILL = PRICE.prefill_cost(PROMPT)
TERMS = make_admitted(stop_tokens=frozenset({7}))
LAST = len(TERMS.route.stages) - 1


class Ring(OwnRing):
    """One that a test can break."""

    def break_with(self, error: NodeError) -> None:
        self._frames.put_nowait(cast("Frame", error))

    async def recv(self) -> Frame:
        if isinstance(got := await super().recv(), NodeError):
            raise got
        return got


@dataclass
class Bench:
    """A first stage that has computed the prompt of 100 tokens, paid by a voucher, and only counts what it is given."""

    money: SessionMoney
    kept: Kept
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    ring: Ring = field(default_factory=Ring)
    hearing: Hearing = field(init=False)

    def __post_init__(self) -> None:
        self.hearing = Hearing(TERMS, self.kept, self.money, VOCABULARY, self.turn)
        self.kept.tokens += [0] * PROMPT
        self.money.credit.worked(PROMPT)

    @property
    def told(self) -> list[int]:
        """The tokens after the prompt that were worked on."""
        return self.kept.tokens[PROMPT:]

    async def work_on(self, frame: Frame) -> None:
        assert frame.position == self.money.credit.positions == len(self.kept.tokens)
        assert self.turn.locked()
        self.kept.tokens.append(token_of(frame))
        self.money.credit.worked(1)

    async def client_was_faster(self, token: int) -> None:
        async with self.turn:
            await self.work_on(tokens_frame(TERMS.session, 0, 0, self.money.credit.positions, [token]))

    async def pay(self, positions: int) -> None:
        """A voucher, as the session takes it."""
        cumulative = PREFILL + PRICE.decode_cost(positions - PROMPT)
        await self.money.hold(self.money.check(promise(cumulative, positions, TERMS)))
        self.hearing.promise(positions)

    async def tell(self, *frames: Frame) -> None:
        """Tell these and wait until the session has seen to all that it can. Raises: what ended it."""
        for frame in frames:
            await self.ring.send(frame)
        await asyncio.sleep(1.0)

    async def __aenter__(self) -> "Bench":
        await self.pay(PROMPT)
        self.hearing.attach(self.ring)
        self.running = asyncio.create_task(self.hearing.run(self.work_on))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.running.cancel()
        [end] = await asyncio.gather(self.running, return_exceptions=True)
        if not isinstance(end, asyncio.CancelledError):
            raise cast("BaseException", end)


Play = Callable[[Bench], Coroutine[Any, Any, None]]


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Callable[[Play], None]]:
    """played(play): run it in virtual time with a session that hears."""
    store = Store(tmp_path)
    params = SimpleNamespace(params=SimpleNamespace(close_delay_s=10.0))
    network = fake_network(FakeChannels(), money_domain=DOMAIN, deployment=params)
    parts = SessionParts(cast("Any", None), cast("Any", None), Ledger(store), network, 5.0)

    async def main(play: Play) -> None:
        async with Bench(SessionMoney(TERMS, parts, 0), make_kept(TERMS)) as bench:
            await play(bench)

    yield lambda play: run_virtual(main(play))
    store.close()


def token(position: int, value: int = 5, **changes: Any) -> Frame:
    return replace(tokens_frame(TERMS.session, 0, 0, position, [value]), **changes)


def test_tokens_are_worked_on_as_they_are_told(played: Callable[[Play], None]) -> None:
    """One by one, the first right after the prompt."""

    async def play(bench: Bench) -> None:
        for number, value in enumerate((5, VOCABULARY - 1, 0)):
            await bench.tell(token(PROMPT + number, value))
            assert bench.told == [5, VOCABULARY - 1, 0][: number + 1]

    played(play)


def test_what_the_client_said_before_is_not_worked_on_again(played: Callable[[Play], None]) -> None:
    """A told token that comes late is ignored, whatever it is; the next one counts."""

    async def play(bench: Bench) -> None:
        await bench.client_was_faster(8)
        await bench.client_was_faster(9)
        await bench.tell(token(PROMPT, 8), token(PROMPT + 1, 33), token(PROMPT + 2, 10))
        assert bench.told == [8, 9, 10]

    played(play)


def test_a_token_waits_for_the_turn_and_for_nothing_if_the_client_took_it(played: Callable[[Play], None]) -> None:
    """Both come at once: it is worked on once."""

    async def play(bench: Bench) -> None:
        async with bench.turn:
            await bench.tell(token(PROMPT))
            assert bench.told == []
            await bench.work_on(token(PROMPT))
        await bench.tell(token(PROMPT + 1, 6))
        assert bench.told == [5, 6]

    played(play)


def test_the_ring_stops_where_the_credit_ends_and_goes_on_with_a_voucher(played: Callable[[Play], None]) -> None:
    """W tokens past what is paid, not one more."""

    async def play(bench: Bench) -> None:
        for number in range(WINDOW + 1):
            await bench.tell(token(PROMPT + number))
        assert len(bench.told) == WINDOW
        await bench.pay(PROMPT + 1)
        await bench.tell()
        assert len(bench.told) == WINDOW + 1
        await bench.tell(token(PROMPT + WINDOW + 1))
        assert len(bench.told) == WINDOW + 1

    played(play)


def test_the_ring_goes_no_further_than_a_window_past_the_voucher_whatever_this_stage_has_been_paid(
    played: Callable[[Play], None],
) -> None:
    """A stage that lost what it had earned has more credit left than those behind it, which would end the session."""

    async def play(bench: Bench) -> None:
        bench.money.credit.earned_before = -PRICE.decode_cost(50)
        for number in range(WINDOW + 1):
            await bench.tell(token(PROMPT + number))
        assert len(bench.told) == WINDOW
        assert bench.money.credit.allows(1)
        await bench.pay(PROMPT + 1)
        await bench.tell()
        assert len(bench.told) == WINDOW + 1

    played(play)


def test_a_token_that_waits_for_credit_is_the_clients_if_that_is_faster(played: Callable[[Play], None]) -> None:
    """The voucher and the client's frame come together."""

    async def play(bench: Bench) -> None:
        for number in range(WINDOW + 1):
            await bench.tell(token(PROMPT + number))
        async with bench.turn:
            await bench.pay(PROMPT + WINDOW)
            await bench.work_on(token(PROMPT + WINDOW))
        await bench.tell(token(PROMPT + WINDOW + 1))
        assert len(bench.told) == WINDOW + 2

    played(play)


@pytest.mark.parametrize("end", [PeerClosed(1006, "gone"), ProtocolViolation("nonsense")], ids=["gone", "nonsense"])
def test_a_ring_that_breaks_ends_nothing(played: Callable[[Play], None], end: NodeError) -> None:
    """The client brings the rest."""

    async def play(bench: Bench) -> None:
        await bench.tell(token(PROMPT))
        bench.ring.break_with(end)
        await bench.tell()
        await bench.client_was_faster(6)
        await asyncio.sleep(1000.0)
        assert bench.told == [5, 6]
        assert not bench.running.done()

    played(play)


UNTRUE = {
    "one ahead": token(PROMPT + 1),
    "before the prompt's end": token(PROMPT - 1),
    "two tokens": tokens_frame(TERMS.session, 0, 0, PROMPT, [5, 5]),
    "another type": token(PROMPT, type=FrameType.SAMPLED),
    "a message": Frame(FrameType.CONTROL, b"\x80", session=TERMS.session, position=PROMPT),
    "hidden states": token(PROMPT, type=FrameType.HIDDEN, dtype=DType.INT32, shape=(1, 1)),
    "another session": token(PROMPT, session=bytes(16)),
    "another epoch": token(PROMPT, epoch=1),
    "past the vocabulary": token(PROMPT, VOCABULARY),
    "a negative one": token(PROMPT, payload=b"\xff\xff\xff\xff"),
    "a stop token": token(PROMPT, 7),
}


@pytest.mark.parametrize("name", UNTRUE)
def test_what_cannot_be_the_next_token_names_the_last_stage(played: Callable[[Play], None], name: str) -> None:
    """It is not worked on, and ends the session."""

    async def play(bench: Bench) -> None:
        await bench.tell(UNTRUE[name])
        raise AssertionError(bench.told)

    with pytest.raises(Refused) as caught:
        played(play)
    assert (caught.value.code, caught.value.stage) == (FailureCode.PROTOCOL, LAST)


@pytest.mark.parametrize(("position", "is_wanted"), [(CAPACITY - 2, True), (CAPACITY - 1, False), (CAPACITY, False)])
def test_a_token_is_worked_on_only_if_the_client_wants_the_next_one(
    played: Callable[[Play], None], position: int, is_wanted: bool
) -> None:
    """It would pay for no more, and take a stage for a liar that charged it."""

    async def play(bench: Bench) -> None:
        await bench.pay(position)
        for number in range(PROMPT, position):
            await bench.client_was_faster(number % 7)
        await bench.tell(token(position))
        assert len(bench.told) == position + 1 - PROMPT

    if is_wanted:
        played(play)
    else:
        with pytest.raises(Refused, match="no more") as caught:
            played(play)
        assert caught.value.stage == LAST


def test_the_clients_word_must_be_what_was_told(played: Callable[[Play], None]) -> None:
    """Equal words are one; of two different ones the last stage's is not believed."""

    async def play(bench: Bench) -> None:
        await bench.tell(token(PROMPT), token(PROMPT + 1, 6))
        bench.hearing.compare(token(PROMPT))
        with pytest.raises(Refused) as caught:
            bench.hearing.compare(token(PROMPT + 1, 5))
        assert (caught.value.code, caught.value.stage) == (FailureCode.PROTOCOL, LAST)

    played(play)


def test_there_is_one_ring(played: Callable[[Play], None]) -> None:
    """A second one changes nothing for the first."""

    async def play(bench: Bench) -> None:
        with pytest.raises(Refused) as caught:
            bench.hearing.attach(OwnRing())
        assert caught.value.code is FailureCode.PROTOCOL
        await bench.tell(token(PROMPT))
        assert bench.told == [5]

    played(play)


@pytest.mark.parametrize("sizes", [(PROMPT,), (40, 60)])
async def test_the_prompt_is_the_one_that_the_route_commits_to(sizes: tuple[int, ...]) -> None:
    """Checked when it is whole, in however many pieces it came; one token that differs is enough."""
    prompt = [number % VOCABULARY for number in range(PROMPT)]
    route = replace(TERMS.route, prompt_root=prompt_root(TERMS.salt, prompt))
    terms = replace(TERMS, route=route)
    for said in (prompt, [*prompt[:-1], 50]):
        hearing = Hearing(terms, make_kept(terms), cast("Any", None), VOCABULARY, asyncio.Lock())
        at = 0
        for size in sizes[:-1]:
            await hearing.note(tokens_frame(terms.session, 0, 0, at, said[at : at + size]))
            at += size
        last = tokens_frame(terms.session, 0, 0, at, said[at:])
        if said == prompt:
            await hearing.note(last)
            await hearing.note(token(PROMPT))
            continue
        with pytest.raises(Refused) as caught:
            await hearing.note(last)
        assert caught.value.code is FailureCode.WRONG_ROUTE
