"""What every engine must keep, whatever its arithmetic: subclass FloatContract or ExactContract and give it `load`.

`load(span)` builds a fresh engine over a span of one model of at least three blocks. `tolerance` is how far two ways
of computing the same thing may differ; an exact engine leaves it at 0.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sharding.engine import Chunk, Engine
from sharding.errors import (
    CacheFull,
    EngineError,
    IntegerOverflow,
    NotFinite,
    SessionExists,
    ShapeMismatch,
    SpanError,
    TokenOutOfRange,
    UnknownSession,
)
from sharding.span import Span
from tests.sharding.chains import feed, greedy, open_all

Load = Callable[[Span], Engine]
ONE, OTHER = b"one", b"other"
CAPACITY = 24
MAX_INT32 = (1 << 31) - 1


def random_tokens(engine: Engine, count: int, seed: int = 5) -> Tensor:
    return torch.randint(0, engine.spec.vocab_size, (count,), generator=torch.Generator().manual_seed(seed))


def random_rows(engine: Engine, count: int, seed: int = 6) -> Tensor:
    """Hidden states of the engine's dtype, of the size of ones: as Q16 where they are integers."""
    rows = torch.randn((count, engine.spec.hidden_size), generator=torch.Generator().manual_seed(seed))
    return rows if engine.hidden_dtype == torch.float32 else (rows * (1 << 16)).round().to(engine.hidden_dtype)


class EngineContract:
    """What both kinds keep; the two classes at the end add what their numbers ask for."""

    tolerance = 0.0

    @pytest.fixture
    def load(self) -> Load:
        raise NotImplementedError

    @pytest.fixture
    def first(self, load: Load) -> Engine:
        """A first stage that is not the last, with one session open."""
        engine = load(Span(0, 2))
        engine.open(ONE, CAPACITY)
        return engine

    @pytest.fixture
    def middle(self, load: Load) -> Engine:
        """A stage from hidden states to hidden states, with one session open."""
        engine = load(Span(1, 2))
        engine.open(ONE, CAPACITY)
        return engine

    @pytest.fixture
    def whole(self, first: Engine, load: Load) -> Engine:
        return load(first.spec.whole)

    def close(self, one: Tensor, other: Tensor) -> bool:
        if self.tolerance == 0:
            return torch.equal(one, other)
        return one.shape == other.shape and bool((one - other).abs().max() <= self.tolerance)

    def test_it_has_the_engines_attributes(self, first: Engine) -> None:
        """An engine says what it computes."""
        assert isinstance(first, Engine)
        assert (first.span, first.profile) == (Span(0, 2), first.manifest.profile)
        assert first.manifest.spec_digest == first.spec.digest()
        assert first.kernel

    def test_outputs_have_the_stated_shapes(self, first: Engine, middle: Engine, whole: Engine) -> None:
        """Rows in, rows out, and one row of logits on the last stage."""
        whole.open(ONE, CAPACITY)
        [after_first] = first.forward([Chunk(ONE, 0, random_tokens(first, 5))])
        [after_middle] = middle.forward([Chunk(ONE, 0, random_rows(middle, 3))])
        [logits] = whole.forward([Chunk(ONE, 0, random_tokens(whole, 5))])

        hidden = first.spec.hidden_size
        assert (after_first.shape, after_middle.shape) == ((5, hidden), (3, hidden))
        assert logits.shape == (first.spec.vocab_size,)
        assert {after_first.dtype, after_middle.dtype, logits.dtype} == {first.hidden_dtype}

    def test_stages_in_a_row_are_the_whole_model(self, first: Engine, whole: Engine, load: Load) -> None:
        """Every way of cutting the model gives the same tokens."""
        blocks = first.spec.num_blocks
        prompt = random_tokens(first, 6).tolist()
        singles = [load(Span(index, index + 1)) for index in range(blocks)]

        expected = greedy([whole], prompt, 10)
        assert greedy(singles, prompt, 10) == expected
        assert greedy([first, load(Span(2, blocks))], prompt, 10) == expected

    @pytest.mark.parametrize("chunk", [1, 2, 5])
    def test_a_prompt_in_chunks_is_the_prompt(self, whole: Engine, chunk: int) -> None:
        """Prefill may be cut anywhere."""
        tokens = random_tokens(whole, 11)
        open_all([whole], ONE, CAPACITY)
        open_all([whole], OTHER, CAPACITY)
        for piece in tokens.split(chunk):
            logits = feed([whole], OTHER, piece)

        assert self.close(feed([whole], ONE, tokens), logits)

    def test_sessions_do_not_see_each_other(self, whole: Engine) -> None:
        """Taking turns gives each session what it gets alone."""
        one, other = random_tokens(whole, 8, seed=1), random_tokens(whole, 8, seed=2)
        open_all([whole], ONE, CAPACITY)
        open_all([whole], OTHER, CAPACITY)
        for token, another in zip(one.split(1), other.split(2), strict=False):
            mixed = feed([whole], ONE, token)
            feed([whole], OTHER, another)
        for token in one.split(1)[4:]:
            mixed = feed([whole], ONE, token)
        whole.open(b"alone", CAPACITY)
        for token in one.split(1):
            alone = feed([whole], b"alone", token)

        assert self.close(mixed, alone)

    def test_a_batch_is_its_chunks(self, whole: Engine) -> None:
        """A long chunk, a decode step and a second step in one batch: each session as if alone."""
        lengths = {ONE: 7, OTHER: 1, b"third": 1}
        alone = {}
        for number, (session, length) in enumerate(lengths.items()):
            tokens = random_tokens(whole, 3 + length, seed=number)
            whole.open(session, CAPACITY)
            feed([whole], session, tokens[:3])
            alone[session] = feed([whole], session, tokens[3:])
            whole.truncate(session, 3)
        batch = [Chunk(s, 3, random_tokens(whole, 3 + n, seed=i)[3:]) for i, (s, n) in enumerate(lengths.items())]

        for chunk, output in zip(batch, whole.forward(batch), strict=True):
            assert self.close(output, alone[chunk.session])
            assert whole.length(chunk.session) == 3 + lengths[chunk.session]

    def test_an_empty_batch_gives_nothing(self, first: Engine) -> None:
        """No work is no error."""
        assert first.forward([]) == []

    def test_truncation_forgets(self, whole: Engine) -> None:
        """After going back, it is as if the forgotten positions had never been."""
        tokens, wrong = random_tokens(whole, 9, seed=3), random_tokens(whole, 9, seed=4)
        open_all([whole], ONE, CAPACITY)
        open_all([whole], OTHER, CAPACITY)
        feed([whole], ONE, tokens[:5])
        feed([whole], ONE, wrong[5:])
        whole.truncate(ONE, 5)
        feed([whole], OTHER, tokens[:5])

        assert whole.length(ONE) == 5
        assert self.close(feed([whole], ONE, tokens[5:]), feed([whole], OTHER, tokens[5:]))

    @pytest.mark.parametrize("length", [-1, 4])
    def test_truncation_stays_within_the_session(self, first: Engine, length: int) -> None:
        """Neither below nothing nor past what is there."""
        first.forward([Chunk(ONE, 0, random_tokens(first, 3))])
        with pytest.raises(ShapeMismatch):
            first.truncate(ONE, length)
        first.truncate(ONE, 3)
        assert first.length(ONE) == 3

    def test_a_session_is_opened_once(self, first: Engine) -> None:
        """Nobody takes over another's cache."""
        with pytest.raises(SessionExists) as caught:
            first.open(ONE, CAPACITY)
        assert caught.value.session == ONE

    def test_closing_is_idempotent_and_final(self, first: Engine) -> None:
        """Closed twice is closed; what is closed is unknown, and its name is free again."""
        first.close(ONE)
        first.close(ONE)
        for use in (
            first.length,
            lambda session: first.truncate(session, 0),
            lambda s: first.forward([self.step(first, s)]),
        ):
            with pytest.raises(UnknownSession):
                use(ONE)
        first.open(ONE, CAPACITY)
        assert first.length(ONE) == 0

    def step(self, engine: Engine, session: bytes = ONE, position: int = 0, count: int = 1) -> Chunk:
        return Chunk(session, position, random_tokens(engine, count))

    @pytest.mark.parametrize("capacity", [-1, 0])
    def test_a_session_has_room_for_something(self, first: Engine, capacity: int) -> None:
        """A capacity below one is refused."""
        with pytest.raises(CacheFull):
            first.open(OTHER, capacity)

    def test_capacity_ends_where_the_model_does(self, first: Engine) -> None:
        """max_positions is possible, one more is not."""
        first.open(OTHER, first.spec.max_positions)
        with pytest.raises(CacheFull) as caught:
            first.open(b"third", first.spec.max_positions + 1)
        assert (caught.value.wanted, caught.value.limit) == (first.spec.max_positions + 1, first.spec.max_positions)

    def test_a_chunk_ends_where_the_capacity_does(self, first: Engine) -> None:
        """The last position can be used, the one after it not, and the refusal changes nothing."""
        with pytest.raises(CacheFull):
            first.forward([self.step(first, count=CAPACITY + 1)])
        assert first.length(ONE) == 0
        first.forward([self.step(first, count=CAPACITY)])
        with pytest.raises(CacheFull):
            first.forward([self.step(first, position=CAPACITY)])
        assert first.length(ONE) == CAPACITY

    @pytest.mark.parametrize("position", [-1, 2, 4])
    def test_a_chunk_goes_on_where_the_session_stands(self, first: Engine, position: int) -> None:
        """A gap or an overlap is refused."""
        first.forward([self.step(first, count=3)])
        with pytest.raises(ShapeMismatch) as caught:
            first.forward([self.step(first, position=position)])
        assert (caught.value.expected, caught.value.found, caught.value.session) == (3, position, ONE)

    def test_a_session_stands_in_a_batch_once(self, first: Engine) -> None:
        """Two chunks of one session would write over each other."""
        with pytest.raises(ShapeMismatch):
            first.forward([self.step(first), self.step(first)])
        assert first.length(ONE) == 0

    def test_one_bad_chunk_leaves_the_others_as_they_were(self, first: Engine) -> None:
        """A refused batch has no effect and names the culprit."""
        first.open(OTHER, CAPACITY)
        with pytest.raises(EngineError) as caught:
            first.forward([self.step(first), self.step(first, OTHER, position=1)])
        assert caught.value.session == OTHER
        assert (first.length(ONE), first.length(OTHER)) == (0, 0)

    @pytest.mark.parametrize("past", [-1, 0])
    def test_tokens_lie_in_the_vocabulary(self, first: Engine, past: int) -> None:
        """Below zero and the vocabulary's size are no tokens; the last id is one."""
        token = past if past < 0 else first.spec.vocab_size
        with pytest.raises(TokenOutOfRange) as caught:
            first.forward([Chunk(ONE, 0, torch.tensor([0, token]))])
        assert caught.value.token == token
        first.forward([Chunk(ONE, 0, torch.tensor([first.spec.vocab_size - 1]))])

    @pytest.mark.parametrize(
        "inputs",
        [
            torch.zeros(0, dtype=torch.int64),
            torch.zeros(3),
            torch.zeros(3, dtype=torch.int32),
            torch.zeros((1, 3), dtype=torch.int64),
        ],
        ids=["empty", "float", "int32", "matrix"],
    )
    def test_a_first_stage_takes_token_ids(self, first: Engine, inputs: Tensor) -> None:
        """One row of int64, at least one of them."""
        with pytest.raises(ShapeMismatch):
            first.forward([Chunk(ONE, 0, inputs)])

    @pytest.mark.parametrize("change", ["empty", "narrow", "flat", "half", "wide", "other profile", "tokens"])
    def test_a_later_stage_takes_hidden_states(self, middle: Engine, change: str) -> None:
        """(n, hidden_size) of its own dtype, at least one row."""
        rows = random_rows(middle, 2)
        wrong: dict[str, Any] = {
            "empty": rows[:0],
            "narrow": rows[:, 1:],
            "flat": rows[0],
            "half": rows.half(),
            "wide": rows.double(),
            "other profile": rows.to(torch.int32 if rows.is_floating_point() else torch.float32),
            "tokens": torch.tensor([1, 2]),
        }
        with pytest.raises(ShapeMismatch):
            middle.forward([Chunk(ONE, 0, wrong[change])])
        assert middle.length(ONE) == 0

    def test_a_span_outside_the_model_is_refused(self, first: Engine, load: Load) -> None:
        """There are no blocks past the last."""
        with pytest.raises(SpanError):
            load(Span(1, first.spec.num_blocks + 1))


class FloatContract(EngineContract):
    """For engines whose hidden states are float32."""

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_a_later_stage_refuses_what_is_not_finite(self, middle: Engine, value: float) -> None:
        """A poisoned hidden state goes no further and enters no cache."""
        rows = random_rows(middle, 3)
        rows[1, 7] = value
        with pytest.raises(NotFinite) as caught:
            middle.forward([Chunk(ONE, 0, rows)])
        assert caught.value.session == ONE
        assert middle.length(ONE) == 0


class ExactContract(EngineContract):
    """For engines whose hidden states are Q16 in int32."""

    def test_the_lowest_int32_is_no_hidden_state(self, middle: Engine) -> None:
        """-2^31 has no positive twin: it goes no further and enters no cache, and its session is named."""
        middle.open(OTHER, CAPACITY)
        rows = random_rows(middle, 3)
        rows[1, 7] = -MAX_INT32 - 1
        with pytest.raises(IntegerOverflow) as caught:
            middle.forward([Chunk(OTHER, 0, random_rows(middle, 2)), Chunk(ONE, 0, rows)])
        assert (caught.value.session, caught.value.limit) == (ONE, MAX_INT32)
        assert (middle.length(ONE), middle.length(OTHER)) == (0, 0)

    @pytest.mark.parametrize("value", [MAX_INT32, -MAX_INT32])
    def test_the_ends_of_the_range_are_computed_or_named(self, middle: Engine, value: int) -> None:
        """At the bound an engine gives numbers within it or says that they would leave it; nothing wraps."""
        rows = random_rows(middle, 3)
        rows[1, 7] = value
        outputs = list[Tensor]()
        with contextlib.suppress(IntegerOverflow):
            outputs = middle.forward([Chunk(ONE, 0, rows)])
        assert all(int(output.min()) >= -MAX_INT32 for output in outputs)
        assert middle.length(ONE) == (3 if outputs else 0)
