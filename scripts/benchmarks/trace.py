"""A seeded trace of requests that come when they come, whether the network keeps up or not (an open loop).

Source: Wang et al., "BurstGPT: A Real-World Workload Dataset to Optimize LLM Serving Systems", arXiv 2401.17644, which
describes arrivals by a gamma distribution whose burstiness changes over time, and lengths by a heavy tail. No record of that
data set is used here; what is known of it and what is chosen stands beside each number below.
"""

import random
from dataclasses import dataclass

BASE_CV = 2**0.5
"""Known: the generator published with the data (github.com/HPMLL/BurstGPT, example/, config) draws gaps from a gamma
distribution of shape 0.5: a coefficient of variation of 0.5^-0.5 = 1.41. A Poisson process has 1."""
CALM_CV, WILD_CV = 1.0, 3.0
"""Known: the burstiness differs between services and drifts. Chosen: between a Poisson process and a few times as rough as
the base, half of the windows at the base, a quarter each of the calm and the wild kind."""
CV_CHANGES_REQUESTS = 50
"""Chosen: gaps drawn before the burstiness is drawn anew. The data shows it by the hour; a benchmark lasts minutes."""

REFERENCE_CONTEXT = 4096
"""Known: the context of GPT-3.5, which most of the published requests went to. Chosen: where a model's context is smaller, all
lengths shrink in proportion, so that it sees the same mix."""
PROMPT_MEDIAN, PROMPT_SIGMA = 590.0, 1.0
"""Log-normal, tokens. Chosen by the first 38 conversations that succeeded, which the data set's own page shows: median 594, mean
755, 14 to 1,840 (their logarithms spread by 1.49, for the many very short ones; so wide a log-normal would be far too long at the
other end). The published generator takes a Zipf distribution of exponent 1.1: as heavy in the tail, but with most prompts of one
or two tokens, which no tokeniser makes of a question."""
ANSWER_MEDIAN, ANSWER_SIGMA = 340.0, 0.8
"""Log-normal, tokens; chosen by the same rows: median 337, mean 354, 11 to 1,656, logarithms spread by 0.90."""
LONG_SHARE, LONG_FACTOR, LONG_EXPONENT = 0.05, 2.0, 1.1
"""Chosen: so many lengths get a Pareto tail on top, from this multiple of the median on, whose exponent is that of the published
generator's Zipf distribution. It makes the few requests that are longer than everything around them."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a trace."""

    at_seconds: float
    """After the trace's beginning."""
    prompt_tokens: int
    max_tokens: int
    """How many tokens are asked for; there are no stop tokens, so they all come."""
    seed: int
    """Of the request's own chance: which tokens its prompt has, how it samples."""


@dataclass(frozen=True, slots=True)
class TraceShape:
    """What a trace is to be like.

    max_context: positions of the model. Prompts past three quarters of it are cut, and answers to what then is left.
    """

    requests_per_s: float
    max_context: int
    requests: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.requests_per_s < float("inf") or self.requests < 1 or self.max_context < 2:
            raise ValueError(
                f"{self.requests} requests at {self.requests_per_s} per second in a context of {self.max_context}:"
                " ask for at least one request, a positive rate, and room for a prompt and an answer"
            )


def make_trace(shape: TraceShape) -> tuple[Request, ...]:
    """Draw a trace; the same shape gives the same one on every machine. Its mean rate is requests_per_s to the last gap."""
    chance = random.Random(f"trace {shape.seed}")  # noqa: S311 - nothing of it is secret
    times = _arrivals(chance, shape.requests, shape.requests_per_s)
    return tuple(_request(chance, at, shape.max_context) for at in times)


def _arrivals(chance: random.Random, count: int, rate: float) -> list[float]:
    """Seconds; the first request comes at 0. Gaps are scaled to the rate afterwards: a burst shall not change the load."""
    gaps = [0.0]
    while len(gaps) < count:
        cv = _burstiness(chance)
        gaps += [_gap(chance, cv) for _ in range(min(CV_CHANGES_REQUESTS, count - len(gaps)))]
    scale = (count - 1) / rate / sum(gaps) if count > 1 else 0.0
    times, now = [], 0.0
    for gap in gaps:
        now += gap * scale
        times.append(now)
    return times


def _burstiness(chance: random.Random) -> float:
    return chance.choices((CALM_CV, BASE_CV, WILD_CV), (1, 2, 1))[0]


def _gap(chance: random.Random, cv: float) -> float:
    """A gamma variable of mean 1: its coefficient of variation is shape^-0.5."""
    shape = cv**-2
    return chance.gammavariate(shape, 1 / shape)


def _request(chance: random.Random, at: float, max_context: int) -> Request:
    scale = min(1.0, max_context / REFERENCE_CONTEXT)
    prompt = _length(chance, PROMPT_MEDIAN, PROMPT_SIGMA, scale, max(1, max_context * 3 // 4))
    answer = _length(chance, ANSWER_MEDIAN, ANSWER_SIGMA, scale, max_context - prompt)
    return Request(at, prompt, answer, chance.getrandbits(63))


def _length(chance: random.Random, median: float, sigma: float, scale: float, limit: int) -> int:
    """Tokens, within [1, limit]."""
    drawn = median * chance.lognormvariate(0.0, sigma)
    if chance.random() < LONG_SHARE:
        drawn += median * LONG_FACTOR * chance.paretovariate(LONG_EXPONENT)
    return max(1, min(limit, round(drawn * scale)))
