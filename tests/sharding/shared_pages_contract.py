"""What every engine must keep of pages that are shared: the first part of PagingContract, see there."""

from collections.abc import Callable

import pytest
import torch

from sharding.engine import Chunk, Engine
from sharding.errors import CacheFull, PoolFull, ShapeMismatch, UnknownSession
from sharding.paging import PAGE_POSITIONS
from sharding.span import Span
from tests.sharding.chains import feed

LoadPaged = Callable[[Span, int], Engine]
ONE, OTHER, THIRD = b"one", b"other", b"third"
LONG = 3 * PAGE_POSITIONS


def tokens_of(engine: Engine, count: int, seed: int = 5) -> torch.Tensor:
    return torch.randint(0, engine.spec.vocab_size, (count,), generator=torch.Generator().manual_seed(seed))


class SharedPagesContract:
    """Three blocks, whole model; `tolerance` as in EngineContract."""

    tolerance = 0.0

    @pytest.fixture
    def load(self) -> LoadPaged:
        raise NotImplementedError

    @pytest.fixture
    def engine(self, load: LoadPaged) -> Engine:
        """With four pages."""
        return self.with_pages(load, 4)

    def with_pages(self, load: LoadPaged, pages: int) -> Engine:
        spec = load(Span(0, 1), 1).spec
        page_bytes = load(spec.whole, 1).page_bytes
        return load(spec.whole, pages * page_bytes)

    def close(self, one: torch.Tensor, other: torch.Tensor) -> bool:
        return bool(((one - other).abs() <= self.tolerance).all())

    def test_a_remembered_prefix_gives_the_same_tokens(self, engine: Engine) -> None:
        """A session that adopts two pages and computes the rest gets the logits of one that computed all."""
        tokens = tokens_of(engine, 140)
        engine.open(ONE, LONG)
        expected = feed([engine], ONE, tokens)
        engine.publish(ONE, [b"a", b"ab"])
        engine.close(ONE)
        engine.open(OTHER, LONG)
        assert engine.adopt(OTHER, [b"a", b"ab", b"abc"]) == 128 == engine.length(OTHER)
        assert self.close(feed([engine], OTHER, tokens[128:]), expected)

    def test_adopted_pages_cost_no_room(self, load: LoadPaged) -> None:
        """Two sessions over one prefix of two pages need four pages, not six, and neither disturbs the other."""
        engine = self.with_pages(load, 4)
        tokens = tokens_of(engine, 130)
        engine.open(ONE, LONG)
        feed([engine], ONE, tokens)
        engine.publish(ONE, [b"a", b"ab"])
        engine.open(OTHER, LONG)
        engine.adopt(OTHER, [b"a", b"ab"])
        one, other = tokens_of(engine, 20, 7), tokens_of(engine, 20, 8)
        feed([engine], OTHER, torch.cat([tokens[128:], other]))
        mixed = feed([engine], ONE, one)
        assert engine.pages.free == 0
        engine.close(OTHER)
        engine.truncate(ONE, 130)
        assert self.close(feed([engine], ONE, one), mixed)

    def test_going_back_into_a_shared_page_leaves_it_as_it_was(self, engine: Engine) -> None:
        """The session gets a page of its own to write into; who adopted the old one sees no change."""
        tokens, wrong = tokens_of(engine, 65), tokens_of(engine, 60, 9)
        engine.open(ONE, LONG)
        expected = feed([engine], ONE, tokens)
        engine.publish(ONE, [b"a"])
        engine.truncate(ONE, 10)
        assert engine.pages_wanted(ONE, 1) == 1
        feed([engine], ONE, wrong)
        engine.open(OTHER, LONG)
        assert engine.adopt(OTHER, [b"a"]) == 64
        assert self.close(feed([engine], OTHER, tokens[64:]), expected)
        engine.truncate(ONE, 10)
        assert self.close(feed([engine], ONE, tokens[10:]), expected)

    @pytest.mark.parametrize("pages", [3, 5])
    def test_a_full_pool_forgets_a_page_rather_than_have_its_owner_wait(self, load: LoadPaged, pages: int) -> None:
        """A session that needs all three pages went back into one that is remembered; where two more are free it is copied."""
        engine = self.with_pages(load, pages)
        tokens = tokens_of(engine, LONG)
        engine.open(ONE, LONG)
        expected = feed([engine], ONE, tokens)
        engine.publish(ONE, [b"a", b"ab", b"abc"])
        engine.truncate(ONE, 70)
        assert engine.pages_wanted(ONE, LONG - 70) == (1 if pages == 3 else 2)
        assert self.close(feed([engine], ONE, tokens[70:]), expected)
        engine.close(ONE)
        engine.open(OTHER, LONG)
        assert engine.adopt(OTHER, [b"a", b"ab"]) == (64 if pages == 3 else 128)

    def test_a_page_that_another_session_reads_is_never_written_to(self, load: LoadPaged) -> None:
        """With nothing to copy it to, its owner is refused; when the other has left, it goes on."""
        engine = self.with_pages(load, 2)
        tokens = tokens_of(engine, 128)
        engine.open(ONE, LONG)
        expected = feed([engine], ONE, tokens)
        engine.publish(ONE, [b"a"])
        engine.open(OTHER, LONG)
        engine.adopt(OTHER, [b"a"])
        engine.truncate(ONE, 10)
        with pytest.raises(PoolFull) as caught:
            feed([engine], ONE, tokens[10:])
        assert (caught.value.wanted, caught.value.free) == (2, 1)
        engine.close(OTHER)
        assert self.close(feed([engine], ONE, tokens[10:]), expected)

    def test_a_batch_whose_sessions_all_went_back_finds_pages_for_all(self, load: LoadPaged) -> None:
        """One page is free for two that would each copy one: both go on, with their own bytes."""
        engine = self.with_pages(load, 3)
        one, other = tokens_of(engine, 64, 1), tokens_of(engine, 64, 2)
        for name, tokens in ((ONE, one), (OTHER, other)):
            engine.open(name, LONG)
            feed([engine], name, tokens)
            engine.publish(name, [name])
        expected = [engine.save(name) for name in (ONE, OTHER)]
        for name in (ONE, OTHER):
            engine.truncate(name, 10)
        engine.forward([Chunk(ONE, 10, one[10:]), Chunk(OTHER, 10, other[10:])])
        for name, saved in zip((ONE, OTHER), expected, strict=True):
            for kept, found in zip(saved.tensors, engine.save(name).tensors, strict=True):
                assert self.close(kept, found)

    def test_only_full_pages_are_remembered(self, engine: Engine) -> None:
        """Of 127 positions one page can be named, not two."""
        engine.open(ONE, LONG)
        feed([engine], ONE, tokens_of(engine, 127))
        with pytest.raises(ShapeMismatch):
            engine.publish(ONE, [b"a", b"b"])
        engine.publish(ONE, [b"a"])
        with pytest.raises(UnknownSession):
            engine.publish(OTHER, [])

    def test_a_prefix_is_adopted_at_the_beginning_and_within_the_capacity(self, engine: Engine) -> None:
        """A session that has positions, is too short, or is unknown adopts nothing."""
        engine.open(ONE, LONG)
        feed([engine], ONE, tokens_of(engine, 64))
        engine.publish(ONE, [b"a"])
        with pytest.raises(ShapeMismatch):
            engine.adopt(ONE, [b"a"])
        engine.open(OTHER, 63)
        with pytest.raises(CacheFull):
            engine.adopt(OTHER, [b"a"])
        engine.resize(OTHER, 64)
        assert engine.adopt(OTHER, [b"a"]) == 64
        with pytest.raises(UnknownSession):
            engine.adopt(THIRD, [b"a"])
