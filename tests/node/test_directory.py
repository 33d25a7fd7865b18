"""The directory: what the chain says of each node, read as seldom as it may be and as often as it must."""

import asyncio

import pytest

from incentives.errors import ChainUnavailable
from node.directory import Directory, read_records
from node.errors import UnknownNode
from sharding.span import Span
from tests.node.fake_stakes import MANIFEST, FakeStakes, address, network
from verification.addresses import Address

NEVER = 1e6
"""A refresh time that no test reaches."""


@pytest.fixture
def stakes() -> FakeStakes:
    """Nobody has joined."""
    return FakeStakes()


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
    stakes.join(1)
    stakes.known.clear()

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


async def test_strangers_names_do_not_cost_a_reading_each(stakes: FakeStakes, monkeypatch: pytest.MonkeyPatch) -> None:
    """All who look for somebody unknown right after a reading wait for one further reading together."""
    monkeypatch.setattr("node.directory.UNKNOWN_REFRESH_SECONDS", 0.1)
    directory = Directory(network(stakes), NEVER)
    await directory.records()
    looked = [directory.record(Address(f"0x{n:040d}")) for n in range(2, 22)]
    found = await asyncio.gather(*looked, return_exceptions=True)

    assert {type(each) for each in found} == {UnknownNode}
    assert stakes.readings == 2


async def test_known_node_needs_no_reading(stakes: FakeStakes) -> None:
    """Fresh records answer by themselves."""
    node = stakes.join(1)
    directory = Directory(network(stakes), NEVER)

    await directory.record(node)
    await directory.record(node)

    assert stakes.readings == 1


async def test_node_that_is_nowhere_is_named(stakes: FakeStakes) -> None:
    """After the reading that was due and one more, which began after the question."""
    directory = Directory(network(stakes), NEVER)

    with pytest.raises(UnknownNode) as caught:
        await directory.record(address(9))

    assert caught.value.node == address(9)
    assert stakes.readings == 2


async def test_chain_that_is_down_is_asked_again(stakes: FakeStakes) -> None:
    """A failed reading is told, and does not count as one."""
    node = stakes.join(1)
    directory = Directory(network(stakes), NEVER)
    stakes.down = True
    with pytest.raises(ChainUnavailable):
        await directory.records()

    stakes.down = False

    assert list(await directory.records()) == [node]


async def test_a_node_is_where_its_record_says_and_the_chain_is_asked_when_nobody_is_there(stakes: FakeStakes) -> None:
    """A record's endpoint is newer than the announcement, until whoever dialled it found nobody."""
    moved, other = stakes.join(1), stakes.join(2)
    directory = Directory(network(stakes), NEVER)
    directory.moved = {moved: "wss://elsewhere.test:2"}.get

    assert (await directory.record(moved)).endpoint == "wss://elsewhere.test:2"
    assert (await directory.records())[moved].endpoint == "wss://elsewhere.test:2"
    assert (await directory.records())[other].endpoint == "wss://node2.test:1"
    assert (await directory.records(newer_than=0.0))[moved].endpoint == "wss://node1.test:1"
    assert (await directory.chain_records())[moved].endpoint == "wss://node1.test:1"
