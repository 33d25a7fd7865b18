"""Tokens go round without the client: whom it leaves when one of them is late, lost or garbage on some way."""

import pytest

from node.reports import Recovery
from tests.faults.parts import Parts
from tests.faults.plan import Fault, FaultPlan, Kind
from tests.faults.schedule import complaints, run_schedule
from tests.faults.world import CLIENT, Shape
from tests.node.swarm import request

PROMPT = (5, 17, 3, 80, 9, 33)
WANTED = (request(PROMPT, 30),)
FIRST, MIDDLE, LAST = "s0r0", "s1r0", "s2r0"
LONG = 120.0


def recoveries(parts: Parts, *faults: Fault) -> list[Recovery]:
    """Which stages a request lost on its way to the right text."""
    right = run_schedule(FaultPlan(0), parts, WANTED).answers[0].tokens
    outcome = run_schedule(FaultPlan(1, faults=faults), parts, WANTED)
    assert len(right) == 30
    assert complaints(outcome, [right]) == []
    assert outcome.fired == faults
    [answer] = outcome.answers
    assert answer.tokens == right
    assert answer.report is not None
    return list(answer.report.recoveries)


@pytest.mark.parametrize("nth", range(6, 26, 3))
@pytest.mark.parametrize("kind", [Kind.PARTITION, Kind.DELAY])
def test_a_first_stage_that_does_not_get_the_clients_frames_is_left(parts: Parts, kind: Kind, nth: int) -> None:
    """The ring runs on to the end of the credit; then nobody else is to blame."""
    [lost] = recoveries(parts, Fault(kind, CLIENT, nth, FIRST, LONG))
    assert lost.stage == 0


@pytest.mark.parametrize("nth", range(6, 26, 3))
@pytest.mark.parametrize("kind", [Kind.PARTITION, Kind.DELAY])
def test_a_last_stage_that_keeps_tokens_from_the_client_and_tells_them_to_the_first_is_left(
    parts: Parts, kind: Kind, nth: int
) -> None:
    """The first stage waits for vouchers that nobody owes it."""
    [lost] = recoveries(parts, Fault(kind, LAST, nth, CLIENT, LONG))
    assert lost.stage == 2


@pytest.mark.parametrize("kind", [Kind.PARTITION, Kind.DELAY, Kind.DROP, Kind.DUPLICATE])
@pytest.mark.parametrize("nth", range(0, 16, 3))
def test_whatever_is_lost_on_the_way_from_last_to_first_costs_no_stage(parts: Parts, kind: Kind, nth: int) -> None:
    """The client brings the tokens."""
    assert recoveries(parts, Fault(kind, LAST, nth, FIRST, LONG)) == []


def test_tokens_that_are_garbage_are_the_last_stages(parts: Parts) -> None:
    """It is left, though the client had good ones from it."""
    [lost] = recoveries(parts, Fault(Kind.GARBAGE, LAST, 9, FIRST, chance=3))
    assert lost.stage == 2


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_the_ring_saves_the_clients_way(parts: Parts, stages: int) -> None:
    """A token takes one latency per stage and not one more; with one stage only the vouchers take time."""
    spans = {1: ("0:6",), 2: ("0:2", "2:6"), 3: ("0:2", "2:4", "4:6")}[stages]
    outcome = run_schedule(FaultPlan(0, latency_seconds=0.05), parts, WANTED, Shape(spans))
    report = outcome.answers[0].report
    assert report is not None
    latencies = report.decode_seconds / 29 / 0.05
    assert latencies < (stages + 0.25 if stages > 1 else 1)
