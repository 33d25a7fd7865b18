"""The exact tensors of a block, the embedding and the head from the float ones of a checkpoint."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sharding.exact.equalise import (
    GAIN_SHIFT,
    Doubles,
    Ints,
    Scaled,
    column_scales,
    energies,
    move_to_norm,
    producer_scales,
    whole_gain,
)
from sharding.exact.layout import exact_prefix
from sharding.exact.rows import quantise_bias, quantise_gain, quantise_rows
from sharding.families import FAMILIES
from sharding.spec import ModelSpec
from sharding.tensors import FINAL_NORM, HEAD, block_prefix

Arrays = dict[str, NDArray[np.generic]]
Floats = dict[str, NDArray[np.float32]]


def quantise_block(spec: ModelSpec, index: int, weights: Floats) -> Arrays:
    """Names of the checkpoint in, names of layout.py out. Raises ScaleOutOfRange."""
    own = {name.removeprefix(block_prefix(index)): values for name, values in weights.items()}
    prefix = exact_prefix(index)
    return _attention(spec, own, prefix) | _feed_forward(spec, own, prefix)


def _attention(spec: ModelSpec, own: Floats, prefix: str) -> Arrays:
    gain = own["input_layernorm.weight"].astype(np.float64)
    gained = move_to_norm(tuple(Scaled(own[f"self_attn.{name}_proj.weight"], times=gain) for name in "qkv"))
    query, key, value = gained.matrices
    output = Scaled(own["self_attn.o_proj.weight"])
    shared = energies(output).columns.reshape(spec.num_kv_heads, -1, spec.head_dim)
    kappa = producer_scales(shared.sum(axis=1).reshape(-1), gained.lengths[2])
    value = Scaled(value.weight, value.times, value.over, rows=kappa)
    spread = np.broadcast_to(kappa.reshape(spec.num_kv_heads, 1, spec.head_dim), shared.shape).reshape(-1)
    made = _norm(prefix + "attention_norm", gained.gain)
    made |= _matrix(prefix + "qkv", (query, key, value))
    made |= _matrix(prefix + "o", (Scaled(output.weight, over=spread),))
    made |= _attention_biases(spec, own, kappa, prefix)
    if FAMILIES[spec.family].qk_norm:
        for name in ("q_norm", "k_norm"):
            made |= _rounded_norm(prefix + name, own[f"self_attn.{name}.weight"].astype(np.float64))
    return made


def _attention_biases(spec: ModelSpec, own: Floats, kappa: Doubles, prefix: str) -> Arrays:
    biases = {name: own[f"self_attn.{name}_proj.bias"].astype(np.float64) for name in spec.attention_biases}
    made: Arrays = {}
    if "q" in biases:
        made |= _bias(prefix + "qkv", biases["q"], biases["k"], biases["v"] * kappa)
    if "o" in biases:
        made |= _bias(prefix + "o", biases["o"])
    return made


def _feed_forward(spec: ModelSpec, own: Floats, prefix: str) -> Arrays:
    gain = own["post_attention_layernorm.weight"].astype(np.float64)
    gained = move_to_norm(tuple(Scaled(own[f"mlp.{name}_proj.weight"], times=gain) for name in ("gate", "up")))
    gate, up = gained.matrices
    down = Scaled(own["mlp.down_proj.weight"])
    kappa = producer_scales(energies(down).columns, gained.lengths[1])
    up = Scaled(up.weight, up.times, up.over, rows=kappa)
    made = _norm(prefix + "mlp_norm", gained.gain)
    made |= _matrix(prefix + "gate_up", (gate, up))
    made |= _matrix(prefix + "down", (Scaled(down.weight, over=kappa),))
    if spec.mlp_bias:
        gates, ups, downs = (own[f"mlp.{name}_proj.bias"].astype(np.float64) for name in ("gate", "up", "down"))
        made |= _bias(prefix + "gate_up", gates, ups * kappa) | _bias(prefix + "down", downs)
    return made


def quantise_embedding(weight: NDArray[np.float32]) -> Arrays:
    """Shapes: (vocab, H). Raises ScaleOutOfRange."""
    column = whole_gain(column_scales(energies(Scaled(weight)).columns))
    over = np.ldexp(column.astype(np.float64), -GAIN_SHIFT)
    made = _matrix("embed", (Scaled(weight, over=over),)) | {"embed.column": column.astype(np.int32)}
    return made | {"embed.shift": _one(int(made["embed.shift"][0]) - 1)}  # the columns bring 2^15, Q16 takes 2^16


def quantise_head(spec: ModelSpec, weights: Floats, embedding: Arrays) -> Arrays:
    """The final norm and the output matrix; where tied, `embedding` has the column and shift that quantise_embedding made."""
    gain = weights[FINAL_NORM].astype(np.float64)
    if spec.tied_embeddings:
        column = np.ldexp(embedding["embed.column"].astype(np.float64), -GAIN_SHIFT)
        return _rounded_norm("head_norm", gain * column) | {"head.shift": _one(int(embedding["embed.shift"][0]) + 1)}
    gained = move_to_norm((Scaled(weights[HEAD], times=gain),))
    return _norm("head_norm", gained.gain) | _matrix("head", gained.matrices)


def _norm(name: str, gain: Ints) -> Arrays:
    return {f"{name}.gain": gain.astype(np.int32), f"{name}.shift": _one(GAIN_SHIFT)}


def _rounded_norm(name: str, gain: Doubles) -> Arrays:
    rounded = quantise_gain(gain, f"{name}.gain")
    return {f"{name}.gain": rounded.gain, f"{name}.shift": _one(rounded.shift)}


def _matrix(name: str, matrices: Sequence[Scaled]) -> Arrays:
    rows = quantise_rows(matrices, f"{name}.weight")
    return {f"{name}.weight": rows.weight, f"{name}.scale": rows.scale, f"{name}.shift": _one(rows.shift)}


def _bias(name: str, *parts: Doubles) -> Arrays:
    return {f"{name}.bias": quantise_bias(np.concatenate(parts), f"{name}.bias")}


def _one(number: int) -> NDArray[np.int32]:
    return np.array([number], np.int32)
