"""Disputes whose trace is withheld, played by both sides from trees of any leaves: a descent does not ask what they mean."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from incentives.chain import Sent
from incentives.disputes import Facts
from incentives.signing import Signer, split_signature
from incentives.stands import NEW, Clocks, Stand, Turn
from sharding.hashing import keccak256
from sharding.merkle import merkle_leaf
from tests.contracts.disputed import terms
from tests.contracts.world import DESCENT, MIN_STAKE, PROOF, World, dev, hot
from verification.receipts import Receipt
from verification.routes import Route, RouteStage, profile_id
from verification.trace.descent import children, own_tree, packed_leaves, pick, root_of
from verification.trace.openings import HashTree

OWNER, CHALLENGER, OTHER, STRANGER = dev(1), dev(2), dev(3), dev(9)
SIGNER = hot("signer")
CLOCKS = Clocks(PROOF, DESCENT)
STAKE = 10 * MIN_STAKE
POSITION, GAS = 6, 2_000_000
ONE = keccak256(b"one")
Words = tuple[Any, ...]

ROOTS = keccak256(4 * ONE)
"""Of the receipt's three and the sampler."""


def prepare(world: World) -> World:
    """A node with stake and two challengers with funds."""
    world.join(OWNER, SIGNER, STAKE)
    world.bring_bonds(world.disputes, CHALLENGER, OTHER)
    return world


def leaf(place: int, note: bytes = b"right") -> bytes:
    """Mask, index, elements; of any content."""
    return keccak256(note) + place.to_bytes(8, "big") + note


def leaves(count: int, **wrong: bytes) -> list[bytes]:
    """Those of a trace. wrong: data of some, by "at" and their place."""
    return [wrong.get(f"at{k}", leaf(k)) for k in range(count)]


def receipt_of(world: World, chunk: int = 0, session: bytes = ONE) -> tuple[Receipt, Route]:
    """session: the route's nonce, each of which is a route of its own."""
    stages = (RouteStage(OWNER.address, 0, 4, 5),)
    route = Route(session, ONE, 0, bytes(32), stages, ONE, profile_id("exact-1"), ONE, ONE, 16, ONE, 2**33)
    return Receipt(route.digest(world.domain(world.court)), 0, chunk, 0, 16, bytes(32), ONE, ONE, ONE), route


@dataclass
class Fight:
    """One dispute: what the node has posted, what the challenger has computed, and how far they are."""

    world: World
    data: Sequence[bytes]
    right: Sequence[bytes]
    who: Signer = CHALLENGER
    chunk: int = 0
    """Also the dispute's number."""
    session: bytes = ONE
    stand: Stand = NEW
    declared: int = 0
    seen: list[tuple[Any, Sequence[bytes]]] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)

    @property
    def tree(self) -> HashTree:
        return HashTree([merkle_leaf(one) for one in self.data])

    @property
    def facts(self) -> Facts:
        receipt, _ = receipt_of(self.world, self.chunk, self.session)
        digest = receipt.digest(self.world.domain(self.world.court))
        return Facts((ONE, ROOTS, 0, 4, POSITION), digest, receipt.route, OWNER.address, self.who.address, self.chunk)

    def challenge(self, *, asks: bool = False) -> "Fight":
        receipt, route = receipt_of(self.world, self.chunk, self.session)
        signed = split_signature(SIGNER.sign_digest(receipt.digest(self.world.domain(self.world.court))))
        words = astuple(receipt), *signed, terms(route), astuple(route.stages[0]), POSITION, self.chunk, asks
        self.follow(self.world.send(self.who, self.world.disputes, "challenge", *words, gas=GAS))
        return self

    def call(self, fn: str, *words: Any) -> Words:
        """An act's name and arguments: the dispute's name or number, facts or their hash, and the stand in front."""
        facts = self.facts
        whose = facts.number if fn in ("ask", "pick") else facts.id()
        if fn in ("pick", "open", "show"):
            return self.world.disputes, fn, whose, self.stand.about(facts.matter()), self.stand.play, *words
        about = facts.matter() if fn == "ask" else facts.words
        dispute = whose, about, self.stand.words
        return self.world.disputes, fn, *(dispute if fn == "ask" else (dispute,)), *words

    def act(self, who: Signer, fn: str, *words: Any) -> Sent:
        sent = self.world.send(who, *self.call(fn, *words), gas=GAS)
        self.follow(sent)
        return sent

    def refused(self, who: Signer, fn: str, *words: Any) -> tuple[str, Words]:
        return self.world.refusal(who, *self.call(fn, *words))

    def follow(self, sent: Sent) -> None:
        """Python's stand is the contract's after every act, until the dispute is closed; its bonds stay there if it is won."""
        self.sent.append(sent)
        names = {event.name for event in sent.logs}
        self.stand = self.stand.after(sent.logs, CLOCKS)
        kept = bytes(self.world.view(self.world.disputes, "keptOf", self.facts.id()))
        if {"Upheld", "Acquitted"} & names:
            assert int.from_bytes(kept, "big") == 1 + ("Upheld" in names) * self.stand.bonds
        else:
            assert kept == self.stand.hash(self.facts.matter())

    def answer(self, who: Signer = OWNER, nodes: Sequence[bytes] | None = None) -> "Fight":
        """With the first nodes where they were asked for."""
        asked = self.stand.turn is Turn.ASKED
        where = root_of(self.count)
        opened = children(self.tree, where) if asked and where.height else []
        self.act(who, "answer", self.tree.root, self.count, opened if nodes is None else nodes)
        if opened:
            self.seen.append((where, opened))
        return self

    @property
    def count(self) -> int:
        return self.declared or len(self.data)

    def ask(self) -> "Fight":
        self.act(self.who, "ask")
        return self

    def open(self) -> "Fight":
        nodes = children(self.tree, self.stand.where)
        self.seen.append((self.stand.where, nodes))
        self.act(OWNER, "open", nodes)
        return self

    def pick(self) -> "Fight":
        where, nodes = self.seen[-1]
        picked = pick(own_tree(self.right, self.count), where, nodes)
        assert picked is not None
        self.act(self.who, "pick", *astuple(picked))
        return self

    def to_leaf(self) -> "Fight":
        """Both play on until a leaf is to be shown."""
        while self.stand.turn is Turn.PICKING or self.stand.height:
            if self.stand.turn is Turn.PICKING:
                self.pick()
            else:
                self.open()
        return self

    def show(self) -> "Fight":
        """The leaf, or all of the last step."""
        where = self.stand.where
        self.act(OWNER, "show", packed_leaves(self.data[where.first : where.first + where.count]))
        return self

    def to_show(self) -> "Fight":
        """Both play on until leaves can be shown."""
        while self.stand.turn is Turn.PICKING or not self.stand.where.is_last:
            if self.stand.turn is Turn.PICKING:
                self.pick()
            else:
                self.open()
        return self
