"""What belongs into an epoch's table of scores: from plain records of evidence to leaves, the same for everybody.

Evidence counts in the epoch in which the chain recorded it. A table depends only on the records, the enrolled stakes and
the table that it continues; contracts/src/Reliability.sol judges single leaves by the same rules.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from incentives.errors import ScoreTableError
from incentives.score_tree import MAX_QOS, Entry, ScoreTable, table_of
from incentives.scores import MAX_MASS, ONE, Masses, credit_of, kept
from verification.addresses import Address

RING = 8
"""How many epochs the contract remembers, and the most whose evidence one table adds."""
MAX_FAULTS_COUNTED = 2**8 - 1


@dataclass(frozen=True, slots=True)
class Clocks:
    """The contract's times, in seconds, as its constructor takes them.

    In the first `exclusive` seconds after an epoch only the drawn node may post its root, until `posting` any bonded one; a root
    counts after `activation`, and demanded leaves must be shown within `response`. All of it has to fit into one epoch.
    """

    epoch: int
    exclusive: int
    posting: int
    activation: int
    response: int
    half_life: int

    @property
    def path(self) -> int:
        """From an epoch's end until its root is decided, whatever anybody does."""
        return self.posting + 2 * self.activation + self.response

    @property
    def words(self) -> tuple[int, int, int, int, int, int]:
        return (self.epoch, self.exclusive, self.posting, self.activation, self.response, self.half_life)


DAY, HOUR = 86_400, 3_600
MAINNET_CLOCKS = Clocks(DAY, 2 * HOUR, 4 * HOUR, 6 * HOUR, 4 * HOUR, 14 * DAY)
TESTNET_CLOCKS = Clocks(30, 3, 8, 6, 6, 14 * 30)


@dataclass(frozen=True, slots=True)
class AuditedWork:
    """Work of one node that was audited without complaint, and what its payer settled to the node for it."""

    epoch: int
    node: Address
    payer: Address
    fee: int


@dataclass(frozen=True, slots=True)
class ProvenFault:
    """A fault that the Court found."""

    epoch: int
    node: Address


@dataclass(frozen=True, slots=True)
class Measured:
    """One reporter's figure for a node's quality of service, in ten-thousandths, and the reporter's stake."""

    epoch: int
    node: Address
    reporter: Address
    qos: int
    stake: int


Record = AuditedWork | ProvenFault | Measured


@dataclass(frozen=True, slots=True)
class CreditRule:
    """fee_unit: what one unit of evidence costs; cap: the most that one payer gives one node in an epoch, in Q16.16."""

    fee_unit: int
    cap: int = 4 * ONE


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that an epoch adds to one node: credit in Q16.16, number of faults, quality (0: nobody has measured)."""

    credit: int = 0
    faults: int = 0
    qos: int = 0


EpochEvidence = Mapping[Address, Evidence]
"""One epoch's evidence by node."""


def tally(records: Iterable[Record], epoch: int, rule: CreditRule) -> dict[Address, Evidence]:
    """The evidence of one epoch; records of others are left out.

    Who pays himself gets nothing for it, and each payer counts up to the cap only. Raises: ValueError for negative fees.
    """
    fees: dict[tuple[Address, Address], int] = defaultdict(int)
    faults: dict[Address, int] = defaultdict(int)
    figures: dict[Address, dict[Address, Measured]] = defaultdict(dict)
    for record in records:
        if record.epoch != epoch:
            continue
        if isinstance(record, AuditedWork):
            fees[record.node, record.payer] += record.fee
        elif isinstance(record, ProvenFault):
            faults[record.node] += 1
        else:
            figures[record.node][record.reporter] = record
    credits: dict[Address, int] = defaultdict(int)
    for (node, payer), fee in fees.items():
        credits[node] += credit_of(fee, rule.fee_unit, rule.cap) if payer != node else 0
    return {
        node: Evidence(
            min(credits[node], MAX_MASS), min(faults[node], MAX_FAULTS_COUNTED), quality(list(figures[node].values()))
        )
        for node in {*credits, *faults, *figures}
    }


def quality(figures: Sequence[Measured]) -> int:
    """The highest figure that reporters with at least half of the reporting stake support; 0 without reporters.

    Who reports something else than most stake does moves nothing. A node does not report on itself. Source: the
    clipped weights of Yuma consensus, kappa = 1/2.
    """
    valid = [each for each in figures if each.reporter != each.node and each.stake > 0 and 0 < each.qos <= MAX_QOS]
    supported, needed = 0, sum(each.stake for each in valid)
    for each in sorted(valid, key=lambda figure: -figure.qos):
        supported += each.stake
        if 2 * supported >= needed:
            return each.qos
    return 0


def epochs_added(base: int, epoch: int) -> range:
    """The epochs whose evidence the table of `epoch` adds to that of `base` (0: to none): those since, eight at most.

    Raises: ScoreTableError for a base that does not come before.
    """
    if not 0 <= base < epoch:
        raise ScoreTableError(f"epoch {epoch} cannot continue epoch {base}: take an earlier one")
    return range(max(base + 1, epoch - RING + 1), epoch + 1)


def build(
    stakes: Mapping[Address, int],
    before: ScoreTable | None,
    added: Sequence[EpochEvidence],
    ends_at: int,
    clocks: Clocks,
    lapsed: int = 0,
) -> ScoreTable:
    """The table of an epoch.

    stakes: the tickets of every enrolled node at its end. before: the table it continues. added: the evidence of each epoch since,
    in order, this one's last. ends_at: the epoch's end on the chain's clock. lapsed: epochs between `before` and the first that was
    added, in which masses faded. Raises: ScoreTableError.
    """
    factor = kept(clocks.epoch, clocks.half_life)
    gap = kept(lapsed * clocks.epoch, clocks.half_life)
    old = {leaf.node: Entry(leaf.width, leaf.masses.decayed(gap), leaf.qos) for leaf in before.leaves} if before else {}
    entries = {}
    for node, stake in stakes.items():
        start = old.get(node, Entry(0, Masses(), 0))
        masses, qos = start.masses, start.qos
        for evidence in (each.get(node, Evidence()) for each in added):
            masses = masses.decayed(factor).updated(evidence.credit, evidence.faults)
            qos = evidence.qos or qos
        entries[node] = Entry(stake, masses, qos)
    return table_of({node: entry for node, entry in entries.items() if entry.stake}, ends_at)
