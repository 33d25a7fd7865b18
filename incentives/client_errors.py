"""Errors of the chain client's own machinery: endpoints, the follower of logs, the persistent sender.

ChainError
├── StaleChain           every endpoint's newest block is too old or too far behind
├── ReorgTooDeep         the chain was rewritten further back than the follower remembers
├── FeeTooHigh           the market asks more than the sender may pay
├── TooManyWaiting       a transaction would wait behind too many that nobody here has sent
├── KeyReused            one idempotency key, two different transactions
├── TransactionFailed    recorded as failed for good, with its reason
├── ClientLocked         another process has the same database open
└── ClientStoreError     the client's database cannot be used
"""

from incentives.errors import ChainError


class StaleChain(ChainError):
    """An endpoint that would tell of the past."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"{url} is behind ({reason}): use an endpoint that is in step, "
            "or switch the limit off for a chain that mines on demand"
        )
        self.url = url
        self.reason = reason


class ReorgTooDeep(ChainError):
    """The common ancestor lies before everything that could be undone. What was derived is wiped and read again."""

    def __init__(self, cursor: int, depth: int) -> None:
        super().__init__(
            f"the chain was rewritten more than {depth} blocks before block {cursor}: "
            "everything read so far was dropped, advance again to read from the start"
        )
        self.cursor = cursor
        self.depth = depth


class FeeTooHigh(ChainError):
    """Gas costs more than the cap at the moment. Prices in wei per gas."""

    def __init__(self, asked: int, cap: int) -> None:
        super().__init__(f"gas costs {asked} wei, the cap is {cap}: wait, or raise the cap")
        self.asked = asked
        self.cap = cap


class TooManyWaiting(ChainError):
    """The endpoints count so many transactions of an account that one more would hardly ever be mined."""

    def __init__(self, account: str, most: int) -> None:
        super().__init__(
            f"the endpoints know more than {most} waiting transactions of {account} that were not sent from here: "
            "wait until they are mined, use another endpoint, or keep the account's key in one place"
        )
        self.account = account
        self.most = most


class KeyReused(ChainError):
    """An idempotency key names one transaction for ever."""

    def __init__(self, key: str) -> None:
        super().__init__(f"key {key!r} belongs to a transaction with other content: choose a new key")
        self.key = key


class TransactionFailed(ChainError):
    """A recorded transaction that will not be tried again."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"transaction {key!r} failed: {reason}; if it is still wanted, send it under a new key")
        self.key = key
        self.reason = reason


class ClientLocked(ChainError):
    """One process writes: two would take each other's transaction numbers, or apply one event twice."""

    def __init__(self, path: str) -> None:
        super().__init__(f"another process has {path} open: stop it, or use another data directory and key")
        self.path = path


class ClientStoreError(ChainError):
    """A database of the client that is damaged, foreign, or could not be written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}; restore it from a backup, or move it away to begin anew")
        self.path = path
        self.reason = reason
