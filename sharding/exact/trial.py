"""Extreme inputs that every kernel has to get right before it computes for anybody: activations, weights, and a small model."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sharding.exact.arithmetic import MAX_ACTIVATION, MAX_ACTIVATION_SUM
from sharding.exact.model import Embedding, ExactBlock, ExactSpan, Head, Matrix, Norm
from sharding.families import FAMILIES
from sharding.rope import Rope
from sharding.spec import ModelSpec

TRIAL_HIDDEN, TRIAL_FEED_FORWARD, TRIAL_VOCABULARY, TRIAL_POSITIONS = 96, 150, 37, 96


def trial_spec(head_dim: int) -> ModelSpec:
    """A small model with everything that some family has."""
    return ModelSpec(
        family="qwen3", num_blocks=2, hidden_size=TRIAL_HIDDEN, num_heads=4, num_kv_heads=2, head_dim=head_dim,
        intermediate_size=TRIAL_FEED_FORWARD, vocab_size=TRIAL_VOCABULARY, max_positions=TRIAL_POSITIONS,
        tied_embeddings=True, eos_token_ids=(), norm_epsilon=1e-5, rope=Rope("default", 10000.0),
        attention_biases=("q", "k", "v", "o"),
    )  # fmt: skip


def extreme_activations(columns: int) -> NDArray[np.int16]:
    """(7, columns): at both bounds of an activation, alternating, one spike, zeros, noise of all sizes."""
    level = min(MAX_ACTIVATION, (MAX_ACTIVATION_SUM - columns) // columns)
    random = np.random.Generator(np.random.PCG64(7))
    rows = np.zeros((7, columns), np.int64)
    rows[0], rows[1] = level, -level
    rows[2] = level * (1 - 2 * (np.arange(columns) % 2))
    rows[3, columns // 2] = -MAX_ACTIVATION
    rows[5] = random.integers(-level, level + 1, columns)
    rows[6] = random.integers(-level, level + 1, columns) >> random.integers(0, 15, columns)
    return rows.astype(np.int16)


def extreme_weights(columns: int) -> NDArray[np.int8]:
    """(7, columns) in [-127, 127]: an odd number of rows, so that kernels which take them in pairs show it."""
    rows = np.full((7, columns), 127, np.int64)
    rows[1] = -127
    rows[2] = 127 * (1 - 2 * (np.arange(columns) % 2))
    rows[3] = 0
    rows[4:] = np.random.Generator(np.random.PCG64(8)).integers(-127, 128, (3, columns))
    return rows.astype(np.int8)


def trial_batches(columns: int) -> Iterator[NDArray[np.int16]]:
    """Batches of one to seven rows, and one of seventeen."""
    rows = extreme_activations(columns)
    for count in range(1, len(rows) + 1):
        yield np.ascontiguousarray(np.roll(rows, count, axis=0)[:count])
    yield np.ascontiguousarray(np.concatenate((rows, rows[::-1], rows[:3])))


def trial_span(head_dim: int) -> ExactSpan:
    """A whole model of trial_spec in pseudo-random integers."""
    return random_span(trial_spec(head_dim), seed=9)


def random_span(spec: ModelSpec, seed: int) -> ExactSpan:
    """A whole model in pseudo-random integers, of sizes that keep every value in range; the rope table is noise too."""
    random = _Numbers(np.random.Generator(np.random.PCG64(seed)))
    tied = random.matrix(spec.vocab_size, spec.hidden_size, bias=False)
    head = tied if spec.tied_embeddings else random.matrix(spec.vocab_size, spec.hidden_size, bias=False)
    column = random.tensor(torch.int32, 1, (1 << 15) + 1, spec.hidden_size)
    rope = random.tensor(torch.int16, -(1 << 14), (1 << 14) + 1, spec.max_positions, spec.head_dim // 2, 2)
    return ExactSpan(
        spec, spec.whole, rope, tuple(random.block(spec) for _ in range(spec.num_blocks)),
        Embedding(tied.weight, tied.scale, column, 40), Head(random.norm(spec.hidden_size), head),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Numbers:
    random: np.random.Generator

    def tensor(self, dtype: torch.dtype, low: int, high: int, *shape: int) -> Tensor:
        return torch.from_numpy(self.random.integers(low, high, shape)).to(dtype)

    def norm(self, width: int) -> Norm:
        return Norm(self.tensor(torch.int32, -(1 << 19), 1 << 19, width), 18)

    def matrix(self, rows: int, columns: int, bias: bool) -> Matrix:
        """Scales so that outputs are of the size of inputs."""
        added = self.tensor(torch.int32, -(1 << 17), 1 << 17, rows) if bias else None
        weight = self.tensor(torch.int8, -127, 128, rows, columns)
        shift = 37 + columns.bit_length() // 2
        return Matrix(weight, self.tensor(torch.int32, 1 << 27, (1 << 31) - 1, rows), shift, added)

    def block(self, spec: ModelSpec) -> ExactBlock:
        queries, kv, biases = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim, spec.attention_biases
        head_norms = FAMILIES[spec.family].qk_norm
        return ExactBlock(
            attention_norm=self.norm(spec.hidden_size),
            qkv=self.matrix(queries + 2 * kv, spec.hidden_size, "q" in biases),
            q_norm=self.norm(spec.head_dim) if head_norms else None,
            k_norm=self.norm(spec.head_dim) if head_norms else None,
            o=self.matrix(spec.hidden_size, queries, "o" in biases),
            mlp_norm=self.norm(spec.hidden_size),
            gate_up=self.matrix(2 * spec.intermediate_size, spec.hidden_size, spec.mlp_bias),
            down=self.matrix(spec.hidden_size, spec.intermediate_size, spec.mlp_bias),
        )
