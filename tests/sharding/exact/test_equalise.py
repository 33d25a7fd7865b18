"""Equalised columns: the scales of SPEC.md section 5 steps 1 and 2, number by number, and what they are for."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from sharding.exact import equalise
from sharding.exact.equalise import (
    SMALLEST_COLUMN,
    Doubles,
    Energies,
    Scaled,
    column_scales,
    energies,
    move_to_norm,
    producer_scales,
    whole_gain,
)

Floats = NDArray[np.float32]


def noise(rows: int, columns: int, seed: int = 3) -> Floats:
    """Columns and rows of very different sizes, some of them nought."""
    random = np.random.Generator(np.random.PCG64(seed))
    values = random.normal(size=(rows, columns)) * np.exp2(random.integers(-12, 3, columns))
    values *= np.exp2(random.integers(-20, 1, rows))[:, None]
    values[rows // 2] = 0
    values[:, columns // 3] = 0
    return values.astype(np.float32)


def energies_by_hand(matrix: Doubles) -> Energies:
    """The specification's words, one element after the other, in Python's own numbers."""
    top = max(abs(float(each)) for each in matrix.reshape(-1))
    k = next(k for k in range(-2000, 2000) if math.ldexp(top, k) >= 2.0**20)
    a = [[math.floor(math.ldexp(abs(float(each)), k)) for each in row] for row in matrix]
    rho = [math.sqrt(float(sum(each * each for each in row))) for row in a]
    b = [[math.floor(each / r * 65536) if r else 0 for each in row] for row, r in zip(a, rho, strict=True)]
    columns = [sum(each * each for each in column) for column in zip(*b, strict=True)]
    return Energies(np.array(columns), np.array([math.ldexp(r, -k) for r in rho]))


@pytest.mark.parametrize("scale", [1.0, 2.0**-20 / 2.0**-9, 1e-30, 1e30])
def test_energies_are_the_specifications(scale: float) -> None:
    """Whole columns of integers and every row's length, also of very small and very large weights."""
    weight = (noise(37, 23).astype(np.float64) * scale).astype(np.float32)
    measured, expected = energies(Scaled(weight)), energies_by_hand(weight.astype(np.float64))

    assert np.array_equal(measured.columns, expected.columns)
    assert np.array_equal(measured.lengths, expected.lengths)
    assert measured.columns[23 // 3] == 0
    assert measured.lengths[37 // 2] == 0


@pytest.mark.parametrize("top", [1.0, math.nextafter(1.0, 0.0), math.nextafter(1.0, 2.0)])
def test_a_power_of_two_is_the_lowest_of_its_binade(top: float) -> None:
    """k puts the largest magnitude into [2^20, 2^21), its lower end belonging to it."""
    gain = np.array([top, top / 3])
    weight = np.ones((2, 2), np.float32)

    assert np.array_equal(
        energies(Scaled(weight, times=gain)).columns, energies_by_hand(weight.astype(np.float64) * gain).columns
    )


def test_rows_count_alike_whatever_their_size() -> None:
    """A row a million times as large says no more about the columns than another."""
    weight = np.array([[3, 4], [4, 3]], np.float32)
    large = weight * np.array([[1], [2**-14]], np.float32)

    assert np.ptp(energies(Scaled(large)).columns) < 2**-5 * energies(Scaled(weight)).columns[0]


def test_pieces_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """However few rows are worked on at a time, the energies, lengths and largest magnitudes are the same."""
    matrix = Scaled(noise(37, 23), times=np.linspace(-2, 2, 23), over=np.full(23, 3.0), rows=np.linspace(0.1, 9, 37))
    whole, tops = energies(matrix), matrix.row_tops()
    for size in (1, 23, 100, 37 * 23):
        monkeypatch.setattr(equalise, "PIECE_ELEMENTS", size)
        again = energies(matrix)
        assert np.array_equal(again.columns, whole.columns)
        assert np.array_equal(again.lengths, whole.lengths)
        assert np.array_equal(matrix.row_tops(), tops)


def test_scales_apply_in_their_order() -> None:
    """Times the gain, over the column, times the row: each rounded once, as written."""
    weight, times, over, rows = noise(5, 4), np.array([0.1, 3, 7, 1e-3]), np.array([0.3, 0.7, 1, 1]), np.full(5, 1 / 3)
    [piece] = Scaled(weight, times, over, rows).pieces()

    expected = [
        [float(w) * t / o * r for w, t, o in zip(row, times, over, strict=True)]
        for row, r in zip(weight, rows, strict=True)
    ]
    assert piece.tolist() == expected


def test_an_all_zero_matrix_has_no_energy() -> None:
    """And then every column is as good as another: scales of one, nothing divided by nought."""
    measured = energies(Scaled(np.zeros((3, 5), np.float32)))

    assert measured.columns.tolist() == [0] * 5
    assert measured.lengths.tolist() == [0.0] * 3
    assert column_scales(measured.columns).tolist() == [1.0] * 5


def test_the_largest_column_has_scale_one() -> None:
    """The others the root of their share; one without energy nought."""
    assert column_scales(np.array([16, 4, 0, 9])).tolist() == [1.0, 0.5, 0.0, 0.75]
    assert column_scales(np.array([1 << 60, (1 << 60) - 1])).tolist() == [1.0, 1.0]


def test_a_gain_is_at_least_one_step() -> None:
    """A column that nobody reads is divided by 2^-15 and not by nought."""
    assert whole_gain(np.array([1.0, 0.5, 2.0**-15, 2.0**-17, 0.0])).tolist() == [1 << 15, 1 << 14, 1, 1, 1]
    assert whole_gain(np.array([1.5 * 2.0**-15, 2.5 * 2.0**-15])).tolist() == [2, 2]  # halves to even


def test_the_norm_takes_what_the_columns_lose() -> None:
    """Gain times divided matrix is the norm's own gain times the matrix; lengths are those before the division."""
    gain = np.exp2(np.arange(8) - 4.0)
    first, second = noise(40, 8, seed=1), noise(24, 8, seed=2)
    moved = move_to_norm((Scaled(first, times=gain), Scaled(second, times=gain)))

    for before, after in zip((first, second), moved.matrices, strict=True):
        [piece] = after.pieces()
        assert np.allclose(piece * moved.gain * 2.0**-15, before * gain, rtol=1e-12, atol=0)
    assert moved.gain.max() == 1 << 15
    assert np.array_equal(moved.lengths[1], energies(Scaled(second, times=gain)).lengths)


def test_a_channel_moved_between_norm_and_weights_changes_nothing() -> None:
    """64 times the gain and a 64th of the column are the same model, and become the same numbers."""
    gain, weight = np.full(8, 0.7), noise(40, 8)
    stretch = np.array([1, 64, 1, 1, 64, 1, 1, 1], np.float64)
    plain = move_to_norm((Scaled(weight, times=gain),))
    other = move_to_norm((Scaled((weight / stretch).astype(np.float32), times=gain * stretch),))

    assert np.array_equal(plain.gain, other.gain)
    assert np.array_equal(*(next(each.matrices[0].pieces()) for each in (plain, other)))


def test_a_producers_rows_end_at_length_one_or_just_below() -> None:
    """kappa is the consumers' scale times one power of two, the largest that leaves no row longer than one."""
    lengths = np.array([3.0, 0.1, 5.0])
    kappa = producer_scales(np.array([16, 4, 1]), lengths)

    assert kappa.tolist() == [0.25, 0.125, 0.0625]
    assert 0.5 < (kappa * lengths).max() <= 1


@pytest.mark.parametrize(
    ("length", "kappa"), [(1.0, 1.0), (math.nextafter(1.0, 2.0), 0.5), (0.5, 2.0), (2.0**40, 2.0**-40)]
)
def test_a_length_of_exactly_one_is_left(length: float, kappa: float) -> None:
    """At the bound nothing is halved, just past it everything."""
    assert producer_scales(np.array([1]), np.array([length])).tolist() == [kappa]


def test_a_producer_of_zeros_is_not_scaled() -> None:
    """No power of two brings nought to one."""
    assert producer_scales(np.array([16, 4]), np.zeros(2)).tolist() == [1.0, 0.5]


def test_a_consumers_empty_column_keeps_a_least_scale() -> None:
    """Its producer is divided by 2^15 at the most: it may carry a bias, and nothing is divided by nought."""
    kappa = producer_scales(np.array([1 << 40, 0, 1]), np.ones(3))

    assert kappa.tolist() == [1.0, SMALLEST_COLUMN, SMALLEST_COLUMN]
    assert SMALLEST_COLUMN == 2.0**-15
