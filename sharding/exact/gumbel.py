"""Seeded Gumbel noise after SPEC.md section 6: a function of seed, position and token id alone, in integers.

scripts/make_gumbel_table.py writes the table. The mixing of 64-bit words is SplitMix64 (Steele, Lea and Flood, 2014).
"""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sharding.errors import FileDamaged, SamplingError
from sharding.hashing import keccak256, sha256

TABLE_FILE = "gumbel.bin"
TABLE_SHA256 = "55e41a991d945c6917de5af8d5b4983601a635ca6df075208d1030beb5840f66"
ENTRIES = 16384
EXPONENTS = 32
CELLS = 256
"""Of equal size within each octave of probability."""
MAX_WORD = (1 << 64) - 1

_DOMAIN = b"tallystick gumbel 1"
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)

Words = NDArray[np.uint64]
Ints = NDArray[np.int64]


def gumbel_noise(seed: int, position: int, ids: Ints) -> Ints:
    """The noise of each token id >= 0, Q16. Shapes: ids and the result (n,). Raises SamplingError, FileDamaged."""
    return _table()[cells(random_words(stream_key(seed, position), ids))]


def stream_key(seed: int, position: int) -> int:
    """k of the specification: where the words of one token's draw begin. Raises SamplingError."""
    message = _DOMAIN + _eight_bytes("seed", seed) + _eight_bytes("position", position)
    return int.from_bytes(keccak256(message)[:8], "big")


def _eight_bytes(name: str, value: int) -> bytes:
    if type(value) is not int or not 0 <= value <= MAX_WORD:
        raise SamplingError(name, value, f"a whole number in [0, {MAX_WORD}]")
    return value.to_bytes(8, "big")


def random_words(key: int, ids: Ints) -> Words:
    """u of the specification for each id. Shapes: (n,) both."""
    z = ids.astype(np.uint64)
    z += np.uint64(1)
    z *= _STEP
    z += np.uint64(key)
    z ^= z >> np.uint64(30)
    z *= _FIRST
    z ^= z >> np.uint64(27)
    z *= _SECOND
    z ^= z >> np.uint64(31)
    return z


def cells(words: Words) -> Ints:
    """The table's entry 8192 b + 256 c + m for each word. Shapes: (n,) both."""
    upper = words.view(np.int64) < 0
    v = np.where(upper, ~words, words).view(np.int64)
    # where v has more than 32 bits its upper half has the rest of them, and a double holds that exactly
    c = EXPONENTS - 1 - np.frexp((v >> 32).astype(np.float64))[1].astype(np.int64)
    m = (v >> (54 - c)) & (CELLS - 1)
    m[c == EXPONENTS - 1] = 0
    return upper * (ENTRIES // 2) + c * CELLS + m


def read_table(path: Path) -> Ints:
    """Shape: (16384,), Q16. Raises FileDamaged where the file is not the one that the profile's draws are made from."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileDamaged(
            f"{path.name} cannot be read ({error.strerror}): install Tallystick again", file=path.name
        ) from error
    if sha256(data).hex() != TABLE_SHA256:
        raise FileDamaged(f"{path.name} is not the table of this profile: install Tallystick again", file=path.name)
    return np.frombuffer(data, "<i4").astype(np.int64)


@cache
def _table() -> Ints:
    table = read_table(Path(__file__).with_name(TABLE_FILE))
    table.flags.writeable = False
    return table
