"""Which of the chunks that are ready go into the next pass. Pure.

Decode steps of all sessions go together, since they share one reading of the weights; a prompt's chunk rides along. The
oldest waiting prompt always gets a chunk in, whatever the decodes take, so that neither starves; a second one only while
the budget lasts, so that a decode never waits for longer than one chunk.
"""

from collections.abc import Sequence
from dataclasses import dataclass

DEFAULT_BUDGET = 256
"""Rows of one pass, beyond which only the oldest prompt's chunk is added."""


@dataclass(frozen=True, slots=True)
class Ready:
    """One session's next chunk. arrival rises; of a higher priority goes first."""

    rows: int
    priority: int
    arrival: int

    @property
    def is_decode(self) -> bool:
        return self.rows == 1


def choose(ready: Sequence[Ready], budget: int = DEFAULT_BUDGET) -> list[Ready]:
    """The chunks of the next pass; at least one where there is any."""
    order = sorted(ready, key=lambda each: (-each.priority, each.arrival))
    chosen = [each for each in order if each.is_decode][:budget]
    used = len(chosen)
    for place, prompt in enumerate(each for each in order if not each.is_decode):
        if place and used + prompt.rows > budget:
            break
        chosen.append(prompt)
        used += prompt.rows
    return chosen
