"""The compiled arithmetic: native/*.c over a span's weights, used only where it has proven itself on this machine."""

import ctypes
from collections.abc import Iterable, Sequence
from ctypes import byref, c_int16, c_int32, c_uint8
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sharding.errors import KernelRefused
from sharding.exact.arithmetic import Q16, ExactCache, Part
from sharding.exact.constants import epsilon_term, score_constant
from sharding.exact.model import ExactBlock, ExactSpan, Matrix
from sharding.exact.native_library import (
    BlockStruct,
    DimensionsStruct,
    FailureStruct,
    MatrixStruct,
    PartStruct,
    library,
    matrix_struct,
    norm_struct,
    pointer,
    raise_fault,
)
from sharding.exact.proof import product_fault, prove_arithmetic
from sharding.spec import ModelSpec


class NativeArithmetic:
    """An Arithmetic (see arithmetic.py) in C, on the CPU, in as many threads as torch is set to."""

    name = "native"

    def __init__(self, span: ExactSpan) -> None:
        """Raises KernelRefused where there is no compiler, or where what it built differs from the reference."""
        prove_native(span.spec.head_dim, columns_of(span.spec))
        self._build(span)

    @classmethod
    def unproven(cls, span: ExactSpan) -> "NativeArithmetic":
        """For the proof itself."""
        made = cls.__new__(cls)
        made._build(span)
        return made

    def _build(self, span: ExactSpan) -> None:
        self._library = library()
        self._span = span
        self._kept: list[Tensor] = []  # what the structures point to
        self._dimensions = self._dimensions_of(span)
        self._blocks = [self._block_struct(block) for block in span.blocks]
        self._head = None if span.head is None else self._matrix(span.head.matrix)
        self._scratch = self._library.tally_scratch_new()
        self._failure = FailureStruct()
        self._parts: tuple[Sequence[Part], ctypes.Array[PartStruct]] | None = None

    def __del__(self) -> None:
        if scratch := getattr(self, "_scratch", None):
            self._library.tally_scratch_free(scratch)

    def make_cache(self, capacity: int) -> ExactCache:
        return ExactCache.empty(self._span.spec, len(self._span.blocks), capacity)

    def embed(self, tokens: Tensor) -> Tensor:
        matrix = self._span.embedding
        if matrix is None:
            raise KernelRefused("this span has no embedding: it takes hidden states")
        rows = torch.empty((len(tokens), self._span.spec.hidden_size), dtype=torch.int32)
        ids = tokens.contiguous()
        self._library.tally_embed(
            matrix.weight.data_ptr(), matrix.scale.data_ptr(), matrix.column.data_ptr(), matrix.shift,
            rows.shape[1], ids.data_ptr(), len(ids), rows.data_ptr(), byref(self._failure),
        )  # fmt: skip
        raise_fault(self._failure)
        return rows

    def block(self, place: int, rows: Tensor, parts: Sequence[Part]) -> Tensor:
        return self._block(place, rows, parts, final=0)

    def final_block(self, place: int, rows: Tensor, parts: Sequence[Part]) -> Tensor:
        return self._block(place, rows, parts, final=1)[: sum(part.wanted for part in parts)]

    def _block(self, place: int, rows: Tensor, parts: Sequence[Part], final: int) -> Tensor:
        out = rows.clone(memory_format=torch.contiguous_format)
        self._library.tally_block(
            self._scratch, byref(self._dimensions), byref(self._blocks[place]), place, out.data_ptr(), len(out),
            self._part_structs(parts), len(parts), final, torch.get_num_threads(), byref(self._failure),
        )  # fmt: skip
        if final or self._failure.fault or place == len(self._blocks) - 1:
            self._parts = None  # or the caches of closed sessions would live until the next pass
        raise_fault(self._failure)
        return out

    def logits(self, rows: Tensor) -> Tensor:
        head = self._span.head
        if head is None or self._head is None:
            raise KernelRefused("this span has no output matrix: it gives hidden states")
        rows = rows.contiguous()
        out = torch.empty((len(rows), self._span.spec.vocab_size), dtype=torch.int32)
        self._library.tally_logits(
            self._scratch, byref(self._dimensions), byref(norm_struct(head.norm)), byref(self._head),
            rows.data_ptr(), len(rows), out.data_ptr(), torch.get_num_threads(), byref(self._failure),
        )  # fmt: skip
        raise_fault(self._failure)
        return out

    def _part_structs(self, parts: Sequence[Part]) -> "ctypes.Array[PartStruct]":
        """The same for every block of one pass, so made once."""
        if self._parts is None or self._parts[0] is not parts:
            self._parts = parts, (PartStruct * len(parts))(*(_part_struct(part) for part in parts))
        return self._parts[1]

    def _dimensions_of(self, span: ExactSpan) -> DimensionsStruct:
        spec = span.spec
        return DimensionsStruct(
            spec.hidden_size, spec.num_heads, spec.num_kv_heads, spec.head_dim, spec.intermediate_size,
            spec.sliding_window or 0, epsilon_term(spec.norm_epsilon, spec.hidden_size),
            epsilon_term(spec.norm_epsilon, spec.head_dim), score_constant(spec.head_dim),
            pointer(self._keep(span.rope), c_int16),
        )  # fmt: skip

    def _block_struct(self, block: ExactBlock) -> BlockStruct:
        norms = [norm_struct(each) for each in (block.attention_norm, block.q_norm, block.k_norm, block.mlp_norm)]
        return BlockStruct(*norms, *(self._matrix(each) for each in (block.qkv, block.o, block.gate_up, block.down)))

    def _matrix(self, matrix: Matrix) -> MatrixStruct:
        rows, columns = matrix.weight.shape
        corrections = self._keep(torch.empty(rows, dtype=torch.int32))
        self._library.tally_corrections(matrix.weight.data_ptr(), rows, columns, corrections.data_ptr())
        return matrix_struct(matrix, corrections)

    def _keep(self, tensor: Tensor) -> Tensor:
        if not tensor.is_contiguous():
            raise KernelRefused("the kernels take tensors that lie in one piece")
        self._kept.append(tensor)
        return tensor


def _part_struct(part: Part) -> PartStruct:
    cache = part.cache
    return PartStruct(
        pointer(cache.keys, c_int16), pointer(cache.values, c_int16), pointer(cache.key_exponents, c_uint8),
        pointer(cache.value_exponents, c_uint8), pointer(part.pages, c_int32), cache.keys.shape[2], part.first, part.last,
        part.start, part.wanted,
    )  # fmt: skip


def columns_of(spec: ModelSpec) -> set[int]:
    """The lengths of the sums in the model's products."""
    return {spec.hidden_size, spec.num_heads * spec.head_dim, spec.intermediate_size}


def prove_native(head_dim: int, columns: Iterable[int]) -> None:
    """Once for each size and process. Raises KernelRefused."""
    _prove_model(head_dim)
    for each in columns:
        _prove_product(each)


@cache
def _prove_model(head_dim: int) -> None:
    prove_arithmetic(NativeArithmetic.unproven, head_dim)


@cache
def _prove_product(columns: int) -> None:
    if fault := product_fault(native_product, columns):
        raise KernelRefused(f"the compiled product is wrong: {fault}")


def native_product(x: NDArray[np.int16], weights: NDArray[np.int8]) -> NDArray[np.int32]:
    """The bare product, (n, K) and (N, K) to (n, N); x within an activation's bounds."""
    return NativeProduct(weights)(x)


class NativeProduct:
    """The compiled product with one matrix (N, K) int8, nothing before or after it: for proofs and measurements."""

    def __init__(self, weights: NDArray[np.int8]) -> None:
        self._library = library()
        self._rows = len(weights)
        weight, corrections = torch.from_numpy(weights), torch.empty(self._rows, dtype=torch.int32)
        self._library.tally_corrections(weight.data_ptr(), *weight.shape, corrections.data_ptr())
        unit = Matrix(weight, torch.ones(self._rows, dtype=torch.int32), Q16)
        self._kept = (weight, corrections, unit.scale)
        self._matrix = matrix_struct(unit, corrections)
        self._scratch = self._library.tally_scratch_new()

    def __del__(self) -> None:
        if scratch := getattr(self, "_scratch", None):
            self._library.tally_scratch_free(scratch)

    def __call__(self, x: NDArray[np.int16]) -> NDArray[np.int32]:
        """(n, K) -> (n, N). Raises KernelRefused."""
        out = np.empty((len(x), self._rows), np.int32)
        matrix, threads = byref(self._matrix), torch.get_num_threads()
        fault = self._library.tally_product(self._scratch, matrix, x.ctypes.data, len(x), out.ctypes.data, threads)
        if fault:
            raise KernelRefused(f"the compiled product failed with fault {fault}")
        return out
