"""transformers' own modules for one span, built from the checked spec alone and filled without a second copy."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from sharding.families import FAMILIES
from sharding.float_attention import ATTENTION
from sharding.span import Span
from sharding.spec import ModelSpec
from sharding.tensors import EMBEDDING, FINAL_NORM, block_prefix, head_matrix


@dataclass(frozen=True, slots=True)
class FloatLayers:
    """embedding on a first stage, norm and head on a last one: (vocab_size, hidden_size) float32 matrices."""

    blocks: tuple[nn.Module, ...]
    rotary: nn.Module
    embedding: Tensor | None
    norm: nn.Module | None
    head: Tensor | None


def build_layers(spec: ModelSpec, span: Span, tensors: dict[str, Tensor]) -> FloatLayers:
    """tensors holds float32 under the checkpoint's names, as load_span gives them; the modules take them over."""
    family = FAMILIES[spec.family]
    module, config = import_module(family.module), transformers_config(spec)
    block_class, norm_class = (
        getattr(module, f"{family.prefix}DecoderLayer"),
        getattr(module, f"{family.prefix}RMSNorm"),
    )
    blocks = []
    for place, index in enumerate(span.blocks):  # place is what the cache counts by, index what the checkpoint does
        with torch.device("meta"):
            block = block_class(config, place)
        blocks.append(_filled(block, tensors, block_prefix(index)))
    norm = None
    if span.end == spec.num_blocks:
        with torch.device("meta"):
            norm = norm_class(spec.hidden_size, eps=spec.norm_epsilon)
        norm = _filled(norm, tensors, FINAL_NORM.removesuffix("weight"))
    return FloatLayers(
        blocks=tuple(blocks),
        rotary=getattr(module, f"{family.prefix}RotaryEmbedding")(config),
        embedding=tensors[EMBEDDING] if span.start == 0 else None,
        norm=norm,
        head=None if norm is None else tensors[head_matrix(spec)],
    )


def transformers_config(spec: ModelSpec) -> Any:
    """The family's configuration object, made of the spec's numbers and of nothing else."""
    family = FAMILIES[spec.family]
    numbers: dict[str, Any] = {
        "vocab_size": spec.vocab_size,
        "hidden_size": spec.hidden_size,
        "intermediate_size": spec.intermediate_size,
        "num_hidden_layers": spec.num_blocks,
        "num_attention_heads": spec.num_heads,
        "num_key_value_heads": spec.num_kv_heads,
        "head_dim": spec.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": spec.max_positions,
        "rms_norm_eps": spec.norm_epsilon,
        "rope_parameters": spec.rope.as_config(),
        "tie_word_embeddings": spec.tied_embeddings,
    }
    if family.biases == "configured":
        numbers["attention_bias"] = bool(spec.attention_biases)
    if family.mlp_bias:
        numbers["mlp_bias"] = spec.mlp_bias
    if family.sliding == "optional":
        numbers["sliding_window"] = spec.sliding_window
    config = getattr(import_module(family.config_module), f"{family.prefix}Config")(**numbers)
    config._attn_implementation = ATTENTION
    return config


def _filled(module: nn.Module, tensors: dict[str, Tensor], prefix: str) -> nn.Module:
    weights = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    module.load_state_dict(weights, strict=True, assign=True)
    return module.requires_grad_(False).eval()
