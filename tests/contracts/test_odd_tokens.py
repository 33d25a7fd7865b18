"""Tokens that answer nothing, lie, take a fee, or call back in the middle of a transfer."""

from dataclasses import astuple, replace
from typing import Any

import pytest
from web3 import Web3

from incentives.artifacts import error_name, load_artifact, selector
from tests.contracts.reverts import LEDGER
from tests.contracts.world import (
    CLOSE_DELAY,
    GRAVE,
    MATURITY,
    MIN_STAKE,
    PEER,
    POOL,
    UNBONDING,
    ZERO,
    World,
    deploy_lenient,
    dev,
    double,
    hot,
    word,
)

OWNER, STRANGER = dev(1), dev(9)
SIGNER = hot("signer")
WORDS, MORE = [word(dev(3).address, 10_000)], [word(dev(4).address, 10_000)]
HONEST, SILENT, REFUSING, LYING, TAXING, GENEROUS, SHORT, TWO, FAILING = range(9)
REENTRANCY = selector("Reentrancy()")


@pytest.fixture(scope="session")
def odd_world(deployed: World) -> World:
    """The suite over an odd token, with a judge that does what it is told."""
    chain = deployed.chain
    token = chain.deploy(dev(0), double("OddToken")).contract
    stakes, court = deploy_lenient(chain, token)
    terms = CLOSE_DELAY, MATURITY, deployed.verdicts.address, POOL
    channels = chain.deploy(dev(0), load_artifact("Channels"), token.address, *terms).contract
    world = replace(deployed, token=token, stakes=stakes, court=court, channels=channels)
    world.send(dev(0), token, "mint", OWNER.address, 10**9)
    return world


@pytest.fixture
def odd(odd_world: World, chain_snapshot: str) -> World:
    """A node with ten times the minimum, half of it free to go; a payer with money everywhere."""
    odd_world.join(OWNER, SIGNER)
    odd_world.send(OWNER, odd_world.stakes, "exit", 5 * MIN_STAKE)
    odd_world.send(OWNER, odd_world.court, "slash", odd_world.stakes.address, OWNER.address, 1_000, ZERO)
    odd_world.send(OWNER, odd_world.channels, "deposit", 1000)
    for words in (WORDS, MORE):
        key = odd_world.channel(OWNER, SIGNER, words, 1000)
        odd_world.send(OWNER, odd_world.channels, "settle", *odd_world.voucher(SIGNER, key, 500))
    odd_world.pass_time(UNBONDING)
    return odd_world


def _pulls(world: World) -> list[tuple[Any, ...]]:
    key = astuple(world.channel(OWNER, SIGNER, WORDS))
    return [
        (world.stakes, "addStake", 1000),
        (world.channels, "deposit", 1000),
        (world.channels, "depositAndOpen", key, 1000),
    ]


def _pushes(world: World) -> list[tuple[Any, ...]]:
    return [
        (world.stakes, "withdraw"),
        (world.stakes, "payOut", GRAVE),
        (world.channels, "withdraw", 1000),
        (world.channels, "collect", WORDS, 0),
        (world.channels, "collectMany", dev(4).address, [(MORE, [0])]),
    ]


def test_a_token_that_answers_nothing_is_as_good_as_any(odd: World) -> None:
    """Some old tokens do; money moves both ways."""
    odd.send(dev(0), odd.token, "misbehave", SILENT)
    for call in [*_pulls(odd), *_pushes(odd)]:
        odd.send(OWNER, *call)
    assert odd.balance(odd.channels.address) == 3000 + 2000 - 1000 - 2 * 500


def test_a_transfer_that_did_not_happen_undoes_the_call(odd: World) -> None:
    """Whether the token answers false, another word than 1, less than a word, or reverts."""
    for mode in (REFUSING, TWO, SHORT, FAILING):
        odd.send(dev(0), odd.token, "misbehave", mode)
        for call in _pulls(odd) + _pushes(odd):
            assert odd.refusal(OWNER, *call)[0] == "TransferFailed", (mode, call[1])


def test_what_arrives_must_be_exactly_what_was_sent(odd: World) -> None:
    """A liar's nothing, a fee, and even a gift: sums would no longer be those of the records."""
    for mode, received in ((LYING, 0), (TAXING, 990), (GENEROUS, 1001)):
        odd.send(dev(0), odd.token, "misbehave", mode)
        for call in _pulls(odd):
            assert odd.refusal(OWNER, *call) == ("TransferInexact", (received, 1000)), (mode, call[1])


def test_no_transfer_lets_anybody_in_again(odd: World) -> None:
    """Whichever function transfers, the token finds the door of that contract shut."""
    for call in _pulls(odd) + _pushes(odd):
        entry = ("withdraw",) if call[0] is odd.stakes else ("withdraw", 1)
        assert answer_inside(odd, call[0], entry, call) == (False, REENTRANCY), call[1]


def test_no_function_that_transfers_can_be_entered(odd: World) -> None:
    """Whichever of them the token tries while one is running."""
    key, permit = astuple(odd.channel(OWNER, SIGNER, WORDS)), (2**48, 27, PEER, PEER)
    consent = odd.consent(OWNER, SIGNER)
    stakes = [
        ("join", 1, SIGNER.address, PEER, *consent),
        ("joinWithPermit", 1, SIGNER.address, PEER, *consent, *permit),
        ("addStake", 1),
        ("payOut", GRAVE),
    ]
    channels = [
        ("deposit", 1),
        ("depositWithPermit", 1, *permit),
        ("depositAndOpen", key, 1),
        ("depositAndOpenWithPermit", key, 1, *permit),
        ("collect", WORDS, 0),
        ("collectMany", dev(4).address, [(MORE, [0])]),
    ]
    for contract, call, entries in ((odd.stakes, _pulls(odd)[0], stakes), (odd.channels, _pulls(odd)[1], channels)):
        for entry in entries:
            assert answer_inside(odd, contract, entry, call) == (False, REENTRANCY), entry[0]


def test_the_door_opens_again_after_the_transfer(odd: World) -> None:
    """The token as an ordinary customer: two calls in one transaction are fine one after the other."""
    odd.send(dev(0), odd.token, "mint", odd.token.address, 10)
    data = bytes.fromhex(_encoded(odd, odd.channels, ("deposit", 5)))
    odd.send(STRANGER, odd.token, "actTwice", odd.channels.address, data)
    assert odd.view(odd.channels, "freeOf", odd.token.address) == 10


def answer_inside(world: World, target: Any, entry: tuple[Any, ...], call: tuple[Any, ...]) -> tuple[bool, bytes]:
    """What the token gets when it calls `entry` in the middle of `call`; everything else is undone."""
    data = bytes.fromhex(_encoded(world, target, entry))
    world.send(dev(0), world.token, "arm", target.address, data)
    world.send(OWNER, *call)
    answer = world.view(world.token, "entered"), world.view(world.token, "answer")
    world.send(dev(0), world.token, "arm", ZERO, b"")
    if not answer[0]:  # the token kept the refusal to itself
        LEDGER.note(target.name, entry[0], error_name(answer[1]) or "")
    return answer


def _encoded(world: World, contract: Any, entry: tuple[Any, ...]) -> str:
    codec = Web3().eth.contract(abi=contract.artifact.abi)
    return str(codec.encode_abi(entry[0], list(entry[1:]))).removeprefix("0x")
