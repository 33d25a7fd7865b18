"""Doors of a descent that are shut: no dispute, too many bonds, a commitment made twice."""

from dataclasses import astuple
from typing import Any

import pytest

from incentives.artifacts import Artifact
from incentives.chain import Contract
from incentives.disputes import Facts
from incentives.errors import Reverted
from incentives.signing import Signer, split_signature
from incentives.stands import NEW
from tests.conftest import ask
from tests.contracts.descending import (
    CHALLENGER,
    CLOCKS,
    GAS,
    ONE,
    OWNER,
    ROOTS,
    STAKE,
    STRANGER,
    Fight,
    leaf,
    leaves,
    prepare,
)
from tests.contracts.disputed import terms
from tests.contracts.world import BOND, PEER, World, create_address, dev, double, hot
from verification.addresses import Address
from verification.receipts import Receipt
from verification.routes import Route, RouteStage, profile_id
from verification.trace.descent import children, packed_leaves, root_of
from verification.typed_data import address_word, bytes32_word, struct_hash, typed_digest


@pytest.fixture
def arena(world: World) -> World:
    return prepare(world)


def test_nothing_is_opened_or_shown_where_there_is_no_dispute(arena: World) -> None:
    """Nor is anything picked."""
    fight = Fight(arena, leaves(3), leaves(3))
    assert fight.refused(OWNER, "open", [PEER])[0] == "DisputeNotOpen"
    assert fight.refused(OWNER, "show", b"")[0] == "DisputeNotOpen"


def test_the_second_bond_counts_with_the_others(arena: World) -> None:
    """The 65th bond of one challenger is refused, whatever it is for; and a commitment is made once a day."""
    arena.send(CHALLENGER, arena.disputes, "deposit", 60 * BOND)
    fights = [Fight(arena, leaves(3), leaves(3), chunk=chunk).challenge() for chunk in range(64)]
    assert fights[0].answer().refused(CHALLENGER, "ask") == ("TooManyChallenges", (64,))
    arena.send(CHALLENGER, arena.disputes, "commit", PEER)
    assert arena.refusal(CHALLENGER, arena.disputes, "commit", PEER)[0] == "CommitmentKnown"


@pytest.fixture
def anvil_arena(arena: World, anvil_url: str) -> World:
    """On the chain where an account can be given code."""
    if arena.url != anvil_url:
        pytest.skip("only anvil gives an account code")
    return arena


def gives_code(world: World, who: Signer, code: bytes) -> None:
    ask(world.url, "anvil_setCode", who.address, "0x" + code.hex())


def test_what_is_opened_comes_straight_from_a_plain_key(anvil_arena: World) -> None:
    """Not through a contract, where nobody else could read it without a replay of the chain: not with the answer, ..."""
    world = anvil_arena
    fight = Fight(world, leaves(40), leaves(40, at3=leaf(3, b"own"))).challenge(asks=True)
    relay = world.chain.deploy(dev(0), double("Relay")).contract
    gives_code(world, OWNER, world.chain.code(relay.address))
    opened = children(fight.tree, root_of(40))
    assert relayed(world, fight, "answer", fight.tree.root, 40, opened) == ("DataHidden", (OWNER.address,))
    gives_code(world, OWNER, b"")
    fight.answer().pick()
    gives_code(world, OWNER, world.chain.code(relay.address))
    where = fight.stand.where
    shown = packed_leaves(fight.data[where.first : where.first + where.count])
    assert relayed(world, fight, "show", shown) == ("DataHidden", (OWNER.address,))
    gives_code(world, OWNER, b"")
    fight.show()


def relayed(world: World, fight: Fight, fn: str, *words: Any) -> tuple[str, Any]:
    """What an act of the owner's account reverts with, when a stranger has that account's code do it."""
    contract, name, *rest = fight.call(fn, *words)
    data = world.chain._bind(contract).encode_abi(name, rest)
    owner = Contract(OWNER.address, double("Relay"))
    return world.refusal(STRANGER, owner, "relay", contract.address, data, gas=GAS)


def test_a_key_with_code_of_its_own_is_no_plain_one(anvil_arena: World) -> None:
    """It could call itself with anything (EIP-7702): a delegation is refused even where the call is direct."""
    world = anvil_arena
    fight = Fight(world, leaves(2000), leaves(2000, at3=leaf(3, b"own"))).challenge(asks=True)
    relay = world.chain.deploy(dev(0), double("Relay")).contract
    delegated, hidden = b"\xef\x01\x00" + bytes.fromhex(relay.address[2:]), ("DataHidden", (OWNER.address,))
    gives_code(world, OWNER, delegated)
    answer = fight.tree.root, 2000, children(fight.tree, root_of(2000))
    assert fight.refused(OWNER, "answer", *answer) == hidden
    gives_code(world, OWNER, b"")
    fight.answer().pick()
    gives_code(world, OWNER, delegated)
    assert fight.refused(OWNER, "open", children(fight.tree, fight.stand.where)) == hidden
    gives_code(world, OWNER, b"")
    fight.to_show()
    where = fight.stand.where
    gives_code(world, OWNER, delegated)
    shown = packed_leaves(fight.data[where.first : where.first + where.count])
    assert fight.refused(OWNER, "show", shown) == hidden
    gives_code(world, OWNER, b"")
    fight.show()


def test_a_contract_that_is_still_being_made_is_no_plain_key(anvil_arena: World) -> None:
    """It has no code yet: who sent the transaction tells."""
    world = anvil_arena
    node = create_address(STRANGER.address, world.chain.nonce(STRANGER.address))
    key = hot("of the contract")
    as_account(world, node, key)
    stages = (RouteStage(node, 0, 4, 5),)
    route = Route(ONE, ONE, 0, bytes(32), stages, ONE, profile_id("exact-1"), ONE, ONE, 16, ONE, 2**33)
    receipt = Receipt(route.digest(world.domain(world.court)), 0, 0, 0, 16, bytes(32), ONE, ONE, ONE)
    digest = receipt.digest(world.domain(world.court))
    words = astuple(receipt), *split_signature(key.sign_digest(digest)), terms(route), astuple(stages[0]), 6, 0, False
    stand = NEW.after(world.send(CHALLENGER, world.disputes, "challenge", *words, gas=GAS).logs, CLOCKS)
    facts = Facts((ONE, ROOTS, 0, 4, 6), digest, receipt.route, node, CHALLENGER.address)
    tree = Fight(world, leaves(40), leaves(40)).tree
    impersonated(world, node, world.disputes, "answer", (facts.id(), facts.words, stand.words), tree.root, 40, [])
    (answered,) = world.chain.events(world.disputes, "Answered", world.chain.head().number)
    stand = stand.after([answered], CLOCKS)
    sent = world.send(CHALLENGER, world.disputes, "ask", 0, facts.matter(), stand.words)
    stand = stand.after(sent.logs, CLOCKS)
    opening = facts.id(), stand.about(facts.matter()), stand.play, children(tree, root_of(40))
    ask(world.url, "anvil_setNonce", node, "0x0")
    with pytest.raises(Reverted) as caught:
        world.chain.deploy(STRANGER, calling(world, world.disputes, "open", *opening))
    assert (caught.value.name, [str(each).lower() for each in caught.value.arguments]) == ("DataHidden", [node.lower()])


def as_account(world: World, node: Address, key: Signer) -> None:
    """An address whose key nobody has joins as a node."""
    ask(world.url, "anvil_setBalance", node, hex(10**20))
    ask(world.url, "anvil_impersonateAccount", node)
    world.send(dev(0), world.token, "transfer", node, STAKE)
    impersonated(world, node, world.token, "approve", world.stakes.address, STAKE)
    words = address_word(node), bytes32_word("peer", PEER)
    content = struct_hash("SignerConsent(address owner,bytes32 peer)", words)
    consent = split_signature(key.sign_digest(typed_digest(world.domain(world.stakes), content)))
    impersonated(world, node, world.stakes, "join", STAKE, key.address, PEER, *consent)


def impersonated(world: World, sender: Address, contract: Contract, fn: str, *words: Any) -> None:
    data = world.chain._bind(contract).encode_abi(fn, words)
    ask(world.url, "eth_sendTransaction", {"from": sender, "to": contract.address, "data": data, "gas": hex(GAS)})


def calling(world: World, contract: Contract, fn: str, *words: Any) -> Artifact:
    """Creation code that calls a contract with what stands behind it, and ends as the call does."""
    data = bytes.fromhex(world.chain._bind(contract).encode_abi(fn, words)[2:])
    size = b"\x61" + len(data).to_bytes(2, "big")
    call = size + b"\x60\x31\x5f\x39" + b"\x5f\x5f" + size + b"\x5f\x5f\x73" + bytes.fromhex(contract.address[2:])
    end = b"\x5a\xf1\x3d\x5f\x5f\x3e\x60\x2f\x57\x3d\x5f\xfd\x5b\x00"
    code = call + end
    assert (code[0x2F], len(code)) == (0x5B, 0x31)
    return Artifact("Opener", (), code + data, b"", ())
