"""The numbers of a model that a trace's layout depends on, as a contract keeps them."""

import struct
from dataclasses import dataclass

from sharding.exact.constants import epsilon_term, score_constant
from sharding.families import FAMILIES
from sharding.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a layout needs of a model, as contracts/src/Models.sol keeps it.

    flags: 1 queries and keys are normalised; 2, 4, 8 biases of qkv, of o, of the feed-forward; 16 tied embeddings.
    """

    blocks: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    positions: int
    window: int
    """0 is none."""
    flags: int
    epsilon: int
    """E0 of NORM for the hidden size, and for a head."""
    head_epsilon: int
    score: int
    """c_d of ATTEND."""

    def packed(self) -> bytes:
        return struct.pack(
            ">IIHHHIIIIBQQI", self.blocks, self.hidden, self.heads, self.kv_heads, self.head_dim, self.intermediate,
            self.vocabulary, self.positions, self.window, self.flags, self.epsilon, self.head_epsilon, self.score,
        )  # fmt: skip


def parameters_of(spec: ModelSpec) -> Parameters:
    marks = (
        FAMILIES[spec.family].qk_norm, "q" in spec.attention_biases, "o" in spec.attention_biases, spec.mlp_bias,
        spec.tied_embeddings,
    )  # fmt: skip
    return Parameters(
        blocks=spec.num_blocks, hidden=spec.hidden_size, heads=spec.num_heads, kv_heads=spec.num_kv_heads,
        head_dim=spec.head_dim, intermediate=spec.intermediate_size, vocabulary=spec.vocab_size,
        positions=spec.max_positions, window=spec.sliding_window or 0,
        flags=sum(1 << place for place, mark in enumerate(marks) if mark),
        epsilon=epsilon_term(spec.norm_epsilon, spec.hidden_size),
        head_epsilon=epsilon_term(spec.norm_epsilon, spec.head_dim), score=score_constant(spec.head_dim),
    )  # fmt: skip
