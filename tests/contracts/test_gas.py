"""What each act may cost: whole transactions, so that a change which makes one dearer is noticed.

"First" is the first time ever that a record is written, "again" when it exists. Both kinds of chain must agree.
"""

from dataclasses import astuple
from typing import Any

import pytest

from tests.contracts.refunds import convict, refunding, session_of
from tests.contracts.world import MIN_STAKE, PEER, UNBONDING, WORK, ZERO, World, dev, hot, word
from verification.receipts import Receipt

OWNER, SECOND, PAYER, NEWCOMER, STRANGER = dev(1), dev(2), dev(4), dev(6), dev(9)
SIGNER, CLIENT = hot("signer"), hot("client")
ROUTE_OF_4 = [word(hot(f"node {i}").address, 2_500) for i in range(4)]
ROUTE_OF_32 = [word(hot(f"node {i}").address, 312 + (i < 16)) for i in range(32)]
BUDGET = {
    "join, first": 95_000,
    "join, again": 63_000,
    "join with permit, first": 126_000,
    "announce": 30_500,
    "add stake": 49_500,
    "exit, first": 52_000,
    "exit, again": 35_500,
    "cancel exit": 29_500,
    "withdraw": 40_000,
    "rotate": 60_000,
    "prove equivocation": 81_000,
    "deposit": 49_500,
    "fund and open": 70_000,
    "open from free": 56_000,
    "settle, first of a route": 61_000,
    "settle, first of a window": 44_000,
    "settle, again": 43_000,
    "collect, first": 85_000,
    "collect, again": 50_500,
    "close": 53_500,
    "reclaim": 38_000,
    "refund": 130_000,
}


def _check(spent: dict[str, int]) -> None:
    over = {name: (gas, BUDGET[name]) for name, gas in spent.items() if gas > BUDGET[name]}
    assert not over, f"over budget (spent, allowed): {over}"
    slack = {name: (gas, BUDGET[name]) for name, gas in spent.items() if gas < 0.95 * BUDGET[name]}
    assert not slack, f"budgets that would hide a change (spent, allowed): {slack}"


def test_staking_stays_within_its_budget(world: World) -> None:
    """The life of a node from joining to its end before the Court."""
    spent, stakes, whole = {}, world.stakes, 10 * MIN_STAKE * 10**16
    world.join(SECOND, hot("second"), whole)  # from here on the contract's own balance exists
    spent["join, first"] = world.join(OWNER, SIGNER, whole).gas_used
    announcement = OWNER.address, PEER, 0, 4, 10**9, "wss://node.example:7001"
    spent["announce"] = world.send(OWNER, stakes, "announce", *announcement).gas_used
    spent["add stake"] = world.send(OWNER, stakes, "addStake", whole).gas_used
    spent["exit, first"] = world.send(OWNER, stakes, "exit", whole // 2).gas_used
    spent["exit, again"] = world.send(OWNER, stakes, "exit", whole // 4).gas_used
    spent["cancel exit"] = world.send(OWNER, stakes, "cancelExit").gas_used
    world.send(OWNER, stakes, "exit", 2 * whole)
    world.pass_time(UNBONDING)
    spent["withdraw"] = world.send(OWNER, stakes, "withdraw").gas_used
    spent["join, again"] = world.join(OWNER, SIGNER, whole).gas_used
    consent = world.consent(OWNER, hot("next"))
    spent["rotate"] = world.send(OWNER, stakes, "rotate", hot("next").address, PEER, *consent).gas_used
    world.give(NEWCOMER, 2 * whole)
    consent, permit = world.consent(NEWCOMER, hot("new")), world.permit(NEWCOMER, stakes, whole)
    arguments = whole, hot("new").address, PEER, *consent, *permit
    spent["join with permit, first"] = world.send(NEWCOMER, stakes, "joinWithPermit", *arguments).gas_used
    proof: list[Any] = []
    for root in (PEER, WORK):
        receipt = Receipt(PEER, 1, 2, 32, 48, PEER, PEER, PEER, root)
        signature = SIGNER.sign_digest(receipt.digest(world.domain(world.court)))
        proof += [astuple(receipt), signature[:32], signature[32:]]
    spent["prove equivocation"] = world.send(STRANGER, world.court, "proveEquivocation", *proof, ZERO).gas_used
    _check(spent)


def test_paying_stays_within_its_budget(world: World) -> None:
    """A client, its channels on two routes, and their nodes."""
    spent, channels, amount = {}, world.channels, 10**19
    world.send(dev(5), channels, "deposit", amount)  # from here on the contract's own balance exists
    world.send(PAYER, channels, "deposit", amount)
    spent["deposit"] = world.send(PAYER, channels, "deposit", amount).gas_used
    key = world.channel(PAYER, CLIENT, ROUTE_OF_4)
    spent["fund and open"] = world.send(PAYER, channels, "depositAndOpen", astuple(key), amount).gas_used
    other = world.channel(PAYER, CLIENT, ROUTE_OF_4, salt=WORK)
    spent["open from free"] = world.send(PAYER, channels, "open", astuple(other), amount).gas_used
    part = amount // 4
    spent["settle, first of a route"] = world.send(
        STRANGER, channels, "settle", *world.voucher(CLIENT, key, part)
    ).gas_used
    world.ripen()
    spent["collect, first"] = world.send(STRANGER, channels, "collect", ROUTE_OF_4, 1).gas_used
    for name, cumulative in (("settle, first of a window", part + part // 2), ("settle, again", 2 * part)):
        spent[name] = world.send(STRANGER, channels, "settle", *world.voucher(CLIENT, key, cumulative)).gas_used
    route, guilty = session_of(world, key), hot("node 2").address
    convict(world, route, guilty)
    call = refunding(world, CLIENT, key, ROUTE_OF_4, 2, route, 2 * part, part)
    spent["refund"] = world.send(STRANGER, channels, "refund", *call).gas_used
    world.ripen()
    spent["collect, again"] = world.send(STRANGER, channels, "collect", ROUTE_OF_4, 1).gas_used
    spent["close"] = world.send(PAYER, channels, "close", astuple(key)).gas_used
    world.pass_time(UNBONDING)
    spent["reclaim"] = world.send(PAYER, channels, "reclaim", astuple(key)).gas_used
    _check(spent)


def test_a_settlement_costs_the_same_for_4_nodes_and_for_32(world: World) -> None:
    """Up to the zero bytes that happen to be in a hash or a signature."""
    spent = []
    for words in (ROUTE_OF_4, ROUTE_OF_32):
        key = world.channel(PAYER, CLIENT, words, 10**18)
        world.send(STRANGER, world.channels, "settle", *world.voucher(CLIENT, key, 10**17))
        voucher = world.voucher(CLIENT, key, 2 * 10**17)
        spent.append(world.send(STRANGER, world.channels, "settle", *voucher).gas_used)
    assert spent[0] == pytest.approx(spent[1], abs=200)


def test_every_contract_is_small(world: World) -> None:
    """Far below the 24,576 bytes that a chain accepts."""
    for contract, limit in (
        (world.token, 10_000),
        (world.stakes, 10_000),
        (world.court, 18_000),
        (world.channels, 14_500),
    ):
        assert 0 < len(world.chain.code(contract.address)) < limit
