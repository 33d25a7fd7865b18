"""Which frame of work may come next in a session: its type, place and size. Pure."""

from node.admission import Admitted
from node.refusals import FailureCode, Refused
from node.wire import Frame, FrameType

MAX_CHUNK_TOKENS = 512
"""Positions in one frame; longer prompts come in several."""
MIN_PROMPT_ROWS = 16
"""A prompt's price is for many rows at once; in single rows it would be decoding at an eighth of its price."""


def check_work_frame(frame: Frame, terms: Admitted, step: int, positions: int, held: int = 0) -> None:
    """Accept the frame for `step`, after `positions` that came from upstream; `held` were there before. Raises: Refused."""
    expected = FrameType.TOKENS if terms.is_first else FrameType.HIDDEN
    if frame.type is not expected:
        raise Refused(FailureCode.PROTOCOL, f"this stage takes {expected.name} frames, not {frame.type.name}")
    if (frame.step, frame.position) != (step, positions):
        raise Refused(
            FailureCode.OUT_OF_ORDER,
            f"expected step {step} at position {positions}, got step {frame.step} at {frame.position}",
        )
    _check_size(frame.shape[0], terms, positions)
    _check_phase(frame.shape[0], terms.prompt_tokens - positions, may_be_short=positions == held > 0)


def _check_size(rows: int, terms: Admitted, positions: int) -> None:
    if rows > MAX_CHUNK_TOKENS:
        raise Refused(FailureCode.TOO_LONG, f"{rows} positions in one frame, the limit is {MAX_CHUNK_TOKENS}")
    if positions + rows > terms.capacity:
        raise Refused(
            FailureCode.TOO_LONG, f"position {positions + rows} is past the {terms.capacity} that the session asked for"
        )


def _check_phase(rows: int, prompt_left: int, *, may_be_short: bool) -> None:
    """Rows that are sent again begin anywhere and end before the last known token, which is always computed anew."""
    if not may_be_short and prompt_left > 1 and rows < min(prompt_left - 1, MIN_PROMPT_ROWS):
        raise Refused(
            FailureCode.SHAPE, f"{rows} prompt positions in a frame, at least {MIN_PROMPT_ROWS} but for the last one"
        )
    if rows > prompt_left > 0 or (prompt_left <= 0 and rows != 1):
        raise Refused(FailureCode.SHAPE, "a frame holds prompt positions or one decode position, never both")
