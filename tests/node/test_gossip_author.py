"""What a node tells of itself: at its time or when something has changed, within the record's limits, and no faster than it is."""

import asyncio
from dataclasses import replace

import pytest
from pydantic import ValidationError

from node.errors import SettingsError
from node.gossip_author import (
    MUCH_QUEUE,
    RECORD_SECONDS,
    Author,
    Service,
    SpanRate,
    StageLoad,
    changed_much,
)
from node.settings import NodeSettings, load_client_settings
from sharding.placement_values import Phase
from sharding.span import Span
from tests.faults.virtual_time import EPOCH, run_virtual
from tests.node.gossips import IDLE, MANIFEST, PROFILE
from tests.node.records import DOMAIN, address, key, record
from verification.node_records import DEFAULT_LIFE_SECONDS, ServiceRecord
from verification.placement_claims import PlacementClaim

SERVICE = Service(address(1), b"t" * 32, "wss://node1.test:1", MANIFEST, PROFILE, 7)


def author_of(loads: list[StageLoad]) -> Author:
    """An author whose stage says the last of these."""

    async def load() -> StageLoad:
        return loads[-1]

    return Author(SERVICE, key(1), DOMAIN, load)


async def written(author: Author, held: ServiceRecord | None) -> ServiceRecord:
    """A record that is due."""
    signed = await author.write(held)
    assert signed is not None
    return signed.record


def test_a_record_is_due_every_ten_seconds() -> None:
    """Not before, with a higher sequence each time, in milliseconds of the clock."""

    async def main() -> None:
        author = author_of([IDLE])
        first = await written(author, None)
        assert (first.issued, first.life, first.sequence) == (EPOCH, DEFAULT_LIFE_SECONDS, EPOCH * 1000)
        assert (first.node, first.peer, first.endpoint) == (SERVICE.node, SERVICE.peer, SERVICE.endpoint)
        assert [(each.span, each.ask) for each in first.spans] == [(Span(0, 4), 7)]
        await asyncio.sleep(RECORD_SECONDS - 0.1)
        assert await author.write(first) is None
        await asyncio.sleep(0.1)
        assert (await written(author, first)).sequence == (EPOCH + RECORD_SECONDS) * 1000

    run_virtual(main())


def test_what_the_book_does_not_hold_is_written_again() -> None:
    """It was refused, or displaced, or is from an earlier life with a clock that was ahead."""

    async def main() -> None:
        author = author_of([IDLE])
        first = await written(author, None)
        assert (await written(author, None)).sequence == first.sequence + 1
        assert (await written(author, record(1, sequence=2**50))).sequence == 2**50 + 1

    run_virtual(main())


@pytest.mark.parametrize(
    ("change", "much"),
    [({"draining": True}, True), ({"free_pages": 0}, True), ({"free_pages": -3}, True), ({"free_pages": 1}, False),
     ({"queue": MUCH_QUEUE}, True), ({"queue": MUCH_QUEUE - 1}, False)],
    ids=str,
)  # fmt: skip
def test_what_a_router_would_mind_is_told_at_once(change: dict[str, int], much: bool) -> None:
    """And what it would not, with the next record."""

    async def main() -> bool:
        loads = [IDLE]
        author = author_of(loads)
        first = await written(author, None)
        loads.append(replace(IDLE, **change))  # type: ignore[arg-type]
        return await author.write(first) is not None

    assert run_virtual(main()) is much


@pytest.mark.parametrize(
    ("before", "after", "much"), [(1000, 1999, False), (1000, 2000, True), (200, 100, True), (200, 101, False)]
)
def test_a_queue_is_news_when_it_has_doubled_or_halved(before: int, after: int, much: bool) -> None:
    """A long queue that is a little longer is still long."""
    last = replace(record(1, queue=before), free_pages=IDLE.free_pages)

    assert changed_much(last, replace(IDLE, queue=after)) is much


def test_a_record_keeps_to_its_limits() -> None:
    """Counts past 32 bits, speeds past them or below a thousandth of a token, pages owed."""

    async def main() -> None:
        huge = StageLoad(queue=2**40, free_pages=2**40, spans=(SpanRate(Span(0, 4), 1e12),))
        told = await written(author_of([huge]), None)
        assert (told.queue, told.free_pages, told.spans[0].rate) == (2**32 - 1,) * 3
        slow = StageLoad(queue=0, free_pages=-5, spans=(SpanRate(Span(0, 4), 1e-9),))
        told = await written(author_of([slow]), None)
        assert (told.free_pages, told.spans[0].rate) == (0, 1)

    run_virtual(main())


def test_all_spans_are_told_and_another_one_at_once() -> None:
    """Each with its own speed, at one price."""

    async def main() -> None:
        loads = [IDLE]
        author = author_of(loads)
        first = await written(author, None)
        loads.append(replace(IDLE, spans=(SpanRate(Span(0, 2), 20.0), SpanRate(Span(4, 6), 0.5))))
        told = await written(author, first)
        assert [(each.span, each.rate, each.ask) for each in told.spans] == [
            (Span(0, 2), 20_000, 7),
            (Span(4, 6), 500, 7),
        ]
        loads.append(replace(loads[-1], spans=(SpanRate(Span(0, 2), 19.0), SpanRate(Span(4, 6), 0.4))))
        assert await author.write(told) is None, "other speeds can wait"

    run_virtual(main())


# Where a node stands with its blocks

MOVE = PlacementClaim(1 << 30, 9_000, Phase.CLAIMING, int(EPOCH * 1000), (), (Span(4, 6),), 2)


def test_a_node_with_fixed_blocks_says_how_fast_it_is_and_when_it_leaves() -> None:
    """Blocks times tokens of a second, the mean of its spans; no memory to offer, no move."""

    async def main() -> None:
        two = replace(IDLE, spans=(SpanRate(Span(0, 2), 20.0), SpanRate(Span(4, 8), 5.0)))
        for draining, phase in ((False, Phase.SERVING), (True, Phase.LEAVING)):
            told = await written(author_of([replace(two, draining=draining)]), None)
            assert told.placement == PlacementClaim(block_rate=30_000, phase=phase)

    run_virtual(main())


@pytest.mark.parametrize(
    ("change", "much"),
    [({}, False), ({"block_rate": 1}, False), ({"capacity": 1}, True), ({"phase": Phase.LOADING}, True),
     ({"since": MOVE.since - 1}, True), ({"take": (Span(4, 7),)}, True), ({"closes": 1}, True)],
    ids=str,
)  # fmt: skip
def test_a_move_is_news(change: dict[str, object], much: bool) -> None:
    """Whatever changes of it; speed alone can wait for the next record."""

    async def main() -> bool:
        loads = [replace(IDLE, placement=MOVE)]
        author = author_of(loads)
        first = await written(author, None)
        assert first.placement == MOVE
        loads.append(replace(IDLE, placement=replace(MOVE, **change)))  # type: ignore[arg-type]
        return await author.write(first) is not None

    assert run_virtual(main()) is much


def test_a_joining_node_has_something_to_say_when_it_has_a_claim() -> None:
    """Without spans and without a claim there is no record."""

    async def main() -> None:
        nothing = replace(IDLE, spans=())
        assert await author_of([nothing]).write(None) is None
        told = await written(author_of([replace(nothing, placement=MOVE)]), None)
        assert (told.spans, told.placement) == ((), MOVE)

    run_virtual(main())


def test_a_phase_never_begins_after_its_record() -> None:
    """The clock was set back since: the record is good all the same, and the next is not due at once."""

    async def main() -> None:
        ahead = replace(IDLE, placement=replace(MOVE, since=MOVE.since + 60_000))
        author = author_of([ahead])
        told = await written(author, None)
        assert told.placement.since == EPOCH * 1000 + 999
        assert await author.write(told) is None

    run_virtual(main())


# How often, and what a price is worth


@pytest.mark.parametrize("seconds", [0.1, 10.0])
def test_an_operator_chooses_how_often_records_are_exchanged(seconds: float) -> None:
    """From a tenth of a second to a third of a record's life."""
    assert settings_with(gossip_seconds=seconds).gossip_seconds == seconds


@pytest.mark.parametrize("seconds", [0.09, 10.1])
def test_an_exchange_too_often_or_too_seldom_is_refused(seconds: float) -> None:
    """Past the limits on both sides."""
    with pytest.raises(ValidationError, match="gossip_seconds"):
        settings_with(gossip_seconds=seconds)


@pytest.mark.parametrize(("seconds", "good"), [(0.0, True), (3600.0, True), (-0.1, False), (3600.1, False)])
def test_a_client_chooses_what_its_highest_price_is_like(
    seconds: float, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing at all, up to an hour per token."""
    monkeypatch.setenv("TALLY_PRICE_SECONDS", str(seconds))
    if good:
        assert load_client_settings().price_seconds == seconds
    else:
        with pytest.raises(SettingsError, match="price_seconds"):
            load_client_settings()


def settings_with(**changes: float) -> NodeSettings:
    """A node's settings with something else in them."""
    return NodeSettings.model_validate({"model": "model", "blocks": "0:1", "owner": address(1), **changes})
