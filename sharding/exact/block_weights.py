"""The exact tensors of a block, the embedding and the head from the float ones of a checkpoint."""

import numpy as np
from numpy.typing import NDArray

from sharding.exact.equalise import (
    GAIN_SHIFT,
    Doubles,
    Scaled,
    column_scales,
    energies,
    move_to_norm,
    producer_scales,
    whole_gain,
)
from sharding.exact.layout import exact_prefix
from sharding.exact.rows import Rows, int32, quantise_bias, quantise_gain, quantise_rows
from sharding.families import FAMILIES
from sharding.spec import ModelSpec
from sharding.tensors import FINAL_NORM, HEAD, block_prefix

Arrays = dict[str, NDArray[np.generic]]
Floats = dict[str, NDArray[np.float32]]


def quantise_block(spec: ModelSpec, index: int, weights: Floats) -> Arrays:
    """Names of the checkpoint in, names of layout.py out. Raises ScaleOutOfRange."""
    prefix = block_prefix(index)
    own = {name.removeprefix(prefix): values for name, values in weights.items()}
    made = _attention(spec, own) | _feed_forward(spec, own)
    return {exact_prefix(index) + name: values for name, values in made.items()}


def _attention(spec: ModelSpec, own: Floats) -> Arrays:
    gain = own["input_layernorm.weight"].astype(np.float64)
    gained = move_to_norm(tuple(Scaled(own[f"self_attn.{name}_proj.weight"], times=gain) for name in "qkv"))
    query, key, value = gained.matrices
    output = Scaled(own["self_attn.o_proj.weight"])
    shared = energies(output).columns.reshape(spec.num_kv_heads, -1, spec.head_dim)
    kappa = producer_scales(shared.sum(axis=1).reshape(-1), gained.lengths[2])
    value = Scaled(value.weight, value.times, value.over, rows=kappa)
    spread = np.broadcast_to(kappa.reshape(spec.num_kv_heads, 1, spec.head_dim), shared.shape).reshape(-1)
    made = _norm("attention_norm", gained.gain, GAIN_SHIFT)
    made |= _matrix("qkv", quantise_rows((query, key, value), "qkv"))
    made |= _matrix("o", quantise_rows((Scaled(output.weight, over=spread),), "o"))
    made |= _attention_biases(spec, own, kappa)
    if FAMILIES[spec.family].qk_norm:
        for name in ("q_norm", "k_norm"):
            rounded = quantise_gain(own[f"self_attn.{name}.weight"].astype(np.float64), name)
            made |= {f"{name}.gain": rounded.gain, f"{name}.shift": _one(rounded.shift)}
    return made


def _attention_biases(spec: ModelSpec, own: Floats, kappa: Doubles) -> Arrays:
    biases = {name: own[f"self_attn.{name}_proj.bias"].astype(np.float64) for name in spec.attention_biases}
    made: Arrays = {}
    if "q" in biases:
        stacked = np.concatenate((biases["q"], biases["k"], biases["v"] * kappa))
        made["qkv.bias"] = quantise_bias(stacked, "qkv.bias")
    if "o" in biases:
        made["o.bias"] = quantise_bias(biases["o"], "o.bias")
    return made


def _feed_forward(spec: ModelSpec, own: Floats) -> Arrays:
    gain = own["post_attention_layernorm.weight"].astype(np.float64)
    gained = move_to_norm(tuple(Scaled(own[f"mlp.{name}_proj.weight"], times=gain) for name in ("gate", "up")))
    gate, up = gained.matrices
    down = Scaled(own["mlp.down_proj.weight"])
    kappa = producer_scales(energies(down).columns, gained.lengths[1])
    up = Scaled(up.weight, up.times, up.over, rows=kappa)
    made = _norm("mlp_norm", gained.gain, GAIN_SHIFT)
    made |= _matrix("gate_up", quantise_rows((gate, up), "gate_up"))
    made |= _matrix("down", quantise_rows((Scaled(down.weight, over=kappa),), "down"))
    if spec.mlp_bias:
        gates, ups = (own[f"mlp.{name}_proj.bias"].astype(np.float64) for name in ("gate", "up"))
        made["gate_up.bias"] = quantise_bias(np.concatenate((gates, ups * kappa)), "gate_up.bias")
        made["down.bias"] = quantise_bias(own["mlp.down_proj.bias"].astype(np.float64), "down.bias")
    return made


def quantise_embedding(weight: NDArray[np.float32]) -> Arrays:
    """Shapes: (vocab, H). Raises ScaleOutOfRange."""
    column = whole_gain(column_scales(energies(Scaled(weight)).columns))
    over = np.ldexp(column.astype(np.float64), -GAIN_SHIFT)
    rows = quantise_rows((Scaled(weight, over=over),), "embed")
    made = _matrix("embed", rows) | {"embed.column": int32(column)}
    return made | {"embed.shift": _one(rows.shift - 1)}


def quantise_head(spec: ModelSpec, weights: Floats, embedding: Arrays) -> Arrays:
    """The final norm and the output matrix; where tied, `embedding` is what quantise_embedding made."""
    gain = weights[FINAL_NORM].astype(np.float64)
    if spec.tied_embeddings:
        column = np.ldexp(embedding["embed.column"].astype(np.float64), -GAIN_SHIFT)
        rounded = quantise_gain(gain * column, FINAL_NORM)
        made: Arrays = {"head_norm.gain": rounded.gain, "head_norm.shift": _one(rounded.shift)}
        return made | {"head.shift": _one(int(embedding["embed.shift"][0]) + 1)}
    gained = move_to_norm((Scaled(weights[HEAD], times=gain),))
    return _norm("head_norm", gained.gain, GAIN_SHIFT) | _matrix("head", quantise_rows(gained.matrices, "head"))


def _norm(name: str, gain: NDArray[np.int64], shift: int) -> Arrays:
    return {f"{name}.gain": int32(gain), f"{name}.shift": _one(shift)}


def _matrix(name: str, rows: Rows) -> Arrays:
    return {f"{name}.weight": rows.weight, f"{name}.scale": rows.scale, f"{name}.shift": _one(rows.shift)}


def _one(number: int) -> NDArray[np.int32]:
    return np.array([number], np.int32)
