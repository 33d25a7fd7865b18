"""The judge is judged: each way in which a run can be wrong is seen, and a replica that is left is known for one."""

import re
from dataclasses import replace

import pytest

from node.client_errors import SessionFailed
from node.errors import NodeError
from tests.faults.parts import Parts
from tests.faults.plan import Fault, FaultPlan, Kind
from tests.faults.schedule import Answer, Outcome, complaints, run_schedule, unrecovered
from tests.faults.world import CLIENT, Shape
from tests.node.swarm import request

RIGHT = (5, 6, 7, 8)
SHAPE = Shape()
GOOD = Outcome((Answer(RIGHT, None, None),), 1.0, 1.0, (), (), (), (), (), ())


def ended(tokens: tuple[int, ...], handed: tuple[int, ...]) -> Answer:
    """An answer that a failure cut short."""
    return Answer(tokens, SessionFailed("stage_lost", "gone", 1, "0x1", handed), None)


def test_the_whole_text_and_a_named_end_of_a_part_are_both_good() -> None:
    """Nothing to complain of."""
    assert complaints(GOOD, [RIGHT]) == []
    assert complaints(replace(GOOD, answers=(ended((5, 6), (5, 6)),)), [RIGHT]) == []
    assert complaints(replace(GOOD, answers=(Answer((), NodeError("no"), None),)), [RIGHT]) == []


BAD = {
    "wrong tokens": replace(GOOD, answers=(Answer((5, 6, 9, 8), None, None),)),
    "wrong tokens: .* instead": replace(GOOD, answers=(ended((5, 9), ()),)),
    "2 of 4 tokens, and no error": replace(GOOD, answers=(Answer((5, 6), None, None),)),
    "5 of 4 tokens": replace(GOOD, answers=(Answer((5, 6, 7, 8, 9), None, None),)),
    "hands over": replace(GOOD, answers=(ended((5, 6), (5, 9)),)),
    "s1r0 hold sessions": replace(GOOD, holding=("s1r0",)),
    "a task is left": replace(GOOD, leaked=("Task-7 forgotten",)),
    "an unexpected error": replace(GOOD, alarms=("node.server: KeyError",)),
    "money": replace(GOOD, overpaid=("s1r0 holds a voucher for 9, promised are 8",)),
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_is_seen_and_named(text: str) -> None:
    """One for each promise."""
    assert any(re.search(text, each) for each in complaints(BAD[text], [RIGHT]))


@pytest.mark.parametrize(
    ("faults", "must_recover"),
    [
        ((), True),
        ((Fault(Kind.KILL, "s1r0", 3),), True),
        ((Fault(Kind.KILL, "s1r0", 3), Fault(Kind.STALL, "s2r1", 3)), True),
        ((Fault(Kind.KILL, "s1r0", 3), Fault(Kind.KILL, "s1r1", 3)), False),
        ((Fault(Kind.DROP, "s1r0", 3, "s2r0"), Fault(Kind.KILL, "s2r1", 3)), False),
        ((Fault(Kind.GARBAGE, CLIENT, 3, "s0r0"),), False),
        ((Fault(Kind.PARTITION, CLIENT, 3, "s0r0"),), True),
    ],
)
def test_a_session_must_recover_where_each_span_has_a_sound_replica_and_the_client_is_sound(
    faults: tuple[Fault, ...], must_recover: bool
) -> None:
    """And only there."""
    outcome = replace(GOOD, answers=(ended((5, 6), (5, 6)),), fired=faults)

    assert bool(unrecovered(outcome, SHAPE)) is must_recover
    assert unrecovered(replace(GOOD, fired=faults), SHAPE) == []


def test_an_error_that_hands_over_less_than_came_is_not_yet_good_enough() -> None:
    """The stricter check sees it."""
    stale = replace(GOOD, answers=(ended((5, 6), (5,)),))

    assert any("hands over (5,), the client had (5, 6)" in each for each in unrecovered(stale, SHAPE))


def test_a_cache_that_is_never_freed_is_found(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the engine's own book, whatever the server believes."""
    plan, wanted = FaultPlan(1), [request((1, 2, 3), 3)]
    monkeypatch.setattr("tests.faults.parts.WatchedEngine.close", lambda self, session: None)

    assert run_schedule(plan, parts, wanted, SHAPE).holding == ("s0r0", "s1r0", "s2r0")


def test_a_run_without_faults_says_so(parts: Parts) -> None:
    """No message is a fault's, nobody was killed, and the answer has its report."""
    outcome = run_schedule(FaultPlan(1), parts, [request((1, 2, 3), 3)], SHAPE)

    assert {each.what for each in outcome.trace} == {"sent"}
    assert outcome.fired == ()
    assert outcome.answers[0].report is not None
    assert complaints(outcome, [outcome.answers[0].tokens]) == []
