"""Connecting: of several endpoints only those are used that are of the deployment's chain and run its code."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from incentives.client_errors import StaleChain
from incentives.errors import ChainError, ChainUnavailable, CodeMismatch, DeploymentError, WrongChain
from node.network import Network, connect, connect_node
from node.settings import NodeSettings
from tests.node.chain_proxy import ChainProxy, proxying
from tests.node.swarm import deploy_network

DEAD = "http://127.0.0.1:9"
OLD = {"number": "0x5", "timestamp": "0x64", "hash": "0x" + "11" * 32, "baseFeePerGas": "0x1"}
LIES: list[tuple[dict[str, Any], type[ChainError]]] = [
    ({"eth_chainId": "0x1"}, WrongChain),
    ({"eth_getCode": "0x6000"}, CodeMismatch),
    ({"eth_getBlockByNumber": OLD}, StaleChain),
]


@pytest.fixture(scope="module")
def known(embedded_url: str) -> Network:
    """A deployed suite."""
    return deploy_network(embedded_url)


@pytest.fixture
def path(known: Network, tmp_path: Path) -> Path:
    """Its deployment file, where clients look for it by themselves."""
    found = tmp_path / "deployments" / "31337.json"
    known.deployment.write(found)
    return found


@pytest.fixture(params=LIES, ids=["chain id", "code", "stuck head"])
def liar(request: pytest.FixtureRequest, embedded_url: str) -> Iterator[tuple[ChainProxy, type[ChainError]]]:
    """An endpoint that tells one lie, and what it is called."""
    own, error = request.param
    with proxying(embedded_url, **own) as proxy:
        yield proxy, error


def test_a_liar_before_an_honest_endpoint_is_not_used(
    known: Network, path: Path, liar: tuple[ChainProxy, type[ChainError]], embedded_url: str
) -> None:
    """Whatever it lies about; what is read and sent goes to the other one, and operators see why."""
    proxy, error = liar
    settings = NodeSettings(
        model=path, blocks="0:1", owner=known.token.contract.address, rpc_url=[proxy.url, embedded_url],
        deployment=path, max_head_age_seconds=3_600,
    )  # fmt: skip
    network = connect_node(settings)
    asked = len(proxy.asked)

    assert network.stakes.minimum_stake == known.stakes.minimum_stake
    assert network.chain.call(network.token.contract, "totalSupply") == known.token.total_supply()
    assert "eth_call" not in proxy.asked[asked:]
    refused, used = network.chain.pool.survey()
    assert isinstance(refused.refused, error)
    assert (used.refused, used.head and used.head.number) == (None, known.chain.head().number)


def test_a_liar_alone_is_an_error_that_says_what_is_wrong(
    path: Path, liar: tuple[ChainProxy, type[ChainError]]
) -> None:
    """And not a network."""
    proxy, error = liar
    with pytest.raises(error):
        connect(proxy.url, path, max_head_age_s=3_600)


def test_a_dead_endpoint_is_passed_over(path: Path, embedded_url: str) -> None:
    """Alone it is an error, after the time that was given."""
    network = connect([DEAD, embedded_url], path, wait_seconds=1.0)
    dead, used = network.chain.pool.survey()
    assert isinstance(dead.refused, ChainUnavailable)
    assert used.refused is None
    with pytest.raises(ChainUnavailable):
        connect([DEAD], path, wait_seconds=0.01)


@pytest.mark.parametrize("own", [{"eth_chainId": "0x1"}, {"eth_getCode": "0x6000"}], ids=["chain id", "code"])
def test_without_a_path_the_deployment_is_found_in_spite_of_a_liar(
    path: Path, embedded_url: str, own: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that names another chain, and one of the right chain, are asked first and last."""
    monkeypatch.chdir(path.parent.parent)
    with proxying(embedded_url, **own) as proxy:
        for urls in ([proxy.url, embedded_url], [embedded_url, proxy.url], [DEAD, proxy.url, embedded_url]):
            assert connect(urls, None).deployment.chain_id == 31337


def test_without_a_path_a_chain_without_a_file_is_told(path: Path, embedded_url: str, tmp_path: Path) -> None:
    """In the folder where commands run there is none; and where nobody answers, that is told."""
    with pytest.raises(DeploymentError, match="31337"), pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        path.unlink()
        connect(embedded_url, None)
    with pytest.raises(ChainUnavailable):
        connect([DEAD], None)


def test_an_endpoint_that_begins_to_lie_is_left(path: Path, embedded_url: str) -> None:
    """After a failure it is checked again, and found to be of another chain."""
    with proxying(embedded_url) as proxy:
        network = connect([proxy.url, embedded_url], path)
        network.chain.head()
        assert proxy.asked
        proxy.down = True
        network.chain.head()
        proxy.down, proxy.own = False, {"eth_chainId": "0x1"}
        refused, used = network.chain.pool.survey()
        assert isinstance(refused.refused, WrongChain)
        assert used.refused is None
        network.chain.head()
