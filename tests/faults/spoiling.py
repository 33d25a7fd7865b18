"""Messages as a faulty process would send them: one bit wrong, or values that no good process can have."""

import random

from node.errors import FrameTooLarge, MalformedFrame
from node.wire import HEADER_BYTES, FrameType, decode

_LOWEST_INT32 = (-(2**31)).to_bytes(4, "little", signed=True)
_NAN_FLOAT32 = b"\x00\x00\xc0\x7f"


def frame_type(data: bytes) -> FrameType | None:
    """What a message carries; None for a step of the handshake or something that is no frame."""
    try:
        return decode(data).type
    except (MalformedFrame, FrameTooLarge):
        return None


def flipped(data: bytes, seed: int) -> bytes:
    """One bit changed where it can be seen: in a header, a message or a handshake.

    A tensor's values are left alone: one bit of them is another good tensor, and only somebody who computes the same again
    can tell (that is verification's part, not the session's).
    """
    bare = frame_type(data) in (None, FrameType.CONTROL)
    spoilt = bytearray(data)
    bit = random.Random(f"flip {seed}").randrange(8 * (len(data) if bare else HEADER_BYTES))
    spoilt[bit // 8] ^= 1 << bit % 8
    return bytes(spoilt)


def garbage(data: bytes, seed: int) -> bytes:
    """Nothing that a good process sends: random bytes, a cut or overlong message, a tensor with an impossible value."""
    chance = random.Random(f"garbage {seed}")
    ways = [_random_bytes, _cut, _overlong]
    if frame_type(data) in (FrameType.TOKENS, FrameType.HIDDEN, FrameType.SAMPLED):
        ways += [_impossible_value] * 3
    return chance.choice(ways)(data, chance)


def _random_bytes(data: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(1, len(data) + 1))


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def _overlong(data: bytes, chance: random.Random) -> bytes:
    return data + chance.randbytes(chance.randrange(1, 64))


def _impossible_value(data: bytes, chance: random.Random) -> bytes:
    """-2^31 is no number of the exact profile and no token; in float32 it is NaN that must not be there."""
    frame = decode(data)
    at = HEADER_BYTES + 4 * chance.randrange(len(frame.payload) // 4)
    value = _NAN_FLOAT32 if frame.type is FrameType.HIDDEN and frame.dtype.name == "FLOAT32" else _LOWEST_INT32
    return data[:at] + value + data[at + 4 :]
