"""The quantised model computes the checkpoint's function: turned back into real numbers it is within a rounding step of it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from sharding.exact.quantise import quantise
from sharding.manifest import MANIFEST_FILE
from sharding.spec import ModelSpec
from tests.sharding.conftest import Models
from tests.sharding.exact.dequantised import HALF, Dequantised, Doubles, Real, checkpoint, compose

KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama, untied": {"tied": False},
    "llama, all biases": {"attention_bias": True, "mlp_bias": True},
    "mistral": {"tied": False},
    "qwen2": {},
    "qwen2, untied": {"tied": False},
    "qwen3": {"tied": False},
    "qwen3, biases": {"attention_bias": True},
}
Tensors = dict[str, torch.Tensor]


class Pair:
    """One model twice: the checkpoint in doubles, and what was made of it."""

    def __init__(self, source: Path, target: Path) -> None:
        quantise(source, target)
        self.spec = ModelSpec.from_folder(source)
        self.float = checkpoint(source)
        self.exact = Dequantised.of(target)

    def own(self, block: int, name: str) -> Doubles:
        return self.float[f"model.layers.{block}.{name}.weight"]

    def bias(self, block: int, name: str) -> Doubles | None:
        return self.float.get(f"model.layers.{block}.{name}.bias")

    def heads(self, of_values: Real) -> Real:
        """The value heads' rows again for each query head that reads them."""
        groups = self.spec.num_heads // self.spec.num_kv_heads
        return Real(*(self._repeat(each, groups) for each in (of_values.values, of_values.slack)))

    def _repeat(self, rows: Doubles, groups: int) -> Doubles:
        heads = rows.reshape(self.spec.num_kv_heads, self.spec.head_dim, -1)
        return np.repeat(heads, groups, axis=0).reshape(self.spec.num_heads * self.spec.head_dim, -1)

    def values_to_output(self, block: int) -> tuple[Real, Doubles]:
        """Through each channel of each query head, from the normalised row to the residual: made and wanted."""
        first = (self.spec.num_heads + self.spec.num_kv_heads) * self.spec.head_dim
        prefix = f"blocks.{block}."
        read = self.exact.matrix(prefix + "qkv").times(self.exact.gain(prefix + "attention_norm"))
        made = compose(self.heads(read.rows(first, len(read.values))), self.exact.matrix(prefix + "o"))
        plain = self.own(block, "self_attn.v_proj") * self.own(block, "input_layernorm")
        groups = self.spec.num_heads // self.spec.num_kv_heads
        return made, self.own(block, "self_attn.o_proj")[:, :, None] * self._repeat(plain, groups)[None]

    def up_to_down(self, block: int) -> tuple[Real, Doubles]:
        """Through each channel of the feed-forward."""
        prefix, wide = f"blocks.{block}.", self.spec.intermediate_size
        read = self.exact.matrix(prefix + "gate_up").times(self.exact.gain(prefix + "mlp_norm"))
        plain = self.own(block, "mlp.up_proj") * self.own(block, "post_attention_layernorm")
        made = compose(read.rows(wide, 2 * wide), self.exact.matrix(prefix + "down"))
        return made, self.own(block, "mlp.down_proj")[:, :, None] * plain[None]


@pytest.fixture(scope="module")
def pairs(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Pair]:
    made: dict[str, Pair] = {}

    def pair(kind: str) -> Pair:
        if kind not in made:
            source = models(kind.split(",")[0], **KINDS[kind])
            made[kind] = Pair(source, tmp_path_factory.mktemp("exact") / "model")
        return made[kind]

    return pair


def change(source: Path, target: Path, edit: Callable[[Tensors], None]) -> Path:
    """A copy of the checkpoint whose tensors were edited; it has no manifest."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(MANIFEST_FILE, "*.safetensors*"))
    tensors = {name: each for path in source.glob("*.safetensors") for name, each in load_file(path).items()}
    edit(tensors)
    save_file(tensors, target / "model.safetensors")
    return target


@pytest.mark.parametrize("kind", KINDS)
def test_queries_keys_and_gates_are_the_checkpoints(pairs: Callable[[str], Pair], kind: str) -> None:
    """Norm gain times matrix, within half a step of each row."""
    pair = pairs(kind)
    for block in range(pair.spec.num_blocks):
        prefix = f"blocks.{block}."
        qk = np.concatenate([pair.own(block, f"self_attn.{name}_proj") for name in "qk"])
        read = pair.exact.matrix(prefix + "qkv").times(pair.exact.gain(prefix + "attention_norm"))
        assert read.rows(0, len(qk)).is_near(qk * pair.own(block, "input_layernorm"))
        gate = pair.own(block, "mlp.gate_proj") * pair.own(block, "post_attention_layernorm")
        read = pair.exact.matrix(prefix + "gate_up").times(pair.exact.gain(prefix + "mlp_norm"))
        assert read.rows(0, len(gate)).is_near(gate)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_channel_carries_is_the_checkpoints(pairs: Callable[[str], Pair], kind: str) -> None:
    """Values through the output matrix and ups through the down matrix: what moved between the two cancels."""
    pair = pairs(kind)
    for block in range(pair.spec.num_blocks):
        for made, wanted in (pair.values_to_output(block), pair.up_to_down(block)):
            assert made.is_near(wanted)
            assert made.error(wanted) < 0.02


@pytest.mark.parametrize("kind", ["llama, all biases", "qwen2", "qwen3, biases"])
def test_biases_go_with_their_rows(pairs: Callable[[str], Pair], kind: str) -> None:
    """Those of queries, keys, gates and outputs as they are; those of values and ups as much scaled as their rows."""
    pair, checked = pairs(kind), 0
    for block in range(pair.spec.num_blocks):
        for made, wanted in _biases(pair, block):
            assert made.is_near(wanted)
            checked += 1
    assert checked == pair.spec.num_blocks * (2 + ("o" in pair.spec.attention_biases) + 3 * pair.spec.mlp_bias)


def _biases(pair: Pair, block: int) -> list[tuple[Real, Doubles]]:
    prefix, found = f"blocks.{block}.", []
    q, k, v = (pair.bias(block, f"self_attn.{name}_proj") for name in "qkv")
    if q is not None and k is not None and v is not None:
        made, qk = pair.exact.bias(prefix + "qkv"), np.concatenate((q, k))
        found.append((made.rows(0, len(qk)), qk[:, None]))
        repeated = pair.heads(Real(v[:, None], np.zeros((len(v), 1)))).values
        carried = compose(pair.heads(made.rows(len(qk), len(made.values))), pair.exact.matrix(prefix + "o"))
        found.append((carried, pair.own(block, "self_attn.o_proj")[:, :, None] * repeated[None]))
    for name, float_name in (("o", "self_attn.o_proj"), ("down", "mlp.down_proj")):
        bias = pair.bias(block, float_name)
        if bias is not None:
            found.append((pair.exact.bias(prefix + name), bias[:, None]))
    gate, up = pair.bias(block, "mlp.gate_proj"), pair.bias(block, "mlp.up_proj")
    if gate is not None and up is not None:
        made = pair.exact.bias(prefix + "gate_up")
        found.append((made.rows(0, len(gate)), gate[:, None]))
        carried = compose(made.rows(len(gate), 2 * len(gate)), pair.exact.matrix(prefix + "down"))
        found.append((carried, pair.own(block, "mlp.down_proj")[:, :, None] * up[None, :, None]))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_models_ends_are_the_checkpoints(pairs: Callable[[str], Pair], kind: str) -> None:
    """The embedding's rows, and the final norm's gain times the output matrix, tied or not."""
    pair = pairs(kind)
    embedding, gain = pair.float["model.embed_tokens.weight"], pair.float["model.norm.weight"]
    assert pair.exact.embedding().is_near(embedding)
    if pair.spec.tied_embeddings:
        head = pair.exact.matrix("embed", shift="head.shift").times(pair.exact.gain("head_norm", slack=HALF))
        assert head.is_near(embedding * gain)
    else:
        head = pair.exact.matrix("head").times(pair.exact.gain("head_norm"))
        assert head.is_near(pair.float["lm_head.weight"] * gain)


@pytest.mark.parametrize("kind", ["qwen3", "qwen3, biases"])
def test_head_norms_are_rounded_gains(pairs: Callable[[str], Pair], kind: str) -> None:
    """Nineteen bits or twenty: far finer than what they multiply."""
    pair = pairs(kind)
    for block in range(pair.spec.num_blocks):
        for name in ("q_norm", "k_norm"):
            gain = pair.exact.gain(f"blocks.{block}.{name}", slack=HALF)
            assert gain.is_near(pair.own(block, f"self_attn.{name}"))
            assert (gain.slack < 2.0**-17).all()


def stretch_norms(tensors: Tensors) -> None:
    """Channel 5 of every norm 64 times as large, and what reads it a 64th."""
    for name, values in tensors.items():
        if name.endswith(("input_layernorm.weight", "post_attention_layernorm.weight")):
            values[5] *= 64
        if name.endswith(tuple(f"{reader}_proj.weight" for reader in ("q", "k", "v", "gate", "up"))):
            values[:, 5] /= 64


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_outliers_of_a_norm_leave_no_trace(models: Models, tmp_path: Path, family: str) -> None:
    """The same function becomes the same numbers, to the last byte of every block."""
    source = models(family)
    quantise(source, tmp_path / "plain")
    quantise(change(source, tmp_path / "source", stretch_norms), tmp_path / "stretched")
    plain, stretched = (Dequantised.of(tmp_path / name).tensors for name in ("plain", "stretched"))

    assert plain.keys() == stretched.keys()
    assert all(np.array_equal(values, stretched[name]) for name, values in plain.items())


def stretch_channels(tensors: Tensors) -> None:
    """Value channel 3 of every head and channel 7 of every feed-forward: 64 times their producer, a 64th of their consumer."""
    for name, values in tensors.items():
        if "v_proj" in name:
            values[3::16] *= 64
        if name.endswith("o_proj.weight"):
            values[:, 3::16] /= 64
        if "up_proj" in name:
            values[7] *= 64
        if name.endswith("down_proj.weight"):
            values[:, 7] /= 64


@pytest.mark.parametrize("kind", ["llama", "llama, all biases", "mistral", "qwen2", "qwen3"])
def test_outlier_channels_cost_the_others_nothing(
    pairs: Callable[[str], Pair], models: Models, tmp_path: Path, kind: str
) -> None:
    """A channel that is large before a matrix and small in it spoils neither itself nor its neighbours."""
    source = models(kind.split(",")[0], **KINDS[kind])
    plain, stretched = pairs(kind), Pair(change(source, tmp_path / "source", stretch_channels), tmp_path / "exact")
    for block in range(plain.spec.num_blocks):
        for of in (Pair.values_to_output, Pair.up_to_down):
            (made, wanted), (before, as_before) = of(stretched, block), of(plain, block)
            assert made.is_near(wanted)
            assert made.error(wanted) < 1.2 * before.error(as_before)


def test_outlier_columns_of_the_embedding_cost_the_others_nothing(
    pairs: Callable[[str], Pair], models: Models, tmp_path: Path
) -> None:
    """32 times as large they are as exact as before, and so are the rest."""

    def stretch(tensors: Tensors) -> None:
        tensors["model.embed_tokens.weight"][:, 9:11] *= 32

    stretched = Pair(change(models(), tmp_path / "source", stretch), tmp_path / "exact")
    for columns in (slice(9, 11), slice(11, None)):
        errors = []
        for pair in (pairs("llama"), stretched):
            made, wanted = pair.exact.embedding(), pair.float["model.embed_tokens.weight"]
            assert made.is_near(wanted)
            errors.append(Real(made.values[:, columns], made.slack).error(wanted[:, columns]))
        assert errors[1] < 1.2 * errors[0] < 0.02
