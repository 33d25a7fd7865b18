"""Refusals by every door: what one function refuses, its sibling with a permit refuses too; and the list is complete."""

from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import pytest

from incentives.artifacts import CONTRACT_NAMES, Artifact, load_artifact
from incentives.chain import Web3Chain
from incentives.errors import Reverted
from incentives.vouchers import ChannelKey
from scripts.solidity_ast import Suite, error_name, is_entry, kind_of, walk
from tests.contracts.reverts import JUDGED, Ledger, Refusal, possible, sources
from tests.contracts.world import (
    CLOSE_DELAY,
    MATURITY,
    MAX_FEE,
    MIN_STAKE,
    PEER,
    POOL,
    UNBONDING,
    ZERO,
    World,
    dev,
    double,
    hot,
    word,
)

OWNER, OTHER, STRANGER = dev(1), dev(2), dev(9)
SIGNER = hot("signer")
WORDS = [word(dev(3).address, 10_000)]
NO_PERMIT = (2**48, 27, PEER, PEER)
"""Worthless; the allowance is there already."""


@pytest.fixture(scope="module")
def suite() -> Suite:
    """The sources, parsed once."""
    return sources()


def _deployment(world: World, artifact: Artifact, *args: Any) -> tuple[str, tuple[Any, ...]]:
    with pytest.raises(Reverted) as caught:
        world.chain.deploy(dev(0), artifact, *args)
    return caught.value.name, tuple(item.lower() if isinstance(item, str) else item for item in caught.value.arguments)


def test_stakes_that_could_not_work_are_not_deployed(world: World) -> None:
    """No token, no court, no minimum, no time or too much of it; the longest time is fine."""
    stakes, token, court = load_artifact("Stakes"), world.token.address, world.court.address
    limit = 3650 * 86_400
    for arguments, refusal in (
        ((STRANGER.address, court, MIN_STAKE, UNBONDING, MAX_FEE), ("TokenMissing", (STRANGER.address.lower(),))),
        ((token, ZERO, MIN_STAKE, UNBONDING, MAX_FEE), ("NotCourt", (ZERO,))),
        ((token, court, 0, UNBONDING, MAX_FEE), ("AmountZero", ())),
        ((token, court, MIN_STAKE, 0, MAX_FEE), ("UnbondingInvalid", (0,))),
        ((token, court, MIN_STAKE, limit + 1, MAX_FEE), ("UnbondingInvalid", (limit + 1,))),
    ):
        assert _deployment(world, stakes, *arguments) == refusal
    world.chain.deploy(dev(0), stakes, token, court, MIN_STAKE, limit, MAX_FEE)


def test_channels_and_courts_that_could_not_work_are_not_deployed(world: World) -> None:
    """No token, no delay or maturity or too much of it, no court; stakes that obey another court."""
    channels, limit = load_artifact("Channels"), 365 * 86_400
    missing = ("TokenMissing", (STRANGER.address.lower(),))
    token, court = world.token.address, world.court.address
    assert _deployment(world, channels, STRANGER.address, CLOSE_DELAY, MATURITY, court, POOL) == missing
    for time in (0, limit + 1):
        assert _deployment(world, channels, token, time, MATURITY, court, POOL) == ("CloseDelayInvalid", (time,))
        assert _deployment(world, channels, token, CLOSE_DELAY, time, court, POOL) == ("MaturityInvalid", (time,))
    for nobody in (ZERO, STRANGER.address):
        refused = _deployment(world, channels, token, CLOSE_DELAY, MATURITY, nobody, POOL)
        assert refused == ("CourtMissing", (nobody.lower(),))
    world.chain.deploy(dev(0), channels, token, limit, limit, court, POOL)
    foreign = ("StakesForeign", (world.stakes.address.lower(),))
    arbiters, calendar = world.view(world.court, "arbiters"), world.view(world.court, "calendar")
    assert _deployment(world, load_artifact("Court"), world.stakes.address, arbiters, calendar) == foreign


def test_joining_by_permit_is_refused_for_the_same_reasons(world: World) -> None:
    """Too little, another's consent, another's key, twice, while stake is leaving."""
    consent = world.consent(OWNER, SIGNER)

    def refusal(amount: int, words: tuple[bytes, bytes] = consent, signer: str = SIGNER.address) -> tuple[str, Any]:
        return world.refusal(OWNER, world.stakes, "joinWithPermit", amount, signer, PEER, *words, *NO_PERMIT)

    assert refusal(MIN_STAKE - 1) == ("StakeTooLow", (MIN_STAKE - 1, MIN_STAKE))
    assert refusal(MIN_STAKE, world.consent(OTHER, SIGNER)) == ("SignatureInvalid", ())
    world.join(OTHER, hot("taken"))
    taken = hot("taken").address
    assert refusal(MIN_STAKE, signer=taken) == ("SignerTaken", (taken, OTHER.address))
    world.send(OWNER, world.stakes, "joinWithPermit", MIN_STAKE, SIGNER.address, PEER, *consent, *NO_PERMIT)
    assert refusal(MIN_STAKE) == ("AlreadyJoined", (OWNER.address,))
    world.send(OWNER, world.stakes, "exit", MIN_STAKE)
    assert refusal(MIN_STAKE) == ("ExitPending", (world.stake(OWNER)[3],))


def test_funding_by_permit_is_refused_for_the_same_reasons(world: World) -> None:
    """Nothing, another's channel, no signer, a channel that closes or is closed."""
    key = world.channel(OWNER, SIGNER, WORDS, 10)
    channel = key.id(world.domain(world.channels))

    def refusal(amount: int, what: ChannelKey = key, who: Any = OWNER) -> tuple[str, Any]:
        return world.refusal(who, world.channels, "depositAndOpenWithPermit", astuple(what), amount, *NO_PERMIT)

    assert world.refusal(OWNER, world.channels, "depositWithPermit", 0, *NO_PERMIT) == ("AmountZero", ())
    assert refusal(0) == ("AmountZero", ())
    assert refusal(1, who=OTHER) == ("NotPayer", (OTHER.address,))
    assert refusal(1, ChannelKey(OWNER.address, ZERO, key.payees, PEER)) == ("SignerMissing", ())
    world.send(OWNER, world.channels, "deposit", 5)
    world.send(OWNER, world.channels, "close", astuple(key))
    closing = ("ChannelClosing", (world.channel_state(key)[2],))
    assert refusal(1) == closing
    assert world.refusal(OWNER, world.channels, "open", astuple(key), 1) == closing
    world.pass_time(CLOSE_DELAY)
    world.send(OWNER, world.channels, "reclaim", astuple(key))
    assert refusal(1) == ("ChannelClosed", (channel,))


def test_the_coin_is_not_sent_to_nobody_by_an_allowance(world: World) -> None:
    """As little as by its owner."""
    world.send(OWNER, world.token, "approve", STRANGER.address, 5)
    assert world.refusal(STRANGER, world.token, "transferFrom", OWNER.address, ZERO, 5) == (
        "ERC20InvalidReceiver",
        (ZERO,),
    )


@pytest.fixture(scope="module")
def taxed(deployed: World) -> Iterator[World]:
    """The suite over a token of which a hundredth never arrives."""
    chain = deployed.chain
    token = chain.deploy(dev(0), double("OddToken")).contract
    stakes = chain.deploy(
        dev(0), load_artifact("Stakes"), token.address, OWNER.address, MIN_STAKE, UNBONDING, 0
    ).contract
    terms = CLOSE_DELAY, MATURITY, deployed.verdicts.address, POOL
    channels = chain.deploy(dev(0), load_artifact("Channels"), token.address, *terms).contract
    world = replace(deployed, token=token, stakes=stakes, channels=channels)
    world.send(dev(0), token, "mint", OWNER.address, 10_000)
    world.send(dev(0), token, "misbehave", 4)
    return world


def test_a_tax_is_noticed_by_every_door(taxed: World) -> None:
    """By joining, and by those that first try a permit which the token does not even know."""
    consent = taxed.consent(OWNER, SIGNER)
    key = astuple(taxed.channel(OWNER, SIGNER, WORDS))
    for call in (
        (taxed.stakes, "join", 1000, SIGNER.address, PEER, *consent),
        (taxed.stakes, "joinWithPermit", 1000, SIGNER.address, PEER, *consent, *NO_PERMIT),
        (taxed.channels, "depositWithPermit", 1000, *NO_PERMIT),
        (taxed.channels, "depositAndOpenWithPermit", key, 1000, *NO_PERMIT),
    ):
        assert taxed.refusal(OWNER, *call) == ("TransferInexact", (990, 1000))


def test_no_error_is_declared_that_nothing_can_end_with(suite: Suite) -> None:
    """What an ABI promises and what the sources can do are the same, contract by contract."""
    for name in CONTRACT_NAMES:
        declared = {entry["name"] for entry in load_artifact(name).abi if entry["type"] == "error"}
        assert declared == {one.error for one in possible(suite) if one.contract == name}, name


def test_no_revert_stands_where_nobody_can_reach_it(suite: Suite) -> None:
    """Each statement belongs to a function that some door leads to."""
    reached: dict[int, Any] = {}
    waiting = [
        function
        for contract in suite.contracts()
        if contract["name"] in JUDGED
        for function in suite.functions(contract)
        if is_entry(function)
    ]
    while waiting:
        one = waiting.pop()
        if one["id"] not in reached:
            reached[one["id"]] = one
            waiting += suite.called(one)
    standing = {
        node["id"]
        for name, tree in suite.trees.items()
        if not name.startswith("test/") or Path(name).stem in JUDGED
        for node in walk(tree)
        if kind_of(node) == "RevertStatement"
    }
    assert standing == {
        node["id"] for one in reached.values() for node in walk(one) if kind_of(node) == "RevertStatement"
    }
    assert len(standing) > 40


def test_a_refusal_that_nobody_provoked_fails_the_session() -> None:
    """One that was seen does not; nor does anything where part of the tests was left out."""
    seen, unseen = Refusal("Stakes", "exit", "AmountZero"), Refusal("Stakes", "exit", "StakeShort")

    def ending(ledger: Ledger) -> tuple[int, list[Refusal]]:
        session: Any = type(
            "Session", (), {"config": type("Config", (), {"option": type("O", (), {"collectonly": False})})}
        )
        session.exitstatus = 0
        ledger.pytest_sessionfinish(session, 0)
        return session.exitstatus, ledger.missing

    assert ending(Ledger({seen}, whole=True, compute=lambda: {seen, unseen})) == (1, [unseen])
    assert ending(Ledger({seen, unseen}, whole=True, compute=lambda: {seen, unseen})) == (0, [])
    assert ending(Ledger({seen}, whole=False, compute=lambda: {seen, unseen})) == (0, [])


def test_only_what_a_chain_has_answered_counts(world: World) -> None:
    """A call that succeeds, or an error made up in a test, leaves the ledger as it is."""
    ledger = Ledger()
    with ledger.listening():
        world.view(world.stakes, "minStake")
        with pytest.raises(Reverted):
            raise Reverted("StakeShort", (1, 2))
        assert ledger.observed == set()
        world.refusal(STRANGER, world.stakes, "withdraw")
    assert ledger.observed == {Refusal("Stakes", "withdraw", "NothingExiting")}
    assert Web3Chain.call.__name__ == "noting", "the session's own ledger is listening again"


def test_every_name_of_an_error_is_read_from_the_tree(suite: Suite) -> None:
    """Also where it is written with the contract it belongs to."""
    names = {
        error_name(node) for tree in suite.trees.values() for node in walk(tree) if kind_of(node) == "RevertStatement"
    }
    assert {"SignatureInvalid", "StakeShort", "Reentrancy", "TransferInexact"} <= names
