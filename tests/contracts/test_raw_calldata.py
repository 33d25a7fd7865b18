"""Calldata that no encoder writes: short, dirty, overlapping. Stands are hashed as they lie there, so every bit has to count."""

from typing import Any

import pytest
from eth_abi import encode

from sharding.hashing import keccak256
from tests.conftest import answered
from tests.contracts.descending import CHALLENGER, OTHER, OWNER, STRANGER, Fight, leaves, prepare
from tests.contracts.world import ANSWER, BOND, World
from verification.addresses import address_bytes
from verification.trace.descent import children, root_of

WORD = 32
DISPUTE = "(bytes32,(bytes32,bytes32,bytes32,bytes32,uint256),(bytes32,(bytes32,uint256,uint256)))"
DISPUTE_WORDS, LEAVES_AT, OFFSET_AT = 10, 11, 12
"""Of `answer`: the words of the dispute, and the places of the number of leaves and of the offset of the nodes."""
UNBOND, ANSWERED, CLOSE = "unbond(uint96)", f"answer({DISPUTE},bytes32,uint64,bytes32[])", f"close({DISPUTE})"


@pytest.fixture
def arena(world: World) -> World:
    return prepare(world)


def selector(signature: str) -> bytes:
    return keccak256(signature.encode())[:4]


def passes(arena: World, who: Any, data: bytes) -> bool:
    """Whether the disputes take it."""
    wanted = {"from": who.address, "to": arena.disputes.address, "data": "0x" + data.hex(), "gas": hex(2_000_000)}
    return "result" in answered(arena.url, "eth_call", wanted, "latest")


def with_word(data: bytes, place: int, value: int) -> bytes:
    at = 4 + WORD * place
    return data[:at] + value.to_bytes(WORD, "big") + data[at + WORD :]


def word_at(data: bytes, place: int) -> int:
    return int.from_bytes(data[4 + WORD * place :][:WORD], "big")


def test_the_high_bits_of_a_number_name_no_other_challenger(arena: World) -> None:
    """A bond lies with CHALLENGER's number 0: OTHER cannot spill over into it, nor does half a word do."""
    fight = Fight(arena, leaves(3), leaves(3)).challenge()
    arena.pass_time(ANSWER + 1)
    fight.act(STRANGER, "close")
    mine, theirs = (int.from_bytes(address_bytes(each.address), "big") for each in (OTHER, CHALLENGER))
    own = selector(UNBOND) + bytes(WORD)
    assert passes(arena, CHALLENGER, own)
    assert not passes(arena, CHALLENGER, own[:-1])
    for number in ((mine ^ theirs) << 96, (theirs & ~mine) << 96, theirs << 96, 1 << 96, 1 << 255):
        assert not passes(arena, OTHER, with_word(own, 0, number))


@pytest.fixture
def answer(arena: World) -> bytes:
    """A good answer that opens the first nodes."""
    fight = Fight(arena, leaves(3), leaves(3)).challenge(asks=True)
    dispute = fight.facts.id(), fight.facts.words, fight.stand.words
    nodes = children(fight.tree, root_of(3))
    made = encode([DISPUTE, "bytes32", "uint64", "bytes32[]"], [dispute, fight.tree.root, 3, nodes])
    return selector(ANSWERED) + made


def test_every_bit_of_a_dispute_counts(arena: World, answer: bytes) -> None:
    """The first and the last of every field in its ten words among them."""
    assert passes(arena, OWNER, answer)
    assert passes(arena, OWNER, answer + b"\xff" * 77)  # what follows is nobody's
    for place in range(DISPUTE_WORDS):
        for bit in (0, 63, 64, 159, 160, 200, 255):
            assert not passes(arena, OWNER, with_word(answer, place, word_at(answer, place) ^ 1 << bit)), (place, bit)


def test_answers_that_are_cut_or_point_elsewhere_are_refused(arena: World, answer: bytes) -> None:
    """Numbers with high bits, offsets beyond the end or around the corner, and less than all of it."""
    assert word_at(answer, LEAVES_AT) == 3
    for bit in (64, 128, 255):
        assert not passes(arena, OWNER, with_word(answer, LEAVES_AT, 3 | 1 << bit))
    for offset in (2**256 - WORD, 2**64, 2**255, len(answer) - 4 - 31):
        assert not passes(arena, OWNER, with_word(answer, OFFSET_AT, offset))
    for kept in (0, 4, 4 + WORD * DISPUTE_WORDS, len(answer) - WORD, len(answer) - 1):
        assert not passes(arena, OWNER, answer[:kept])


def test_an_act_of_one_dispute_is_none_of_another(arena: World) -> None:
    """The same facts by two challengers, and names that nobody has: 0, the largest, a marker's, a neighbour's."""
    one = Fight(arena, leaves(3), leaves(3)).challenge()
    arena.pass_time(7)
    two = Fight(arena, leaves(3), leaves(3), OTHER).challenge()
    arena.pass_time(ANSWER + 1)
    names = [bytes(WORD), b"\xff" * WORD, (1).to_bytes(WORD, "big"), one.facts.id()[:-1] + b"\x07", two.facts.id()]
    for name in names:
        call = encode([DISPUTE], [(name, one.facts.words, one.stand.words)])
        assert not passes(arena, STRANGER, selector(CLOSE) + call)
    own = encode([DISPUTE], [(one.facts.id(), one.facts.words, one.stand.words)])
    assert passes(arena, STRANGER, selector(CLOSE) + own)
    assert arena.balance(arena.disputes.address) == 20 * BOND
