"""The hint follows demand: never by more than an eighth, never below the floor, and it comes to rest at half."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.errors import PriceError
from incentives.price_hint import LOWEST_HINT, Utilisation, hint_after, next_hint
from incentives.prices import MAX_ASK

HINTS = st.integers(LOWEST_HINT, MAX_ASK)
AMOUNTS = st.integers(0, 2**128)
HALF, FULL, EMPTY = Utilisation(50, 100), Utilisation(100, 100), Utilisation(0, 100)


@given(HINTS, AMOUNTS, AMOUNTS)
def test_a_step_is_at_most_an_eighth_and_in_the_right_direction(hint: int, used: int, capacity: int) -> None:
    """For any sizes at all: up above half, down below, and exactly nothing at half."""
    after = next_hint(hint, Utilisation(used, capacity))
    if after not in (LOWEST_HINT, MAX_ASK):
        assert 8 * abs(after - hint) <= hint
    above = (2 * min(used, capacity) > capacity) - (2 * min(used, capacity) < capacity)
    assert (after > hint) <= (above > 0)
    assert (after < hint) <= (above < 0)


@given(HINTS, AMOUNTS, AMOUNTS, AMOUNTS)
def test_more_use_never_lowers_the_hint(hint: int, capacity: int, one: int, other: int) -> None:
    """And less never raises it."""
    less, more = sorted((one, other))
    assert next_hint(hint, Utilisation(less, capacity)) <= next_hint(hint, Utilisation(more, capacity))


@given(HINTS, st.integers(0, MAX_ASK), AMOUNTS, AMOUNTS)
def test_the_hint_stays_within_floor_and_ceiling(hint: int, floor: int, used: int, capacity: int) -> None:
    """Whatever the step would have been."""
    assert max(floor, LOWEST_HINT) <= next_hint(hint, Utilisation(used, capacity), floor) <= MAX_ASK


def test_the_steps_at_full_half_and_no_use() -> None:
    """An eighth up, none, an eighth down; past full is full."""
    assert [next_hint(8_000, each) for each in (FULL, HALF, EMPTY)] == [9_000, 8_000, 7_000]
    assert next_hint(8_000, Utilisation(101, 100)) == 9_000
    assert next_hint(8_000, Utilisation(75, 100)) == 8_500


def test_the_floor_holds_at_its_unit() -> None:
    """The step would lead one unit below it, or just to it."""
    assert next_hint(8_000, EMPTY, 7_001) == 7_001
    assert next_hint(8_000, EMPTY, 7_000) == 7_000
    assert next_hint(8_000, EMPTY, 6_999) == 7_000
    assert next_hint(8_000, FULL, 10_000) == 10_000


def test_the_ceiling_is_that_of_an_ask() -> None:
    """From there on demand changes nothing, and no number grows past it."""
    assert next_hint(MAX_ASK, FULL) == MAX_ASK
    assert next_hint(MAX_ASK - 1, FULL) == MAX_ASK
    assert next_hint(MAX_ASK, Utilisation(2**200, 2**200)) == MAX_ASK


def test_the_lowest_hint_can_rise_again() -> None:
    """Were it lower, an eighth of it would be nothing for ever."""
    assert next_hint(0, EMPTY) == LOWEST_HINT
    assert next_hint(LOWEST_HINT, EMPTY) == LOWEST_HINT
    assert next_hint(LOWEST_HINT, FULL) == LOWEST_HINT + 1


def test_where_nothing_is_offered_the_hint_stands_still() -> None:
    """There is no share of nothing."""
    assert next_hint(8_000, Utilisation(0, 0)) == 8_000
    assert next_hint(8_000, Utilisation(5, 0)) == 8_000


@pytest.mark.parametrize("elasticity", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("start", [10**9, 10**12, 10**15])
def test_the_hint_comes_to_rest_where_half_is_used(start: int, elasticity: float) -> None:
    """From a thousandth or a thousand times the right price, for customers who mind prices little or much."""
    right, capacity = 10**12, 10**6

    def bought(hint: int) -> Utilisation:
        return Utilisation(min(capacity, round(capacity / 2 * (right / hint) ** elasticity)), capacity)

    hint = settle_down(start, bought, 200)
    assert abs(hint - right) <= right // 1_000
    assert abs(bought(hint).used - capacity // 2) <= capacity // 1_000


def test_the_hint_follows_a_sudden_change() -> None:
    """Demand doubles: the price doubles in a few epochs, and comes back when demand does."""
    capacity = 10**6

    def demand(price: int) -> Callable[[int], Utilisation]:
        return lambda hint: Utilisation(min(capacity, capacity * price // (2 * hint)), capacity)

    up = settle_down(10**12, demand(2 * 10**12), 60)
    assert abs(up - 2 * 10**12) <= 2 * 10**9
    assert abs(settle_down(up, demand(10**12), 60) - 10**12) <= 10**9


def settle_down(hint: int, bought: Callable[[int], Utilisation], epochs: int) -> int:
    """The hint after so many epochs of customers who answer to it."""
    for _ in range(epochs):
        hint = next_hint(hint, bought(hint))
    return hint


def test_epochs_are_counted_one_after_the_other() -> None:
    """Oldest first, with the same floor."""
    assert hint_after(8_000, [FULL, FULL, EMPTY], 8_900) == 8_900
    assert hint_after(8_000, [FULL, EMPTY]) == 9_000 - 9_000 // 8
    assert hint_after(8_000, []) == 8_000


def test_the_nodes_of_a_model_are_added_up() -> None:
    """A large node counts for more than a small one."""
    assert Utilisation(10, 10) + Utilisation(0, 90) == Utilisation(10, 100)


@pytest.mark.parametrize(("hint", "floor"), [(-1, 0), (MAX_ASK + 1, 0), (8, -1), (8, MAX_ASK + 1)])
def test_what_is_no_ask_is_refused(hint: int, floor: int) -> None:
    """As hint and as floor; the largest ask is one."""
    assert next_hint(MAX_ASK, EMPTY, MAX_ASK) == MAX_ASK
    with pytest.raises(PriceError):
        next_hint(hint, HALF, floor)


@pytest.mark.parametrize(("used", "capacity"), [(-1, 0), (0, -1)])
def test_negative_amounts_of_work_are_refused(used: int, capacity: int) -> None:
    """Nobody can have sold them."""
    with pytest.raises(PriceError):
        Utilisation(used, capacity)
