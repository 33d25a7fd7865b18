"""Channels without a chain: the parties' keys, vouchers between them, and a contract that counts like the real one."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from incentives.chain_types import Sent
from incentives.channels import RECLAIMED_AT, ChannelState
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


def make_key(salt: int = 1, payees: tuple[Payee, ...] = PAYEES) -> ChannelKey:
    """A channel of the client; another salt is another channel."""
    return ChannelKey(CLIENT.address, CLIENT.address, payees_hash(payees), salt.to_bytes(32, "big"))


def make_voucher(cumulative: int, key: ChannelKey | None = None, work: bytes = WORK) -> SignedVoucher:
    """A good voucher."""
    return sign_voucher(CLIENT, DOMAIN, key or make_key(), cumulative, work)


def open_held(ledger: Ledger, stage: int = 0, salt: int = 1, payees: tuple[Payee, ...] = PAYEES) -> HeldChannel:
    """Record a channel in a ledger."""
    key = make_key(salt, payees)
    return ledger.open_channel(key.id(DOMAIN), key, payee_words(payees), stage)


@dataclass
class FakeChannels:
    """The Channels contract's arithmetic in memory."""

    states: dict[bytes, ChannelState] = field(default_factory=dict)
    pots: dict[bytes, int] = field(default_factory=dict)
    drawn: dict[tuple[bytes, int], int] = field(default_factory=dict)
    failing: dict[bytes, ChainError] = field(default_factory=dict)
    """What settling a channel raises."""
    down: ChainError | None = None
    """What everything raises."""
    calls: list[str] = field(default_factory=list)

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
        return self.states.get(channel, ChannelState(0, 0, 0))

    def settle(self, sender: Signer, signed: SignedVoucher) -> Sent:
        """As the wrapper."""
        channel, cumulative, before = (
            signed.voucher.channel,
            signed.voucher.cumulative,
            self.state(signed.voucher.channel),
        )
        if channel in self.failing:
            raise self.failing[channel]
        if cumulative <= before.settled:
            raise Reverted("VoucherStale", (before.settled, cumulative))
        if cumulative > before.locked:
            raise Reverted("VoucherExceedsLock", (before.locked, cumulative))
        self.states[channel] = ChannelState(before.locked, cumulative, before.closes_at)
        self.pots[signed.key.payees] = self.pots.get(signed.key.payees, 0) + cumulative - before.settled
        self.calls.append("settle")
        return Sent(b"\x51" * 32, 60_000, 1)

    def collectable(self, payees: tuple[Payee, ...], index: int) -> int:
        """As the wrapper."""
        pot = payees_hash(payees)
        return payees[index].share_of(self.pots.get(pot, 0)) - self.drawn.get((pot, index), 0)

    def collect(self, sender: Signer, payees: tuple[Payee, ...], index: int) -> Sent:
        """As the wrapper."""
        amount, pot = self.collectable(payees, index), payees_hash(payees)
        if amount == 0:
            raise Reverted("NothingToCollect", (pot, index))
        self.drawn[pot, index] = self.drawn.get((pot, index), 0) + amount
        self.calls.append("collect")
        return Sent(b"\xc0" * 32, 50_000, 1)

    def free_of(self, payer: str) -> int:
        """As the wrapper."""
        return 0


def fake_network(channels: FakeChannels, **others: object) -> "Network":
    """A network that has only what a test needs."""
    return cast("Network", SimpleNamespace(channels=channels, **others))
