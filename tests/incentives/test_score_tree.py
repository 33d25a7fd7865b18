"""The table of scores: one tree, a partition of tickets, and leaves that come back from what was shown."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incentives.errors import ScoreTableError
from incentives.score_tree import (
    EDGE,
    MAX_LEAVES,
    NO_POSTING,
    Entry,
    Posting,
    ScoreTable,
    conflict,
    drawn_ticket,
    first_conflict,
    parse_rows,
    table_of,
)
from incentives.scores import MAX_MASS, Masses
from sharding.merkle import merkle_leaf, merkle_verify
from verification.addresses import Address, address_bytes, to_address
from verification.errors import MalformedRecord

AS_OF = 1_800_000_000
node = st.binary(min_size=20, max_size=20).filter(any).map(to_address)
mass = st.integers(0, MAX_MASS)
entry = st.builds(Entry, st.integers(1, 2**80), st.builds(Masses, mass, mass), st.integers(0, 2**16 - 1))
tables = st.dictionaries(node, entry, min_size=1, max_size=20).map(lambda entries: table_of(entries, AS_OF))


def _address(number: int) -> Address:
    return to_address(number.to_bytes(20, "big"))


def _small(count: int = 5) -> ScoreTable:
    return table_of({_address(10 * i): Entry(i, Masses(i, 0), 0) for i in range(1, count + 1)}, AS_OF)


@given(tables)
def test_tickets_are_a_partition_in_the_order_of_the_nodes(table: ScoreTable) -> None:
    """From zero, without a hole, each leaf at least one."""
    assert table.leaves[0].stake_from == 0
    assert all(low.stake_to == high.stake_from for low, high in zip(table.leaves, table.leaves[1:], strict=False))
    assert all(leaf.width > 0 for leaf in table.leaves)
    keys = [address_bytes(leaf.node) for leaf in table.leaves]
    assert keys == sorted(set(keys))
    assert first_conflict(table.leaves) is None


@given(tables, st.data())
def test_every_leaf_is_proven_and_every_ticket_has_its_holder(table: ScoreTable, data: st.DataObject) -> None:
    """By the rules of the project's one kind of tree."""
    index = data.draw(st.integers(0, len(table.leaves) - 1))
    proven = table.proven(index)
    assert merkle_verify(table.root, proven.leaf.data, proven.proof)
    assert table.find(proven.leaf.node) == proven
    ticket = data.draw(st.integers(0, table.total - 1))
    holder = table.holder(ticket).leaf
    assert holder.stake_from <= ticket < holder.stake_to


@given(tables)
def test_shown_leaves_make_the_same_table(table: ScoreTable) -> None:
    """Rows leave out what follows from the place."""
    again = parse_rows(table.rows, AS_OF)
    assert again.leaves == table.leaves
    assert (again.root, again.total) == (table.root, table.total)


@given(tables, node)
def test_a_gap_is_around_the_node_or_at_it(table: ScoreTable, stranger: Address) -> None:
    """Neighbours whose tickets touch; the edges stand for what is outside."""
    gap = table.gap(stranger)
    assert address_bytes(gap.below.leaf.node) <= address_bytes(stranger)
    assert gap.above.leaf == EDGE or address_bytes(stranger) < address_bytes(gap.above.leaf.node)
    assert gap.below.leaf.stake_to == (table.total if gap.above.leaf == EDGE else gap.above.leaf.stake_from)
    assert (gap.below.leaf.node == stranger) is (table.find(stranger) is not None)
    for leaf in table.leaves:
        assert table.gap(leaf.node).below.leaf == leaf


def test_tickets_outside_the_table_are_nobodys() -> None:
    """Neither below nor past the last."""
    table = _small()
    assert table.holder(table.total - 1).leaf == table.leaves[-1]
    for ticket in (-1, table.total):
        with pytest.raises(ScoreTableError, match="ticket"):
            table.holder(ticket)
    assert ScoreTable(()).total == 0


@pytest.mark.parametrize("change", [
    {"stake_from": 2**96}, {"stake_to": 2**96}, {"qos": 2**16}, {"as_of": 2**40}, {"as_of": -1},
])  # fmt: skip
def test_numbers_beyond_their_width_are_never_hashed(change: dict[str, int]) -> None:
    """They would be cut on the chain."""
    with pytest.raises(MalformedRecord):
        merkle_leaf(replace(_small().leaves[0], **change).data)


def test_a_table_holds_as_many_leaves_as_can_be_shown() -> None:
    """The limit and one past it; and nobody without a ticket."""
    entries = {_address(i): Entry(1, Masses(), 0) for i in range(1, MAX_LEAVES + 1)}
    table = table_of(entries, AS_OF)
    assert len(parse_rows(table.rows, AS_OF).leaves) == MAX_LEAVES
    with pytest.raises(ScoreTableError, match=f"{MAX_LEAVES + 1} leaves"):
        table_of(entries | {_address(9_999): Entry(1, Masses(), 0)}, AS_OF)
    with pytest.raises(ScoreTableError, match="bytes are not"):
        parse_rows(table.rows + bytes(42), AS_OF)
    with pytest.raises(ScoreTableError, match="no stake"):
        table_of({_address(1): Entry(0, Masses(), 0)}, AS_OF)


@pytest.mark.parametrize("length", [1, 41, 43])
def test_cut_rows_are_refused(length: int) -> None:
    """A row has 42 bytes."""
    with pytest.raises(ScoreTableError, match="rows of 42"):
        parse_rows(bytes(length), AS_OF)


def test_leaves_conflict_if_no_sound_table_holds_both() -> None:
    """Twice the same node, shared tickets, another order; a leaf does not conflict with itself."""
    low, high = _small().leaves[:2]
    assert not conflict(low, high)
    assert not conflict(high, low)
    assert not conflict(low, low)
    assert conflict(low, replace(low, qos=1))
    assert conflict(replace(low, stake_to=low.stake_to + 1), high)
    assert conflict(replace(low, node=high.node), replace(high, node=low.node))


def test_a_conflict_is_found_wherever_it_hides() -> None:
    """Among leaves in any order."""
    dice = random.Random(1)
    leaves = list(_small(12).leaves)
    twin = replace(leaves[7], masses=Masses(MAX_MASS, 0))
    leaves.append(twin)
    dice.shuffle(leaves)
    found = first_conflict(leaves)
    assert found is not None
    assert {leaves[i].node for i in found} == {twin.node}


def test_the_draw_depends_on_the_root_and_the_epoch() -> None:
    """And is spread over all tickets; without a table there is no draw."""
    base = Posting(3, 2, AS_OF, _address(1), 1_000, b"\x01" * 32)
    tickets = [drawn_ticket(base, epoch) for epoch in range(4, 404)]
    assert all(0 <= ticket < 1_000 for ticket in tickets)
    assert len(set(tickets)) > 250
    assert drawn_ticket(replace(base, root=b"\x02" * 32), 4) != tickets[0]
    with pytest.raises(ScoreTableError, match="nothing to draw"):
        drawn_ticket(NO_POSTING, 4)
