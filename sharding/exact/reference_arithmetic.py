"""The reference over a span: SPEC.md's block put together from reference.py's operations, row by row."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sharding.errors import IntegerOverflow, KernelRefused, ScaleOutOfRange
from sharding.exact import reference as ops
from sharding.exact.arithmetic import ExactCache, Part
from sharding.exact.constants import epsilon_term, score_constant
from sharding.exact.model import ExactBlock, ExactSpan, Matrix, Norm
from sharding.exact.reference import Activation, Compressed, Ints


def ints(tensor: Tensor) -> Ints:
    return tensor.numpy().astype(np.int64)


class ReferenceArithmetic:
    """An Arithmetic that is slow and beyond doubt."""

    name = "reference"

    def __init__(self, span: ExactSpan) -> None:
        self._span = span
        self._spec = span.spec
        self._epsilon = epsilon_term(span.spec.norm_epsilon, span.spec.hidden_size)
        self._head_epsilon = epsilon_term(span.spec.norm_epsilon, span.spec.head_dim)
        self._score = score_constant(span.spec.head_dim)
        self._wide: dict[int, Ints] = {}

    def make_cache(self, capacity: int) -> ExactCache:
        return ExactCache.empty(self._spec, len(self._span.blocks), capacity)

    def embed(self, tokens: Tensor) -> Tensor:
        matrix = self._span.embedding
        if matrix is None:
            raise KernelRefused("this span has no embedding: it takes hidden states")
        column = ints(matrix.column)
        return _each(tokens, lambda t, _: ops.embed(ints(matrix.weight[t]), column, int(matrix.scale[t]), matrix.shift))

    def block(self, place: int, rows: Tensor, parts: Sequence[Part]) -> Tensor:
        return self._block(place, rows, parts, range(len(rows)))

    def final_block(self, place: int, rows: Tensor, parts: Sequence[Part]) -> Tensor:
        wanted = [part.last - 1 for part in parts if part.wanted]
        return self._block(place, rows, parts, wanted)[wanted]

    def _block(self, place: int, rows: Tensor, parts: Sequence[Part], wanted: Sequence[int]) -> Tensor:
        """Rows that are not wanted come out as they went in, once their keys and values are kept."""
        block = self._span.blocks[place]
        owners = [part for part in parts for _ in range(part.first, part.last)]

        def compute(r: Ints, row: int) -> Ints:
            part = owners[row]
            position = part.start + row - part.first
            query = self._remember(block, place, r, part, position)
            return self._answer(block, place, r, query, part, position) if row in wanted else r

        return _each(rows, compute)

    def logits(self, rows: Tensor) -> Tensor:
        head = self._span.head
        if head is None:
            raise KernelRefused("this span has no output matrix: it gives hidden states")
        return _each(rows, lambda row, _: self._project(self._norm(row, head.norm), head.matrix, "a logit"))

    def _answer(self, block: ExactBlock, place: int, r: Ints, query: Ints, part: Part, position: int) -> Ints:
        """What one position becomes, once its key and value are kept."""
        mixed = self._attend(query, place, part, position)
        r = ops.add(r, self._project(ops.pack(mixed, 16), block.o, "an attention output"))
        gates, ups = np.split(self._project(self._norm(r, block.mlp_norm), block.gate_up, "a gate"), 2)
        return ops.add(r, self._project(ops.pack(ops.gate(gates, ups), 16), block.down, "a feed-forward output"))

    def _remember(self, block: ExactBlock, place: int, r: Ints, part: Part, position: int) -> Ints:
        """Project, rotate, keep key and value; returns the rotated query (heads, d)."""
        spec = self._spec
        y = self._project(self._norm(r, block.attention_norm), block.qkv, "a query, key or value")
        heads = y.reshape(spec.num_heads + 2 * spec.num_kv_heads, spec.head_dim)
        query, key, value = np.split(heads, [spec.num_heads, spec.num_heads + spec.num_kv_heads])
        if block.q_norm is not None and block.k_norm is not None:
            query = ops.head_norm(query, self._head_epsilon, ints(block.q_norm.gain), block.q_norm.shift)
            key = ops.head_norm(key, self._head_epsilon, ints(block.k_norm.gain), block.k_norm.shift)
        table = ints(self._span.rope[position])
        kept = ops.compress(ops.rotate(key, table), "a key"), ops.compress(value, "a value")
        cache, at = part.cache, part.places(position, position + 1)
        _store(cache.keys[place], cache.key_exponents[place], at, kept[0])
        _store(cache.values[place], cache.value_exponents[place], at, kept[1])
        return ops.rotate(query, table)

    def _attend(self, query: Ints, place: int, part: Part, position: int) -> Ints:
        spec, cache, outputs = self._spec, part.cache, []
        window = spec.sliding_window
        seen = part.places(0 if window is None else max(0, position + 1 - window), position + 1)
        asked = ops.compress(query, "a query")
        for head in range(spec.num_heads):
            group = head // (spec.num_heads // spec.num_kv_heads)
            keys = Compressed(ints(cache.keys[place, group, seen]), ints(cache.key_exponents[place, group, seen]))
            values = Compressed(ints(cache.values[place, group, seen]), ints(cache.value_exponents[place, group, seen]))
            z = ops.scores(asked.heads[head], int(asked.exponents[head]), keys, self._score)
            outputs.append(ops.mix(ops.attention_weights(z), values))
        return np.concatenate(outputs)

    def _norm(self, r: Ints, gains: Norm) -> Activation:
        return ops.norm(r, self._epsilon, self._held(gains.gain), gains.shift)

    def _project(self, a: Activation, matrix: Matrix, where: str) -> Ints:
        bias = None if matrix.bias is None else self._held(matrix.bias)
        return ops.project(a, self._held(matrix.weight), self._held(matrix.scale), matrix.shift, bias, where)

    def _held(self, weights: Tensor) -> Ints:
        """The span's own tensors in int64, made once: they live as long as this does."""
        if id(weights) not in self._wide:
            self._wide[id(weights)] = ints(weights)
        return self._wide[id(weights)]


def _each(rows: Tensor, compute: Callable[[Ints, int], Ints]) -> Tensor:
    """Row by row, an error naming its row."""
    outputs = []
    for index, row in enumerate(rows):
        try:
            outputs.append(compute(ints(row), index))
        except (IntegerOverflow, ScaleOutOfRange) as error:
            error.row = index
            raise
    return torch.from_numpy(np.stack(outputs).astype(np.int32))


def _store(heads: Tensor, exponents: Tensor, at: slice | Tensor, kept: Compressed) -> None:
    heads[:, at] = torch.from_numpy(kept.heads.astype(np.int16))[:, None]
    exponents[:, at] = torch.from_numpy(kept.exponents.astype(np.uint8))[:, None]
