"""Hundreds of runs, each with its own faults: the right text, or a named end with the right beginning; and nothing is left behind.

A seed that fails is named with its plan. It runs again, alone and with its trace, by

    TALLY_FAULT_SEED=517 .venv/bin/python -m pytest tests/faults/test_schedules.py
"""

import os
from collections.abc import Sequence
from functools import lru_cache

import pytest

from node.reports import Request
from sharding.sampling import SamplingParams
from tests.faults.parts import Parts
from tests.faults.plan import Fault, FaultPlan, Kind
from tests.faults.schedule import Outcome, complaints, run_schedule, unrecovered
from tests.faults.world import CLIENT, Shape
from tests.node.swarm import GREEDY, request

RECOVERS = True
"""Whether a session goes on over another route when a stage fails. While it does not, a named end is as good."""
SEEDS = 400
BATCH = 20
REPLAY = os.environ.get("TALLY_FAULT_SEED")
SHAPE = Shape()
SAMPLED = SamplingParams(1.5, 40, 0.95, 7)
PROMPT = (5, 17, 3, 80, 9, 33)


def requests_of(seed: int) -> tuple[Request, ...]:
    """One request, or every third time two at once; greedy and sampled in turn."""
    first = request(PROMPT, 12, SAMPLED if seed % 2 else GREEDY)
    return (first,) if seed % 3 else (first, request((60, 61, 62), 9))


@lru_cache
def undisturbed(parts: Parts, kind: int) -> tuple[tuple[int, ...], ...]:
    """The texts when nothing goes wrong; requests repeat after six seeds."""
    outcome = run_schedule(FaultPlan(0), parts, requests_of(kind), SHAPE)
    assert complaints(outcome, [answer.tokens for answer in outcome.answers]) == []
    assert [len(answer.tokens) for answer in outcome.answers] == [each.max_tokens for each in requests_of(kind)]
    return tuple(answer.tokens for answer in outcome.answers)


def judge(plan: FaultPlan, parts: Parts, strict: bool = RECOVERS) -> str:
    """Run a plan; returns what is wrong, with what is needed to run it again, or nothing."""
    outcome: Outcome | None = None
    try:
        outcome = run_schedule(plan, parts, requests_of(plan.seed), SHAPE)
        wrong = complaints(outcome, undisturbed(parts, plan.seed % 6)) + (unrecovered(outcome, SHAPE) if strict else [])
    except Exception as error:  # a run that raises has failed like any other, and its seed must be named
        wrong = [f"raised {error!r}"]
    if not wrong:
        return ""
    told = "\n".join(map(str, outcome.trace if outcome is not None and REPLAY else ()))
    return f"TALLY_FAULT_SEED={plan.seed}: {'; '.join(wrong)}\n{plan!r}\n{told}"


def batches() -> list[Sequence[int]]:
    """All seeds in lots, or the one that is asked for."""
    if REPLAY is not None:
        return [[int(REPLAY)]]
    return [range(at, at + BATCH) for at in range(0, SEEDS, BATCH)]


@pytest.mark.parametrize("seeds", batches(), ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}")
def test_whatever_goes_wrong_the_text_is_right_as_far_as_it_goes_and_nothing_is_left(
    parts: Parts, seeds: Sequence[int]
) -> None:
    """Each seed: right tokens or a named end, no session, cache or task left, no unknown error, in bounded time."""
    found = [told for seed in seeds if (told := judge(SHAPE.plan(seed), parts))]

    assert not found, "\n".join(["", *found])


ALONE = {
    "kill": Fault(Kind.KILL, "s1r0", 12),
    "kill and come back": Fault(Kind.KILL, "s1r0", 12, seconds=2.0),
    "kill the first stage": Fault(Kind.KILL, "s0r0", 9),
    "kill the last stage": Fault(Kind.KILL, "s2r0", 9),
    "kill during a handshake": Fault(Kind.KILL, "s1r0", 0),
    "stall": Fault(Kind.STALL, "s2r0", 8, seconds=120.0),
    "slow": Fault(Kind.SLOW, "s1r0", 8, seconds=5.0),
    "drop": Fault(Kind.DROP, "s0r0", 9, "s1r0"),
    "duplicate": Fault(Kind.DUPLICATE, "s0r0", 9, "s1r0"),
    "reorder": Fault(Kind.REORDER, "s0r0", 9, "s1r0", 0.5),
    "delay": Fault(Kind.DELAY, "s0r0", 9, "s1r0", 10.0),
    "partition": Fault(Kind.PARTITION, "s0r0", 9, "s1r0", 120.0),
    "partition both ways": Fault(Kind.PARTITION, "s2r0", 9, "client", 120.0, both_ways=True),
    "flip": Fault(Kind.FLIP, "s1r0", 9, "s2r0", chance=3),
    "garbage": Fault(Kind.GARBAGE, "s2r0", 9, "client", chance=3),
}


@pytest.mark.parametrize("name", ALONE)
def test_one_fault_of_each_kind_in_mid_answer(parts: Parts, name: str) -> None:
    """The same promise for plans that can be read; each fault is set off."""
    plan = FaultPlan(1, faults=(ALONE[name],))

    assert judge(plan, parts) == ""
    assert run_schedule(plan, parts, requests_of(1), SHAPE).fired == (ALONE[name],)


@pytest.mark.skipif(not RECOVERS, reason="sessions end with their stages still")
@pytest.mark.parametrize("name", ALONE)
def test_one_fault_is_survived_where_a_replica_is_left(parts: Parts, name: str) -> None:
    """The whole text comes, over another route where need be."""
    assert judge(FaultPlan(1, faults=(ALONE[name],)), parts, strict=True) == ""


@pytest.mark.parametrize("nth", range(20))
def test_a_client_that_vanishes_frees_every_cache_within_a_second(parts: Parts, nth: int) -> None:
    """Killed at its n-th message, in the handshake, while opening, in the prompt or in mid-answer."""
    outcome = run_schedule(FaultPlan(1, faults=(Fault(Kind.KILL, CLIENT, nth),)), parts, requests_of(1), SHAPE)

    assert outcome.freed_at - outcome.at("killed") <= 1.0
    assert (outcome.holding, outcome.leaked, outcome.alarms) == ((), (), ())


def test_the_same_seed_gives_the_same_run_to_the_last_message(parts: Parts) -> None:
    """Trace, tokens and times; that is what makes a printed seed worth something."""
    first, second = (run_schedule(SHAPE.plan(517), parts, requests_of(517), SHAPE) for _ in range(2))

    assert first.trace == second.trace
    assert (first.answers[0].tokens, first.freed_at) == (second.answers[0].tokens, second.freed_at)


def test_the_seeds_set_off_every_kind_of_fault() -> None:
    """A kind that is never drawn would be a promise that nobody checks."""
    drawn = {fault.kind for seed in range(SEEDS) for fault in SHAPE.plan(seed).faults}

    assert drawn == set(Kind)
