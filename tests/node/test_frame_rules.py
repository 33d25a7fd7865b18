"""Which frame may come next: its type, its place, its size, and never a prompt's price for single rows."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from node.admission import Admitted
from node.frame_rules import MAX_CHUNK_TOKENS, MIN_PROMPT_ROWS, check_work_frame
from node.output_log import LogBudget, OutputLog
from node.refusals import FailureCode, Refused
from node.stage_work import StageWork
from node.wire import Frame, FrameType, hidden_frame, sampled_frame, tokens_frame
from tests.node.admitted import make_admitted, make_kept

WIDTH = 4
SESSION = bytes(16)


def frame_of(rows: int, position: int = 0, step: int = 0) -> Frame:
    return tokens_frame(SESSION, 0, step, position, [1] * rows)


def check(rows: int, positions: int = 0, held: int = 0, **terms: Any) -> None:
    check_work_frame(frame_of(rows, positions), make_admitted(**terms), 0, positions, held)


def refused(rows: int, positions: int = 0, held: int = 0, **terms: Any) -> FailureCode | None:
    """The code of the refusal, or None where there is none."""
    try:
        check(rows, positions, held, **terms)
    except Refused as error:
        return error.code
    return None


def test_the_first_stage_takes_tokens_and_the_others_hidden_states() -> None:
    """And neither takes what a last stage sends to the client."""
    first, later = make_admitted(), make_admitted(stage=1)
    hidden = hidden_frame(SESSION, 0, 0, 0, torch.zeros(100, WIDTH))
    check_work_frame(frame_of(100), first, 0, 0)
    check_work_frame(hidden, later, 0, 0)
    for frame, terms in ((hidden, first), (frame_of(100), later), (sampled_frame(SESSION, 0, 0, 0, 1), first)):
        with pytest.raises(Refused) as caught:
            check_work_frame(frame, terms, 0, 0)
        assert caught.value.code is FailureCode.PROTOCOL


@pytest.mark.parametrize(("step", "position"), [(3, 64), (5, 64), (4, 63), (4, 65), (64, 4)])
def test_a_frame_of_another_step_or_place_is_out_of_order(step: int, position: int) -> None:
    """Dropped, sent twice, or of somebody else's counting."""
    check_work_frame(frame_of(36, 64, 4), make_admitted(), 4, 64)
    with pytest.raises(Refused) as caught:
        check_work_frame(frame_of(36, position, step), make_admitted(), 4, 64)
    assert caught.value.code is FailureCode.OUT_OF_ORDER


def test_a_frame_has_its_most_rows() -> None:
    """512 of a long prompt, not 513."""
    assert refused(MAX_CHUNK_TOKENS, prompt_tokens=2000, capacity=2001) is None
    assert refused(MAX_CHUNK_TOKENS + 1, prompt_tokens=2000, capacity=2001) is FailureCode.TOO_LONG


def test_a_session_ends_at_the_capacity_that_it_asked_for() -> None:
    """The 150th position is computed, a 151st is not."""
    assert refused(1, positions=149) is None
    assert refused(1, positions=150) is FailureCode.TOO_LONG


def test_prompt_rows_come_in_sixteens_at_least() -> None:
    """In single rows a prompt would be decoding at an eighth of its price."""
    assert refused(MIN_PROMPT_ROWS) is None
    assert refused(MIN_PROMPT_ROWS - 1) is FailureCode.SHAPE
    assert refused(1) is FailureCode.SHAPE


@pytest.mark.parametrize(("left", "least"), [(1, 1), (2, 1), (3, 2), (16, 15), (17, 16), (18, 16), (100, 16)])
def test_the_end_of_a_prompt_may_be_short_where_it_is_the_end(left: int, least: int) -> None:
    """All that is left, or all but the last token, which is always computed by itself after a loss."""
    for rows in range(1, left + 1):
        assert (refused(rows, positions=100 - left) is None) == (rows >= least)


def test_prompt_and_decode_are_never_in_one_frame() -> None:
    """They have two prices."""
    assert refused(5, positions=95) is None
    assert refused(6, positions=95) is FailureCode.SHAPE
    assert refused(1, positions=100) is None
    assert refused(2, positions=100) is FailureCode.SHAPE


def test_the_first_frame_after_what_a_stage_holds_may_be_short() -> None:
    """One row that the stage before had computed more; the frame after it is as long as any other."""
    assert refused(1, positions=50, held=50) is None
    assert refused(1, positions=51, held=50) is FailureCode.SHAPE
    assert refused(1, positions=0, held=0) is FailureCode.SHAPE


def test_a_prompt_of_one_token_is_one_row() -> None:
    """There is nothing before it that could be asked for."""
    assert refused(1, prompt_tokens=1) is None


def replayed(own: int, next_has: int, prompt: int) -> tuple[list[Frame], Admitted]:
    """What a stage that holds `own` positions sends to a next one that holds fewer, and what that one admitted."""
    terms = make_admitted(prompt_tokens=prompt, capacity=prompt + 50)
    log = OutputLog(LogBudget(10**9))
    log.append(0, torch.zeros(own, WIDTH, dtype=torch.int32))
    engine = cast("Any", SimpleNamespace())
    work = StageWork(terms, make_kept(terms, log), engine, cast("Any", None), next_has)
    return work.replay(own), replace(terms, stage=1)


@pytest.mark.parametrize("next_has", [0, 1, 37, 64, 128])
@pytest.mark.parametrize("own", [129, 130, 143, 144, 256, 257, 270, 299])
def test_rows_that_are_sent_again_are_rows_that_the_next_stage_takes(own: int, next_has: int) -> None:
    """Wherever the two left off in a prompt of 300, an honest stage is never taken for one that breaks the rules."""
    frames, terms = replayed(own, next_has, prompt=300)
    positions = next_has
    for step, frame in enumerate(frames):
        assert frame.type is FrameType.HIDDEN
        check_work_frame(frame, terms, step, positions, held=next_has)
        positions += frame.shape[0]
    assert positions == own
