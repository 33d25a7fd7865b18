"""The arithmetic in plain torch: needs no compiler, runs on CPU and CUDA, and gives the reference's bytes."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from sharding.errors import IntegerOverflow, KernelRefused, ScaleOutOfRange
from sharding.exact.arithmetic import Q16, ExactCache, Part
from sharding.exact.constants import epsilon_term, score_constant
from sharding.exact.model import ExactBlock, ExactSpan, Matrix, Norm
from sharding.exact.proof import prove_arithmetic
from sharding.exact.torch_attention import attend
from sharding.exact.torch_products import PRODUCTS, choose_product
from sharding.exact.torch_rows import Activations, Heads, check, compress, gate, norm_values, pack, rotate, rsh


class TorchArithmetic:
    """An Arithmetic (see arithmetic.py) on one device; rows may come from and go to another."""

    def __init__(self, span: ExactSpan, device: torch.device | None = None, product: str | None = None) -> None:
        """product: a name of PRODUCTS, without one the quickest that proves itself. Raises KernelRefused."""
        spec, device = span.spec, device or torch.device("cpu")
        columns = tuple(sorted({spec.hidden_size, spec.num_heads * spec.head_dim, spec.intermediate_size}))
        names = tuple(PRODUCTS) if product is None else (product,)
        self._build(span, device, proven_product(columns, spec.head_dim, device, names))

    @classmethod
    def unproven(cls, span: ExactSpan, device: torch.device, product: str) -> "TorchArithmetic":
        """For the proof itself."""
        made = cls.__new__(cls)
        made._build(span, device, product)
        return made

    def _build(self, span: ExactSpan, device: torch.device, product: str) -> None:
        spec = self._spec = span.spec
        self._device = device
        self._span = span if device.type == "cpu" else on_device(span, device)
        self._product = PRODUCTS[product]
        self.name = f"torch {device.type} {product}"
        self._epsilon = epsilon_term(spec.norm_epsilon, spec.hidden_size)
        self._head_epsilon = epsilon_term(spec.norm_epsilon, spec.head_dim)
        self._score = score_constant(spec.head_dim)

    def make_cache(self, capacity: int) -> ExactCache:
        return ExactCache.empty(self._spec, len(self._span.blocks), capacity, self._device)

    def embed(self, tokens: Tensor) -> Tensor:
        matrix = self._span.embedding
        if matrix is None:
            raise KernelRefused("this span has no embedding: it takes hidden states")
        ids = tokens.to(self._device)
        if matrix.shift >= 63:
            return torch.zeros((len(ids), self._spec.hidden_size), dtype=torch.int32, device=tokens.device)
        wide = matrix.weight[ids].to(torch.int64) * matrix.column * matrix.scale[ids].to(torch.int64)[:, None]
        return check(rsh(wide, matrix.shift), "an embedding").to(torch.int32).to(tokens.device)

    def block(self, place: int, rows: Tensor, parts: Sequence[Part]) -> Tensor:
        block, r = self._span.blocks[place], rows.to(self._device, torch.int64)
        query = self._remember(block, place, r, parts)
        return self._answer(block, place, r, query, parts).to(torch.int32).to(rows.device)

    def final_block(self, place: int, rows: Tensor, parts: Sequence[Part]) -> Tensor:
        block, r = self._span.blocks[place], rows.to(self._device, torch.int64)
        query = self._remember(block, place, r, parts)
        finished = [part for part in parts if part.wanted]
        if not finished:
            return rows[:0]
        wanted = [part.last - 1 for part in finished]
        ends = [Part(part.cache, i, i + 1, part.end - 1, part.pages) for i, part in enumerate(finished)]
        try:
            made = self._answer(block, place, r[wanted], query[wanted], ends)
        except (IntegerOverflow, ScaleOutOfRange) as error:
            error.row = wanted[error.row]
            raise
        return made.to(torch.int32).to(rows.device)

    def logits(self, rows: Tensor) -> Tensor:
        head = self._span.head
        if head is None:
            raise KernelRefused("this span has no output matrix: it gives hidden states")
        normed = self._norm(rows.to(self._device, torch.int64), head.norm)
        return self._project(normed, head.matrix, "a logit").to(torch.int32).to(rows.device)

    def _remember(self, block: ExactBlock, place: int, r: Tensor, parts: Sequence[Part]) -> Tensor:
        """Keep keys and values; returns the rotated queries (n, heads, d)."""
        spec = self._spec
        y = self._project(self._norm(r, block.attention_norm), block.qkv, "a query, key or value")
        heads = y.reshape(len(r), -1, spec.head_dim)
        query, key, value = torch.split(heads, [spec.num_heads, spec.num_kv_heads, spec.num_kv_heads], dim=1)
        if block.q_norm is not None and block.k_norm is not None:
            query, key = self._head_norm(query, block.q_norm), self._head_norm(key, block.k_norm)
        places = [torch.arange(part.start, part.end, device=self._device) for part in parts]
        table = self._span.rope[torch.cat(places)].to(torch.int64)
        kept = compress(rotate(key, table), "a key"), compress(value, "a value")
        for part in parts:
            _store(part.cache.keys[place], part.cache.key_exponents[place], kept[0], part)
            _store(part.cache.values[place], part.cache.value_exponents[place], kept[1], part)
        return rotate(query, table)

    def _answer(self, block: ExactBlock, place: int, r: Tensor, query: Tensor, parts: Sequence[Part]) -> Tensor:
        mixed = self._attend(query, place, parts).reshape(len(r), -1)
        r = check(r + self._project(pack(mixed, Q16), block.o, "an attention output"), "a hidden state")
        gates, ups = self._project(self._norm(r, block.mlp_norm), block.gate_up, "a gate").chunk(2, dim=1)
        fed = self._project(pack(gate(gates, ups), Q16), block.down, "a feed-forward output")
        return check(r + fed, "a hidden state")

    def _attend(self, query: Tensor, place: int, parts: Sequence[Part]) -> Tensor:
        asked, outputs = compress(query, "a query"), []
        for part in parts:
            seen = part.places(0, part.end)
            keys = _kept(part.cache.keys[place], part.cache.key_exponents[place], seen)
            values = _kept(part.cache.values[place], part.cache.value_exponents[place], seen)
            own = Heads(asked.numbers[part.first : part.last], asked.exponents[part.first : part.last])
            outputs.append(attend(own, keys, values, part.start, self._spec.sliding_window, self._score))
        return torch.cat(outputs)

    def _norm(self, r: Tensor, norm: Norm) -> Activations:
        return pack(norm_values(r, self._epsilon) * norm.gain, 20 + norm.shift)

    def _head_norm(self, y: Tensor, norm: Norm) -> Tensor:
        normed = rsh(norm_values(y, self._head_epsilon) * norm.gain, 4 + norm.shift)
        return check(normed, "a normalised query or key")

    def _project(self, a: Activations, matrix: Matrix, where: str) -> Tensor:
        p = matrix.shift + a.fractions - Q16
        if int(p.min()) < 0:
            raise ScaleOutOfRange(where, int(p.min()), "at least 0", row=int((p < 0).nonzero()[0]))
        wide = self._product(a.x, matrix.weight) * matrix.scale
        y = torch.where(p[:, None] < 63, rsh(wide, p.clamp(max=62)[:, None]), 0)
        return check(y if matrix.bias is None else y + matrix.bias, where)


@cache
def proven_product(columns: tuple[int, ...], head_dim: int, device: torch.device, names: tuple[str, ...]) -> str:
    """Once for each shape and process: attention's products are a library's too. Raises KernelRefused."""
    chosen = choose_product(columns, device, names)
    prove_arithmetic(lambda span: TorchArithmetic.unproven(span, device, chosen), head_dim)
    return chosen


def on_device(span: ExactSpan, device: torch.device) -> ExactSpan:
    """The same weights there."""
    return ExactSpan(
        span.spec, span.span, span.rope.to(device), tuple(_moved(block, device) for block in span.blocks),
        _moved(span.embedding, device), _moved(span.head, device),
    )  # fmt: skip


def _moved(value: Any, device: torch.device) -> Any:
    """Tensors moved, whatever dataclass holds them."""
    if isinstance(value, Tensor):
        return value.to(device)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _moved(getattr(value, each.name), device) for each in fields(value)})
    return value


def _store(numbers: Tensor, exponents: Tensor, kept: Heads, part: Part) -> None:
    places = part.places(part.start, part.end)
    numbers[:, places] = kept.numbers[part.first : part.last].transpose(0, 1).to(torch.int16)
    exponents[:, places] = kept.exponents[part.first : part.last].T.to(torch.uint8)


def _kept(numbers: Tensor, exponents: Tensor, seen: slice | Tensor) -> Heads:
    return Heads(numbers[:, seen].to(torch.int64), exponents[:, seen].to(torch.int64))
