"""A Reliability with a court that believes what it is told, and the epochs of a small network beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from incentives.chain import Contract, Sent
from incentives.epochs import Clocks, Evidence, build, epochs_added
from incentives.score_challenges import NO_SALT, Case, evidence_commitment
from incentives.score_tree import NO_POSTING, Posting, ScoreTable
from incentives.signing import Signer
from sharding.hashing import keccak256
from tests.conftest import ask
from tests.contracts.world import EPOCH, FOREVER, ZERO, Refusal, World, deploy_lenient, dev, hot, shipped
from verification.addresses import Address

CLOCKS = Clocks(epoch=EPOCH, exclusive=50, posting=150, activation=70, response=60, half_life=5_600)
CAPACITY, BOND, REWARD = 5, 1_000, 500
OWNERS = tuple(dev(index) for index in (1, 2, 3, 4))
STAKES = (300, 500, 700, 900)
DEMANDER, STRANGER = dev(5), dev(9)
UNPAID = (ZERO, NO_SALT)
"""The end of a challenge's arguments where nobody gets the fee."""
SALT = keccak256(b"salt")
GAS = 3_000_000
"""Enough for every function; given where a transaction has to be mined at a given second."""


@dataclass(frozen=True, slots=True)
class ScoreWorld:
    """The token, stakes that obey the lenient court, and the scores."""

    world: World
    scores: Contract

    def view(self, fn: str, *args: Any) -> Any:
        return self.world.view(self.scores, fn, *args)

    def send(self, who: Signer, fn: str, *args: Any) -> Sent:
        return self.world.send(who, self.scores, fn, *args, gas=GAS)

    def refusal(self, who: Signer, fn: str, *args: Any) -> Refusal:
        return self.world.refusal(who, self.scores, fn, *args, gas=GAS)


def deploy_scores(world: World) -> ScoreWorld:
    """Four nodes are bonded and nobody is enrolled."""
    stakes, court = deploy_lenient(world.chain, world.token, "ScoreCourt")
    world.send(dev(0), court, "bind", stakes.address)
    genesis = world.chain.head().timestamp
    arguments = stakes.address, court.address, court.address, CLOCKS.words, genesis, CAPACITY, BOND, REWARD
    scores = world.chain.deploy(dev(0), shipped("Reliability"), *arguments).contract
    world = replace(world, stakes=stakes, court=court)
    for owner, stake in zip(OWNERS, STAKES, strict=True):
        world.give(owner, stake)  # so that the owner is as rich as other tests expect
        world.send(owner, world.token, "approve", stakes.address, FOREVER)
        world.join(owner, hot(owner.address), stake)
    world.send(DEMANDER, world.token, "approve", scores.address, FOREVER)
    return ScoreWorld(world, scores)


@dataclass
class Play:
    """One test's epochs: what was recorded, and the tables that follow from it."""

    scored: ScoreWorld
    evidence: dict[int, dict[Address, Evidence]] = field(default_factory=dict)
    stakes: dict[Address, int] = field(default_factory=dict)
    base: Posting = NO_POSTING
    before: ScoreTable | None = None

    @property
    def epoch(self) -> int:
        """The running one."""
        return int(self.scored.view("currentEpoch"))

    def end(self, epoch: int) -> int:
        return int(self.scored.view("endOf", epoch))

    def at(self, timestamp: int) -> None:
        """The next block is of this second."""
        self.scored.world.next_block_at(timestamp)

    def mine_at(self, timestamp: int) -> None:
        """A block of this second, for the views."""
        self.at(timestamp)
        ask(self.scored.world.url, "evm_mine")

    def enrol(self, *owners: Signer) -> None:
        for owner in owners:
            self.scored.send(STRANGER, "enrol", owner.address)
            self.stakes[owner.address] = self.scored.world.stake(owner)[0]

    def record(self, owner: Signer, credit: int = 0, faults: int = 0, qos: int = 0) -> None:
        """Evidence of the running epoch."""
        epoch = self.epoch
        self.evidence.setdefault(epoch, {})[owner.address] = Evidence(credit, faults, qos)
        self.scored.world.send(
            STRANGER, self.scored.world.court, "record", epoch, owner.address, credit, faults, qos, gas=GAS
        )

    @property
    def standing(self) -> ScoreTable:
        """The table that counts."""
        assert self.before is not None
        return self.before

    def honest(self, epoch: int) -> ScoreTable:
        added = epochs_added(self.base.epoch, epoch)
        evidence = [self.evidence.get(each, {}) for each in added]
        lapsed = added.start - self.base.epoch - 1
        return build(self.stakes, self.before, evidence, self.end(epoch), CLOCKS, lapsed)

    def post(
        self, epoch: int, table: ScoreTable, who: Signer = OWNERS[0], after: int = 60, total: int | None = None
    ) -> Posting:
        """The root of the epoch, `after` seconds past its end: by default when anybody may."""
        at, total = self.end(epoch) + after, sum(self.stakes.values()) if total is None else total
        self.at(at)
        (event,) = self.scored.send(who, "post", epoch, table.root, total, who.address).logs
        posting = Posting(epoch, event.args["base"], at, who.address, total, table.root)
        assert dict(event.args) == {
            "epoch": epoch, "base": self.base.epoch, "postedAt": at, "poster": who.address, "total": total, "root": table.root,
        }  # fmt: skip
        return posting

    def settle(self, epoch: int, **post: Any) -> Posting:
        """The honest root of the epoch, posted and counting."""
        table = self.honest(epoch)
        posting = self.post(epoch, table, **post)
        self.base, self.before = posting, table
        self.mine_at(posting.posted_at + CLOCKS.activation)
        return posting

    def commit(self, finder: Signer, posting: Posting, salt: bytes = SALT) -> tuple[Address, bytes]:
        """What a finder who has committed, and waited, adds to a challenge's arguments."""
        self.scored.send(finder, "commit", evidence_commitment(finder.address, posting, salt))
        self.mine_at(self.scored.world.chain.head().timestamp + 1)
        return finder.address, salt

    def case(self, posting: Posting) -> Case:
        honest = self.honest(posting.epoch)
        return Case(posting, honest, self.end(posting.epoch), CLOCKS, self.base, self.before)


def changed(table: ScoreTable, index: int, **fields: Any) -> ScoreTable:
    """The same leaves but for one."""
    leaves: Mapping[int, Any] = {index: replace(table.leaves[index], **fields)}
    return ScoreTable(tuple(leaves.get(i, leaf) for i, leaf in enumerate(table.leaves)))
