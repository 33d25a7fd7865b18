"""What a transaction may cost and how long it is waited for: the first price, and the higher ones when no block takes it.

Prices in wei per gas.

Source: https://eips.ethereum.org/EIPS/eip-1559. Nodes take a replacement only if both prices rise by 10 %, some by
12.5 %.
"""

from dataclasses import dataclass, field

from incentives.client_errors import FeeTooHigh
from incentives.tx_states import Fees

GWEI = 10**9
BUMP_PER_MILLE = 1125


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """The limits of one sender."""

    max_fee_cap: int = 500 * GWEI
    """No transaction promises more per gas, tip included."""
    max_tip_cap: int = 50 * GWEI
    bump_after_s: float = 60.0
    """How long a block may take before a higher price is offered."""
    max_attempts: int = 8
    """Signed forms of one transaction; after the last one it is only offered again."""


@dataclass(frozen=True, slots=True)
class SenderPolicy:
    """How patient a sender is."""

    confirmations: int = 12
    """Blocks after which a transaction counts as final."""
    wait_s: float = 60.0
    """How long `send` waits for a block."""
    memory_s: float = 7 * 24 * 60 * 60.0
    """How long endpoints are trusted to remember what they mined; past it, not finding a transaction proves nothing."""
    fees: FeePolicy = field(default_factory=FeePolicy)


@dataclass(frozen=True, slots=True)
class Market:
    """What the chain asks at the moment."""

    base_fee: int
    tip: int


def first_fees(market: Market, policy: FeePolicy) -> Fees:
    """Room for the base fee to double, as far as the cap allows. Raises: FeeTooHigh where even today's price is over it."""
    tip = min(market.tip, policy.max_tip_cap)
    if market.base_fee + tip > policy.max_fee_cap:
        raise FeeTooHigh(market.base_fee + tip, policy.max_fee_cap)
    return Fees(min(2 * market.base_fee + tip, policy.max_fee_cap), tip)


def bumped(before: Fees, market: Market, policy: FeePolicy) -> Fees | None:
    """A price that nodes take instead of the one before, at least the market's; None where the caps leave no room."""
    least = Fees(_raised(before.max_fee), _raised(before.tip))
    if least.max_fee > policy.max_fee_cap or least.tip > policy.max_tip_cap:
        return None
    tip = min(max(least.tip, market.tip), policy.max_tip_cap)
    max_fee = min(max(least.max_fee, 2 * market.base_fee + tip), policy.max_fee_cap)
    return Fees(max_fee, tip) if tip <= max_fee else None


def _raised(price: int) -> int:
    return max(-(-price * BUMP_PER_MILLE // 1000), price + 1)
