"""A place, an epoch and a channel of its own: what a session must have, and who waits for it or is told to come back."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from node import claims as claims_module
from node.admission import Admitted
from node.claims import COMING_BACK, Claims
from node.refusals import BUSY_RETRY_MS, FailureCode, Refused
from tests.faults.virtual_time import run_virtual
from tests.node.admitted import make_admitted, make_route
from tests.node.money_fakes import CLIENT, NODES
from verification.addresses import Address

SOMEBODY, OTHER = CLIENT.address, NODES[0].address


def on_channel(salt: int, client: Address = SOMEBODY) -> Admitted:
    return make_admitted(salt=salt, client=client)


async def test_a_session_that_comes_back_finds_room_where_a_new_one_does_not() -> None:
    """It was accepted before; but not without end: at twice the limit it waits like everybody."""
    claims = Claims(2, per_client=2)
    async with AsyncExitStack() as stack:
        await hold(stack, claims, on_channel(1), on_channel(2))
        assert await refusal(claims, on_channel(3)) is not None
        for salt in (3, 4):
            await stack.enter_async_context(claims.claim(on_channel(salt), COMING_BACK))
        with pytest.raises(Refused, match="4 sessions"):
            async with claims.claim(on_channel(5), COMING_BACK):
                pass


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
        assert (error.code, error.retry_after_ms) == (FailureCode.BUSY, 0)  # the node has room
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


async def test_stages_of_one_route_share_its_channel_and_its_place() -> None:
    """A node that is the first and the last stage; the channel is free when both have ended, in whatever order."""
    claims, channel = Claims(1), on_channel(1).route.channel
    for first_ends in (0, 1):
        stages = [AsyncExitStack(), AsyncExitStack()]
        for stack, stage in zip(stages, (0, 2), strict=True):
            await hold(stack, claims, make_admitted(salt=1, stage=stage))
        assert claims._held.total() == 1
        await stages[first_ends].aclose()
        assert claims.is_busy(channel)
        error = await refusal(claims, on_channel(2))
        assert error is not None
        assert error.code is FailureCode.BUSY
        await stages[1 - first_ends].aclose()
        assert not claims.is_busy(channel)
        assert not claims._routes
        assert await refusal(claims, on_channel(2)) is None


async def test_two_routes_on_one_channel_are_still_two() -> None:
    """Another stage of another route waits, whoever signed it."""
    claims = Claims(10)
    async with AsyncExitStack() as stack:
        await hold(stack, claims, make_admitted(salt=1, stage=0))
        other = make_admitted(make_route(b"\x02" * 32, salt=1), salt=1, stage=2)
        waiting = asyncio.create_task(refusal(claims, other))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting is None


class TestEpochs:
    """No slot is ever served twice."""

    @pytest.fixture(autouse=True)
    def few_are_remembered(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.setattr(claims_module, "MAX_REMEMBERED_ROUTES", 3)
        return iter(())

    def claimed(
        self, claims: Claims, epoch: int, nonce: int = 1, client: Address = SOMEBODY, stage: int = 0, salt: int = 1
    ) -> bool:
        try:
            route = make_route(bytes([nonce]) * 32, epoch, salt)
            claims.claim_epoch(make_admitted(route, client=client, stage=stage))
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

    def test_each_stage_of_a_route_is_served_once(self) -> None:
        """The stages of one node share the epoch; another route of the same epoch has none of it, nor one that came late."""
        claims = Claims(1)
        assert [self.claimed(claims, 1, stage=stage) for stage in (0, 2, 0, 2)] == [True, True, False, False]
        assert not self.claimed(claims, 1, stage=1, salt=2)
        assert self.claimed(claims, 2, stage=0)
        assert not self.claimed(claims, 1, stage=1)

    async def test_a_session_that_runs_is_not_forgotten(self) -> None:
        """However many routes others sign meanwhile; afterwards it is the first to go."""
        claims = Claims(1)
        assert self.claimed(claims, 1)
        async with claims.claim(make_admitted(make_route(bytes([1]) * 32, 1))):
            assert all(self.claimed(claims, 0, nonce, OTHER) for nonce in range(2, 9))
            assert not self.claimed(claims, 0)
        assert len(claims._epochs) == 3
        assert self.claimed(claims, 0, 9, OTHER)
        assert self.claimed(claims, 0)
