"""What can go wrong in the mathematics.

ShardingError
├── SpanError               a range of blocks that is empty, reversed, or outside the model
├── ConfigError             config.json is unreadable, too large, or holds a value outside its limits
├── UnsupportedModel        config.json is well formed and asks for something that is not built
├── CheckpointError
│   ├── TensorMissing       a tensor (or the file that should hold it) is not there
│   ├── TensorMismatch      a tensor has another shape or dtype than the model's shape demands
│   ├── TensorNotFinite     a weight is NaN or infinite
│   ├── FileDamaged         a file is truncated or no safetensors file
│   ├── IndexLies           the index names a file outside the folder, or one that lacks the tensor
│   ├── ManifestMalformed   tallystick.json is unreadable, too large, or lacks a field
│   └── ManifestMismatch    bytes, shape or root differ from what the manifest promises
├── EngineError             (carries the session it speaks of)
│   ├── UnknownSession  SessionExists  CacheFull  PoolFull  ShapeMismatch  NotFinite  TokenOutOfRange
│   ├── IntegerOverflow     a value of the exact profile outside the range that its specification gives it
│   ├── ScaleOutOfRange     a weight's, norm's or activation's scale that the exact profile cannot write down
│   └── KernelRefused       a kernel does not equal the reference, or takes no such numbers
├── SamplingError           sampling parameters outside their limits
├── PlacementError          an offer, a model or a policy that no placement can be worked out with
└── TokenizerError          tokenizer.json is unusable, or a text or id it cannot take
"""


class ShardingError(Exception):
    """Anything the package refuses."""


class SpanError(ShardingError):
    """A range of blocks that is empty, reversed, or outside the model."""

    def __init__(self, message: str, *, start: int | None = None, end: int | None = None) -> None:
        super().__init__(message)
        self.start = start
        self.end = end


class ConfigError(ShardingError):
    """config.json is unreadable or holds a value outside its limits; key names the culprit ("" is the whole file)."""

    def __init__(self, message: str, *, key: str = "", value: object = None) -> None:
        super().__init__(message)
        self.key = key
        self.value = value


class UnsupportedModel(ShardingError):
    """A well-formed model that this package has no mathematics for."""

    def __init__(self, message: str, *, key: str = "", value: object = None) -> None:
        super().__init__(message)
        self.key = key
        self.value = value


class CheckpointError(ShardingError):
    """The weights on disk cannot be used; tensor or file name the culprit where there is one."""

    def __init__(self, message: str, *, tensor: str = "", file: str = "") -> None:
        super().__init__(message)
        self.tensor = tensor
        self.file = file


class TensorMissing(CheckpointError):
    """A tensor, or the file that should hold it, is not there."""


class TensorMismatch(CheckpointError):
    """A tensor has another shape or dtype than the model's shape demands, or a number that its profile forbids."""

    def __init__(self, tensor: str, what: str, expected: object, found: object) -> None:
        super().__init__(
            f"tensor {tensor!r} has {what} {found}, expected {expected}: pull the checkpoint again", tensor=tensor
        )
        self.expected = expected
        self.found = found


class TensorNotFinite(CheckpointError):
    """A weight is NaN or infinite."""


class FileDamaged(CheckpointError):
    """A file is truncated or no safetensors file."""


class IndexLies(CheckpointError):
    """The index points outside the folder, or to a file that lacks the tensor."""


class ManifestMalformed(CheckpointError):
    """tallystick.json is unreadable, too large, or lacks a field."""


class ManifestMismatch(CheckpointError):
    """Bytes, shape or root differ from what the manifest promises."""

    def __init__(self, message: str, *, tensor: str = "", expected: bytes = b"", found: bytes = b"") -> None:
        super().__init__(message, tensor=tensor)
        self.expected = expected
        self.found = found


class EngineError(ShardingError):
    """A request the engine refuses; session says whose, so that a batch can go on without it."""

    def __init__(self, message: str, *, session: bytes = b"") -> None:
        super().__init__(message)
        self.session = session


class UnknownSession(EngineError):
    """The session was never opened here, or was closed."""

    def __init__(self, session: bytes) -> None:
        super().__init__(f"session {session.hex()[:16]} is not open here: open it first", session=session)


class SessionExists(EngineError):
    """The session is open already."""

    def __init__(self, session: bytes) -> None:
        super().__init__(
            f"session {session.hex()[:16]} is open already: close it or choose another name", session=session
        )


class CacheFull(EngineError):
    """More positions than the session (or the model) has room for."""

    def __init__(self, session: bytes, wanted: int, limit: int) -> None:
        super().__init__(
            f"{wanted} positions wanted where {limit} are possible: use a shorter context", session=session
        )
        self.wanted = wanted
        self.limit = limit


class PoolFull(EngineError):
    """The engine has no free page: other sessions must end or be set aside first."""

    def __init__(self, session: bytes, wanted: int, free: int) -> None:
        super().__init__(
            f"{wanted} pages wanted where {free} are free: wait until another session ends", session=session
        )
        self.wanted = wanted
        self.free = free


class ShapeMismatch(EngineError):
    """Inputs of another shape, dtype or position than the stage expects."""

    def __init__(self, session: bytes, what: str, expected: object, found: object) -> None:
        super().__init__(f"{what} is {found}, expected {expected}", session=session)
        self.what = what
        self.expected = expected
        self.found = found


class NotFinite(EngineError):
    """A hidden state or a logit is NaN or infinite."""

    def __init__(self, where: str, *, session: bytes = b"") -> None:
        super().__init__(f"{where} hold a NaN or an infinity: the sender or the weights are broken", session=session)
        self.where = where


class TokenOutOfRange(EngineError):
    """A token id that the vocabulary does not have."""

    def __init__(self, session: bytes, token: int, vocab_size: int) -> None:
        super().__init__(f"token {token} is outside [0, {vocab_size})", session=session)
        self.token = token
        self.vocab_size = vocab_size


class IntegerOverflow(EngineError):
    """A value outside its range in the exact profile: the model's numbers are too large for it, nothing was wrapped.

    where names the step of sharding/exact/SPEC.md; row is the row of the batch until the engine knows whose it is.
    """

    def __init__(self, where: str, limit: int, *, row: int = 0, session: bytes = b"") -> None:
        message = (
            f"{where} exceeds {limit}: this input takes the model out of the exact profile's range, use float32 for it"
        )
        super().__init__(message, session=session)
        self.where = where
        self.limit = limit
        self.row = row


class KernelRefused(EngineError):
    """A compiled or library kernel that does not equal the reference, or inputs that no exact kernel takes."""


class ScaleOutOfRange(EngineError):
    """A scale that the exact profile cannot write down, when quantising or in a pass; tensor or step name the culprit.

    row is the row of the batch until the engine knows whose it is.
    """

    def __init__(self, where: str, value: object, allowed: str, *, row: int = 0, session: bytes = b"") -> None:
        message = f"{where} has scale {value}: it must be {allowed}; serve this model in float32"
        super().__init__(message, session=session)
        self.where = where
        self.value = value
        self.row = row


class SamplingError(ShardingError):
    """A sampling parameter outside its limits."""

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"{name} is {value!r}: it must be {allowed}")
        self.name = name
        self.value = value


class PlacementError(ShardingError):
    """An offer, a model's needs, a move or a policy that no placement can be worked out with; name says which number."""

    def __init__(self, name: str, value: object, allowed: str) -> None:
        super().__init__(f"{name} is {value!r}: it must be {allowed}")
        self.name = name
        self.value = value


class TokenizerError(ShardingError):
    """tokenizer.json is unusable, or a text or id it cannot take."""
