"""The table of scores in plain integers: who is in it, which root counts, what is owed; every refusal by its name."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from incentives.epochs import RING, build, epochs_added
from incentives.score_tree import NO_POSTING, Posting, ScoreTable, drawn_ticket, parse_rows
from incentives.scores import Masses
from tests.contracts.evidence_model import WHOLE, Known
from tests.contracts.score_world import BOND, CLOCKS, REWARD
from tests.contracts.stakes_model import Node
from tests.contracts.world import GRAVE, MAX_FEE, MIN_STAKE
from verification.addresses import Address, address_bytes

POSTED, DEMANDED, SHOWN, REWARDED, REJECTED = range(1, 6)


@dataclass(eq=False)
class Standing:
    """A root that was posted, what it was made of and continues, and how it stands."""

    posting: Posting
    table: ScoreTable
    base: Posting
    before: ScoreTable | None
    is_sound: bool
    active_at: int
    state: int = POSTED

    @property
    def epoch(self) -> int:
        return self.posting.epoch


@dataclass
class Model:
    """Acts are told by their second and return the name of their refusal, or "" when they are done."""

    genesis: int
    nodes: Mapping[Address, Node]
    known: Known
    enrolments: dict[Address, list[tuple[int, int]]] = field(default_factory=dict)
    """By node: from which epoch on it has so many tickets."""
    ring: dict[int, Standing] = field(default_factory=dict)
    posted: list[Standing] = field(default_factory=list)
    bonds: dict[int, tuple[Address, int]] = field(default_factory=dict)
    """By epoch: who demanded leaves, and until when they have to be shown."""
    demanders: dict[int, Address] = field(default_factory=dict)
    """By epoch, also when the bond is back: who has the fee if they are not shown."""
    credits: Counter[str] = field(default_factory=Counter)
    fees: Counter[str] = field(default_factory=Counter)
    """What slashes owe to finders and to the grave."""
    held: int = 0

    def epoch_at(self, now: int) -> int:
        return (now - self.genesis) // CLOCKS.epoch + 1

    def end_of(self, epoch: int) -> int:
        return self.genesis + epoch * CLOCKS.epoch

    def enrol(self, now: int, node: Address) -> str:
        bonded, epoch = self.nodes[node].bonded, self.epoch_at(now)
        if bonded == self.stake_at(epoch, node):
            return "NothingToEnrol"
        self.enrolments.setdefault(node, []).append((epoch, bonded))
        return ""

    def stake_at(self, epoch: int, node: Address) -> int:
        known = [stake for since, stake in self.enrolments.get(node, ()) if since <= epoch]
        return known[-1] if known else 0

    def stakes(self, epoch: int) -> dict[Address, int]:
        found = {node: self.stake_at(epoch, node) for node in self.nodes}
        return {node: stake for node, stake in found.items() if stake}

    def honest(self, now: int, epoch: int) -> ScoreTable:
        """What belongs into a root that is posted now."""
        base = self.latest(now, epoch)
        return self._table(epoch, base.epoch if base else 0, base.table if base else None, self.stakes(epoch))

    def due(self, one: Standing) -> ScoreTable:
        """What belonged into that root."""
        return self._table(one.epoch, one.base.epoch, one.before, self.stakes(one.epoch))

    def _table(self, epoch: int, base: int, before: ScoreTable | None, stakes: Mapping[Address, int]) -> ScoreTable:
        added = epochs_added(base, epoch)
        evidence = [{node: self.known.of(each, node) for node in stakes} for each in added]
        return build(stakes, before, evidence, self.end_of(epoch), CLOCKS, added.start - base - 1)

    def post(self, now: int, epoch: int, table: ScoreTable, total: int, who: Address, node: Address) -> str:
        """`who` sends it for the node."""
        end = self.end_of(epoch)
        if epoch == 0 or now < end:
            return "EpochUnfinished"
        if now >= end + CLOCKS.posting:
            return "PostingClosed"
        if total == 0 or self._is_taken(epoch):
            return "EpochTaken" if total else "TableEmpty"
        if who != node or self.nodes[node].bonded < MIN_STAKE:
            return "StakeGone" if who == node else "NotNode"
        base = self.latest(now, epoch)
        if base and (epoch - base.epoch) % RING == 0:
            return "SlotNeeded"
        posting = Posting(epoch, base.epoch if base else 0, now, node, total, table.root)
        before = (base.posting, base.table) if base else (NO_POSTING, None)
        sound = self._is_sound(posting, self.honest(now, epoch), base)
        self.ring[epoch % RING] = Standing(posting, table, *before, sound, now + CLOCKS.activation)
        self.posted.append(self.ring[epoch % RING])
        return ""

    def _is_taken(self, epoch: int) -> bool:
        slot = self.ring.get(epoch % RING)
        return slot is not None and slot.epoch == epoch and slot.state != REJECTED

    def _is_sound(self, posting: Posting, honest: ScoreTable, base: Standing | None) -> bool:
        early = base is not None and posting.posted_at < self.end_of(posting.epoch) + CLOCKS.exclusive
        if early and base and drawn(base.posting, base.table, posting.epoch) != posting.poster:
            return False
        return (posting.root, posting.total) == (honest.root, honest.total)

    def counts(self, now: int, one: Standing) -> bool:
        return self.stands(one) and one.state != DEMANDED and now >= one.active_at

    def latest(self, now: int, before: int = 2**24) -> Standing | None:
        """Of those that count, from an epoch before that one."""
        found = [one for one in self.ring.values() if one.epoch < before and self.counts(now, one)]
        return max(found, key=lambda one: one.epoch, default=None)

    def stands(self, one: Standing) -> bool:
        return one.state != REJECTED and self.ring.get(one.epoch % RING) is one

    def is_open(self, now: int, one: Standing) -> bool:
        """To challenges."""
        return now < one.active_at or (one.state == DEMANDED and self.epoch_at(now) == one.epoch + 1)

    def demand(self, now: int, one: Standing, who: Address) -> str:
        if not self.stands(one):
            return "PostingUnknown"
        if one.state != POSTED or now >= one.active_at:
            return "TooLate"
        self._release(one.epoch)
        self.bonds[one.epoch], self.demanders[one.epoch] = (who, now + CLOCKS.response), who
        self.held += BOND
        one.state = DEMANDED
        return ""

    def _release(self, epoch: int) -> None:
        if epoch in self.bonds:
            self.credits[self.bonds.pop(epoch)[0]] += BOND

    def _deadline(self, epoch: int) -> int:
        return self.bonds[epoch][1] if epoch in self.bonds else 0

    def show(self, now: int, one: Standing, rows: bytes, who: Address) -> str:
        if not self.stands(one) or one.state != DEMANDED:
            return "NotDemanded" if self.stands(one) else "PostingUnknown"
        if now >= self._deadline(one.epoch):
            return "TooLate"
        if self.root_of(rows, one.epoch) != (one.posting.root, one.posting.total):
            return "LeavesForeign"
        one.state, one.active_at = SHOWN, now + CLOCKS.activation
        del self.bonds[one.epoch], self.demanders[one.epoch]
        self.credits[who] += BOND
        return ""

    def root_of(self, rows: bytes, epoch: int) -> tuple[bytes, int]:
        """Of leaves that are shown; of none where they are not in the order of the nodes."""
        shown = parse_rows(rows, self.end_of(epoch))
        keys = [address_bytes(leaf.node) for leaf in shown.leaves]
        return (shown.root, shown.total) if keys == sorted(set(keys)) else (bytes(32), 0)

    def expire(self, now: int, one: Standing) -> str:
        if not self.stands(one) or one.state != DEMANDED:
            return "NotDemanded" if self.stands(one) else "PostingUnknown"
        if now < self._deadline(one.epoch):
            return "DeadlineAhead"
        self._reject(one, self.demanders[one.epoch])
        return ""

    def recover(self, now: int, epoch: int) -> str:
        if epoch not in self.bonds or now < self._deadline(epoch):
            return "DeadlineAhead" if epoch in self.bonds else "NotDemanded"
        self._release(epoch)
        return ""

    def challenge(self, now: int, one: Standing, wrong: bool, finder: Address | None = None, ripe: bool = True) -> str:
        """`wrong`: what is shown is a lie. `ripe`: the finder, if there is one, has committed to it."""
        if not self.stands(one):
            return "PostingUnknown"
        if not self.is_open(now, one) or not wrong:
            return "NothingWrong" if self.is_open(now, one) else "TooLate"
        if finder and not ripe:
            return "CommitmentNotRipe"
        self._reject(one, finder)
        return ""

    def _reject(self, one: Standing, finder: Address | None) -> None:
        one.state = REJECTED
        self.slash(one.posting.poster, WHOLE, finder)

    def slash(self, node: Address, bps: int, finder: Address | None = None) -> None:
        """A finder gets three tenths, at most MAX_FEE; the rest is the grave's. Nothing where no stake is left."""
        before = self.nodes[node].taken
        self.nodes[node].slash(bps)
        taken = self.nodes[node].taken - before
        fee = min(taken * 3 // 10, MAX_FEE) if finder else 0
        self.fees.update({str(finder): fee, GRAVE: taken - fee})

    def is_drawn_wrong(self, one: Standing, at: int) -> bool:
        """Whether leaf `at` of the table that is continued shows that its node should have posted, and still could."""
        late = one.posting.posted_at >= self.end_of(one.epoch) + CLOCKS.exclusive
        if one.before is None or late:
            return False
        node = one.before.leaves[at].node
        return drawn(one.base, one.before, one.epoch) == node != one.posting.poster

    def is_leaf_wrong(self, one: Standing, at: int) -> bool:
        leaf = one.table.leaves[at]
        inside = leaf.stake_from < leaf.stake_to <= one.posting.total
        due = inside and leaf.width == self.stake_at(one.epoch, leaf.node) and leaf.as_of == self.end_of(one.epoch)
        return not due or (leaf.masses, leaf.qos) != self._earned(one, leaf.node)

    def _earned(self, one: Standing, node: Address) -> tuple[Masses, int]:
        leaf = self._table(one.epoch, one.base.epoch, one.before, {node: 1}).leaves[0]
        return leaf.masses, leaf.qos

    def claim_reward(self, now: int, one: Standing) -> str:
        if not self.stands(one):
            return "PostingUnknown"
        if not self.counts(now, one) or one.state == REWARDED:
            return "TooLate" if self.counts(now, one) else "EpochInactive"
        if self.spare < REWARD:
            return "RewardUnfunded"
        one.state = REWARDED
        self.credits[one.posting.poster] += REWARD
        return ""

    @property
    def owed(self) -> int:
        return sum(self.credits.values()) + BOND * len(self.bonds)

    @property
    def spare(self) -> int:
        return self.held - self.owed

    def withdraw(self, who: Address) -> str:
        if not self.credits[who]:
            return "NothingToWithdraw"
        self.held -= self.credits.pop(who)
        return ""


def drawn(base: Posting, table: ScoreTable, epoch: int) -> Address:
    """Who posts the root of an epoch that continues a table."""
    return table.holder(drawn_ticket(base, epoch)).leaf.node
