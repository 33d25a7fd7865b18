"""Every table of scores that follows from the chain's events: what a poster posts, and what a watcher holds a root against.

Events are read once; those of the newest blocks again, since a chain may take them back. A table that makes a posted root is
kept by that root, which nothing can change.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from incentives.chain_types import Chain, Contract, Event
from incentives.deployment import Deployment
from incentives.epochs import RING, Clocks, EpochEvidence, build, epochs_added
from incentives.errors import ScoreTableError
from incentives.evidence import evidence_by_epoch
from incentives.reliability import Reliability, RootState, posting_of
from incentives.score_challenges import Case
from incentives.score_tree import NO_POSTING, Posting, ScoreTable, parse_rows
from verification.addresses import Address, to_address

MAY_CHANGE_BLOCKS = 64
"""How many of the newest blocks are read again each time."""
CONTRACTS = ("Reliability", "Evidence", "Court")
MAX_TABLES = 64


@dataclass(frozen=True, slots=True)
class Moment:
    """What the events say so far."""

    enrolments: tuple[tuple[int, Address, int], ...]
    """(epoch, node, tickets from then on), in order."""
    evidence: Mapping[int, EpochEvidence]
    standing: Mapping[int, Posting]
    """The posting of each epoch that was not rejected, whether or not it counts."""
    shown: Mapping[int, bytes]
    """The rows that were shown for an epoch's posting."""

    def stakes(self, epoch: int | None = None) -> dict[Address, int]:
        """The tickets of each node at the end of an epoch; by default those of now."""
        found = {node: tickets for at, node, tickets in self.enrolments if epoch is None or at <= epoch}
        return {node: tickets for node, tickets in found.items() if tickets}


@dataclass
class _Reader:
    """One contract's events, from its creation on."""

    contract: Contract
    first_block: int
    next_block: int = field(init=False)
    settled: list[Event] = field(init=False)

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.next_block, self.settled = self.first_block, []

    def read(self, chain: Chain, head: int) -> list[Event]:
        """All of them. Raises: ChainError, and nothing is lost then."""
        fresh = chain.all_events(self.contract, self.next_block)
        safe = head - MAY_CHANGE_BLOCKS
        events = self.settled + fresh
        if safe >= self.next_block:
            self.settled = [event for event in events if event.block <= safe]
            self.next_block = safe + 1
        return events


class ScoreHistory:
    """The tables of one deployment. Not for several threads at once."""

    def __init__(self, chain: Chain, deployment: Deployment) -> None:
        self._chain = chain
        self.scores = Reliability(chain, deployment.contract("Reliability"))
        self.clocks: Clocks = deployment.params.clocks
        self._readers = [_Reader(deployment.contract(name), deployment.record(name).block) for name in CONTRACTS]
        self._genesis: int | None = None
        self._tables: dict[bytes, ScoreTable] = {}
        self.now = Moment((), {}, {}, {})

    @property
    def genesis(self) -> int:
        """The first second of epoch 1. Raises: ChainError the first time."""
        if self._genesis is None:
            self._genesis = self.scores.end_of(0)
        return self._genesis

    @property
    def calm_s(self) -> int:
        """Seconds after an epoch's end in which nobody posts or judges: its last blocks, which decide, may be taken back."""
        return self.clocks.exclusive // 4

    def end_of(self, epoch: int) -> int:
        """When an epoch is over."""
        return self.genesis + epoch * self.clocks.epoch

    def epoch_at(self, timestamp: int) -> int:
        """The number of the epoch that runs then; the first is 1."""
        return (timestamp - self.genesis) // self.clocks.epoch + 1

    def refresh(self, head: int | None = None) -> Moment:
        """Read what is new; head: the newest block's number, where the caller has just asked. Raises: ChainError."""
        head = self._chain.head().number if head is None else head
        scores, evidence, court = (reader.read(self._chain, head) for reader in self._readers)
        self.now = Moment(
            tuple(
                (int(event.args["epoch"]), to_address(event.args["node"]), int(event.args["stake"]))
                for event in scores
                if event.name == "Enrolled"
            ),
            evidence_by_epoch(_named(evidence, "Credited"), _named(court, "Convicted")),
            *_postings(scores),
        )
        return self.now

    def forget(self) -> None:
        """Read all events again at the next refresh: some were left out, and old ones are not asked for twice."""
        for reader in self._readers:
            reader.forget()

    def serving(self, at: int) -> Posting | None:
        """The root that counts at a time, by what is known so far; at the end of an epoch the one that its own continues.

        The newest block need not be of that time: a chain where nothing happens may have no younger one.
        """
        newest = sorted(self.now.standing, reverse=True)
        for epoch in [each for each in newest if self.end_of(each) < at][: RING + 1]:
            place = self.scores.ring(epoch)
            if place.state not in (RootState.NONE, RootState.DEMANDED) and place.active_at <= at:
                return self.now.standing[epoch]
        return None

    def table(self, posting: Posting) -> ScoreTable | None:
        """The leaves of a standing root; None where it is not what follows from the events, nor were its leaves shown."""
        line = self._line(posting)
        for each in reversed(line):
            if each.root not in self._tables and not self._learn(each):
                return None
        return self._tables.get(posting.root) if line else None

    def _line(self, posting: Posting) -> list[Posting]:
        """The posting and those that it continues, back to one whose table is known; empty where one of them is gone."""
        line = [posting]
        while line[-1].root not in self._tables and line[-1].base:
            before = self.now.standing.get(line[-1].base)
            if before is None:
                return []
            line.append(before)
        return line

    def _learn(self, posting: Posting) -> bool:
        honest = self.honest(posting.epoch, self.now.standing.get(posting.base))
        for table in (honest, self.shown(posting)):
            if table is not None and table.root == posting.root:
                self._tables[posting.root] = table
                if len(self._tables) > MAX_TABLES:
                    del self._tables[next(iter(self._tables))]
                return True
        return False

    def honest(self, epoch: int, base: Posting | None) -> ScoreTable | None:
        """The table that belongs into an epoch on top of a root; None where the leaves of that root are not known."""
        before = self._tables.get(base.root) if base is not None else None
        if base is not None and before is None:
            return None
        added = epochs_added(base.epoch if base else 0, epoch)
        lapsed = added.start - (base.epoch if base else 0) - 1
        evidence = [self.now.evidence.get(each, {}) for each in added]
        return build(self.now.stakes(epoch), before, evidence, self.end_of(epoch), self.clocks, lapsed)

    def shown(self, posting: Posting) -> ScoreTable | None:
        """The leaves that somebody has shown for a root."""
        rows = self.now.shown.get(posting.epoch)
        try:
            return None if rows is None else parse_rows(rows, self.end_of(posting.epoch))
        except ScoreTableError:
            return None

    def case(self, posting: Posting) -> Case | None:
        """A posted root beside what belongs there; None where the root that it continues is not known."""
        base = self.now.standing.get(posting.base)
        before = self.table(base) if base is not None else None
        honest = self.honest(posting.epoch, base)
        if (posting.base and before is None) or honest is None:
            return None
        ends_at = self.end_of(posting.epoch)
        return Case(posting, honest, ends_at, self.clocks, base or NO_POSTING, before)


def _named(events: Iterable[Event], name: str) -> list[Event]:
    return [event for event in events if event.name == name]


def _postings(events: Iterable[Event]) -> tuple[dict[int, Posting], dict[int, bytes]]:
    """The standing postings, and the rows shown for them."""
    standing: dict[int, Posting] = {}
    shown: dict[int, bytes] = {}
    for event in events:
        if event.name == "EpochPosted":
            posting = posting_of(event)
            standing[posting.epoch] = posting
            shown.pop(posting.epoch, None)
        elif event.name == "EpochRejected":
            standing.pop(int(event.args["epoch"]), None)
            shown.pop(int(event.args["epoch"]), None)
        elif event.name == "LeavesShown":
            shown[int(event.args["epoch"])] = bytes(event.args["rows"])
    return standing, shown
