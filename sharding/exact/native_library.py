"""The compiled library as Python sees it: its structures, its calls, and what its faults are named."""

import ctypes
from ctypes import POINTER, Structure, c_char_p, c_int, c_int8, c_int16, c_int32, c_int64, c_uint8, c_uint32, c_void_p
from functools import cache
from typing import Any

from torch import Tensor

from sharding.errors import IntegerOverflow, KernelRefused, ScaleOutOfRange
from sharding.exact.arithmetic import MAX_INT32, ROTATED_LIMIT
from sharding.exact.model import Matrix, Norm
from sharding.exact.native_build import library_path

_ROTATED = ROTATED_LIMIT - 1
OVERFLOWS = {
    1: ("a query, key or value", MAX_INT32),
    2: ("a normalised query or key", MAX_INT32),
    3: ("a query", _ROTATED),
    4: ("a key", _ROTATED),
    5: ("a value", _ROTATED),
    6: ("an attention output", MAX_INT32),
    7: ("a gate", MAX_INT32),
    8: ("a gated value", MAX_INT32),
    9: ("a feed-forward output", MAX_INT32),
    10: ("a hidden state", MAX_INT32),
    11: ("a logit", MAX_INT32),
    12: ("an embedding", MAX_INT32),
}
"""By the numbers of enum fault in native/exact.h, with the limit that was passed."""
_SCALE, _MEMORY = 13, 14


class NormStruct(Structure):
    _fields_ = [("gain", POINTER(c_int32)), ("shift", c_int32)]


class MatrixStruct(Structure):
    _fields_ = [
        ("weight", POINTER(c_int8)), ("scale", POINTER(c_int32)), ("bias", POINTER(c_int32)),
        ("corrections", POINTER(c_uint32)), ("shift", c_int32), ("rows", c_int32), ("columns", c_int32),
    ]  # fmt: skip


class BlockStruct(Structure):
    _fields_ = [(name, NormStruct) for name in ("attention_norm", "q_norm", "k_norm", "mlp_norm")] + [
        (name, MatrixStruct) for name in ("qkv", "o", "gate_up", "down")
    ]


class DimensionsStruct(Structure):
    _fields_ = [
        *((name, c_int32) for name in ("hidden", "heads", "kv_heads", "head_dim", "intermediate", "window")),
        *((name, c_int64) for name in ("epsilon", "head_epsilon", "score_constant")),
        ("rope", POINTER(c_int16)),
    ]


class PartStruct(Structure):
    _fields_ = [
        ("keys", POINTER(c_int16)), ("values", POINTER(c_int16)),
        ("key_exponents", POINTER(c_uint8)), ("value_exponents", POINTER(c_uint8)),
        ("pages", POINTER(c_int32)),
        *((name, c_int64) for name in ("capacity", "first", "last", "start", "wanted")),
    ]  # fmt: skip


class FailureStruct(Structure):
    _fields_ = [("fault", c_int32), ("row", c_int64)]


@cache
def library() -> Any:
    """Load the library. Raises KernelRefused."""
    try:
        loaded = ctypes.CDLL(str(library_path()))
    except OSError as error:
        raise KernelRefused(f"the compiled kernels do not load: {error}") from error
    place, count = c_void_p, c_int64
    calls: dict[str, tuple[Any, list[Any]]] = {
        "tally_scratch_new": (c_void_p, []),
        "tally_scratch_free": (None, [c_void_p]),
        "tally_block": (c_int, [c_void_p, POINTER(DimensionsStruct), POINTER(BlockStruct), c_int, place, count,
                                POINTER(PartStruct), count, c_int, c_int, POINTER(FailureStruct)]),
        "tally_logits": (c_int, [c_void_p, POINTER(DimensionsStruct), POINTER(NormStruct), POINTER(MatrixStruct),
                                 place, count, place, c_int, POINTER(FailureStruct)]),
        "tally_embed": (c_int, [place, place, place, c_int, c_int, place, count, place, POINTER(FailureStruct)]),
        "tally_corrections": (None, [place, count, count, place]),
        "tally_pieces_root": (c_int, [place, count, count, count, c_char_p]),
        "tally_product": (c_int, [c_void_p, POINTER(MatrixStruct), place, count, place, c_int]),
    }  # fmt: skip
    for name, (result, arguments) in calls.items():
        call = getattr(loaded, name)
        call.restype, call.argtypes = result, arguments
    return loaded


def raise_fault(failure: FailureStruct) -> None:
    """Turn a fault into its error; nothing where there is none."""
    if failure.fault == 0:
        return
    if failure.fault == _SCALE:
        raise ScaleOutOfRange("a projection", "below 0", "at least 0", row=failure.row)
    if failure.fault == _MEMORY:
        raise KernelRefused("no memory for the rows of this batch: use shorter chunks")
    where, limit = OVERFLOWS[failure.fault]
    raise IntegerOverflow(where, limit, row=failure.row)


def pointer(tensor: Tensor | None, kind: Any) -> Any:
    """A typed pointer to a contiguous tensor's values; the caller keeps the tensor alive."""
    return None if tensor is None else ctypes.cast(tensor.data_ptr(), POINTER(kind))


def norm_struct(norm: Norm | None) -> NormStruct:
    return NormStruct(None, 0) if norm is None else NormStruct(pointer(norm.gain, c_int32), norm.shift)


def matrix_struct(matrix: Matrix, corrections: Tensor) -> MatrixStruct:
    rows, columns = matrix.weight.shape
    return MatrixStruct(
        pointer(matrix.weight, c_int8), pointer(matrix.scale, c_int32), pointer(matrix.bias, c_int32),
        pointer(corrections, c_uint32), matrix.shift, rows, columns,
    )  # fmt: skip
