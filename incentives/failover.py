"""What an endpoint's failure means for the next one."""

from incentives.client_errors import StaleChain
from incentives.errors import (
    ChainError,
    ChainUnavailable,
    CodeMismatch,
    TransactionRefused,
    UnexpectedAnswer,
    WrongChain,
)

_CODES = frozenset({-32601, -32005})
"""No such method, and too many questions."""
_WORDS = ("header not found", "block not found", "unknown block", "missing trie node")
"""What a node says of a block that it has not seen yet, or has forgotten."""


def may_go_elsewhere(error: ChainError) -> bool:
    """Whether another endpoint may do better."""
    if isinstance(error, TransactionRefused):
        words = error.reason.lower()
        return error.code in _CODES or any(part in words for part in _WORDS)
    return isinstance(error, ChainUnavailable | UnexpectedAnswer | StaleChain | WrongChain | CodeMismatch)


def worse(before: ChainError | None, error: ChainError) -> ChainError:
    """Which failure to tell of: silence first, since the question may have arrived; then the newest."""
    return before if isinstance(before, ChainUnavailable) and not isinstance(error, ChainUnavailable) else error
