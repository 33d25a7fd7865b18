"""The ServiceRecord: one digest for one statement, every field signed, every field within its limit."""

from dataclasses import replace

import pytest
from eth_account.messages import encode_typed_data

from sharding.hashing import keccak256
from sharding.span import MAX_BLOCKS
from verification.addresses import Address, to_address
from verification.errors import MalformedAddress, MalformedRecord
from verification.node_records import (
    MAX_ENDPOINT_BYTES,
    MAX_LIFE_SECONDS,
    MAX_SERVED_SPANS,
    ServedSpan,
    ServiceRecord,
    next_sequence,
)
from verification.routes import profile_id
from verification.typed_data import Domain

NODE = to_address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8")
OTHER = to_address("0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC")
DOMAIN = Domain(31337, OTHER)
SPAN = ServedSpan(0, 4, 10**12, 12_500)
RECORD = ServiceRecord(
    node=NODE, sequence=7, issued=1_900_000_000, expires=1_900_000_030, peer=b"p" * 32, endpoint="wss://node.test:1/v1/stream",
    manifest=b"m" * 32, profile=profile_id("exact-1"), spans=(SPAN, ServedSpan(4, 8, 2**96 - 1, 1)),
    queue=3, free_pages=400, draining=False,
)  # fmt: skip
RECORD_FIELDS = (
    "address node,uint64 sequence,uint40 issued,uint40 expires,bytes32 peer,string endpoint,bytes32 manifest,bytes32 profile,"
    "ServedSpan[] spans,uint32 queue,uint32 freePages,bool draining"
)
SPAN_FIELDS = "uint32 start,uint32 end,uint96 ask,uint32 rate"


def members(fields: str) -> list[dict[str, str]]:
    """The members of a type as eth-account wants them."""
    return [dict(zip(("type", "name"), field.split(), strict=True)) for field in fields.split(",")]


def wallet_digest(record: ServiceRecord) -> bytes:
    """The digest by eth-account."""
    domain_fields = "string name,string version,uint256 chainId,address verifyingContract"
    types = {
        "EIP712Domain": members(domain_fields),
        "ServiceRecord": members(RECORD_FIELDS),
        "ServedSpan": members(SPAN_FIELDS),
    }
    names = ("node", "sequence", "issued", "expires", "peer", "endpoint", "manifest", "profile", "queue", "draining")
    message = {name: getattr(record, name) for name in names} | {"freePages": record.free_pages}
    message["spans"] = [{"start": s.start, "end": s.end, "ask": s.ask, "rate": s.rate} for s in record.spans]
    domain = {"name": "Tallystick", "version": "1", "chainId": 31337, "verifyingContract": OTHER}
    signable = encode_typed_data(
        full_message={"types": types, "primaryType": "ServiceRecord", "domain": domain, "message": message}
    )
    return keccak256(b"\x19" + signable.version + signable.header + signable.body)


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
