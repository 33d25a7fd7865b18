"""How far a stage may work ahead of the money: rule 14, in integers.

Prefill is prepaid; decode runs at most W tokens past the voucher on this node's disk, counted per channel over all its sessions.
"""

from dataclasses import dataclass

from incentives.prices import RoutePrice


@dataclass(slots=True)
class SessionCredit:
    """The running account of one session on one stage. Amounts are for the whole route, in the smallest unit."""

    price: RoutePrice
    prompt_tokens: int
    window: int
    earned_before: int
    """Charged on the channel by earlier sessions."""
    paid_before: int
    """The voucher on disk when the session began."""
    paid: int
    locked: int = 2**96 - 1
    """What the channel can ever pay."""
    positions: int = 0
    """Positions computed, or held from the beginning."""
    held: tuple[int, ...] = ()
    """What each stage had of the prompt at the beginning: nobody pays for that again."""
    worked_at_all: bool = False

    @property
    def earned(self) -> int:
        """The cost of this session so far; nothing before this stage has done anything for it."""
        return self.cost_of(self.positions) if self.worked_at_all else 0

    def cost_of(self, positions: int) -> int:
        """The session's cost once `positions` positions are computed."""
        return self.price.session_cost(self.prompt_tokens, positions, self.held)

    def allows(self, rows: int) -> bool:
        """Whether `rows` more positions are covered by what is paid, or for decoding by the window's credit.

        Never past what the channel has locked: credit beyond it could not be collected.
        """
        after = self.positions + rows
        if self.earned_before + self.cost_of(after) > self.locked:
            return False
        if after <= self.prompt_tokens:
            return self.cost_of(after) <= self.paid - self.paid_before
        owed = self.earned_before + self.cost_of(after) - self.paid
        return owed <= self.window * self.price.decode_cost(1)

    def worked(self, rows: int) -> None:
        """Count positions that were computed."""
        self.positions += rows
        self.worked_at_all = True
