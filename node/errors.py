"""Errors of the node package.

NodeError
├── NoRoute                  the reachable nodes do not cover every block; records and measurements: routing_errors.py
├── UnknownNode              no such node in the directory
├── PeerError
│   ├── PeerClosed           the other side ended the stream, or the connection was lost
│   ├── PeerTimeout          the other side did not answer or read in time
│   ├── ProtocolViolation    the other side sent something it must not send
│   ├── PeerRefused          the other side said no, with a code and a reason
│   ├── PeerUnreachable      nobody answers at the endpoint
│   ├── EndpointInvalid      an announced endpoint that is not one
│   ├── HandshakeFailed      the two sides could not prove who they are
│   └── CertificateMismatch  another TLS key than the one recorded on chain
├── ClosedHere               the stream was used after this side had closed it
├── MalformedFrame           bytes that are not a frame
│   ├── ValueNotFinite       NaN or infinity among hidden states
│   ├── ValueOutOfRange      -2^31 among the exact profile's hidden states
│   ├── HiddenTypeMismatch   hidden states of another profile than the session's
│   └── TokenOutOfVocabulary a token id that the model does not have
├── FrameTooLarge            a frame past the limit
├── MalformedMessage         a frame whose message cannot be read
├── IdentityError
│   ├── IdentityDamaged      not a key, not a certificate, or cut short
│   └── IdentityMismatch     key and certificate are not a pair
├── SettingsError            a configuration that cannot be used
├── PortInUse                another program listens there
├── ListenFailed             the system does not let this node listen there
├── StoreError               the node's database cannot be trusted
├── StoreLocked              another process holds the database
├── NotStaked                this node has no stake, or other keys than the chain knows
├── NodeStartFailed          a node process ended or did not serve in time
├── Refused                  this node's own no to a peer: refusals.py
├── ClientError              what ends a client's request: its leaves are in client_errors.py
├── PullError                a model could not be fetched: its leaves are in pull_errors.py
└── LocalChainError          the local chain: its leaves are in devchain/chain_errors.py
"""

from pathlib import Path
from typing import TypeVar


class NodeError(Exception):
    """Anything this package refuses or cannot do."""


E = TypeVar("E", bound=NodeError)


def again(error: E) -> E:
    """An error that is kept, to be raised once more: a raised one holds all frames that it passed, and they their streams."""
    fresh = error.__class__.__new__(error.__class__, *error.args)
    fresh.__dict__.update(error.__dict__)
    return fresh


class NoRoute(NodeError):
    """The reachable nodes do not cover every block of the model."""

    def __init__(self, uncovered: object, num_blocks: int) -> None:
        why = f"no node serves block(s) {uncovered}" if uncovered else "the spans that are served do not fit together"
        super().__init__(f"no route over {num_blocks} blocks: {why}; start a node or wait for one to announce")
        self.uncovered = uncovered
        self.num_blocks = num_blocks


class UnknownNode(NodeError):
    """No such node in the directory."""

    def __init__(self, node: str) -> None:
        super().__init__(f"{node} is not in the directory; it has not joined or has left")
        self.node = node


class PeerError(NodeError):
    """The other side of a stream failed."""


class PeerClosed(PeerError):
    """The other side ended the stream with a WebSocket close code; 1006 when the connection was lost."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the other side ended the stream: {reason or 'no reason given'} (code {code})")
        self.code = code
        self.reason = reason


class PeerTimeout(PeerError):
    """The other side did not answer or read in time."""

    def __init__(self, awaited: str, seconds: float) -> None:
        super().__init__(f"no {awaited} from the other side within {seconds:g} s; take it for dead")
        self.awaited = awaited
        self.seconds = seconds


class ProtocolViolation(PeerError):
    """The other side sent something it must not send; the stream is closed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the other side broke the protocol: {reason}")
        self.reason = reason


class PeerRefused(PeerError):
    """The other side said no."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class PeerUnreachable(PeerError):
    """Nobody answers at the endpoint."""

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(f"no node answers at {endpoint} ({reason}); choose another one or check that it runs")
        self.endpoint = endpoint
        self.reason = reason


class EndpointInvalid(PeerError):
    """An announced endpoint that is not one."""

    def __init__(self, endpoint: str) -> None:
        super().__init__(f"{endpoint!r} is not an endpoint; expected wss://HOST:PORT/v1/stream")
        self.endpoint = endpoint


class HandshakeFailed(PeerError):
    """The two sides could not prove who they are."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"handshake failed: {reason}")
        self.reason = reason


class CertificateMismatch(PeerError):
    """Another TLS key than the one recorded on chain."""

    def __init__(self, expected: bytes, got: bytes) -> None:
        super().__init__(
            f"the certificate's key is {got.hex()}, the chain says {expected.hex()}; do not talk to this host"
        )
        self.expected = expected
        self.got = got


class ClosedHere(NodeError):
    """The stream was used after this side had closed it."""

    def __init__(self) -> None:
        super().__init__("this side has closed the stream; dial again")


class MalformedFrame(NodeError):
    """Bytes that are not a frame, or a frame that does not fit its place."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"malformed frame: {reason}")
        self.reason = reason


class ValueNotFinite(MalformedFrame):
    """Hidden states with NaN or infinity."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__(f"the value at row {row}, column {column} is not finite")
        self.row = row
        self.column = column


class ValueOutOfRange(MalformedFrame):
    """Hidden states of the exact profile with -2^31, which is no number of it."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__(
            f"the value at row {row}, column {column} is -2147483648, the exact profile ends at -2147483647"
        )
        self.row = row
        self.column = column


class HiddenTypeMismatch(MalformedFrame):
    """Hidden states in the numbers of another profile than the session's."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"this session's hidden states are {expected}, not {found}; send them in the route's profile")
        self.expected = expected
        self.found = found


class TokenOutOfVocabulary(MalformedFrame):
    """A token id that the model does not have."""

    def __init__(self, token: int, vocab_size: int) -> None:
        super().__init__(f"token {token} is not one of the model's {vocab_size}")
        self.token = token
        self.vocab_size = vocab_size


class FrameTooLarge(NodeError):
    """A frame past the limit."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"a frame of {size} bytes is past the limit of {limit}")
        self.size = size
        self.limit = limit


class MalformedMessage(NodeError):
    """A frame whose message cannot be read."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"malformed message: {reason}")
        self.reason = reason


class IdentityError(NodeError):
    """The node's TLS key or certificate on disk cannot be used."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class IdentityDamaged(IdentityError):
    """Not a key, not a certificate, or cut short."""


class IdentityMismatch(IdentityError):
    """Key and certificate are not a pair."""


class SettingsError(NodeError):
    """A configuration that cannot be used."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class PortInUse(NodeError):
    """Another program listens there."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} is in use by another program; stop it or choose another port")
        self.host = host
        self.port = port


class ListenFailed(NodeError):
    """The system does not let this node listen there."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {host}:{port} ({reason}); choose an address of this machine")
        self.host = host
        self.port = port
        self.reason = reason


class StoreError(NodeError):
    """The node's database cannot be trusted."""


class StoreLocked(NodeError):
    """Another process holds the database."""

    def __init__(self, directory: Path | str) -> None:
        super().__init__(f"{directory} is in use by another tally process; wait for it or stop it first")
        self.directory = directory


class NotStaked(NodeError):
    """The chain does not hold the stake that this node needs to serve."""

    def __init__(self, owner: str, reason: str) -> None:
        super().__init__(f"node {owner} {reason}")
        self.owner = owner
        self.reason = reason


class NodeStartFailed(NodeError):
    """A node process that was started did not come to serve, or stopped."""

    def __init__(self, node: str, reason: str) -> None:
        super().__init__(f"{node}: {reason}")
        self.node = node
        self.reason = reason
