"""Where the bonds of a closed case and of its jurors go, in plain integers, as contracts/src/Jury.sol and lib/JuryPay.sol."""

from collections.abc import Sequence
from dataclasses import dataclass

from incentives.jury_rules import Count, Outcome, Vote, digest_of

FINE_PARTS = 100
"""The hundredth part of a juror's bond is what silence costs, and the losing side."""


@dataclass(frozen=True, slots=True)
class Round:
    """A jury of a closed case. upheld: the last word in the case was its side's; only then is anybody paid.

    One on appeal always is: where it is void it has no side, and those are paid who did the work.
    """

    said: Count
    upheld: bool
    fee: int
    bond: int

    @property
    def fines(self) -> int:
        """What the silent lose, and the losing side of a round that was upheld."""
        return (self.said.silent + (self.said.against if self.upheld else 0)) * (self.bond // FINE_PARTS)

    @property
    def fees(self) -> int:
        """What the parties owe the jury."""
        return self.said.paid * self.fee if self.upheld else 0

    @property
    def burnt(self) -> int:
        """What is left of the fines once they are shared."""
        return self.fines % self.said.paid if self.fees else self.fines

    def due(self, seat: int) -> int:
        """What a taken seat gets back."""
        vote, loss = seat & 3, self.bond // FINE_PARTS
        if vote == 0:
            return self.bond - loss
        if vote == Vote.ABSTAIN or not self.upheld:
            return self.bond
        if self.said.camp and vote != self.said.camp:
            return self.bond - loss
        if not self.said.paid or digest_of(seat) != self.said.digest:
            return self.bond
        return self.bond + self.fee + self.fines // self.said.paid


@dataclass(frozen=True, slots=True)
class Settlement:
    """Where the bonds of a closed case go. outcome: the word that counts."""

    outcome: Outcome
    accuser: int
    node: int
    burnt: int
    rounds: tuple[Round, ...]


@dataclass(frozen=True, slots=True)
class Pot:
    """What lies on the table. by_accuser: whose appeal there is; None for none."""

    bond: int
    fee: int
    vote: int
    level: int = 0
    by_accuser: bool | None = None


def settle(counts: Sequence[Count], at: Pot) -> Settlement:
    """Part the bonds: counts of the first jury, and of the second where there was an appeal (drawn or not).

    Where the second one is void the first one's word stands: the appeal's bond pays its own jurors, and the rest comes back.
    """
    first, said = counts[0], counts[-1]
    stands = at.by_accuser is not None and said.outcome == Outcome.VOID
    last = first if stands else said
    rounds = [Round(first, first.camp != 0 and first.camp == last.camp, at.fee, at.vote)]
    rounds += [Round(each, True, at.fee, at.vote) for each in counts[1:]]
    fees = sum(each.fees for each in rounds)
    burnt = sum(each.burnt for each in rounds)
    own = rounds[-1].fees if stands else 0
    accuser, node, lost = _parted(last.outcome, fees - own, at)
    back, others, more = _after_appeal(first.outcome, last.outcome, own if stands else None, at)
    if at.by_accuser:
        accuser, node = accuser + back, node + others
    else:
        accuser, node = accuser + others, node + back
    return Settlement(last.outcome, accuser, node, burnt + lost + more, tuple(rounds))


def _parted(outcome: Outcome, fees: int, at: Pot) -> tuple[int, int, int]:
    """What accuser and node have of their two bonds, and what is burnt."""
    accuser, node = at.bond << at.level, at.bond
    if outcome == Outcome.VOID:
        return accuser, node, 0
    if outcome == Outcome.UNPROVEN:
        return accuser - (fees - fees // 2), node - fees // 2, 0
    lost = node if outcome == Outcome.CONVICTED else accuser
    burnt = lost - lost // 2 - fees
    return (accuser + lost // 2, 0, burnt) if outcome == Outcome.CONVICTED else (0, node + lost // 2, burnt)


def _after_appeal(first: Outcome, last: Outcome, own: int | None, at: Pot) -> tuple[int, int, int]:
    """What the appellant has of its bond, what the other side has, and what is burnt. own: what a void jury is paid."""
    if at.by_accuser is None:
        return 0, 0, 0
    if own is not None:
        return 2 * at.bond - own, 0, 0
    better = last > first if at.by_accuser else last < first
    return (2 * at.bond, 0, 0) if better else (0, at.bond, at.bond)
