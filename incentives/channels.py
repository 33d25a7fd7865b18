"""Payment channels on the chain: money locked for one set of payees, settled by vouchers, collected by the payees."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from incentives.chain_types import Chain, Sent
from incentives.deployment import Deployment
from incentives.payees import Payee, payee_words, payees_hash, share_of
from incentives.signing import Signer, split_signature
from incentives.token import PermitUnsupported, Token
from incentives.vouchers import ChannelKey, SignedVoucher

RECLAIMED_AT = 2**40 - 1
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


class Channels:
    """The Channels contract of a deployment. Amounts in the token's smallest unit. Raises leaves of ChainError."""

    def __init__(self, chain: Chain, deployment: Deployment) -> None:
        self._chain, self.contract, self.domain = chain, deployment.contract("Channels"), deployment.domain("Channels")
        self._token = Token(chain, deployment)

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

    def settle(self, sender: Signer, signed: SignedVoucher) -> Sent:
        """Move what a voucher grants into the payees' pot; anybody may."""
        voucher, signature = signed.voucher, split_signature(signed.signature)
        args = (_words(signed.key), voucher.cumulative, voucher.work, *signature)
        return self._chain.send(sender, self.contract, "settle", *args)

    def collect(self, sender: Signer, payees: Sequence[Payee], index: int) -> Sent:
        """Pay payee number `index` all that is `collectable`; anybody may. Raises: PayeesError."""
        return self._chain.send(sender, self.contract, "collect", list(payee_words(payees)), index)

    def collectable(self, payees: Sequence[Payee], index: int) -> int:
        """What payee number `index` has earned by settled vouchers and not yet collected. Raises: PayeesError."""
        hashed, block = payees_hash(payees), self._chain.head().number
        pot = int(self._chain.call(self.contract, "potOf", hashed, block=block))
        drawn = int(self._chain.call(self.contract, "drawnOf", hashed, index, block=block))
        return share_of(pot, payees[index].weight_bps) - drawn

    def close(self, payer: Signer, key: ChannelKey) -> Sent:
        """Start the clock after which the rest can be reclaimed."""
        return self._chain.send(payer, self.contract, "close", _words(key))

    def reclaim(self, payer: Signer, key: ChannelKey) -> Sent:
        """Take back what no voucher claimed in time; it becomes free balance, and the channel ends."""
        return self._chain.send(payer, self.contract, "reclaim", _words(key))

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
