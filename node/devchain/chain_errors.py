"""Errors of starting and reaching a local chain.

LocalChainError
├── AnvilNotFound        anvil was asked for and is not installed
├── ChainStartFailed     the chain's process ended, or did not answer in time
└── NotTheLocalChain     something answers, with another chain id than 31337
"""

from node.errors import NodeError


class LocalChainError(NodeError):
    """The local chain could not be started or used."""


class AnvilNotFound(LocalChainError):
    """Anvil was asked for and is not installed."""

    def __init__(self, looked_at: tuple[str, ...]) -> None:
        places = ", ".join(looked_at)
        super().__init__(f"no anvil in {places}; `npm install` in contracts/ brings it, or use the embedded chain")
        self.looked_at = looked_at


class ChainStartFailed(LocalChainError):
    """The chain's process ended, or did not answer in time."""

    def __init__(self, kind: str, reason: str, tail: str = "") -> None:
        super().__init__(f"the {kind} chain did not start: {reason}" + (f"\n{tail}" if tail else ""))
        self.kind = kind
        self.reason = reason
        self.tail = tail


class NotTheLocalChain(LocalChainError):
    """Something answers, with another chain id than the local chain's."""

    def __init__(self, url: str, expected: int, got: int) -> None:
        super().__init__(f"{url} is chain {got}, not the local chain {expected}; nothing was sent to it")
        self.url = url
        self.expected = expected
        self.got = got
