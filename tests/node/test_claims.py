"""A place, an epoch and a channel of its own: what a session must have, and who waits for it or is told to come back."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from node import claims as claims_module
from node.admission import Admitted
from node.claims import Claims
from node.refusals import BUSY_RETRY_MS, FailureCode, Refused
from tests.faults.virtual_time import run_virtual
from tests.node.admitted import make_admitted, make_route
from tests.node.money_fakes import CLIENT, NODES
from verification.addresses import Address

SOMEBODY, OTHER = CLIENT.address, NODES[0].address


def on_channel(salt: int, client: Address = SOMEBODY) -> Admitted:
    return make_admitted(salt=salt, client=client)


async def hold(stack: AsyncExitStack, claims: Claims, *wanted: Admitted) -> None:
    for each in wanted:
        await stack.enter_async_context(claims.claim(each))


async def refusal(claims: Claims, wanted: Admitted) -> Refused | None:
    try:
        async with claims.claim(wanted):
            return None
    except Refused as error:
        return error


async def test_a_full_stage_says_when_to_come_back() -> None:
    """Two of two places are taken; a third session is busy, until one ends."""
    claims = Claims(2)
    async with claims.claim(on_channel(1)):
        async with claims.claim(on_channel(2, OTHER)):
            error = await refusal(claims, on_channel(3))
            assert error is not None
            assert (error.code, error.retry_after_ms) == (FailureCode.BUSY, BUSY_RETRY_MS)
        assert await refusal(claims, on_channel(3)) is None


async def test_one_client_does_not_take_all_places() -> None:
    """Its third session of two is refused by its name; somebody else has room."""
    claims = Claims(10, per_client=2)
    async with AsyncExitStack() as stack:
        await hold(stack, claims, on_channel(1), on_channel(2))
        error = await refusal(claims, on_channel(3))
        assert error is not None
        assert error.code is FailureCode.BUSY
        assert "limit is 2" in error.message
        assert error.retry_after_ms > 0
        await hold(stack, claims, on_channel(4, OTHER), on_channel(5, OTHER))
    assert await refusal(claims, on_channel(3)) is None


async def test_a_session_that_fails_gives_everything_back() -> None:
    """Its place and its channel, and no client is remembered for nothing."""
    claims = Claims(1)
    with pytest.raises(ZeroDivisionError):
        async with claims.claim(on_channel(1)):
            raise ZeroDivisionError
    assert not claims.is_busy(on_channel(1).route.channel)
    assert not claims._held
    assert await refusal(claims, on_channel(1)) is None


async def test_a_channel_has_one_session_at_a_time() -> None:
    """The next one waits for the end of the one before, and holds no place while it does."""
    claims, order = Claims(2), list[str]()

    async def session(name: str, until: asyncio.Event) -> None:
        async with claims.claim(on_channel(1)):
            order.append(f"{name} begins")
            await until.wait()
            order.append(f"{name} ends")

    first, second = asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(session("first", first)), asyncio.create_task(session("second", second))]
    await asyncio.sleep(0)
    assert claims.is_busy(on_channel(1).route.channel)
    assert await refusal(claims, on_channel(2)) is None
    first.set()
    second.set()
    await asyncio.gather(*tasks)
    assert order == ["first begins", "first ends", "second begins", "second ends"]
    assert not claims.is_busy(on_channel(1).route.channel)


async def test_only_one_session_waits_for_a_channel() -> None:
    """A client cannot queue up hundreds; the third one is busy at once."""
    claims, end = Claims(10), asyncio.Event()
    async with claims.claim(on_channel(1)):
        waiting = asyncio.create_task(refusal(claims, on_channel(1)))
        await asyncio.sleep(0)
        error = await refusal(claims, on_channel(1))
        assert error is not None
        assert (error.code, error.retry_after_ms) == (FailureCode.BUSY, BUSY_RETRY_MS)
        assert "channel" in error.message
        end.set()
    assert await waiting is None


async def test_who_has_waited_for_a_channel_still_needs_a_place() -> None:
    """It was given away in the moment in which the channel came free."""
    claims = Claims(2)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(AsyncExitStack())
        await hold(first, claims, on_channel(1))
        waiting = asyncio.create_task(refusal(claims, on_channel(1)))
        await asyncio.sleep(0)
        await hold(stack, claims, on_channel(2))
        await first.aclose()
        await hold(stack, claims, on_channel(3))
        error = await waiting
    assert error is not None
    assert error.code is FailureCode.BUSY
    assert not claims.is_busy(on_channel(1).route.channel)


def test_nobody_waits_for_a_channel_longer_than_five_seconds() -> None:
    """At four seconds the channel can still be had, at six it is busy."""

    async def main(held: float) -> tuple[Refused | None, float]:
        claims, loop = Claims(10), asyncio.get_running_loop()
        async with claims.claim(on_channel(1)):
            waiting = asyncio.create_task(refusal(claims, on_channel(1)))
            await asyncio.sleep(held)
        return await waiting, loop.time()

    assert run_virtual(main(4.0)) == (None, 4.0)
    error, _ = run_virtual(main(6.0))
    assert error is not None
    assert error.code is FailureCode.BUSY


async def test_who_gives_up_waiting_leaves_the_channel_to_others() -> None:
    """A stream that broke while its session waited."""
    claims = Claims(10)
    async with claims.claim(on_channel(1)):
        waiting = asyncio.create_task(refusal(claims, on_channel(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        again = asyncio.create_task(refusal(claims, on_channel(1)))
        await asyncio.sleep(0)
        assert not again.done()
    assert await again is None


class TestEpochs:
    """No slot is ever served twice."""

    @pytest.fixture(autouse=True)
    def few_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(claims_module, "MAX_REMEMBERED_ROUTES", 3)
        return iter(())

    def claimed(self, claims: Claims, epoch: int, nonce: int = 1, client: Address = SOMEBODY) -> bool:
        try:
            claims.claim_epoch(make_admitted(make_route(bytes([nonce]) * 32, epoch), client=client))
        except Refused as error:
            if error.code is FailureCode.STALE_EPOCH:
                return False
            raise
        return True

    def test_epochs_of_a_session_only_rise(self) -> None:
        """The same again and a lower one are refused; gaps are allowed."""
        claims = Claims(1)
        assert [self.claimed(claims, epoch) for epoch in (0, 0, 2, 1, 2, 3)] == [True, False, True, False, False, True]

    def test_sessions_and_clients_count_for_themselves(self) -> None:
        """Whoever uses another client's nonce takes nothing from it."""
        claims = Claims(1)
        assert self.claimed(claims, 5)
        assert self.claimed(claims, 0, nonce=2)
        assert self.claimed(claims, 0, client=OTHER)
        assert not self.claimed(claims, 5)

    def test_what_is_remembered_has_an_end(self) -> None:
        """Of three, the one that was used longest ago goes when a fourth comes."""
        claims = Claims(1)
        for nonce in (1, 2, 3):
            assert self.claimed(claims, 0, nonce)
        assert self.claimed(claims, 1, nonce=1)
        assert self.claimed(claims, 0, nonce=4)
        assert [self.claimed(claims, 0, nonce) for nonce in (1, 3, 4)] == [False] * 3
        assert self.claimed(claims, 0, nonce=2)
