"""What serving added to the messages: what stages hold, page names, promises, probes and when to come back."""

from typing import Any

import msgspec
import pytest

from node.errors import MalformedMessage
from node.messages import (
    MAX_MESSAGE_STAGES,
    MAX_PREFIX_KEYS,
    MAX_PROMISES,
    MAX_STOP_TOKENS,
    Accept,
    Accepted,
    Closed,
    Failure,
    Message,
    Probe,
    Progress,
    Ring,
    Start,
    amount_bytes,
    decode_message,
    encode_message,
    for_stage,
)
from tests.node.test_messages import VOUCHER, as_dict, make_open, word

MAX_U32 = 2**32 - 1
OPEN = make_open()
ACCEPTED = Accepted((Accept(0, bytes(20), bytes(64), amount_bytes(1), held=64),))
BUSY = Failure("busy", "later", retry_after_ms=500)

AT_THE_LIMIT: list[tuple[Message, dict[str, Any]]] = [
    (OPEN, {"prefix": [word(5)] * MAX_PREFIX_KEYS}),
    (OPEN, {"paid": [as_dict(VOUCHER)] * MAX_PROMISES}),
    (ACCEPTED, {"accepts": [msgspec.to_builtins(ACCEPTED.accepts[0], builtin_types=(bytes,)) | {"held": MAX_U32}]}),
    (Start((0,)), {"held": [MAX_U32] * MAX_MESSAGE_STAGES}),
    (Probe(word(1)), {"route": word(2)}),
    (Ring(word(1)), {"route": word(2)}),
    (OPEN, {"stage": MAX_MESSAGE_STAGES - 1}),
    (OPEN, {"stop_tokens": [MAX_U32] * MAX_STOP_TOKENS}),
    (Probe(word(1)), {"stage": MAX_MESSAGE_STAGES - 1}),
    (Progress(0, 0, 0), {"received": MAX_U32, "computed": MAX_U32, "waiting": MAX_U32}),
    (BUSY, {"retry_after_ms": MAX_U32}),
]

PAST_THE_LIMIT: list[tuple[str, Message, dict[str, Any]]] = [
    ("one page name too many", OPEN, {"prefix": [word(5)] * (MAX_PREFIX_KEYS + 1)}),
    ("short page name", OPEN, {"prefix": [bytes(31)]}),
    ("one promise too many", OPEN, {"paid": [as_dict(VOUCHER)] * (MAX_PROMISES + 1)}),
    ("a promise that is none", OPEN, {"paid": [as_dict(Closed())]}),
    ("no promises but null", OPEN, {"paid": None}),
    ("held too much", ACCEPTED, {"accepts": [
        msgspec.to_builtins(ACCEPTED.accepts[0], builtin_types=(bytes,)) | {"held": MAX_U32 + 1}
    ]}),
    ("no stage's positions", Start((0,)), {"held": []}),
    ("positions of one stage too many", Start((0,)), {"held": [0] * (MAX_MESSAGE_STAGES + 1)}),
    ("positions too high", Start((0,)), {"held": [MAX_U32 + 1]}),
    ("positions below nothing", Start((0,)), {"held": [-1]}),
    ("short route", Probe(word(1)), {"route": bytes(31)}),
    ("long route", Probe(word(1)), {"route": bytes(33)}),
    ("a ring of a short route", Ring(word(1)), {"route": bytes(31)}),
    ("one stop token too many", OPEN, {"stop_tokens": [0] * (MAX_STOP_TOKENS + 1)}),
    ("a stop token too high", OPEN, {"stop_tokens": [MAX_U32 + 1]}),
    ("a stop token below nothing", OPEN, {"stop_tokens": [-1]}),
    ("an Open for a stage past the last", OPEN, {"stage": MAX_MESSAGE_STAGES}),
    ("an Open for a stage before the first", OPEN, {"stage": -1}),
    ("a probe of a stage past the last", Probe(word(1)), {"stage": MAX_MESSAGE_STAGES}),
    ("a probe of a stage before the first", Probe(word(1)), {"stage": -1}),
    ("received too much", Progress(0, 0, 0), {"received": MAX_U32 + 1}),
    ("computed too much", Progress(0, 0, 0), {"computed": MAX_U32 + 1}),
    ("waiting too much", Progress(0, 0, 0), {"waiting": MAX_U32 + 1}),
    ("waiting below nothing", Progress(0, 0, 0), {"waiting": -1}),
    ("a wait too long", BUSY, {"retry_after_ms": MAX_U32 + 1}),
    ("a wait in the past", BUSY, {"retry_after_ms": -1}),
    ("an unknown field", Progress(0, 0, 0), {"speed": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("message", "change"), AT_THE_LIMIT, ids=[type(each[0]).__name__ for each in AT_THE_LIMIT])
def test_a_field_at_its_limit_comes_through(message: Message, change: dict[str, Any]) -> None:
    """As it was written, and written again it is the same bytes."""
    data = msgspec.msgpack.encode(as_dict(message) | change)
    assert as_dict(decode_message(data)) == as_dict(message) | change
    assert encode_message(decode_message(data)) == data


@pytest.mark.parametrize(
    ("message", "change"), [each[1:] for each in PAST_THE_LIMIT], ids=[each[0] for each in PAST_THE_LIMIT]
)
def test_a_field_past_its_limit_is_refused(message: Message, change: dict[str, Any]) -> None:
    """One more, one less, or something else."""
    with pytest.raises(MalformedMessage):
        decode_message(msgspec.msgpack.encode(as_dict(message) | change))


@pytest.mark.parametrize(
    "message", [Start((1, 2)), Probe(word(1)), Progress(3, 2, 1), BUSY], ids=lambda each: type(each).__name__
)
def test_no_field_is_guessed(message: Message) -> None:
    """Leaving any out is refused, those with a usual value among them."""
    fields = as_dict(message)
    for name in fields:
        with pytest.raises(MalformedMessage):
            decode_message(msgspec.msgpack.encode({key: value for key, value in fields.items() if key != name}))


def test_nothing_held_and_nothing_paid_is_the_usual_case() -> None:
    """A first route: no pages, no promises, no wait."""
    assert (OPEN.prefix, OPEN.paid, OPEN.stage) == ((), (), 0)
    assert for_stage(OPEN, 3).stage == 3
    assert for_stage(for_stage(OPEN, 3), 0) == OPEN
    assert Accept(0, bytes(20), bytes(64), amount_bytes(1)).held == 0
    assert Failure("busy", "now").retry_after_ms == 0
