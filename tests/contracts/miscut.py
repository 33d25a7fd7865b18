"""A manifest whose author has put a piece of another length under its root than its tensor has."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from sharding.exact.weight_pieces import TensorPlace, piece_leaves, tensor_places, tensor_root, weights_leaves
from sharding.merkle import merkle_proof, merkle_root
from sharding.spec import ModelSpec
from verification.trace.weights_tree import PieceProof


@dataclass(frozen=True, slots=True)
class Miscut:
    """As a WeightsTree of which only that piece is opened."""

    root: bytes
    places: dict[str, TensorPlace]
    piece: PieceProof

    def prove(self, name: str, index: int) -> PieceProof:
        assert (self.places[name], self.piece.data[:8]) == (self.piece.place, index.to_bytes(8, "big"))
        return self.piece


def miscut(spec: ModelSpec, tensors: Mapping[str, Tensor], name: str, index: int, more: int) -> Miscut:
    """The tensor's piece has so many bytes more at its end, or fewer."""
    places = tensor_places(spec)
    leaves = list(piece_leaves(tensors[name], places[name]))
    leaves[index] = leaves[index] + b"\x55" * more if more > 0 else leaves[index][:more]
    roots = {each: tensor_root(tensors[each], place) for each, place in places.items()}
    shelves = weights_leaves(spec, roots | {name: merkle_root(leaves)})
    ways = tuple(merkle_proof(leaves, index)), tuple(merkle_proof(shelves, list(places).index(name)))
    return Miscut(merkle_root(shelves), places, PieceProof(leaves[index], ways[0], places[name], ways[1]))
