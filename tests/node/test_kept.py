"""What outlives a route: handed to the session's next one, or freed, once."""

import asyncio
from typing import Any

import pytest

from node.kept import NAME_BYTES, Kept, Room, SessionKey, Shelf
from sharding.span import Span
from tests.faults.virtual_time import run_virtual
from tests.node.admitted import make_admitted, make_route
from tests.node.money_fakes import CLIENT, NODES
from tests.node.test_output_log import ROW_BYTES, rows_at
from verification.addresses import Address

SPAN = Span(0, 1)
KEY = SessionKey(CLIENT.address, b"\x01" * 32, SPAN)
OTHER = SessionKey(CLIENT.address, b"\x02" * 32, SPAN)
OLD, NEW = b"\x0a" * 32, b"\x0b" * 32
"""Routes."""
LOG_BYTES = 100 * ROW_BYTES


class Engine:
    """Notes what is freed, and may take its time."""

    def __init__(self) -> None:
        self.freed: list[bytes] = []
        self.may_free = asyncio.Event()
        self.may_free.set()

    async def free(self, name: bytes) -> None:
        await self.may_free.wait()
        self.freed.append(name)

    def shelf(self, **changes: Any) -> Shelf:
        return Shelf(self.free, LOG_BYTES, **changes)


@pytest.fixture
def engine() -> Engine:
    return Engine()


async def take(shelf: Shelf, key: SessionKey = KEY) -> Kept | None:
    """As a new route with these blocks and no others does."""
    return await shelf.take(key, NEW, {key.span})


def started(shelf: Shelf, key: SessionKey = KEY) -> Kept:
    """A new session with some rows in its log."""
    kept = shelf.new(key)
    kept.outputs.append(0, rows_at(0, 10))
    return kept


async def running(shelf: Shelf, kept: Kept, ends: asyncio.Event) -> None:
    """A route that ends when a newer one wants it to, or when it is told to."""
    shelf.runs(kept, OLD, ends.set)
    await ends.wait()
    await shelf.put(kept, keep=True)


def test_a_name_is_the_clients_own() -> None:
    """Neither another client's nonce nor another nonce of the client gives it; over routes it stays."""
    first, second = (SessionKey.of(make_admitted(make_route(epoch=epoch))) for epoch in (0, 1))
    assert first == second == KEY
    others = SessionKey(NODES[0].address, KEY.nonce, SPAN), SessionKey(KEY.client, KEY.nonce, Span(0, 2))
    names = {key.name for key in (KEY, OTHER, *others)}
    assert len(names) == 4
    assert {len(name) for name in names} == {NAME_BYTES}


async def test_nothing_is_kept_of_a_new_session(engine: Engine) -> None:
    """It begins with empty hands."""
    shelf = engine.shelf()
    assert await take(shelf) is None
    kept = shelf.new(KEY)
    assert (kept.key, kept.tokens, kept.account, kept.has_rows, kept.outputs.end) == (KEY, [], None, False, 0)


async def test_a_kept_session_is_handed_out_once(engine: Engine) -> None:
    """With its rows; nothing of it is freed."""
    shelf = engine.shelf()
    kept = started(shelf)
    await shelf.put(kept, keep=True)
    assert shelf.parked == 1
    assert await take(shelf, OTHER) is None
    assert await take(shelf) is kept
    assert await take(shelf) is None
    assert (shelf.parked, engine.freed, kept.outputs.end) == (0, [], 10)


async def test_a_session_that_is_not_kept_is_freed_at_once(engine: Engine) -> None:
    """Its cache and its bytes of the log."""
    shelf = engine.shelf()
    kept = started(shelf)
    await shelf.put(kept, keep=False)
    assert (shelf.parked, engine.freed, shelf._budget.used) == (0, [KEY.name], 0)
    assert await take(shelf) is None


async def test_a_route_that_runs_is_ended_before_a_newer_one_begins(engine: Engine) -> None:
    """Whoever takes gets the session when the old route has put it back, not before."""
    shelf, ends = engine.shelf(), asyncio.Event()
    kept = started(shelf)
    route = asyncio.create_task(running(shelf, kept, ends))
    await asyncio.sleep(0)
    assert not ends.is_set()
    assert await take(shelf) is kept
    assert route.done()
    assert shelf.parked == 0


async def test_a_route_that_ends_without_keeping_leaves_nothing_to_take(engine: Engine) -> None:
    """The client closed the old one while the new one was on its way: the new one waits until all is freed."""
    shelf = engine.shelf()
    kept = started(shelf)
    shelf.runs(kept, OLD, lambda: None)
    taking = asyncio.create_task(take(shelf))
    engine.may_free.clear()
    putting = asyncio.create_task(shelf.put(kept, keep=False))
    await asyncio.sleep(0.0)
    assert not taking.done()
    engine.may_free.set()
    await putting
    assert await taking is None


async def test_an_engine_that_fails_to_free_holds_nobody_up() -> None:
    """Who waits for the session goes on, with nothing."""

    async def fail(name: bytes) -> None:
        raise ZeroDivisionError

    shelf = Shelf(fail, LOG_BYTES)
    kept = started(shelf)
    shelf.runs(kept, OLD, lambda: None)
    taking = asyncio.create_task(take(shelf))
    await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        await shelf.put(kept, keep=False)
    assert await taking is None


async def test_a_cache_over_other_blocks_is_freed_and_not_handed_out(engine: Engine) -> None:
    """The new route has this node compute another part of the model: what is kept is no use to it."""
    shelf = engine.shelf()
    kept = started(shelf)
    await shelf.put(kept, keep=True)
    assert await take(shelf, SessionKey(KEY.client, KEY.nonce, Span(0, 2))) is None
    assert (engine.freed, shelf.parked, shelf._budget.used) == ([KEY.name], 0, 0)


async def test_other_sessions_are_not_ended(engine: Engine) -> None:
    """Only the route of the very session makes room."""
    shelf, ends = engine.shelf(), asyncio.Event()
    kept = started(shelf)
    route = asyncio.create_task(running(shelf, kept, ends))
    await asyncio.sleep(0)
    assert await take(shelf, OTHER) is None
    assert not ends.is_set()
    ends.set()
    await route
    assert await take(shelf) is kept


@pytest.mark.parametrize(("after", "kept"), [(14.9, True), (15.1, False)])
def test_a_session_is_kept_for_fifteen_seconds(after: float, kept: bool) -> None:
    """A client that comes in time finds it, one that comes later does not; then its memory is free."""

    async def main() -> None:
        engine = Engine()
        shelf = engine.shelf()
        await shelf.put(started(shelf), keep=True)
        await asyncio.sleep(after)
        assert (await take(shelf) is not None) is kept
        assert engine.freed == ([] if kept else [KEY.name])
        assert shelf._budget.used == (10 * ROW_BYTES if kept else 0)

    run_virtual(main())


def test_the_time_begins_anew_with_each_route() -> None:
    """A session that was taken and put back is not freed by the first time's clock."""

    async def main() -> None:
        engine = Engine()
        shelf = engine.shelf(keep_seconds=10.0)
        kept = started(shelf)
        for _ in range(3):
            await shelf.put(kept, keep=True)
            await asyncio.sleep(9.0)
            assert await take(shelf) is kept
        await asyncio.sleep(100.0)
        assert engine.freed == []

    run_virtual(main())


async def test_closing_frees_what_is_parked_and_leaves_no_clock_running(engine: Engine) -> None:
    """All of it, once; what runs is freed by its own end."""
    shelf, ends = engine.shelf(keep_seconds=0.0), asyncio.Event()
    kept = [started(shelf, SessionKey(CLIENT.address, bytes([number]) * 32, SPAN)) for number in range(3)]
    shelf.runs(kept[2], OLD, ends.set)
    for each in kept[:2]:
        await shelf.put(each, keep=True)
    await shelf.close()
    await asyncio.sleep(0)
    assert sorted(engine.freed) == sorted(each.name for each in kept[:2])
    assert shelf.parked == 0
    assert shelf._budget.used == 10 * ROW_BYTES


def test_closing_waits_for_what_is_being_freed() -> None:
    """A session whose time is just over is not left half freed."""

    async def main() -> list[bytes]:
        engine = Engine()
        shelf = engine.shelf(keep_seconds=1.0)
        await shelf.put(started(shelf), keep=True)
        engine.may_free.clear()
        await asyncio.sleep(1.5)
        asyncio.get_running_loop().call_later(1.0, engine.may_free.set)
        await shelf.close()
        return engine.freed

    assert run_virtual(main()) == [KEY.name]


async def test_sessions_of_a_stage_share_one_budget_of_rows(engine: Engine) -> None:
    """Ten sessions of ten rows fit a hundred rows' bytes; an eleventh keeps none, and all the others theirs."""
    shelf = engine.shelf()
    kept = [started(shelf, SessionKey(CLIENT.address, bytes([number]) * 32, SPAN)) for number in range(11)]
    assert [each.outputs.covers(0, 10) for each in kept] == [True] * 10 + [False]
    assert shelf._budget.used == LOG_BYTES


async def test_two_stages_of_one_route_on_one_node_leave_each_other_alone(engine: Engine) -> None:
    """The second one's Open comes while the first runs; each finds its own cache, and one over other blocks goes."""
    shelf, ends = engine.shelf(), asyncio.Event()
    first, second, third = (SessionKey(KEY.client, KEY.nonce, Span(at, at + 1)) for at in (0, 2, 4))
    kept = {key: started(shelf, key) for key in (first, second, third)}
    await shelf.put(kept[second], keep=True)
    await shelf.put(kept[third], keep=True)
    shelf.runs(kept[first], NEW, ends.set)
    assert await shelf.take(second, NEW, {first.span, second.span}) is kept[second]
    assert (ends.is_set(), engine.freed, shelf.parked) == (False, [third.name], 0)


async def test_a_newer_route_ends_all_stages_of_the_old_one(engine: Engine) -> None:
    """Also those whose own turn has not come: they hold the old channel."""
    shelf, ends = engine.shelf(), [asyncio.Event(), asyncio.Event()]
    keys = [SessionKey(KEY.client, KEY.nonce, Span(at, at + 1)) for at in (0, 2)]
    kept = [started(shelf, key) for key in keys]
    routes = [asyncio.create_task(running(shelf, each, end)) for each, end in zip(kept, ends, strict=True)]
    await asyncio.sleep(0)
    assert await shelf.take(keys[0], NEW, {key.span for key in keys}) is kept[0]
    assert all(route.done() for route in routes)
    assert await shelf.take(keys[1], NEW, {key.span for key in keys}) is kept[1]


def session(number: int, client: Address = CLIENT.address, span: Span = SPAN) -> SessionKey:
    return SessionKey(client, bytes([number]) * 32, span)


async def park(shelf: Shelf, *keys: SessionKey) -> None:
    for key in keys:
        await shelf.put(started(shelf, key), keep=True)


async def test_one_client_parks_so_many_sessions_and_loses_its_oldest_past_that(engine: Engine) -> None:
    """Its own and nobody else's; the parts of one session count once and go together."""
    shelf = engine.shelf(room=Room(sessions=10, per_client=2))
    others = session(9, NODES[0].address)
    first, beside = session(1), session(1, span=Span(2, 3))
    await park(shelf, others, first, beside, session(2))
    assert engine.freed == []
    await park(shelf, session(3))
    assert engine.freed == [first.name, beside.name]
    assert [await take(shelf, key) is not None for key in (others, first, session(2), session(3))] == [
        True,
        False,
        True,
        True,
    ]


async def test_all_clients_together_park_so_many_sessions(engine: Engine) -> None:
    """The oldest one goes, whose ever it is."""
    shelf = engine.shelf(room=Room(sessions=2, per_client=2))
    keys = [session(1, node.address) for node in NODES]
    await park(shelf, *keys[:2])
    assert engine.freed == []
    await park(shelf, keys[2])
    assert (engine.freed, shelf.parked, shelf._budget.used) == ([keys[0].name], 2, 20 * ROW_BYTES)
