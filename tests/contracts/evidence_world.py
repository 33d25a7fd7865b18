"""Reliability and Evidence before the real Court, whose arbiters are plain accounts, and channels that pay the audit pool."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from incentives.chain import Contract, Sent
from incentives.scores import ONE
from incentives.signing import Signer
from incentives.vouchers import ChannelKey
from sharding.hashing import keccak256
from tests.conftest import ask
from tests.contracts.score_world import BOND as DEMAND_BOND
from tests.contracts.score_world import CAPACITY, CLOCKS
from tests.contracts.world import (
    CLOSE_DELAY,
    EPOCH,
    FOREVER,
    MATURITY,
    MAX_FEE,
    MIN_STAKE,
    UNBONDING,
    ZERO,
    Refusal,
    World,
    dev,
    hot,
    next_addresses,
    shipped,
    word,
)

NODE, OTHER, DISPUTES, JURY, PAYER, STRANGER = (dev(index) for index in (1, 2, 6, 7, 3, 9))
KEY = hot("payer")
UNIT, CAP, SHARE = 1_000, 4 * ONE, 250
GAS = 3_000_000


@dataclass(frozen=True, slots=True)
class EvidenceWorld:
    """Two bonded nodes, NODE and OTHER."""

    world: World
    scores: Contract
    evidence: Contract

    @property
    def epoch(self) -> int:
        """The running one."""
        return int(self.world.view(self.scores, "currentEpoch"))

    def to_epoch(self, epoch: int) -> None:
        """Its first second."""
        self.world.next_block_at(int(self.world.view(self.scores, "endOf", epoch - 1)))
        ask(self.world.url, "evm_mine")

    def words(self, *shares: tuple[str, int], pool: int = SHARE) -> list[bytes]:
        """The payees of a channel; what is left of the whole is the pool's unless it is said otherwise."""
        return [word(node, weight) for node, weight in (*shares, (self.scores.address, pool))]

    def paid(
        self, words: Sequence[bytes], amount: int, payer: Signer = PAYER, salt: bytes = bytes(32)
    ) -> tuple[ChannelKey, list[bytes]]:
        """A channel whose first voucher, of this amount, is settled: a claim."""
        key = self.world.channel(payer, KEY, words, 10 * amount, salt)
        self.settle(key, amount)
        return key, list(words)

    def settle(self, key: ChannelKey, cumulative: int) -> None:
        self.world.send(STRANGER, self.world.channels, "settle", *self.world.voucher(KEY, key, cumulative))

    def claim(self, *claims: tuple[ChannelKey, list[bytes]], node: Signer = NODE, who: Signer | None = None) -> Sent:
        return self.world.send(who or node, self.evidence, "claim", node.address, _words(claims))

    def refusal(
        self, *claims: tuple[ChannelKey, list[bytes]], node: Signer = NODE, who: Signer | None = None
    ) -> Refusal:
        return self.world.refusal(who or node, self.evidence, "claim", node.address, _words(claims))

    def of(self, epoch: int, node: Signer = NODE) -> list[int]:
        """Credit, faults, quality."""
        return list(self.world.view(self.evidence, "evidenceOf", epoch, node.address))

    def convict(self, route: bytes, node: Signer = NODE) -> Sent:
        words = node.address, route, keccak256(b"receipt"), ZERO
        return self.world.send(DISPUTES, self.world.court, "convict", *words, gas=GAS)


def _words(claims: Sequence[tuple[ChannelKey, list[bytes]]]) -> list[Any]:
    return [(astuple(key), words) for key, words in claims]


def deploy_evidence(world: World, cap: int = CAP) -> EvidenceWorld:
    """With channels of its own, whose audit pool the scores are; they listen to the court of the world."""
    chain = world.chain
    court_at, scores_at, evidence_at = next_addresses(chain, 3, after=2)
    terms = CLOSE_DELAY, MATURITY, world.verdicts.address, scores_at
    channels = chain.deploy(dev(0), shipped("Channels"), world.token.address, *terms).contract
    arguments = world.token.address, court_at, MIN_STAKE, UNBONDING, MAX_FEE
    stakes = chain.deploy(dev(0), shipped("Stakes"), *arguments).contract
    genesis = chain.head().timestamp
    arbiters = DISPUTES.address, JURY.address, scores_at, DISPUTES.address
    court = chain.deploy(dev(0), shipped("Court"), stakes.address, arbiters, (genesis, EPOCH)).contract
    rules = CLOCKS.words, genesis, CAPACITY, DEMAND_BOND, 500
    scores = chain.deploy(dev(0), shipped("Reliability"), stakes.address, court_at, evidence_at, *rules).contract
    arguments = court_at, channels.address, scores_at, UNIT, cap
    evidence = chain.deploy(dev(0), shipped("Evidence"), *arguments).contract
    made = EvidenceWorld(replace(world, stakes=stakes, court=court, channels=channels), scores, evidence)
    for payer in map(dev, range(1, 6)):
        world.send(payer, world.token, "approve", channels.address, FOREVER)
    for owner in (NODE, OTHER):
        world.send(owner, world.token, "approve", stakes.address, FOREVER)
        made.world.join(owner, hot(owner.address), 1_000)
    return made
