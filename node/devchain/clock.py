"""The chain's time: the machine's clock plus an offset, so that tests can travel."""

import time
from dataclasses import dataclass

from node.devchain.constants import MAX_TIMESTAMP
from node.devchain.errors import InvalidParams


@dataclass(slots=True)
class Clock:
    """Seconds since the epoch. Blocks may share a second, as on anvil, or a busy chain would outrun the machine."""

    offset: int = 0
    fixed: int | None = None  # the next block's time, set by evm_setNextBlockTimestamp

    def copy(self) -> "Clock":
        return Clock(self.offset, self.fixed)

    def next(self, parent: int) -> int:
        """The time of the block after one of time `parent`, without taking it."""
        if self.fixed is not None:
            return self.fixed
        return max(parent, min(int(time.time()) + self.offset, MAX_TIMESTAMP))

    def take(self, parent: int) -> int:
        """The same, for a block that is being made: a fixed time is used once and time goes on from there."""
        timestamp = self.next(parent)
        if self.fixed is not None:
            self.offset = self.fixed - int(time.time())
            self.fixed = None
        return timestamp

    def advance(self, seconds: int) -> int:
        """Moves the clock on; returns the whole offset. InvalidParams past the last representable time."""
        if int(time.time()) + self.offset + seconds > MAX_TIMESTAMP:
            raise InvalidParams(f"{seconds} seconds on is past {MAX_TIMESTAMP}, the last time the contracts can store")
        self.offset += seconds
        return self.offset

    def fix(self, timestamp: int, parent: int) -> None:
        """Sets the next block's time. InvalidParams before the last block or past the last representable time."""
        if timestamp < parent:
            raise InvalidParams(f"timestamp {timestamp} is lower than the previous block's timestamp {parent}")
        if timestamp > MAX_TIMESTAMP:
            raise InvalidParams(f"timestamp {timestamp} is past {MAX_TIMESTAMP}, the last time the contracts can store")
        self.fixed = timestamp
