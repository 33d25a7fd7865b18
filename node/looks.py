"""Which channels a settlement round asks the chain about: the longer nothing was to do on one, the less often.

A node holds the last voucher of every channel that it ever worked for, and most of them are settled for good. A payer can also
have it hold vouchers on channels that never come. Neither may cost questions in every round.
"""

from dataclasses import dataclass

from node.ledger import HeldChannel

MOST_SKIPPED = 16
"""Rounds between two looks."""


@dataclass(frozen=True, slots=True)
class _Idle:
    """A channel on which nothing was to do when it held `cumulative`. In rounds."""

    cumulative: int
    to_skip: int
    skipped: int = 0


class Looks:
    """One node's channels; a voucher that is raised makes a channel due at once."""

    def __init__(self, most_skipped: int = MOST_SKIPPED) -> None:
        self._most = most_skipped
        self._idle: dict[bytes, _Idle] = {}

    @classmethod
    def within(cls, seconds: float, every_seconds: float) -> "Looks":
        """No channel is left alone for longer than `seconds`, or one round where that is more."""
        return cls(max(0, min(MOST_SKIPPED, int(seconds / every_seconds) - 1)))

    def is_due(self, held: HeldChannel) -> bool:
        """Whether to look in this round; asked once in each."""
        idle = self._idle_since(held)
        if idle is None or idle.skipped >= idle.to_skip:
            return True
        self._idle[held.channel] = _Idle(idle.cumulative, idle.to_skip, idle.skipped + 1)
        return False

    def found_nothing(self, held: HeldChannel) -> None:
        """Nothing was to do: 0, 1, 3, 7, ... rounds are skipped before the next look."""
        idle = self._idle_since(held)
        to_skip = 0 if idle is None else min(2 * idle.to_skip + 1, self._most)
        self._idle[held.channel] = _Idle(held.cumulative, to_skip)

    def found_something(self, channel: bytes) -> None:
        """The channel is looked at in every round again; also for one that is forgotten."""
        self._idle.pop(channel, None)

    def _idle_since(self, held: HeldChannel) -> _Idle | None:
        """What was found with the voucher that is held now."""
        idle = self._idle.get(held.channel)
        return idle if idle is not None and idle.cumulative == held.cumulative else None
