"""Reading a step's operands out of a trace and out of what it was computed from."""

from collections.abc import Mapping
from dataclasses import dataclass

from sharding.exact.reference import Ints
from verification.trace.build import Trace
from verification.trace.check import is_right
from verification.trace.layout import Number, Ref, Source, Spot, Template
from verification.trace.operands import template_of
from verification.trace.operations import Claim, Numbers, Step
from verification.trace.sources import Rows


class Missing(Exception):
    """An operand that is not there: a look-up by a number that a liar made up. No claim is right then."""


@dataclass(frozen=True, slots=True)
class Operands:
    """All leaves that a step may refer to, as rows by name."""

    trace: Trace
    weights: Rows
    entered: Ints
    kept: Mapping[str, Ints]
    """By the trace's own name of the field: "0.heads" (2 x kv heads of each position, d), "0.heads.exponent" (the same, 1)."""
    noise: Ints

    def step(self, template: Template) -> Step:
        """Raises Missing."""
        scalars = tuple(self._number(each) for each in template.scalars)
        return Step(template.operation, scalars, self._piece(template.left), self._piece(template.right))

    def judge(self, spot: Spot, claimed: Claim) -> bool:
        """Whether the trace may claim this of the element."""
        try:
            return is_right(self.step(template_of(self.trace.layout, spot)), claimed)
        except Missing:
            return False

    def _number(self, number: Number) -> int:
        return number if isinstance(number, int) else self._read(number)[0]

    def _piece(self, ref: Ref | None) -> Numbers:
        return () if ref is None else self._read(ref)

    def _read(self, ref: Ref) -> Numbers:
        rows, row, start = self._rows(ref), self._number(ref.row), self._number(ref.start)
        if not (0 <= row < len(rows) and start >= 0 and start + ref.count <= rows.shape[1]):
            raise Missing
        return tuple(rows[row, start : start + ref.count].tolist())

    def _rows(self, ref: Ref) -> Ints:
        if ref.source is Source.TRACE:
            return self.trace.values[ref.name]
        if ref.source is Source.WEIGHTS:
            return self.weights[ref.name]
        if ref.source is Source.INPUT:
            return self.entered.reshape(1, -1)
        return self.kept[ref.name] if ref.source is Source.KEPT else self.noise
