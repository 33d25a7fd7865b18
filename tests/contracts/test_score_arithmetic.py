"""Scores, trees and gaps: the contracts' libraries against their Python twins, on random and on extreme numbers."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from incentives.chain import Contract, Web3Chain
from incentives.errors import Reverted
from incentives.score_tree import Entry, Gap, ScoreTable, table_of
from incentives.scores import FAULT, MAX_MASS, ONE, Masses, credit_of, kept
from sharding.merkle import merkle_leaf, merkle_proof, merkle_root
from tests.contracts.world import dev, double
from verification.addresses import to_address

CASES = {"anvil": 10_000, "embedded": 500}
"""The embedded chain is an interpreter in Python: it takes a hundred times as long for each."""
BATCH = 500
"""Cases in one call: well below the gas that either chain gives to a question."""
DAY = 86_400
MASSES = (0, 1, 2, ONE - 1, ONE, FAULT - 1, FAULT, FAULT + 1, MAX_MASS // 2, MAX_MASS - 1, MAX_MASS)
CREDITS = (0, 1, ONE, 4 * ONE, MAX_MASS)
FAULTS = (0, 0, 0, 0, 1, 1, 2, 31, 32, 33, 2**16 - 1)
HALF_LIVES = (1, 840, 14 * DAY, 3_650 * DAY)


@dataclass(frozen=True, slots=True)
class Probe:
    """The deployed wrapper around the libraries."""

    chain: Web3Chain
    contract: Contract

    def ask(self, fn: str, *arguments: Any) -> Any:
        return self.chain.call(self.contract, fn, *arguments)

    def refusal(self, fn: str, *arguments: Any) -> tuple[str, tuple[Any, ...]]:
        with pytest.raises(Reverted) as caught:
            self.ask(fn, *arguments)
        return caught.value.name, caught.value.arguments

    def evolve(self, rows: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """(a, b, elapsed, half-life, credit, faults) to (factor, a, b, new a, new b, score)."""
        numbers = [number for row in rows for number in row]
        data = b"".join(number.to_bytes(32, "big") for number in (32, len(numbers), *numbers))
        answer = self.ask("evolve", data)
        found = [int.from_bytes(answer[i : i + 32], "big") for i in range(0, len(answer), 32)]
        return [tuple(found[i : i + 6]) for i in range(0, len(found), 6)]


@pytest.fixture(scope="session")
def probe(chain_url: str) -> Probe:
    """Deployed once on each kind of chain; it keeps no state."""
    chain = Web3Chain(chain_url, expected_chain_id=31337)
    return Probe(chain, chain.deploy(dev(9), double("ScoreProbe")).contract)


def _evolved(row: tuple[int, ...]) -> tuple[int, ...]:
    a, b, elapsed, half_life, credit, faults = row
    factor = kept(elapsed, half_life)
    decayed = Masses(a, b).decayed(factor)
    new = decayed.updated(credit, faults)
    return factor, decayed.a, decayed.b, new.a, new.b, new.published


def _rows(dice: random.Random, count: int) -> list[tuple[int, ...]]:
    def mass() -> int:
        return dice.choice((*MASSES, dice.randrange(2**32), dice.randrange(2 ** dice.randrange(1, 33))))

    def row() -> tuple[int, ...]:
        half_life = dice.choice((*HALF_LIVES, dice.randrange(1, 2**28)))
        elapsed = dice.choice((0, 1, DAY, half_life - 1, half_life, dice.randrange(120 * half_life + 2), 2**40 - 1))
        credit = dice.choice((*CREDITS, dice.randrange(2**32)))
        return mass(), mass(), elapsed, half_life, credit, dice.choice((*FAULTS, dice.randrange(2**16)))

    return [row() for _ in range(count)]


def test_ten_thousand_scores_agree(probe: Probe, request: pytest.FixtureRequest) -> None:
    """Decayed, updated and published, every number on the way."""
    cases = CASES[request.node.callspec.params["chain_url"]]
    rows = _rows(random.Random(5), cases)
    for first in range(0, cases, BATCH):
        piece = rows[first : first + BATCH]
        assert probe.evolve(piece) == [_evolved(row) for row in piece]


def test_credits_agree(probe: Probe) -> None:
    """At the cap, one below and one past, and for amounts whose product would not fit."""
    dice = random.Random(6)
    cases = [(0, 1, 0), (4 * 10**9, 10**9, 4 * ONE), (4 * 10**9 - 1, 10**9, 4 * ONE), (2**256 - 1, 1, MAX_MASS)]
    cases += [(2**256 - 1, 2**200, MAX_MASS), (10**9 - 1, 10**9, 0), (65_535, 65_536, MAX_MASS)]
    cases += [(dice.randrange(2**96), dice.randrange(1, 2**96), dice.randrange(2**32)) for _ in range(40)]
    for fee, unit, cap in cases:
        assert probe.ask("creditOf", fee, unit, cap) == credit_of(fee, unit, cap)


def test_roots_of_numbers_are_rounded_down(probe: Probe) -> None:
    """Around squares, and at both ends."""
    for root in (0, 1, 2, 3, 2**32 - 1, 2**89, 2**127 + 1):
        for number in {max(0, root * root - 1), root * root, root * root + 2 * root}:
            found = probe.ask("sqrt", number)
            assert found * found <= number < (found + 1) ** 2


def _table(dice: random.Random, count: int) -> ScoreTable:
    def entry() -> Entry:
        masses = Masses(dice.randrange(2**32), dice.randrange(2**32))
        return Entry(dice.randrange(1, 2**80), masses, dice.randrange(2**16))

    return table_of({to_address(dice.randbytes(20)): entry() for _ in range(count)}, dice.randrange(2**40))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 31, 100])
def test_trees_of_every_shape_agree(probe: Probe, count: int) -> None:
    """The root from the rows, and from each of some leaves upwards."""
    dice = random.Random(count)
    table = _table(dice, count)
    assert probe.ask("treeOf", table.rows, table.leaves[0].as_of) == [table.root, table.total]
    for index in {0, count // 2, count - 1}:
        proven = table.proven(index)
        probe.ask("check", *proven.words, table.root)
        assert probe.ask("climb", proven.leaf.data, list(proven.proof)) == table.root


def test_no_rows_have_no_root(probe: Probe) -> None:
    """The root of nothing is zero, and so it is for lists that no tree is made of."""
    row = _table(random.Random(1), 1).rows
    for rows in (b"", row[:-1], row + row, row + b"\0"):
        assert probe.ask("treeOf", rows, 0) == [bytes(32), 0]


def test_trees_of_plain_data_agree(probe: Probe) -> None:
    """The library serves every tree that sharding/merkle.py makes, whatever the leaves say."""
    dice = random.Random(2)
    data = [dice.randbytes(dice.randrange(200)) for _ in range(13)]
    for index, each in enumerate(data):
        assert probe.ask("climb", each, merkle_proof(data, index)) == merkle_root(data)
    assert probe.ask("climb", data[0], []) == merkle_leaf(data[0])


def test_sixty_four_steps_are_a_proof_and_sixty_five_are_not(probe: Probe) -> None:
    """No tree of ours is deeper."""
    probe.ask("climb", b"", [bytes(32)] * 64)
    assert probe.refusal("climb", b"", [bytes(32)] * 65) == ("ProofTooLong", (65, 64))


def test_an_inner_node_is_no_leaf_and_a_leaf_no_inner_node(probe: Probe) -> None:
    """Whoever takes the two hashes below a node for data, or a leaf's hash for a pair, comes to another root."""
    data = [bytes([i]) * 40 for i in range(4)]
    left, right = merkle_leaf(data[0]), merkle_leaf(data[1])
    pair, upper = b"".join(sorted((left, right))), merkle_proof(data, 0)[-1]
    root = merkle_root(data)
    assert probe.ask("climb", data[0], [right, upper]) == root
    assert probe.ask("climb", pair, [upper]) != root
    assert probe.ask("climb", data[0], [upper, right]) != root  # the wrong side of the tree


def test_gaps_are_judged_alike(probe: Probe) -> None:
    """Between every two neighbours, at both edges; never where the node itself is."""
    dice = random.Random(4)
    table = _table(dice, 6)
    for _ in range(20):
        node = to_address(dice.randbytes(20))
        assert probe.ask("excludes", table.gap(node).words, node, table.root, table.total) is True
        assert probe.ask("excludes", Gap().words, node, table.root, table.total) is False
    for leaf in table.leaves:
        assert probe.ask("excludes", table.gap(leaf.node).words, leaf.node, table.root, table.total) is False
    gap = table.gap(node)
    forged = replace(gap, above=replace(gap.above, leaf=replace(gap.above.leaf, qos=gap.above.leaf.qos ^ 1)))
    assert probe.refusal("excludes", forged.words, node, table.root, table.total)[0] == "LeafInvalid"
