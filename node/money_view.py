"""Where every coin is: read from the chain and the stores, in buckets that add up. Synchronous."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from incentives.payees import parse_payees
from node.channel_book import ChannelBook
from node.keys import load_keys, running_pid, running_profile
from node.ledger import Ledger
from node.network import Network, connect
from node.settings import NodeSettings
from node.settlement import Settled, Settlement, owed_on
from node.store import Store
from verification.addresses import Address, to_address


@dataclass(frozen=True, slots=True)
class Buckets:
    """All that one address has in the network, in the token's smallest unit."""

    wallet: int
    staked: int
    leaving: int
    """Unbonding, slashable until withdrawn."""
    free: int
    """Deposited and not locked in a channel."""
    locked: int
    """Locked in channels this client knows of, less what was settled."""

    @property
    def total(self) -> int:
        """The sum of all buckets."""
        return self.wallet + self.staked + self.leaving + self.free + self.locked


def buckets_of(network: Network, address: Address, channels: Sequence[bytes] = ()) -> Buckets:
    """Read one address's buckets; `channels` are those it opened."""
    stake = network.stakes.stake_of(address)
    states = [network.channels.state(channel) for channel in channels]
    return Buckets(
        wallet=network.token.balance_of(address),
        staked=stake.bonded,
        leaving=stake.exiting,
        free=network.channels.free_of(address),
        locked=sum(state.locked - state.settled for state in states),
    )


def known_channels(book: ChannelBook, address: Address) -> list[bytes]:
    """The channels of a book that an address pays for and that may still hold money."""
    return [each.channel for each in book.all() if each.key.payer == address and each.state != "reclaimed"]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """What an operator wants to know first."""

    pid: int | None
    owner: str
    signer: str
    blocks: str
    profile: str
    endpoint: str
    bonded: int
    exiting: int
    held: int
    collectable: int

    def as_json(self) -> dict[str, object]:
        """Amounts as text: they do not fit the numbers of every JSON reader."""
        return asdict(self) | {key: str(getattr(self, key)) for key in ("bonded", "exiting", "held", "collectable")}


def node_status(settings: NodeSettings) -> NodeStatus:
    """Read a node's status; while it runs, the vouchers on its disk are its own and are not counted."""
    owner, keys, pid = to_address(settings.owner), load_keys(settings), running_pid(settings.data_dir)
    network = connect(settings.rpc_url, settings.deployment)
    stake = network.stakes.stake_of(owner)
    announced = {each.node: each for each in network.stakes.announcements()}.get(owner)
    held, collectable = (0, 0) if pid else _owed(settings, network)
    endpoint = announced.endpoint if announced else ""
    return NodeStatus(
        pid, owner, keys.signer.address, settings.blocks, running_profile(settings.data_dir) or settings.profile,
        endpoint, stake.bonded, stake.exiting, held, collectable,
    )  # fmt: skip


def _owed(settings: NodeSettings, network: Network) -> tuple[int, int]:
    store = Store(settings.data_dir)
    try:
        held = Ledger(store).all_held()
    finally:
        store.close()
    unsettled = sum(owed_on(each, network.channels.state(each.channel)) for each in held)
    pots = {each.key.payees: each for each in held}.values()
    collectable = sum(
        network.channels.collectable(parse_payees(each.payees), index) for each in pots for index in each.indexes
    )
    return unsettled, collectable


def collect_now(settings: NodeSettings) -> list[Settled]:
    """Settle and collect once, without a running node. Raises: StoreLocked while it runs."""
    store = Store(settings.data_dir)
    try:
        network = connect(settings.rpc_url, settings.deployment)
        return Settlement(network, Ledger(store), load_keys(settings).signer).round(at_once=True)
    finally:
        store.close()
