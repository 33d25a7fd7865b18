"""Who shares what a channel pays: words of (address, weight), weights of 10,000 in all.

A word is 32 bytes: the address in the high 20, the weight in the low 12. The contract keeps only the hash of the words.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from incentives.errors import PayeesError
from sharding.hashing import keccak256
from verification.addresses import Address, address_bytes, to_address

WHOLE_BPS = 10_000
POOL_BPS = 250
"""The audit pool's share of every route: without it a channel gives its nodes no credit."""
MAX_PAYEES = 256
WORD_BYTES = 32
_WEIGHT_BYTES = 12


@dataclass(frozen=True, slots=True)
class Payee:
    """One share of a pot; its place in the list is the index it collects under."""

    node: Address
    weight_bps: int

    @property
    def word(self) -> bytes:
        """The 32 bytes that are hashed and shown to the contract."""
        return address_bytes(self.node) + self.weight_bps.to_bytes(_WEIGHT_BYTES, "big")

    def share_of(self, pot: int) -> int:
        """What this payee has earned of all that was ever settled, rounded down as the contract does."""
        return share_of(pot, self.weight_bps)


def share_of(pot: int, weight_bps: int) -> int:
    """Return floor(pot x weight / 10,000)."""
    return pot * weight_bps // WHOLE_BPS


def payees_for(weights: Sequence[tuple[str, int]], whole: int = WHOLE_BPS) -> tuple[Payee, ...]:
    """Turn (node, weight) pairs into payees of `whole` shares in the same order, exact to the largest remainder.

    Every payee gets at least 1 of the shares; if all weights are zero, all get the same.
    Raises: PayeesError for no or more than 256 payees, or a negative weight; MalformedAddress.
    """
    if not 1 <= len(weights) <= MAX_PAYEES:
        raise PayeesError(f"{len(weights)} payees: between 1 and {MAX_PAYEES} can share a channel; use fewer stages")
    for node, weight in weights:
        if weight < 0:
            raise PayeesError(f"{node} has the negative weight {weight}")
    amounts = [weight for _, weight in weights] if any(weight for _, weight in weights) else [1] * len(weights)
    shares = _at_least_one(_largest_remainder(amounts, whole), amounts, whole)
    return tuple(Payee(to_address(node), share) for (node, _), share in zip(weights, shares, strict=True))


def _largest_remainder(amounts: Sequence[int], whole: int) -> list[int]:
    total = sum(amounts)
    shares = [amount * whole // total for amount in amounts]
    by_remainder = sorted(range(len(amounts)), key=lambda i: (-(amounts[i] * whole % total), i))
    for index in by_remainder[: whole - sum(shares)]:
        shares[index] += 1
    return shares


def _at_least_one(shares: Sequence[int], amounts: Sequence[int], whole: int) -> list[int]:
    """Raise zeros to one at the cost of the largest shares; of equal ones, that with the smallest amount pays."""
    raised = [max(share, 1) for share in shares]
    for _ in range(sum(raised) - whole):
        payer = max(range(len(raised)), key=lambda i: (raised[i], -amounts[i], i))
        raised[payer] -= 1
    return raised


def payee_words(payees: Sequence[Payee]) -> tuple[bytes, ...]:
    """Return the words in order. Raises: PayeesError unless 1 to 256 positive weights are 10,000 together."""
    total = sum(payee.weight_bps for payee in payees)
    if not 1 <= len(payees) <= MAX_PAYEES or total != WHOLE_BPS or min(p.weight_bps for p in payees) < 1:
        raise PayeesError(f"{len(payees)} payees with {total} shares: money paid to them could never be collected")
    return tuple(payee.word for payee in payees)


def payees_hash(payees: Sequence[Payee]) -> bytes:
    """Return what a channel's key names its payees by. Raises: PayeesError."""
    return keccak256(b"".join(payee_words(payees)))


def parse_payees(words: Sequence[bytes]) -> tuple[Payee, ...]:
    """Read payees from their words, as they come from a peer. Raises: PayeesError, MalformedAddress."""
    if any(len(word) != WORD_BYTES for word in words):
        raise PayeesError(f"a payee word has {WORD_BYTES} bytes")
    payees = tuple(Payee(to_address(word[:20]), int.from_bytes(word[20:], "big")) for word in words)
    payee_words(payees)
    return payees
