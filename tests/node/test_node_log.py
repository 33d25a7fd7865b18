"""The followed directory is at each moment what reading the whole chain anew gives, and costs what is new."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from incentives.client_errors import ClientLocked, ClientStoreError
from incentives.signing import LocalSigner
from incentives.stakes import sign_consent
from incentives.units import ONE
from node.directory import Directory, NodeRecord, read_records
from node.network import Network, chain_folder, connect
from node.node_log import LOCAL_DEPTH, FollowedView
from sharding.span import Span
from tests.conftest import ask
from tests.node.chain_proxy import proxying
from tests.node.swarm import deploy_network
from verification.addresses import Address

MANIFEST, PEER = b"\x0a" * 32, b"\x0b" * 32


def dev(index: int) -> LocalSigner:
    """A test account."""
    return LocalSigner.dev_account(index, 31337)


@pytest.fixture(scope="module")
def deployed(embedded_url: str) -> Network:
    """A suite."""
    return deploy_network(embedded_url)


@dataclass
class World:
    """A chain on which nodes come and go, and a view that follows it."""

    url: str
    network: Network
    folder: Path
    view: FollowedView

    def join(self, owner: int, signer: int) -> None:
        """A node of the owner."""
        stakes = self.network.stakes
        consent = sign_consent(dev(signer), stakes.domain, dev(owner).address, PEER)
        stakes.join_with_permit(dev(owner), consent, 200 * ONE)

    def announce(self, owner: int, start: int, end: int, endpoint: str = "wss://node.test:1") -> None:
        """Its word."""
        self.network.stakes.announce(dev(owner), dev(owner).address, MANIFEST, start, end, 7, endpoint)

    def check(self) -> dict[Address, NodeRecord]:
        """Both readings are the same."""
        found = self.view.read()
        assert found == read_records(self.network)
        assert list(found) == list(read_records(self.network))
        return found

    def restart(self) -> None:
        """Another process takes over."""
        self.view.close()
        self.view = FollowedView(self.network, self.folder)


@pytest.fixture
def world(deployed: Network, embedded_snapshot: str, tmp_path: Path) -> Iterator[World]:
    """Nobody has joined."""
    world = World(embedded_snapshot, deployed, tmp_path, FollowedView(deployed, tmp_path))
    yield world
    world.view.close()


def test_whatever_nodes_do_both_readings_agree(world: World) -> None:
    """Joining, announcing, more stake, less stake, another key, senseless words; also in the life after this one."""
    assert world.check() == {}
    world.join(1, 5)
    assert world.check() == {}
    world.announce(1, 0, 2)
    world.join(2, 6)
    world.announce(2, 0, 5_000)
    assert list(world.check()) == [dev(1).address]
    world.announce(2, 2, 6, "wss://\u00fc" * 30)
    world.announce(1, 1, 2)
    assert [each.span for each in world.check().values()] == [Span(2, 6), Span(1, 2)]
    world.restart()
    world.network.stakes.add_stake(dev(1), ONE)
    world.network.stakes.exit(dev(2), 60 * ONE)
    found = world.check()
    assert (found[dev(1).address].bonded, found[dev(2).address].exiting) == (201 * ONE, 60 * ONE)
    consent = sign_consent(dev(7), world.network.stakes.domain, dev(1).address, b"\x0c" * 32)
    world.network.stakes.rotate(dev(1), consent)
    assert world.check()[dev(1).address].signer == dev(7).address


@pytest.mark.parametrize("undone", [LOCAL_DEPTH, LOCAL_DEPTH + 1, LOCAL_DEPTH + 9])
def test_what_the_chain_takes_back_is_taken_back(world: World, undone: int) -> None:
    """As deep as the record goes, one past it, and far past it; with other blocks in its place."""
    world.join(1, 5)
    world.announce(1, 0, 2)
    for _ in range(LOCAL_DEPTH + 3):
        ask(world.url, "evm_mine")
    world.check()
    taken = ask(world.url, "evm_snapshot")
    world.announce(1, 4, 6)
    for _ in range(undone - 1):
        ask(world.url, "evm_mine")
    assert world.check()[dev(1).address].span == Span(4, 6)
    assert ask(world.url, "evm_revert", taken) is True
    world.network.stakes.add_stake(dev(1), ONE)
    for _ in range(undone):  # a chain that became much shorter is taken for an endpoint that lags
        ask(world.url, "evm_mine")

    assert world.check()[dev(1).address].span == Span(0, 2)


def test_a_second_life_reads_what_is_new(world: World) -> None:
    """Not a block of what the first one has read."""
    world.join(1, 5)
    world.announce(1, 0, 2)
    for _ in range(30):
        ask(world.url, "evm_mine")
    world.check()
    world.view.close()
    path = world.folder / "deployment.json"
    world.network.deployment.write(path)
    with proxying(world.url) as proxy:
        view = FollowedView(connect(proxy.url, path), world.folder)
        proxy.asked.clear()
        assert list(view.read()) == [dev(1).address]
        assert "eth_getLogs" not in proxy.asked
        world.announce(1, 2, 4)
        assert view.read()[dev(1).address].span == Span(2, 4)
        assert proxy.asked.count("eth_getLogs") == 1
        view.close()


async def test_a_directory_reads_by_it(world: World) -> None:
    """Sessions see no difference."""
    directory = Directory(world.network, -1.0, view=world.view)
    world.join(1, 5)
    world.announce(1, 0, 2)
    assert (await directory.record(dev(1).address)).span == Span(0, 2)


def test_one_process_reads_and_another_file_is_refused(world: World) -> None:
    """Two would apply one event twice; a file of something else is left alone."""
    with pytest.raises(ClientLocked):
        FollowedView(world.network, world.folder)
    world.view.close()
    path = chain_folder(world.network, world.folder) / "nodes.sqlite"
    path.write_bytes(b"something else, long enough to be taken for a header of a database" * 9)
    with pytest.raises(ClientStoreError):
        FollowedView(world.network, world.folder)
