"""The challenger: whatever is wrong with a root leads to a call, and a right root to none."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from incentives.epochs import TESTNET_CLOCKS, Evidence, build
from incentives.score_challenges import Case, evidence_commitment, find_challenge
from incentives.score_tree import Leaf, Posting, ScoreTable
from incentives.scores import ONE, Masses
from verification.addresses import Address, to_address

CLOCKS, ENDS_AT = TESTNET_CLOCKS, 1_800_000_000


def _address(number: int) -> Address:
    return to_address((number * 7919).to_bytes(20, "big"))


STAKES = {_address(n): 100 + n for n in range(1, 8)}
BEFORE = build(STAKES, None, [{_address(1): Evidence(9 * ONE, 1, 500)}], ENDS_AT - CLOCKS.epoch, CLOCKS)
BASE = Posting(6, 0, ENDS_AT - 30, _address(1), BEFORE.total, BEFORE.root)
HONEST = build(STAKES, BEFORE, [{_address(2): Evidence(ONE)}], ENDS_AT, CLOCKS)
LATE = ENDS_AT + CLOCKS.exclusive


def _case(table: ScoreTable, **changes: object) -> Case:
    posting = Posting(7, 6, LATE, _address(3), HONEST.total, table.root)
    return Case(replace(posting, **changes), HONEST, ENDS_AT, CLOCKS, BASE, BEFORE)  # type: ignore[arg-type]


def test_nothing_is_sent_against_the_right_root() -> None:
    """Shown or not."""
    assert find_challenge(_case(HONEST)) is None
    assert find_challenge(_case(HONEST), HONEST) is None


def test_leaves_that_nobody_knows_are_demanded() -> None:
    """So are they if what was let out does not make the root."""
    lying = ScoreTable(HONEST.leaves[:-1])
    for shown in (None, HONEST, ScoreTable(()), ScoreTable(HONEST.leaves[::-1])):
        challenge = find_challenge(_case(lying), shown)
        assert challenge is not None
        assert (challenge.function, challenge.arguments) == ("demand", (_case(lying).posting.words,))
        assert challenge.words(_address(1), bytes([1]) * 32) == challenge.arguments  # there is no fee


def test_the_first_second_after_the_drawn_nodes_time_is_everybodys() -> None:
    """One before it is not."""
    functions = []
    for posted_at in (LATE - 1, LATE):
        found = [find_challenge(_case(HONEST, posted_at=posted_at, poster=node)) for node in STAKES]
        functions.append(sorted({each.function if each else "" for each in found}))
        assert None in found  # the drawn node itself
    assert functions == [["", "challengeDraw"], [""]]


def _change(leaf: Leaf, dice: random.Random) -> Leaf:
    field = dice.choice(("node", "stake_from", "stake_to", "masses", "qos", "as_of"))
    values = {
        "node": _address(dice.randrange(1, 50)),
        "stake_from": dice.randrange(HONEST.total),
        "stake_to": dice.randrange(HONEST.total + 5),
        "masses": Masses(dice.randrange(2**32), leaf.masses.b),
        "qos": dice.randrange(2**16),
        "as_of": dice.randrange(2**40),
    }
    return replace(leaf, **{field: values[field]})


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_no_change_of_any_leaves_goes_unnoticed(seed: int) -> None:
    """Leaves changed, dropped, doubled and moved about at random: there is always something to send."""
    dice = random.Random(seed)
    leaves = list(HONEST.leaves)
    for _ in range(dice.randrange(1, 4)):
        index, act = dice.randrange(len(leaves)), dice.randrange(4)
        if act == 0:
            leaves[index] = _change(leaves[index], dice)
        elif act == 1:
            leaves.insert(dice.randrange(len(leaves)), _change(leaves[index], dice))
        elif act == 2 and len(leaves) > 1:
            leaves.pop(index)
        else:
            dice.shuffle(leaves)
    lying = ScoreTable(tuple(leaves))
    challenge = find_challenge(_case(lying), lying)
    assert (challenge is None) is (lying.root == HONEST.root)


def test_a_commitment_is_about_one_root_one_finder_and_one_salt() -> None:
    """Whatever is changed, it is another one."""
    posting, salt = _case(HONEST).posting, bytes(range(32))
    others = [
        evidence_commitment(_address(1), replace(posting, **{field: value}), salt)  # type: ignore[arg-type]
        for field, value in (
            ("epoch", 8), ("base", 5), ("posted_at", LATE + 1), ("poster", _address(4)), ("total", 1), ("root", salt),
        )
    ]  # fmt: skip
    others += [evidence_commitment(_address(2), posting, salt), evidence_commitment(_address(1), posting, salt[::-1])]
    assert len({*others, evidence_commitment(_address(1), posting, salt)}) == len(others) + 1
