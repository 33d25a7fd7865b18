"""Weights in pieces: every element under one root, and the model's numbers beside it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sharding.checkpoint import load_span
from sharding.errors import TensorMissing
from sharding.exact.parameters import parameters_of
from sharding.exact.quantise import quantise
from sharding.exact.weight_pieces import (
    KINDS,
    SHARED,
    TensorPlace,
    piece_leaves,
    tensor_places,
    tensor_root,
    weights_root,
)
from sharding.manifest import Manifest
from sharding.manifest_tree import DOMAIN, trace_leaf
from sharding.merkle import merkle_leaf, merkle_root
from sharding.random_model import write_random_model
from sharding.spec import ModelSpec
from tests.sharding.exact.random_span import small_spec
from tests.sharding.tiny import FAMILY_NAMES, tiny
from verification.trace.openings import Opening, opened_root
from verification.trace.operations import PIECE
from verification.trace.weights_tree import WeightsTree


def test_a_tensor_lies_in_rows_and_each_row_in_pieces() -> None:
    """The index counts through both; a shorter piece ends a row."""
    values = torch.arange(2 * 150, dtype=torch.int16).reshape(2, 150)
    leaves = list(piece_leaves(values, TensorPlace(0, 0, 2, 150, 2)))

    assert [int.from_bytes(leaf[:8], "big") for leaf in leaves] == [0, 1, 2, 3]
    read = [np.frombuffer(leaf[8:], "<i2").tolist() for leaf in leaves]
    assert read == [values[r, k : k + PIECE].tolist() for r in (0, 1) for k in (0, PIECE)]


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_tensor_of_a_model_has_a_place_of_its_own(family: str) -> None:
    """Blocks in order, what they share behind them; kinds as docs/TRACE.md numbers them."""
    places = tensor_places(small_spec(family))
    order = [(place.block, place.kind) for place in places.values()]

    assert order == sorted(set(order))
    assert (places["rope.table"].block, places["rope.table"].kind, places["rope.table"].width) == (SHARED, 0, 6)
    assert places["blocks.1.gate_up.weight"] == TensorPlace(1, KINDS.index("gate_up.weight"), 154, 52, 1)
    assert (places["head.shift"].rows, places["head.shift"].width) == (1, 1)
    assert len(KINDS) == 34


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelSpec, dict[str, torch.Tensor], Manifest]:
    """A whole exact model as it is stored."""
    folder: Path = tmp_path_factory.mktemp("models")
    write_random_model(folder / "float", tiny("qwen3"))
    manifest = quantise(folder / "float", folder / "exact")
    spec = ModelSpec.from_folder(folder / "exact")
    return spec, load_span(folder / "exact", spec, spec.whole, manifest), manifest


@pytest.mark.parametrize(("name", "index"), [
    ("blocks.2.down.weight", 17), ("rope.table", 3), ("embed.weight", 255), ("blocks.0.q_norm.shift", 0),
    ("blocks.3.qkv.scale", 1),
])  # fmt: skip
def test_a_piece_is_proven_under_the_root_of_all_weights(
    tensors: tuple[ModelSpec, dict[str, torch.Tensor], Manifest], name: str, index: int
) -> None:
    """From the element to the tensor, from the tensor to the model."""
    spec, values, _ = tensors
    root = weights_root(spec, {each: tensor_root(values[each], place) for each, place in tensor_places(spec).items()})
    proof = WeightsTree(spec, values).prove(name, index)

    within = _root(merkle_leaf(proof.data), proof.in_tensor)
    assert _root(merkle_leaf(proof.place.leaf(within)), proof.in_weights) == root
    assert _root(merkle_leaf(proof.data + b"\x00"), proof.in_tensor) != within


def _root(leaf: bytes, siblings: tuple[bytes, ...]) -> bytes | None:
    return opened_root([leaf], Opening(siblings, bytes([0, len(siblings)] if siblings else [0])))


def test_a_missing_tensor_is_named() -> None:
    """A root without it would be another model's."""
    spec = small_spec()
    roots = dict.fromkeys(tensor_places(spec), bytes(32))
    del roots["blocks.1.o.scale"]
    with pytest.raises(TensorMissing, match=r"blocks\.1\.o\.scale"):
        weights_root(spec, roots)


def test_the_numbers_of_a_model_are_packed_in_51_bytes() -> None:
    """Behind the manifest's domain; the root of the weights follows."""
    parameters = parameters_of(small_spec("qwen3", sliding_window=9, tied_embeddings=True))
    leaf = trace_leaf(parameters, bytes(range(32)))

    assert leaf[: len(DOMAIN) + 5] == DOMAIN + b"trace"
    assert len(parameters.packed()) == 51
    assert leaf[-83:] == parameters.packed() + bytes(range(32))
    assert (parameters.flags, parameters.window, parameters.hidden, parameters.head_dim) == (17, 9, 52, 6)
    assert merkle_root([leaf]) == merkle_leaf(leaf)
