"""Disputes about outputs in the exact profile, before the Disputes contract."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from incentives.bonds import Bonded
from incentives.chain_types import Chain, Sent
from incentives.court import receipt_words, route_words
from incentives.deployment import Deployment
from incentives.errors import OtherNodes, UnexpectedAnswer
from incentives.signing import Signer, split_signature
from incentives.stakes import NOBODY
from incentives.stands import NEW, Clocks, Stand
from sharding.hashing import HASH_BYTES, keccak256
from verification.addresses import Address, address_bytes
from verification.receipts import Receipt
from verification.routes import Route
from verification.trace.descent import Picked, ordered_root, packed_leaves, unpacked_leaves

Words = tuple[object, ...]
MAX_NUMBER = 2**96 - 1
CLOSED, MOST_BONDS = 1, 2
"""What the contract keeps of a number whose dispute is over: CLOSED, and one more for each bond that lies there."""
Traced = tuple[bytes, bytes, int, int, int]
Nodes = Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Facts:
    """What a dispute is about, and how its challenger numbers it.

    traced: manifest, hash of roots, blocks [start, end), position; receipt, route: their digests.
    """

    traced: Traced
    receipt: bytes
    route: bytes
    node: Address
    challenger: Address
    number: int = 0

    @property
    def words(self) -> tuple[bytes, bytes, bytes, bytes, int]:
        """As the contract takes them: the node, its blocks and the position in one word."""
        manifest, roots, start, end, position = self.traced
        where = int.from_bytes(address_bytes(self.node), "big") << 96 | start << 64 | end << 32 | position
        return manifest, roots, self.receipt, self.route, where

    def matter(self) -> bytes:
        """The hash of what it is about, whoever challenges."""
        *hashes, where = self.words
        return keccak256(b"".join(hashes) + where.to_bytes(32, "big"))

    def id(self) -> bytes:
        """The dispute's name: challenger and number."""
        return _name(self.challenger, self.number)


@dataclass(frozen=True, slots=True)
class FalseCopy:
    """What shows a copied key or value false: the disputed receipt, the earlier one with its signature, the element's proof."""

    proof: bytes
    own: Receipt
    earlier: Receipt
    signature: bytes


class Disputes(Bonded):
    """The Disputes contract of a deployment."""

    def __init__(self, chain: Chain, deployment: Deployment) -> None:
        super().__init__(chain, deployment, "Disputes")

    def challenge(
        self,
        sender: Signer,
        receipt: Receipt,
        signature: bytes,
        route: Route,
        position: int,
        *,
        number: int = 0,
        asks: bool = False,
    ) -> Sent:
        """Say that a receipt's output is wrong at a position: the earliest such one; the bond is taken.

        number: up to MAX_NUMBER, of none of the sender's disputes that are not over; the ones of ended disputes save gas, most
        of all where as many bonds lie as are needed: `bonds_at`.
        asks: the node is to open its trace's tree with the answer, since it gives nothing out; two bonds.
        Raises: Reverted (PositionInvalid, RouteNotOpened, ProfileNotExact, ChallengeTooLate, NotOnRoute, NodeConvicted,
        DisputeKnown, BondShort, TooManyChallenges, SignatureInvalid), InvalidSignature; IndexError for a stage that is not there.
        """
        stage = route.stages[receipt.stage]
        signed = receipt_words(receipt), *split_signature(signature)
        words = *signed, route_words(route), astuple(stage), position, number, asks
        return self._chain.send(sender, self.contract, "challenge", *words)

    def is_free(self, challenger: Address, number: int) -> bool:
        """Whether the challenger can take that number for its next dispute."""
        return self.bonds_at(challenger, number) is not None

    def bonds_at(self, challenger: Address, number: int) -> int | None:
        """How many bonds lie with a number, of a dispute that its challenger has won; None while a dispute of it is open."""
        kept = int.from_bytes(self._chain.call(self.contract, "keptOf", _name(challenger, number)), "big")
        return None if kept > CLOSED + MOST_BONDS else max(0, kept - CLOSED)

    def bonded(self, challenger: Address, from_block: int = 0) -> dict[int, int]:
        """All numbers of a challenger with which bonds lie, and how many: what `unbond` would bring back."""
        events = self._chain.events(self.contract, "Challenged", from_block)
        named = [divmod(int.from_bytes(event.args["id"], "big"), 2**96) for event in events]
        own = int.from_bytes(address_bytes(challenger), "big")
        numbers = dict.fromkeys(number for account, number in named if account == own)
        found = {number: self.bonds_at(challenger, number) or 0 for number in numbers}
        return {number: bonds for number, bonds in found.items() if bonds}

    def unbond(self, sender: Signer, number: int) -> Sent:
        """Bring the bonds that lie with a number of the sender's to its funds: only from there can they be withdrawn.

        Raises: Reverted (NothingBonded, DisputeKnown).
        """
        return self._chain.send(sender, self.contract, "unbond", number)

    def facts(self, receipt: Receipt, route: Route, position: int, challenger: Address, number: int = 0) -> Facts:
        """What the dispute is about that `challenge` opens; the other functions want it again."""
        stage = route.stages[receipt.stage]
        roots = keccak256(receipt.in_root + receipt.kv_root + receipt.out_root + route.sampler)
        traced = route.manifest, roots, stage.start, stage.end, position
        return Facts(traced, receipt.digest(self.domain), receipt.route, stage.node, challenger, number)

    def clocks(self) -> Clocks:
        """What a stand is computed with."""
        _, _, _, proof, descent = self._chain.call(self.contract, "disputeTerms")
        return Clocks(proof, descent)

    def stand(self, facts: Facts, from_block: int) -> Stand:
        """How far a dispute is, from its events; every act brings it along. NEW where there are none."""
        dispute = facts.id()
        found = (e for e in self._chain.all_events(self.contract, from_block) if e.args.get("id") == dispute)
        return NEW.after(found, self.clocks())

    def answer(self, sender: Signer, facts: Facts, stand: Stand, root: bytes, leaves: int, nodes: Nodes = ()) -> Sent:
        """Post the root of the trace and its number of leaves; with the tree's first nodes where the challenger asks for them.

        Raises: Reverted (NotDefender, ClockRunOut, DisputeAnswered, DisputeNotOpen, RootMissing, LeavesInvalid, NodesForeign).
        """
        return self._chain.send(sender, self.contract, "answer", _dispute(facts, stand), root, leaves, list(nodes))

    def ask(self, sender: Signer, facts: Facts, stand: Stand) -> Sent:
        """Want an answered trace opened. By the challenger, for a second bond.

        Raises: Reverted (TurnOther, ClockRunOut, DisputeNotOpen, StandStale, BondShort, TooManyChallenges).
        """
        return self._chain.send(sender, self.contract, "ask", facts.number, facts.matter(), stand.words)

    def open(self, sender: Signer, facts: Facts, stand: Stand, nodes: Nodes) -> Sent:
        """Open the nodes below the one in question. By who has answered.

        Raises: Reverted (NodesForeign, NotDefender, TurnOther, ClockRunOut, DisputeNotOpen, StandStale).
        """
        return self._chain.send(sender, self.contract, "open", facts.id(), *_move(facts, stand), list(nodes))

    def pick(self, sender: Signer, facts: Facts, stand: Stand, picked: Picked) -> Sent:
        """Say which of the opened nodes is the first that is wrong. By the challenger.

        Raises: Reverted (PickForeign, TurnOther, ClockRunOut, DisputeNotOpen, StandStale).
        """
        words = facts.number, *_move(facts, stand), *astuple(picked)
        return self._chain.send(sender, self.contract, "pick", *words)

    def show(self, sender: Signer, facts: Facts, stand: Stand, leaves: Nodes) -> Sent:
        """Show the data of the picked leaf, or of all leaves below the picked node where these are next. By who has answered.

        Raises: Reverted (LeafForeign, NotDefender, TurnOther, ClockRunOut, DisputeNotOpen, StandStale).
        """
        words = facts.id(), *_move(facts, stand), packed_leaves(leaves)
        return self._chain.send(sender, self.contract, "show", *words)

    def opened(self, tx_hash: bytes, stand: Stand) -> list[bytes]:
        """The nodes that a transaction opened, which is all that is said of them; stand: the one that it has led to.

        Raises: OtherNodes where it is not these that the contract has taken, UnexpectedAnswer.
        """
        nodes = [bytes(node) for node in self._read(tx_hash, "nodes", "open", "answer")]
        found = ordered_root(nodes) if nodes else bytes(HASH_BYTES)
        if found != stand.node:
            raise OtherNodes(tx_hash, stand.node, found)
        return nodes

    def shown(self, tx_hash: bytes) -> list[bytes]:
        """The data of the leaves that a transaction showed. Raises: UnexpectedAnswer."""
        return unpacked_leaves(bytes(self._read(tx_hash, "leaves", "show")))

    def _read(self, tx_hash: bytes, name: str, *functions: str) -> Any:
        called = self._chain.called(self.contract, tx_hash)
        if called.fn not in functions:
            raise UnexpectedAnswer(
                self._chain.url, f"transaction 0x{tx_hash.hex()} calls {called.fn}, not {functions[0]}"
            )
        return called.args[name]

    def prove_product(self, sender: Signer, facts: Facts, stand: Stand, proof: bytes, finder: Address = NOBODY) -> Sent:
        """The same as prove_element for a prefix of a product with a block's matrix, for less gas.

        Raises: Reverted (NothingWrong, LeavesNotHeld, ProductInvalid, ModelUnknown, ClockRunOut, DisputeNotOpen, ...).
        """
        return self._chain.send(sender, self.contract, "proveProduct", _dispute(facts, stand), proof, finder)

    def prove_element(self, sender: Signer, facts: Facts, stand: Stand, proof: bytes, finder: Address = NOBODY) -> Sent:
        """Show an element of the posted trace wrong, with verification.trace.evidence's element_proof.

        Raises: Reverted (NothingWrong, LeavesNotHeld, PlaceInvalid, ModelUnknown, ClockRunOut, DisputeNotOpen, ...).
        """
        return self._chain.send(sender, self.contract, "proveElement", _dispute(facts, stand), proof, finder)

    def prove_copy(self, sender: Signer, facts: Facts, stand: Stand, copy: FalseCopy, finder: Address = NOBODY) -> Sent:
        """Show a copied key or value wrong, which the node signed for an earlier chunk of the same route and stage.

        Raises: Reverted (ReceiptForeign, NothingWrong, LeavesNotHeld, PlaceInvalid, SignatureInvalid, ...), InvalidSignature.
        """
        receipts = receipt_words(copy.own), receipt_words(copy.earlier), *split_signature(copy.signature)
        words = _dispute(facts, stand), copy.proof, *receipts, finder
        return self._chain.send(sender, self.contract, "proveCopy", *words)

    def prove_signed(self, sender: Signer, facts: Facts, stand: Stand, proof: bytes, finder: Address = NOBODY) -> Sent:
        """Show that the trace ends otherwise, or has other keys and values, than the receipt says: evidence's signed_proof.

        Raises: Reverted (NothingWrong, LeavesNotHeld, PlaceInvalid, ModelUnknown, ClockRunOut, DisputeNotOpen, ...).
        """
        return self._chain.send(sender, self.contract, "proveSigned", _dispute(facts, stand), proof, finder)

    def prove_twice(self, sender: Signer, facts: Facts, stand: Stand, pair: Words, finder: Address = NOBODY) -> Sent:
        """Show two different leaves of one index in the trace: evidence's pair.

        Raises: Reverted (NothingWrong, LeavesNotHeld, PlaceInvalid, ClockRunOut, DisputeNotOpen, ...).
        """
        return self._chain.send(sender, self.contract, "proveTwice", _dispute(facts, stand), pair, finder)

    def close(self, sender: Signer, facts: Facts, stand: Stand) -> Sent:
        """End a dispute whose clock has run out. Raises: Reverted (ClockRunning, DisputeNotOpen, StandStale)."""
        return self._chain.send(sender, self.contract, "close", _dispute(facts, stand))


def _name(challenger: Address, number: int) -> bytes:
    return address_bytes(challenger) + number.to_bytes(12, "big")


def _dispute(facts: Facts, stand: Stand) -> Words:
    """As the contract's Dispute."""
    return facts.id(), facts.words, stand.words


def _move(facts: Facts, stand: Stand) -> Words:
    return stand.about(facts.matter()), stand.play
