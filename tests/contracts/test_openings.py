"""Pieces of the weights, one after the other: none is believed before it has been held to the model's root."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pytest
import torch

from incentives.chain import Contract
from sharding.exact.layout import span_slots
from sharding.exact.weight_pieces import TensorPlace
from sharding.spec import ModelSpec
from tests.contracts.disputed import DTYPES
from tests.contracts.world import World, dev, double
from tests.sharding.exact.random_span import small_spec
from verification.trace.sources import noise_rows, noise_tree
from verification.trace.weights_tree import WeightsTree

WEIGHTS, NOISE = 2, 5
NAME = "blocks.1.gate_up.weight"
"""154 rows of 52: an index is a row."""
Words = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A model's weights, and what reads pieces of them on chain."""

    world: World
    probe: Contract
    tree: WeightsTree
    values: dict[str, torch.Tensor]

    @property
    def place(self) -> TensorPlace:
        return self.tree.places[NAME]

    def number(self, row: int, column: int) -> int:
        return int(self.values[NAME][row, column])

    def weight(self, row: int, column: int) -> Words:
        return WEIGHTS, self.place.kind, self.place.block, row, column, 1, 0, 0

    def piece(self, row: int) -> bytes:
        return shaped(self, row, self.place.width, self.tree.prove(NAME, row).data[8:])

    def read(self, pieces: list[bytes], operands: list[Words]) -> list[int]:
        return list(self.world.view(self.probe, "read", self.tree.root, proof(pieces), operands))

    def refusal(self, pieces: list[bytes], operands: list[Words]) -> str:
        return self.world.refusal(dev(9), self.probe, "read", self.tree.root, proof(pieces), operands)[0]


def shaped(opened: Opened, row: int, width: int, elements: bytes) -> bytes:
    """The row's piece with other contents, said to be of a tensor of that width."""
    good = opened.tree.prove(NAME, row)
    return piece(width, elements, good.place.size, good.in_tensor, good.in_weights)


def piece(width: int, elements: bytes, size: int, inside: Sequence[bytes], outside: Sequence[bytes] = ()) -> bytes:
    """As lib/Exhibits.sol reads it; of a tensor of as many rows as NAME has."""
    head = struct.pack(">IIBH", 154, width, size, len(elements))
    return head + elements + bytes([len(inside), len(outside)]) + b"".join((*inside, *outside))


def proof(pieces: list[bytes]) -> bytes:
    """Of pieces alone: no leaves, program or siblings."""
    return bytes(15) + bytes([0, 0, len(pieces)]) + b"".join(pieces)


def some_tensors(spec: ModelSpec) -> dict[str, torch.Tensor]:
    torch.manual_seed(5)
    slots = span_slots(spec, spec.whole)
    return {name: torch.randint(-100, 100, tuple(slot.shape), dtype=DTYPES[slot.dtype]) for name, slot in slots.items()}


@pytest.fixture(scope="module")
def opened(deployed: World) -> Opened:
    spec = small_spec("qwen3")
    values = some_tensors(spec)
    probe = deployed.chain.deploy(dev(0), double("OpeningsProbe")).contract
    return Opened(deployed, probe, WeightsTree(spec, values), values)


def test_operands_of_one_piece_share_it_and_others_bring_their_own(opened: Opened) -> None:
    """Two of one row, two of another, and the first one again, for which its piece has to be there again."""
    spots = [(3, 0), (3, 51), (7, 1), (7, 50), (3, 2)]
    pieces = [opened.piece(row) for row in (3, 7, 3)]
    operands = [opened.weight(*spot) for spot in spots]
    assert opened.read(pieces, operands) == [opened.number(*spot) for spot in spots]
    assert opened.refusal(pieces[:2], operands) == "LeavesNotHeld"


def test_a_second_piece_of_a_tensor_is_verified_whatever_width_it_states(opened: Opened) -> None:
    """With the width at which row 1 begins in the piece of row 2, or in its own: forged contents prove nothing."""
    forged = Random(6).randbytes(52)
    operands = [opened.weight(2, 0), opened.weight(1, 0)]
    assert opened.read([opened.piece(2), opened.piece(1)], operands) == [opened.number(2, 0), opened.number(1, 0)]
    for width in (52, 128, 129, 256, 257, 2**32 - 1, 0):
        bad = shaped(opened, 1, width, forged)
        assert opened.refusal([opened.piece(2), bad], operands) == "LeavesNotHeld", width
        held = min(width or 1, 128)
        bad = shaped(opened, 1, width, forged[:1] * held)
        assert opened.refusal([opened.piece(2), bad], operands) == "LeavesNotHeld", width


def test_a_piece_of_noise_is_no_weight_for_the_operand_behind_it(opened: Opened) -> None:
    """Its shape is said by nobody: the weight before it has to be opened again."""
    leaves, tree = noise_tree()
    cell = 130
    noise = (NOISE, 0, 0, 0, cell, 1, 0, 0)
    operands = [opened.weight(2, 0), noise, opened.weight(2, 1)]
    path = tree.open([cell // 128]).siblings
    for width in (52, 1, 16_384):
        cells = piece(width, leaves[cell // 128][8:], 4, path)
        good = [opened.piece(2), cells, opened.piece(2)]
        assert opened.read(good, operands) == [opened.number(2, 0), int(noise_rows()[0, cell]), opened.number(2, 1)]
        assert opened.refusal(good[:2], operands) == "LeavesNotHeld"


def test_only_cells_of_the_table_of_noise_are_noise(opened: Opened) -> None:
    """No piece at all, another piece, other numbers, a cell less or more, the same numbers without their path: nothing is drawn."""
    leaves, tree = noise_tree()
    cell, width = 130, 52
    path, other = (tree.open([k]).siblings for k in (1, 2))
    cells, operands = leaves[1][8:], [(NOISE, 0, 0, 0, cell, 1, 0, 0)]
    assert opened.read([piece(width, cells, 4, path)], operands) == [int(noise_rows()[0, cell])]
    assert opened.refusal([], operands) == "LeavesNotHeld"
    for elements, inside in (
        (leaves[2][8:], other),
        (cells[:8] + b"\1" + cells[9:], path),
        (cells[:-4], path),
        (cells + bytes(4), path),
        (b"", path),
        (cells, path[:-1]),
        (cells, ()),
    ):
        assert opened.refusal([piece(width, elements, 4, inside)], operands) == "LeavesNotHeld"
