"""Small random exact models of every family, to compare one arithmetic with another; nothing in them overflows by itself."""

from typing import Any

from sharding.exact.model import ExactSpan
from sharding.exact.trial import random_span as filled
from sharding.families import FAMILIES
from sharding.rope import Rope
from sharding.spec import ModelSpec

FAMILY_NAMES = tuple(FAMILIES)


def random_span(seed: int, family: str = "llama", **sizes: Any) -> ExactSpan:
    """The whole model in pseudo-random integers. sizes: fields of ModelSpec that shall differ from small_spec's."""
    return filled(small_spec(family, **sizes), seed)


def small_spec(family: str = "llama", **sizes: Any) -> ModelSpec:
    """Two blocks, two query heads to a key/value head, and no size that is a multiple of another or of eight."""
    usual: dict[str, Any] = {
        "num_blocks": 2, "hidden_size": 52, "num_heads": 4, "num_kv_heads": 2, "head_dim": 6, "intermediate_size": 77,
        "vocab_size": 41, "max_positions": 64, "tied_embeddings": False, "eos_token_ids": (), "norm_epsilon": 1e-6,
        "rope": Rope("default", 10000.0),
        "attention_biases": ("q", "k", "v") if FAMILIES[family].biases == "query-key-value" else (),
    }  # fmt: skip
    return ModelSpec(family=family, **(usual | sizes))
