"""Prices and fairness of an epoch: from records and from what was collected, the same numbers for everybody."""

import json
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from incentives.chain_types import Block
from node.cli import app, markets
from node.gossip_view import NodeView
from node.market import ModelMarket, NodeSales, collected_since, first_block_since, markets_of
from tests.conftest import ask
from tests.node.records import address, on_chain, record
from tests.node.test_transactions import OWNER, Node, network, node
from verification.node_records import ServedSpan
from verification.placement_claims import FIXED

__all__ = ["network", "node"]


def view(number: int, price: int | None, rate: int = 2_000, manifest: bytes = b"m" * 32) -> NodeView:
    """A node with a record of that ask and so many thousandths of a block x token per second; None: without a record."""
    chain = replace(on_chain(number), manifest=manifest, ask=500)
    if price is None:
        return NodeView(chain, None, 0.0)
    told = replace(record(number), spans=(ServedSpan(0, 4, price, 1000),), placement=replace(FIXED, block_rate=rate))
    return NodeView(chain, told, 1.0)


def test_a_market_has_its_nodes_by_their_asks() -> None:
    """Capacity is the claimed rate times the epoch, what was sold is what the earnings pay for."""
    [market] = markets_of([view(1, 300), view(2, 100), view(3, None)], {address(2): 25_000}, 60)

    assert [(each.node, each.ask, each.is_recorded) for each in market.nodes] == [
        (address(2), 100, True), (address(1), 300, True), (address(3), 500, False),
    ]  # fmt: skip
    assert [(each.earned, each.sold, each.capacity) for each in market.nodes] == [
        (25_000, 250, 120), (0, 0, 120), (0, 0, 0),
    ]  # fmt: skip
    assert (market.utilisation.used, market.utilisation.capacity, market.median_ask) == (250, 240, 300)
    assert market.hint == 300 + 300 // 8  # more sold than offered counts as all
    assert market.fairness == Fraction(1, 2)


def test_where_nothing_is_known_of_capacities_there_is_no_index_and_the_hint_stands_still() -> None:
    """Earnings alone say nothing."""
    [market] = markets_of([view(1, None), view(2, None)], {address(1): 7}, 60)
    assert (market.fairness, market.hint, market.median_ask) == (None, 500, 500)


def test_each_model_is_a_market_and_nodes_without_a_stake_are_in_none() -> None:
    """The one with the most nodes first."""
    gone = NodeView(on_chain(9, bonded=0), None, 0.0)
    found = markets_of([view(1, 1, manifest=b"a" * 32), view(2, 1), view(3, 1), gone], {}, 60)
    assert [(market.manifest, len(market.nodes)) for market in found] == [(b"m" * 32, 2), (b"a" * 32, 1)]
    assert found[0].fairness == 1
    assert markets_of([gone], {}, 60) == []


@pytest.mark.parametrize(("since", "first"), [(0, 0), (100, 0), (101, 1), (103, 2), (105, 2), (106, 5), (999, 5)])
def test_the_first_block_of_a_time_is_found(since: int, first: int) -> None:
    """At its second and one past it; past the newest there is none."""
    times = [100, 102, 105, 105, 105]
    chain: Any = SimpleNamespace(
        head=lambda: Block(4, times[4], b""), block=lambda number: Block(number, times[number], b"")
    )
    assert first_block_since(chain, since) == first


def test_what_was_collected_is_counted_by_the_chains_clock(node: Node) -> None:
    """In the epoch, and not a second longer."""
    node.life()
    assert collected_since(node.network, 60) == {OWNER.address: 400}
    ask(node.settings.rpc_url, "evm_increaseTime", 100)
    ask(node.settings.rpc_url, "evm_mine")
    assert collected_since(node.network, 90) == {}
    assert collected_since(node.network, 10_000) == {OWNER.address: 400}


MARKET = ModelMarket(
    b"m" * 32,
    (NodeSales(address(1), "0:4", 10**12, True, 10**15, 2_000), NodeSales(address(2), "4:8", 10**12, False, 0, 0)),
)


def shown(monkeypatch: pytest.MonkeyPatch, *words: str, found: tuple[ModelMarket, ...] = (MARKET,)) -> str:
    """What a command prints of one market."""
    monkeypatch.setattr(markets, "_markets", lambda *_: list(found))
    monkeypatch.setenv("COLUMNS", "200")
    done = CliRunner().invoke(app, ["network", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_prices_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """For programs with amounts as text."""
    [model] = json.loads(shown(monkeypatch, "prices", "--json"))["models"]
    assert (model["hint"], model["medianAsk"]) == (str(10**12), str(10**12))
    assert (model["sold"], model["capacity"]) == (1_000, 2_000)
    assert [each["recorded"] for each in model["nodes"]] == [True, False]
    assert model["nodes"][0]["earned"] == str(10**15)


def test_fairness_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly and in parts of 10,000; null where nobody told anything."""
    unknown = ModelMarket(b"u" * 32, MARKET.nodes[1:])
    told = json.loads(shown(monkeypatch, "fairness", "--json", "--epoch", "60", found=(MARKET, unknown)))
    assert told["epochSeconds"] == 60
    assert [(each["index"], each["bps"]) for each in told["models"]] == [("1", 10_000), (None, None)]


def test_an_epoch_of_nothing_is_refused() -> None:
    """One second is the least."""
    assert CliRunner().invoke(app, ["network", "prices", "--epoch", "0"]).exit_code == 2
