"""Measured times: they take the place of claims, bound how long to wait, and forget."""

import math
import random
from collections.abc import Callable

import pytest

from node.hop_times import (
    HALF_LIFE_SECONDS,
    MAX_DEADLINE,
    MAX_SECONDS,
    MAX_SIZE,
    MIN_DEADLINE,
    TAIL_SAMPLES,
    UNKNOWN_DEADLINE,
    UNKNOWN_ROUND_TRIP,
    HopTimes,
    RingHop,
)
from node.outcomes import Outcomes
from node.routing_errors import MeasurementInvalid
from tests.node.clocks import Clock
from tests.node.records import address

NODE, OTHER = address(1), address(2)


@pytest.fixture
def clock() -> Clock:
    """A clock of its own for each test."""
    return Clock()


@pytest.fixture
def times(clock: Clock) -> HopTimes:
    """Nothing is known yet."""
    return HopTimes(clock)


def test_without_measurements_a_claim_counts(times: HopTimes) -> None:
    """A stranger is believed at first, or nobody would ever be tried."""
    assert times.seconds_per_token(NODE, 4, 50.0) == pytest.approx(0.02)
    assert times.one_way(NODE) == UNKNOWN_ROUND_TRIP / 2


def test_three_measurements_take_a_claims_place(times: HopTimes) -> None:
    """One and two are mixed with it, so that a single hiccup ruins nobody."""
    expected = [0.001 * 2 / 3 + 0.1 / 3, 0.001 / 3 + 0.1 * 2 / 3, 0.1, 0.1]
    for seconds in expected:
        times.saw_step(NODE, 4, 1, 0.1)

        assert times.seconds_per_token(NODE, 4, 1000.0) == pytest.approx(seconds)


def test_a_changed_claim_does_not_shake_off_measurements(times: HopTimes) -> None:
    """Neither a larger number nor another span: what is measured is seconds per block."""
    for _ in range(3):
        times.saw_step(NODE, 4, 1, 0.1)

    assert times.seconds_per_token(NODE, 4, 1e9) == pytest.approx(0.1)
    assert times.seconds_per_token(NODE, 2, 1000.0) == pytest.approx(0.05)


def test_a_modest_claim_is_corrected_upwards(times: HopTimes) -> None:
    """Measurements count in both directions."""
    for _ in range(3):
        times.saw_step(NODE, 4, 1, 0.01)

    assert times.seconds_per_token(NODE, 4, 1.0) == pytest.approx(0.01)


def test_the_way_is_not_counted_as_computing(times: HopTimes) -> None:
    """A node that is far away and fast is fast; one that seems nearer than it is takes no negative time."""
    for _ in range(3):
        times.saw_round_trip(NODE, 0.08)
    for _ in range(3):
        times.saw_step(NODE, 2, 1, 0.1)
    assert times.one_way(NODE) == pytest.approx(0.04)
    assert times.seconds_per_token(NODE, 2, 1.0) == pytest.approx(0.02)

    for _ in range(100):
        times.saw_step(NODE, 2, 1, 0.01)
    assert 0 <= times.seconds_per_token(NODE, 2, 1.0) < 1e-6


def test_newer_measurements_outweigh_older_ones(times: HopTimes) -> None:
    """A node that slows down is seen to within a few tokens."""
    for _ in range(50):
        times.saw_step(NODE, 1, 1, 0.01)
    for _ in range(8):
        times.saw_step(NODE, 1, 1, 0.1)

    assert times.seconds_per_token(NODE, 1, 100.0) > 0.08


def test_old_measurements_give_way_to_the_claim_again(times: HopTimes, clock: Clock) -> None:
    """A node that was slow once gets another chance, and loses it by three tokens."""
    for _ in range(3):
        times.saw_step(NODE, 1, 1, 0.1)
    clock.now += HALF_LIFE_SECONDS
    assert times.seconds_per_token(NODE, 1, 1000.0) == pytest.approx((0.1 + 0.001) / 2)
    clock.now += 20 * HALF_LIFE_SECONDS
    assert times.seconds_per_token(NODE, 1, 1000.0) == pytest.approx(0.001, abs=1e-4)

    for _ in range(3):
        times.saw_step(NODE, 1, 1, 0.1)
    assert times.seconds_per_token(NODE, 1, 1000.0) == pytest.approx(0.1)


def test_a_prompts_rows_say_nothing_of_single_tokens(times: HopTimes) -> None:
    """They share one reading of the weights."""
    for _ in range(3):
        times.saw_step(NODE, 1, 128, 0.1)

    assert times.seconds_per_token(NODE, 1, 10.0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("seconds", "deadline"),
    [(0.0, MIN_DEADLINE), (0.25, MIN_DEADLINE), (0.26, 2.08), (7.5, MAX_DEADLINE), (7.6, MAX_DEADLINE)],
)
def test_a_deadline_is_eight_times_the_tail_within_its_limits(times: HopTimes, seconds: float, deadline: float) -> None:
    """At least two seconds, at most a minute."""
    times.saw_step(NODE, 1, 1, seconds)

    assert times.deadline(NODE) == pytest.approx(deadline)


def test_a_deadline_follows_the_tail_and_not_the_worst(times: HopTimes) -> None:
    """Of twenty steps the nineteenth; of fewer the slowest."""
    for step in range(1, 21):
        times.saw_step(NODE, 1, 1, step * 0.5)
        expected = 0.5 * (19 if step == 20 else step)

        assert times.deadline(NODE) == pytest.approx(min(max(8 * expected, MIN_DEADLINE), MAX_DEADLINE))


def test_a_deadline_forgets_what_is_long_past(times: HopTimes) -> None:
    """Only the last 64 steps count, so memory is bounded and a slow beginning is forgiven."""
    times.saw_step(NODE, 1, 1, 5.0)
    for _ in range(TAIL_SAMPLES):
        times.saw_step(NODE, 1, 1, 0.1)

    assert times.deadline(NODE) == MIN_DEADLINE


def test_a_chunk_has_a_deadline_by_its_rows(times: HopTimes) -> None:
    """From chunks where any were seen, else from single rows, else the same as for anybody."""
    assert times.deadline(NODE, 128) == times.deadline(NODE) == UNKNOWN_DEADLINE
    times.saw_step(NODE, 1, 1, 0.02)
    assert times.deadline(NODE, 100) == pytest.approx(16.0)
    times.saw_step(NODE, 1, 128, 0.64)
    assert times.deadline(NODE, 100) == pytest.approx(4.0)
    assert times.deadline(NODE) == MIN_DEADLINE


def test_a_ring_falls_on_the_node_that_was_measured_least(times: HopTimes) -> None:
    """Three known hops and a stranger: what the sum has too much is the stranger's."""
    hops = [RingHop(address(number), 2, 100.0) for number in range(4)]
    for hop in hops[:3]:
        for _ in range(20):
            times.saw_round_trip(hop.node, 0.0)
            times.saw_step(hop.node, 2, 1, 0.01)
    for _ in range(6):
        times.saw_ring(hops, 0.03 + 0.2 + UNKNOWN_ROUND_TRIP / 2)

    assert times.seconds_per_token(hops[3].node, 2, 100.0) == pytest.approx(0.2, rel=0.15)
    assert all(times.seconds_per_token(hop.node, 2, 100.0) < 0.03 for hop in hops[:3])
    assert times.deadline(hops[3].node) == MIN_DEADLINE


def test_rings_over_many_routes_find_each_node_out(times: HopTimes) -> None:
    """Twelve nodes on four spans, one of them a liar: from sums alone each comes by its own speed."""
    chance = random.Random(3)
    truth = {address(number): chance.uniform(0.005, 0.02) for number in range(1, 13)}
    liar = address(6)
    truth[liar] = 0.1
    for node in truth:
        for _ in range(3):
            times.saw_round_trip(node, 0.0)
    for _ in range(400):
        route = [address(1 + 3 * stage + chance.randrange(3)) for stage in range(4)]
        times.saw_ring([RingHop(node, 2, 100.0) for node in route], sum(truth[node] for node in route))

    measured = {node: times.seconds_per_token(node, 2, 100.0) for node in truth}
    assert max(measured, key=lambda node: measured[node]) == liar
    assert measured[liar] == pytest.approx(truth[liar], rel=0.3)
    assert max(seconds for node, seconds in measured.items() if node != liar) < 0.04


def test_a_ring_that_ran_faster_than_expected_takes_nobody_below_nothing(times: HopTimes) -> None:
    """No time is negative."""
    hops = [RingHop(NODE, 1, 1.0), RingHop(OTHER, 1, 100.0)]
    for _ in range(5):
        times.saw_ring(hops, 0.0)

    assert all(times.seconds_per_token(hop.node, 1, hop.claimed) >= 0 for hop in hops)


def test_failures_lower_reliability_and_call_for_a_rest(times: HopTimes, clock: Clock) -> None:
    """Of that node only, and for that long only."""
    stranger = Outcomes().reliability(0.0)
    times.failed(NODE)
    times.succeeded(OTHER)

    assert times.reliability(NODE) < stranger < times.reliability(OTHER)
    assert times.reliability(address(3)) == pytest.approx(stranger)
    assert times.resting() == {NODE}
    clock.now += 1
    assert times.resting() == frozenset()


def test_whom_it_measured_longest_ago_it_forgets(clock: Clock) -> None:
    """Two places: the third node takes the place of the one that was not heard of since; asking is no hearing."""
    times = HopTimes(clock, max_nodes=2)
    times.failed(address(1))
    times.failed(address(2))
    times.failed(address(1))
    for number in range(50, 60):
        times.reliability(address(number))
    assert len(times) == 2
    times.failed(address(3))

    assert len(times) == 2
    assert times.resting() == {address(1), address(3)}


@pytest.mark.parametrize("seconds", [-1e-9, math.nan, math.inf, MAX_SECONDS + 1])
def test_times_that_nothing_can_take_are_refused(times: HopTimes, seconds: float) -> None:
    """A broken clock must not decide where money goes; nothing is remembered."""
    measures: tuple[Callable[[], object], ...] = (
        lambda: times.saw_round_trip(NODE, seconds),
        lambda: times.saw_step(NODE, 1, 1, seconds),
        lambda: times.saw_ring([RingHop(NODE, 1, 1.0)], seconds),
    )
    for measure in measures:
        with pytest.raises(MeasurementInvalid):
            measure()
    assert len(times) == 0
    times.saw_step(NODE, MAX_SIZE, 1, MAX_SECONDS)


@pytest.mark.parametrize("size", [0, -1, MAX_SIZE + 1])
def test_sizes_that_no_step_has_are_refused(times: HopTimes, size: int) -> None:
    """Blocks and rows start at one."""
    measures: tuple[Callable[[], object], ...] = (
        lambda: times.saw_step(NODE, size, 1, 1.0),
        lambda: times.saw_step(NODE, 1, size, 1.0),
        lambda: times.seconds_per_token(NODE, size, 1.0),
        lambda: times.deadline(NODE, size),
        lambda: times.saw_ring([RingHop(NODE, size, 1.0)], 1.0),
    )
    for measure in measures:
        with pytest.raises(MeasurementInvalid):
            measure()


@pytest.mark.parametrize("claimed", [0.0, -1.0, math.nan, math.inf])
def test_claims_that_are_no_speed_are_refused(times: HopTimes, claimed: float) -> None:
    """A node that claims infinite speed would win every route."""
    with pytest.raises(MeasurementInvalid):
        times.seconds_per_token(NODE, 1, claimed)
