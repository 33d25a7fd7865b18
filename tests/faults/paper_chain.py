"""A chain on paper: the contracts' arithmetic in memory, mined at once, in virtual time. For runs by the hundred.

What the contracts themselves do is tested elsewhere, on an EVM; here they only have to say what nodes and clients ask.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from incentives.chain_types import Block, Sent
from incentives.channels import ChannelState, PotShare
from incentives.deployment import CONTRACTS, LOCAL_TESTNET, ContractRecord, Deployment
from incentives.errors import ChainUnavailable, Reverted
from incentives.payees import Payee
from incentives.signing import Signer
from incentives.stakes import Announcement, Identity, StakeRecord
from incentives.units import ONE
from incentives.vouchers import ChannelKey, SignedVoucher
from node.network import Network
from sharding.hashing import keccak256
from tests.node.money_fakes import FakeChannels, fake_network
from verification.addresses import Address, to_address
from verification.typed_data import Domain

CHAIN_ID = 31337
PARAMS = replace(LOCAL_TESTNET, min_stake=100 * ONE, unbonding_s=30, close_delay_s=10, maturity_s=1)
WEALTH = 10_000 * ONE
SENT = Sent(b"\x51" * 32, 60_000, 1)


@dataclass
class PaperClock:
    """The chain itself, as far as anybody asks it."""

    chain_id: int = CHAIN_ID
    down: bool = False

    def head(self) -> Block:
        """The newest block: a new one every second."""
        self.check()
        now = int(time.time())
        return Block(now, now, keccak256(now.to_bytes(8, "big")))

    def check(self) -> None:
        """Raises: ChainUnavailable while the chain is down."""
        if self.down:
            raise ChainUnavailable("paper", "switched off by the test")


@dataclass
class PaperStakes:
    """The Stakes contract's records."""

    clock: PaperClock
    domain: Domain
    minimum_stake: int = PARAMS.min_stake
    joined: dict[Address, Identity] = field(default_factory=dict)
    announced: dict[Address, Announcement] = field(default_factory=dict)
    bonds: dict[Address, int] = field(default_factory=dict)

    def join(self, identity: Identity, bonded: int) -> None:
        """Bond a node."""
        self.joined[identity.node] = identity
        self.bonds[identity.node] = bonded

    def announce(
        self, signer: Signer, node: str, manifest: bytes, start: int, end: int, ask: int, endpoint: str
    ) -> Sent:
        """As the wrapper."""
        at = to_address(node)
        self.announced[at] = Announcement(at, manifest, start, end, ask, endpoint, 1, len(self.announced))
        return SENT

    def identities(self, from_block: int | None = None) -> dict[Address, Identity]:
        """As the wrapper."""
        self.clock.check()
        return dict(self.joined)

    def announcements(self, from_block: int | None = None) -> list[Announcement]:
        """As the wrapper."""
        self.clock.check()
        return list(self.announced.values())

    def stakes_changed(self, from_block: int) -> dict[Address, int]:
        """As the wrapper; all of them in the first block."""
        self.clock.check()
        return dict.fromkeys(self.bonds, 1)

    def stake_of(self, node: str) -> StakeRecord:
        """As the wrapper."""
        self.clock.check()
        at = to_address(node)
        return StakeRecord(self.bonds.get(at, 0), self.joined[at].signer, 0, 0, 1)

    def node_of(self, signer: str) -> Address | None:
        """As the wrapper."""
        self.clock.check()
        return next((each.node for each in self.joined.values() if each.signer == signer), None)


@dataclass
class PaperChannels(FakeChannels):
    """FakeChannels with the payer's side."""

    clock: PaperClock = field(default_factory=PaperClock)
    domain: Domain = field(default_factory=lambda: Domain(CHAIN_ID, _address("Channels")))
    free: dict[str, int] = field(default_factory=dict)
    wallets: dict[str, int] = field(default_factory=dict)

    def state(self, channel: bytes) -> ChannelState:
        """As the wrapper."""
        self.clock.check()
        return super().state(channel)

    def settle(self, sender: Signer, signed: SignedVoucher, key: str | None = None) -> Sent:
        """As the wrapper."""
        self.clock.check()
        return super().settle(sender, signed)

    def collect(self, sender: Signer, payees: Sequence[Payee], index: int, key: str | None = None) -> Sent:
        """As the wrapper."""
        self.clock.check()
        return super().collect(sender, tuple(payees), index)

    def settle_many(self, sender: Signer, vouchers: Sequence[SignedVoucher], key: str | None = None) -> Sent:
        """As the wrapper."""
        self.clock.check()
        return super().settle_many(sender, vouchers)

    def collect_many(self, sender: Signer, payee: str, shares: Sequence[PotShare], key: str | None = None) -> Sent:
        """As the wrapper."""
        self.clock.check()
        return super().collect_many(sender, payee, shares)

    def free_of(self, payer: str) -> int:
        """As the wrapper."""
        self.clock.check()
        return self.free.get(payer, 0)

    def deposit(self, payer: Signer, amount: int) -> Sent:
        """As the wrapper."""
        wallet = self.wallets.get(payer.address, WEALTH)
        if amount > wallet:
            raise Reverted("ERC20InsufficientBalance", (payer.address, wallet, amount))
        self.wallets[payer.address] = wallet - amount
        self.free[payer.address] = self.free_of(payer.address) + amount
        return SENT

    def open(self, payer: Signer, key: ChannelKey, amount: int) -> Sent:
        """As the wrapper."""
        free, channel = self.free_of(payer.address), key.id(self.domain)
        if amount > free:
            raise Reverted("InsufficientFree", (free, amount))
        before = self.state(channel)
        if before.closes_at:
            raise Reverted("ChannelClosing", (channel,))
        self.free[payer.address] = free - amount
        self.lock(channel, before.locked + amount)
        return SENT

    def deposit_and_open(self, payer: Signer, key: ChannelKey, amount: int) -> Sent:
        """As the wrapper."""
        self.deposit(payer, amount)
        return self.open(payer, key, amount)

    def fund(self, payer: Signer, key: ChannelKey, amount: int) -> Sent:
        """As the wrapper."""
        enough = self.free_of(payer.address) >= amount
        return self.open(payer, key, amount) if enough else self.deposit_and_open(payer, key, amount)

    def close(self, payer: Signer, key: ChannelKey) -> Sent:
        """As the wrapper."""
        channel = key.id(self.domain)
        self.lock(channel, self.state(channel).locked, int(time.time()) + PARAMS.close_delay_s)
        return SENT


def _address(name: str) -> Address:
    return to_address(keccak256(name.encode())[12:])


def paper_network() -> Network:
    """A chain without nodes on which everybody has money."""
    records = {name.lower(): ContractRecord(_address(name), bytes(32), 1) for name in CONTRACTS}
    deployment = Deployment(CHAIN_ID, **records, params=PARAMS)
    clock, hello = PaperClock(), Domain(CHAIN_ID, _address("Stakes"))
    channels = PaperChannels(clock=clock)
    return fake_network(
        channels, chain=clock, deployment=deployment, pool=deployment.pool,
        stakes=PaperStakes(clock, hello), money_domain=channels.domain,
        hello_domain=hello, route_domain=Domain(CHAIN_ID, _address("Court")),
    )  # fmt: skip
