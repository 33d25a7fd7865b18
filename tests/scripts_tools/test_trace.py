"""The load trace: the same for a seed, as fast as it is asked to be, rougher than chance, and never past the context."""

from itertools import pairwise
from statistics import fmean, median, pstdev

import pytest

from scripts.benchmarks.trace import (
    ANSWER_MEDIAN,
    CV_CHANGES_REQUESTS,
    PROMPT_MEDIAN,
    REFERENCE_CONTEXT,
    Request,
    TraceShape,
    make_trace,
)


def gaps(trace: tuple[Request, ...]) -> list[float]:
    """Seconds between requests."""
    return [after.at_seconds - before.at_seconds for before, after in pairwise(trace)]


def roughness(values: list[float]) -> float:
    """The coefficient of variation; 1 for chance arrivals."""
    return pstdev(values) / fmean(values)


def test_a_seed_always_gives_the_same_trace_and_another_one_another() -> None:
    """To the last token."""
    trace = make_trace(TraceShape(2.0, 512, 300, seed=1))

    assert trace == make_trace(TraceShape(2.0, 512, 300, seed=1))
    assert trace != make_trace(TraceShape(2.0, 512, 300, seed=2))


@pytest.mark.parametrize("rate", [0.5, 1.0, 40.0])
def test_the_mean_rate_is_what_was_asked_for_and_the_rest_does_not_change(rate: float) -> None:
    """The same requests, closer together: 0.5x, 1x and 2x of a capacity differ in nothing else."""
    trace, slow = make_trace(TraceShape(rate, 512, 400)), make_trace(TraceShape(0.25, 512, 400))

    assert trace[-1].at_seconds == pytest.approx(399 / rate)
    assert [(each.prompt_tokens, each.max_tokens, each.seed) for each in trace] == [
        (each.prompt_tokens, each.max_tokens, each.seed) for each in slow
    ]


def test_requests_come_in_order_from_zero_on() -> None:
    """At their times, not after each other's answers."""
    trace = make_trace(TraceShape(3.0, 512, 500))

    assert trace[0].at_seconds == 0.0
    assert min(gaps(trace)) >= 0.0


def test_arrivals_are_rougher_than_chance_and_not_always_alike() -> None:
    """A coefficient of variation above 1 over the whole, and windows that differ by a factor of two and more."""
    apart = gaps(make_trace(TraceShape(1.0, 512, 5000)))
    windows = [roughness(apart[at : at + CV_CHANGES_REQUESTS]) for at in range(0, 4950, CV_CHANGES_REQUESTS)]

    assert 1.3 < roughness(apart) < 2.5
    assert max(windows) > 2 * min(windows)


def test_lengths_have_their_medians_and_a_heavy_tail() -> None:
    """In the context that they come from; a tenth of the requests has far more than its share of the tokens."""
    trace = make_trace(TraceShape(1.0, REFERENCE_CONTEXT, 5000))
    prompts, answers = sorted(each.prompt_tokens for each in trace), sorted(each.max_tokens for each in trace)

    assert median(prompts) == pytest.approx(PROMPT_MEDIAN, rel=0.1)
    assert median(answers) == pytest.approx(ANSWER_MEDIAN, rel=0.1)
    assert fmean(prompts) > 1.25 * median(prompts)
    assert sum(answers[-500:]) > 0.25 * sum(answers)


@pytest.mark.parametrize("context", [2, 3, 64, 512, 4096, 100_000])
def test_no_request_is_past_the_context_and_none_is_empty(context: int) -> None:
    """Prompts take three quarters at most, answers what is left; the smallest context is one of each."""
    trace = make_trace(TraceShape(1.0, context, 2000))

    assert all(1 <= each.prompt_tokens <= max(1, context * 3 // 4) and each.max_tokens >= 1 for each in trace)
    assert max(each.prompt_tokens + each.max_tokens for each in trace) <= context


def test_one_request_is_a_trace() -> None:
    """It comes at once."""
    [only] = make_trace(TraceShape(1.0, 64, 1))

    assert only.at_seconds == 0.0


BAD = [(0.0, 64, 1), (-1.0, 64, 1), (float("nan"), 64, 1), (float("inf"), 64, 1), (1.0, 1, 1), (1.0, 64, 0)]


@pytest.mark.parametrize(("rate", "context", "count"), BAD)
def test_a_trace_that_cannot_be_is_refused(rate: float, context: int, count: int) -> None:
    """One past each limit."""
    with pytest.raises(ValueError, match="ask for at least one request, a positive rate"):
        TraceShape(rate, context, count)
