"""Reliability: a lower bound that evidence raises, failures lower, and time takes back to what strangers get."""

import math

import pytest

from node.outcomes import FIRST_REST_SECONDS, HALF_LIFE_SECONDS, MAX_EVIDENCE, MAX_REST_SECONDS, Outcomes, lower_bound
from node.routing_errors import MeasurementInvalid

STRANGER = Outcomes().reliability(0.0)


def after(successes: int, failures: int) -> float:
    """The reliability straight after that many of each."""
    outcomes = Outcomes()
    for _ in range(successes):
        outcomes.succeeded(0.0)
    for _ in range(failures):
        outcomes.failed(0.0)
    return outcomes.reliability(0.0)


def chance_below(bound: float, successes: int, failures: int) -> float:
    """The mass of Beta(successes, failures) below a value, from the binomial distribution."""
    trials = successes + failures - 1
    return sum(math.comb(trials, k) * bound**k * (1 - bound) ** (trials - k) for k in range(successes, trials + 1))


@pytest.mark.parametrize("successes", [1, 2, 4, 5, 24, 104])
@pytest.mark.parametrize("failures", [1, 2, 5, 101])
def test_the_bound_lies_at_or_just_below_the_true_quantile(successes: int, failures: int) -> None:
    """Never above the 5 % quantile, so it stays a lower bound; at most 0.07 below it."""
    bound = lower_bound(successes, failures)

    assert chance_below(bound, successes, failures) <= 0.0501
    assert chance_below(min(bound + 0.07, 1.0), successes, failures) > 0.05


def test_successes_raise_and_failures_lower_the_bound() -> None:
    """Each one more, from a stranger's place on."""
    rising = [after(count, 0) for count in range(30)]
    falling = [after(0, count) for count in range(30)]

    assert rising[0] == falling[0] == STRANGER
    assert rising == sorted(set(rising))
    assert falling == sorted(set(falling), reverse=True)
    assert 0 < falling[-1] < 0.1 < STRANGER < 0.5 < 0.8 < rising[-1] < 1


def test_much_evidence_is_worth_more_than_little_of_the_same_kind() -> None:
    """Nineteen of twenty say more than the first one."""
    assert after(190, 10) > after(19, 1)


def test_time_leads_back_to_a_stranger() -> None:
    """Half of what is known after half an hour, nothing after a day."""
    outcomes = Outcomes()
    for _ in range(8):
        outcomes.failed(0.0)

    assert outcomes.reliability(HALF_LIFE_SECONDS) == pytest.approx(after(0, 4))
    assert outcomes.reliability(86_400.0) == pytest.approx(STRANGER, abs=1e-3)


def test_a_long_past_does_not_hide_the_present() -> None:
    """Evidence ends at a limit: a node with a thousand successes falls as fast as one with a hundred."""
    assert after(1000, 5) == after(int(MAX_EVIDENCE), 5)
    assert after(int(MAX_EVIDENCE) - 1, 5) < after(int(MAX_EVIDENCE), 5)


def test_a_failure_is_followed_by_a_rest_that_doubles() -> None:
    """One second, two, four, up to a minute; over at its end."""
    outcomes = Outcomes()
    assert not outcomes.rests(0.0)
    for failures in range(1, 40):
        outcomes.failed(100.0)
        rest = min(FIRST_REST_SECONDS * 2 ** (failures - 1), MAX_REST_SECONDS)

        assert outcomes.rests(100.0 + rest - 0.01)
        assert not outcomes.rests(100.0 + rest)


def test_a_success_ends_the_rest() -> None:
    """And the next failure is the first in a row again."""
    outcomes = Outcomes()
    for _ in range(5):
        outcomes.failed(0.0)
    outcomes.succeeded(1.0)

    assert not outcomes.rests(1.0)
    outcomes.failed(2.0)
    assert not outcomes.rests(2.0 + FIRST_REST_SECONDS)


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_evidence_without_a_proper_weight_is_refused(weight: float) -> None:
    """Nothing has changed afterwards."""
    outcomes = Outcomes()
    for count in (outcomes.succeeded, outcomes.failed):
        with pytest.raises(MeasurementInvalid):
            count(1.0, weight)

    assert outcomes == Outcomes()
