"""Proving one piece of a model's weights: docs/TRACE.md, section 2."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sharding.exact.weight_pieces import (
    TensorPlace,
    piece_leaf,
    piece_leaves,
    tensor_places,
    tensor_root,
    weights_leaves,
)
from sharding.merkle import merkle_leaf
from sharding.spec import ModelSpec
from verification.trace.openings import HashTree


@dataclass(frozen=True, slots=True)
class PieceProof:
    """A piece's data, its siblings within its tensor, its tensor's place and siblings."""

    data: bytes
    in_tensor: tuple[bytes, ...]
    place: TensorPlace
    in_weights: tuple[bytes, ...]


class WeightsTree:
    """A whole model's tensors, ready to be opened. Raises TensorMissing."""

    def __init__(self, spec: ModelSpec, tensors: Mapping[str, Tensor]) -> None:
        self.places = tensor_places(spec)
        self._tensors = tensors
        self._trees: dict[str, HashTree] = {}
        roots = {each: tensor_root(tensors[each], place) for each, place in self.places.items() if each in tensors}
        self._shelves = HashTree([merkle_leaf(leaf) for leaf in weights_leaves(spec, roots)])
        self._order = list(self.places)

    @property
    def root(self) -> bytes:
        return self._shelves.root

    def prove(self, name: str, index: int) -> PieceProof:
        """One piece of a tensor. Raises ValueError for a piece that the tensor does not have."""
        values, place = self._tensors[name], self.places[name]
        if name not in self._trees:
            self._trees[name] = HashTree([merkle_leaf(leaf) for leaf in piece_leaves(values, place)])
        in_tensor = self._trees[name].open([index])
        in_weights = self._shelves.open([self._order.index(name)])
        return PieceProof(piece_leaf(values, place, index), in_tensor.siblings, place, in_weights.siblings)
