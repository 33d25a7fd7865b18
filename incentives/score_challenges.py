"""Finding the lie in a posted root, and the proof to send: the challenger's side of contracts/src/Reliability.sol.

Everybody can make the table that belongs into an epoch. A root that differs from it is wrong; what remains is to find a leaf
that shows it, and where nothing can be shown, to demand the leaves.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from incentives.epochs import Clocks
from incentives.score_tree import (
    EDGE,
    NO_POSTING,
    NOBODY,
    Gap,
    Leaf,
    Posting,
    Proven,
    ScoreTable,
    drawn_ticket,
    first_conflict,
)
from sharding.hashing import HASH_BYTES, keccak256
from verification.addresses import Address, address_bytes
from verification.typed_data import address_word

NO_SALT = bytes(HASH_BYTES)


@dataclass(frozen=True, slots=True)
class Challenge:
    """One call of the contract that has the root rejected; `demand` is the one that only asks for its leaves."""

    function: str
    arguments: tuple[Any, ...]

    def words(self, finder: Address = NOBODY, salt: bytes = NO_SALT) -> tuple[Any, ...]:
        """What the contract takes. finder: who has committed with the salt and gets the fee; a demand has none."""
        return self.arguments if self.function == "demand" else (*self.arguments, finder, salt)


@dataclass(frozen=True, slots=True)
class Case:
    """A posted root beside what belongs there. ends_at: the epoch's end; base and before: what it continues, if anything."""

    posting: Posting
    honest: ScoreTable
    ends_at: int
    clocks: Clocks
    base: Posting = NO_POSTING
    before: ScoreTable | None = None


def find_challenge(case: Case, shown: ScoreTable | None = None) -> Challenge | None:
    """What to send against the root; None where nothing is wrong with it.

    shown: the leaves that the poster has let out, if any. Leaves that do not make the root are as good as none.
    """
    posting = case.posting.words
    if case.posting.total != case.honest.total:
        return Challenge("challengeTotal", (posting,))
    drawn = _drawn(case)
    if drawn is not None:
        return Challenge("challengeDraw", (posting, case.base.words, *drawn.words))
    if case.posting.root == case.honest.root:
        return None
    if shown is not None and shown.root == case.posting.root:
        return next(_proofs(case, shown), Challenge("demand", (posting,)))
    return Challenge("demand", (posting,))


def evidence_commitment(finder: Address, posting: Posting, salt: bytes) -> bytes:
    """What a finder commits to, at least one second before the challenge and at most a day.

    salt: 32 random bytes, which hide the root that it is about until the challenge; what is wrong with it anybody can see.
    """
    return keccak256(address_word(finder) + keccak256(posting.data + salt))


def _drawn(case: Case) -> Proven | None:
    """The leaf of the node that was drawn, where another one has posted in its time."""
    late = case.posting.posted_at >= case.ends_at + case.clocks.exclusive
    if case.before is None or late:
        return None
    drawn = case.before.holder(drawn_ticket(case.base, case.posting.epoch))
    return drawn if drawn.leaf.node != case.posting.poster else None


def _proofs(case: Case, shown: ScoreTable) -> Iterator[Challenge]:
    """Every kind of proof that the leaves give, the cheapest to judge first."""
    posting = case.posting.words
    conflict = first_conflict(shown.leaves)
    if conflict is not None:
        x, y = (shown.proven(index) for index in conflict)
        yield Challenge("challengeOrder", (posting, *x.words, *y.words))
    for index, leaf in enumerate(shown.leaves):
        if not _is_as_due(case, leaf):
            before = (case.before.gap(leaf.node) if case.before else Gap()).words
            yield Challenge("challengeLeaf", (posting, *shown.proven(index).words, case.base.words, before))
    for node in sorted({leaf.node for leaf in case.honest.leaves} - {leaf.node for leaf in shown.leaves}):
        gap = _omission(shown, node, case.posting.total)
        if gap is not None:
            yield Challenge("challengeOmission", (posting, node, gap.words))


def _is_as_due(case: Case, leaf: Leaf) -> bool:
    """Whether all but the place of the tickets is right, which other leaves decide."""
    due = case.honest.find(leaf.node)
    if due is None:
        return False
    inside = 0 <= leaf.stake_from < leaf.stake_to <= case.posting.total
    same = (leaf.width, leaf.masses, leaf.qos, leaf.as_of) == (
        due.leaf.width, due.leaf.masses, due.leaf.qos, due.leaf.as_of,
    )  # fmt: skip
    return inside and same


def _omission(shown: ScoreTable, node: Address, total: int) -> Gap | None:
    """The neighbours that leave no room for the node; None where the tickets between them are nobody's."""
    key = address_bytes(node)
    order = sorted(range(len(shown.leaves)), key=lambda i: address_bytes(shown.leaves[i].node))
    lower = [i for i in order if address_bytes(shown.leaves[i].node) < key]
    upper = [i for i in order if address_bytes(shown.leaves[i].node) > key]
    below = shown.proven(lower[-1]) if lower else Proven(EDGE)
    above = shown.proven(upper[0]) if upper else Proven(EDGE)
    touching = below.leaf.stake_to == (above.leaf.stake_from if upper else total)
    return Gap(below, above) if touching else None
