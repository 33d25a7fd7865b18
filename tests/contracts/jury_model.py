"""A case before the jury in plain integers: what each act changes, or the name of the refusal that it ends with."""

from collections import Counter
from dataclasses import dataclass, field

from incentives.jury_pay import Pot, Round, settle
from incentives.jury_rules import APPEAL_SEATS, SEATS, Ballot, Count, Outcome, concealed, count, opened
from tests.contracts.jury_world import ACCUSER, NODE, TERMS
from verification.addresses import Address

OPEN, ANSWERED, VOTING, APPEALED, REVOTING, CLOSED = range(1, 7)


@dataclass
class Seat:
    """A vote, opened or not."""

    juror: Address
    ballot: Ballot
    is_open: bool = False
    is_paid: bool = False

    @property
    def word(self) -> int:
        return opened(self.juror, self.ballot) if self.is_open else concealed(self.juror, bytes(32))


@dataclass
class Model:
    """One case; `free` and `running` are shared by all of them. A refusal changes nothing."""

    free: Counter[str]
    running: Counter[str]
    phase: int = 0
    since: int = 0
    level: int = 0
    counts: list[Count] = field(default_factory=list)
    by_accuser: bool | None = None
    seats: dict[int, Seat] = field(default_factory=dict)
    rounds: tuple[Round, ...] = ()
    taken: bool = False

    @property
    def first(self) -> int:
        """Of the seats of the present round."""
        return 0 if self.phase < APPEALED else SEATS

    @property
    def voted_by(self) -> int:
        return self.since + TERMS.commit_s + TERMS.reveal_s

    def accuse(self, now: int) -> str:
        if self.phase:
            return "NodeConvicted" if self.taken else "DisputeKnown"
        self.phase, self.since, self.level = OPEN, now, self.running["open"]
        self.running["open"] += 1
        self.free[ACCUSER.address] -= TERMS.bond << self.level
        return ""

    def answer(self, now: int) -> str:
        if self.phase != OPEN:
            return "PhaseWrong"
        if now > self.since + TERMS.answer_s:
            return "ClockRunOut"
        self.free[NODE.address] -= TERMS.bond
        self.phase, self.since = ANSWERED, now
        return ""

    def draw(self, now: int) -> str:
        if self.phase not in (ANSWERED, APPEALED):
            return "PhaseWrong"
        if now > self.since + TERMS.draw_s:
            return "ClockRunOut"
        self.phase, self.since = self.phase + 1, now
        return ""

    def commit(self, now: int, seat: int, juror: Address, ballot: Ballot) -> str:
        if refusal := self.sitting(seat):
            return refusal
        if now > self.since + TERMS.commit_s:
            return "ClockRunOut"
        if seat in self.seats:
            return "SeatTaken"
        self.seats[seat] = Seat(juror, ballot)
        self.free[juror] -= TERMS.vote
        return ""

    def reveal(self, now: int, seat: int) -> str:
        if refusal := self.sitting(seat):
            return refusal
        if now <= self.since + TERMS.commit_s:
            return "ClockRunning"
        if now > self.voted_by:
            return "ClockRunOut"
        if self.seats[seat].is_open:
            return "CommitmentForeign"
        self.seats[seat].is_open = True
        return ""

    def sitting(self, seat: int) -> str:
        if self.phase not in (VOTING, REVOTING):
            return "PhaseWrong"
        last = self.first + (SEATS if self.phase == VOTING else APPEAL_SEATS)
        return "" if self.first <= seat < last else "SeatInvalid"

    def count(self, round_: int) -> Count:
        start, size = (0, SEATS) if round_ == 0 else (SEATS, APPEAL_SEATS)
        return count([self.seats[k].word if k in self.seats else 0 for k in range(start, start + size)])

    def appeal(self, now: int, by_accuser: bool) -> str:
        if self.phase != VOTING:
            return "PhaseWrong"
        if now <= self.voted_by:
            return "ClockRunning"
        if now > self.voted_by + TERMS.appeal_s:
            return "ClockRunOut"
        won = Outcome.CONVICTED if by_accuser else Outcome.ACQUITTED
        if self.count(0).outcome in (Outcome.VOID, won):
            return "NotLoser"
        self.free[(ACCUSER if by_accuser else NODE).address] -= 2 * TERMS.bond
        self.phase, self.since, self.by_accuser = APPEALED, now, by_accuser
        return ""

    def close(self, now: int) -> str:
        if self.phase in (0, CLOSED):
            return "PhaseWrong"
        if now <= self.closes_after:
            return "ClockRunning"
        if self.phase == OPEN:
            self.end(TERMS.bond << self.level, 0, 0, convicted=True)
            return ""
        counts = [self.count(0), self.count(1)][: 1 if self.by_accuser is None else 2]
        if self.phase in (ANSWERED, APPEALED):
            counts[-1] = Count()
        made = settle(counts, Pot(TERMS.bond, TERMS.fee, TERMS.vote, self.level, self.by_accuser))
        self.rounds = made.rounds
        self.end(made.accuser, made.node, made.burnt, made.outcome == Outcome.CONVICTED)
        return ""

    @property
    def closes_after(self) -> int:
        """The last second in which nobody can close it."""
        waits = {OPEN: TERMS.answer_s, ANSWERED: TERMS.draw_s, APPEALED: TERMS.draw_s}
        if self.phase in waits:
            return self.since + waits[self.phase]
        appealable = self.phase == VOTING and self.count(0).outcome != Outcome.VOID
        return self.voted_by + (TERMS.appeal_s if appealable else 0)

    def end(self, accuser: int, node: int, burnt: int, convicted: bool) -> None:
        self.phase, self.taken = CLOSED, convicted
        self.running["open"] -= 1
        self.free.update({ACCUSER.address: accuser, NODE.address: node, "burnt": burnt})

    def collect(self, seat: int) -> str:
        taken = self.seats.get(seat)
        if taken is None or taken.is_paid or not taken.is_open:
            return "CommitmentForeign"
        return self.pay(seat)

    def collect_silent(self, seat: int) -> str:
        taken = self.seats[seat]
        return "CommitmentForeign" if taken.is_paid or taken.is_open else self.pay(seat)

    def pay(self, seat: int) -> str:
        if self.phase != CLOSED:
            return "PhaseWrong"
        taken = self.seats[seat]
        self.free[taken.juror] += self.rounds[seat >= SEATS].due(taken.word)
        taken.is_paid = True
        return ""
