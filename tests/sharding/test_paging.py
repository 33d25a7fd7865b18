"""Pages: given out once, freed by the last holder, remembered until the room is needed."""

import random
from collections import Counter

import pytest

from sharding.paging import PAGE_POSITIONS, PagePool, pages_for


@pytest.mark.parametrize(("positions", "pages"), [(0, 0), (1, 1), (64, 1), (65, 2), (128, 2), (129, 3)])
def test_a_page_holds_64_positions(positions: int, pages: int) -> None:
    """The last one may be filled in part."""
    assert pages_for(positions) == pages
    assert PAGE_POSITIONS == 64


def test_the_lowest_page_is_given_out_first() -> None:
    """Memory that was never needed is never touched."""
    pool = PagePool(10)
    assert pool.take(3) == [0, 1, 2]
    pool.release([1])
    assert pool.take(2) == [1, 3]


def test_all_or_none_are_given_out() -> None:
    """Ten of ten can be had, an eleventh not, and a refusal takes nothing."""
    pool = PagePool(10)
    assert pool.take(11) is None
    assert pool.free == 10
    assert pool.take(10) == list(range(10))
    assert pool.take(1) is None
    assert pool.take(0) == []


def test_a_shared_page_is_freed_by_its_last_holder() -> None:
    """A session that adopts a page keeps it when the one that filled it has gone."""
    pool = PagePool(2)
    pool.publish([b"k"], pages := pool.take(1) or [])
    assert pool.adopt([b"k"]) == pages
    pool.forget_all()
    pool.release(pages)
    assert pool.free == 1
    pool.release(pages)
    assert pool.free == 2


def test_remembered_pages_count_as_free_and_go_when_needed() -> None:
    """The least recently used goes first; one that is in use never does."""
    pool = PagePool(3)
    pages = pool.take(3) or []
    pool.publish([b"a", b"b", b"c"], pages)
    pool.release(pages)
    assert pool.free == 3
    held = pool.adopt([b"a"])
    assert pool.free == 2
    taken = pool.take(1) or []
    assert taken == [1], "b was used longest ago"
    assert (pool.known([b"a"]), pool.known([b"b"]), pool.known([b"c"])) == (1, 0, 1)
    assert pool.take(2) is None
    pool.release(held)
    assert pool.take(2) == [2, 0]


def test_known_stops_at_the_first_gap() -> None:
    """A prefix is whole or not there."""
    pool = PagePool(3)
    pool.publish([b"a", b"c"], pool.take(2) or [])
    assert pool.known([b"a", b"b", b"c"]) == 1
    assert pool.known([]) == 0
    with pytest.raises(KeyError):
        pool.adopt([b"a", b"b"])


def test_a_key_keeps_its_first_page() -> None:
    """Two sessions that began alike publish the same key: the second one's page is its own and is freed with it."""
    pool = PagePool(2)
    one, other = pool.take(1) or [], pool.take(1) or []
    pool.publish([b"k"], one)
    pool.publish([b"k"], other)
    assert pool.adopt([b"k"]) == one
    assert not pool.is_shared(other[0])


def test_what_must_not_be_written_to_is_known() -> None:
    """A page with two holders, and one that the cache remembers."""
    pool = PagePool(2)
    [page] = pool.take(1) or []
    assert not pool.is_shared(page)
    pool.publish([b"k"], [page])
    assert pool.is_shared(page)


def test_a_page_can_be_forgotten_while_it_is_in_use() -> None:
    """Then it is its holder's alone; only a page with one holder is shared by nothing but the memory of it."""
    pool = PagePool(2)
    pages = pool.take(1) or []
    assert not pool.is_only_remembered(pages[0])
    pool.publish([b"k"], pages)
    assert pool.is_only_remembered(pages[0])
    pool.adopt([b"k"])
    assert not pool.is_only_remembered(pages[0])
    pool.release(pages)
    pool.forget(pages[0])
    assert (pool.known([b"k"]), pool.is_shared(pages[0]), pool.free) == (0, False, 1)
    with pytest.raises(KeyError):
        pool.forget(pages[0])
    pool.release(pages)
    assert pool.take(2) == [0, 1]


@pytest.mark.parametrize("seed", range(20))
def test_no_page_is_lost_or_held_by_strangers(seed: int) -> None:
    """Random sessions, publishing and adopting: pages are held by those that were given them, and all come back."""
    draw, pool = random.Random(seed), PagePool(12)
    sessions: list[list[int]] = []
    for step in range(400):
        match draw.randrange(4):
            case 0:
                if (pages := pool.take(draw.randrange(4))) is not None:
                    assert not set(pages) & {page for each in sessions for page in each}
                    sessions.append(pages)
            case 1 if sessions:
                pool.release(sessions.pop(draw.randrange(len(sessions))))
            case 2 if sessions:
                pages = draw.choice(sessions)
                pool.publish([f"{step}:{page}".encode() for page in pages], pages)
            case 3:
                key = f"{draw.randrange(step + 1)}:{draw.randrange(12)}".encode()
                if pool.known([key]):
                    sessions.append(pool.adopt([key]))
        held = Counter(page for each in sessions for page in each)
        assert pool.free == 12 - len(held)
    for pages in sessions:
        pool.release(pages)
    assert pool.free == 12
    assert sorted(pool.take(12) or []) == list(range(12))
