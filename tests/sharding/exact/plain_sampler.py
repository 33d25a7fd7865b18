"""SPEC.md section 6 a second time, in plain integers and one token at a time, for the tests to compare with."""

from pathlib import Path

from sharding.exact import gumbel
from sharding.hashing import keccak256
from sharding.sampling import SamplingParams

FILE = Path(gumbel.__file__).with_name(gumbel.TABLE_FILE)
MASK = (1 << 64) - 1
TABLE: list[int] = gumbel.read_table(FILE).tolist()


def share_of(difference: int, tau: int) -> int:
    """A candidate's weight, straight from the specification."""
    y = min((min(difference, 1 << 28) * (94548 * 65536 // tau)) >> 16, 40 << 16)
    i, a = y >> 16, y % 65536
    p = 65534 - ((a * (45414 - ((a * (15687 - ((a * (3494 - ((a * 454) >> 16))) >> 16))) >> 16))) >> 16)
    return (p << 14) >> i


def kept(logits: list[int], params: SamplingParams) -> list[int]:
    """The candidates, in plain integers."""
    tau, share = max(1, round(65536 * params.temperature)), max(1, round(65536 * params.top_p))
    ids = sorted(range(len(logits)), key=lambda i: (-logits[i], i))
    ids = ids[: params.top_k] if params.top_k else ids
    if share >= 65536:
        return ids
    shares = [share_of(max(logits) - logits[i], tau) for i in ids]
    count, total = 0, 0
    while 65536 * total < share * sum(shares):
        total += shares[count]
        count += 1
    return ids[:count]


def key(seed: int, position: int) -> int:
    """k."""
    data = b"tallystick gumbel 1" + seed.to_bytes(8, "big") + position.to_bytes(8, "big")
    return int.from_bytes(keccak256(data)[:8], "big")


def word(k: int, token: int) -> int:
    """u."""
    z = (k + (token + 1) * 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def cell(u: int) -> int:
    """The entry of the table."""
    b = u >> 63
    v = MASK - u if b else u
    c = min(31, 63 - v.bit_length())
    return 8192 * b + 256 * c + (0 if c == 31 else (v >> (54 - c)) % 256)


def noise(params: SamplingParams, position: int, token: int) -> int:
    return TABLE[cell(word(key(params.seed, position), token))]


def token_of(logits: list[int], params: SamplingParams, position: int) -> int:
    """The whole of section 6."""
    if params.temperature == 0:
        return logits.index(max(logits))
    tau = max(1, round(65536 * params.temperature))
    return max(kept(logits, params), key=lambda i: (logits[i] * 65536 + tau * noise(params, position, i), -i))
