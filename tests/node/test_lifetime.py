"""What a process does about its memory once it has started."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from node.lifetime import OLD_THRESHOLD, freeze_heap


class Knot:
    """Refers to itself: only the collector frees it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture
def own_collector() -> Iterator[None]:
    """The process as it was, afterwards."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.mark.usefixtures("own_collector")
def test_what_is_there_is_collected_once_and_never_looked_at_again() -> None:
    """What is rubbish by then goes; full collections come after two of the middle generation, not ten."""
    rubbish = weakref.ref(Knot())
    freeze_heap()
    assert rubbish() is None
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[2] == OLD_THRESHOLD == 2


@pytest.mark.usefixtures("own_collector")
def test_what_comes_later_is_still_collected() -> None:
    """Frozen is only what was there."""
    freeze_heap()
    later = weakref.ref(Knot())
    gc.collect()
    assert later() is None
