"""How long a token may take before it is looked into."""

import random

import pytest

from node.patience import REMEMBERED, SHORTEST_SECONDS, TIMES_P95, Patience


def after(*seconds: float) -> float:
    patience = Patience()
    for each in seconds:
        patience.took(each)
    return patience.seconds


def test_nothing_known_is_two_seconds() -> None:
    """And fast tokens never make it shorter."""
    assert after() == SHORTEST_SECONDS == 2.0
    assert after(*[0.001] * 100) == 2.0


@pytest.mark.parametrize(("seconds", "patience"), [(0.25, 2.0), (0.2500001, 8 * 0.2500001), (5.0, 40.0)])
def test_slow_tokens_make_it_longer(seconds: float, patience: float) -> None:
    """From a quarter of a second on it is eight times what a token takes."""
    assert after(seconds) == patience
    assert after(*[seconds] * 50) == patience


def test_less_than_a_twentieth_of_slow_tokens_does_not_count() -> None:
    """Of forty tokens one may be slow; two are the 95th percentile."""
    assert after(*[0.01] * 38, 9.0, 9.0) == TIMES_P95 * 9.0
    assert after(*[0.01] * 39, 9.0) == 2.0


@pytest.mark.parametrize("seed", range(5))
def test_at_most_a_twentieth_took_longer(seed: int) -> None:
    """Whatever the durations are and in whatever order they come."""
    chance = random.Random(seed)
    seconds = [chance.expovariate(0.5) + 0.3 for _ in range(chance.randrange(1, REMEMBERED + 1))]
    percentile = after(*seconds) / TIMES_P95
    assert sum(each > percentile + 1e-9 for each in seconds) <= len(seconds) / 20


def test_what_is_long_past_is_forgotten() -> None:
    """64 tokens are remembered: the slow beginning is gone with the 64th fast one, and not before."""
    slow = [9.0] * 10
    assert after(*slow, *[0.01] * (REMEMBERED - 4)) == 72.0
    assert after(*slow, *[0.01] * REMEMBERED) == 2.0
