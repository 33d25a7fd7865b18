"""What a record says of its node's place: signed whole, within limits, and read back as placement sees it."""

from dataclasses import replace

import pytest

from sharding.placement_values import MAX_BYTES, MAX_SPANS, Holding, Move, Offer, Phase
from sharding.span import Span
from tests.verification.wallet import DOMAIN, MOVING, NODE, RECORD, SPAN, apart, wallet_digest
from verification.errors import MalformedRecord
from verification.node_records import MAX_SERVED_SPANS, ServedSpan, ServiceRecord
from verification.placement_claims import MAX_RATE, PlacementClaim, claim_of

PLACES_PAST_THE_LIMIT: list[dict[str, object]] = [
    {"capacity": -1},
    {"capacity": MAX_BYTES + 1},
    {"capacity": 0},
    {"block_rate": 0},
    {"block_rate": MAX_RATE + 1},
    {"phase": 2},
    {"phase": Phase.SERVING},
    {"phase": Phase.LEAVING},
    {"since": 1_900_000_001_000},
    {"since": -1},
    {"since": 1.5},
    {"give": apart(MAX_SPANS + 1, 100)},
    {"take": apart(MAX_SPANS + 1, 100)},
    {"give": (Span(1, 2), Span(0, 1))},
    {"take": (Span(4, 5), Span(5, 6))},
    {"take": (Span(1, 3),)},
    {"closes": 4},
    {"give": ()},
    {"phase": Phase.LOADING, "take": (), "closes": 0},
    {"phase": Phase.CLAIMING, "give": (), "take": (), "closes": 0},
]


@pytest.mark.parametrize(
    "change",
    [
        {"capacity": 1},
        {"block_rate": 1},
        {"phase": Phase.CLAIMING},
        {"since": 0},
        {"give": (Span(0, 1),)},
        {"take": (Span(4, 6),)},
        {"closes": 0},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_a_place_is_signed(change: dict[str, object]) -> None:
    """A move cannot be changed under a signature either."""
    record, changed = (
        replace(RECORD, placement=each)
        for each in (MOVING, replace(MOVING, **change))  # type: ignore[arg-type]
    )

    assert changed.digest(DOMAIN) == wallet_digest(changed) != record.digest(DOMAIN)


@pytest.mark.parametrize("change", PLACES_PAST_THE_LIMIT, ids=str)
def test_a_place_past_a_limit_has_no_digest(change: dict[str, object]) -> None:
    """Neither has one whose phase and move do not belong together."""
    record = replace(RECORD, placement=replace(MOVING, **change))  # type: ignore[arg-type]

    with pytest.raises(MalformedRecord):
        record.digest(DOMAIN)


@pytest.mark.parametrize("place", [PlacementClaim(), replace(MOVING, phase=Phase.DRAINING, take=(), closes=0)])
def test_a_record_without_spans_says_which_it_takes(place: PlacementClaim) -> None:
    """Who serves nothing and takes nothing has nothing to say."""
    with pytest.raises(MalformedRecord, match="spans"):
        replace(RECORD, spans=(), placement=place).digest(DOMAIN)


def record_of(holding: Holding) -> ServiceRecord:
    """What a node with this holding says of itself."""
    served = tuple(ServedSpan(each.start, each.end, 1, 1) for each in holding.serving)
    return replace(RECORD, spans=served, placement=claim_of(holding))


OFFER = Offer(NODE, 2**30, 12.5)
MOVE = Move((Span(0, 2),), (Span(4, 6),), 2)


@pytest.mark.parametrize(
    "holding",
    [
        Holding(OFFER, (), Phase.CLAIMING, 1_900_000_000.25, Move((), (Span(4, 6),), 2)),
        Holding(OFFER, (Span(0, 3),), Phase.CLAIMING, 1_900_000_000.25, MOVE),
        Holding(OFFER, (Span(0, 3),), Phase.DRAINING, 1_900_000_000.25, MOVE),
        Holding(OFFER, (Span(0, 2),), Phase.DRAINING, 1_900_000_000.25, MOVE),
        Holding(OFFER, (Span(2, 3),), Phase.LOADING, 1_900_000_000.25, MOVE),
        Holding(OFFER, (Span(2, 3), Span(5, 6)), Phase.SERVING, 1_900_000_000.25),
        Holding(OFFER, (Span(2, 3), Span(5, 6)), Phase.LEAVING, 1_900_000_000.25),
    ],
    ids=lambda holding: f"{holding.phase} {len(holding.spans)}",
)
def test_a_holding_is_read_from_the_record_that_tells_of_it(holding: Holding) -> None:
    """In every phase, though a record names only the spans that are open; what drains is not among them."""
    record = record_of(holding)

    assert record.digest(DOMAIN) == wallet_digest(record)
    assert record.holding == holding


def test_a_node_that_drains_is_leaving() -> None:
    """Whatever else it says; nobody counts on it."""
    for place in (PlacementClaim(), MOVING):
        holding = replace(RECORD, draining=True, placement=place).holding
        assert holding is not None
        assert (holding.phase, holding.relied_on, holding.move) == (Phase.LEAVING, (), None)


def test_a_node_with_fixed_blocks_offers_no_memory() -> None:
    """Its spans count, wherever they overlap, and it has room for nothing."""
    holding = replace(RECORD, spans=(SPAN, ServedSpan(2, 6, 1, 1))).holding

    assert holding == Holding(Offer(NODE, 0, 0.001), (Span(0, 6),), Phase.SERVING, 0.0)


def test_claims_that_make_no_holding_are_none() -> None:
    """A stranger's record may be signed and still say too much at once."""
    served = tuple(ServedSpan(2 * at, 2 * at + 1, 1, 1) for at in range(100, 100 + MAX_SERVED_SPANS))
    record = replace(RECORD, spans=served, placement=MOVING)

    assert record.digest(DOMAIN)
    assert record.holding is None
