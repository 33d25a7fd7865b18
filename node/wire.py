"""The one binary shape of everything on a stream: a fixed header of 44 bytes, then the payload.

Header, big-endian: version u8, type u8, dtype u8, rank u8, session 16 bytes, epoch u32, step u32, position u32,
two dims u32 each (unused ones 0), payload length u32. The payload is a message (CONTROL) or the raw little-endian
values of a tensor in row order. Every frame has one encoding and every other byte string is refused.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from node.errors import (
    FrameTooLarge,
    HiddenTypeMismatch,
    MalformedFrame,
    TokenOutOfVocabulary,
    ValueNotFinite,
    ValueOutOfRange,
)

VERSION = 1
SESSION_BYTES = 16
NO_SESSION = bytes(SESSION_BYTES)
DEFAULT_MAX_PAYLOAD_BYTES = 8 * 1024 * 1024
MAX_U32 = 2**32 - 1
MAX_RANK = 2

_HEADER = struct.Struct(">BBBB16sIIIIII")
HEADER_BYTES = _HEADER.size


class FrameType(IntEnum):
    """What a frame carries."""

    CONTROL = 1
    TOKENS = 2
    HIDDEN = 3
    SAMPLED = 4


class DType(IntEnum):
    """How a payload's values are written. 3 (float16), 4 (int16) and 5 (int8) are reserved for integer profiles."""

    NONE = 0
    FLOAT32 = 1
    INT32 = 2


_ITEM_BYTES = {DType.FLOAT32: 4, DType.INT32: 4}
_SHAPES = {
    FrameType.CONTROL: ((DType.NONE,), 0),
    FrameType.TOKENS: ((DType.INT32,), 1),
    FrameType.HIDDEN: ((DType.FLOAT32, DType.INT32), 2),
    FrameType.SAMPLED: ((DType.INT32,), 1),
}
"""The dtypes and the rank that each type may have; a session's profile decides between the two of hidden states."""
_HIDDEN_DTYPES = {torch.float32: DType.FLOAT32, torch.int32: DType.INT32}
_ITEM_FORMATS = {DType.FLOAT32: "<f4", DType.INT32: "<i4"}
_LOWEST_INT32 = -(2**31)
"""Has no positive twin: no Q16 number of the exact profile."""
_FRAME_TYPES = {kind.value: kind for kind in FrameType}  # a look-up is four times faster than an enum's call
_DTYPES = {dtype.value: dtype for dtype in DType}


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of a stream. `shape` is (positions,), (positions, width) or empty for CONTROL."""

    type: FrameType
    payload: bytes | bytearray | memoryview
    dtype: DType = DType.NONE
    shape: tuple[int, ...] = ()
    session: bytes = NO_SESSION
    epoch: int = 0
    step: int = 0
    position: int = 0


def encode(frame: Frame, max_payload: int = DEFAULT_MAX_PAYLOAD_BYTES) -> bytes:
    """Write a frame, copying its payload once. Raises: MalformedFrame, FrameTooLarge."""
    size = len(frame.payload)
    if size > max_payload:
        raise FrameTooLarge(size, max_payload)
    _check_shape(frame.type, frame.dtype, frame.shape, size)
    first, second = (*frame.shape, 0, 0)[:2]
    if len(frame.session) != SESSION_BYTES:
        raise MalformedFrame(f"a session id has {SESSION_BYTES} bytes, not {len(frame.session)}")
    try:
        header = _HEADER.pack(
            VERSION, frame.type, frame.dtype, len(frame.shape), frame.session,
            frame.epoch, frame.step, frame.position, first, second, size,
        )  # fmt: skip
    except struct.error as error:
        raise MalformedFrame(f"a header field is out of range: {error}") from error
    return b"".join((header, frame.payload))


def decode(data: bytes | bytearray | memoryview, max_payload: int = DEFAULT_MAX_PAYLOAD_BYTES) -> Frame:
    """Read a frame whose payload is a view into `data`. Raises: MalformedFrame, FrameTooLarge."""
    if len(data) < HEADER_BYTES:
        raise MalformedFrame(f"{len(data)} bytes, the header alone has {HEADER_BYTES}")
    version, kind, dtype, rank, session, epoch, step, position, first, second, size = _HEADER.unpack_from(data)
    if version != VERSION:
        raise MalformedFrame(f"version {version}, this node speaks {VERSION}")
    frame_type, frame_dtype = _FRAME_TYPES.get(kind), _DTYPES.get(dtype)
    if frame_type is None or frame_dtype is None:
        raise MalformedFrame(f"unknown type {kind} or dtype {dtype}")
    if size > max_payload:
        raise FrameTooLarge(size, max_payload)
    if len(data) - HEADER_BYTES != size:
        raise MalformedFrame(f"the header announces {size} bytes of payload, {len(data) - HEADER_BYTES} follow")
    shape = _used_dims(rank, first, second)
    _check_shape(frame_type, frame_dtype, shape, size)
    return Frame(frame_type, memoryview(data)[HEADER_BYTES:], frame_dtype, shape, session, epoch, step, position)


def _used_dims(rank: int, first: int, second: int) -> tuple[int, ...]:
    if rank > MAX_RANK:
        raise MalformedFrame(f"rank {rank}, a frame has at most {MAX_RANK} dims")
    if (second and rank < 2) or (first and rank < 1):
        raise MalformedFrame(f"rank {rank} with dims {first} and {second}: unused dims must be 0")
    return (first, second)[:rank]


def _check_shape(kind: FrameType, dtype: DType, shape: tuple[int, ...], size: int) -> None:
    dtypes, expected_rank = _SHAPES[kind]
    if dtype not in dtypes:
        raise MalformedFrame(f"{kind.name} frames carry {' or '.join(each.name for each in dtypes)}, not {dtype.name}")
    if len(shape) != expected_rank:
        raise MalformedFrame(f"{kind.name} frames have rank {expected_rank}, not {len(shape)}")
    if not size:
        raise MalformedFrame("the payload is empty")
    if expected_rank:
        needed = math.prod(shape) * _ITEM_BYTES[dtype]
        if needed != size:
            raise MalformedFrame(f"a {dtype.name} tensor of shape {shape} takes {needed} bytes, the payload has {size}")


def hidden_frame(session: bytes, epoch: int, step: int, position: int, hidden: torch.Tensor) -> Frame:
    """Wrap hidden states, (positions, width) in float32 or int32, without copying them. Raises: MalformedFrame."""
    dtype = _HIDDEN_DTYPES.get(hidden.dtype)
    if dtype is None or hidden.dim() != 2 or not hidden.numel():
        raise MalformedFrame(
            f"hidden states are float32 or int32 (positions, width), not {hidden.dtype} {tuple(hidden.shape)}"
        )
    values = np.ascontiguousarray(hidden.numpy(force=True), dtype=_ITEM_FORMATS[dtype])
    return Frame(FrameType.HIDDEN, _raw(values), dtype, values.shape, session, epoch, step, position)


def tokens_frame(session: bytes, epoch: int, step: int, position: int, tokens: Sequence[int]) -> Frame:
    """Wrap the token ids of one chunk, the first of them for `position`. Raises: MalformedFrame."""
    values = _token_array(tokens)
    return Frame(FrameType.TOKENS, _raw(values), DType.INT32, values.shape, session, epoch, step, position)


def sampled_frame(session: bytes, epoch: int, step: int, position: int, token: int) -> Frame:
    """Wrap the token that a last stage drew for `position`. Raises: MalformedFrame."""
    values = _token_array([token])
    return Frame(FrameType.SAMPLED, _raw(values), DType.INT32, values.shape, session, epoch, step, position)


def _token_array(tokens: Sequence[int]) -> NDArray[np.int32]:
    if not len(tokens):
        raise MalformedFrame("a frame of tokens has at least one")
    if not all(0 <= token < 2**31 for token in tokens):
        raise MalformedFrame("token ids are in 0 to 2^31 - 1")
    return np.array(tokens, dtype="<i4")


def _raw(values: NDArray[Any]) -> memoryview:
    return values.data.cast("B")


def frame_to_tensor(frame: Frame, hidden_size: int, vocab_size: int, hidden_dtype: torch.dtype) -> torch.Tensor:
    """Return an engine's input from a frame of either kind.

    Raises: MalformedFrame, HiddenTypeMismatch, ValueNotFinite, ValueOutOfRange, TokenOutOfVocabulary.
    """
    if frame.type is FrameType.HIDDEN:
        return frame_to_hidden(frame, hidden_size, hidden_dtype)
    return frame_to_tokens(frame, vocab_size)


def frame_to_hidden(frame: Frame, hidden_size: int, hidden_dtype: torch.dtype) -> torch.Tensor:
    """Return the (positions, hidden_size) of a HIDDEN frame in the session's dtype, float32 or int32.

    The tensor shares the frame's memory where that may be written to; a read-only buffer is copied.
    Raises: MalformedFrame for another type or width, HiddenTypeMismatch, ValueNotFinite, ValueOutOfRange.
    """
    if frame.type is not FrameType.HIDDEN:
        raise MalformedFrame(f"expected hidden states, got a {frame.type.name} frame")
    if frame.dtype is not (expected := _HIDDEN_DTYPES[hidden_dtype]):
        raise HiddenTypeMismatch(expected.name, frame.dtype.name)
    if frame.shape[1] != hidden_size:
        raise MalformedFrame(f"hidden states are {frame.shape[1]} wide, this model's are {hidden_size}")
    received = np.frombuffer(frame.payload, dtype=_ITEM_FORMATS[frame.dtype]).reshape(frame.shape)
    values = received.astype(received.dtype.newbyteorder("="), copy=not received.flags.writeable)
    _check_values(values)
    return torch.from_numpy(values)


def _check_values(values: NDArray[Any]) -> None:
    """Raises: ValueNotFinite, ValueOutOfRange, each with the first place."""
    whole = values.dtype.kind == "i"
    if whole and values.min() > _LOWEST_INT32:
        return  # a single pass, no mask
    wrong = values == _LOWEST_INT32 if whole else ~np.isfinite(values)
    if wrong.any():
        row, column = (int(place) for place in np.argwhere(wrong)[0])
        raise ValueOutOfRange(row, column) if whole else ValueNotFinite(row, column)


def frame_to_tokens(frame: Frame, vocab_size: int) -> torch.Tensor:
    """Return the int64 ids (positions,) of a TOKENS or SAMPLED frame. Raises: MalformedFrame, TokenOutOfVocabulary."""
    if frame.type not in (FrameType.TOKENS, FrameType.SAMPLED):
        raise MalformedFrame(f"expected tokens, got a {frame.type.name} frame")
    tokens = np.frombuffer(frame.payload, dtype="<i4")
    for token in (int(tokens.min()), int(tokens.max())):
        if not 0 <= token < vocab_size:
            raise TokenOutOfVocabulary(token, vocab_size)
    return torch.from_numpy(tokens.astype(np.int64))


def frame_to_token(frame: Frame, vocab_size: int) -> int:
    """Return the one id of a SAMPLED frame. Raises: MalformedFrame, TokenOutOfVocabulary."""
    if frame.type is not FrameType.SAMPLED or frame.shape != (1,):
        raise MalformedFrame(f"expected one sampled token, got a {frame.type.name} frame of shape {frame.shape}")
    token = int.from_bytes(frame.payload, "little", signed=True)  # an array would cost more than the rest of a frame
    if not 0 <= token < vocab_size:
        raise TokenOutOfVocabulary(token, vocab_size)
    return token
