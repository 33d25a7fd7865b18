"""Chains for tests: one process per kind and test session, and a snapshot around each test that asks for it."""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from node.devchain.local import LocalChain
from node.devchain.locate import find_anvil
from tests.contracts.reverts import LEDGER

pytest.register_assert_rewrite("tests.node.link", "tests.node.transport_contract", "tests.node.hostile_contract")

ON_ONE_CHAIN = frozenset({
    "test_deploy", "test_demands", "test_descent_clocks", "test_descents", "test_disputes", "test_epoch_duty", "test_evidence",
    "test_judge", "test_judge_bounds", "test_jury", "test_jury_appeals", "test_jury_attacks", "test_jury_gas", "test_jury_refusals",
    "test_jury_voting", "test_models", "test_product_judge", "test_raw_calldata", "test_score_challenges", "test_score_demands",
    "test_score_refusals", "test_score_table",
})  # fmt: skip
"""Files of contract tests that need the embedded chain only where there is no anvil, which is ten times as fast. What is played
at random, and every path of stakes and channels, is played on both."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out what would be judged a second time, minutes long, by the same bytes of code."""
    if find_anvil() is not None:
        items[:] = [item for item in items if not (_is_embedded(item) and item.path.stem in ON_ONE_CHAIN)]


def _is_embedded(item: pytest.Item) -> bool:
    callspec = getattr(item, "callspec", None)
    return callspec is not None and callspec.params.get("chain_url") == "embedded"


def pytest_configure(config: pytest.Config) -> None:
    """At the end of a session that ran all of tests/contracts, the ledger asks for what was never refused."""
    config.pluginmanager.register(LEDGER, "refusals")


def ask(url: str, method: str, *params: Any) -> Any:
    """The result of one JSON-RPC request; AssertionError with the error object where there is none."""
    answer = answered(url, method, *params)
    assert "result" in answer, answer
    return answer["result"]


def answered(url: str, method: str, *params: Any) -> dict[str, Any]:
    """The whole answer to one JSON-RPC request, result or error."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        found: dict[str, Any] = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return found


@pytest.fixture(scope="session")
def embedded_url() -> Iterator[str]:
    """The URL of an embedded chain; it needs nothing but Python."""
    with LocalChain("embedded") as chain:
        yield chain.url


@pytest.fixture(scope="session")
def anvil_url() -> Iterator[str]:
    """The URL of an anvil; skipped where there is none."""
    if find_anvil() is None:
        pytest.skip("no anvil: run `npm install` in contracts/ or put it on the PATH")
    with LocalChain("anvil") as chain:
        yield chain.url


@pytest.fixture(scope="session", params=["embedded", "anvil"])
def chain_url(request: pytest.FixtureRequest) -> str:
    """The URL of each kind of local chain in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


def _around(url: str) -> Iterator[str]:
    taken = ask(url, "evm_snapshot")
    yield url
    assert ask(url, "evm_revert", taken) is True, "the snapshot was used up inside the test"


@pytest.fixture
def chain_snapshot(chain_url: str) -> Iterator[str]:
    """The same URL; blocks and time are what they were again after the test."""
    yield from _around(chain_url)


@pytest.fixture
def embedded_snapshot(embedded_url: str) -> Iterator[str]:
    """As chain_snapshot, on the embedded chain alone."""
    yield from _around(embedded_url)
