"""Scores for people, programs and routes: as the root that counts says, and nothing where nothing is known."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from incentives.errors import ChainUnavailable
from incentives.scores import ONE as UNIT
from incentives.units import ONE
from node import known_scores
from node.cli import app
from node.known_scores import FRESH_SECONDS, KnownScores
from node.score_view import NodeScore, ScoreView, reliability_of, view_scores
from tests.node.epoch_nodes import CLOCKS, DutyNet, bring_up
from verification.addresses import to_address

NODE = to_address(bytes([7]) * 20)


@pytest.fixture(scope="module")
def brought_up(embedded_url: str) -> DutyNet:
    return bring_up(embedded_url)


@pytest.fixture
def net(brought_up: DutyNet, embedded_snapshot: str) -> DutyNet:
    """Three nodes that have joined; what the test does to the chain is undone."""
    return brought_up.as_new()


def _with_a_root(net: DutyNet) -> None:
    """The second node has work to show."""
    net.look()
    net.pay(net.nodes[1], ONE // 250)
    epoch = net.epoch
    net.at(-150, epoch)
    net.look()
    for after in (13, 60, 110, 160):
        net.at(after, epoch)
        net.look()
    net.at(CLOCKS.epoch - 10, epoch)


def test_scores_are_read_from_the_root_that_counts(net: DutyNet) -> None:
    """The best first; before the first root there are none, and a stranger never has one."""
    before = view_scores(net.network)
    assert (before.posting, before.scores, before.of(NODE)) == (None, (), None)
    _with_a_root(net)
    view = view_scores(net.network)
    assert view.scores is not None
    best = view.scores[0]
    assert (best.node, best.good, best.bad) == (net.nodes[1].owner.address, 4 * UNIT * 9_750 // 10_000, 0)
    assert best.score > view.scores[1].score == view.scores[2].score == 0
    assert view.of(best.node) is best
    assert view.of(NODE) is None
    assert {each.tickets for each in view.scores} == {200 * ONE, 300 * ONE, 400 * ONE}


def test_the_command_line_shows_them_to_people_and_programs(net: DutyNet, tmp_path: Path) -> None:
    """With and without a root."""
    file = tmp_path / "31337.json"
    net.network.deployment.write(file)
    command = ["network", "scores", "--rpc", net.url, "--deployment", str(file)]
    shown = CliRunner().invoke(app, command)
    assert "no root of scores counts yet" in shown.output
    _with_a_root(net)
    told = json.loads(CliRunner().invoke(app, [*command, "--json"]).output)
    view = view_scores(net.network)
    assert view.posting is not None
    assert told["root"] == {
        "epoch": view.posting.epoch, "root": view.posting.root.hex(), "poster": view.posting.poster,
    }  # fmt: skip
    assert [each["node"] for each in told["scores"]] == [each.node for each in view.scores or ()]
    assert told["scores"][0]["tickets"] == str(300 * ONE)
    assert "sound work" in CliRunner().invoke(app, command).output


def _score(good: int, bad: int) -> NodeScore:
    return NodeScore(NODE, 0, good, bad, 0, 1)


@pytest.mark.parametrize(
    ("score", "weight"),
    [
        (None, 1.0),
        (_score(0, 0), 1.0),
        (_score(100 * UNIT, 0), 1.0),
        (_score(UNIT, UNIT), 2 / 3),
        (_score(0, 50 * UNIT), 1 / 51),
        (_score(0, 2**32 - 1), 1 / (2**16 + 1)),
    ],
)
def test_a_route_minds_what_was_proven_against_a_node(score: NodeScore | None, weight: float) -> None:
    """Not that it is new; never nothing at all, which no price could be divided by."""
    assert reliability_of(score) == pytest.approx(max(weight, 1e-4))


class _Scores(KnownScores):
    """Read by the test, on its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, net: DutyNet, answers: list[Any]) -> None:
        self.time = 0.0
        super().__init__(net.network, lambda: self.time)
        monkeypatch.setattr(known_scores, "view_scores", lambda *_: self._answer(answers))

    def _answer(self, answers: list[Any]) -> ScoreView:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        view: ScoreView = answer
        return view


async def test_scores_are_read_anew_after_a_while_and_kept_where_the_chain_is_silent(
    net: DutyNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first time it is waited for; a chain that is down changes nothing."""
    bad = ScoreView(2, None, (_score(0, 50 * UNIT),))
    good = replace(bad, scores=(_score(50 * UNIT, 0),))
    known = _Scores(monkeypatch, net, [bad, ChainUnavailable("chain", "down"), good])
    assert known.reliability(NODE) == 1.0
    await known.freshen()
    assert known.reliability(NODE) == pytest.approx(1 / 51)
    for expected in (1 / 51, 1.0):
        known.time += FRESH_SECONDS
        await known.freshen()
        await known.close()
        await asyncio.sleep(0)
        assert known.reliability(NODE) == pytest.approx(expected)
    await known.freshen()
    await known.close()
