"""Errors of the incentives package.

IncentivesError
├── InvalidSignature         not a low-s 64-byte signature, or not the expected signer's
├── KeyFileError             a key file that is missing, readable by others or malformed
│   └── DevKeyRefused        a publicly known development key outside the local chain
├── AmountError              text that is not an amount of the token
├── PayeesError              weights that cannot be split into 10,000 shares
├── PriceError               a price that cannot be computed from these stages
├── AllocationError          jobs and offers that cannot be brought together
├── FairnessError            earnings of which no measure can be taken
├── ScoreTableError          a table of scores that cannot be made, or is asked for what it does not hold
├── VoucherRejected
│   ├── WrongChannel         for another channel, route, contract or chain
│   ├── VoucherStale         does not pay more than the one already held
│   ├── BeyondLock           promises more than the channel has locked
│   └── WrongWork            pays for something else
├── ChainError
│   ├── ChainUnavailable     nobody answers at the URL, or not in time
│   ├── WrongChain           another chain id than the expected one
│   ├── CodeMismatch         another program at the address than the recorded one
│   ├── Reverted             the contract refused, with the name and arguments of its reason
│   ├── TransactionRefused   the chain's node did not take the transaction
│   ├── TransactionLost      sent, but not seen in a block within the deadline
│   ├── UnexpectedAnswer     an answer that does not fit the question
│   └── OtherNodes           a transaction that opens other nodes of a trace than the contract has taken
└── DeploymentError          a deployment file or deployment that cannot be trusted
"""

from collections.abc import Sequence
from typing import Any


class IncentivesError(Exception):
    """Anything this package refuses."""


class InvalidSignature(IncentivesError):
    """A signature that proves nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid signature: {reason}")
        self.reason = reason


class KeyFileError(IncentivesError):
    """A key could not be read or written safely."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class DevKeyRefused(KeyFileError):
    """A development key, which everybody knows, was asked for on a chain where it could hold money."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"development account {index}", reason)
        self.index = index


class AmountError(IncentivesError):
    """Text that is not an amount of the token."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"{text!r} is not an amount: {reason}")
        self.text = text
        self.reason = reason


class PayeesError(IncentivesError):
    """The payees of a channel cannot be formed from these weights."""


class PriceError(IncentivesError):
    """A price cannot be computed from these numbers."""


class AllocationError(IncentivesError):
    """Jobs, offers and a budget for which nothing can be chosen."""


class FairnessError(IncentivesError):
    """Earnings of which no measure can be taken."""


class ScoreTableError(IncentivesError):
    """A table of scores cannot be made of this, or does not hold it."""


class VoucherRejected(IncentivesError):
    """A voucher that the receiver must not work for."""


class WrongChannel(VoucherRejected):
    """The voucher belongs to another channel, set of payees, contract or chain."""

    def __init__(self, expected: bytes, actual: bytes) -> None:
        super().__init__(f"voucher for channel 0x{actual.hex()}, expected 0x{expected.hex()}: ask for this route's")
        self.expected = expected
        self.actual = actual


class VoucherStale(VoucherRejected):
    """The voucher does not pay more than the previous one."""

    def __init__(self, previous: int, cumulative: int) -> None:
        super().__init__(f"voucher pays {cumulative} in all, {previous} is already promised: ask for a higher one")
        self.previous = previous
        self.cumulative = cumulative


class BeyondLock(VoucherRejected):
    """The voucher promises more than the channel can pay."""

    def __init__(self, locked: int, cumulative: int) -> None:
        super().__init__(f"voucher pays {cumulative} in all, the channel has locked {locked}: the payer must add funds")
        self.locked = locked
        self.cumulative = cumulative


class WrongWork(VoucherRejected):
    """The voucher pays for other work than was done."""

    def __init__(self, expected: bytes, actual: bytes) -> None:
        super().__init__(f"voucher pays for work 0x{actual.hex()}, the work done is 0x{expected.hex()}")
        self.expected = expected
        self.actual = actual


class ChainError(IncentivesError):
    """The chain cannot be used, or it refused."""


class ChainUnavailable(ChainError):
    """Nobody answers at the chain's URL."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(
            f"no answer from the chain at {url} ({reason}): start a local one with `tally dev up`, or correct the URL"
        )
        self.url = url
        self.reason = reason


class WrongChain(ChainError):
    """The URL leads to another chain."""

    def __init__(self, url: str, expected: int, actual: int) -> None:
        super().__init__(f"{url} is chain {actual}, expected {expected}: correct the chain URL or the deployment file")
        self.url = url
        self.expected = expected
        self.actual = actual


class CodeMismatch(ChainError):
    """The program at a contract's address is not the recorded one."""

    def __init__(self, name: str, address: str, expected: bytes, actual: bytes) -> None:
        super().__init__(
            f"{name} at {address} has code 0x{actual.hex()}, expected 0x{expected.hex()}: do not use this deployment; "
            "if the local chain was restarted, deploy again"
        )
        self.name = name
        self.address = address
        self.expected = expected
        self.actual = actual


class Reverted(ChainError):
    """A contract refused; `name` and `arguments` are those of its Solidity error, `sentence` says what to do."""

    def __init__(self, name: str, arguments: Sequence[Any] = (), *, during: str = "", sentence: str = "") -> None:
        shown = ", ".join(f"0x{a.hex()}" if isinstance(a, bytes) else str(a) for a in arguments)
        advice = f": {sentence}" if sentence else ""
        super().__init__(f"{during or 'the contract'} reverted: {name}({shown}){advice}")
        self.name = name
        self.arguments = tuple(arguments)
        self.during = during
        self.sentence = sentence


class TransactionRefused(ChainError):
    """The chain's node did not take the transaction or the question."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the chain's node refused: {reason} (code {code}){_hint(reason)}")
        self.code = code
        self.reason = reason


def _hint(reason: str) -> str:
    lowered = reason.lower()
    if "insufficient funds" in lowered:
        return ": send gas money to the sending account"
    if "nonce" in lowered:
        return ": another process uses the same key; wait for its transaction and try again"
    return ""


class TransactionLost(ChainError):
    """Nobody knows whether the transaction will be included."""

    def __init__(self, tx_hash: bytes, waited_s: float, reason: str) -> None:
        super().__init__(
            f"transaction 0x{tx_hash.hex()} was sent but not confirmed within {waited_s:g} s ({reason}): "
            "look it up before sending it again"
        )
        self.tx_hash = tx_hash
        self.waited_s = waited_s
        self.reason = reason


class CallMismatch(ChainError):
    """A call that the contract's interface does not know: a mistake of the caller, found before anything was sent."""

    def __init__(self, during: str, reason: str) -> None:
        super().__init__(f"{during}: {reason}")
        self.during = during
        self.reason = reason


class UnexpectedAnswer(ChainError):
    """The chain's node answered something that does not fit the question."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"unusable answer from {url}: {reason}; is this an Ethereum JSON-RPC URL with the contracts?")
        self.url = url
        self.reason = reason


class OtherNodes(ChainError):
    """What is said to have been opened of a withheld trace is not what the dispute's contract has taken."""

    def __init__(self, tx_hash: bytes, expected: bytes, actual: bytes) -> None:
        super().__init__(
            f"transaction 0x{tx_hash.hex()} opens nodes with the ordered root 0x{actual.hex()}, the dispute has "
            f"0x{expected.hex()}: take the transaction of its newest NodesOpened, or ask another endpoint"
        )
        self.tx_hash = tx_hash
        self.expected = expected
        self.actual = actual


class DeploymentError(IncentivesError):
    """A deployment or its file cannot be trusted."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}; write a fresh one with `tally contracts deploy`")
        self.where = where
        self.reason = reason
