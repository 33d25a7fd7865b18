"""Refunds as a client asks for them: what it kept of its sessions, and a court that has convicted since."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from incentives.artifacts import parse_artifact
from incentives.chain_types import Contract
from incentives.deployment import ContractRecord
from incentives.payees import payees_for
from incentives.signing import LocalSigner
from node.channel_book import ChannelBook, OpenedChannel
from node.network import Network, from_deployment
from node.refunding import Refund, refund_all
from node.session_book import SessionRecord
from node.store import Store
from tests.conftest import ask
from tests.node.swarm import PARAMS, deploy_network
from verification.routes import Route, RouteStage
from verification.work import session_work

DOUBLES = Path(__file__).parents[1] / "contracts" / "artifacts"
MATURITY = 1_000
PAYER, GUILTY, HONEST, STRANGER = (LocalSigner.dev_account(index, 31337) for index in (1, 2, 3, 4))
PAYEES = payees_for([(GUILTY.address, 4), (HONEST.address, 6)])
WORD = bytes(range(32))


@pytest.fixture(scope="module")
def network(embedded_url: str) -> Network:
    """A deployment whose court convicts whom it is told to."""
    network = deploy_network(embedded_url)
    chain, deployer = network.chain, LocalSigner.dev_account(0, 31337)
    artifact = parse_artifact(json.loads((DOUBLES / "AnyVerdicts.json").read_text()))
    court = chain.deploy(deployer, artifact)
    terms = network.deployment.token.address, PARAMS.close_delay_s, MATURITY, court.contract.address, network.pool
    channels = chain.deploy(deployer, Contract.at("Channels", court.contract.address).artifact, *terms)
    records = [ContractRecord(each.contract.address, each.code_hash, each.block) for each in (court, channels)]
    return from_deployment(chain, replace(network.deployment, court=records[0], channels=records[1]))


@pytest.fixture
def book(network: Network, tmp_path: Path) -> Iterator[ChannelBook]:
    """An empty book; what the test does to the chain is undone."""
    store, snapshot = Store(tmp_path), ask(network.chain.url, "evm_snapshot")
    yield ChannelBook(store, network.money_domain)
    store.close()
    ask(network.chain.url, "evm_revert", snapshot)


def funded(network: Network, book: ChannelBook, amount: int = 1_000) -> OpenedChannel:
    """A channel of the payer's on the chain and in its book."""
    planned = book.plan(PAYER.address, PAYER.address, PAYEES)
    network.channels.fund(PAYER, planned.key, amount)
    book.set_locked(planned.channel, amount)
    return book.get(planned.channel)


def route_on(channel: bytes, number: int) -> Route:
    """A session's."""
    stages = (RouteStage(GUILTY.address, 0, 2, 3), RouteStage(HONEST.address, 2, 4, 3))
    nonce = number.to_bytes(32, "big")
    return Route(nonce, channel, 0, bytes(32), stages, WORD, WORD, WORD, WORD, 16, WORD, 2**40 - 1)


def promise(
    network: Network, book: ChannelBook, opened: OpenedChannel, number: int, cumulative: int, amount: int
) -> Route:
    """Signed in the book as a session does, and settled."""
    sign(network, book, opened, number, cumulative, amount, settle=True)
    return route_on(opened.channel, number)


def sign(
    network: Network,
    book: ChannelBook,
    opened: OpenedChannel,
    number: int,
    cumulative: int,
    amount: int,
    *,
    settle: bool,
) -> None:
    """The session has seven positions so far."""
    route = route_on(opened.channel, number)
    record = SessionRecord(route.digest(network.route_domain), route, opened.channel, cumulative, amount, 7)
    work = session_work(record.digest, amount, 7)
    signed = book.sign(PAYER, opened.channel, cumulative, work, record)
    if settle:
        network.channels.settle(STRANGER, signed)


def convict(network: Network, route: Route, node: LocalSigner) -> None:
    """The court's word."""
    artifact = parse_artifact(json.loads((DOUBLES / "AnyVerdicts.json").read_text()))
    court = Contract(network.deployment.court.address, artifact)
    network.chain.send(STRANGER, court, "convict", route.digest(network.route_domain), node.address)


def test_what_a_convicted_node_was_paid_comes_back_once(network: Network, book: ChannelBook) -> None:
    """Of that session alone; a second round finds nothing more."""
    opened = funded(network, book)
    good, bad = promise(network, book, opened, 1, 300, 300), promise(network, book, opened, 2, 500, 200)
    assert refund_all(book, network, PAYER) == []
    convict(network, bad, GUILTY)
    digest = bad.digest(network.route_domain)
    assert refund_all(book, network, PAYER) == [Refund(opened.channel, digest, GUILTY.address, 80)]
    assert network.channels.free_of(PAYER.address) == 80
    assert refund_all(book, network, PAYER) == []
    assert not network.channels.is_convicted(good.digest(network.route_domain), GUILTY.address)
    share = network.channels.share(PAYEES, 0)
    assert (share.earned, share.drawn, share.collectable, share.ripening) == (200, 80, 0, 120)


def test_a_promise_that_was_not_settled_is_no_hindrance(network: Network, book: ChannelBook) -> None:
    """The last one says 400, settled is 100: of what is said to be the session's the settled part comes back."""
    opened = funded(network, book)
    bad = promise(network, book, opened, 1, 100, 100)
    sign(network, book, opened, 1, 400, 400, settle=False)
    convict(network, bad, GUILTY)
    assert [each.amount for each in refund_all(book, network, PAYER)] == [40]


def test_what_is_ripe_is_refused_and_stops_nothing(network: Network, book: ChannelBook) -> None:
    """Two channels, the older one too late."""
    late, fresh = funded(network, book), funded(network, book)
    old = promise(network, book, late, 1, 100, 100)
    ask(network.chain.url, "evm_increaseTime", 2 * MATURITY)
    new = promise(network, book, fresh, 1, 50, 50)
    for route in (old, new):
        convict(network, route, GUILTY)
    assert [(each.channel, each.amount) for each in refund_all(book, network, PAYER)] == [(fresh.channel, 20)]


def test_only_the_payers_own_channels_are_asked_for(network: Network, book: ChannelBook) -> None:
    """A book may hold several keys' channels; without a settlement there is nothing to ask."""
    opened = funded(network, book)
    sign(network, book, opened, 1, 100, 100, settle=False)
    convict(network, route_on(opened.channel, 1), GUILTY)
    assert refund_all(book, network, PAYER) == refund_all(book, network, STRANGER) == []


def test_the_book_keeps_the_last_promise_of_each_session(network: Network, book: ChannelBook) -> None:
    """In their order, with their routes as they were signed; another channel's are not among them."""
    opened, other = funded(network, book), funded(network, book)
    for number, cumulative, amount in ((1, 10, 10), (2, 30, 20), (1, 35, 15)):
        sign(network, book, opened, number, cumulative, amount, settle=False)
    sign(network, book, other, 3, 1, 2**100, settle=False)
    kept = book.sessions(opened.channel)
    assert [(each.cumulative, each.amount, each.positions) for each in kept] == [(35, 15, 7), (30, 20, 7)]
    assert [each.route for each in kept] == [route_on(opened.channel, 1), route_on(opened.channel, 2)]
    assert [each.digest for each in kept] == [each.route.digest(network.route_domain) for each in kept]
    assert [each.amount for each in book.sessions(other.channel)] == [2**100]
