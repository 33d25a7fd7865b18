"""Payment channels on the chain: money locked for one set of payees, settled by vouchers, collected by the payees."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from incentives.chain_types import Chain, Sent
from incentives.clock import SYSTEM_CLOCK, Clock
from incentives.court import route_words
from incentives.deployment import Deployment
from incentives.payees import Payee, payee_words, payees_hash, share_of
from incentives.signing import Signer, split_signature
from incentives.token import PermitUnsupported, Token
from incentives.vouchers import ChannelKey, Release, SignedVoucher
from verification.addresses import Address

if TYPE_CHECKING:
    from verification.routes import Route  # torch comes with it

RECLAIMED_AT = 2**40 - 1
_Row = tuple[str, str, bytes, int, bytes, bytes, bytes]
"""A Settlement of contracts/src/lib/ChannelTerms.sol."""
_spending: dict[tuple[str, int, str], threading.RLock] = {}
"""One per payer of a contract, for all clients of this process: two threads must not sign two permits with one number, nor
count on the same free balance or allowance."""


@dataclass(frozen=True, slots=True)
class ChannelState:
    """A channel on the chain; all zero for one that was never opened."""

    locked: int
    settled: int
    closes_at: int
    """Seconds since 1970 when the payer can take the rest back; 0 while open."""

    @property
    def is_open(self) -> bool:
        """Whether there is money in it and its payer has not asked for it back."""
        return self.locked > 0 and self.closes_at == 0

    @property
    def reclaimed(self) -> bool:
        """Whether it has ended for ever."""
        return self.closes_at == RECLAIMED_AT

    @property
    def unsettled(self) -> int:
        """What vouchers can still claim."""
        return 0 if self.reclaimed else self.locked - self.settled


NEVER_OPENED = ChannelState(0, 0, 0)


@dataclass(frozen=True, slots=True)
class PotShare:
    """Places that one account has among the payees of a pot."""

    payees: tuple[Payee, ...]
    indexes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PayeeShare:
    """One payee's part of a pot: of all that was settled, of what is ripe; and what it has drawn, or was refunded of it."""

    earned: int
    ripe: int
    drawn: int

    @property
    def collectable(self) -> int:
        """What it can have now. After a refund nothing, until what is ripe has made up for it."""
        return max(0, self.ripe - self.drawn)

    @property
    def ripening(self) -> int:
        """What it can have once all of it is ripe, more than now."""
        return self.earned - max(self.drawn, self.ripe)


@dataclass(frozen=True, slots=True)
class PaidSession:
    """What a client keeps of a session, to have it refunded: the last voucher that was signed in it.

    amount, positions: what that voucher's work says was paid for the session, and for how much of it.
    """

    route: "Route"
    signed: SignedVoucher
    amount: int
    positions: int


class Channels:
    """The Channels contract of a deployment. Amounts in the token's smallest unit. Raises leaves of ChainError."""

    def __init__(self, chain: Chain, deployment: Deployment, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._chain, self.contract, self.domain = chain, deployment.contract("Channels"), deployment.domain("Channels")
        self._token, self._court = Token(chain, deployment), deployment.contract("Court")

    def deposit(self, payer: Signer, amount: int) -> Sent:
        """Add to the payer's free balance, in one transaction where the token has permits."""
        with self._spends(payer):
            return self._with_approval(payer, amount, "deposit", amount)

    def deposit_and_open(self, payer: Signer, key: ChannelKey, amount: int) -> Sent:
        """Open a channel, or add to one, with money from the payer's account; in one transaction where it can be."""
        with self._spends(payer):
            return self._with_approval(payer, amount, "depositAndOpen", _words(key), amount)

    def _spends(self, payer: Signer) -> threading.RLock:
        """Held from looking at a payer's money until the chain has what was made of it."""
        return _spending.setdefault((self.contract.address, self._chain.chain_id, payer.address), threading.RLock())

    def _with_approval(self, payer: Signer, amount: int, fn: str, *args: object) -> Sent:
        spender = self.contract.address
        if self._token.allowance(payer.address, spender) < amount:
            try:
                permit = self._token.sign_permit(payer, spender, amount)
                return self._chain.send(payer, self.contract, f"{fn}WithPermit", *args, *permit.words)
            except PermitUnsupported:
                self._token.approve(payer, spender, amount)
        return self._chain.send(payer, self.contract, fn, *args)

    def open(self, payer: Signer, key: ChannelKey, amount: int) -> Sent:
        """Open a channel, or add to one, from the free balance."""
        return self._chain.send(payer, self.contract, "open", _words(key), amount)

    def fund(self, payer: Signer, key: ChannelKey, amount: int) -> Sent:
        """Open a channel, or add to one: from the free balance if that has enough, else from the payer's account."""
        with self._spends(payer):
            if self.free_of(payer.address) >= amount:
                return self.open(payer, key, amount)
            return self.deposit_and_open(payer, key, amount)

    def settle(self, sender: Signer, signed: SignedVoucher, key: str | None = None) -> Sent:
        """Move what a voucher grants into the payees' pot; anybody may. `key` as Chain.send's, here and below."""
        voucher, signature = signed.voucher, split_signature(signed.signature)
        args = (_words(signed.key), voucher.cumulative, voucher.work, *signature)
        return self._chain.send(sender, self.contract, "settle", *args, key=key)

    def settle_many(self, sender: Signer, vouchers: Sequence[SignedVoucher], key: str | None = None) -> Sent:
        """Settle many vouchers in one transaction; its `Settled` events say which.

        Left out are those that would move nothing any more and those beyond their channel's lock. A bad signature
        undoes all. Raises: Reverted, also where none would move anything; InvalidSignature.
        """
        batch: dict[bytes, list[_Row]] = {}
        for signed in vouchers:
            batch.setdefault(signed.key.payees, []).append(_row(signed))
        return self._chain.send(sender, self.contract, "settleMany", list(batch.items()), key=key)

    def collect(self, sender: Signer, payees: Sequence[Payee], index: int, key: str | None = None) -> Sent:
        """Pay payee number `index` all that is `collectable`; anybody may. Raises: PayeesError."""
        return self._chain.send(sender, self.contract, "collect", list(payee_words(payees)), index, key=key)

    def collect_many(self, sender: Signer, payee: str, shares: Sequence[PotShare], key: str | None = None) -> Sent:
        """Pay one account all that is `collectable` in several places, in one transfer; its `Collected` events say where.

        Raises: PayeesError; Reverted, also where there is nothing anywhere or a place is somebody else's.
        """
        rows = [(list(payee_words(share.payees)), list(share.indexes)) for share in shares]
        return self._chain.send(sender, self.contract, "collectMany", payee, rows, key=key)

    def collectable(self, payees: Sequence[Payee], index: int) -> int:
        """What payee number `index` can collect now: ripe, and not drawn by it or refunded. Raises: PayeesError."""
        return self.share(payees, index).collectable

    def share(self, payees: Sequence[Payee], index: int) -> PayeeShare:
        """What payee number `index` has in a pot, for a block that is mined now. Raises: PayeesError."""
        hashed, head, weight = payees_hash(payees), self._chain.head(), payees[index].weight_bps
        now = max(head.timestamp, int(self._clock.now()))  # a chain without transactions may stand still
        pot = int(self._chain.call(self.contract, "potOf", hashed, block=head.number))
        ripe = int(self._chain.call(self.contract, "ripeOf", hashed, now, block=head.number))
        drawn = int(self._chain.call(self.contract, "drawnOf", hashed, index, block=head.number))
        return PayeeShare(share_of(pot, weight), share_of(ripe, weight), drawn)

    def refund(self, sender: Signer, payees: Sequence[Payee], index: int, paid: PaidSession) -> Sent:
        """Give the payer back what a session paid payee number `index`, which was convicted in it; anybody may.

        Raises: PayeesError, InvalidSignature; Reverted (NotConvicted, VoucherNotSettled, NothingToRefund, ...).
        """
        signed, voucher = paid.signed, paid.signed.voucher
        proof: list[bytes] = []  # the session is its work's only leaf
        said = voucher.cumulative, voucher.work, *split_signature(signed.signature), paid.amount, paid.positions, proof
        args = _words(signed.key), list(payee_words(payees)), index, route_words(paid.route), said
        return self._chain.send(sender, self.contract, "refund", *args)

    def is_convicted(self, route: bytes, node: Address) -> bool:
        """Whether the court that Channels listens to has convicted a node on a route, by the route's digest."""
        return int(self._chain.call(self._court, "convictedOf", route, node)) > 0

    def close(self, payer: Signer, key: ChannelKey) -> Sent:
        """Start the clock after which the rest can be reclaimed."""
        return self._chain.send(payer, self.contract, "close", _words(key))

    def reclaim(self, payer: Signer, key: ChannelKey) -> Sent:
        """Take back what no voucher claimed in time; it becomes free balance, and the channel ends."""
        return self._chain.send(payer, self.contract, "reclaim", _words(key))

    def release(
        self, payer: Signer, key: ChannelKey, payees: Sequence[Payee], release: Release, consents: Sequence[bytes]
    ) -> Sent:
        """Take back at once what no voucher has claimed, by the signatures of all payees in their order; the channel ends.

        The audit pool signs nothing: `consents` are those of the others.

        Raises: PayeesError, InvalidSignature, Reverted.
        """
        signatures = [split_signature(consent) for consent in consents]
        args = (_words(key), list(payee_words(payees)), release.settled, release.deadline, signatures)
        return self._chain.send(payer, self.contract, "release", *args)

    def withdraw(self, payer: Signer, amount: int) -> Sent:
        """Pay out free balance."""
        return self._chain.send(payer, self.contract, "withdraw", amount)

    def state(self, channel: bytes) -> ChannelState:
        """The channel with that id."""
        return ChannelState(*self._chain.call(self.contract, "channel", channel))

    def free_of(self, payer: str) -> int:
        """What a payer has deposited and not locked."""
        return int(self._chain.call(self.contract, "freeOf", payer))


def _words(key: ChannelKey) -> tuple[str, str, bytes, bytes]:
    return key.payer, key.signer, key.payees, key.salt


def _row(signed: SignedVoucher) -> _Row:
    key, voucher = signed.key, signed.voucher
    return key.payer, key.signer, key.salt, voucher.cumulative, voucher.work, *split_signature(signed.signature)
