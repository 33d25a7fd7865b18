"""Records and gossip as bytes: one spelling of each, every limit kept."""

from dataclasses import replace

import msgspec
import pytest

from node.errors import MalformedMessage
from node.record_book import sign_record
from node.record_messages import (
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    MAX_GOSSIP_BYTES,
    MAX_RECORD_BYTES,
    MAX_SUMMARY_NODES,
    Held,
    Records,
    Summary,
    batches,
    decode_gossip,
    decode_record,
    encode_gossip,
    encode_record,
)
from sharding.placement_values import MAX_BYTES, MAX_SPANS, Phase
from sharding.span import Span
from tests.node.records import DOMAIN, key, record, signed
from verification.node_records import (
    MAX_ENDPOINT_BYTES,
    MAX_LIFE_SECONDS,
    MAX_SERVED_SPANS,
    ServedSpan,
    SignedServiceRecord,
)
from verification.placement_claims import MAX_RATE, PlacementClaim


def largest() -> SignedServiceRecord:
    """A record with every field at its longest."""
    spans = tuple(ServedSpan(at, 1024, 2**96 - 1, 2**32 - 1) for at in range(1000, 1000 + MAX_SERVED_SPANS))
    full = replace(
        record(1, sequence=2**64 - 1, issued=2**40 - 1 - MAX_LIFE_SECONDS, life=MAX_LIFE_SECONDS, queue=2**32 - 1),
        spans=spans, free_pages=2**32 - 1, endpoint="x" * MAX_ENDPOINT_BYTES, placement=longest_move(MAX_SPANS),
    )  # fmt: skip
    return sign_record(full, key(1), DOMAIN)


def longest_move(spans: int) -> PlacementClaim:
    """So many single blocks to give up and to take, with every number at its end."""
    give, take = (tuple(Span(at, at + 1) for at in range(start, start + 2 * spans, 2)) for start in (500, 800))
    return PlacementClaim(MAX_BYTES, MAX_RATE, Phase.DRAINING, 1000 * (2**40 - MAX_LIFE_SECONDS) - 1, give, take, spans)


def test_records_survive_the_wire() -> None:
    """Also the largest, within the limit for one record and with every field at its end."""
    for each in (signed(1), largest()):
        data = encode_record(each)
        assert decode_record(data) == each
        assert len(data) <= MAX_RECORD_BYTES


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x80",
        encode_record(signed(1))[:-1],
        encode_record(signed(1)) + b"\0",
        bytes([0x80 | 15]) + encode_record(signed(1))[1:] + b"\xa1x\x01",
        bytes(MAX_RECORD_BYTES + 1),
        encode_record(signed(1)).replace(b"\xa8sequence\x01", b"\xa8sequence\xcc\x01"),
        encode_record(signed(1)).replace(b"\xa8sequence\x01", b"\xa8sequence\xff"),
        encode_record(signed(1)).replace(b"\xa8draining\xc2", b"\xa8draining\x00"),
    ],
    ids=[
        "empty",
        "no type",
        "no fields",
        "short",
        "long",
        "extra field",
        "large",
        "long spelling",
        "negative",
        "no flag",
    ],
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    """There is one spelling of each record, so one record has one size and one hash."""
    with pytest.raises(MalformedMessage):
        decode_record(data)


def with_place(place: list[object]) -> bytes:
    """A record with this in the place of its place."""
    parts = msgspec.msgpack.decode(encode_record(signed(1)))
    return msgspec.msgpack.encode(parts | {"placement": place})


@pytest.mark.parametrize(
    "place",
    [
        [],
        [0, 1, 5, 0, [], [], 0],
        [0, 1, -1, 0, [], [], 0],
        [-1, 1, 0, 0, [], [], 0],
        [0, 1, 0, 1.5, [], [], 0],
        [0, 1, 0, 0, [[2, 2]], [], 0],
        [0, 1, 0, 0, [], [[0, 1025]], 0],
        [0, 1, 0, 0, [[at, at + 1] for at in range(0, 34, 2)], [], 0],
        [0, 1, 0, 0, [], [[0, 1, 2]], 0],
        [0, 1, 0, 0, [], [], 2**32],
        [0, 1, 0, 0, [], [], 0, 0],
    ],
    ids=str,
)
def test_what_is_no_place_is_refused(place: list[object]) -> None:
    """An unknown phase, blocks that no model has, a span too many, a field too many."""
    assert decode_record(with_place([0, 1, 4, 0, [[0, 1]], [[1023, 1024]], 0]))
    with pytest.raises(MalformedMessage):
        decode_record(with_place(place))


def test_what_does_not_fit_the_wire_is_not_written() -> None:
    """Amounts end at 96 bits, numbers at 64."""
    for change in ({"sequence": 2**64}, {"spans": (ServedSpan(0, 1, 2**96, 1),)}):
        with pytest.raises(MalformedMessage):
            encode_record(replace(signed(1), record=replace(record(1), **change)))


def held(count: int) -> tuple[Held, ...]:
    """Places of nodes with long sequences."""
    return tuple(Held(number.to_bytes(20, "big"), 2**64 - 1) for number in range(count))


def test_the_longest_messages_fit_and_longer_ones_are_refused() -> None:
    """1,500 nodes in a summary, 64 records in a message; one more is too many."""
    everything = (bytes(20), b"\xff" * 20)
    fits = (
        Summary(*everything, held(MAX_SUMMARY_NODES)),
        Records((b"x",) * MAX_BATCH_RECORDS),
        Records((b"x" * MAX_RECORD_BYTES,)),
    )
    for message in fits:
        assert decode_gossip(encode_gossip(message)) == message
    past = (
        Summary(*everything, held(MAX_SUMMARY_NODES + 1)),
        Records((b"x",) * (MAX_BATCH_RECORDS + 1)),
        Records((b"x" * (MAX_RECORD_BYTES + 1),)),
        Records((b"",)),
    )
    for message in past:
        with pytest.raises(MalformedMessage):
            decode_gossip(msgspec.msgpack.encode(message))
    with pytest.raises(MalformedMessage):
        encode_gossip(Records((b"x" * MAX_GOSSIP_BYTES,)))
    with pytest.raises(MalformedMessage):
        decode_gossip(bytes(MAX_GOSSIP_BYTES + 1))


@pytest.mark.parametrize(
    ("first", "last", "nodes"),
    [(3, 2, ()), (1, 5, (2, 2)), (1, 5, (3, 2)), (1, 5, (0,)), (1, 5, (6,))],
    ids=["reversed", "twice", "unsorted", "below", "above"],
)
def test_a_summary_out_of_order_is_refused(first: int, last: int, nodes: tuple[int, ...]) -> None:
    """Each node once, within the range that the summary speaks of."""
    places = tuple(Held(number.to_bytes(20, "big"), 1) for number in nodes)
    message = Summary(first.to_bytes(20, "big"), last.to_bytes(20, "big"), places)

    with pytest.raises(MalformedMessage, match="ascending"):
        decode_gossip(encode_gossip(message))


def test_batches_keep_order_and_both_limits() -> None:
    """By number, and by bytes so that each message stays below its own limit."""
    small = [number.to_bytes(2, "big") for number in range(MAX_BATCH_RECORDS + 1)]
    large = [bytes(MAX_RECORD_BYTES)] * (MAX_BATCH_BYTES // MAX_RECORD_BYTES + 1)

    assert [len(each.records) for each in batches(small)] == [MAX_BATCH_RECORDS, 1]
    assert [data for each in batches(small) for data in each.records] == small
    assert [len(each.records) for each in batches(large)] == [MAX_BATCH_BYTES // MAX_RECORD_BYTES, 1]
    assert all(len(encode_gossip(each)) <= MAX_GOSSIP_BYTES for each in batches(large))
    assert list(batches([])) == []
