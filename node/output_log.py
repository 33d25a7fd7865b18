"""The rows that a stage has sent on, kept to send them again to whoever takes the next stage's place.

All sessions of a node share one budget of memory. A session that finds no more room gives its rows up: its positions are
then computed again from the client's tokens, which costs time and never a token.
"""

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class LogBudget:
    """Bytes that all logs of a node may take together."""

    limit: int
    used: int = 0

    def take(self, size: int) -> bool:
        """Whether there was room."""
        if self.used + size > self.limit:
            return False
        self.used += size
        return True


class OutputLog:
    """One session's rows from some position on, without gaps."""

    def __init__(self, budget: LogBudget) -> None:
        self._budget = budget
        self._pieces: deque[Tensor] = deque()
        self._given_up = False
        self.first = 0
        """The first position whose row is here."""
        self.end = 0

    def append(self, position: int, rows: Tensor) -> None:
        """Keep the rows of positions from `position` on, in place of what was kept of these; a gap drops what is before it."""
        self.cut(position)
        if position != self.end:
            self.clear(position)
        if self._given_up or not self._budget.take(rows.nbytes):
            self._given_up = True
            self.clear(position + len(rows))
            return
        self._pieces.append(rows)
        self.end += len(rows)

    def cut(self, length: int) -> None:
        """Forget the rows of positions from `length` on."""
        while self._pieces and self.end > length:
            piece = self._pieces.pop()
            self.end -= len(piece)
            self._budget.used -= piece.nbytes
            if self.end < length:
                left = piece[: length - self.end].clone()
                self._budget.used += left.nbytes
                self._pieces.append(left)
                self.end = length
        if not self._pieces:
            self.first = self.end = min(self.end, length)

    def covers(self, start: int, end: int) -> bool:
        """Whether the rows of positions start to end - 1 are here."""
        return start >= end or self.first <= start <= end <= self.end

    def rows(self, start: int, end: int) -> Tensor:
        """(end - start, hidden_size), of positions that it covers."""
        return torch.cat(list(self._pieces))[start - self.first : end - self.first]

    def clear(self, position: int = 0) -> None:
        """Give everything back; the next row may be that of `position`."""
        self._budget.used -= sum(piece.nbytes for piece in self._pieces)
        self._pieces.clear()
        self.first = self.end = position
