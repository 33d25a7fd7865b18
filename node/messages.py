"""The messages that CONTROL frames carry: MessagePack maps with a `type`, every field bounded, nothing else accepted.

A message has one encoding (fields in the order written here, shortest integers); any other spelling is refused, so a
duplicate key cannot mean two things. Addresses are 20 bytes, hashes 32, signatures 64, amounts 12 bytes big-endian
(MessagePack integers end at 64 bits, amounts at 96).
"""

from typing import Annotated

import msgspec
from msgspec import Meta

from node.errors import MalformedMessage
from node.wire import NO_SESSION, Frame, FrameType

MAX_MESSAGE_BYTES = 64 * 1024
MAX_MESSAGE_STAGES = 128
MAX_PAYEES = 256
MAX_REASON_CHARS = 500
MAX_PROMISES = 16
MAX_PREFIX_KEYS = 256
"""Of 64 tokens each: longer prompts are reused up to there."""
MAX_STOP_TOKENS = 64
AMOUNT_BYTES = 12

Address20 = Annotated[bytes, Meta(min_length=20, max_length=20)]
Hash32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature64 = Annotated[bytes, Meta(min_length=64, max_length=64)]
Amount12 = Annotated[bytes, Meta(min_length=AMOUNT_BYTES, max_length=AMOUNT_BYTES)]
U32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Count = Annotated[int, Meta(ge=1, le=2**32 - 1)]
U40 = Annotated[int, Meta(ge=0, le=2**40 - 1)]
U64 = Annotated[int, Meta(ge=0)]  # MessagePack itself ends at 2^64 - 1
StageIndex = Annotated[int, Meta(ge=0, lt=MAX_MESSAGE_STAGES)]
Code = Annotated[str, Meta(pattern=r"^[a-z_]{1,32}\Z")]
Reason = Annotated[str, Meta(max_length=MAX_REASON_CHARS)]
StopTokens = Annotated[tuple[U32, ...], Meta(max_length=MAX_STOP_TOKENS)]
PrefixKeys = Annotated[tuple[Hash32, ...], Meta(max_length=MAX_PREFIX_KEYS)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of a message."""


class _Tagged(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=str.lower):
    """A message; its `type` is the class's name in lower case."""


class StageMessage(_Part, frozen=True):
    """verification.routes.RouteStage on the wire."""

    node: Address20
    start: U32
    end: U32
    ask: Amount12


class RouteMessage(_Part, frozen=True):
    """verification.routes.Route on the wire."""

    nonce: Hash32
    channel: Hash32
    epoch: U32
    previous: Hash32
    stages: Annotated[tuple[StageMessage, ...], Meta(min_length=1, max_length=MAX_MESSAGE_STAGES)]
    manifest: Hash32
    profile: Hash32
    sampler: Hash32
    prompt_root: Hash32
    window: U32
    audit_policy: Hash32
    expiry: U40


class ChannelMessage(_Part, frozen=True):
    """The key of the channel that pays, with the payee words behind its hash."""

    payer: Address20
    signer: Address20
    payees: Annotated[tuple[Hash32, ...], Meta(min_length=1, max_length=MAX_PAYEES)]
    salt: Hash32


class SamplingMessage(_Part, frozen=True):
    """What the route's sampler commitment commits to."""

    temperature: Annotated[float, Meta(ge=0.0, le=100.0)]
    top_k: U32
    top_p: Annotated[float, Meta(ge=0.0, le=1.0)]
    seed: U64


class VoucherMessage(_Tagged, frozen=True):
    """A payment promise that runs down the stages ahead of the work it pays for."""

    cumulative: Amount12
    work: Hash32
    positions: U32
    signature: Signature64


class Open(_Tagged, frozen=True):
    """Asks a stage, and through it the stages after it, to take part in a session."""

    route: RouteMessage
    signature: Signature64
    channel: ChannelMessage
    sampling: SamplingMessage
    salt: Hash32
    prompt_tokens: Count
    max_tokens: Count
    prefix: PrefixKeys = ()
    """Names of the prompt's first pages, each for all tokens up to its end: a stage that has them need not compute them."""
    paid: Annotated[tuple[VoucherMessage, ...], Meta(max_length=MAX_PROMISES)] = ()
    """The last voucher of each route that this one takes the place of."""
    stage: StageIndex = 0
    """Which of the route's stages is asked: a node may be several."""
    stop_tokens: StopTokens = ()
    """Some after which the client wants no more: the last stage does not tell them to the first one."""


class Accept(_Part, frozen=True):
    """One stage's agreement to a route. `earned`: for all its work on the channel so far, by its own book and for the whole route.

    `held`: positions of the prompt that it has, from a remembered prefix or from the route before.
    """

    stage: U32
    node: Address20
    signature: Signature64
    earned: Amount12
    held: U32 = 0


class Accepted(_Tagged, frozen=True):
    """The answer to Open: the agreements of this stage and all after it."""

    accepts: Annotated[tuple[Accept, ...], Meta(min_length=1, max_length=MAX_MESSAGE_STAGES)]


class Attach(_Tagged, frozen=True):
    """Asks the last stage of a route for the tokens of a session that this client opened."""

    route: Hash32


class Attached(_Tagged, frozen=True):
    """The answer to Attach."""


class Ring(_Tagged, frozen=True):
    """The last stage of a route asks the first one to take each token from it too. The answer is Attached."""

    route: Hash32


class Start(_Tagged, frozen=True):
    """What all stages hold, in their order, so that each can reckon what the others are paid for. Before the first voucher."""

    held: Annotated[tuple[U32, ...], Meta(min_length=1, max_length=MAX_MESSAGE_STAGES)]


class Probe(_Tagged, frozen=True):
    """The client of a route asks a stage how far it is."""

    route: Hash32
    stage: StageIndex = 0


class Progress(_Tagged, frozen=True):
    """The answer to Probe. `received` and `computed`: positions; `waiting`: rows of all sessions ahead in this stage."""

    received: U32
    computed: U32
    waiting: U32


class Close(_Tagged, frozen=True):
    """Ends the session; the KV caches may go."""

    reason: Reason = ""


class Closed(_Tagged, frozen=True):
    """The answer to Close: this stage and all after it have let go."""


class Failure(_Tagged, frozen=True):
    """The named stage of the route cannot go on; the session is over."""

    code: Code
    message: Reason
    stage: U32 = 0
    retry_after_ms: U32 = 0
    """When a full node may have room again; 0 where waiting does not help."""


Message = (
    Open | Accepted | Attach | Attached | Ring | Start | VoucherMessage | Probe | Progress | Close | Closed | Failure
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode_message(message: Message) -> bytes:
    """Write a message. Raises: MalformedMessage past 64 KiB or with a field that does not exist on the wire."""
    try:
        data = _encoder.encode(message)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise MalformedMessage(str(error)) from error
    if len(data) > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"{len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    return data


def decode_message(data: bytes | bytearray | memoryview) -> Message:
    """Read a message of at most 64 KiB. Raises: MalformedMessage."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"{len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    try:
        message = _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise MalformedMessage(str(error)) from error
    if _encoder.encode(message) != data:
        raise MalformedMessage("not the one encoding of this message (a key twice, or a longer spelling)")
    return message


def message_frame(message: Message, session: bytes = NO_SESSION, epoch: int = 0) -> Frame:
    """Wrap a message. Raises: MalformedMessage."""
    return Frame(FrameType.CONTROL, encode_message(message), session=session, epoch=epoch)


def message_of(frame: Frame) -> Message:
    """Return the message of a CONTROL frame. Raises: MalformedMessage, also for a frame of another type."""
    if frame.type is not FrameType.CONTROL:
        raise MalformedMessage(f"expected a CONTROL frame, got {frame.type.name}")
    return decode_message(frame.payload)


def amount_bytes(amount: int) -> bytes:
    """Write an amount of at most 96 bits. Raises: MalformedMessage."""
    if not 0 <= amount < 1 << 8 * AMOUNT_BYTES:
        raise MalformedMessage(f"{amount} is not an amount of 96 bits")
    return amount.to_bytes(AMOUNT_BYTES, "big")


def amount_of(data: bytes) -> int:
    """Read an amount. Raises: MalformedMessage for another length than 12 bytes."""
    if len(data) != AMOUNT_BYTES:
        raise MalformedMessage(f"an amount has {AMOUNT_BYTES} bytes, not {len(data)}")
    return int.from_bytes(data, "big")


def for_stage(opening: Open, stage: int) -> Open:
    """The same question to another stage of the route."""
    return msgspec.structs.replace(opening, stage=stage)
