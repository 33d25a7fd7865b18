"""Time as the chain client uses it, so that tests can turn the hands."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """Three functions that belong together; all in seconds."""

    now: Callable[[], float] = time.time
    """Since 1970, as blocks count it; the machine's owner may set it back."""
    monotonic: Callable[[], float] = time.monotonic
    """For deadlines and durations."""
    sleep: Callable[[float], None] = time.sleep


SYSTEM_CLOCK = Clock()
