"""A node's own place in the table of scores: its tickets, and credit for what its channels have settled."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

from incentives.channels import PotShare
from incentives.evidence import Claim, WorkEvidence
from incentives.payees import POOL_BPS, parse_payees, share_of
from incentives.score_history import ScoreHistory
from incentives.scores import ONE, credit_of
from incentives.signing import Signer
from node.batches import batches
from node.epoch_act import Act
from node.ledger import HeldChannel, Ledger
from node.network import Network
from verification.addresses import Address

MAX_CLAIMS = 32
"""Channels, or pots, in one transaction."""
LEAST_CREDIT = ONE // 64
"""Of a claim that is worth its gas."""


class EpochCredit:
    """What a node does for its own score."""

    def __init__(
        self, network: Network, history: ScoreHistory, ledger: Ledger, signer: Signer, owner: Address
    ) -> None:  # fmt: skip
        self._network, self._history, self._ledger = network, history, ledger
        self._signer, self._owner = signer, owner
        self._work = WorkEvidence(network.chain, network.deployment)
        self._claimed_in = 0

    def due(self, now: int) -> Iterator[Act]:
        """What to send now. Raises: ChainError."""
        tickets = self._history.now.stakes().get(self._owner, 0)
        if self._network.stakes.stake_of(self._owner).bonded != tickets:
            yield Act("enrol", partial(self._history.scores.enrol, self._signer, self._owner))
        epoch = self._history.epoch_at(now)
        middle = self._history.end_of(epoch) - self._history.clocks.epoch // 2
        if now >= middle and epoch != self._claimed_in:
            for part in batches(self._claims(), MAX_CLAIMS, lambda claim: len(claim.payees)):
                yield Act("claim", partial(self._work.claim, self._signer, self._owner, part))
            yield from self._collect()
            self._claimed_in = epoch

    def _claims(self) -> list[Claim]:
        """What is worth its gas, the most first; what is past a payer's cap waits for the next epoch.

        Payments of next to nothing must neither have a node burn gas nor fill the batches before those that are worth something.
        """
        rule, found, paid = self._network.deployment.params.scores.rule, list[Claim](), Counter[Address]()
        fees = [(self._fee(held, claim := Claim(held.key, held.payees)), claim) for held in self._ledger.all_held()]
        for fee, claim in sorted(fees, key=lambda each: -each[0]):
            payer = claim.key.payer
            before = credit_of(paid[payer], rule.fee_unit, rule.cap)
            if credit_of(paid[payer] + fee, rule.fee_unit, rule.cap) - before >= LEAST_CREDIT:
                found.append(claim)
                paid[payer] += fee
        return found

    def _fee(self, held: HeldChannel, claim: Claim) -> int:
        """What was settled to the node on a channel, and can be claimed."""
        if held.key.payer == self._owner or claim.share_of(self._work.pool) < POOL_BPS:
            return 0
        counted = self._work.counted(held.channel, self._owner)
        fresh = self._network.channels.state(held.channel).settled - counted.settled
        return 0 if counted.barred else max(0, share_of(fresh, claim.share_of(self._owner)))

    def _collect(self) -> Iterator[Act]:
        """The audit pool's richest shares, where one transaction of them is what posters are paid for a root, for whoever posts.

        Anybody can make new pots with next to nothing in them: they must cost nobody gas.
        """
        enough = max(1, self._network.deployment.params.scores.reward)
        shares = sorted(self._pool_shares(-(-enough // MAX_CLAIMS)), key=lambda each: -each[0])
        for part in batches(shares, MAX_CLAIMS, lambda each: len(each[1].payees))[:1]:
            if sum(amount for amount, _ in part) >= enough:
                pots = [share for _, share in part]
                yield Act("collect", partial(self._network.channels.collect_many, self._signer, self._work.pool, pots))

    def _pool_shares(self, least: int) -> Iterator[tuple[int, PotShare]]:
        """What can be collected for the pool of each pot, where that is no less than so much."""
        for held in {each.key.payees: each for each in self._ledger.all_held()}.values():
            payees = parse_payees(held.payees)
            pools = [index for index, each in enumerate(payees) if each.node == self._work.pool]
            parts = {index: self._network.channels.collectable(payees, index) for index in pools}
            if (amount := sum(parts.values())) >= least:
                yield amount, PotShare(payees, tuple(index for index, part in parts.items() if part))
