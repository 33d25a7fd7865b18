"""Proving a lie in a posted root: first a commitment, at a later look the proof with its finder, who gets the fee. Where the time
for both is short the proof goes out at once, for nobody's fee: no lie comes to count because somebody wants to be paid.

A node that starts again commits anew.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from incentives.chain_types import Sent
from incentives.errors import Reverted
from incentives.score_challenges import NO_SALT, Challenge, evidence_commitment
from incentives.score_history import ScoreHistory
from incentives.score_tree import NO_POSTING, Posting
from incentives.signing import Signer
from node.epoch_act import Act, seconds_between_looks
from node.network import Network

LOOKS_TO_SPARE = 2
"""So many must be left to wait for another one."""
SPARE_PARTS = 4
"""And one such part of the activation time: a transaction may take long where everybody sends some."""


@dataclass(frozen=True, slots=True)
class Pledge:
    """What this node has committed to, or is about to."""

    posting: Posting = NO_POSTING
    salt: bytes = NO_SALT


class EpochProof:
    """How a node brings what it has found. The finder is the node's key, to which `EpochRoots` has fees paid out."""

    def __init__(self, network: Network, history: ScoreHistory, signer: Signer) -> None:
        self._network, self._scores, self._signer = network, history.scores, signer
        clocks = history.clocks
        self._spare = max(LOOKS_TO_SPARE * seconds_between_looks(clocks), clocks.activation / SPARE_PARTS)
        self._pledge = Pledge()
        self.is_waiting = False
        """Whether the next look must not be spared: a commitment is getting old."""

    def due(self, found: Challenge, posting: Posting, left: int) -> Iterator[Act]:
        """What to send now. left: seconds in which the root can still be challenged. Raises: ChainError."""
        pledge = self._pledged(posting)
        commitment = evidence_commitment(self._signer.address, posting, pledge.salt)
        since = self._scores.committed_at(commitment)
        if 0 < since < self._network.chain.head().timestamp:
            yield Act(found.function, partial(self._prove, found, pledge))
        elif left < self._spare:
            yield Act(found.function, partial(self._scores.challenge, self._signer, found))
        else:
            self.is_waiting = True
            if not since:
                yield Act("commit", partial(self._scores.commit, self._signer, commitment))

    def _pledged(self, posting: Posting) -> Pledge:
        """One for each root; only the last is kept, since one root at a time can be challenged."""
        if self._pledge.posting != posting:
            self._pledge = Pledge(posting, secrets.token_bytes(len(NO_SALT)))
        return self._pledge

    def _prove(self, found: Challenge, pledge: Pledge) -> Sent:
        try:
            return self._scores.challenge(self._signer, found, self._signer.address, pledge.salt)
        except Reverted as error:
            if error.name != "CommitmentNotRipe":
                raise
            return self._scores.challenge(self._signer, found)  # it is too old, or the chain took its block back
