"""The Reliability contract: enrolling, posting and challenging roots, and reading the scores that count."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from incentives.chain_types import Chain, Contract, Event, Sent
from incentives.epochs import RING, Clocks
from incentives.score_challenges import NO_SALT, Challenge
from incentives.score_tree import NOBODY, Posting, Proven, ScoreTable
from incentives.signing import Signer
from verification.addresses import Address, to_address


@dataclass(frozen=True, slots=True)
class Published:
    """What a root says of a node: score and quality of service, both in ten-thousandths."""

    score: int
    qos: int


class RootState(IntEnum):
    """Of an epoch's root."""

    NONE = 0
    POSTED = 1
    DEMANDED = 2
    SHOWN = 3
    REWARDED = 4


@dataclass(frozen=True, slots=True)
class RingPlace:
    """An epoch's root: it counts from `active_at` on, unless its leaves are demanded."""

    state: RootState
    active_at: int


@dataclass(frozen=True, slots=True)
class Demand:
    """Leaves that have to be shown before `deadline`; 0 where the bond is back, because they were not."""

    demander: Address
    deadline: int


class Reliability:
    """The Reliability contract at one address."""

    def __init__(self, chain: Chain, contract: Contract) -> None:
        self._chain, self.contract = chain, contract

    def clocks(self) -> Clocks:
        """The contract's times."""
        _, epoch, exclusive, posting, activation, response = self._chain.call(self.contract, "times")
        half_life = self._chain.call(self.contract, "halfLife")
        return Clocks(epoch, exclusive, posting, activation, response, half_life)

    def current_epoch(self) -> int:
        """The number of the running epoch, on the clock of the newest block; the first is 1."""
        return int(self._chain.call(self.contract, "currentEpoch"))

    def end_of(self, epoch: int) -> int:
        """When an epoch is over, in seconds since 1970."""
        return int(self._chain.call(self.contract, "endOf", epoch))

    def total_at(self, epoch: int) -> int:
        """All tickets at the end of an epoch, as the contract counts them; of the running epoch or the one before."""
        return int(self._chain.call(self.contract, "totalAt", epoch))

    def enrol(self, sender: Signer, node: Address) -> Sent:
        """Bring a node's tickets up to date with its bond; anybody may. Raises: Reverted (NothingToEnrol, TableFull)."""
        return self._chain.send(sender, self.contract, "enrol", node)

    def enrolled(self, epoch: int, from_block: int = 0) -> dict[Address, int]:
        """The tickets of each node at the end of an epoch; of a running one, as it stands."""
        stakes: dict[Address, int] = {}
        for event in self._chain.events(self.contract, "Enrolled", from_block):
            if event.args["epoch"] <= epoch:
                stakes[to_address(event.args["node"])] = int(event.args["stake"])
        return {node: stake for node, stake in stakes.items() if stake}

    def post(self, sender: Signer, epoch: int, table: ScoreTable, node: Address) -> Posting:
        """Post the root of the epoch that has just ended. sender: the node's owner or signer.

        Raises: Reverted (PostingClosed, EpochTaken, StakeGone, NotNode, ...).
        """
        (posting,) = _postings(self.send_root(sender, epoch, table, node).logs)
        return posting

    def send_root(self, sender: Signer, epoch: int, table: ScoreTable, node: Address) -> Sent:
        """The same, for the transaction. Raises: as post."""
        return self._chain.send(sender, self.contract, "post", epoch, table.root, table.total, node)

    def postings(self, from_block: int = 0) -> list[Posting]:
        """Every root that was ever posted, rejected or not, in order."""
        return _postings(self._chain.events(self.contract, "EpochPosted", from_block))

    def serving(self, from_block: int = 0) -> Posting | None:
        """The root that counts now; None where there is none."""
        return self.serving_of(self.postings(from_block))

    def serving_of(self, postings: Iterable[Posting]) -> Posting | None:
        """That of these which counts now, however old it is."""
        newest = {each.epoch: each for each in postings}
        latest = sorted(newest, reverse=True)[: RING + 1]
        return next((newest[epoch] for epoch in latest if self._serves(newest[epoch])), None)

    def _serves(self, posting: Posting) -> bool:
        """A rejected root is unknown to the contract; it reverts for that one."""
        state, _ = self._chain.call(self.contract, "ringOf", posting.epoch)
        return bool(state) and bool(self._chain.call(self.contract, "isServing", posting.words))

    def ring(self, epoch: int) -> RingPlace:
        """What the ring keeps of an epoch's root."""
        state, active_at = self._chain.call(self.contract, "ringOf", epoch)
        return RingPlace(RootState(state), int(active_at))

    def demand_of(self, epoch: int) -> Demand | None:
        """Who demanded an epoch's leaves; None where nobody did, or they were shown."""
        demander, deadline = self._chain.call(self.contract, "demandOf", epoch)
        return Demand(to_address(demander), int(deadline)) if to_address(demander) != NOBODY else None

    def published(self, posting: Posting, proven: Proven) -> Published:
        """What the serving root says of a node, as the contract reads it. Raises: Reverted (EpochInactive, LeafInvalid)."""
        score, qos = self._chain.call(self.contract, "scoreOf", posting.words, *proven.words)
        return Published(int(score), int(qos))

    def commit(self, sender: Signer, commitment: bytes) -> Sent:
        """Say that one knows a lie, without saying which; see evidence_commitment. Raises: Reverted (CommitmentKnown)."""
        return self._chain.send(sender, self.contract, "commit", commitment)

    def committed_at(self, commitment: bytes) -> int:
        """When that was, in seconds since 1970; 0 where it was not, or is used up."""
        return int(self._chain.call(self.contract, "committedAt", commitment))

    def challenge(self, sender: Signer, challenge: Challenge, finder: Address = NOBODY, salt: bytes = NO_SALT) -> Sent:
        """Send what find_challenge has found. A demand takes the bond from the sender, who must have approved it.

        finder: who has committed with the salt and gets the fee; without one all is burnt.
        Raises: Reverted (PostingUnknown, TooLate, NothingWrong, CommitmentNotRipe, ...).
        """
        return self._chain.send(sender, self.contract, challenge.function, *challenge.words(finder, salt))

    def show(self, sender: Signer, posting: Posting, table: ScoreTable) -> Sent:
        """Answer a demand for leaves; whoever has them may. Raises: Reverted (NotDemanded, TooLate, LeavesForeign)."""
        return self._chain.send(sender, self.contract, "show", posting.words, table.rows)

    def expire(self, sender: Signer, posting: Posting) -> Sent:
        """Have a root rejected whose leaves were not shown; the fee is the demander's.

        Raises: Reverted (NotDemanded, DeadlineAhead).
        """
        return self._chain.send(sender, self.contract, "expire", posting.words)

    def recover(self, sender: Signer, epoch: int) -> Sent:
        """Give a demander's bond back after the deadline. Raises: Reverted (NotDemanded, DeadlineAhead)."""
        return self._chain.send(sender, self.contract, "recover", epoch)

    def claim_reward(self, sender: Signer, posting: Posting) -> Sent:
        """Credit the poster of a root that counts. Raises: Reverted (EpochInactive, TooLate, RewardUnfunded)."""
        return self._chain.send(sender, self.contract, "claimReward", posting.words)

    def withdraw(self, sender: Signer) -> Sent:
        """Pay out the sender's credit. Raises: Reverted (NothingToWithdraw)."""
        return self._chain.send(sender, self.contract, "withdraw")

    def credit_of(self, account: Address) -> int:
        """What an account can withdraw."""
        return int(self._chain.call(self.contract, "creditOf", account))


def _postings(events: Iterable[Event]) -> list[Posting]:
    return [posting_of(event) for event in events if event.name == "EpochPosted"]


def posting_of(event: Event) -> Posting:
    """The root that an EpochPosted tells of."""
    args = event.args
    numbers = (int(args["epoch"]), int(args["base"]), int(args["postedAt"]))
    return Posting(*numbers, to_address(args["poster"]), int(args["total"]), args["root"])
