"""Who may ask for an exchange of records, how often, and how many at once. Pure: the clock comes in.

A staked node has an allowance of its own, so that no crowd can take it. Strangers are readers and cost nothing to invent:
each has an allowance, and all together have one more.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from node.refusals import FailureCode, Refused
from verification.addresses import Address

BURST = 6.0
PER_SECOND = 1.0
STRANGERS_BURST = 32.0
STRANGERS_PER_SECOND = 16.0
MAX_OPEN = 16
"""Exchanges at one time."""
BARRED_SECONDS = 600.0
MAX_REMEMBERED = 4096

_T = TypeVar("_T")


@dataclass(slots=True)
class _Allowance:
    """What is left of it at a time."""

    left: float
    at: float

    def wait(self, now: float, burst: float, per_second: float) -> float:
        """Take one if there is one, and return 0; else the seconds until there is."""
        self.left = min(burst, self.left + max(now - self.at, 0.0) * per_second)
        self.at = now
        if self.left < 1.0:
            return (1.0 - self.left) / per_second
        self.left -= 1.0
        return 0.0


class Door:
    """Counts by the address that a dialer has proven; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._nodes: OrderedDict[Address, _Allowance] = OrderedDict()
        self._strangers: OrderedDict[Address, _Allowance] = OrderedDict()
        self._all_strangers = _Allowance(STRANGERS_BURST, clock())
        self._barred: OrderedDict[Address, float] = OrderedDict()
        self._open = 0

    @contextmanager
    def enter(self, remote: Address, *, staked: bool) -> Iterator[None]:
        """Hold a place for the length of an exchange. Raises: Refused (busy, protocol)."""
        if self.is_barred(remote):
            raise Refused(
                FailureCode.PROTOCOL, "this address sent forged records; it is answered again after ten minutes"
            )
        self._check_rate(remote, staked=staked)
        if self._open >= MAX_OPEN:
            raise Refused(FailureCode.BUSY, f"{self._open} exchanges of records are going on", retry_after_ms=1000)
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def bar(self, remote: Address) -> None:
        """Neither ask nor answer this address for a while."""
        _remember(self._barred, remote, self._clock() + BARRED_SECONDS)

    def is_barred(self, remote: Address) -> bool:
        """Whether it sent what no honest peer sends, and not long ago."""
        return self._clock() < self._barred.get(remote, 0.0)

    def _check_rate(self, remote: Address, *, staked: bool) -> None:
        now, allowances = self._clock(), self._nodes if staked else self._strangers
        allowance = _remember(allowances, remote, allowances.get(remote) or _Allowance(BURST, now))
        wait = allowance.wait(now, BURST, PER_SECOND)
        if not (wait or staked):
            wait = self._all_strangers.wait(now, STRANGERS_BURST, STRANGERS_PER_SECOND)
        if wait:
            text = "too many requests for records; ask another node, or wait"
            raise Refused(FailureCode.BUSY, text, retry_after_ms=int(1000 * wait) + 1)


def _remember(memory: "OrderedDict[Address, _T]", key: Address, value: _T) -> _T:
    """Put it in, last of all; whoever was there longest makes room."""
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)
    return value
