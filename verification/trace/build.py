"""Computing a trace: the reference's arithmetic over one position, every value on the way kept."""

from dataclasses import dataclass, field
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from sharding.exact import reference as ops
from sharding.exact.arithmetic import MAX_INT32, NORM_BITS, Q16
from sharding.exact.constants import epsilon_term
from sharding.exact.reference import Ints
from verification.trace.layout import TraceLayout
from verification.trace.operations import PIECE, Abort, Claim
from verification.trace.sources import Rows

NORM_COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Aborted:
    """Where the profile has no value: the trace ends with this element's leaf."""

    name: str
    row: int
    column: int
    reason: Abort


@dataclass(slots=True)
class Trace:
    """Every field's values, rows x width; where aborted is given, the fields after it are missing."""

    layout: TraceLayout
    values: dict[str, Ints] = field(default_factory=dict)
    aborted: Aborted | None = None

    @property
    def output(self) -> Ints:
        return self.values[self.layout.output.name]

    def claim(self, name: str, row: int, column: int) -> Claim:
        """What the trace says of one element."""
        stop = self.aborted
        if stop is not None and (stop.name, stop.row, stop.column) == (name, row, column):
            return stop.reason
        return int(self.values[name][row, column])


class Stopped(Exception):
    """An element that the profile has no value for has been met; build_trace makes a value of it."""


class Builder:
    """Fills the fields that several parts of a trace have in common."""

    def __init__(self, layout: TraceLayout, weights: Rows) -> None:
        self.layout, self.spec, self.weights = layout, layout.spec, weights
        self.trace = Trace(layout)

    def value(self, name: str) -> Ints:
        return self.trace.values[name]

    def number(self, tensor: str) -> int:
        return int(self.weights[tensor][0, 0])

    def put(self, name: str, values: Ints) -> Ints:
        """Keep a field's values."""
        described = self.layout.field(name)
        shaped = np.asarray(values, np.int64).reshape(described.rows, described.width)
        self.trace.values[name] = shaped
        return shaped

    def bounded(self, name: str, values: Ints, limit: int = MAX_INT32) -> Ints:
        """Keep a field's values. Raises Stopped at the first one beyond the limit."""
        shaped = self.put(name, values)
        self.stop_at(name, np.abs(shaped) > limit, Abort.INTEGER_OVERFLOW)
        return shaped

    def stop_at(self, name: str, refused: NDArray[np.bool_], reason: Abort) -> None:
        """Raises Stopped at the first element that is refused."""
        places = np.argwhere(refused)
        if len(places):
            self.trace.aborted = Aborted(name, int(places[0][0]), int(places[0][1]), reason)
            raise Stopped

    def norm_root(self, name: str, rows: Ints) -> Ints:
        """NORM's n of each row."""
        width = rows.shape[1]
        epsilon = epsilon_term(self.spec.norm_epsilon, width)
        largest = self.put(f"{name}.largest", prefixes(np.abs(rows), np.maximum))
        exponents = [max(0, ops.bits(int(m)) - NORM_BITS) for m in largest[:, -1]]
        u = np.stack([ops.rsh(row, e) for row, e in zip(rows, exponents, strict=True)])
        squares = self.put(f"{name}.squares", prefixes(u * u, np.add))[:, -1]
        roots = [_roots(int(s), epsilon >> (2 * e), width) for s, e in zip(squares, exponents, strict=True)]
        self.put(f"{name}.root", np.array(roots, np.int64))
        shifts = [32 - ((62 - ops.bits(root[0])) >> 1) for root in roots]
        return np.stack([ops.rsh(row * root[3], s) for row, root, s in zip(u, roots, shifts, strict=True)])

    def normalised(self, name: str, row: Ints, tensors: str) -> None:
        n = self.norm_root(name, row.reshape(1, -1))
        scaled = self.put(f"{name}.scaled", n * self.weights[f"{tensors}.gain"])
        self.packed(name, scaled, 20 + self.number(f"{tensors}.shift"))

    def packed(self, name: str, source: Ints, fraction: int = Q16) -> None:
        self.put(f"{name}.top", prefixes(np.abs(source), np.maximum))
        self.put(f"{name}.total", prefixes(np.abs(source), np.add))
        made = ops.pack(source.reshape(-1), fraction)
        self.put(f"{name}.shift", np.array([fraction - made.fraction, made.fraction], np.int64))
        self.put(f"{name}.x", made.x)

    def projected(self, name: str, activation: str, tensors: str, shift: str = "") -> Ints:
        """PROJECT; shift: the tensor of the shift where it is not the matrix's own."""
        weight, x = self.weights[f"{tensors}.weight"], self.value(f"{activation}.x")[0]
        starts = range(0, len(x), PIECE)
        parts = [weight[:, k : k + PIECE] @ x[k : k + PIECE] for k in starts]
        sums = self.put(f"{name}.sums", np.cumsum(np.stack(parts, axis=1), axis=1))[:, -1]
        p = self.number(shift or f"{tensors}.shift") + int(self.value(f"{activation}.shift")[0, 1]) - Q16
        if p < 0:
            self.put(f"{name}.y", np.zeros_like(sums))
            self.stop_at(f"{name}.y", np.ones((1, 1), np.bool_), Abort.SCALE_OUT_OF_RANGE)
        y = ops.rsh(sums * self.weights[f"{tensors}.scale"][0], p) if p < 63 else np.zeros_like(sums)
        bias = self.weights.get(f"{tensors}.bias")
        return self.bounded(f"{name}.y", y if bias is None else y + bias[0])


def prefixes(values: Ints, how: np.ufunc) -> Ints:
    """Prefix values each 128 elements of every row. Shapes: (rows, width) -> (rows, pieces)."""
    of_pieces = how.reduceat(values, range(0, values.shape[1], PIECE), axis=1)
    made: Ints = how.accumulate(of_pieces, axis=1)
    return made


def _roots(squares: int, epsilon: int, width: int) -> list[int]:
    """W, isqrt(H 2^44), D and I of NORM."""
    w = max(1, squares + epsilon)
    width_root = isqrt(width << 44)
    root = isqrt(w << (2 * ((62 - w.bit_length()) >> 1)))
    return [w, width_root, root, (width_root << 30) // root]
