"""The directory: what the chain says of each node, read as seldom as it may be and as often as it must."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from incentives.errors import ChainUnavailable
from incentives.stakes import Announcement, Identity, StakeRecord
from node.directory import Directory, read_records
from node.errors import UnknownNode
from node.network import Network
from sharding.span import Span
from verification.addresses import Address, to_address

MANIFEST = b"\x0a" * 32
NEVER = 1e6
"""A refresh time that no test reaches."""


def address(number: int) -> Address:
    """An address of its own for each number."""
    return to_address(number.to_bytes(20, "big"))


@dataclass
class FakeStakes:
    """The Stakes wrapper with what a test puts in; counts its readings."""

    announced: list[Announcement] = field(default_factory=list)
    known: dict[Address, Identity] = field(default_factory=dict)
    bonded: dict[Address, int] = field(default_factory=dict)
    readings: int = 0
    down: bool = False

    def join(self, number: int, start: int = 0, end: int = 2, bonded: int = 500) -> Address:
        """A node that joined and announced."""
        node = address(number)
        self.known[node] = Identity(node, address(1000 + number), number.to_bytes(32, "big"))
        self.bonded[node] = bonded
        self.announced.append(Announcement(node, MANIFEST, start, end, 7, f"wss://node{number}.test:1", number, 0))
        return node

    def announcements(self) -> list[Announcement]:
        """As the wrapper."""
        self.readings += 1
        if self.down:
            raise ChainUnavailable("http://chain.test", "down")
        return list(self.announced)

    def identities(self) -> dict[Address, Identity]:
        """As the wrapper."""
        return dict(self.known)

    def stake_of(self, node: str) -> StakeRecord:
        """As the wrapper."""
        return StakeRecord(self.bonded[to_address(node)], address(0), 40, 0, 0)


@pytest.fixture
def stakes() -> FakeStakes:
    """Nobody has joined."""
    return FakeStakes()


def network(stakes: FakeStakes) -> Network:
    """A network of stakes alone."""
    return cast(Network, SimpleNamespace(stakes=stakes))


def test_record_joins_announcement_identity_and_stake(stakes: FakeStakes) -> None:
    """Three sources, one record."""
    node = stakes.join(1, 2, 5)

    record = read_records(network(stakes))[node]

    assert (record.node, record.signer, record.peer) == (node, address(1001), (1).to_bytes(32, "big"))
    assert (record.bonded, record.exiting, record.staked) == (500, 40, True)
    assert (record.manifest, record.span, record.ask) == (MANIFEST, Span(2, 5), 7)
    assert record.endpoint == "wss://node1.test:1"


def test_node_without_stake_is_listed_and_not_staked(stakes: FakeStakes) -> None:
    """Who was slashed is still known, so that others can say why they refuse it."""
    node = stakes.join(1, bonded=0)

    assert read_records(network(stakes))[node].staked is False


@pytest.mark.parametrize(("start", "end"), [(0, 1025), (2**32 - 2, 2**32 - 1), (3, 3), (4, 3)])
def test_senseless_announcement_hides_nobody_else(stakes: FakeStakes, start: int, end: int) -> None:
    """The contract takes any numbers; one node's must not take the directory from everybody."""
    stakes.join(1, start, end)
    good = stakes.join(2, 0, 1024)

    assert list(read_records(network(stakes))) == [good]


def test_announcement_without_identity_is_left_out(stakes: FakeStakes) -> None:
    """Nobody could be dialled there."""
    node = stakes.join(1)
    del stakes.known[node]

    assert read_records(network(stakes)) == {}


async def test_records_are_read_once_within_the_refresh_time(stakes: FakeStakes) -> None:
    """Many sessions, one reading."""
    node = stakes.join(1)
    directory = Directory(network(stakes), NEVER)

    readings = await asyncio.gather(*(directory.records() for _ in range(5)))

    assert all(list(reading) == [node] for reading in readings)
    assert stakes.readings == 1


async def test_old_records_are_read_again(stakes: FakeStakes) -> None:
    """With a refresh time of nothing every question is a reading."""
    directory = Directory(network(stakes), -1.0)
    await directory.records()

    node = stakes.join(1)

    assert list(await directory.records()) == [node]
    assert stakes.readings == 2


async def test_unknown_node_is_looked_for_once_more(stakes: FakeStakes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that has just announced is found although the records are fresh."""
    monkeypatch.setattr("node.directory.UNKNOWN_REFRESH_SECONDS", 0.0)
    directory = Directory(network(stakes), NEVER)
    await directory.records()
    node = stakes.join(1)

    assert (await directory.record(node)).node == node
    assert stakes.readings == 2


async def test_strangers_names_do_not_cost_a_reading_each(stakes: FakeStakes) -> None:
    """Right after a reading an unknown node is unknown."""
    directory = Directory(network(stakes), NEVER)
    await directory.records()
    for _ in range(3):
        with pytest.raises(UnknownNode):
            await directory.record(Address("0x0000000000000000000000000000000000000002"))

    assert stakes.readings == 1


async def test_known_node_needs_no_reading(stakes: FakeStakes) -> None:
    """Fresh records answer by themselves."""
    node = stakes.join(1)
    directory = Directory(network(stakes), NEVER)

    await directory.record(node)
    await directory.record(node)

    assert stakes.readings == 1


async def test_node_that_is_nowhere_is_named(stakes: FakeStakes) -> None:
    """After one reading that began after the question, and no more."""
    directory = Directory(network(stakes), NEVER)

    with pytest.raises(UnknownNode) as caught:
        await directory.record(address(9))

    assert caught.value.node == address(9)
    assert stakes.readings == 1


async def test_chain_that_is_down_is_asked_again(stakes: FakeStakes) -> None:
    """A failed reading is told, and does not count as one."""
    node = stakes.join(1)
    directory = Directory(network(stakes), NEVER)
    stakes.down = True
    with pytest.raises(ChainUnavailable):
        await directory.records()

    stakes.down = False

    assert list(await directory.records()) == [node]
