"""In which order a client does without nodes, and how long one that is busy is left alone."""

import pytest

from node.attempts import MAX_BUSY_SECONDS, Attempts
from tests.node.records import address

ONE, TWO, THREE = map(address, (1, 2, 3))


def order(attempts: Attempts) -> list[frozenset[str]]:
    """What is tried when nothing of it leads anywhere."""
    tried = []
    while attempts:
        tried.append(frozenset[str](attempts.excluded))
        attempts.drop()
    return tried


def test_suspects_are_left_out_one_after_the_other_before_anything_else() -> None:
    """Each besides those that were left out already; a set that is to be tried anyhow, or twice the same one, is tried once."""
    attempts = Attempts([frozenset({ONE}), frozenset()])
    attempts.divide([TWO, THREE, TWO])
    assert order(attempts) == [{ONE, TWO}, {ONE, THREE}, set()]

    attempts = Attempts([frozenset(), frozenset({TWO})])
    attempts.divide([ONE, TWO])
    assert order(attempts) == [{ONE}, {TWO}]


def test_who_is_busy_is_asked_again_when_all_else_has_been_tried() -> None:
    """Only routes over that node wait, and only until the time that it said."""
    now = 100.0
    attempts = Attempts([frozenset({ONE}), frozenset()], lambda: now)
    attempts.divide([TWO])
    attempts.come_back(frozenset({ONE}), TWO, 500)
    assert order(attempts) == [{ONE, TWO}, set(), {ONE}]
    assert (attempts.seconds_for([ONE, THREE]), attempts.seconds_for([])) == (0.0, 0.0)
    assert attempts.seconds_for([THREE, TWO]) == 0.5
    now += 0.5
    assert attempts.seconds_for([THREE, TWO]) == 0.0
    now += 1.0
    assert attempts.seconds_for([THREE, TWO]) == 0.0


@pytest.mark.parametrize(("milliseconds", "seconds"), [(0, 0.0), (5000, 5.0), (5001, 5.0), (2**32 - 1, 5.0)])
def test_a_strangers_number_is_bounded(milliseconds: int, seconds: float) -> None:
    """At the bound, one past it, and far past it."""
    attempts = Attempts([frozenset()], lambda: 0.0)
    attempts.come_back(frozenset(), ONE, milliseconds)
    assert attempts.seconds_for([ONE]) == seconds <= MAX_BUSY_SECONDS
