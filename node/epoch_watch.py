"""Holding posted roots against what follows from the chain: a lie is proven, or its leaves demanded until it is void.

Who proves or demands is paid for it: `EpochRoots` fetches what the stakes owe to the node's key.
"""

import logging
from collections.abc import Iterator
from functools import partial

from incentives.chain_types import Sent
from incentives.reliability import Demand, RingPlace, RootState
from incentives.score_challenges import Challenge, find_challenge
from incentives.score_history import ScoreHistory
from incentives.score_tree import Posting, ScoreTable
from incentives.signing import Signer
from node.epoch_act import Act
from node.epoch_proof import EpochProof
from node.network import Network
from verification.addresses import Address

log = logging.getLogger(__name__)


class EpochWatch:
    """What a node does about the roots of others, and about demands for leaves."""

    def __init__(self, network: Network, history: ScoreHistory, signer: Signer, owner: Address) -> None:
        self._network, self._history = network, history
        self._signer, self._owner = signer, owner
        self._proof = EpochProof(network, history, signer)
        self._sound: bytes = b""
        """The newest root that was found to be right."""
        self._unknown = 0

    @property
    def is_waiting(self) -> bool:
        """Whether the next look must not be spared, even if nothing happens on the chain."""
        return self._proof.is_waiting

    def due(self, now: int) -> Iterator[Act]:
        """What to send now. Raises: ChainError, ScoreTableError."""
        epoch = self._history.epoch_at(now) - 1
        self._proof.is_waiting = False
        yield from self._bond(epoch, now)
        posting = self._history.now.standing.get(epoch)
        if posting is None or now < self._history.end_of(epoch) + self._history.calm_s:
            return
        place = self._history.scores.ring(epoch)
        if place.state is RootState.DEMANDED:
            yield from self._demanded(posting, now)
        if place.state is not RootState.NONE and (now < place.active_at or place.state is RootState.DEMANDED):
            yield from self._judged(posting, place, now)

    def _judged(self, posting: Posting, place: RingPlace, now: int) -> Iterator[Act]:
        if posting.root == self._sound:
            return
        case = self._history.case(posting)
        if case is None:
            if self._unknown != posting.epoch:
                self._unknown = posting.epoch
                self._history.forget()  # once: an endpoint may have left logs out
                log.warning(
                    "the root of epoch %d continues leaves that are not known: it cannot be judged", posting.epoch
                )
            return
        found = find_challenge(case, self._history.shown(posting))
        if found is None:
            self._sound = posting.root
        elif found.function != "demand":
            demanded = place.state is RootState.DEMANDED  # it counts later, and not before its leaves are there
            until = self._history.end_of(posting.epoch + 1) if demanded else place.active_at
            yield from self._proof.due(found, posting, until - now)
        elif place.state is RootState.POSTED:
            yield Act("demand", partial(self._demand, found))

    def _demand(self, found: Challenge) -> Sent | None:
        scores, token = self._history.scores, self._network.token
        bond = self._network.deployment.params.scores.demand_bond
        if token.balance_of(self._signer.address) < bond:
            log.error(
                "a posted root is wrong, and %s has no %d to demand its leaves: send it some",
                self._signer.address,
                bond,
            )
            return None
        token.ensure_allowance(self._signer, scores.contract.address, bond)
        return scores.challenge(self._signer, found)

    def _demanded(self, posting: Posting, now: int) -> Iterator[Act]:
        """Leaves that are known are shown: by the poster at once, by others when half of the time is over."""
        demand = self._history.scores.demand_of(posting.epoch)
        if demand is None:
            return
        if now >= demand.deadline:  # also where the bond is back already
            yield Act("expire", partial(self._history.scores.expire, self._signer, posting))
        elif (table := self._known(posting)) is not None and self._is_turn(posting, demand, now):
            yield Act("show", partial(self._history.scores.show, self._signer, posting, table))

    def _is_turn(self, posting: Posting, demand: Demand, now: int) -> bool:
        return posting.poster == self._owner or now >= demand.deadline - self._history.clocks.response // 2

    def _known(self, posting: Posting) -> ScoreTable | None:
        """The leaves of a root that is right."""
        table = self._history.table(posting)
        return table if table is not None and table.root == posting.root else None

    def _bond(self, epoch: int, now: int) -> Iterator[Act]:
        """One's own bond, for leaves that nobody has shown: of the last epoch, or the one before."""
        for each in (epoch, epoch - 1):
            demand = self._history.scores.demand_of(each) if each > 0 else None
            if demand is not None and demand.demander == self._signer.address and 0 < demand.deadline <= now:
                yield Act("recover", partial(self._history.scores.recover, self._signer, each))
