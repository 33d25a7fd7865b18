"""Prefix values: each is the one before and 128 elements more. The scalars of a step begin with the one before."""

from verification.trace.formulas import norm_exponent, rsh
from verification.trace.operations import Outcome, Step


def largest_magnitude(step: Step) -> Outcome:
    return max(step.scalars[0], *map(abs, step.left))


def sum_of_magnitudes(step: Step) -> Outcome:
    return step.scalars[0] + sum(map(abs, step.left))


def sum_of_squares(step: Step) -> Outcome:
    before, largest = step.scalars
    if largest < 0:
        return None
    e = norm_exponent(largest)
    return before + sum(rsh(r, e) ** 2 for r in step.left)


def plain_sum(step: Step) -> Outcome:
    return step.scalars[0] + sum(step.left)


def maximum(step: Step) -> Outcome:
    return max(step.scalars[0], *step.left)


def dot(step: Step) -> Outcome:
    return step.scalars[0] + sum(a * b for a, b in zip(step.left, step.right, strict=True))
