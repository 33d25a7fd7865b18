"""Demands for the data behind a signed receipt, before the Demands contract."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from enum import IntEnum
from typing import Any

from incentives.bonds import Bonded
from incentives.chain_types import Chain, Sent
from incentives.court import receipt_words, route_words
from incentives.deployment import Deployment
from incentives.signing import Signer, split_signature
from sharding.hashing import keccak256
from sharding.merkle import merkle_leaf
from verification.addresses import Address, to_address
from verification.receipts import Receipt
from verification.routes import Route
from verification.trace.openings import HashTree
from verification.trace.tree import Leaf
from verification.typed_data import address_word

LEAVES = 4
"""So many are drawn."""


class Side(IntEnum):
    """Which of a receipt's roots."""

    IN = 0
    OUT = 1
    KEPT = 2


@dataclass(frozen=True, slots=True)
class Wanted:
    """The contract's struct: leaves for the positions [first, last), pieces of each, of each block where blocks is not 0."""

    receipt: bytes
    root: bytes
    node: Address
    demander: Address
    first: int
    last: int
    start: int
    blocks: int
    pieces: int

    def id(self) -> bytes:
        """The demand's name."""
        return keccak256(self._words())

    def drawn(self, beacon: int) -> list[int]:
        """The indexes of the leaves that a beacon draws; one may be drawn twice."""
        return [self._index(beacon, k) for k in range(LEAVES)]

    def _index(self, beacon: int, k: int) -> int:
        each = max(self.blocks, 1) * self.pieces
        seed = keccak256(_word(beacon) + self._words() + _word(k))
        position, within = divmod(int.from_bytes(seed, "big") % ((self.last - self.first) * each), each)
        block, piece = divmod(within, self.pieces)
        return self.first + position << 32 | (self.start + block << 16 if self.blocks else 0) | piece

    def _words(self) -> bytes:
        numbers = self.first, self.last, self.start, self.blocks, self.pieces
        parties = address_word(self.node) + address_word(self.demander)
        return self.receipt + self.root + parties + b"".join(map(_word, numbers))


class Demands(Bonded):
    """The Demands contract of a deployment."""

    def __init__(self, chain: Chain, deployment: Deployment) -> None:
        super().__init__(chain, deployment, "Demands")

    def demand(self, sender: Signer, receipt: Receipt, signature: bytes, route: Route, side: Side) -> Sent:
        """Ask for leaves under one of a receipt's roots; the bond is taken. wanted_of reads what comes of it.

        Raises: Reverted (ReceiptEmpty, RouteNotOpened, ProfileNotExact, DemandTooLate, NotOnRoute, NodeConvicted, ModelUnknown,
        TokensNotKnown, DemandKnown, BondShort, TooManyChallenges, SignatureInvalid), InvalidSignature; IndexError for a stage
        that is not there.
        """
        stage = route.stages[receipt.stage]
        words = receipt_words(receipt), *split_signature(signature), route_words(route), astuple(stage), side
        return self._chain.send(sender, self.contract, "demand", *words)

    def draw(self, sender: Signer, wanted: Wanted) -> Sent:
        """Draw the leaves, two blocks after the demand or later. By anybody; a node that holds everything does it at once.

        Raises: Reverted (DrawTooEarly, DemandDrawn, DemandNotOpen, ClockRunOut).
        """
        return self._chain.send(sender, self.contract, "draw", wanted.id())

    def beacon(self, wanted: Wanted) -> int:
        """What draws; 0 before the draw."""
        return int(self._chain.call(self.contract, "demandOf", wanted.id())[0])

    def serve(self, sender: Signer, wanted: Wanted, leaves: Sequence[Leaf]) -> Sent:
        """Show the drawn leaves out of all that lie under the root, in their order there. By anybody.

        Raises: Reverted (LeavesNotHeld, DemandNotDrawn, DemandNotOpen, ClockRunOut); KeyError for a leaf that is not there.
        """
        opened = opened_words(leaves, wanted.drawn(self.beacon(wanted)))
        return self._chain.send(sender, self.contract, "serve", astuple(wanted), opened)

    def close(self, sender: Signer, wanted: Wanted) -> Sent:
        """End a demand whose clock has run out. Raises: Reverted (ClockRunning, DemandNotOpen)."""
        return self._chain.send(sender, self.contract, "close", astuple(wanted))


def wanted_of(sent: Sent) -> Wanted:
    """What a demand is about, from its transaction. Raises StopIteration where it made none."""
    words = next(event.args["wanted"] for event in sent.logs if event.name == "Demanded")
    receipt, root, node, demander, *numbers = words
    return Wanted(receipt, root, to_address(node), to_address(demander), *numbers)


def opened_words(leaves: Sequence[Leaf], indexes: Sequence[int]) -> list[tuple[Any, ...]]:
    """As Opened: mask, elements and path of each. Raises KeyError for an index that no leaf has."""
    tree = HashTree([merkle_leaf(leaf.data) for leaf in leaves])
    places = {leaf.index: place for place, leaf in enumerate(leaves)}
    found = [places[index] for index in indexes]
    return [(leaves[k].mask, leaves[k].elements, list(tree.open([k]).siblings)) for k in found]


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")
