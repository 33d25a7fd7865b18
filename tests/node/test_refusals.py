"""Refusals: each error met while serving has a code that programs act on, and no unknown one tells what is inside."""

import inspect
from types import ModuleType

import pytest

import incentives.errors as money
import node.errors as errors
import sharding.errors as mathematics
import verification.errors as checks
from node.refusals import FailureCode, Refused, refusal_of
from verification.addresses import to_address

SESSION = b"\x05" * 16
HASH = b"\x06" * 32
NODE = to_address(b"\x07" * 20)
SECRET = "http://operator.internal:8545/key"

TOLD: list[tuple[Exception, FailureCode]] = [
    (errors.MalformedFrame("short"), FailureCode.MALFORMED),
    (errors.FrameTooLarge(9, 8), FailureCode.MALFORMED),
    (errors.MalformedMessage("no map"), FailureCode.MALFORMED),
    (errors.ValueNotFinite(1, 2), FailureCode.NOT_FINITE),
    (errors.ValueOutOfRange(1, 2), FailureCode.OUT_OF_RANGE),
    (errors.HiddenTypeMismatch("INT32", "FLOAT32"), FailureCode.MALFORMED),
    (errors.TokenOutOfVocabulary(96, 96), FailureCode.TOKEN_RANGE),
    (errors.ProtocolViolation("text"), FailureCode.PROTOCOL),
    (errors.PeerTimeout("frame", 5.0), FailureCode.IDLE),
    (errors.PeerClosed(1006, ""), FailureCode.PEER_LOST),
    (errors.UnknownNode(NODE), FailureCode.NOT_STAKED),
    (TimeoutError("too long"), FailureCode.IDLE),
    (checks.MalformedAddress("0x"), FailureCode.MALFORMED),
    (checks.MalformedRecord("window", "too large"), FailureCode.MALFORMED),
    (money.InvalidSignature("high s"), FailureCode.SIGNATURE),
    (money.VoucherStale(5, 5), FailureCode.VOUCHER_STALE),
    (money.BeyondLock(5, 6), FailureCode.BEYOND_LOCK),
    (money.WrongWork(HASH, HASH), FailureCode.VOUCHER_WRONG),
    (money.WrongChannel(HASH, HASH), FailureCode.VOUCHER_WRONG),
    (money.VoucherRejected("odd"), FailureCode.VOUCHER_WRONG),
    (mathematics.UnknownSession(SESSION), FailureCode.UNKNOWN_SESSION),
    (mathematics.SessionExists(SESSION), FailureCode.BUSY),
    (mathematics.CacheFull(SESSION, 9, 8), FailureCode.TOO_LONG),
    (mathematics.PoolFull(SESSION, 2, 1), FailureCode.BUSY),
    (mathematics.NotFinite("logits"), FailureCode.NOT_FINITE),
    (mathematics.IntegerOverflow("a logit", 7, session=SESSION), FailureCode.OUT_OF_RANGE),
    (mathematics.ScaleOutOfRange("a logit", -1, "at least 0"), FailureCode.OUT_OF_RANGE),
    (mathematics.TokenOutOfRange(SESSION, 96, 96), FailureCode.TOKEN_RANGE),
    (mathematics.ShapeMismatch(SESSION, "position", 3, 4), FailureCode.SHAPE),
    (mathematics.EngineError("odd"), FailureCode.SHAPE),
    (mathematics.SpanError("reversed"), FailureCode.SHAPE),
    (mathematics.SamplingError("top_k", -1, "whole"), FailureCode.SHAPE),
]
CHAIN_ERRORS: list[money.ChainError] = [
    money.ChainUnavailable(SECRET, "refused"),
    money.WrongChain(SECRET, 1, 2),
    money.CodeMismatch("Channels", SECRET, HASH, HASH),
    money.Reverted("Odd", (SECRET,)),
    money.TransactionRefused(-32000, SECRET),
    money.TransactionLost(HASH, 5.0, SECRET),
    money.CallMismatch("Channels.settle", SECRET),
    money.UnexpectedAnswer(SECRET, "not JSON"),
    money.OtherNodes(HASH, HASH, HASH),
]
ELSEWHERE = {
    # Roots and branches without an instance of their own.
    "NodeError", "PeerError", "IdentityError", "LocalChainError", "IncentivesError", "ChainError", "VerificationError",
    "ShardingError",
    # The server gives them a code and a stage itself, or the listener meets them before there is a session.
    "PeerRefused", "PeerUnreachable", "EndpointInvalid", "HandshakeFailed", "CertificateMismatch", "ClosedHere",
    # Starting, stopping, the operator's files and commands.
    "IdentityDamaged", "IdentityMismatch", "SettingsError", "PortInUse", "ListenFailed", "StoreLocked", "AnvilNotFound",
    "ChainStartFailed", "NotTheLocalChain", "NotStaked", "NodeStartFailed", "KeyFileError", "DevKeyRefused", "AmountError",
    "DeploymentError", "ConfigError", "UnsupportedModel", "CheckpointError", "TensorMissing", "TensorMismatch",
    "TensorNotFinite", "FileDamaged", "IndexLies", "ManifestMalformed", "ManifestMismatch", "TokenizerError", "PullError",
    # The client's.
    "ClientError", "NoRoute", "PriceTooHigh", "PromptTooLong", "SessionFailed",
    # A fault of the node itself, which the peer is told nothing of.
    "StoreError", "PayeesError", "PriceError", "KernelRefused", "PlacementError",
    # What is worked out off chain, beside sessions.
    "AllocationError", "FairnessError", "ScoreTableError",
}  # fmt: skip


def classes_of(module: ModuleType) -> set[str]:
    """The names of the errors that a module defines."""
    return {name for name, each in vars(module).items() if inspect.isclass(each) and each.__module__ == module.__name__}


@pytest.mark.parametrize(("error", "code"), TOLD, ids=lambda value: type(value).__name__)
def test_error_has_its_code(error: Exception, code: FailureCode) -> None:
    """And its own sentence, which says what was wrong with what the peer sent."""
    refusal = refusal_of(error)

    assert refusal.code is code
    assert refusal.message == str(error)
    assert refusal.stage is None


@pytest.mark.parametrize("error", CHAIN_ERRORS, ids=lambda error: type(error).__name__)
def test_trouble_with_the_chain_keeps_the_operators_secrets(error: money.ChainError) -> None:
    """The peer learns that it is the chain, and not where the operator's access to it is."""
    refusal = refusal_of(error)

    assert refusal.code is FailureCode.CHAIN
    assert "operator" not in str(refusal)
    assert "operator" not in refusal.message


def test_every_error_class_was_thought_of() -> None:
    """A new error has to be given a code here, or be named among those that never meet a session."""
    known = set().union(*(classes_of(module) for module in (errors, money, mathematics, checks)))
    told = {type(error).__name__ for error, _ in TOLD} | {type(error).__name__ for error in CHAIN_ERRORS}

    assert known - told - ELSEWHERE == set()
    assert told & ELSEWHERE == set()


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        RuntimeError(SECRET),
        OSError(5, SECRET),
        errors.StoreError(SECRET),
        money.PayeesError(SECRET),
        mathematics.KernelRefused(SECRET),
        KeyboardInterrupt(SECRET),
        Exception(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_unknown_error_tells_nothing_of_its_text(error: BaseException) -> None:
    """Neither in the code nor in the sentence."""
    refusal = refusal_of(error)

    assert refusal.code is FailureCode.INTERNAL
    assert "operator." not in str(refusal)
    assert "8545" not in refusal.message


def test_refusal_stays_what_it_is() -> None:
    """A stage that said why says it once."""
    refusal = Refused(FailureCode.UNPAID, "pay first", 2)

    assert refusal_of(refusal) is refusal
    assert (refusal.code, refusal.message, refusal.stage) == (FailureCode.UNPAID, "pay first", 2)
    assert str(refusal) == "unpaid: pay first"


@pytest.mark.parametrize("code", list(FailureCode))
def test_code_survives_the_wire(code: FailureCode) -> None:
    """What one side writes the other reads."""
    assert FailureCode.read(code.value) is code


@pytest.mark.parametrize("text", ["", "UNPAID", "of a later version", "unpaid "])
def test_code_of_another_version_is_unknown(text: str) -> None:
    """A later version's code ends the session like any other."""
    assert FailureCode.read(text) is FailureCode.UNKNOWN
