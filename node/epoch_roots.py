"""Posting an epoch's root when it is this node's turn, and the reward for one that came to count."""

import logging
from collections.abc import Iterator
from functools import partial

from incentives.chain_types import Sent
from incentives.epochs import RING, Evidence, epochs_added
from incentives.evidence import WorkEvidence
from incentives.reliability import RootState
from incentives.score_history import ScoreHistory
from incentives.score_tree import Posting, ScoreTable, drawn_ticket
from incentives.signing import Signer
from node.epoch_act import Act
from node.network import Network
from sharding.hashing import keccak256
from verification.addresses import Address, address_bytes

log = logging.getLogger(__name__)

EDGE_PARTS = 16
"""Of the time in which anybody may post, the first such part is left alone."""


class EpochRoots:
    """What a node does to have epochs' roots posted."""

    def __init__(self, network: Network, history: ScoreHistory, signer: Signer, owner: Address) -> None:
        self._network, self._history = network, history
        self._signer, self._owner = signer, owner
        self._work = WorkEvidence(network.chain, network.deployment)
        self._doubted = b""

    def due(self, now: int) -> Iterator[Act]:
        """What to send now. Raises: ChainError, ScoreTableError."""
        yield from self._posting(self._history.epoch_at(now) - 1, now)
        yield from self._rewards(now)
        if self._history.scores.credit_of(self._signer.address):
            yield Act("withdraw", partial(self._history.scores.withdraw, self._signer))
        if self._network.stakes.owed_to(self._signer.address):
            yield Act("pay out", partial(self._network.stakes.pay_out, self._signer, self._signer.address))

    def _posting(self, epoch: int, now: int) -> Iterator[Act]:
        history, opened = self._history, self._history.end_of(epoch)
        if epoch < 1 or epoch in history.now.standing or now >= opened + history.clocks.posting:
            return
        if self._network.stakes.stake_of(self._owner).bonded < self._network.deployment.params.min_stake:
            return
        base = history.serving(opened)
        if base is not None and (epoch - base.epoch) % RING == 0:
            return  # the contract keeps that place
        before = history.table(base) if base is not None else None
        table = history.honest(epoch, base)
        if table is None:
            log.warning(
                "the leaves of the root of epoch %d are not known: nothing can be built on it",
                base.epoch if base else 0,
            )
        elif (
            table.leaves
            and now >= opened + self._wait(epoch, base, before, table)
            and self._is_confirmed(epoch, base, table)
        ):
            yield Act("post", partial(self._post, epoch, table))

    def _is_confirmed(self, epoch: int, base: Posting | None, table: ScoreTable) -> bool:
        """Whether the contracts hold what the logs say. Some endpoints leave logs out, and a wrong root costs the whole stake."""
        added, told = epochs_added(base.epoch if base else 0, epoch), self._history.now.evidence
        same = self._history.scores.total_at(epoch) == table.total and all(
            self._work.of(each, leaf.node) == told.get(each, {}).get(leaf.node, Evidence())
            for each in added
            for leaf in table.leaves
        )
        if not same and table.root != self._doubted:
            self._doubted = table.root  # all logs are read again, once
            self._history.forget()
            log.error("the root of epoch %d is not posted: the chain's logs are not all there", epoch)
        return same

    def _post(self, epoch: int, table: ScoreTable) -> Sent:
        return self._history.scores.send_root(self._signer, epoch, table, self._owner)

    def _wait(self, epoch: int, base: Posting | None, before: ScoreTable | None, table: ScoreTable) -> int:
        """Seconds after the epoch's end: who was drawn comes first, the others in an order of their own, so not all at once."""
        clocks = self._history.clocks
        if base is not None and before is not None:
            if before.holder(drawn_ticket(base, epoch)).leaf.node == self._owner:
                return self._history.calm_s
            # a block may be dated some seconds before it takes a transaction: on the edge, one's stake would be at risk
            free = clocks.exclusive + (clocks.posting - clocks.exclusive) // EDGE_PARTS
        else:
            free = self._history.calm_s
        return free + (clocks.posting - free) * self._rank(epoch, table) // (2 * len(table.leaves))

    def _rank(self, epoch: int, table: ScoreTable) -> int:
        """This node's place among those of the table, in an order that is another one each epoch."""
        salt = epoch.to_bytes(32, "big")
        order = sorted(table.leaves, key=lambda leaf: keccak256(salt + address_bytes(leaf.node)))
        return next((place for place, leaf in enumerate(order) if leaf.node == self._owner), len(order))

    def _rewards(self, now: int) -> Iterator[Act]:
        """The contract pays what has come into the audit pool; where that is too little it is asked again next epoch."""
        history = self._history
        if not self._network.deployment.params.scores.reward:
            return
        for epoch in sorted(history.now.standing, reverse=True)[:RING]:
            posting = history.now.standing[epoch]
            if posting.poster != self._owner:
                continue
            place = history.scores.ring(epoch)
            if place.state in (RootState.POSTED, RootState.SHOWN) and now >= place.active_at:
                yield Act("reward", partial(history.scores.claim_reward, self._signer, posting))
