"""Paths of leaves on chain against Python's, and what the proof of one wrong prefix costs with all its leaves."""

from random import Random
from typing import Any

import pytest

from incentives.chain import Contract, Web3Chain
from incentives.chain_types import Sent
from incentives.errors import Reverted
from sharding.hashing import keccak256
from sharding.merkle import merkle_leaf, merkle_proof, merkle_root
from tests.contracts.world import dev, double
from verification.trace.openings import JOIN, MAX_LEAVES, MAX_NODES, TAKE, HashTree, Opening, opened_root

DOT_PROOF_GAS = 105_000
"""Decided by the calldata alone (EIP-7623): without that floor it would be 80,300, so that a slash of 34,000 still fits 115,000."""
ZERO = bytes(32)

Probe = tuple[Web3Chain, Contract]


@pytest.fixture(scope="session")
def probe(chain_url: str) -> Probe:
    """Deployed once on each kind of chain."""
    chain = Web3Chain(chain_url, expected_chain_id=31337)
    return chain, chain.deploy(dev(9), double("PathsProbe")).contract


def root_of(probe: Probe, leaves: list[bytes], opening: Opening) -> bytes:
    chain, contract = probe
    return bytes(chain.call(contract, "rootOf", leaves, list(opening.siblings), opening.program))


def test_a_path_holds_what_python_proves(probe: Probe) -> None:
    """Every leaf of trees of several shapes; another leaf, side or depth does not."""
    chain, contract = probe
    for size in (1, 2, 3, 7, 12):
        data = [bytes([k]) * 40 for k in range(size)]
        root = merkle_root(data)
        for index in range(size):
            proof = merkle_proof(data, index)
            assert chain.call(contract, "holds", root, data[index], proof)
            assert not chain.call(contract, "holds", root, data[index] + b"!", proof)
            assert not chain.call(contract, "holds", root, data[index], [*proof, root])
            if size > 1:
                assert not chain.call(contract, "holds", root, data[index], proof[:-1])
    assert not chain.call(contract, "holds", ZERO, b"", [])


def test_an_inner_node_is_no_leaf(probe: Probe) -> None:
    """A leaf is hashed twice: 64 bytes that hash to a node do not pass for one."""
    chain, contract = probe
    data = [b"one", b"two", b"three"]
    pair = b"".join(sorted(map(merkle_leaf, data[:2])))
    assert keccak256(pair) in merkle_proof(data, 2)
    assert not chain.call(contract, "holds", merkle_root(data), pair, [merkle_leaf(data[2])])


def test_a_path_of_64_nodes_is_the_longest(probe: Probe) -> None:
    """One more leads nowhere, although its hashes are right."""
    chain, contract = probe
    node, leaf = keccak256(b"sibling"), merkle_leaf(b"leaf")
    for length, held in ((MAX_NODES, True), (MAX_NODES + 1, False)):
        root = leaf
        for _ in range(length):
            root = keccak256(min(root, node) + max(root, node))
        assert chain.call(contract, "holds", root, b"leaf", [node] * length) is held


def test_programs_lead_where_python_says(probe: Probe) -> None:
    """Honest ones and random ones; nowhere is zero."""
    random = Random(5)
    for _ in range(60):
        size = random.randint(1, 30)
        hashes = [random.randbytes(32) for _ in range(size)]
        tree = HashTree(hashes)
        indexes = sorted(random.sample(range(size), random.randint(1, min(size, 4))))
        opening, leaves = tree.open(indexes), [hashes[i] for i in indexes]
        assert root_of(probe, leaves, opening) == tree.root
        program = bytearray(opening.program)
        program[random.randrange(len(program))] = random.choice((TAKE, JOIN, 1, 2, 5, 64, 65))
        for other in (Opening(opening.siblings, bytes(program)), Opening(opening.siblings[1:], opening.program)):
            assert root_of(probe, leaves, other) == (opened_root(leaves, other) or ZERO)


def test_two_leaves_have_their_own_way_to_the_same_root(probe: Probe) -> None:
    """Honest programs, and any others: what is taken too often, joined too early or climbed too far leads nowhere."""
    chain, contract = probe
    random = Random(8)
    reached = 0
    for turn in range(200):
        hashes = [random.randbytes(32) for _ in range(random.randint(2, 40))]
        indexes = sorted(random.sample(range(len(hashes)), 2))
        opening, leaves = HashTree(hashes).open(indexes), [hashes[i] for i in indexes]
        program, siblings = bytearray(opening.program), list(opening.siblings)
        if turn % 4 == 1:
            program[random.randrange(len(program))] = random.choice((TAKE, JOIN, 1, 2, 3, 65, 254))
        elif turn % 4 == 2:
            program = bytearray(random.choices((TAKE, JOIN, 1, 2), k=random.randint(0, 6)))
            siblings = [random.randbytes(32) for _ in range(sum(n for n in program if n not in (TAKE, JOIN)))]
        elif turn % 4 == 3:
            siblings = siblings[1:] if turn % 8 == 3 else [*siblings, ZERO]
        found = bytes(chain.call(contract, "rootOfTwo", leaves, siblings, bytes(program)))
        other = Opening(tuple(siblings), bytes(program))
        assert found == root_of(probe, leaves, other) == (opened_root(leaves, other) or ZERO)
        reached += found != ZERO
    assert reached > 40


def test_no_more_than_eight_leaves_are_taken(probe: Probe) -> None:
    """Eight are."""
    hashes = [keccak256(bytes([k])) for k in range(9)]
    assert root_of(probe, hashes[:8], HashTree(hashes[:8]).open(range(MAX_LEAVES))) == HashTree(hashes[:8]).root
    assert root_of(probe, hashes, Opening((), bytes([TAKE] * 9 + [JOIN] * 8))) == ZERO


def climbed(node: bytes, path: list[bytes]) -> bytes:
    for sibling in path:
        node = keccak256(min(node, sibling) + max(node, sibling))
    return node


def proof(random: Random, lie: int) -> tuple[bytes, bytes, tuple[Any, ...]]:
    """Roots and arguments: a stage's trace of 2^16 leaves, weights of 2^21 pieces in 2^5 tensors; x 2^11 leaves before its sums."""
    weights = [random.randint(-127, 127) for _ in range(128)]
    x = [random.randint(-32639, 32639) for _ in range(128)]
    before = -12345
    total = before + sum(a * b for a, b in zip(weights, x, strict=True)) + lie
    prefixes = b"".join(each.to_bytes(4, "little", signed=True) for each in (5, -7, before, total, 99, 98))
    row = b"".join(each.to_bytes(2, "little", signed=True) for each in x)
    column = b"".join(each.to_bytes(1, "little", signed=True) for each in weights)
    masks, indexes, tensor = (random.randbytes(32), random.randbytes(32)), (31_000, 32_900, 4_321), random.randbytes(17)
    names = [index.to_bytes(8, "big") for index in indexes]
    lower = [[random.randbytes(32) for _ in range(11)] for _ in range(2)]
    upper, piece, shelf = ([random.randbytes(32) for _ in range(depth)] for depth in (4, 16, 5))
    leaves = merkle_leaf(masks[0] + names[0] + row), merkle_leaf(masks[1] + names[1] + prefixes)
    ends = [climbed(leaf, path) for leaf, path in zip(leaves, lower, strict=True)]
    trace = climbed(ends[0], [ends[1], *upper])
    root = climbed(merkle_leaf(tensor + climbed(merkle_leaf(names[2] + column), piece)), shelf)
    places = int.from_bytes(b"".join(names) + (3).to_bytes(8, "big"), "big")
    siblings = [*lower[0], *lower[1], *upper, *piece, *shelf]
    numbers, counts = masks[0] + row + masks[1] + column + prefixes, (26 << 128) | 16
    return (
        root,
        trace,
        (places, int.from_bytes(tensor, "big"), numbers, siblings, bytes([0, 11, 0, 11, 255, 4]), counts),
    )


def _sent(probe: Probe, lie: int) -> Sent:
    chain, contract = probe
    weights, trace, arguments = proof(Random(6), lie)
    chain.send(dev(9), contract, "commit", weights, trace)
    return chain.send(dev(9), contract, "proveWrongPrefix", *arguments)


def test_a_wrong_prefix_is_proven_with_three_leaves_for_little(probe: Probe) -> None:
    """A whole transaction but for layout and slash."""
    sent = _sent(probe, lie=1)

    assert [dict(event.args) for event in sent.logs] == [{"leaf": 32_900}]
    assert 0.95 * DOT_PROOF_GAS <= sent.gas_used <= DOT_PROOF_GAS


def test_a_right_prefix_cannot_be_proven_wrong(probe: Probe) -> None:
    """Nor one under other roots."""
    with pytest.raises(Reverted) as caught:
        _sent(probe, lie=0)
    assert caught.value.name == "NothingWrong"
    chain, contract = probe
    weights, trace, arguments = proof(Random(6), 1)
    for roots in ((trace, trace), (weights, weights)):
        chain.send(dev(9), contract, "commit", *roots)
        with pytest.raises(Reverted) as caught:
            chain.call(contract, "proveWrongPrefix", *arguments)
        assert caught.value.name == "LeavesNotHeld"
