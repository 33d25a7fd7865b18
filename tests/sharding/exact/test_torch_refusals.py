"""Numbers out of range in plain torch: the refusals of the reference, and its results up to each limit."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from sharding.errors import IntegerOverflow, KernelRefused, ScaleOutOfRange
from sharding.exact import reference as ops
from sharding.exact.arithmetic import MAX_INT32, Part
from sharding.exact.constants import epsilon_term
from sharding.exact.model import ExactBlock, ExactSpan, Head, Matrix, Norm
from sharding.exact.reference_arithmetic import ints
from sharding.exact.torch_arithmetic import TorchArithmetic
from sharding.span import Span
from tests.sharding.exact.arithmetic_pair import CAPACITY, KINDS, Refusal, agreed, both, first_block, noise, outcome
from tests.sharding.exact.random_span import random_span


def test_a_position_that_nobody_asks_for_cannot_overflow() -> None:
    """In the last block its attention and feed-forward are not computed; asked for, it is refused by its row."""
    span = random_span(6)
    rows = noise(3)
    rows[1] = 0
    rows[1, 0] = MAX_INT32
    down = span.blocks[0].down
    spoilt = first_block(span, down=replace(down, bias=torch.full((52,), 1 << 20, dtype=torch.int32)))
    assert agreed(both(spoilt, rows)) == Refusal(IntegerOverflow, "a hidden state", 1)
    assert isinstance(agreed(both(spoilt, rows, last=True)), Tensor)


def test_an_overflow_in_the_final_block_names_the_row_of_the_batch() -> None:
    """Not the row among those that were asked for."""
    span = random_span(6)
    arithmetic = TorchArithmetic(span)
    rows = noise(7)
    rows[6] = 0
    rows[6, 0] = MAX_INT32
    down = replace(span.blocks[0].down, bias=torch.full((52,), 1 << 20, dtype=torch.int32))
    spoilt = TorchArithmetic(first_block(span, down=down))
    parts = [Part(arithmetic.make_cache(CAPACITY), 0, 3, 0), Part(arithmetic.make_cache(CAPACITY), 3, 7, 0)]
    with pytest.raises(IntegerOverflow) as refused:
        spoilt.final_block(0, rows, parts)
    assert refused.value.row == 6


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_extreme_rows_give_the_reference_result_or_its_refusal(family: str) -> None:
    """Zeros, both ends of int32, alternating ends, one spike, each alone in its batch."""
    span = random_span(7, family)
    rows = torch.zeros((6, 52), dtype=torch.int32)
    rows[1], rows[2], rows[3, 5], rows[4, 0] = MAX_INT32, -MAX_INT32, MAX_INT32, -1
    rows[5], rows[5, ::2] = MAX_INT32, -MAX_INT32
    kinds = [type(agreed(both(span, row[None]))) for row in rows]
    assert kinds[0] is kinds[4] is Tensor
    assert Refusal in kinds


FAR = 1 << 29
"""Beyond what a head may hold, within int32."""


def biased(matrix: Matrix, value: int, rows: slice = slice(None)) -> Matrix:
    bias = torch.zeros_like(matrix.scale) if matrix.bias is None else matrix.bias.clone()
    bias[rows] = value
    return replace(matrix, bias=bias)


def still_rope(span: ExactSpan) -> ExactSpan:
    """No rotation, so that a bias arrives where it was put."""
    table = torch.zeros_like(span.rope)
    table[:, :, 0] = 1 << 14
    return replace(span, rope=table)


def spoiled(span: ExactSpan, block: ExactBlock) -> dict[str, dict[str, Any]]:
    """For each name of a refusal, what in the first block leads to it; 24 query rows, 12 key rows, 12 value rows."""
    steep = Norm(torch.full((6,), (1 << 20) - 1, dtype=torch.int32), 0)
    return {
        "a query, key or value": {"qkv": replace(block.qkv, shift=18)},
        "a query": {"qkv": biased(block.qkv, FAR, slice(0, 24))},
        "a key": {"qkv": biased(block.qkv, -FAR, slice(24, 36))},
        "a value": {"qkv": biased(block.qkv, FAR, slice(36, 48))},
        "a normalised query or key": {"q_norm": steep, "k_norm": steep},
        "an attention output": {"o": biased(block.o, MAX_INT32)},
        "a gate": {"gate_up": biased(block.gate_up, -MAX_INT32)},
        "a gated value": {"gate_up": biased(block.gate_up, 1 << 30)},
        "a feed-forward output": {"down": biased(block.down, MAX_INT32)},
    }


@pytest.mark.parametrize(
    "where",
    [
        "a query, key or value", "a query", "a key", "a value", "a normalised query or key", "an attention output", "a gate",
        "a gated value", "a feed-forward output",
    ],
)  # fmt: skip
def test_every_overflow_of_a_block_is_named_as_the_reference_names_it(where: str) -> None:
    """Numbers that are too large in one place each; torch and reference name the same step and row."""
    span = still_rope(random_span(8, "qwen3" if "normalised" in where else "llama"))
    refused = agreed(both(first_block(span, **spoiled(span, span.blocks[0])[where]), noise(1)))
    assert refused == Refusal(IntegerOverflow, where, 0)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_hidden_state_at_its_bound_is_taken_and_one_past_it_is_refused(sign: int) -> None:
    """A block that adds nothing but a bias: r + y at 2^31 - 1, then at 2^31."""
    span = random_span(9)
    block = span.blocks[0]
    silent = {
        name: replace(getattr(block, name), shift=80, bias=torch.full_like(getattr(block, name).scale, bias))
        for name, bias in (("o", 0), ("down", sign * 1000))
    }
    rows = torch.zeros((3, 52), dtype=torch.int32)
    rows[2, 1] = sign * (MAX_INT32 - 1000)
    made = agreed(both(first_block(span, **silent), rows))
    assert made[2, 1] == sign * MAX_INT32
    rows[2, 1] += sign
    assert agreed(both(first_block(span, **silent), rows)) == Refusal(IntegerOverflow, "a hidden state", 2)


@pytest.mark.parametrize("p", [-1, 0, 1, 61, 62, 63, 64])
def test_a_projection_is_shifted_as_far_as_the_reference_shifts_it(p: int) -> None:
    """Below zero is no scale, from 63 on the product is nothing and the bias stays; sums and scales as large as they get."""
    width = 1000  # sums near 2^24: with 400 they would not fill thirty bits
    span, row = random_span(10, hidden_size=width), torch.full((1, width), 1 << 16, dtype=torch.int32)
    assert span.head is not None
    norm = Norm(torch.full((width,), 1 << 19, dtype=torch.int32), 19)
    a = ops.norm(ints(row[0]), epsilon_term(span.spec.norm_epsilon, width), ints(norm.gain), norm.shift)
    assert int(a.x.sum()) * 127 > 1 << 30  # so that shifted by 62 something would be left
    weight = torch.full_like(span.head.matrix.weight, 127)
    weight[::2] *= -1
    scale = torch.full_like(span.head.matrix.scale, 1 if p < 2 else MAX_INT32)
    matrix = Matrix(weight, scale, 16 - a.fraction + p, torch.arange(len(scale), dtype=torch.int32))
    spoilt = replace(span, head=Head(norm, matrix))
    made = agreed([outcome(partial(kind(spoilt).logits, row)) for kind in KINDS])
    assert (made == Refusal(ScaleOutOfRange, "a logit", 0)) if p < 0 else isinstance(made, Tensor)
    assert p < 61 or (made[0] == torch.arange(len(scale))).all() == (p >= 63)


def test_an_overflowing_logit_is_named_with_its_row() -> None:
    """A zero row before it has zero logits."""
    span = random_span(11)
    assert span.head is not None
    spoilt = replace(span, head=Head(span.head.norm, replace(span.head.matrix, shift=20)))
    rows = noise(2)
    rows[0] = 0
    results = [outcome(partial(kind(spoilt).logits, rows)) for kind in KINDS]
    assert agreed(results) == Refusal(IntegerOverflow, "a logit", 1)


@pytest.mark.parametrize("shift", [0, 1, 22, 62, 63, 80])
def test_an_embedding_of_any_shift_gives_the_reference_result_or_its_refusal(shift: int) -> None:
    """From the largest numbers, which are refused, to nothing at all."""
    span = random_span(12)
    assert span.embedding is not None
    spoilt = replace(span, embedding=replace(span.embedding, shift=shift))
    tokens = torch.tensor([0, 40, 7])
    results = [outcome(partial(kind(spoilt).embed, tokens)) for kind in KINDS]
    made = agreed(results)
    assert isinstance(made, Tensor) == (shift >= 22)
    assert shift < 63 or not made.any()


def test_a_span_without_ends_refuses_to_embed_and_to_give_logits() -> None:
    """A middle stage."""
    arithmetic = TorchArithmetic(random_span(13, num_blocks=3).cut(Span(1, 2)))
    with pytest.raises(KernelRefused, match="hidden states"):
        arithmetic.embed(torch.tensor([1]))
    with pytest.raises(KernelRefused, match="hidden states"):
        arithmetic.logits(noise(1))
