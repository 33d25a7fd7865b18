"""How fast each block of a model is served, and how good that is as a whole.

The network is as fast as its weakest block. Two placements are compared by (blocks that nobody holds, strength): strength is the
power mean of the covered blocks' tokens per second with the exponent -SHARPNESS. It lies between the minimum and that times the
SHARPNESS-th root of the number of blocks (1.32 for 80), and still rises when one of several equally weak blocks is helped: with
the bare minimum no node would find it worth while to help one of two weak blocks that no span reaches together.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sharding.span import Span

SHARPNESS = 16.0
_LEAST = 1e-9
"""Slower rates (tokens/s) count as this: 10^(9 * 16) is still a float."""

Rates = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Held:
    """A node's blocks and the block rate that it shares out over them."""

    block_rate: float
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """A node's block rate and how many blocks fit its memory."""

    block_rate: float
    blocks: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """Per block: tokens per second from all holders together, and how many they are."""

    rates: Rates
    holders: Counts

    @classmethod
    def of(cls, held: Iterable[Held], num_blocks: int) -> "Coverage":
        """Add up the holders; one that names a block outside the model counts for nothing."""
        rates, holders = np.zeros(num_blocks), np.zeros(num_blocks, dtype=np.int64)
        for each in held:
            blocks = sum(span.end - span.start for span in each.spans)
            if not blocks or each.spans[-1].end > num_blocks:
                continue
            for span in each.spans:
                rates[span.start : span.end] += each.block_rate / blocks
                holders[span.start : span.end] += 1
        return cls(rates, holders)

    @property
    def uncovered(self) -> int:
        return int((self.holders == 0).sum())

    @property
    def weakest(self) -> float:
        """Tokens per second of the network: of its slowest block."""
        return float(self.rates.min())

    @property
    def strength(self) -> float:
        """The power mean of the covered blocks' rates; 0 where none is covered."""
        covered = self.rates[self.holders > 0]
        return float(strength_of(hardships(covered).sum(), len(covered)))

    def only_here(self, spans: Iterable[Span]) -> bool:
        """Whether nobody holds some block of the spans."""
        return any(bool((self.holders[span.start : span.end] == 0).any()) for span in spans)

    def gaps_in(self, spans: Iterable[Span]) -> int:
        """How many blocks of the spans nobody holds."""
        return sum(int((self.holders[span.start : span.end] == 0).sum()) for span in spans)


def attainable(nodes: Iterable[Memory], num_blocks: int) -> float:
    """Tokens per second that no placement exceeds in its weakest block; 0 where the memory does not suffice for all blocks.

    With the weakest block at x, a node adds no more than x to each of the blocks that fit, nor more than its rate to all: so x
    times the blocks is at most the sum of min(rate, x * blocks that fit). Repeated from the average rate down.
    """
    known = list(nodes)
    rates = np.array([each.block_rate for each in known])
    fits = np.array([min(each.blocks, num_blocks) for each in known], dtype=np.float64)
    if fits.sum() < num_blocks:
        return 0.0
    level = rates.sum() / num_blocks
    for _ in range(50):
        level = np.minimum(rates, level * fits).sum() / num_blocks
    return float(level)


def hardships(rates: Rates) -> Rates:
    """Each rate to the power of -SHARPNESS: what the power mean adds up. Rates are those of covered blocks, in tokens/s."""
    return np.maximum(rates, _LEAST) ** -SHARPNESS


def strength_of(total: Rates | float, covered: Counts | int) -> Rates:
    """The power mean from a sum of hardships over that many covered blocks; 0 for none."""
    number = np.maximum(np.asarray(covered, dtype=np.float64), 1.0)
    return np.where(np.asarray(covered) > 0, (np.maximum(total, 1e-300) / number) ** (-1.0 / SHARPNESS), 0.0)
