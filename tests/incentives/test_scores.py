"""Scores: evidence fades, a fault always hurts, and little evidence never looks good."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.scores import FAULT, MAX_FAULTS, MAX_MASS, ONE, WHOLE, Masses, credit_of, kept

mass = st.integers(0, MAX_MASS) | st.integers(0, 200 * ONE)
masses = st.builds(Masses, mass, mass)
half_life = st.integers(1, 3_650 * 86_400) | st.sampled_from([1, 840, 14 * 86_400])
seconds = st.integers(0, 2**34) | st.integers(0, 100)
UNIT = 1 << 120


@given(masses, seconds, seconds, half_life)
def test_fading_in_two_steps_or_in_one_differs_by_a_unit_in_the_last_place(
    start: Masses, first: int, second: int, life: int
) -> None:
    """Whatever the steps; with a step of nothing not at all."""
    once = start.decayed(kept(first + second, life))
    twice = start.decayed(kept(first, life)).decayed(kept(second, life))
    assert abs(once.a - twice.a) <= 1
    assert abs(once.b - twice.b) <= 1
    if second == 0:
        assert once == twice


@given(seconds, half_life)
def test_the_factor_is_a_power_of_two_to_85_binary_places(elapsed: int, life: int) -> None:
    """Against the same power in 80 decimal digits."""
    with localcontext() as context:
        context.prec = 80
        exact = Decimal(2) ** (-Decimal(elapsed) / Decimal(life))
        assert abs(Decimal(kept(elapsed, life)) / UNIT - exact) < Decimal(2) ** -85


@given(seconds, seconds, half_life)
def test_later_never_means_more(first: int, second: int, life: int) -> None:
    """And never more than all of it."""
    low, high = sorted((first, second))
    assert 0 <= kept(high, life) <= kept(low, life) <= UNIT


@pytest.mark.parametrize("life", [1, 840, 14 * 86_400])
def test_half_is_left_after_a_half_life_and_nothing_in_the_end(life: int) -> None:
    """Exactly half, up to the rounding."""
    assert kept(0, life) == UNIT
    for halvings in (1, 2, 31, 119):
        assert kept(halvings * life, life) == UNIT >> halvings
    assert kept(120 * life, life) == 0
    assert Masses(MAX_MASS, 1).decayed(kept(life, life)) == Masses(MAX_MASS // 2, 0)


@given(masses, st.integers(0, MAX_MASS), st.integers(0, 40))
def test_a_fault_never_raises_a_score(start: Masses, credit: int, faults: int) -> None:
    """Not even together with all the credit that the epoch would have brought anyway."""
    assert start.updated(credit, faults + 1).published <= start.updated(credit, faults).published
    assert start.updated(0, 1).published <= start.published


@given(masses, mass)
def test_evidence_for_never_lowers_and_evidence_against_never_raises_a_score(start: Masses, more: int) -> None:
    """By one step of a mass as by many."""
    for step in (1, more):
        better = Masses(min(start.a + step, MAX_MASS), start.b)
        worse = Masses(start.a, min(start.b + step, MAX_MASS))
        assert worse.published <= start.published <= better.published


@given(masses)
def test_a_score_is_between_nothing_and_all(start: Masses) -> None:
    """Ten-thousandths; never the whole, since nobody is certain."""
    assert 0 <= start.published < WHOLE


@given(masses)
def test_a_score_is_the_bound_rounded_down(start: Masses) -> None:
    """Mean minus one over the root of n + 1, against 60 digits."""
    with localcontext() as context:
        context.prec = 60
        alpha, n = Decimal(start.a + ONE), Decimal(start.a + start.b + 2 * ONE)
        exact = max(Decimal(0), alpha / n - (n / ONE + 1) ** Decimal("-0.5")) * WHOLE
        assert 0 <= exact - start.published < 1


def test_a_newcomer_is_at_the_floor_and_rises_with_audited_work() -> None:
    """So a new name gains nothing over a bad one; some figures to compare by eye."""
    published = [Masses(units * ONE, 0).published for units in (0, 1, 4, 20, 100, 1_000, 65_535)]
    assert published == [0, 1666, 4553, 7460, 8916, 9674, 9960]
    assert Masses(100 * ONE, 0).updated(0, 1).published == 2546


def test_a_fault_costs_fifty_units_or_as_much_as_there_is() -> None:
    """And half of the good; at the last figure below and at fifty."""
    assert Masses(0, 0).updated(0, 1) == Masses(0, FAULT)
    assert Masses(FAULT, 0).updated(0, 1) == Masses(FAULT // 2, FAULT)
    assert Masses(FAULT + 1, 0).updated(0, 1) == Masses(FAULT // 2, FAULT + 1)
    assert Masses(400 * ONE, ONE).updated(0, 2) == Masses(100 * ONE, 601 * ONE)


def test_credit_of_the_same_epoch_shelters_from_nothing() -> None:
    """It is added first, and then halved with the rest."""
    assert Masses(0, 0).updated(100 * ONE, 1) == Masses(50 * ONE, 100 * ONE)


def test_masses_stop_at_32_bits_and_faults_at_32() -> None:
    """The limit and one past it."""
    assert Masses(MAX_MASS - 1, 0).updated(1, 0) == Masses(MAX_MASS, 0)
    assert Masses(MAX_MASS - 1, 0).updated(2, 0) == Masses(MAX_MASS, 0)
    assert Masses(0, MAX_MASS - 1).updated(0, 1) == Masses(0, MAX_MASS)
    assert Masses(0, 0).updated(0, MAX_FAULTS) == Masses(0, MAX_FAULTS * FAULT)
    assert Masses(0, 0).updated(0, MAX_FAULTS + 1) == Masses(0, MAX_FAULTS * FAULT)
    for a, b in ((MAX_MASS + 1, 0), (0, MAX_MASS + 1), (-1, 0), (0, -1)):
        with pytest.raises(ValueError, match="32 bits"):
            Masses(a, b)


@pytest.mark.parametrize(("fee", "credit"), [
    (0, 0), (1, 65), (999, 65_470), (1_000, ONE), (3_999, 262_078), (4_000, 4 * ONE), (4_001, 4 * ONE), (2**96, 4 * ONE),
])  # fmt: skip
def test_credit_is_bought_up_to_the_cap_only(fee: int, credit: int) -> None:
    """Rounded down; at the cap and past it."""
    assert credit_of(fee, 1_000, 4 * ONE) == credit


@pytest.mark.parametrize(("fee", "unit", "cap"), [(-1, 1, 1), (1, 0, 1), (1, 1, -1), (1, 1, MAX_MASS + 1)])
def test_amounts_without_a_meaning_are_refused(fee: int, unit: int, cap: int) -> None:
    """Negative money, a unit of nothing, a cap that no mass can hold."""
    with pytest.raises(ValueError, match="credit for"):
        credit_of(fee, unit, cap)


@pytest.mark.parametrize(("elapsed", "life"), [(-1, 1), (0, 0), (0, -1)])
def test_time_does_not_run_backwards(elapsed: int, life: int) -> None:
    """Nor is there a half-life of nothing."""
    with pytest.raises(ValueError, match="half-life"):
        kept(elapsed, life)
