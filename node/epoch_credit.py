"""A node's own place in the table of scores: its tickets, and credit for what its channels have settled."""

from collections.abc import Iterator
from functools import partial

from incentives.channels import PotShare
from incentives.evidence import Claim, WorkEvidence
from incentives.payees import POOL_BPS, parse_payees, share_of
from incentives.score_history import ScoreHistory
from incentives.signing import Signer
from node.epoch_act import Act
from node.ledger import HeldChannel, Ledger
from node.network import Network
from verification.addresses import Address

MAX_CLAIMS = 32
"""Channels, or pots, in one transaction."""


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
        if now >= middle and epoch != self._claimed_in:  # once: a claim is a transaction, whatever it is worth
            claims = [each for each in map(self._claim, self._ledger.all_held()) if each is not None]
            for at in range(0, len(claims), MAX_CLAIMS):
                yield Act("claim", partial(self._work.claim, self._signer, self._owner, claims[at : at + MAX_CLAIMS]))
            yield from self._collect()
            self._claimed_in = epoch

    def _collect(self) -> Iterator[Act]:
        """The audit pool's richest shares, where one transaction of them is what posters are paid for a root, for whoever posts.

        Anybody can make new pots with next to nothing in them: they must cost nobody gas.
        """
        channels, enough = self._network.channels, max(1, self._network.deployment.params.scores.reward)
        found = list[tuple[int, PotShare]]()
        for held in {each.key.payees: each for each in self._ledger.all_held()}.values():
            payees = parse_payees(held.payees)
            pools = [index for index, each in enumerate(payees) if each.node == self._work.pool]
            parts = {index: channels.collectable(payees, index) for index in pools}
            ripe = tuple(index for index, part in parts.items() if part)
            found.append((sum(parts.values()), PotShare(payees, ripe)))
        richest = sorted(found, key=lambda each: -each[0])[:MAX_CLAIMS]  # crumbs are not worth their gas
        if sum(amount for amount, _ in richest) >= enough:
            shares = [share for amount, share in richest if amount]
            yield Act("collect", partial(channels.collect_many, self._signer, self._work.pool, shares))

    def _claim(self, held: HeldChannel) -> Claim | None:
        """What can be claimed for a channel, if anything."""
        claim = Claim(held.key, held.payees)
        if held.key.payer == self._owner or claim.share_of(self._work.pool) < POOL_BPS:
            return None
        counted = self._work.counted(held.channel, self._owner)
        fresh = self._network.channels.state(held.channel).settled - counted.settled
        return claim if not counted.barred and share_of(fresh, claim.share_of(self._owner)) > 0 else None
