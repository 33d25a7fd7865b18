"""Attention in torch against the reference's three steps, head by head and position by position."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sharding.exact import reference as ops
from sharding.exact import torch_attention
from sharding.exact.arithmetic import HEAD_LIMIT
from sharding.exact.constants import score_constant
from sharding.exact.reference import Compressed
from sharding.exact.torch_attention import attend
from sharding.exact.torch_rows import Heads


def reference_attend(query: Heads, keys: Heads, values: Heads, start: int, window: int | None) -> Tensor:
    """ATTEND as SPEC.md has it, for each row and head alone."""
    group, constant = query.numbers.shape[1] // len(keys.numbers), score_constant(query.numbers.shape[2])
    rows = []
    for row in range(len(query.numbers)):
        seen = slice(0 if window is None else max(0, start + row + 1 - window), start + row + 1)
        for head in range(query.numbers.shape[1]):
            k, v = (
                Compressed(h.numbers[head // group, seen].numpy(), h.exponents[head // group, seen].numpy())
                for h in (keys, values)
            )
            z = ops.scores(query.numbers[row, head].numpy(), int(query.exponents[row, head]), k, constant)
            rows.append(ops.mix(ops.attention_weights(z), v))
    return torch.from_numpy(np.stack(rows)).reshape(query.numbers.shape)


def heads(seed: int, *shape: int, most: int = HEAD_LIMIT, exponents: int = 16) -> Heads:
    random = np.random.Generator(np.random.PCG64(seed))
    numbers = random.integers(-most, most + 1, shape)
    return Heads(torch.from_numpy(numbers), torch.from_numpy(random.integers(0, exponents + 1, shape[:-1])))


@pytest.mark.parametrize("d", [2, 6, 64, 128])
@pytest.mark.parametrize(("kv_heads", "group"), [(1, 1), (2, 3), (4, 1)])
def test_attention_equals_the_reference(d: int, kv_heads: int, group: int) -> None:
    """Whole prompts, a chunk in the middle and one position, with every exponent."""
    for n, start in ((5, 0), (3, 4), (1, 9)):
        query = heads(n, n, kv_heads * group, d)
        keys, values = heads(d, kv_heads, start + n, d), heads(d + 1, kv_heads, start + n, d)
        made = attend(query, keys, values, start, None, score_constant(d))
        assert torch.equal(made, reference_attend(query, keys, values, start, None))


@pytest.mark.parametrize("window", [1, 2, 5, 11, 12, 13, 100])
@pytest.mark.parametrize("scores", [1, 100, 1 << 21])
def test_a_window_hides_what_is_older(window: int, scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few scores are computed at a time; where all is seen it is as if there were none."""
    monkeypatch.setattr(torch_attention, "SCORES", scores)
    query, keys, values = heads(1, 8, 4, 6, exponents=3), heads(2, 2, 12, 6, exponents=3), heads(3, 2, 12, 6)
    made = attend(query, keys, values, 4, window, score_constant(6))
    assert torch.equal(made, reference_attend(query, keys, values, 4, window))
    whole = attend(query, keys, values, 4, None, score_constant(6))
    assert torch.equal(made, whole) == (window >= 12)


@pytest.mark.parametrize("window", [None, 3])
def test_a_hidden_position_changes_nothing(window: int | None) -> None:
    """Neither its key, nor its value, nor the exponent of its value, which would be the largest."""
    query, keys, values = heads(1, 4, 2, 6, exponents=2), heads(2, 2, 9, 6, exponents=2), heads(3, 2, 9, 6, exponents=2)
    before = attend(query, keys, values, 4, window, score_constant(6))
    hidden = [8] if window is None else [0, 1]
    keys.numbers[:, hidden], keys.exponents[:, hidden] = HEAD_LIMIT, 16
    values.numbers[:, hidden], values.exponents[:, hidden] = -HEAD_LIMIT, 16
    after = attend(query, keys, values, 4, window, score_constant(6))
    assert torch.equal(before, after)


@pytest.mark.parametrize("sign", [1, -1])
def test_scores_are_exact_at_the_largest_head(sign: int) -> None:
    """1024 products of 4095 and 4095, exponents at both ends."""
    d = 1024
    full = torch.full((1, 1, d), HEAD_LIMIT)
    for exponent in (0, 16):
        exponents = torch.full((1, 1), exponent)
        keys = Heads(torch.cat((sign * full, full - 1, full), dim=1), torch.full((1, 3), exponent))
        values = heads(1, 1, 3, d)
        query = Heads(full, exponents)
        assert torch.equal(
            attend(query, keys, values, 2, None, score_constant(d)), reference_attend(query, keys, values, 2, None)
        )


def test_mixing_is_exact_over_the_most_positions() -> None:
    """2^17 equal scores, every value at its bound: the largest sums that attention can meet, all below 2^53."""
    positions, d = 1 << 17, 2
    query = Heads(torch.full((1, 1, d), HEAD_LIMIT), torch.full((1, 1), 16))
    keys = Heads(torch.full((1, positions, d), HEAD_LIMIT), torch.full((1, positions), 16))
    values = Heads(torch.tensor([HEAD_LIMIT, -HEAD_LIMIT]).expand(1, positions, d), torch.full((1, positions), 16))
    assert positions * 32767 * HEAD_LIMIT < 1 << 53
    made = attend(query, keys, values, positions - 1, None, score_constant(d))
    total = positions * 32767
    length = total.bit_length()
    expected = [
        (n * total * HEAD_LIMIT * ((1 << (16 + length)) // total) + (1 << (length - 1))) >> length for n in (1, -1)
    ]
    assert made[0, 0].tolist() == expected


def test_equal_zeros_give_a_zero() -> None:
    """No key, no query, no value: the weights are even and nothing is divided by nothing."""
    nothing = Heads(torch.zeros((1, 1, 4), dtype=torch.int64), torch.zeros((1, 1), dtype=torch.int64))
    assert attend(nothing, nothing, nothing, 0, None, score_constant(4)).tolist() == [[[0, 0, 0, 0]]]
