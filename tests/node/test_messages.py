"""Control messages: bounded, exact, and refused in any other spelling."""

import pickle
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from incentives.vouchers import ChannelKey
from node.errors import MalformedMessage
from node.messages import (
    MAX_MESSAGE_BYTES,
    MAX_MESSAGE_STAGES,
    MAX_PAYEES,
    MAX_PREFIX_KEYS,
    MAX_PROMISES,
    Accept,
    Accepted,
    Attach,
    Attached,
    Close,
    Closed,
    Failure,
    Message,
    Open,
    VoucherMessage,
    amount_bytes,
    amount_of,
    decode_message,
    encode_message,
    message_frame,
    message_of,
)
from node.route_messages import channel_key, channel_message, route_message, route_of, sampling_message, sampling_of
from node.wire import Frame, FrameType, decode, encode, tokens_frame
from sharding.hashing import keccak256
from sharding.sampling import SamplingParams
from verification.addresses import to_address
from verification.routes import Route, RouteStage

MAX_AMOUNT = 2**96 - 1


def word(value: int) -> bytes:
    return bytes([value]) * 32


def make_route(stages: int = 2) -> Route:
    return Route(
        nonce=word(1), channel=word(2), epoch=3, previous=word(4),
        stages=tuple(RouteStage(to_address(bytes([9, n]) * 10), n, n + 1, MAX_AMOUNT - n) for n in range(stages)),
        manifest=word(5), profile=word(6), sampler=word(7), prompt_root=word(8),
        window=16, audit_policy=word(9), expiry=2**40 - 1,
    )  # fmt: skip


def make_open(stages: int = 2, payees: int = 2) -> Open:
    words = tuple(word(n) for n in range(payees))
    key = ChannelKey(to_address(bytes(range(20))), to_address(bytes(20)), keccak256(b"".join(words)), word(3))
    return Open(
        route=route_message(make_route(stages)), signature=bytes(64), channel=channel_message(key, words),
        sampling=sampling_message(SamplingParams(temperature=0.7, top_k=40, top_p=0.95, seed=2**64 - 1)),
        salt=word(4), prompt_tokens=5, max_tokens=6,
    )  # fmt: skip


VOUCHER = VoucherMessage(amount_bytes(MAX_AMOUNT), word(2), 2**32 - 1, bytes(64))
FULL_OPEN = msgspec.structs.replace(make_open(), prefix=(word(5),) * MAX_PREFIX_KEYS, paid=(VOUCHER,) * MAX_PROMISES)

MESSAGES: list[Message] = [
    make_open(),
    Accepted((Accept(0, bytes(20), bytes(64), amount_bytes(1)), Accept(1, bytes(20), bytes(64), amount_bytes(2)))),
    Attach(word(1)),
    Attached(),
    VOUCHER,
    Close("done"),
    Closed(),
    Failure("unpaid", "the window's credit is used up", 3),
    FULL_OPEN,
]


def as_dict(message: Message) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.msgpack.decode(encode_message(message))
    return decoded


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_survive_in_a_frame(message: Message) -> None:
    """What goes into a CONTROL frame comes out of it."""
    frame = decode(encode(message_frame(message, bytes(range(16)), 4)))

    assert message_of(frame) == message
    assert (frame.session, frame.epoch) == (bytes(range(16)), 4)


def test_routes_survive() -> None:
    """The route that a stage hashes is the route that the client signed."""
    route = make_route()

    assert route_of(route_message(route)) == route
    assert route_of(route_message(route)).struct_hash() == route.struct_hash()


def test_channel_keys_and_sampling_survive() -> None:
    """The key's payees are hashed from the words that came along."""
    message = make_open()

    key = channel_key(message.channel)
    assert key.payees == keccak256(word(0) + word(1))
    assert channel_message(key, message.channel.payees) == message.channel
    assert sampling_of(message.sampling) == SamplingParams(temperature=0.7, top_k=40, top_p=0.95, seed=2**64 - 1)


@pytest.mark.parametrize("amount", [0, 1, 2**64, MAX_AMOUNT])
def test_amounts_survive(amount: int) -> None:
    """All of uint96 fits, which MessagePack's own integers would not hold."""
    assert amount_of(amount_bytes(amount)) == amount


@pytest.mark.parametrize("amount", [-1, MAX_AMOUNT + 1])
def test_amounts_outside_uint96_are_refused(amount: int) -> None:
    """One past either end does not fit."""
    with pytest.raises(MalformedMessage):
        amount_bytes(amount)


@pytest.mark.parametrize("length", [0, 11, 13])
def test_amounts_of_another_length_are_refused(length: int) -> None:
    """An amount has twelve bytes."""
    with pytest.raises(MalformedMessage):
        amount_of(bytes(length))


def test_largest_open_fits() -> None:
    """The most stages with the most payees, page names and promises stay below the size limit."""
    largest = make_open(MAX_MESSAGE_STAGES, MAX_PAYEES)
    message = msgspec.structs.replace(largest, prefix=FULL_OPEN.prefix, paid=FULL_OPEN.paid)

    assert decode_message(encode_message(message)) == message


CHANGES: list[tuple[str, Message, dict[str, Any]]] = [
    ("unknown type", Close(), {"type": "shout"}),
    ("unknown field", Close(), {"extra": 1}),
    ("field of another type", Close(), {"reason": 5}),
    ("reason too long", Close(), {"reason": "x" * 501}),
    ("short hash", Attach(word(1)), {"route": bytes(31)}),
    ("long hash", Attach(word(1)), {"route": bytes(33)}),
    ("text for bytes", Attach(word(1)), {"route": "x" * 32}),
    ("short signature", MESSAGES[4], {"signature": bytes(63)}),
    ("long signature", MESSAGES[4], {"signature": bytes(65)}),
    ("short amount", MESSAGES[4], {"cumulative": bytes(11)}),
    ("negative count", MESSAGES[4], {"positions": -1}),
    ("count too high", MESSAGES[4], {"positions": 2**32}),
    ("bool for int", MESSAGES[4], {"positions": True}),
    ("float for int", MESSAGES[4], {"positions": 1.5}),
    ("null", MESSAGES[4], {"positions": None}),
    ("no accepts", MESSAGES[1], {"accepts": []}),
    ("code in capitals", MESSAGES[7], {"code": "UNPAID"}),
    ("code empty", MESSAGES[7], {"code": ""}),
    ("code too long", MESSAGES[7], {"code": "x" * 33}),
    ("code with a line end", MESSAGES[7], {"code": "unpaid\n"}),
    ("no prompt", MESSAGES[0], {"prompt_tokens": 0}),
    ("no tokens wanted", MESSAGES[0], {"max_tokens": 0}),
]


@pytest.mark.parametrize(("message", "change"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES])
def test_fields_out_of_bounds_are_refused(message: Message, change: dict[str, Any]) -> None:
    """Each bound of each field holds."""
    with pytest.raises(MalformedMessage):
        decode_message(msgspec.msgpack.encode(as_dict(message) | change))


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("sampling", {"temperature": float("nan")}),
        ("sampling", {"temperature": float("inf")}),
        ("sampling", {"temperature": -0.1}),
        ("sampling", {"top_p": 1.01}),
        ("sampling", {"top_k": -1}),
        ("sampling", {"seed": -1}),
        ("route", {"stages": []}),
        ("route", {"expiry": 2**40}),
        ("route", {"epoch": 2**32}),
        ("route", {"nonce": bytes(16)}),
        ("route", {"surprise": 1}),
        ("channel", {"payees": []}),
        ("channel", {"payees": [bytes(31)]}),
        ("channel", {"payees": [bytes(32)] * 257}),
        ("channel", {"payer": bytes(19)}),
    ],
)
def test_parts_of_an_open_out_of_bounds_are_refused(part: str, change: dict[str, Any]) -> None:
    """Nested fields are bounded like others."""
    fields = as_dict(make_open())
    fields[part] |= change

    with pytest.raises(MalformedMessage):
        decode_message(msgspec.msgpack.encode(fields))


def test_every_field_is_required() -> None:
    """Leaving any field out is refused; nothing is guessed."""
    fields = as_dict(make_open())
    for name in fields:
        rest = {key: value for key, value in fields.items() if key != name}
        with pytest.raises(MalformedMessage):
            decode_message(msgspec.msgpack.encode(rest))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x80",
        b"\x91" * 60_000,
        b"\x81\xa1x" * 15_000,
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b'{"type":"closed"}',
        pickle.dumps({"type": "closed"}),
        encode_message(Closed()) + b"\0",
        encode_message(Closed())[:-1],
        b"\x81\xa4type\xa1\xff",
    ],
    ids=["empty", "reserved", "no type", "deep lists", "deep maps", "map bomb", "bytes bomb", "json", "pickle",
         "trailing", "cut", "bad utf-8"],
)  # fmt: skip
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    """Garbage, bombs and other formats give one named error."""
    with pytest.raises(MalformedMessage):
        decode_message(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\xa4type\xa5close\xa6reason\xd9\x01x",
        b"\x82\xa6reason\xa1x\xa4type\xa5close",
        b"\x83\xa4type\xa5close\xa6reason\xa1x\xa6reason\xa1y",
        b"\xde\x00\x02\xa4type\xa5close\xa6reason\xa1x",
    ],
    ids=["long text", "other order", "key twice", "long map"],
)
def test_other_spellings_of_a_message_are_refused(data: bytes) -> None:
    """A message has one encoding, so that it cannot mean two things."""
    assert decode_message(b"\x82\xa4type\xa5close\xa6reason\xa1x") == Close("x")

    with pytest.raises(MalformedMessage):
        decode_message(data)


def test_size_limit_holds_in_both_directions() -> None:
    """A message of 64 KiB is read for what it says; one byte more is not read at all."""
    with pytest.raises(MalformedMessage) as at_limit:
        decode_message(bytes(MAX_MESSAGE_BYTES))
    with pytest.raises(MalformedMessage, match="the limit is 65536"):
        decode_message(bytes(MAX_MESSAGE_BYTES + 1))
    with pytest.raises(MalformedMessage, match="the limit is 65536"):
        encode_message(Close("x" * MAX_MESSAGE_BYTES))

    assert "limit" not in at_limit.value.reason


def test_tensor_frames_are_no_messages() -> None:
    """A frame's type decides, not its bytes."""
    with pytest.raises(MalformedMessage, match="TOKENS"):
        message_of(tokens_frame(bytes(16), 0, 0, 0, [1]))


def test_messages_are_read_from_views() -> None:
    """A received payload is a view into the socket's bytes."""
    frame = Frame(FrameType.CONTROL, memoryview(bytearray(encode_message(Close("x")))))

    assert message_of(frame) == Close("x")


def test_changed_routes_hash_differently() -> None:
    """No field of a route is lost on the way."""
    route = make_route()
    for field, value in {"epoch": 4, "window": 17, "expiry": 5, "nonce": word(99), "audit_policy": word(98)}.items():
        changed = replace(route, **{field: value})
        assert route_of(route_message(changed)).struct_hash() != route.struct_hash()
