"""The direct mode: the Court writes scores node by node, with the arithmetic of the roots."""

import random
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from incentives.epochs import Evidence
from incentives.scores import ONE, Masses, kept
from tests.contracts.score_world import CLOCKS, STRANGER, Play, ScoreWorld
from tests.contracts.test_state_machines import Machine
from verification.addresses import Address, address_bytes, to_address

GAS = 10_000_000
ROWS = st.tuples(
    st.integers(0, 2), st.sampled_from((0, 1, ONE, 2**32 - 1)), st.sampled_from((0, 0, 1, 40)), st.integers(0, 2)
)
NODES = [to_address(bytes([k]) * 20) for k in (1, 2, 3)]


def _rows(evidence: Iterable[tuple[Address, Evidence]]) -> bytes:
    return b"".join(
        address_bytes(node)
        + each.credit.to_bytes(4, "big")
        + each.faults.to_bytes(2, "big")
        + each.qos.to_bytes(2, "big")
        for node, each in evidence
    )


def _report(play: Play, rows: bytes, at: int) -> None:
    world = play.scored.world
    play.at(at)
    sent = world.send(STRANGER, world.court, "report", play.scored.scores.address, rows, gas=GAS)
    assert sent.gas_used < GAS


def _read(play: Play, node: Address) -> list[Any]:
    return list(play.scored.view("directScoreOf", node))


def test_reports_add_up_as_the_roots_do(play: Play) -> None:
    """Decayed by the second, credits and then faults, the newest quality; many nodes and dates mixed."""
    dice, now = random.Random(8), play.end(play.epoch)
    nodes = [to_address(dice.randbytes(20)) for _ in range(5)]
    model: dict[Address, tuple[Masses, int, int]] = {}
    for _ in range(6):
        now += dice.choice((1, 50, 5_600, 20_000))
        report = []
        for node in dice.sample(nodes, 3):
            each = Evidence(dice.choice((0, ONE, 2**32 - 1)), dice.choice((0, 0, 1, 40)), dice.choice((0, 9_000)))
            masses, qos, at = model.get(node, (Masses(), 0, now))
            new = masses.decayed(kept(now - at, CLOCKS.half_life)).updated(each.credit, each.faults)
            model[node] = new, each.qos or qos, now
            report.append((node, each))
        _report(play, _rows(report), now)
    play.mine_at(now + 777)
    for node, (masses, qos, at) in model.items():
        score = masses.decayed(kept(now + 777 - at, CLOCKS.half_life)).published
        assert _read(play, node) == [masses.a, masses.b, qos, at, score]


def test_a_node_may_be_twice_in_one_report(play: Play) -> None:
    """Both rows count."""
    node, now = to_address(b"\x07" * 20), play.end(play.epoch)
    _report(play, _rows([(node, Evidence(ONE)), (node, Evidence(ONE))]), now)
    assert _read(play, node)[:2] == [2 * ONE, 0]


def test_who_was_never_reported_has_no_score(play: Play) -> None:
    """The floor, as for any newcomer."""
    assert _read(play, STRANGER.address) == [0, 0, 0, 0, 0]


def test_only_the_court_reports(play: Play) -> None:
    """Not even a bonded node."""
    rows = _rows([(STRANGER.address, Evidence(ONE))])
    assert play.scored.refusal(STRANGER, "report", rows) == ("NotCourt", (STRANGER.address,))


@pytest.mark.parametrize("length", [0, 27, 29, 28 * 128 + 1, 28 * 129])
def test_a_report_is_whole_rows_and_not_too_many(play: Play, length: int) -> None:
    """None, a cut one, one too many."""
    world = play.scored.world
    refusal = world.refusal(STRANGER, world.court, "report", play.scored.scores.address, bytes(length), gas=GAS)
    assert refusal == ("ReportInvalid", (length,))


def test_a_report_of_the_most_rows_passes(play: Play) -> None:
    """128 nodes."""
    dice = random.Random(3)
    nodes = [to_address(dice.randbytes(20)) for _ in range(128)]
    _report(play, _rows((node, Evidence(ONE)) for node in nodes), play.end(play.epoch))
    assert _read(play, nodes[-1])[0] == ONE


class DirectMachine(Machine):
    """Three nodes, and what the Court has said of them: masses, quality, when."""

    def __init__(self, scored: ScoreWorld) -> None:
        super().__init__(scored.world)
        self.scores = scored.scores
        self.said: dict[Address, tuple[Masses, int, int]] = {}

    def masses(self, node: Address, now: int) -> Masses:
        masses, _, at = self.said.get(node, (Masses(), 0, now))
        return masses.decayed(kept(now - at, CLOCKS.half_life))

    @rule(rows=st.lists(ROWS, min_size=1, max_size=4))
    def report(self, rows: list[tuple[int, int, int, int]]) -> None:
        """A node may be there twice."""
        evidence = [(NODES[number], Evidence(credit, faults, qos)) for number, credit, faults, qos in rows]
        self.act("", STRANGER, self.world.court, "report", self.scores.address, _rows(evidence))
        for node, each in evidence:
            masses = self.masses(node, self.now - 1).updated(each.credit, each.faults)
            quality = each.qos or self.said.get(node, (0, 0))[1]
            self.said[node] = masses, quality, self.now - 1

    @rule(half_lives=st.integers(1, 200))
    def fade(self, half_lives: int) -> None:
        """So long that little is left, or nothing."""
        self.now += half_lives * CLOCKS.half_life

    @rule()
    def usurp(self) -> None:
        self.act("NotCourt", STRANGER, self.scores, "report", bytes(28))

    @invariant()
    def the_record_is_what_was_said(self) -> None:
        """As of its last report, and decayed until the newest block."""
        head = self.world.chain.head().timestamp
        for node, (masses, qos, at) in self.said.items():
            told = self.world.view(self.scores, "directScoreOf", node)
            assert told == [masses.a, masses.b, qos, at, self.masses(node, head).published]


@pytest.mark.timeout(240)
def test_direct_scores_hold_whatever_is_reported(deployed_scores: ScoreWorld, chain_snapshot: str, steps: int) -> None:
    """On both kinds of chain; the slower one gets fewer plays."""
    plays = settings(
        max_examples=steps // 6,
        stateful_step_count=12,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: DirectMachine(deployed_scores), settings=plays)
