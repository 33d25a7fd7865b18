"""The life of a transaction from wish to finality, as it is recorded.

    planned -> signed -> broadcast -> mined -> final
       |          |          |          |---> failed      it is final that it reverted
       |          |          |<---------|                 a re-org took its block back
       |          |----------|---> replaced               its number was spent for good by something else
       |----------|--> failed                             refused: by the simulation, or by the chain's node

A failed one that no block ever held, and a replaced one, may be planned again; what is final stays.
"""

from dataclasses import dataclass
from enum import StrEnum

from verification.addresses import Address


class TxState(StrEnum):
    """Where a transaction stands; of one signed form of it, only signed, broadcast, mined, final and replaced."""

    PLANNED = "planned"
    SIGNED = "signed"
    BROADCAST = "broadcast"
    MINED = "mined"
    FINAL = "final"
    REPLACED = "replaced"
    FAILED = "failed"


_P, _S, _B, _M, _F, _R, _X = TxState
NEXT: dict[TxState, frozenset[TxState]] = {
    _P: frozenset({_S, _X}),
    _S: frozenset({_B, _M, _R, _X}),
    _B: frozenset({_B, _M, _R}),
    _M: frozenset({_M, _B, _F, _X}),
    _F: frozenset(),
    _R: frozenset({_P}),
    _X: frozenset({_P}),
}
LIVE = frozenset({_P, _S, _B, _M})
"""States that something is still to be done about."""
HOLDING = frozenset({_S, _B, _M, _F})
"""States whose transaction number nobody else may take."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a transaction is to do; `value` in wei, `to` None for a new contract, `gas` None to let it be estimated."""

    to: Address | None
    data: bytes = b""
    value: int = 0
    gas: int | None = None

    def same_as(self, other: "Wanted") -> bool:
        """Whether both do the same, whatever they may cost."""
        return (self.to, self.data, self.value) == (other.to, other.data, other.value)


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559 prices in wei per gas."""

    max_fee: int
    tip: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed form of a transaction. Those of one number differ in fees, and at most one of them is ever mined."""

    tx_hash: bytes
    raw: bytes
    nonce: int
    gas: int
    fees: Fees
    state: TxState
    signed_at: float
    sent_at: float | None
    """Seconds since 1970 when it was last offered; None while it is only on the disk."""


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The block that holds a transaction, and whether it did what it was to do."""

    tx_hash: bytes
    block: int
    block_hash: bytes
    success: bool


@dataclass(frozen=True, slots=True)
class Job:
    """A recorded transaction."""

    number: int
    key: str
    keyed: bool
    """Whether the caller chose the key, so that it can ask again after a crash."""
    wanted: Wanted
    state: TxState
    nonce: int | None
    inclusion: Inclusion | None
    reason: str
    attempts: tuple[Attempt, ...]
    """Oldest first; those of an earlier transaction number are among them."""

    @property
    def current(self) -> tuple[Attempt, ...]:
        """The attempts with the present number."""
        return tuple(attempt for attempt in self.attempts if attempt.nonce == self.nonce)
