"""Where every coin is: buckets that add up, counted by the chain and by what is on disk."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from incentives.endpoint_health import EndpointHealth, Head
from incentives.errors import WrongChain
from incentives.payees import payees_for
from incentives.stakes import Announcement, StakeRecord
from incentives.tx_states import TxState
from incentives.tx_store import Waiting
from node import money_view
from node.channel_book import ChannelBook
from node.endpoint_view import endpoint_views
from node.errors import StoreLocked
from node.keys import STATUS_FILE, load_keys
from node.ledger import Ledger
from node.money_view import Buckets, buckets_of, collect_now, known_channels, node_status
from node.network import Network
from node.settings import NodeSettings
from node.store import Store
from tests.node.money_fakes import (
    CLIENT,
    DOMAIN,
    NODES,
    PAYEES,
    WORK,
    FakeChannels,
    fake_network,
    make_key,
    make_voucher,
    open_held,
)
from verification.addresses import Address

OWNER = NODES[0].address
CHANNEL = make_key().id(DOMAIN)
HEALTHY = EndpointHealth("http://good.test", 0, Head(7, 1_000), 0.0125, None)
EXCLUDED = EndpointHealth("http://liar.test", 2, None, None, WrongChain("http://liar.test", 31337, 5))


class FakeToken:
    """The token's balances."""

    def balance_of(self, account: str) -> int:
        """As the wrapper."""
        return 5_000 if account == OWNER else 0


@dataclass
class FakeStakes:
    """The stake of one node."""

    announced: list[Announcement] = field(default_factory=list)

    def stake_of(self, node: str) -> StakeRecord:
        """As the wrapper."""
        mine = node == OWNER
        return StakeRecord(300 if mine else 0, OWNER, 20 if mine else 0, 0, 0)

    def announcements(self) -> list[Announcement]:
        """As the wrapper."""
        return self.announced


class RichChannels(FakeChannels):
    """Channels where the owner has deposited something."""

    def free_of(self, payer: str) -> int:
        """As the wrapper."""
        return 7 if payer == OWNER else 0


@pytest.fixture
def channels() -> FakeChannels:
    """Two channels with 1,000 locked in each."""
    contract = RichChannels()
    for salt in (1, 2):
        contract.lock(make_key(salt).id(DOMAIN), 1000)
    return contract


@pytest.fixture
def stakes() -> FakeStakes:
    """Nothing announced."""
    return FakeStakes()


@pytest.fixture
def network(channels: FakeChannels, stakes: FakeStakes, monkeypatch: pytest.MonkeyPatch) -> Network:
    """The network that the settings lead to."""
    pool = SimpleNamespace(survey=lambda: (HEALTHY, EXCLUDED))
    fake = fake_network(channels, stakes=stakes, token=FakeToken(), chain=SimpleNamespace(pool=pool))
    monkeypatch.setattr(money_view, "connect_node", lambda settings: fake)
    record = SimpleNamespace(recorded=lambda key: None, close=lambda: None)
    monkeypatch.setattr(money_view, "open_record", lambda *_: record)
    monkeypatch.setattr(money_view, "waiting_transactions", lambda *_: (Waiting("settle-1", TxState.BROADCAST, 7),))
    return fake


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    """A node's settings with an empty data directory."""
    return NodeSettings(model=tmp_path, blocks="0:2", owner=OWNER, data_dir=tmp_path / "data")


def hold(settings: NodeSettings, cumulative: int, salt: int = 1) -> None:
    """Put a voucher on a stopped node's disk."""
    store = Store(settings.data_dir)
    open_held(Ledger(store), 0, salt)
    Ledger(store).hold_voucher(make_voucher(cumulative, make_key(salt)))
    store.close()


def test_buckets_add_up(network: Network, channels: FakeChannels) -> None:
    """Each coin in one bucket, and the total is their sum."""
    channels.settle(CLIENT, make_voucher(400))

    buckets = buckets_of(network, OWNER, [CHANNEL, make_key(2).id(DOMAIN)])

    assert buckets == Buckets(wallet=5_000, staked=300, leaving=20, free=7, locked=600 + 1000)
    assert buckets.total == 5_000 + 300 + 20 + 7 + 1_600


def test_channel_that_was_reclaimed_holds_nothing(network: Network, channels: FakeChannels) -> None:
    """What came back is free balance and is not counted twice."""
    channels.settle(CLIENT, make_voucher(400))
    channels.reclaim(CHANNEL)

    assert buckets_of(network, OWNER, [CHANNEL]).locked == 0


def test_stranger_has_nothing(network: Network) -> None:
    """Every bucket of an account that never took part is empty."""
    assert buckets_of(network, NODES[2].address).total == 0


def test_known_channels_are_those_that_may_hold_money(tmp_path: Path) -> None:
    """Of the asking payer, in every state but the last one."""
    store = Store(tmp_path)
    book = ChannelBook(store, DOMAIN)
    mine = [book.plan(CLIENT.address, CLIENT.address, PAYEES).channel for _ in range(5)]
    book.plan(NODES[0].address, CLIENT.address, PAYEES)
    for channel, state in zip(mine, ("planned", "open", "busy", "closing", "reclaimed"), strict=True):
        book.set_state(channel, state)

    assert known_channels(book, CLIENT.address) == mine[:-1]
    store.close()


def test_status_of_a_stopped_node_counts_what_is_on_disk(
    settings: NodeSettings, network: Network, channels: FakeChannels
) -> None:
    """Vouchers not settled yet, and this node's share of what is."""
    hold(settings, 400)
    hold(settings, 300, salt=2)
    channels.settle(CLIENT, make_voucher(100))

    status = node_status(settings)

    assert status.pid is None
    assert (status.owner, status.signer) == (OWNER, load_keys(settings).signer.address)
    assert (status.bonded, status.exiting) == (300, 20)
    assert (status.held, status.collectable) == (600, 50)


def test_pot_of_two_channels_is_counted_once(settings: NodeSettings, network: Network, channels: FakeChannels) -> None:
    """One pot, one share, however many channels fill it."""
    for salt, cumulative in ((1, 400), (2, 300)):
        hold(settings, cumulative, salt)
        channels.settle(CLIENT, make_voucher(cumulative, make_key(salt)))

    assert node_status(settings).collectable == 350


def test_status_counts_no_money_that_is_lost(settings: NodeSettings, network: Network, channels: FakeChannels) -> None:
    """A voucher on a reclaimed channel is only paper."""
    hold(settings, 400)
    channels.reclaim(CHANNEL)

    assert node_status(settings).held == 0


def test_status_of_a_running_node_counts_what_is_on_disk_too(settings: NodeSettings, network: Network) -> None:
    """The store is that process's own and is only read; its status file says that it runs."""
    hold(settings, 400)
    (settings.data_dir / STATUS_FILE).write_text(
        json.dumps({"pid": os.getpid(), "created": psutil.Process().create_time()})
    )
    store = Store(settings.data_dir)

    status = node_status(settings)
    Ledger(store).hold_voucher(make_voucher(500, make_key(1)))

    assert status.pid == os.getpid()
    assert (status.held, status.collectable) == (400, 0)
    assert node_status(settings).held == 500
    store.close()


@pytest.mark.parametrize(
    ("record", "shown"), [({"profile": "float32"}, "float32"), ({}, "exact")], ids=["written", "of an older version"]
)
def test_status_shows_the_profile_that_runs_else_the_one_that_is_set(
    settings: NodeSettings, network: Network, record: dict[str, str], shown: str
) -> None:
    """A model without an exact form runs in float32, whatever the settings prefer."""
    assert node_status(settings).profile == "exact"
    living = {"pid": os.getpid(), "created": psutil.Process().create_time()}
    (settings.data_dir / STATUS_FILE).write_text(json.dumps(living | record))

    assert node_status(settings).profile == shown


def test_status_shows_the_announced_endpoint(settings: NodeSettings, network: Network, stakes: FakeStakes) -> None:
    """This node's own, and nothing before it has announced."""
    assert node_status(settings).endpoint == ""
    for node, endpoint in ((NODES[1].address, "wss://theirs.test:1"), (OWNER, "wss://mine.test:1")):
        stakes.announced.append(Announcement(Address(node), bytes(32), 0, 2, 1, endpoint, 1, 0))

    assert node_status(settings).endpoint == "wss://mine.test:1"


def test_json_has_amounts_as_text(settings: NodeSettings, network: Network) -> None:
    """Amounts past 53 bits survive every reader."""
    shown = json.loads(json.dumps(node_status(settings).as_json()))

    assert [shown[key] for key in ("bonded", "exiting", "held", "collectable")] == ["300", "20", "0", "0"]
    assert shown["pid"] is None


def test_status_shows_each_endpoint_and_why_one_is_not_used(settings: NodeSettings, network: Network) -> None:
    """With the age of its newest block; for people and for programs."""
    good, liar = node_status(settings).endpoints
    told = json.loads(json.dumps(node_status(settings).as_json()))["endpoints"]

    assert endpoint_views([HEALTHY], now=1_030.4)[0].row() == ("http://good.test", "7", "30 s", "12 ms", "usable")
    assert endpoint_views([HEALTHY], now=900.0)[0].age == 0.0
    assert (good.reason, liar.block, liar.age, liar.failures) == ("", None, None, 2)
    assert liar.row()[1:4] == ("-", "-", "-")
    assert "chain id" in liar.reason or "chain 5" in liar.reason
    assert [each["usable"] for each in told] == [True, False]
    assert told[1]["reason"] == liar.reason


def test_status_shows_what_is_under_way(settings: NodeSettings, network: Network) -> None:
    """By its name, with its state."""
    shown = json.loads(json.dumps(node_status(settings).as_json()))
    assert shown["sending"] == [{"key": "settle-1", "state": "broadcast", "nonce": 7}]


def test_collect_now_settles_without_waiting_and_frees_the_store(
    settings: NodeSettings, network: Network, channels: FakeChannels
) -> None:
    """Whatever this node's turn; afterwards the node can start."""
    store = Store(settings.data_dir)
    open_held(Ledger(store), stage=2)
    Ledger(store).hold_voucher(make_voucher(400))
    store.close()

    assert [(each.kind, each.amount) for each in collect_now(settings)] == [("settle", 400), ("collect", 80)]
    Store(settings.data_dir).close()


def test_collect_now_is_refused_while_the_node_runs(
    settings: NodeSettings, network: Network, channels: FakeChannels
) -> None:
    """Two processes on one store are one too many, and nothing is sent."""
    hold(settings, 400)
    store = Store(settings.data_dir)

    with pytest.raises(StoreLocked):
        collect_now(settings)

    assert channels.calls == []
    store.close()


def test_client_promise_is_the_nodes_to_hold(tmp_path: Path, channels: FakeChannels) -> None:
    """What the client's book signs is what a node's ledger settles."""
    client, server = Store(tmp_path / "client"), Store(tmp_path / "node")
    book, ledger = ChannelBook(client, DOMAIN), Ledger(server)
    planned = book.plan(CLIENT.address, CLIENT.address, payees_for([(OWNER, 1)]))
    book.set_locked(planned.channel, 100)
    ledger.open_channel(planned.channel, planned.key, planned.payees, 0)

    signed = book.sign(CLIENT, planned.channel, 60, WORK)
    ledger.hold_voucher(signed)

    assert ledger.held(planned.channel).voucher == signed
    client.close()
    server.close()
