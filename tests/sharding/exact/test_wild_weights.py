"""Weights that no quantiser would write and every loader must take: all kernels give the same numbers or refuse alike."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from sharding.errors import ShardingError
from sharding.exact.arithmetic import MAX_INT32, Arithmetic, Part
from sharding.exact.model import Embedding, ExactBlock, ExactSpan, Head, Matrix, Norm
from sharding.exact.native_arithmetic import NativeArithmetic
from sharding.exact.reference_arithmetic import ReferenceArithmetic
from sharding.exact.torch_arithmetic import TorchArithmetic
from sharding.exact.trial import random_span, trial_spec

Numbers = NDArray[np.int64]
GAIN_LIMIT = (1 << 20) - 1


class Wild:
    """Draws from the ends of every range that load.py lets through."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)

    def among(self, like: Tensor, *values: int) -> Tensor:
        return torch.from_numpy(self._random.choice(values, tuple(like.shape))).to(like.dtype)

    def one(self, *values: int) -> int:
        return int(self._random.choice(values))

    def norm(self, norm: Norm) -> Norm:
        return Norm(self.among(norm.gain, -GAIN_LIMIT, GAIN_LIMIT, 0, 1), self.one(0, 20, 40))

    def matrix(self, matrix: Matrix) -> Matrix:
        bias = None if matrix.bias is None else self.among(matrix.bias, -MAX_INT32, MAX_INT32, 0)
        weight, scale = self.among(matrix.weight, -127, 127, 0, 1), self.among(matrix.scale, 1, MAX_INT32, 1 << 20)
        return Matrix(weight, scale, self.one(0, 16, 30, 45, 62, 80), bias)

    def block(self, block: ExactBlock) -> ExactBlock:
        return ExactBlock(
            attention_norm=self.norm(block.attention_norm),
            qkv=self.matrix(block.qkv),
            q_norm=None if block.q_norm is None else self.norm(block.q_norm),
            k_norm=None if block.k_norm is None else self.norm(block.k_norm),
            o=self.matrix(block.o),
            mlp_norm=self.norm(block.mlp_norm),
            gate_up=self.matrix(block.gate_up),
            down=self.matrix(block.down),
        )

    def embedding(self, embedding: Embedding) -> Embedding:
        weight = self.among(embedding.weight, -127, 127, 0)
        scale, column = self.among(embedding.scale, 1, MAX_INT32), self.among(embedding.column, 1, 1 << 15)
        return Embedding(weight, scale, column, self.one(0, 20, 40, 62, 63, 80))

    def rows(self, width: int) -> Tensor:
        """Three of them, at the ends of int32 or of any one size."""
        if self.one(0, 1):
            values: Numbers = self._random.choice([0, 1, -1, MAX_INT32, -MAX_INT32, 1 << 22, 1 << 23], (3, width))
        else:
            values = self._random.integers(-MAX_INT32, MAX_INT32 + 1, (3, width)) >> self.one(*range(31))
        return torch.from_numpy(values).to(torch.int32)


def wild_span(seed: int, head_dim: int) -> ExactSpan:
    span, wild = random_span(trial_spec(head_dim), seed), Wild(seed)
    assert span.embedding is not None
    assert span.head is not None
    return replace(
        span,
        blocks=tuple(wild.block(block) for block in span.blocks),
        embedding=wild.embedding(span.embedding),
        head=Head(wild.norm(span.head.norm), wild.matrix(span.head.matrix)),
    )


KINDS: list[Callable[[ExactSpan], Arithmetic]] = [
    ReferenceArithmetic,
    NativeArithmetic.unproven,
    lambda span: TorchArithmetic.unproven(span, torch.device("cpu"), "float32"),
]
STEPS: dict[str, Callable[[Arithmetic, Tensor], Tensor]] = {
    "embed": lambda each, _rows: each.embed(torch.tensor([0, 5, 36])),
    "block": lambda each, rows: each.block(0, rows, [Part(each.make_cache(8), 0, 3, 0)]),
    "final_block": lambda each, rows: each.final_block(1, rows, [Part(each.make_cache(8), 0, 3, 0)]),
    "logits": lambda each, rows: each.logits(rows),
}


def outcome(step: Callable[[Arithmetic, Tensor], Tensor], arithmetic: Arithmetic, rows: Tensor) -> object:
    """The numbers, or the error's name: of several rows out of range any may be the one that is named."""
    try:
        return step(arithmetic, rows).tolist()
    except ShardingError as error:
        return type(error)


@pytest.mark.parametrize("head_dim", [2, 16, 64])
@pytest.mark.parametrize("step", STEPS)
def test_wild_weights_are_computed_alike_or_refused_alike(step: str, head_dim: int) -> None:
    """Twenty models each; some are computed and some refused, or the draw would be too tame."""
    seen = set[bool]()
    for seed in range(20):
        span, rows = wild_span(seed, head_dim), Wild(seed + 1000).rows(96)
        outcomes = [outcome(STEPS[step], kind(span), rows) for kind in KINDS]
        assert outcomes[1:] == outcomes[:1] * 2, f"seed {seed}"
        seen.add(isinstance(outcomes[0], list))
    assert False in seen
