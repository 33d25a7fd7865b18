"""The directory: what the chain says of each node, read as seldom as it may be and as often as it must."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest

from incentives.chain_types import Block
from incentives.errors import ChainUnavailable
from incentives.stakes import Announcement, Identity, StakeRecord
from node.directory import MAX_NEW_BLOCKS, REORG_BLOCKS, ChainView, Directory, read_records
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
    known: list[tuple[int, Identity]] = field(default_factory=list)
    """With the blocks of their events."""
    bonded: dict[Address, int] = field(default_factory=dict)
    readings: int = 0
    whole_readings: int = 0
    down: bool = False
    block: int = 0

    def head(self) -> Block:
        """As the chain."""
        return Block(self.block, self.block, self.block.to_bytes(32, "big"))

    def join(self, number: int, start: int = 0, end: int = 2, bonded: int = 500) -> Address:
        """A node that joined and announced in the next block."""
        node = address(number)
        self.block += 1
        self.known.append((self.block, Identity(node, address(1000 + number), number.to_bytes(32, "big"))))
        self.bonded[node] = bonded
        self.announce(number, start, end)
        return node

    def announce(self, number: int, start: int = 0, end: int = 2) -> None:
        """Another announcement in the present block."""
        at = Announcement(
            address(number), MANIFEST, start, end, 7, f"wss://node{number}.test:1", self.block, len(self.announced)
        )
        self.announced.append(at)

    def forget_since(self, block: int) -> None:
        """A re-org: what happened from a block on did not happen."""
        self.announced = [each for each in self.announced if each.block < block]
        self.known = [each for each in self.known if each[0] < block]

    def announcements(self, from_block: int | None = None) -> list[Announcement]:
        """As the wrapper."""
        self.readings += 1
        self.whole_readings += from_block is None
        if self.down:
            raise ChainUnavailable("http://chain.test", "down")
        return list({each.node: each for each in self.announced if each.block >= (from_block or 0)}.values())

    def identities(self, from_block: int | None = None) -> dict[Address, Identity]:
        """As the wrapper."""
        return {each.node: each for block, each in self.known if block >= (from_block or 0)}

    def stake_of(self, node: str) -> StakeRecord:
        """As the wrapper."""
        return StakeRecord(self.bonded[to_address(node)], address(0), 40, 0, 0)


@pytest.fixture
def stakes() -> FakeStakes:
    """Nobody has joined."""
    return FakeStakes()


def network(stakes: FakeStakes) -> Network:
    """A network of stakes alone."""
    return cast(Network, SimpleNamespace(stakes=stakes, chain=stakes))


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


# Events are read once


def test_after_the_first_reading_only_new_blocks_are_read(stakes: FakeStakes) -> None:
    """And they tell of new nodes, of new words of old ones, and of stakes."""
    view, first = ChainView(network(stakes)), stakes.join(1)
    stakes.block = 1000
    view.read()
    second = stakes.join(2)
    stakes.announce(1, 2, 4)
    stakes.bonded[first] = 3
    records = view.read()

    assert stakes.whole_readings == 1
    assert set(records) == {first, second}
    assert (records[first].span, records[first].bonded) == (Span(2, 4), 3)


@pytest.mark.parametrize(("new", "whole"), [(MAX_NEW_BLOCKS - REORG_BLOCKS, 1), (MAX_NEW_BLOCKS - REORG_BLOCKS + 1, 2)])
def test_everything_is_read_again_when_too_much_is_new(stakes: FakeStakes, new: int, whole: int) -> None:
    """As many blocks as one request for logs takes, and not one more."""
    view = ChainView(network(stakes))
    stakes.join(1)
    stakes.block = 1000
    view.read()
    stakes.block += new
    view.read()

    assert stakes.whole_readings == whole


def test_a_reorg_takes_back_what_it_undid(stakes: FakeStakes) -> None:
    """A node that joined, and one that announced anew, in blocks that are no more."""
    view, first = ChainView(network(stakes)), stakes.join(1)
    stakes.block = 1000
    stakes.announce(1, 2, 4)
    stakes.join(2)
    view.read()
    stakes.forget_since(1000)
    stakes.block = 1002

    assert {node: each.span for node, each in view.read().items()} == {first: Span(0, 2)}
    assert stakes.whole_readings == 2


def test_what_came_after_the_first_reading_is_undone_as_well(stakes: FakeStakes) -> None:
    """It is read anew each time."""
    view, first = ChainView(network(stakes)), stakes.join(1)
    stakes.block = 1000
    view.read()
    late = stakes.join(2)
    assert set(view.read()) == {first, late}

    stakes.forget_since(1001)

    assert set(view.read()) == {first}


@pytest.mark.parametrize(("depth", "noticed"), [(REORG_BLOCKS, True), (REORG_BLOCKS + 1, False)])
def test_a_reorg_is_noticed_at_once_down_to_its_depth(stakes: FakeStakes, depth: int, noticed: bool) -> None:
    """A deeper one waits for the next whole reading."""
    view = ChainView(network(stakes))
    stakes.join(1)
    stakes.block = 999
    stakes.join(2)
    assert stakes.block == 1000
    stakes.block = 1000 + depth - 1
    view.read()
    stakes.forget_since(1000)
    stakes.block += 1

    assert (address(2) not in view.read()) is noticed


def test_a_chain_that_began_anew_is_read_anew(stakes: FakeStakes) -> None:
    """Its head is below the one that was seen."""
    view = ChainView(network(stakes))
    stakes.join(1)
    stakes.block = 1000
    view.read()
    stakes.forget_since(0)
    stakes.block = 0
    node = stakes.join(7)

    assert list(view.read()) == [node]


def test_a_rotated_key_is_seen(stakes: FakeStakes) -> None:
    """An event of a node that was known already."""
    view, node = ChainView(network(stakes)), stakes.join(1)
    stakes.block = 1000
    view.read()
    stakes.block = 1001
    stakes.known.append((1001, Identity(node, address(77), b"t" * 32)))

    assert (view.read()[node].signer, view.read()[node].peer) == (address(77), b"t" * 32)
    assert stakes.whole_readings == 1
