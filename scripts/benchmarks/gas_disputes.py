"""What a dispute costs about a model of the size of Qwen2.5-0.5B: the trees are made up, as large as real ones.

One wrong prefix of a dot product in a trace of twelve blocks: two leaves of the trace, a piece of the weights, 128 products.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from incentives.chain_types import Contract, Sent
from incentives.disputes import Disputes, Facts
from incentives.models import Models
from incentives.signing import LocalSigner
from incentives.stands import NEW, Stand, Turn
from sharding.exact.parameters import parameters_of
from sharding.exact.weight_pieces import TensorPlace, tensor_places
from sharding.hashing import keccak256
from sharding.manifest_tree import trace_leaf
from sharding.merkle import merkle_leaf
from sharding.rope import Rope
from sharding.span import Span
from sharding.spec import ModelSpec
from verification.addresses import Address
from verification.receipts import Receipt
from verification.routes import Route, RouteStage, profile_id
from verification.trace.descent import children, pick, root_of
from verification.trace.field_numbers import number_of
from verification.trace.fields import Place
from verification.trace.layout import TraceLayout
from verification.trace.openings import HashTree
from verification.trace.operations import pieces

POSITION, BLOCK, ROW, COLUMN = 100, 5, 400, 3
SHOWN = 8
"""Leaves of a descent's last step in a tree of this size."""
SPEC = ModelSpec(
    family="qwen2", num_blocks=24, hidden_size=896, num_heads=14, num_kv_heads=2, head_dim=64, intermediate_size=4864,
    vocab_size=151_936, max_positions=32_768, tied_embeddings=True, eos_token_ids=(), norm_epsilon=1e-6,
    rope=Rope("default", 1e6), attention_biases=("q", "k", "v"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Invented:
    """A proof, and the trees that it is about; all leaves but two are made up."""

    weights: bytes
    trace: HashTree
    right: HashTree
    """The challenger's own tree."""
    leaves: Mapping[int, bytes]
    """The data of those that are shown; the first wrong one is among them."""
    proof: bytes


def _climbed(node: bytes, path: Sequence[bytes]) -> bytes:
    for sibling in path:
        node = keccak256(min(node, sibling) + max(node, sibling))
    return node


def invented(dice: Random) -> Invented:
    """The prefix is one too large."""
    layout = TraceLayout(SPEC, Place(Span(0, 12), POSITION))
    x_at = layout.leaf_of(f"{BLOCK}.attention_norm.x", 0, 128 * COLUMN)
    sums_at = layout.leaf_of(f"{BLOCK}.qkv.sums", ROW, COLUMN)
    place: TensorPlace = tensor_places(SPEC)[f"blocks.{BLOCK}.qkv.weight"]
    w = [dice.randint(-127, 127) for _ in range(128)]
    x = [dice.randint(-32_639, 32_639) for _ in range(128)]
    values = [dice.randint(-(2**24), 2**24) for _ in range(pieces(SPEC.hidden_size))]
    values[COLUMN] = values[COLUMN - 1] + sum(a * b for a, b in zip(w, x, strict=True)) + 1
    row, prefixes, piece = _bytes(x, 2), _bytes(values, 4), _bytes(w, 1)
    masks = dice.randbytes(32), dice.randbytes(32)
    in_tensor = [dice.randbytes(32) for _ in range((place.rows * pieces(place.width) - 1).bit_length())]
    in_weights = [dice.randbytes(32) for _ in range((len(tensor_places(SPEC)) - 1).bit_length())]
    found = zip(masks, (x_at, sums_at), (row, prefixes), strict=True)
    others = range(sums_at & -SHOWN, (sums_at & -SHOWN) + SHOWN)
    leaves = {i: dice.randbytes(32) + i.to_bytes(8, "big") + dice.randbytes(len(prefixes)) for i in others}
    leaves |= {i: m + i.to_bytes(8, "big") + e for m, i, e in found}
    hashes = [merkle_leaf(leaves[k]) if k in leaves else dice.randbytes(32) for k in range(layout.leaves)]
    tree = HashTree(hashes)
    opening = tree.open([x_at, sums_at])
    index = ROW * pieces(place.width) + COLUMN
    tensor = _climbed(merkle_leaf(index.to_bytes(8, "big") + piece), in_tensor)
    data = leaves[x_at], leaves[sums_at]
    program, in_trace = opening.program, opening.siblings
    parts = (
        struct.pack(">BBIIIB", 0, number_of("0.qkv.sums")[1], BLOCK, ROW, COLUMN, 2), *map(_sized, data),
        bytes([len(program)]), program, bytes([len(in_trace)]), *in_trace, b"\1",
        struct.pack(">IIB", place.rows, place.width, place.size), _sized(piece),
        bytes([len(in_tensor), len(in_weights)]), *in_tensor, *in_weights,
    )  # fmt: skip
    hashes[sums_at] = dice.randbytes(32)
    weights = _climbed(merkle_leaf(place.leaf(tensor)), in_weights)
    return Invented(weights, tree, HashTree(hashes), leaves, b"".join(parts))


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _bytes(numbers: Sequence[int], size: int) -> bytes:
    return b"".join(number.to_bytes(size, "little", signed=True) for number in numbers)


@dataclass(frozen=True, slots=True)
class Parties:
    """Who disputes: a node's owner and its key, who challenges, and until when the route runs."""

    owner: LocalSigner
    key: LocalSigner
    challenger: LocalSigner
    expiry: int


@dataclass
class Fight:
    """One dispute of both sides, and what each act of it has cost."""

    disputes: Disputes
    parties: Parties
    made: Invented
    receipt: Receipt
    route: Route
    stand: Stand = NEW

    @property
    def facts(self) -> Facts:
        return self.disputes.facts(self.receipt, self.route, POSITION, Address(self.parties.challenger.address))

    def then(self, sent: Sent) -> int:
        self.stand = self.stand.after(sent.logs, self.disputes.clocks())
        return sent.gas_used

    def challenge(self, *, asks: bool) -> int:
        signature = self.parties.key.sign_digest(self.receipt.digest(self.disputes.domain))
        accused = self.parties.challenger, self.receipt, signature, self.route, POSITION
        return self.then(self.disputes.challenge(*accused, asks=asks))

    def answer(self) -> int:
        tree = self.made.trace
        nodes = children(tree, root_of(tree.size)) if self.stand.turn is Turn.ASKED else []
        posted = tree.root, tree.size, nodes
        return self.then(self.disputes.answer(self.parties.key, self.facts, self.stand, *posted))

    def descend(self, *, together: bool) -> list[int]:
        """The node opens, the challenger picks, until the leaf is shown: together with its neighbours, or alone."""
        used, tree = [], self.made.trace
        nodes = children(tree, root_of(tree.size))
        while self.stand.turn is not Turn.SHOWN:
            where = self.stand.where
            if self.stand.turn is Turn.PICKING:
                picked = pick(self.made.right, where, nodes)
                if picked is None:
                    raise RuntimeError("the trees do not differ")
                used.append(self.then(self.disputes.pick(self.parties.challenger, self.facts, self.stand, picked)))
            elif where.is_last and (together or not where.height):
                leaves = [self.made.leaves[k] for k in range(where.first, where.first + where.count)]
                used.append(self.then(self.disputes.show(self.parties.key, self.facts, self.stand, leaves)))
            else:
                nodes = children(tree, where)
                used.append(self.then(self.disputes.open(self.parties.key, self.facts, self.stand, nodes)))
        return used

    def prove(self) -> int:
        return self.disputes.prove_product(self.parties.challenger, self.facts, self.stand, self.made.proof).gas_used


def dispute(disputes: Disputes, models: Contract, chain: Any, parties: Parties, seed: int) -> dict[str, int]:
    """Challenge, answer and proof, each a transaction. The node has stake, the challenger funds with the disputes."""
    fight = _fight(disputes, Models(chain, models), parties, Random(seed))  # noqa: S311 - figures that come out alike
    return {
        "dispute_challenge": fight.challenge(asks=False),
        "dispute_answer": fight.answer(),
        "dot_fraud_proof": fight.prove(),
    }


def withheld(
    disputes: Disputes, models: Contract, chain: Any, parties: Parties, seed: int, *, together: bool = True
) -> list[int]:
    """The same where the node gives nothing out: every transaction of both sides."""
    fight = _fight(disputes, Models(chain, models), parties, Random(seed))  # noqa: S311
    begun = [fight.challenge(asks=True), fight.answer()]
    return [*begun, *fight.descend(together=together), fight.prove()]


def _fight(disputes: Disputes, registry: Models, parties: Parties, dice: Random) -> Fight:
    made, numbers = invented(dice), parameters_of(SPEC)
    manifest = merkle_leaf(trace_leaf(numbers, made.weights))
    registry.register(parties.challenger, manifest, numbers, made.weights, [])
    some = [dice.randbytes(32) for _ in range(10)]
    node = Address(parties.owner.address)
    stages = tuple(RouteStage(node, start, start + 12, 10**12) for start in (0, 12))
    route = Route(
        some[0], some[1], 0, bytes(32), stages, manifest, profile_id("exact-1"), some[2], some[3], 16, some[4],
        parties.expiry,
    )  # fmt: skip
    receipt = Receipt(route.digest(disputes.domain), 0, 6, 96, 112, bytes(32), *some[5:8])
    return Fight(disputes, parties, made, receipt, route)
