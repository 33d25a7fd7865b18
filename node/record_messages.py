"""ServiceRecords as bytes, and the two messages by which peers exchange them: what I hold, and what you lack.

As node.messages: MessagePack, every field bounded, one encoding of each thing, anything else refused. A message of records
carries each as bytes of its own, so that one which cannot be read costs the others nothing.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from node.errors import MalformedMessage
from node.messages import U32, U40, U64, Address20, Amount12, Hash32, Signature64, amount_bytes, amount_of
from sharding.errors import SpanError
from sharding.placement_values import MAX_SPANS
from sharding.span import Span
from verification.addresses import address_bytes, to_address
from verification.node_records import (
    MAX_ENDPOINT_BYTES,
    MAX_SERVED_SPANS,
    ServedSpan,
    ServiceRecord,
    SignedServiceRecord,
)
from verification.placement_claims import PHASES, PlacementClaim

MAX_RECORD_BYTES = 2048
MAX_GOSSIP_BYTES = 64 * 1024
MAX_SUMMARY_NODES = 1500
MAX_BATCH_RECORDS = 64
"""Each costs the receiver half a millisecond."""
MAX_BATCH_BYTES = 60 * 1024
"""Of the records in one message, so that the message itself stays below MAX_GOSSIP_BYTES."""


class _SpanPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    start: U32
    end: U32
    ask: Amount12
    rate: U32


class _BlocksPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    start: U32
    end: U32


_Blocks = Annotated[tuple[_BlocksPart, ...], Meta(max_length=MAX_SPANS)]


class _PlacementPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    capacity: U64
    block_rate: U64
    phase: Annotated[int, Meta(ge=0, lt=len(PHASES))]
    since: U64
    give: _Blocks
    take: _Blocks
    closes: U32


class _RecordPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    node: Address20
    sequence: U64
    issued: U40
    expires: U40
    peer: Hash32
    endpoint: Annotated[str, Meta(min_length=1, max_length=MAX_ENDPOINT_BYTES)]
    manifest: Hash32
    profile: Hash32
    spans: Annotated[tuple[_SpanPart, ...], Meta(max_length=MAX_SERVED_SPANS)]
    queue: U32
    free_pages: U32
    draining: bool
    placement: _PlacementPart
    signature: Signature64


class Held(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """One record's place in a summary."""

    node: Address20
    sequence: U64


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="summary"):
    """All that the sender holds of nodes whose addresses lie between `first` and `last`, both included; ascending."""

    first: Address20
    last: Address20
    held: Annotated[tuple[Held, ...], Meta(max_length=MAX_SUMMARY_NODES)]


class Records(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="records"):
    """Signed records, each in its own encoding, that the receiver seems to lack."""

    records: Annotated[
        tuple[Annotated[bytes, Meta(min_length=1, max_length=MAX_RECORD_BYTES)], ...],
        Meta(max_length=MAX_BATCH_RECORDS),
    ]


Gossip = Summary | Records

_T = TypeVar("_T")
_encoder = msgspec.msgpack.Encoder()
_record_decoder: msgspec.msgpack.Decoder[_RecordPart] = msgspec.msgpack.Decoder(_RecordPart)
_gossip_decoder: msgspec.msgpack.Decoder[Gossip] = msgspec.msgpack.Decoder(Gossip)


def encode_record(signed: SignedServiceRecord) -> bytes:
    """Write a record. Raises: MalformedMessage past 2 KiB or with a field that does not exist on the wire, MalformedAddress."""
    record = signed.record
    spans = tuple(_SpanPart(each.start, each.end, amount_bytes(each.ask), each.rate) for each in record.spans)
    part = _RecordPart(
        node=address_bytes(record.node), sequence=record.sequence, issued=record.issued, expires=record.expires,
        peer=record.peer, endpoint=record.endpoint, manifest=record.manifest, profile=record.profile, spans=spans,
        queue=record.queue, free_pages=record.free_pages, draining=record.draining,
        placement=_placement_part(record.placement), signature=signed.signature,
    )  # fmt: skip
    return _encoded(part, MAX_RECORD_BYTES)


def decode_record(data: bytes) -> SignedServiceRecord:
    """Read a record of at most 2 KiB; whether it makes sense is the book's question. Raises: MalformedMessage."""
    part = _decoded(_record_decoder, data, MAX_RECORD_BYTES)
    spans = tuple(ServedSpan(each.start, each.end, amount_of(each.ask), each.rate) for each in part.spans)
    record = ServiceRecord(
        node=to_address(part.node), sequence=part.sequence, issued=part.issued, expires=part.expires,
        peer=part.peer, endpoint=part.endpoint, manifest=part.manifest, profile=part.profile, spans=spans,
        queue=part.queue, free_pages=part.free_pages, draining=part.draining,
        placement=_placement(part.placement),
    )  # fmt: skip
    return SignedServiceRecord(record, part.signature)


def _placement_part(claim: PlacementClaim) -> _PlacementPart:
    give, take = (tuple(_BlocksPart(each.start, each.end) for each in spans) for spans in (claim.give, claim.take))
    phase = PHASES.index(claim.phase)
    return _PlacementPart(claim.capacity, claim.block_rate, phase, claim.since, give, take, claim.closes)


def _placement(part: _PlacementPart) -> PlacementClaim:
    """Raises: MalformedMessage."""
    try:
        give, take = (tuple(Span(each.start, each.end) for each in spans) for spans in (part.give, part.take))
    except SpanError as error:
        raise MalformedMessage(str(error)) from error
    return PlacementClaim(part.capacity, part.block_rate, PHASES[part.phase], part.since, give, take, part.closes)


def encode_gossip(message: Gossip) -> bytes:
    """Write a message. Raises: MalformedMessage past 64 KiB."""
    return _encoded(message, MAX_GOSSIP_BYTES)


def decode_gossip(data: bytes) -> Gossip:
    """Read a message of at most 64 KiB. Raises: MalformedMessage, also for a summary that is out of order."""
    message = _decoded(_gossip_decoder, data, MAX_GOSSIP_BYTES)
    if isinstance(message, Summary):
        _check_order(message)
    return message


def batches(records: Iterable[bytes]) -> Iterator[Records]:
    """Divide encoded records into as few messages as their limits allow, in their order."""
    batch: list[bytes] = []
    size = 0
    for data in records:
        if len(batch) == MAX_BATCH_RECORDS or size + len(data) > MAX_BATCH_BYTES:
            yield Records(tuple(batch))
            batch, size = [], 0
        batch.append(data)
        size += len(data)
    if batch:
        yield Records(tuple(batch))


def _check_order(summary: Summary) -> None:
    nodes = [each.node for each in summary.held]
    inside = summary.first <= summary.last and all(summary.first <= node <= summary.last for node in nodes)
    if not inside or any(left >= right for left, right in pairwise(nodes)):
        raise MalformedMessage("a summary names each node once, in ascending order, from its first to its last address")


def _encoded(message: msgspec.Struct, limit: int) -> bytes:
    try:
        data = _encoder.encode(message)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise MalformedMessage(str(error)) from error
    if len(data) > limit:
        raise MalformedMessage(f"{len(data)} bytes, the limit is {limit}")
    return data


def _decoded(decoder: "msgspec.msgpack.Decoder[_T]", data: bytes, limit: int) -> _T:
    if len(data) > limit:
        raise MalformedMessage(f"{len(data)} bytes, the limit is {limit}")
    try:
        message = decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedMessage(str(error)) from error
    if _encoder.encode(message) != data:
        raise MalformedMessage("not the one encoding of this (a key twice, or a longer spelling)")
    return message
