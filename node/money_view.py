"""Where every coin is: read from the chain and the stores, in buckets that add up. Synchronous."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from incentives.channels import PayeeShare
from incentives.payees import parse_payees
from incentives.reliability import Reliability
from incentives.signing import Signer
from incentives.tx_store import Waiting
from node.channel_book import ChannelBook
from node.endpoint_view import EndpointView, endpoint_views
from node.keys import load_keys, running_pid, running_profile
from node.ledger import Ledger, all_held
from node.network import Network, connect_node
from node.settings import NodeSettings
from node.settlement import Settled, Settlement, owed_on
from node.store import Store, StoreReader
from node.transactions import Wishes, open_record, waiting_transactions
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


def pay_owner(network: Network, owner: Signer) -> None:
    """Pay out an owner's rewards for posted roots, then its stake that has finished unbonding.

    Raises: Reverted where stake is leaving and not ready, or where there is nothing of either.
    """
    scores = Reliability(network.chain, network.deployment.contract("Reliability"))
    has_rewards = scores.credit_of(owner.address) > 0
    if has_rewards:
        scores.withdraw(owner)
    if network.stakes.stake_of(owner.address).exiting or not has_rewards:
        network.stakes.withdraw(owner)


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
    ripening: int
    """Settled, and refundable until it can be collected."""
    endpoints: tuple[EndpointView, ...]
    """Of the chain, as they answered just now."""
    sending: tuple[Waiting, ...]
    """Transactions that are not final yet."""

    def as_json(self) -> dict[str, object]:
        """Amounts as text: they do not fit the numbers of every JSON reader."""
        names = ("bonded", "exiting", "held", "collectable", "ripening")
        amounts = {key: str(getattr(self, key)) for key in names}
        return asdict(self) | amounts | {"endpoints": [each.as_json() for each in self.endpoints]}


def node_status(settings: NodeSettings, network: Network | None = None) -> NodeStatus:
    """Read a node's status, whether it runs or not; network: where the caller is connected already."""
    owner, keys, pid = to_address(settings.owner), load_keys(settings), running_pid(settings.data_dir)
    network = network or connect_node(settings)
    stake = network.stakes.stake_of(owner)
    announced = {each.node: each for each in network.stakes.announcements()}.get(owner)
    held, shares = _owed(settings, network, running=pid is not None)
    endpoint = announced.endpoint if announced else ""
    return NodeStatus(
        pid, owner, keys.signer.address, settings.blocks, running_profile(settings.data_dir) or settings.profile,
        endpoint, stake.bonded, stake.exiting, held,
        sum(share.collectable for share in shares), sum(share.ripening for share in shares),
        endpoint_views(network.chain.pool.survey()),
        waiting_transactions(network, keys.signer.address, settings),
    )  # fmt: skip


def _owed(settings: NodeSettings, network: Network, *, running: bool) -> tuple[int, list[PayeeShare]]:
    store = StoreReader(settings.data_dir) if running else Store(settings.data_dir)
    try:
        held = all_held(store)
    finally:
        store.close()
    unsettled = sum(owed_on(each, network.channels.state(each.channel)) for each in held)
    pots = {each.key.payees: each for each in held}.values()
    shares = [network.channels.share(parse_payees(each.payees), index) for each in pots for index in each.indexes]
    return unsettled, shares


def collect_now(settings: NodeSettings) -> list[Settled]:
    """Settle and collect once, without a running node. Raises: StoreLocked while it runs."""
    store = Store(settings.data_dir)
    try:
        network, keys = connect_node(settings), load_keys(settings)
        sender = open_record(network, keys.signer, settings)
        try:
            wishes = Wishes(sender.recorded)
            return Settlement(network, Ledger(store), keys.signer, wishes=wishes).round(at_once=True)
        finally:
            sender.close()
    finally:
        store.close()
