"""The operations on rows in torch against the reference's, at their bounds and at random."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sharding.errors import IntegerOverflow
from sharding.exact import reference as ops
from sharding.exact.arithmetic import MAX_ACTIVATION, MAX_ACTIVATION_SUM, MAX_INT32, ROTATED_LIMIT
from sharding.exact.torch_rows import bits, check, compress, exp2_mantissa, gate, isqrt, norm_values, pack, rotate, rsh

TOP = MAX_INT32


def draw(*shape: int, most: int = TOP, seed: int = 0) -> Tensor:
    """Signed numbers of all sizes up to most."""
    random = np.random.Generator(np.random.PCG64(seed))
    wide = random.integers(-most, most + 1, shape)
    return torch.from_numpy(wide >> random.integers(0, most.bit_length(), shape))


def powers_and_neighbours(last: int) -> list[int]:
    return sorted({max(0, (1 << k) + d) for k in range(last + 1) for d in (-1, 0, 1)} - {(1 << last) + 1})


def test_bits_is_the_length_in_binary_up_to_two_to_the_62() -> None:
    """Powers of two and their neighbours, where a double rounds up to the next length."""
    values = powers_and_neighbours(62)
    assert bits(torch.tensor(values)).tolist() == [value.bit_length() for value in values]


def test_the_root_is_exact_at_squares_and_their_neighbours_up_to_two_to_the_62() -> None:
    """Powers of two, the last roots of all and random ones."""
    random = np.random.Generator(np.random.PCG64(5)).integers(0, 1 << 31, 4000).tolist()
    roots = [*powers_and_neighbours(31), *range(300), *range((1 << 31) - 300, 1 << 31), *random]
    values = [v for r in roots for v in (r * r - 1, r * r, r * r + 1, r * r + 2 * r) if 0 <= v < 1 << 62]
    assert (1 << 62) - 1 in values
    assert isqrt(torch.tensor(values)).tolist() == [math.isqrt(value) for value in values]


@pytest.mark.parametrize("s", [0, 1, 2, 31, 61, 62])
def test_a_rounded_shift_goes_to_the_nearest_and_halves_go_up(s: int) -> None:
    """Ties of both signs, and the neighbours of ties."""
    half = (1 << s) >> 1
    values = [n * (1 << s) + half + d for n in (-1, 0) for d in (-1, 0, 1)] + [0, 1, -1, 5, -5]
    expected = [math.floor((value + half) / (1 << s)) if s < 50 else (value + half) >> s for value in values]
    assert rsh(torch.tensor(values), s).tolist() == expected
    assert rsh(torch.tensor(values), torch.full((len(values),), s)).tolist() == expected


def test_the_mantissa_equals_the_reference_for_every_fraction() -> None:
    """All 65,536 of them, with a whole part that must not matter; within the bounds that the specification gives."""
    y = torch.arange(1 << 16) + (3 << 16)
    made = exp2_mantissa(y)
    assert np.array_equal(made.numpy(), ops.exp2_mantissa(y.numpy()))
    assert (int(made.max()), int(made.min())) == (65534, 32767)


def packed_equal(t: Tensor, fraction: int = 16) -> None:
    made = pack(t, fraction)
    for row, x, own in zip(t, made.x, made.fractions.tolist(), strict=True):
        expected = ops.pack(row.numpy(), fraction)
        assert np.array_equal(x.numpy(), expected.x)
        assert own == expected.fraction
        assert int(x.abs().max()) <= MAX_ACTIVATION
        assert int(x.abs().sum()) <= MAX_ACTIVATION_SUM


@pytest.mark.parametrize("s", [0, 1, 2, 15, 30])
def test_a_row_is_packed_with_the_smallest_shift_that_its_largest_number_allows(s: int) -> None:
    """At the bound, one past it, and where only the rounding passes it."""
    at = (MAX_ACTIVATION << s) + ((1 << s) >> 1) - (s > 0)
    values = [at, at + 1, -at, -at - 1, MAX_ACTIVATION << s, (1 << (15 + s)) - 1, 1 << (15 + s)]
    packed_equal(torch.tensor([[value, 1, -3] for value in values]))


@pytest.mark.parametrize("columns", [515, 1000, 4097])
def test_a_row_is_packed_with_the_smallest_shift_that_its_sum_allows(columns: int) -> None:
    """Sums at the bound and one past it, before and after a shift."""
    room = MAX_ACTIVATION_SUM - columns
    rows = []
    for total in (room, room + 1, 2 * room + 1, 2 * room + 2, 64 * room + 63, 64 * room + 64):
        row = torch.full((columns,), total // columns)
        row[: total % columns] += 1
        row[::3] *= -1
        rows.append(row)
    packed_equal(torch.stack(rows))


def test_zeros_ones_and_noise_of_all_sizes_are_packed_as_the_reference_packs_them() -> None:
    """Up to the largest that a norm's output can be."""
    packed_equal(torch.zeros((2, 7), dtype=torch.int64), 20)
    for columns in (1, 2, 77, 2000):
        packed_equal(draw(20, columns, most=1 << 48, seed=columns), 38)


@pytest.mark.parametrize("epsilon", [0, 1, 12_345, (1 << 32) // 10 * 65])
def test_a_norm_equals_the_reference_from_zeros_to_the_largest_rows(epsilon: int) -> None:
    """Zero rows, one number, rows at both bounds, alternating, and noise of all sizes."""
    for width in (1, 2, 65):
        extremes = torch.zeros((6, width), dtype=torch.int64)
        extremes[1, 0], extremes[2, -1], extremes[3], extremes[4] = 1, -TOP, TOP, -TOP
        extremes[5] = TOP
        extremes[5, ::2] *= -1
        r = torch.cat((extremes, draw(40, width, seed=width)))
        expected = np.stack([ops.norm_values(row.numpy(), epsilon) for row in r])
        assert np.array_equal(norm_values(r, epsilon).numpy(), expected)


def test_heads_are_normalised_each_for_itself() -> None:
    """A rank more than rows."""
    y = draw(3, 4, 6)
    expected = [[ops.norm_values(head.numpy(), 77) for head in row] for row in y]
    assert np.array_equal(norm_values(y, 77).numpy(), np.array(expected))


def test_rotation_equals_the_reference() -> None:
    """Numbers and table entries at their bounds and at random, another entry for each row."""
    y, table = draw(9, 3, 8), draw(9, 4, 2, most=1 << 14, seed=1)
    y[0], y[1], table[0], table[1] = TOP, -TOP, 1 << 14, -(1 << 14)
    expected = [ops.rotate(row.numpy(), own.numpy()) for row, own in zip(y, table, strict=True)]
    assert np.array_equal(rotate(y, table).numpy(), np.stack(expected))


def test_heads_are_compressed_as_the_reference_compresses_them() -> None:
    """Every length in binary that a head can have, zeros, and numbers that only rounding takes to 4096."""
    tops = [0, *powers_and_neighbours(27), (1 << 28) - 1, 4095, 4096, (4095 << 5) + 16, (4095 << 5) + 15]
    y = draw(len(tops), 2, 6, most=4095)
    y[:, 0, 3], y[:, 1, 0] = torch.tensor(tops), -torch.tensor(tops)
    made = compress(y, "a key")
    for row, numbers, exponents in zip(y, made.numbers, made.exponents, strict=True):
        expected = ops.compress(row.numpy(), "a key")
        assert np.array_equal(numbers.numpy(), expected.heads)
        assert np.array_equal(exponents.numpy(), expected.exponents)
    assert int(made.exponents.max()) == 16


@pytest.mark.parametrize("sign", [1, -1])
def test_a_head_at_4096_is_refused_with_its_row(sign: int) -> None:
    """One less is taken."""
    y = torch.zeros((3, 2, 4), dtype=torch.int64)
    y[2, 1, 0] = sign * (ROTATED_LIMIT - 1)
    assert int(compress(y, "a key").numbers.abs().max()) == 4095
    y[2, 1, 0] = sign * ROTATED_LIMIT
    with pytest.raises(IntegerOverflow, match="a key") as refused:
        compress(y, "a key")
    assert refused.value.row == 2


def test_a_gate_equals_the_reference() -> None:
    """Gates of every size around the places where the formula changes, against a middling value and one of minus one."""
    near = [d + (k << 16) for k in range(18) for d in (-3, -2, -1, 0, 1, 2, 3)] + [1 << 25, TOP]
    g = torch.cat((torch.tensor(near), -torch.tensor(near), draw(3000, most=1 << 21)))[None]
    for u in (torch.full_like(g, 3 << 14), torch.full_like(g, -(1 << 16)), draw(*g.shape, most=1 << 16, seed=4)):
        assert np.array_equal(gate(g, u).numpy(), ops.gate(g.numpy(), u.numpy()))


def test_a_gated_value_at_its_bound_is_taken_and_one_past_it_is_refused() -> None:
    """2^31 - 1 times one, then 2^9 times 2^6, which is 2^31."""
    g, u = torch.tensor([[0, 0], [0, TOP]]), torch.tensor([[TOP, TOP], [TOP, 1 << 16]])
    assert gate(g, u)[1, 1] == TOP
    g[1, 1], u[1, 1] = 1 << 25, 1 << 22
    with pytest.raises(IntegerOverflow, match="a gated value") as refused:
        gate(g, u)
    assert refused.value.row == 1
    with pytest.raises(IntegerOverflow):
        ops.gate(g[1].numpy(), u[1].numpy())


@pytest.mark.parametrize("sign", [1, -1])
def test_the_first_row_past_a_limit_is_named(sign: int) -> None:
    """Both ends of int32 are in, one further is out."""
    y = torch.zeros((4, 3), dtype=torch.int64)
    y[1, 2] = sign * TOP
    assert check(y, "a value") is y
    y[2:, 0] = sign * (TOP + 1)
    with pytest.raises(IntegerOverflow, match=str(TOP)) as refused:
        check(y, "a value")
    assert (refused.value.row, refused.value.where, refused.value.limit) == (2, "a value", TOP)
