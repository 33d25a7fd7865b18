"""Chains for tests: one process per kind and test session, and a snapshot around each test that asks for it."""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from node.devchain.local import LocalChain
from node.devchain.locate import find_anvil

pytest.register_assert_rewrite("tests.node.link", "tests.node.transport_contract", "tests.node.hostile_contract")


def ask(url: str, method: str, *params: Any) -> Any:
    """The result of one JSON-RPC request; AssertionError with the error object where there is none."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    try:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    assert "result" in answer, answer
    return answer["result"]


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
