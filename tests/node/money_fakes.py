"""Channels without a chain: the parties' keys, vouchers between them, and a contract that counts like the real one."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from incentives.chain_types import Event, Sent
from incentives.channels import NEVER_OPENED, RECLAIMED_AT, ChannelState, PayeeShare, PotShare
from incentives.errors import ChainError, Reverted
from incentives.payees import Payee, payee_words, payees_for, payees_hash
from incentives.signing import LocalSigner, Signer
from incentives.vouchers import ChannelKey, SignedVoucher, sign_voucher
from node.ledger import HeldChannel, Ledger
from verification.addresses import to_address
from verification.typed_data import Domain

if TYPE_CHECKING:
    from node.network import Network  # brings web3 along: too slow for a process that writes one voucher

DOMAIN = Domain(31337, to_address(b"\xc0" * 20))
CLIENT = LocalSigner(b"\x09" * 32)
NODES = tuple(LocalSigner(bytes([number]) * 32) for number in (1, 2, 3))
PAYEES = payees_for([(node.address, weight) for node, weight in zip(NODES, (5, 3, 2), strict=True)])
WORK = b"\x77" * 32
BATCH = b"\xba" * 32
"""Hash of a transaction of many."""


def make_key(salt: int = 1, payees: tuple[Payee, ...] = PAYEES) -> ChannelKey:
    """A channel of the client; another salt is another channel."""
    return ChannelKey(CLIENT.address, CLIENT.address, payees_hash(payees), salt.to_bytes(32, "big"))


def make_voucher(cumulative: int, key: ChannelKey | None = None, work: bytes = WORK) -> SignedVoucher:
    """A good voucher."""
    return sign_voucher(CLIENT, DOMAIN, key or make_key(), cumulative, work)


def open_held(
    ledger: Ledger, stage: int = 0, salt: int = 1, payees: tuple[Payee, ...] = PAYEES, unseen_since: int | None = None
) -> HeldChannel:
    """Record a channel in a ledger."""
    key = make_key(salt, payees)
    return ledger.open_channel(key.id(DOMAIN), key, payee_words(payees), stage, unseen_since)


@dataclass
class FakeChannels:
    """The Channels contract's arithmetic in memory."""

    states: dict[bytes, ChannelState] = field(default_factory=dict)
    pots: dict[bytes, int] = field(default_factory=dict)
    drawn: dict[tuple[bytes, int], int] = field(default_factory=dict)
    unripe: dict[bytes, int] = field(default_factory=dict)
    """Of each pot, what cannot be collected yet."""
    failing: dict[bytes, ChainError] = field(default_factory=dict)
    """What settling a channel raises."""
    down: ChainError | None = None
    """What everything raises."""
    refuses_batches: bool = False
    """Whether collect_many reverts whatever it is given."""
    asked: list[bytes] = field(default_factory=list)
    """Channels whose state was read."""
    pots_asked: int = 0
    calls: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    """Under which name each call that succeeded was sent."""

    def lock(self, channel: bytes, locked: int, closes_at: int = 0) -> None:
        """Open a channel, or change it."""
        settled = self.states[channel].settled if channel in self.states else 0
        self.states[channel] = ChannelState(locked, settled, closes_at)

    def reclaim(self, channel: bytes) -> None:
        """End a channel as the contract does."""
        settled = self.states[channel].settled
        self.states[channel] = ChannelState(settled, settled, RECLAIMED_AT)

    def state(self, channel: bytes) -> ChannelState:
        """As the wrapper."""
        if self.down is not None:
            raise self.down
        self.asked.append(channel)
        return self.states.get(channel, NEVER_OPENED)

    def settle(self, sender: Signer, signed: SignedVoucher, key: str | None = None) -> Sent:
        """As the wrapper."""
        self._settle(signed)
        self.calls.append("settle")
        self.keys.append(key)
        return Sent(b"\x51" * 32, 60_000, 1)

    def _settle(self, signed: SignedVoucher) -> None:
        voucher = signed.voucher
        before = self.state(voucher.channel)
        if voucher.channel in self.failing:
            raise self.failing[voucher.channel]
        if voucher.cumulative <= before.settled:
            raise Reverted("VoucherStale", (before.settled, voucher.cumulative))
        if voucher.cumulative > before.locked:
            raise Reverted("VoucherExceedsLock", (before.locked, voucher.cumulative))
        self.states[voucher.channel] = ChannelState(before.locked, voucher.cumulative, before.closes_at)
        self.pots[signed.key.payees] = self.pots.get(signed.key.payees, 0) + voucher.cumulative - before.settled

    def settle_many(self, sender: Signer, vouchers: Sequence[SignedVoucher], key: str | None = None) -> Sent:
        """As the wrapper: a channel that is failing undoes all."""
        for signed in vouchers:
            if signed.voucher.channel in self.failing:
                raise self.failing[signed.voucher.channel]
        moved = []
        for signed in vouchers:
            try:
                self._settle(signed)
            except Reverted:
                continue
            moved.append(signed.voucher.channel)
        if not moved:
            raise Reverted("NothingInBatch")
        self.calls.append("settleMany")
        self.keys.append(key)
        logs = [Event(DOMAIN.contract, "Settled", {"channel": each}, 1, at, BATCH) for at, each in enumerate(moved)]
        return Sent(BATCH, 60_001, 1, tuple(logs))

    def collectable(self, payees: tuple[Payee, ...], index: int) -> int:
        """As the wrapper."""
        return self.share(payees, index).collectable

    def share(self, payees: tuple[Payee, ...], index: int) -> PayeeShare:
        """As the wrapper."""
        self.pots_asked += 1
        pot, payee = payees_hash(payees), payees[index]
        total = self.pots.get(pot, 0)
        ripe = payee.share_of(total - self.unripe.get(pot, 0))
        return PayeeShare(payee.share_of(total), ripe, self.drawn.get((pot, index), 0))

    def collect(self, sender: Signer, payees: tuple[Payee, ...], index: int, key: str | None = None) -> Sent:
        """As the wrapper."""
        if self._draw(payees, index) == 0:
            raise Reverted("NothingToCollect", (payees_hash(payees), index))
        self.calls.append("collect")
        self.keys.append(key)
        return Sent(b"\xc0" * 32, 50_000, 1)

    def _draw(self, payees: tuple[Payee, ...], index: int) -> int:
        amount, pot = self.collectable(payees, index), payees_hash(payees)
        self.drawn[pot, index] = self.drawn.get((pot, index), 0) + amount
        return amount

    def collect_many(self, sender: Signer, payee: str, shares: Sequence[PotShare], key: str | None = None) -> Sent:
        """As the wrapper."""
        if self.refuses_batches:
            raise Reverted("Odd")
        for share in shares:
            for index in share.indexes:
                if share.payees[index].node != payee:
                    raise Reverted("PayeeDiffers", (payee, share.payees[index].node))
        if not sum([self._draw(share.payees, index) for share in shares for index in share.indexes]):
            raise Reverted("NothingInBatch")
        self.calls.append("collectMany")
        self.keys.append(key)
        return Sent(BATCH, 50_001, 1)

    def free_of(self, payer: str) -> int:
        """As the wrapper."""
        return 0


def fake_network(channels: FakeChannels, **others: object) -> "Network":
    """A network that has only what a test needs."""
    return cast("Network", SimpleNamespace(channels=channels, **others))
