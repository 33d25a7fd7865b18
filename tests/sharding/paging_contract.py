"""What every engine must keep of its pages: subclass PagingContract and give it `load(span, cache_bytes)`."""

import pytest

from sharding.engine import Chunk, Engine, SavedSession
from sharding.errors import CacheFull, PoolFull, SessionExists, ShapeMismatch, SpanError, UnknownSession
from sharding.span import Span
from tests.sharding.chains import feed
from tests.sharding.shared_pages_contract import LONG, ONE, OTHER, THIRD, LoadPaged, SharedPagesContract, tokens_of


class PagingContract(SharedPagesContract):
    """Three blocks, whole model; `tolerance` as in EngineContract."""

    def test_the_cache_has_the_pages_that_its_bytes_hold(self, load: LoadPaged) -> None:
        """One byte less is one page less; one page there always is."""
        whole = load(Span(0, 1), 1)
        size = whole.page_bytes
        assert [load(Span(0, 1), n).pages.total for n in (1, size, 4 * size - 1, 4 * size)] == [1, 1, 3, 4]

    def test_pages_are_taken_as_a_session_grows(self, engine: Engine) -> None:
        """None when it opens, one for 64 positions, a second for the 65th; all come back when it closes."""
        engine.open(ONE, LONG)
        seen = [engine.pages.free]
        for count in (64, 1, 63, 1):
            assert engine.pages_wanted(ONE, count) == (engine.length(ONE) % 64 == 0)
            feed([engine], ONE, tokens_of(engine, count))
            seen.append(engine.pages.free)
        engine.close(ONE)
        assert [*seen, engine.pages.free] == [4, 3, 2, 2, 1, 4]

    def test_interleaved_pages_change_nothing(self, load: LoadPaged) -> None:
        """Two sessions that take pages by turns get what each gets alone."""
        engine = self.with_pages(load, 6)
        one, other = tokens_of(engine, LONG, 1), tokens_of(engine, LONG, 2)
        for name in (ONE, OTHER):
            engine.open(name, LONG)
        for piece, another in zip(one.split(50), other.split(50), strict=True):
            outputs = engine.forward(
                [Chunk(ONE, engine.length(ONE), piece), Chunk(OTHER, engine.length(OTHER), another)]
            )
        engine.close(ONE)
        engine.open(ONE, LONG)
        assert self.close(feed([engine], ONE, one), outputs[0])

    def test_a_full_cache_refuses_and_changes_nothing(self, engine: Engine) -> None:
        """The session that finds no page is named, nothing was computed, and it goes on once another has ended."""
        engine.open(ONE, LONG)
        engine.open(OTHER, LONG)
        feed([engine], ONE, tokens_of(engine, LONG))
        feed([engine], OTHER, tokens_of(engine, 63))
        with pytest.raises(PoolFull) as caught:
            feed([engine], OTHER, tokens_of(engine, 2))
        assert (caught.value.session, caught.value.wanted, caught.value.free) == (OTHER, 1, 0)
        feed([engine], OTHER, tokens_of(engine, 1))
        assert (engine.length(ONE), engine.length(OTHER)) == (LONG, 64)
        engine.close(ONE)
        feed([engine], OTHER, tokens_of(engine, 2))

    def test_a_batch_finds_pages_for_all_or_for_none(self, engine: Engine) -> None:
        """Three pages wanted, two free: the third session is named, the other two got none."""
        engine.open(b"long", LONG)
        feed([engine], b"long", tokens_of(engine, 100))
        names = (ONE, OTHER, THIRD)
        for name in names:
            engine.open(name, 8)
        with pytest.raises(PoolFull) as caught:
            engine.forward([Chunk(name, 0, tokens_of(engine, 2)) for name in names])
        assert caught.value.session == THIRD
        assert engine.pages.free == 2
        assert [engine.length(name) for name in names] == [0, 0, 0]

    def test_the_same_number_of_other_pages_are_other_pages(self, load: LoadPaged) -> None:
        """A session that went back gave two pages away and gets two others: it reads and writes these, and not the old ones."""
        engine = self.with_pages(load, 6)
        one, other = tokens_of(engine, 130, 1), tokens_of(engine, 129, 2)
        engine.open(ONE, LONG)
        expected = feed([engine], ONE, one)
        engine.open(THIRD, LONG)
        right = feed([engine], THIRD, other)
        engine.close(THIRD)
        engine.truncate(ONE, 10)
        engine.open(OTHER, LONG)
        feed([engine], OTHER, other[:128])
        feed([engine], ONE, one[10:129])
        assert self.close(feed([engine], OTHER, other[128:]), right)
        assert self.close(feed([engine], ONE, one[129:]), expected)

    def test_a_saved_session_goes_on_in_another_engine(self, load: LoadPaged) -> None:
        """Copied out, closed, and restored, here in other pages or there: the next logits are the same."""
        here, there = self.with_pages(load, 6), self.with_pages(load, 3)
        tokens = tokens_of(here, 150)
        here.open(b"first page", 8)
        feed([here], b"first page", tokens[:3])
        here.open(ONE, LONG)
        feed([here], ONE, tokens[:100])
        saved = here.save(ONE)
        expected = feed([here], ONE, tokens[100:])
        here.close(ONE)
        for engine in (here, there):
            engine.restore(ONE, saved)
            assert engine.length(ONE) == 100
            assert self.close(feed([engine], ONE, tokens[100:]), expected)

    def test_what_does_not_fit_is_not_restored(self, engine: Engine) -> None:
        """No pages, a name that is taken, another length, dtype or shape: refused, and nothing is open."""
        engine.open(ONE, LONG)
        feed([engine], ONE, tokens_of(engine, 70))
        saved = engine.save(ONE)
        with pytest.raises(SessionExists):
            engine.restore(ONE, saved)
        engine.restore(OTHER, saved)
        with pytest.raises(PoolFull):
            engine.restore(THIRD, saved)
        engine.close(OTHER)
        doubles = tuple(each.double() for each in saved.tensors)
        for wrong in (
            SavedSession(saved.span, LONG, 71, saved.tensors),
            SavedSession(saved.span, 69, 70, saved.tensors),
            SavedSession(saved.span, LONG, 70, doubles),
            SavedSession(saved.span, LONG, 70, saved.tensors[:-1]),
            SavedSession(Span(0, 1), LONG, 70, saved.tensors),
        ):
            with pytest.raises(ShapeMismatch):
                engine.restore(THIRD, wrong)
        with pytest.raises(CacheFull):
            engine.restore(THIRD, SavedSession(saved.span, engine.spec.max_positions + 1, 70, saved.tensors))
        with pytest.raises(UnknownSession):
            engine.length(THIRD)
        assert engine.pages.free == 2

    def test_an_empty_session_can_be_saved(self, engine: Engine) -> None:
        """It has no bytes, and goes on like a new one."""
        engine.open(ONE, 8)
        saved = engine.save(ONE)
        engine.close(ONE)
        engine.restore(ONE, saved)
        assert (saved.nbytes, engine.length(ONE)) == (0, 0)

    def test_capacity_can_be_changed(self, engine: Engine) -> None:
        """Not below what is there, nor past the model; then the session ends at the new place."""
        engine.open(ONE, 4)
        feed([engine], ONE, tokens_of(engine, 4))
        for wrong in (0, 3, engine.spec.max_positions + 1):
            with pytest.raises(CacheFull):
                engine.resize(ONE, wrong)
        engine.resize(ONE, 5)
        feed([engine], ONE, tokens_of(engine, 1))
        with pytest.raises(CacheFull):
            feed([engine], ONE, tokens_of(engine, 1))

    def test_a_session_may_run_over_some_of_the_blocks(self, engine: Engine, load: LoadPaged) -> None:
        """Beginning, middle and end of the span in one batch: each gives what an engine over just these blocks gives."""
        blocks = engine.spec.num_blocks
        cuts = [Span(0, 1), Span(1, 2), Span(2, blocks), Span(0, blocks)]
        small = [load(cut, 4 * engine.page_bytes) for cut in cuts]
        names = [str(cut).encode() for cut in cuts]

        small[0].open(b"rows", 16)
        [hidden] = small[0].forward([Chunk(b"rows", 0, tokens_of(engine, 9))])
        inputs = [tokens_of(engine, 9), hidden, hidden, tokens_of(engine, 9)]
        for name, cut, alone in zip(names, cuts, small, strict=True):
            engine.open(name, 16, cut)
            alone.open(name, 16)
        for start, end in ((0, 5), (5, 9)):
            batch = [Chunk(name, start, rows[start:end]) for name, rows in zip(names, inputs, strict=True)]
            for chunk, alone, output in zip(batch, small, engine.forward(batch), strict=True):
                assert self.close(output, alone.forward([chunk])[0])
        saved = engine.save(names[1])
        engine.close(names[1])
        engine.restore(names[1], saved)
        assert (saved.span, saved.tensors[0].shape[0], engine.length(names[1])) == (cuts[1], 1, 9)

    def test_blocks_that_are_not_there_cannot_be_asked_for(self, load: LoadPaged) -> None:
        """One before and one past the span's ends."""
        middle = load(Span(1, 3), 1)
        for wrong in (Span(0, 2), Span(2, 4), Span(0, 4)):
            with pytest.raises(SpanError):
                middle.open(ONE, 8, wrong)
        middle.open(ONE, 8, Span(2, 3))

    def test_logits_come_where_they_are_wanted(self, engine: Engine) -> None:
        """A chunk that wants none gets none; the others' are what they are without it."""
        tokens = tokens_of(engine, 9)
        for name in (ONE, OTHER, THIRD):
            engine.open(name, 16)
        mixed = engine.forward(
            [Chunk(ONE, 0, tokens[:3], False), Chunk(OTHER, 0, tokens), Chunk(THIRD, 0, tokens[:2], False)]
        )
        assert [len(each) for each in mixed] == [0, engine.spec.vocab_size, 0]
        assert self.close(feed([engine], ONE, tokens[3:]), mixed[1])
        [nothing] = engine.forward([Chunk(THIRD, 2, tokens[2:4], False)])
        assert nothing.shape == (0,)
        assert nothing.dtype == engine.hidden_dtype
