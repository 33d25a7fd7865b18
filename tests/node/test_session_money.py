"""What a route may do on which money: vouchers within the lock and on disk first, and channels that are still to be mined."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from incentives.errors import BeyondLock, ChainUnavailable, InvalidSignature, VoucherStale, WrongWork
from node.ledger import Ledger
from node.messages import VoucherMessage, amount_bytes
from node.refusals import FailureCode, Refused
from node.session_money import MINED_SECONDS, SessionMoney, SessionParts
from node.store import Store
from tests.faults.virtual_time import run_virtual
from tests.node.admitted import PRICE, WINDOW, make_admitted, promise
from tests.node.money_fakes import DOMAIN, FakeChannels, fake_network, make_key

PROMPT = 100
PREFILL = PRICE.prefill_cost(PROMPT)
FIRST_PART = PREFILL + PRICE.decode_cost(WINDOW)
CLOSE_DELAY = 10.0

Setup = Callable[..., SessionMoney]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    store = Store(tmp_path)
    yield Ledger(store)
    store.close()


@pytest.fixture
def channels() -> FakeChannels:
    return FakeChannels()


@pytest.fixture
def money(ledger: Ledger, channels: FakeChannels) -> Setup:
    """money(held, **terms): a route's money at its beginning."""
    params = SimpleNamespace(params=SimpleNamespace(close_delay_s=CLOSE_DELAY))
    network = fake_network(channels, money_domain=DOMAIN, deployment=params)
    parts = SessionParts(cast("Any", None), cast("Any", None), ledger, network, 5.0)

    def make(held: int = 0, **terms: Any) -> SessionMoney:
        return SessionMoney(make_admitted(**terms), parts, held)

    return make


def provisional(**changes: Any) -> dict[str, Any]:
    """The terms of a route whose channel is not on the chain yet."""
    return {"is_provisional": True, "locked": FIRST_PART, **changes}


async def pay(money: SessionMoney, cumulative: int) -> None:
    await money.hold(money.check(promise(cumulative)))


async def mined(money: SessionMoney, channels: FakeChannels, locked: int) -> None:
    """The channel comes on the chain, and the route sees it."""
    channels.lock(make_key().id(DOMAIN), locked)
    watching = asyncio.create_task(money.watch_channel())
    await asyncio.sleep(1.0)
    watching.cancel()
    with suppress(asyncio.CancelledError):
        await watching


class TestVouchers:
    """Checked, then on disk, then counted."""

    async def test_a_voucher_counts_when_it_is_on_disk(self, money: Setup, ledger: Ledger) -> None:
        """Checking alone changes nothing."""
        route = money()
        signed = route.check(promise(PREFILL))
        assert (route.credit.paid, ledger.all_held()) == (0, [])
        await route.hold(signed)
        assert route.credit.paid == PREFILL
        assert [each.cumulative for each in ledger.all_held()] == [PREFILL]

    async def test_a_voucher_pays_more_than_the_one_before(self, money: Setup) -> None:
        """The same again is stale, one unit more is not."""
        route = money()
        await pay(route, PREFILL)
        with pytest.raises(VoucherStale):
            route.check(promise(PREFILL))
        route.check(promise(PREFILL + 1))

    @pytest.mark.parametrize("terms", [{"locked": 5_000}, provisional(locked=5_000)], ids=["mined", "provisional"])
    def test_a_promise_past_the_lock_is_refused(self, money: Setup, terms: dict[str, Any]) -> None:
        """The last unit can be promised, one more could never be settled and would stand before every good one."""
        route = money(**terms)
        route.check(promise(5_000))
        with pytest.raises(BeyondLock):
            route.check(promise(5_001))

    def test_a_promise_for_other_work_or_by_somebody_else_is_refused(self, money: Setup) -> None:
        """Of another number of positions than it says, or with a signature that is not the client's."""
        route, good = money(), promise(PREFILL)
        with pytest.raises(WrongWork):
            route.check(VoucherMessage(good.cumulative, good.work, PROMPT + 1, good.signature))
        with pytest.raises(InvalidSignature):
            route.check(VoucherMessage(amount_bytes(PREFILL + 1), good.work, PROMPT, good.signature))

    async def test_what_a_channel_owes_goes_over_to_its_next_session(self, money: Setup, ledger: Ledger) -> None:
        """Earned by one, charged when it ends, and known to the next before it says what it wants."""
        route = money()
        await pay(route, PREFILL)
        route.credit.worked(PROMPT)
        route.credit.worked(1)
        await route.record()
        again = money()
        assert again.earned_before == PREFILL + 80
        assert (again.credit.paid, again.credit.paid_before) == (PREFILL, PREFILL)

    async def test_two_stages_of_one_route_are_paid_by_the_same_promises(self, money: Setup, ledger: Ledger) -> None:
        """One node's first and last stage: each takes the voucher, one is on disk, and the work counts once."""
        first, last = money(stage=0), money(stage=2)
        for route, decoded in ((first, 2), (last, 1)):
            await pay(route, PREFILL)
            route.credit.worked(PROMPT)
            for _ in range(decoded):
                route.credit.worked(1)
        assert [each.cumulative for each in ledger.all_held()] == [PREFILL]
        for route in (first, last):
            await route.record()
        assert ledger.all_held()[0].earned == PREFILL + 2 * 80
        assert money().earned_before == PREFILL + 2 * 80

    async def test_what_is_trusted_is_remembered_as_such(self, money: Setup, ledger: Ledger) -> None:
        """A channel that is not on the chain can be forgotten one day, until a route finds it there."""
        later = int(time.time()) + 60
        money(**provisional())
        assert ledger.unseen(later) == [make_key().id(DOMAIN)]
        money()
        assert ledger.unseen(later) == []

    async def test_nothing_is_charged_for_what_was_held_alone(self, money: Setup, ledger: Ledger) -> None:
        """A route that ends before this stage did anything costs nothing, whatever its cache had."""
        route = money(held=PROMPT - 1)
        await route.record()
        assert money().earned_before == 0


class TestProvisional:
    """A route that takes another's place may begin before its channel is mined."""

    def test_the_prompt_and_one_window_are_served_at_once(self, money: Setup) -> None:
        """Not one token more before the channel is on the chain, though more was promised nowhere."""

        async def main() -> int:
            route = money(**provisional())
            await pay(route, PREFILL)
            await route.check_credit(PROMPT)
            route.credit.worked(PROMPT)
            for served in range(100):
                try:
                    async with asyncio.timeout(1.0):
                        await route.check_credit(1)
                except TimeoutError:
                    return served
                route.credit.worked(1)
            return 100

        assert run_virtual(main()) == WINDOW

    def test_work_goes_on_when_the_channel_is_mined(self, money: Setup, channels: FakeChannels, ledger: Ledger) -> None:
        """With what was locked there: the next window is served, and the lock is the limit of promises from then on."""

        async def main() -> None:
            route = money(**provisional())
            await pay(route, FIRST_PART)
            route.credit.worked(PROMPT)
            route.credit.worked(WINDOW)
            waiting = asyncio.create_task(route.check_credit(1))
            await asyncio.sleep(5.0)
            assert not waiting.done()
            assert ledger.held(route_channel := make_key().id(DOMAIN)).is_unseen
            await mined(route, channels, 2 * FIRST_PART)
            await waiting
            assert not ledger.held(route_channel).is_unseen
            route.check(promise(2 * FIRST_PART))
            with pytest.raises(BeyondLock):
                route.check(promise(2 * FIRST_PART + 1))

        run_virtual(main())

    @pytest.mark.parametrize(("after", "code"), [(29.0, None), (31.0, FailureCode.CHANNEL)])
    def test_a_channel_has_thirty_seconds_to_be_mined(
        self, money: Setup, channels: FakeChannels, after: float, code: FailureCode | None
    ) -> None:
        """Then the session ends, and the client is told that its channel is not there."""
        assert MINED_SECONDS == 30.0

        async def main() -> FailureCode | None:
            route = money(**provisional())
            await pay(route, FIRST_PART)
            route.credit.worked(PROMPT)
            route.credit.worked(WINDOW)
            waiting = asyncio.create_task(route.check_credit(1))
            await asyncio.sleep(after - 1.0)
            await mined(route, channels, 2 * FIRST_PART)
            [error] = await asyncio.gather(waiting, return_exceptions=True)
            return error.code if isinstance(error, Refused) else None

        assert run_virtual(main()) is code

    def test_a_channel_with_too_little_in_it_ends_the_session(self, money: Setup, channels: FakeChannels) -> None:
        """Mined, but for less than was said: what it cannot pay is not worked for."""

        async def main() -> FailureCode:
            route = money(**provisional())
            await pay(route, FIRST_PART)
            route.credit.worked(PROMPT)
            route.credit.worked(WINDOW)
            await mined(route, channels, FIRST_PART + 79)
            with pytest.raises(Refused) as caught:
                await route.check_credit(1)
            return caught.value.code

        assert run_virtual(main()) is FailureCode.UNPAID

    async def test_a_channel_that_is_there_is_not_waited_for(self, money: Setup) -> None:
        """Who is not paid is told at once."""
        route = money()
        with pytest.raises(Refused) as caught:
            await route.check_credit(1)
        assert caught.value.code is FailureCode.UNPAID


class TestWatching:
    """The chain is looked at while a session runs."""

    @pytest.mark.parametrize("terms", [{}, provisional()], ids=["mined", "provisional"])
    def test_a_channel_that_is_being_closed_ends_the_session(
        self, money: Setup, channels: FakeChannels, terms: dict[str, Any]
    ) -> None:
        """Within a quarter of the time after which the client could take its money back."""

        async def main() -> float:
            loop = asyncio.get_running_loop()
            channels.lock(make_key().id(DOMAIN), 10**6)
            watching = asyncio.create_task(money(**terms).watch_channel())
            await asyncio.sleep(7.0)
            assert not watching.done()
            channels.lock(make_key().id(DOMAIN), 10**6, closes_at=1)
            with pytest.raises(Refused) as caught:
                await watching
            assert caught.value.code is FailureCode.CHANNEL
            return loop.time() - 7.0

        assert run_virtual(main()) <= CLOSE_DELAY / 4

    def test_a_chain_that_is_down_ends_no_session(self, money: Setup, channels: FakeChannels) -> None:
        """What is owed is within the credit; when the chain is back it is looked at again."""

        async def main() -> None:
            channels.down = ChainUnavailable("http://chain", "down")
            route = money(**provisional())
            watching = asyncio.create_task(route.watch_channel())
            await asyncio.sleep(100.0)
            assert not watching.done()
            channels.down = None
            watching.cancel()
            await mined(route, channels, 10**6)
            assert route.credit.locked == 10**6

        run_virtual(main())
