"""How often a free balance is believed: once for each unit of it, and not again before the chain has it."""

import asyncio

import pytest

from node import advances as advances_module
from node.advances import FORGIVEN_SECONDS, MAX_UNMINED, MINED_SECONDS, Advances
from node.refusals import FailureCode, Refused
from tests.faults.virtual_time import run_virtual
from tests.node.money_fakes import CLIENT, NODES

PAYER, OTHER = CLIENT.address, NODES[0].address
FIRST, SECOND = b"\x01" * 32, b"\x02" * 32


async def is_trusted(advances: Advances, channel: bytes, amount: int, free: int, payer: str = PAYER) -> bool:
    try:
        await advances.trust(payer, channel, amount, free)  # type: ignore[arg-type]
    except Refused as error:
        return error.code is not FailureCode.CHANNEL
    return True


async def test_the_same_money_is_not_trusted_twice() -> None:
    """Up to the whole balance over all channels, not one unit past it; of others' channels it says nothing."""
    advances = Advances(lambda channel: False)
    assert await is_trusted(advances, FIRST, 60, free=100)
    assert not await is_trusted(advances, SECOND, 41, free=100)
    assert await is_trusted(advances, SECOND, 40, free=100)
    assert await is_trusted(advances, FIRST, 100, free=100, payer=OTHER)


async def test_a_channel_counts_once_and_with_the_most_that_it_was_trusted_for() -> None:
    """A node may be two stages of one route."""
    advances = Advances(lambda channel: False)
    for amount in (50, 60, 50):
        assert await is_trusted(advances, FIRST, amount, free=60)
    assert not await is_trusted(advances, FIRST, 61, free=60)
    assert not await is_trusted(advances, SECOND, 1, free=60)


async def test_what_is_on_the_chain_counts_no_more() -> None:
    """Its money has left the free balance."""
    mined = set[bytes]()
    advances = Advances(lambda channel: channel in mined)
    assert await is_trusted(advances, FIRST, 60, free=60)
    assert not await is_trusted(advances, SECOND, 60, free=60)
    mined.add(FIRST)
    assert await is_trusted(advances, SECOND, 60, free=60)


async def test_so_many_channels_may_be_on_their_way() -> None:
    """However much money is there."""
    advances = Advances(lambda channel: False)
    for number in range(MAX_UNMINED):
        assert await is_trusted(advances, bytes([number]) * 32, 1, free=10**9)
    assert not await is_trusted(advances, b"\xff" * 32, 1, free=10**9)


def test_who_lets_a_channel_stay_away_is_not_trusted_for_a_while() -> None:
    """Until the time of mining is over nothing is held against it; then for ten minutes, on that channel too."""

    async def later() -> list[bool]:
        advances, answers = Advances(lambda channel: False), list[bool]()
        assert await is_trusted(advances, FIRST, 1, free=100)
        for seconds, channel in ((MINED_SECONDS, SECOND), (0.001, b"\x03" * 32), (0.0, FIRST)):
            await asyncio.sleep(seconds)
            answers.append(await is_trusted(advances, channel, 1, free=100))
        await asyncio.sleep(FORGIVEN_SECONDS + 0.001)
        answers.append(await is_trusted(advances, b"\x03" * 32, 1, free=100))
        return answers

    assert run_virtual(later()) == [True, False, False, True]


async def test_so_many_payers_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who came longest ago is forgotten first."""
    monkeypatch.setattr(advances_module, "MAX_PAYERS", 2)
    advances = Advances(lambda channel: False)
    for payer in (PAYER, OTHER, NODES[1].address):
        assert await is_trusted(advances, FIRST, 1, free=1, payer=payer)
    assert not await is_trusted(advances, SECOND, 1, free=1, payer=OTHER)
    assert await is_trusted(advances, SECOND, 1, free=1)
