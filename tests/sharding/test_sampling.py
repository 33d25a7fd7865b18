"""Sampling: the same seed and position give the same token, and the odds are the ones that were asked for."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sharding.errors import NotFinite, SamplingError, ShapeMismatch
from sharding.exact.sampler import sample_exact
from sharding.sampling import MAX_POSITION, MAX_SEED, MAX_TEMPERATURE, MAX_TOP_K, SamplingParams, sample, uniform

LOGITS = torch.tensor([1.0, 3.0, 2.0, 3.0, -1.0, 0.5])


def draws(params: SamplingParams, logits: torch.Tensor = LOGITS, count: int = 3000) -> list[float]:
    """How often each token comes, as shares of the positions 0 to count - 1."""
    tokens = [sample(logits, params, position) for position in range(count)]
    return [tokens.count(token) / count for token in range(len(logits))]


def softmax(scores: list[float]) -> list[float]:
    weights = [math.exp(score) for score in scores]
    return [weight / sum(weights) for weight in weights]


def test_greedy_takes_the_first_of_equals() -> None:
    """Two maxima: the lower id, whatever the seed and position."""
    assert {sample(LOGITS, SamplingParams(seed=seed), seed * 7) for seed in range(20)} == {1}
    assert sample(torch.zeros(1000), SamplingParams(), 3) == 0


def test_seed_and_position_decide() -> None:
    """Drawn again in any order it is the same; another seed or position is another draw."""
    flat, params = torch.zeros(4096), SamplingParams(temperature=1.0, seed=9)
    forward = [sample(flat, params, position) for position in range(50)]
    backward = [sample(flat, params, position) for position in reversed(range(50))]

    assert forward == backward[::-1]
    assert len(set(forward)) > 45
    assert forward != [sample(flat, SamplingParams(temperature=1.0, seed=10), position) for position in range(50)]


def test_the_random_numbers_are_fixed() -> None:
    """Golden vector: another implementation of Philox 4x64 must give these."""
    generator = np.random.Generator(np.random.Philox(key=[5, 0], counter=[0, 7, 0, 0]))
    assert uniform(5, 7) == generator.random()
    assert [uniform(0, 0), uniform(1, 0), uniform(0, 1), uniform(MAX_SEED, MAX_POSITION)] == GOLDEN


GOLDEN = [0.011546754286331562, 0.3035680343067586, 0.21185954403345741, 0.3075806713829784]


def test_shares_follow_the_temperature() -> None:
    """Within four standard errors of softmax(logits / temperature)."""
    for temperature in (0.5, 1.0, 3.0):
        expected = softmax([float(value) / temperature for value in LOGITS])
        for share, wanted in zip(draws(SamplingParams(temperature, seed=1)), expected, strict=True):
            assert abs(share - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 3000) + 1e-3


def test_top_k_keeps_the_likeliest() -> None:
    """Ties at the edge go to the lower id; one is greedy; more than there are is all."""
    assert [share > 0 for share in draws(SamplingParams(2.0, top_k=3), count=300)] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]
    assert draws(SamplingParams(2.0, top_k=1), count=100)[1] == 1.0
    assert draws(SamplingParams(2.0, top_k=6), count=200) == draws(SamplingParams(2.0, top_k=7), count=200)


def test_top_k_has_the_renormalised_shares() -> None:
    """What was cut goes to the rest in proportion."""
    expected = softmax([3.0, 2.0, 3.0])
    shares = draws(SamplingParams(1.0, top_k=3, seed=2))
    for share, wanted in zip(shares[1:4], expected, strict=True):
        assert abs(share - wanted) < 0.04


@pytest.mark.parametrize(("top_p", "kept"), [(0.01, 1), (0.5, 1), (0.51, 2), (0.75, 2), (0.76, 3), (0.99, 4), (1.0, 4)])
def test_top_p_keeps_the_fewest_that_reach_it(top_p: float, kept: int) -> None:
    """Shares 1/2, 1/4, 1/8, 1/8: the number kept changes just past each sum."""
    logits = torch.log(torch.tensor([0.25, 0.5, 0.125, 0.125], dtype=torch.float64))
    seen = {sample(logits, SamplingParams(1.0, top_p=top_p), position) for position in range(400)}

    assert seen == set([1, 0, 2, 3][:kept])


def test_top_k_comes_before_top_p() -> None:
    """top_p is a share of what top_k has left: of 1/2 and 1/4, two thirds are in the first."""
    logits = torch.log(torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64))
    one = {sample(logits, SamplingParams(1.0, top_k=2, top_p=0.66), p) for p in range(200)}
    two = {sample(logits, SamplingParams(1.0, top_k=2, top_p=0.67), p) for p in range(200)}

    assert (one, two) == ({0}, {0, 1})


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=30),
    st.floats(0, 100),
    st.integers(0, 40),
    st.floats(1e-9, 1),
    st.integers(0, MAX_SEED),
    st.integers(0, MAX_POSITION),
)
def test_any_finite_logits_give_a_token(
    scores: list[float], temperature: float, top_k: int, top_p: float, seed: int, position: int
) -> None:
    """Extreme scores and parameters neither fail nor leave the vocabulary."""
    token = sample(torch.tensor(scores), SamplingParams(temperature, top_k, top_p, seed), position)
    assert 0 <= token < len(scores)


def test_a_hopeless_token_is_never_drawn() -> None:
    """Weights that underflow to zero have no share, wherever the draw falls."""
    logits = torch.tensor([-1e30, 0.0, -1e30])
    assert {sample(logits, SamplingParams(1.0, seed=seed), 0) for seed in range(200)} == {1}


BAD: list[tuple[str, Any]] = [
    *(("temperature", value) for value in (math.nan, math.inf, -0.1, MAX_TEMPERATURE * 1.001, "1", True, None)),
    *(("top_p", value) for value in (math.nan, -0.1, 0.0, 0, 1.001, "1", True)),
    *(("top_k", value) for value in (-1, MAX_TOP_K + 1, 1.0, True, "1")),
    *(("seed", value) for value in (-1, MAX_SEED + 1, 1.0, True)),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=str)
def test_bad_parameters_are_refused_by_name(name: str, value: Any) -> None:
    """By validate, and by sample for whoever forgot it."""
    params = SamplingParams(**{"temperature": 1.0, name: value})
    with pytest.raises(SamplingError) as caught:
        params.validate()
    assert caught.value.name == name
    with pytest.raises(SamplingError):
        sample(LOGITS, params, 0)


def test_the_limits_themselves_are_allowed() -> None:
    """The largest of everything."""
    params = SamplingParams(MAX_TEMPERATURE, MAX_TOP_K, 1.0, MAX_SEED)
    assert params.validate() is params
    assert 0 <= sample(LOGITS, params, MAX_POSITION) < 6


@pytest.mark.parametrize("position", [-1, MAX_POSITION + 1, 1.0, True])
def test_a_position_is_an_unsigned_number(position: Any) -> None:
    """Anything else is refused by name."""
    with pytest.raises(SamplingError) as caught:
        sample(LOGITS, SamplingParams(), position)
    assert caught.value.name == "position"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_are_finite(value: float, temperature: float) -> None:
    """A NaN is not the largest, an infinity is not certainty."""
    with pytest.raises(NotFinite):
        sample(torch.tensor([0.0, value]), SamplingParams(temperature), 0)


@pytest.mark.parametrize("shape", [(0,), (1, 6), ()])
def test_logits_are_one_row(shape: tuple[int, ...]) -> None:
    """(vocab_size,), at least one."""
    with pytest.raises(ShapeMismatch):
        sample(torch.zeros(shape), SamplingParams(), 0)


def test_the_dtype_of_the_logits_decides_the_profile() -> None:
    """The same numbers as int32 in Q16 are drawn by the exact sampler, which is fed by another stream."""
    fixed, params = (LOGITS * 65536).to(torch.int32), SamplingParams(1.0, seed=3)
    exact = [sample(fixed, params, position) for position in range(60)]

    assert exact == [sample_exact(fixed, params, position) for position in range(60)]
    assert exact != [sample(LOGITS, params, position) for position in range(60)]
    assert sample(fixed, SamplingParams(), 0) == sample(LOGITS, SamplingParams(), 0) == 1


@pytest.mark.parametrize("dtype", [torch.int64, torch.int16, torch.bool, torch.float16, torch.bfloat16], ids=str)
def test_logits_of_no_profile_are_refused(dtype: torch.dtype) -> None:
    """Neither float nor int32: nobody guesses what was meant."""
    with pytest.raises(ShapeMismatch) as caught:
        sample(torch.ones(4, dtype=dtype), SamplingParams(), 0)

    assert caught.value.found == dtype


def test_exact_logits_are_checked_as_float_ones_are() -> None:
    """Parameters, position and shape, greedy or not."""
    for temperature in (0.0, 1.0):
        with pytest.raises(SamplingError):
            sample(torch.ones(4, dtype=torch.int32), SamplingParams(temperature), -1)
        with pytest.raises(SamplingError):
            sample(torch.ones(4, dtype=torch.int32), SamplingParams(temperature, top_k=-1), 0)
        with pytest.raises(ShapeMismatch):
            sample(torch.ones(0, dtype=torch.int32), SamplingParams(temperature), 0)
