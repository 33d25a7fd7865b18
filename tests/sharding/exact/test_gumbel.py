"""The noise: the table is the one the specification describes, and a word picks its entry as written there."""

import math
from decimal import Context, Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest

from scripts import make_gumbel_table
from sharding.errors import FileDamaged, SamplingError
from sharding.exact.gumbel import CELLS, ENTRIES, MAX_WORD, cells, gumbel_noise, random_words, read_table, stream_key
from sharding.hashing import keccak256
from tests.sharding.exact.plain_sampler import FILE, MASK, cell, word


def probability(index: int) -> Decimal:
    """q of one entry, straight from the specification."""
    b, c, m = index >> 13, index >> 8 & 31, index & 255
    p = Decimal(2) ** -33 if c == 31 else Decimal(2) ** -(2 + c) * (1 + (m + Decimal("0.5")) / 256)
    return 1 - p if b else p


def test_the_table_is_the_formula() -> None:
    """A seeded few hundred entries and both ends of each octave, at other precision than the script's."""
    table = read_table(FILE)
    edges = [octave * CELLS + end for octave in range(ENTRIES // CELLS) for end in (0, CELLS - 1)]
    with localcontext(Context(prec=45)):
        for index in [*edges, *np.random.default_rng(3).integers(0, ENTRIES, 200).tolist()]:
            real = -(1 << 16) * (-probability(index).ln()).ln()
            assert abs(table[index] - real) < Decimal("0.49999")


def test_the_script_writes_the_committed_table() -> None:
    """The ends and a stride through the rest."""
    stored = read_table(FILE)

    assert [make_gumbel_table.entry(index) for index in (*range(0, ENTRIES, 97), ENTRIES - 1)] == [
        int(stored[index]) for index in (*range(0, ENTRIES, 97), ENTRIES - 1)
    ]


def test_the_cells_make_up_one() -> None:
    """Weighted by their cells' sizes the entries have the mean and spread of a Gumbel variable: Euler's gamma, pi^2 / 6."""
    index = np.arange(ENTRIES // 2)
    size = np.where(index >> 8 == 31, 2.0**-32 / CELLS, 2.0 ** -(10 + (index >> 8)))
    sizes, values = np.tile(size, 2), read_table(FILE) / 65536
    mean = float((sizes * values).sum())

    assert abs(float(sizes.sum()) - 1) < 1e-12
    assert abs(mean - 0.5772156649) < 1e-5
    assert abs(float((sizes * (values - mean) ** 2).sum()) - math.pi**2 / 6) < 1e-4


@pytest.mark.parametrize("spoil", ["cut", "changed", "empty", "missing"])
def test_another_table_is_refused(tmp_path: Path, spoil: str) -> None:
    """By name, before anything is drawn from it."""
    path, data = tmp_path / FILE.name, FILE.read_bytes()
    changed = {"cut": data[:-4], "changed": data[:-1] + bytes([data[-1] ^ 1]), "empty": b""}
    if spoil in changed:
        path.write_bytes(changed[spoil])
    with pytest.raises(FileDamaged) as caught:
        read_table(path)

    assert caught.value.file == FILE.name


def test_the_words_are_splitmix64() -> None:
    """The published generator's first outputs from the state 0."""
    words = random_words(0, np.arange(3))

    assert [int(u) for u in words] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


@pytest.mark.parametrize("key", [0, 1, 1 << 63, MAX_WORD])
def test_words_wrap_as_whole_numbers_do(key: int) -> None:
    """Modulo 2^64 at either end of the keys, for the first and for the last tokens of a vocabulary."""
    ids = np.array([0, 1, 2, 127, 128, (1 << 21) - 1, 1 << 31], np.int64)

    assert random_words(key, ids).tolist() == [word(key, token) for token in ids.tolist()]


def test_every_octave_has_its_cells() -> None:
    """Words at each power of two and next to it, in either half, random ones, and both ends."""
    powers = [(1 << place) + near for place in range(64) for near in (-1, 0, 1)]
    drawn = np.random.default_rng(5).integers(0, MASK, 2000, np.uint64, endpoint=True).tolist()
    small = [u >> shift for shift, u in enumerate(drawn[:60])]
    words = [u & MASK for each in (*powers, *drawn, *small, 0, MASK) for u in (each, ~each)]

    assert cells(np.array(words, np.uint64)).tolist() == [cell(u) for u in words]


def test_the_ends_of_the_words_are_the_ends_of_the_table() -> None:
    """0 has the least noise, 2^64 - 1 the most, and the two middle words lie side by side."""
    middle = [(1 << 63) - 1, 1 << 63]
    index = cells(np.array([0, MASK, *middle], np.uint64))
    values = read_table(FILE)[index]

    assert index.tolist() == [31 * 256, 8192 + 31 * 256, 255, 8192 + 255]
    assert (values[0], values[1]) == (read_table(FILE).min(), read_table(FILE).max())
    assert 0 < values[3] - values[2] < 400


@pytest.mark.parametrize(("seed", "position"), [(0, 0), (7, 1), (MAX_WORD, 0), (0, MAX_WORD), (MAX_WORD, MAX_WORD)])
def test_the_key_is_of_seed_and_position(seed: int, position: int) -> None:
    """Two numbers of eight bytes behind the name, the first eight bytes of the hash."""
    text = b"tallystick gumbel 1" + bytes.fromhex(f"{seed:016x}{position:016x}")

    assert stream_key(seed, position) == int(keccak256(text).hex()[:16], 16)


def test_the_noise_is_fixed() -> None:
    """Golden values: another implementation must give these."""
    ids = np.array([0, 1, 2, 128_000])

    assert gumbel_noise(0, 0, ids).tolist() == GOLDEN[0]
    assert gumbel_noise(MAX_WORD, MAX_WORD, ids).tolist() == GOLDEN[1]


GOLDEN = ([155141, 127562, 28029, -31696], [-11404, 315081, 9916, -27578])


def test_the_noise_of_an_id_does_not_depend_on_the_others() -> None:
    """In any company and order; none of no ids."""
    ids = np.random.default_rng(1).permutation(1000)
    whole = gumbel_noise(3, 4, np.arange(1000))

    assert gumbel_noise(3, 4, ids).tolist() == whole[ids].tolist()
    assert gumbel_noise(3, 4, ids[:0]).shape == (0,)


def test_the_noise_is_spread_like_its_law() -> None:
    """Of 50,000 draws the shares below some values are within five standard errors of exp(-exp(-x))."""
    noise = gumbel_noise(11, 12, np.arange(50_000)) / 65536
    for x in (-1.5, -1.0, 0.0, 1.0, 3.0, 6.0):
        wanted = math.exp(-math.exp(-x))
        assert abs(float((noise < x).mean()) - wanted) < 5 * math.sqrt(wanted * (1 - wanted) / 50_000)


@pytest.mark.parametrize("value", [-1, MAX_WORD + 1, 1.0, True, None])
@pytest.mark.parametrize("name", ["seed", "position"])
def test_seed_and_position_are_unsigned_words(name: str, value: int) -> None:
    """Anything else is refused by name."""
    with pytest.raises(SamplingError) as caught:
        stream_key(**{"seed": 0, "position": 0, name: value})

    assert caught.value.name == name
