"""The chain's word on every node: events are read once, stakes when they change, and what a re-org undid is undone."""

import pytest

from incentives.stakes import Identity
from node.directory import MAX_NEW_BLOCKS, REORG_BLOCKS, ChainView
from sharding.span import Span
from tests.node.fake_stakes import FakeStakes, address, network


@pytest.fixture
def stakes() -> FakeStakes:
    """Nobody has joined."""
    return FakeStakes()


def test_after_the_first_reading_only_new_blocks_are_read(stakes: FakeStakes) -> None:
    """And they tell of new nodes, of new words of old ones, and of stakes."""
    view, first = ChainView(network(stakes)), stakes.join(1)
    stakes.block = 1000
    view.read()
    second = stakes.join(2)
    stakes.announce(1, 2, 4)
    stakes.bond(1, 3)
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


def test_a_stake_that_did_not_change_is_not_asked_for_again(stakes: FakeStakes) -> None:
    """A thousand nodes cost as little as one, once their stakes are older than what a re-org may change."""
    view = ChainView(network(stakes))
    for number in range(1, 1001):
        stakes.join(number)
    stakes.block += REORG_BLOCKS
    view.read()
    assert len(stakes.asked) == 1000
    stakes.asked.clear()
    stakes.block += 10
    stakes.bond(7, 3)
    for _ in range(2):
        assert view.read()[address(7)].bonded == 3
    assert stakes.asked == [address(7)] * 2


@pytest.mark.parametrize(("age", "asked"), [(REORG_BLOCKS - 1, 3), (REORG_BLOCKS, 1)])
def test_a_stake_is_asked_for_until_no_reorg_will_change_it(stakes: FakeStakes, age: int, asked: int) -> None:
    """So many blocks after its change, and not before."""
    view = ChainView(network(stakes))
    stakes.block = 1000
    stakes.join(1)
    stakes.block += age
    for _ in range(3):
        view.read()

    assert len(stakes.asked) == asked


@pytest.mark.parametrize("settles", [False, True])
def test_a_change_of_a_stake_that_a_reorg_undid_is_undone(stakes: FakeStakes, settles: bool) -> None:
    """Whether the stake before it was known for good or not."""
    view, node = ChainView(network(stakes)), stakes.join(1)
    stakes.block = 1000
    if settles:
        view.read()
    stakes.bond(1, 3)
    assert view.read()[node].bonded == 3
    stakes.forget_since(1000)
    stakes.bonded[node] = 500

    assert view.read()[node].bonded == 500


def test_all_stakes_are_asked_for_where_everything_is_read_again(stakes: FakeStakes) -> None:
    """What was known of another chain is no help."""
    view = ChainView(network(stakes))
    stakes.join(1)
    stakes.block = 1000
    view.read()
    stakes.block += MAX_NEW_BLOCKS
    view.read()

    assert len(stakes.asked) == 2


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
