"""A node's stake in plain integers: what the contract has to do, and by which name it has to refuse."""

from dataclasses import dataclass

from tests.contracts.world import MIN_STAKE, UNBONDING


@dataclass
class Node:
    """One node's stake; every act returns the name of its refusal, or "" when it is done."""

    bonded: int = 0
    exiting: int = 0
    exit_at: int = 0
    paid_in: int = 0
    paid_out: int = 0
    taken: int = 0

    def join(self, amount: int, _now: int) -> str:
        if self.bonded or self.exiting or amount < MIN_STAKE:
            return "AlreadyJoined" if self.bonded else "ExitPending" if self.exiting else "StakeTooLow"
        self.bonded = amount
        self.paid_in += amount
        return ""

    def add_stake(self, amount: int, _now: int) -> str:
        if not self.bonded or self.bonded + amount < MIN_STAKE:
            return "StakeTooLow" if self.bonded else "NotJoined"
        self.bonded += amount
        self.paid_in += amount
        return ""

    def exit(self, amount: int, now: int) -> str:
        rest = self.bonded - amount
        if not self.bonded or rest < 0 or 0 < rest < MIN_STAKE:
            return "NotJoined" if not self.bonded else "StakeShort" if rest < 0 else "StakeTooLow"
        self.bonded, self.exiting, self.exit_at = rest, self.exiting + amount, now + UNBONDING
        return ""

    def cancel_exit(self, _amount: int, _now: int) -> str:
        if not self.exiting or self.bonded + self.exiting < MIN_STAKE:
            return "StakeTooLow" if self.exiting else "NothingExiting"
        self.bonded, self.exiting, self.exit_at = self.bonded + self.exiting, 0, 0
        return ""

    def withdraw(self, _amount: int, now: int) -> str:
        if not self.exiting or now < self.exit_at:
            return "ExitNotReady" if self.exiting else "NothingExiting"
        self.paid_out += self.exiting
        self.exiting = self.exit_at = 0
        return ""

    def slash(self, bps: int) -> str:
        burnt = -(-(self.bonded + self.exiting) * bps // 10_000)
        if not burnt:
            return "NothingToSlash"
        from_exiting = min(burnt, self.exiting)
        self.exiting -= from_exiting
        self.bonded -= burnt - from_exiting
        self.exit_at = self.exit_at if self.exiting else 0
        self.taken += burnt
        return ""
