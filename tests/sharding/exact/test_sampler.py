"""The exact sampler: the token that SPEC.md section 6 names, by a second implementation and at every limit."""

import math
import random
from typing import Any

import numpy as np
import pytest
import torch

from sharding.errors import IntegerOverflow, SamplingError, ShapeMismatch
from sharding.exact.gumbel import gumbel_noise
from sharding.exact.sampler import candidates, checked, fixed_temperature, fixed_top_p, sample_exact, weights
from sharding.sampling import MAX_POSITION, MAX_SEED, MAX_TEMPERATURE, MAX_TOP_K, SamplingParams
from tests.sharding.exact.plain_sampler import kept, share_of, token_of

TOP = (1 << 31) - 1
ONE = 1 << 16


def tensor(logits: list[int]) -> torch.Tensor:
    return torch.tensor(logits, dtype=torch.int32)


def may_cut(params: SamplingParams, size: int) -> bool:
    return round(65536 * params.top_p) < 65536 or 0 < params.top_k < size


def random_case(rng: random.Random) -> tuple[list[int], SamplingParams, int]:
    """Of every kind: few and many tokens, near and far logits with ties, cuts that bite and that do not."""
    size, spread = rng.choice([1, 2, 5, 40, 300]), rng.choice([1, 3, ONE, 20 * ONE, TOP])
    params = SamplingParams(
        temperature=rng.choice([0.0, 1e-9, 0.3, 1.0, 1.7, MAX_TEMPERATURE]),
        top_k=rng.choice([0, 1, 2, 7, size, size + 1, MAX_TOP_K]),
        top_p=rng.choice([1.0, 1e-9, 0.3, 0.9, 0.95, 0.99999, 1 - 2.0**-53]),
        seed=rng.choice([0, 1, rng.getrandbits(64), MAX_SEED]),
    )
    return (
        [rng.randint(-spread, spread) for _ in range(size)],
        params,
        rng.choice([0, 3, rng.getrandbits(64), MAX_POSITION]),
    )


@pytest.mark.parametrize("seed", range(8))
def test_two_implementations_agree(seed: int) -> None:
    """Candidates in their order, and the token, in a hundred random cases each."""
    rng = random.Random(seed)
    for _ in range(100):
        logits, params, position = random_case(rng)
        assert sample_exact(tensor(logits), params, position) == token_of(logits, params, position), (params, position)
        if params.temperature > 0:
            found, wanted = candidates(checked(tensor(logits)), params).tolist(), kept(logits, params)
            assert found == (wanted if may_cut(params, len(logits)) else sorted(wanted))


def test_the_tokens_are_fixed() -> None:
    """Golden values: another implementation must give these."""
    logits = tensor([(i * i * 7919) % (9 * ONE) for i in range(500)])
    cases = [SamplingParams(1.0, seed=5), SamplingParams(0.7, 40, 0.9, 6), SamplingParams(2.5, 0, 0.5, MAX_SEED)]

    assert [[sample_exact(logits, params, position) for position in (0, 1, MAX_POSITION)] for params in cases] == GOLDEN


GOLDEN = [[12, 274, 125], [381, 452, 266], [332, 333, 239]]


def test_greedy_takes_the_first_of_equals() -> None:
    """Whatever the seed, the position and the cuts."""
    logits = tensor([-5, 7, 7, 3, 7])

    assert {sample_exact(logits, SamplingParams(seed=seed, top_k=3, top_p=0.5), seed) for seed in range(9)} == {1}
    assert sample_exact(tensor([4] * 1000), SamplingParams(), 0) == 0


@pytest.mark.parametrize("top_k", [0, 1, 2, 5, 99])
def test_the_lowest_of_equal_totals_wins(top_k: int) -> None:
    """Logits that make up for their noise exactly: every candidate has the same total."""
    noise = gumbel_noise(8, 9, np.arange(100))
    params = SamplingParams(1.0, top_k, seed=8)

    assert sample_exact(tensor((-noise).tolist()), params, 9) == min(kept((-noise).tolist(), params))
    assert (sample_exact(tensor((-noise).tolist()), params, 9) == 0) == (top_k in (0, 99))


@pytest.mark.parametrize("temperature", [0.0, 1e-9, 1.0, MAX_TEMPERATURE])
def test_the_ends_of_the_logits_do_not_wrap(temperature: float) -> None:
    """The largest beside the smallest numbers: the noise, at most 23 times 100, never bridges 65,535."""
    for cut in (SamplingParams(temperature), SamplingParams(temperature, 2, 0.999)):
        assert {sample_exact(tensor([-TOP, TOP, -TOP]), cut, position) for position in range(40)} == {1}


def test_a_logit_one_past_the_range_is_refused() -> None:
    """-2^31 fits the tensor and not the profile; the smallest that does is drawn like any other."""
    for params in (SamplingParams(), SamplingParams(1.0)):
        with pytest.raises(IntegerOverflow):
            sample_exact(tensor([0, -TOP - 1]), params, 0)
        assert sample_exact(tensor([-TOP]), params, 0) == 0


def test_equal_logits_are_drawn_alike() -> None:
    """64 tokens, 6400 draws: chi-square with 63 degrees of freedom stays below 120."""
    flat, params = tensor([9 * ONE] * 64), SamplingParams(1.0, seed=3)
    counts = np.bincount([sample_exact(flat, params, position) for position in range(6400)], minlength=64)

    assert float(((counts - 100) ** 2 / 100).sum()) < 120


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_shares_follow_softmax(temperature: float) -> None:
    """Of 5000 positions each token has its share within five standard errors."""
    reals = [1.0, 3.0, 2.0, 3.0, -1.0, 0.5]
    logits, params = tensor([round(real * ONE) for real in reals]), SamplingParams(temperature, seed=1)
    odds = np.exp(np.array(reals) / temperature)
    counts = np.bincount([sample_exact(logits, params, position) for position in range(5000)], minlength=6)
    for count, wanted in zip(counts / 5000, odds / odds.sum(), strict=True):
        assert abs(count - wanted) < 5 * math.sqrt(wanted * (1 - wanted) / 5000)


def test_what_a_cut_removes_goes_to_the_rest_in_proportion() -> None:
    """Top-k of three: softmax over them alone."""
    logits = tensor([0, 2 * ONE, ONE, -9, -8])
    draws = [sample_exact(logits, SamplingParams(1.0, top_k=3, seed=2), position) for position in range(4000)]
    odds = np.exp([0.0, 2.0, 1.0])
    for token, wanted in enumerate(odds / odds.sum()):
        assert abs(draws.count(token) / 4000 - wanted) < 0.04
    assert max(draws) == 2


@pytest.mark.parametrize(
    ("top_k", "wanted"),
    [
        (0, [0, 1, 2, 3, 4]),
        (1, [1]),
        (2, [1, 3]),
        (3, [1, 3, 0]),
        (4, [1, 3, 0, 2]),
        (5, [1, 3, 0, 2, 4]),
        (6, [0, 1, 2, 3, 4]),
    ],
)
def test_top_k_keeps_the_first(top_k: int, wanted: list[int]) -> None:
    """By falling logit, the lower id among equals; nought and more than there are keep all."""
    found = candidates(checked(tensor([5, 9, 5, 9, 5])), SamplingParams(1.0, top_k=top_k))

    assert found.tolist() == (wanted if top_k < 5 else [0, 1, 2, 3, 4])


@pytest.mark.parametrize("top_k", [0, 1, 5, MAX_TOP_K])
def test_a_tiny_top_p_keeps_one(top_k: int) -> None:
    """The likeliest, however flat the odds."""
    for top_p in (5e-324, 1e-9, 2.0**-17):
        assert candidates(checked(tensor([4] * 1000)), SamplingParams(1.0, top_k, top_p)).tolist() == [0]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8])
def test_top_p_that_is_reached_exactly_keeps_no_more(count: int) -> None:
    """Of eight equals each has an eighth; a 65,536th more takes the next one too."""
    flat = checked(tensor([-3] * 8))

    assert len(candidates(flat, SamplingParams(1.0, top_p=count / 8))) == count
    assert len(candidates(flat, SamplingParams(1.0, top_p=count / 8 - 1 / ONE))) == count
    if count < 8:
        assert len(candidates(flat, SamplingParams(1.0, top_p=count / 8 + 1 / ONE))) == count + 1


def test_top_p_rounds_what_it_wants_up() -> None:
    """Weights of 1,073,709,056 and 16,384: 65,535 parts are a quarter more than the first, which is not enough."""
    scores = checked(tensor([0, -726817]))

    assert weights(scores, ONE).tolist() == [1073709056, 16384]
    assert candidates(scores, SamplingParams(1.0, top_p=65535 / ONE)).tolist() == [0, 1]
    assert candidates(scores, SamplingParams(1.0, top_p=65534 / ONE)).tolist() == [0]


def test_top_p_is_a_share_of_what_top_k_left() -> None:
    """Two of eight equals: half of two is one, though an eighth of all."""
    flat = checked(tensor([-3] * 8))

    assert candidates(flat, SamplingParams(1.0, 2, 0.5)).tolist() == [0]
    assert candidates(flat, SamplingParams(1.0, 2, 0.51)).tolist() == [0, 1]


def test_a_top_p_that_rounds_to_one_keeps_every_token() -> None:
    """Halves go to the even neighbour: 65,535.5 is 65,536; just below it is 65,535, which loses a hopeless token."""
    scores = checked(tensor([TOP, -TOP]))

    assert len(candidates(scores, SamplingParams(1.0, top_p=65535.5 / ONE))) == 2
    assert len(candidates(scores, SamplingParams(1.0, top_p=math.nextafter(65535.5 / ONE, 0)))) == 1


@pytest.mark.parametrize(
    ("real", "fixed"),
    [(5e-324, 1), (1 / ONE, 1), (1.5 / ONE, 2), (2.5 / ONE, 2), (3.5 / ONE, 4), (1, ONE), (1.0, ONE)],
)
def test_temperature_and_top_p_are_rounded_to_the_even(real: float, fixed: int) -> None:
    """And are at least one."""
    assert fixed_temperature(SamplingParams(real)) == fixed
    assert fixed_top_p(SamplingParams(1.0, top_p=real)) == fixed


def test_the_hottest_temperature_is_a_hundred() -> None:
    """tau is 6,553,600 there; 1 at the coldest, where the noise moves 23 units at most."""
    assert fixed_temperature(SamplingParams(MAX_TEMPERATURE)) == 100 * ONE
    near, far = tensor([0, 1]), tensor([0, 27])
    cold = SamplingParams(1e-9, seed=4)

    assert {sample_exact(near, cold, position) for position in range(200)} == {0, 1}
    assert {sample_exact(far, cold, position) for position in range(200)} == {1}


@pytest.mark.parametrize("tau", [1, 2, ONE // 2, ONE, 3 * ONE, 100 * ONE])
def test_weights_are_those_of_the_exponential(tau: int) -> None:
    """As the plain formula says, never rising, below 2^30, and near the real ones: at tau = 100 the reciprocal has ten bits."""
    wrapping = (1 << 48) // 94548 + 1  # times the reciprocal of tau = 1 it is just past 64 bits
    ends = {0, 1, (1 << 28) - 1, 1 << 28, (1 << 28) + 1, wrapping, 2 * TOP}
    differences = sorted(ends | {tau * step // 7 for step in range(60)})
    found = weights(-np.array(differences, np.int64), tau).tolist()

    assert found == [share_of(difference, tau) for difference in differences]
    assert found == sorted(found, reverse=True)
    assert found[0] == 65534 << 14
    for difference, weight in zip(differences, found, strict=True):
        real = found[0] * math.exp(-difference / tau)
        assert abs(weight - real) <= real * (1e-4 + 6e-4 * difference / tau) + 1


def test_a_large_vocabulary_of_equals_keeps_its_share() -> None:
    """2^18 tokens: the sum of their weights times a share is past 64 bits, and three quarters of them are the share."""
    flat = checked(torch.zeros(1 << 18, dtype=torch.int32))

    assert candidates(flat, SamplingParams(1.0, top_p=0.75)).tolist() == list(range(3 << 16))


def test_a_view_of_larger_logits_is_read_as_it_stands() -> None:
    """Every second column of a batch's logits, a tensor with gaps."""
    batch = torch.arange(40, dtype=torch.int32).reshape(20, 2) % 17

    assert sample_exact(batch[:, 1], SamplingParams(1.0, 5, 0.9, 1), 2) == token_of(
        batch[:, 1].tolist(), SamplingParams(1.0, 5, 0.9, 1), 2
    )


@pytest.mark.parametrize("shape", [(0,), (1, 6), ()])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_are_one_row(shape: tuple[int, ...], temperature: float) -> None:
    """(vocab_size,), at least one."""
    with pytest.raises(ShapeMismatch):
        sample_exact(torch.zeros(shape, dtype=torch.int32), SamplingParams(temperature), 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.int16, torch.uint8, torch.bool], ids=str)
def test_logits_are_int32(dtype: torch.dtype) -> None:
    """Another dtype is another profile's, or a mistake."""
    with pytest.raises(ShapeMismatch) as caught:
        sample_exact(torch.zeros(4, dtype=dtype), SamplingParams(1.0), 0)

    assert caught.value.found == dtype


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", math.nan), ("top_k", -1), ("top_p", 0.0), ("seed", MAX_SEED + 1)]
)
def test_bad_parameters_are_refused_by_name(name: str, value: Any) -> None:
    """Here as in the float sampler."""
    with pytest.raises(SamplingError) as caught:
        sample_exact(tensor([1, 2]), SamplingParams(**{"temperature": 1.0, name: value}), 0)

    assert caught.value.name == name


@pytest.mark.parametrize("position", [-1, MAX_POSITION + 1, 1.0])
def test_a_position_is_an_unsigned_number(position: Any) -> None:
    """Anything else is refused by name."""
    with pytest.raises(SamplingError) as caught:
        sample_exact(tensor([1, 2]), SamplingParams(1.0), position)

    assert caught.value.name == "position"
