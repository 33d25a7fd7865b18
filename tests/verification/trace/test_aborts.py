"""Where the profile has no number the trace says so: disputable like any other element, and no hiding place."""

from dataclasses import replace

import numpy as np
import pytest

from sharding.errors import IntegerOverflow, ScaleOutOfRange
from sharding.exact.model import ExactSpan, Matrix
from sharding.span import Span
from tests.sharding.exact.random_span import random_span
from tests.verification.trace.traced import Session, claim, computed, operands_at, session, spots
from verification.trace.build import Trace
from verification.trace.build_block import build_trace
from verification.trace.fields import Place
from verification.trace.layout import Spot, TraceLayout
from verification.trace.operations import Abort
from verification.trace.resolve import Operands
from verification.trace.sources import KeptBlock, weight_rows

MIDDLE = Span(1, 2)
TOP = 2**31 - 1


def with_matrix(model: ExactSpan, name: str, matrix: Matrix) -> ExactSpan:
    return replace(model, blocks=tuple(replace(block, **{name: matrix}) for block in model.blocks))


def aborting(made: ExactSpan, row: int = 0) -> Operands:
    """The trace of position 0 of the middle block, from a row of that number in every place."""
    entered = np.full(made.spec.hidden_size, row, np.int64)
    return _operands(made, entered)


def _operands(made: ExactSpan, entered: np.ndarray) -> Operands:
    spec, weights = made.spec, weight_rows(made)
    nothing = np.zeros((spec.num_kv_heads, 0, spec.head_dim), np.int64)
    kept = KeptBlock(nothing, nothing[:, :, 0], nothing, nothing[:, :, 0])
    trace = build_trace(TraceLayout(spec, Place(MIDDLE, 0)), weights, [kept], entered)
    return Operands(trace, weights, entered, {}, np.zeros((1, 1), np.int64))


def spot_of(trace: Trace) -> Spot:
    assert trace.aborted is not None
    stop = trace.aborted
    return Spot(trace.layout.field(stop.name), stop.row, stop.column)


def scaled(model: ExactSpan, name: str, shift: int) -> ExactSpan:
    return with_matrix(model, name, replace(getattr(model.blocks[0], name), shift=shift))


@pytest.fixture
def model() -> ExactSpan:
    return random_span(3, "qwen3", num_blocks=3)


@pytest.mark.parametrize(("name", "shift", "field", "reason"), [
    ("qkv", 1, "1.qkv.y", Abort.SCALE_OUT_OF_RANGE),
    ("qkv", 22, "1.qkv.y", Abort.INTEGER_OVERFLOW),
    ("qkv", 28, "1.heads.exponent", Abort.INTEGER_OVERFLOW),
    ("o", 1, "1.o.y", Abort.SCALE_OUT_OF_RANGE),
    ("o", 20, "1.o.y", Abort.INTEGER_OVERFLOW),
    ("gate_up", 20, "1.gate_up.y", Abort.INTEGER_OVERFLOW),
    ("gate_up", 29, "1.gated", Abort.INTEGER_OVERFLOW),
    ("down", 20, "1.down.y", Abort.INTEGER_OVERFLOW),
])  # fmt: skip
def test_what_leaves_its_range_is_an_abort_that_is_right_and_no_number_is(
    model: ExactSpan, name: str, shift: int, field: str, reason: Abort
) -> None:
    """The trace ends there; everything before it is right as ever."""
    operands = aborting(scaled(model, name, shift), row=70_000)
    trace, spot = operands.trace, spot_of(operands.trace)

    assert (trace.aborted and trace.aborted.name, trace.aborted and trace.aborted.reason) == (field, reason)
    assert operands.judge(spot, reason)
    for lie in (
        *(each for each in Abort if each is not reason),
        0,
        TOP,
        -TOP,
        int(trace.values[field][spot.row, spot.column]),
    ):
        assert not operands.judge(spot, lie)
    before = [each for each in spots(trace) if each.field.first < spot.field.first]
    assert all(operands.judge(each, claim(operands, each)) for each in before)


def test_a_residual_sum_beyond_int32_is_an_abort(model: ExactSpan) -> None:
    """A row at the very end of its range, and a block that adds to it."""
    operands = aborting(model, row=TOP)

    assert operands.trace.aborted is not None
    assert operands.trace.aborted.name == "1.middle"
    assert operands.judge(spot_of(operands.trace), Abort.INTEGER_OVERFLOW)


def test_an_abort_where_there_is_a_number_is_wrong() -> None:
    """A stage cannot get out of its work by calling it impossible."""
    operands = operands_at(session(4, family="qwen3"), Span(0, 1), 3)

    for spot in spots(operands.trace):
        assert not any(operands.judge(spot, reason) for reason in Abort)


def test_the_reference_raises_exactly_where_the_trace_aborts(model: ExactSpan) -> None:
    """The same models through both."""
    for name, shift, error in (
        ("qkv", 1, ScaleOutOfRange),
        ("gate_up", 28, IntegerOverflow),
        ("down", 20, IntegerOverflow),
    ):
        with pytest.raises(error):
            _whole(scaled(model, name, shift))
    assert _whole(model).rows.shape == (4, 2, 52)


def _whole(model: ExactSpan) -> Session:
    return computed(model, np.array([1, 2]))
