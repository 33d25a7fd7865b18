"""The direct mode: the Court writes scores node by node, with the arithmetic of the roots."""

import random
from collections.abc import Iterable
from typing import Any

import pytest

from incentives.epochs import Evidence
from incentives.scores import ONE, Masses, kept
from tests.contracts.score_world import CLOCKS, STRANGER, Play
from verification.addresses import Address, address_bytes, to_address

GAS = 10_000_000


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
