"""The ways in which a stage says no: a code that programs act on, a sentence for people.

Every refusal ends one session and nothing else.
"""

from enum import StrEnum

from incentives.errors import (
    BeyondLock,
    ChainError,
    IncentivesError,
    InvalidSignature,
    VoucherRejected,
    VoucherStale,
    WrongChannel,
    WrongWork,
)
from node.errors import (
    ClosedHere,
    FrameTooLarge,
    MalformedFrame,
    MalformedMessage,
    NodeError,
    PeerClosed,
    PeerTimeout,
    ProtocolViolation,
    TokenOutOfVocabulary,
    UnknownNode,
    ValueNotFinite,
    ValueOutOfRange,
)
from sharding.errors import (
    CacheFull,
    IntegerOverflow,
    KernelRefused,
    NotFinite,
    PoolFull,
    ScaleOutOfRange,
    SessionExists,
    ShapeMismatch,
    ShardingError,
    TokenOutOfRange,
    UnknownSession,
)
from verification.errors import VerificationError

BUSY_RETRY_MS = 500
"""A session lasts longer than this, but many end at any time."""


class FailureCode(StrEnum):
    """Why a session cannot go on, for programs."""

    MALFORMED = "malformed"
    PROTOCOL = "protocol"
    SIGNATURE = "signature"
    WRONG_ROUTE = "wrong_route"
    WRONG_MODEL = "wrong_model"
    NOT_STAKED = "not_staked"
    STALE_EPOCH = "stale_epoch"
    UNKNOWN_SESSION = "unknown_session"
    OUT_OF_ORDER = "out_of_order"
    SHAPE = "shape"
    NOT_FINITE = "not_finite"
    OUT_OF_RANGE = "out_of_range"
    """A value that the exact profile has no number for: it is never wrapped or rounded to its end."""
    TOKEN_RANGE = "token_range"  # noqa: S105 - a token of text, not a secret
    TOO_LONG = "too_long"
    BUSY = "busy"
    IDLE = "idle"
    CHANNEL = "channel"
    VOUCHER_STALE = "voucher_stale"
    VOUCHER_WRONG = "voucher_wrong"
    BEYOND_LOCK = "beyond_lock"
    UNPAID = "unpaid"
    DRAINING = "draining"
    """The node is leaving in good order."""
    SLOW = "slow"
    """By the client's own measure; no stage says so."""
    STAGE_LOST = "stage_lost"
    PEER_LOST = "peer_lost"
    CHAIN = "chain"
    INTERNAL = "internal"
    UNKNOWN = "unknown"
    """A code that this version does not know."""

    @classmethod
    def read(cls, text: str) -> "FailureCode":
        """The code that a peer named."""
        return cls(text) if text in cls._value2member_map_ else cls.UNKNOWN


class Refused(NodeError):
    """This node ends a session, for a reason that it tells."""

    def __init__(self, code: FailureCode, message: str, stage: int | None = None, retry_after_ms: int = 0) -> None:
        super().__init__(f"{code.value}: {message}")
        self.code = code
        self.message = message
        self.stage = stage
        """The stage at fault where it is another one than the speaker."""
        self.retry_after_ms = retry_after_ms


FROM_OUTSIDE = (NodeError, IncentivesError, ShardingError, VerificationError, TimeoutError)
"""What peers, the chain or the disk can cause: it is told, and the next time may do better; all else is this program's fault."""

_CODES: tuple[tuple[type[Exception], FailureCode], ...] = (
    (ValueNotFinite, FailureCode.NOT_FINITE),
    (ValueOutOfRange, FailureCode.OUT_OF_RANGE),
    (TokenOutOfVocabulary, FailureCode.TOKEN_RANGE),
    (MalformedFrame, FailureCode.MALFORMED),
    (FrameTooLarge, FailureCode.MALFORMED),
    (MalformedMessage, FailureCode.MALFORMED),
    (VerificationError, FailureCode.MALFORMED),
    (ProtocolViolation, FailureCode.PROTOCOL),
    (PeerTimeout, FailureCode.IDLE),
    (TimeoutError, FailureCode.IDLE),
    (PeerClosed, FailureCode.PEER_LOST),
    (ClosedHere, FailureCode.DRAINING),  # this node closes its streams when it stops
    (UnknownNode, FailureCode.NOT_STAKED),
    (InvalidSignature, FailureCode.SIGNATURE),
    (VoucherStale, FailureCode.VOUCHER_STALE),
    (BeyondLock, FailureCode.BEYOND_LOCK),
    (WrongWork, FailureCode.VOUCHER_WRONG),
    (WrongChannel, FailureCode.VOUCHER_WRONG),
    (VoucherRejected, FailureCode.VOUCHER_WRONG),
    (UnknownSession, FailureCode.UNKNOWN_SESSION),
    (SessionExists, FailureCode.BUSY),
    (CacheFull, FailureCode.TOO_LONG),
    (PoolFull, FailureCode.BUSY),
    (NotFinite, FailureCode.NOT_FINITE),
    (IntegerOverflow, FailureCode.OUT_OF_RANGE),
    (ScaleOutOfRange, FailureCode.OUT_OF_RANGE),
    (TokenOutOfRange, FailureCode.TOKEN_RANGE),
    (ShapeMismatch, FailureCode.SHAPE),
    (ShardingError, FailureCode.SHAPE),
)


def refusal_of(error: BaseException) -> Refused:
    """Translate an error met while serving into what the peer is told; unknown ones tell nothing of the inside."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, ChainError):  # its text has the operator's URL
        return Refused(FailureCode.CHAIN, "the node cannot use its chain now; choose another node or try again later")
    known = () if isinstance(error, KernelRefused) else _CODES  # a kernel that fails is this machine's own affair
    for kind, code in known:
        if isinstance(error, kind):
            return Refused(code, str(error), retry_after_ms=BUSY_RETRY_MS if code is FailureCode.BUSY else 0)
    return Refused(FailureCode.INTERNAL, "the node met an error that it does not know; its operator's log has it")


def opening_seconds(stages: int) -> float:
    """How long to wait for the answer to an Open that has `stages` stages before it."""
    return 2.0 + 3.0 * stages
