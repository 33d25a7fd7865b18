"""The ServiceRecord: one digest for one statement, every field signed, every field within its limit."""

from dataclasses import replace

import pytest

from sharding.placement_values import MAX_BYTES, MAX_SPANS, Phase
from sharding.span import MAX_BLOCKS
from tests.verification.wallet import DOMAIN, MOVING, OTHER, RECORD, SPAN, apart, wallet_digest
from verification.addresses import Address
from verification.errors import MalformedAddress, MalformedRecord
from verification.node_records import (
    MAX_ENDPOINT_BYTES,
    MAX_LIFE_SECONDS,
    MAX_SERVED_SPANS,
    ServedSpan,
    next_sequence,
)
from verification.placement_claims import MAX_RATE, PlacementClaim
from verification.typed_data import Domain


@pytest.mark.parametrize("draining", [False, True])
def test_record_digest_is_standard(draining: bool) -> None:
    """A wallet that knows only EIP-712 signs the same digest."""
    record = replace(RECORD, draining=draining)

    assert record.digest(DOMAIN) == wallet_digest(record)


@pytest.mark.parametrize(
    "change",
    [
        {"node": OTHER},
        {"sequence": 8},
        {"issued": 1_900_000_001},
        {"expires": 1_900_000_031},
        {"peer": b"x" * 32},
        {"endpoint": "wss://node.test:2/v1/stream"},
        {"manifest": b"x" * 32},
        {"profile": b"x" * 32},
        {"spans": (SPAN,)},
        {"spans": (replace(SPAN, ask=1), RECORD.spans[1])},
        {"spans": (replace(SPAN, rate=1), RECORD.spans[1])},
        {"queue": 4},
        {"free_pages": 401},
        {"draining": True},
        {"placement": MOVING},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_a_record_is_signed(change: dict[str, object]) -> None:
    """No field can be changed under a signature."""
    assert replace(RECORD, **change).digest(DOMAIN) != RECORD.digest(DOMAIN)  # type: ignore[arg-type]


def test_a_record_holds_in_one_domain() -> None:
    """A record of one chain says nothing on another."""
    assert RECORD.digest(DOMAIN) != RECORD.digest(Domain(1, OTHER))


def spans(count: int) -> tuple[ServedSpan, ...]:
    """One block each."""
    return tuple(ServedSpan(at, at + 1, 1, 1) for at in range(count))


AT_THE_LIMIT: list[dict[str, object]] = [
    {"sequence": 0},
    {"sequence": 2**64 - 1},
    {"issued": 2**40 - 2, "expires": 2**40 - 1},
    {"expires": RECORD.issued + 1},
    {"expires": RECORD.issued + MAX_LIFE_SECONDS},
    {"endpoint": "x"},
    {"endpoint": "!~" * (MAX_ENDPOINT_BYTES // 2)},
    {"spans": spans(1)},
    {"spans": spans(MAX_SERVED_SPANS)},
    {"spans": (ServedSpan(0, MAX_BLOCKS, 2**96 - 1, 2**32 - 1),)},
    {"spans": (ServedSpan(0, 4, 1, 1), ServedSpan(0, 5, 1, 1), ServedSpan(2, 3, 1, 1))},
    {"queue": 2**32 - 1, "free_pages": 2**32 - 1},
    {"queue": 0, "free_pages": 0},
    {"spans": (), "placement": replace(MOVING, phase=Phase.CLAIMING, give=())},
    {"placement": PlacementClaim(MAX_BYTES, MAX_RATE, since=1_900_000_000_999)},
    {"placement": PlacementClaim(0, 1, Phase.LEAVING)},
    {"placement": replace(MOVING, give=apart(MAX_SPANS), take=apart(MAX_SPANS, 100), closes=MAX_SPANS)},
    {"placement": replace(MOVING, take=(), closes=0)},
    {"placement": replace(MOVING, phase=Phase.LOADING, give=(), closes=3)},
    {"issued": 2**40 - 2, "expires": 2**40 - 1, "placement": replace(MOVING, since=1000 * (2**40 - 1) - 1)},
]
PAST_THE_LIMIT: list[dict[str, object]] = [
    {"sequence": -1},
    {"sequence": 2**64},
    {"issued": 2**40 - 1, "expires": 2**40},
    {"expires": RECORD.issued},
    {"expires": RECORD.issued + MAX_LIFE_SECONDS + 1},
    {"peer": bytes(31)},
    {"manifest": bytes(33)},
    {"profile": b""},
    {"endpoint": ""},
    {"endpoint": "x" * (MAX_ENDPOINT_BYTES + 1)},
    {"endpoint": "wss://node test"},
    {"endpoint": "wss://n\u00f6de.test"},
    {"endpoint": "wss://node\n"},
    {"endpoint": b"wss://node"},
    {"spans": ()},
    {"spans": spans(MAX_SERVED_SPANS + 1)},
    {"spans": (ServedSpan(0, MAX_BLOCKS + 1, 1, 1),)},
    {"spans": (ServedSpan(2, 2, 1, 1),)},
    {"spans": (ServedSpan(0, 1, 0, 1),)},
    {"spans": (ServedSpan(0, 1, 1, 0),)},
    {"spans": (ServedSpan(0, 1, 2**96, 1),)},
    {"spans": (ServedSpan(0, 1, 1, 2**32),)},
    {"spans": (ServedSpan(1, 2, 1, 1), ServedSpan(0, 1, 1, 1))},
    {"spans": (ServedSpan(0, 1, 1, 1), ServedSpan(0, 1, 2, 1))},
    {"queue": 2**32},
    {"queue": True},
    {"free_pages": -1},
    {"free_pages": 2**32},
    {"draining": 1},
    {"draining": None},
]


@pytest.mark.parametrize("change", AT_THE_LIMIT, ids=str)
def test_what_lies_at_a_limit_is_signed(change: dict[str, object]) -> None:
    """The least and the most of every field have a digest, the standard one."""
    record = replace(RECORD, **change)  # type: ignore[arg-type]

    assert record.digest(DOMAIN) == wallet_digest(record)


@pytest.mark.parametrize("change", PAST_THE_LIMIT, ids=str)
def test_what_lies_past_a_limit_has_no_digest(change: dict[str, object]) -> None:
    """One more than a field holds is refused by name before anybody signs or checks it."""
    with pytest.raises(MalformedRecord) as caught:
        replace(RECORD, **change).digest(DOMAIN)  # type: ignore[arg-type]

    assert caught.value.field in {*change, "end", "ask", "rate"}


def test_a_record_belongs_to_an_address() -> None:
    """What names no owner is no record."""
    with pytest.raises(MalformedAddress):
        replace(RECORD, node=Address("node")).digest(DOMAIN)


def test_claims_read_in_tokens_per_second() -> None:
    """Thousandths on the wire, so that half a token per second can be said."""
    assert ServedSpan(0, 4, 1, 12_500).tokens_per_second == 12.5
    assert ServedSpan(0, 4, 1, 500).tokens_per_second == 0.5


def test_sequences_rise_even_when_the_clock_does_not() -> None:
    """A node that lost its disk goes on above its old sequence; one whose clock went back goes on by ones."""
    assert next_sequence(0, 1_900_000_000.5) == 1_900_000_000_500
    assert next_sequence(1_900_000_000_500, 1_900_000_000.5) == 1_900_000_000_501
    assert next_sequence(2_000_000_000_000, 5.0) == 2_000_000_000_001
