"""A batch before it is paid for: routes without a node in common, bought within budget, time and worth."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from incentives.prices import with_pool
from node.batch_plan import MAX_JOBS, MAX_ROUTES, BatchJob, BatchRoute, disjoint_routes, plan_batch
from node.cli import app, plans
from node.cli.plans import MAX_JOBS_BYTES, MAX_NAME, MAX_TOKENS, read_jobs
from node.errors import NoRoute, SettingsError
from node.offers import Offer
from tests.node.records import address
from verification.routes import RouteStage


def offer(number: int, start: int, end: int, ask: int, computing: float = 0.09) -> Offer:
    """A node's span; 10 tokens per second, the way there included."""
    return Offer(RouteStage(address(number), start, end, ask), 0.01, computing, 0.0, 1.0, False)


def route(number: int, per_token: int, pace: float = 1.0) -> BatchRoute:
    """One node that serves everything."""
    return BatchRoute((address(number),), per_token, pace)


def test_routes_share_no_node() -> None:
    """A pair, a node that serves all, and one that is left over; prices and paces are those of the stages."""
    offers = [offer(1, 0, 4, 2), offer(2, 4, 8, 3), offer(3, 0, 8, 5, computing=0.39), offer(4, 0, 4, 1, computing=9.0)]
    first, second = disjoint_routes(offers, 8)
    assert (first.nodes, second.nodes) == ((address(1), address(2)), (address(3),))
    assert (first.per_token, second.per_token) == (with_pool(5 * 2 + 5 * 3), with_pool(10 * 5))
    assert (round(first.tokens_per_second, 9), round(second.tokens_per_second, 9)) == (5.0, 2.5)


def test_no_more_routes_are_taken_than_the_allocator_weighs() -> None:
    """At its limit, and with one more on offer."""
    assert len(disjoint_routes([offer(n, 0, 8, n) for n in range(1, MAX_ROUTES + 1)], 8)) == MAX_ROUTES
    assert len(disjoint_routes([offer(n, 0, 8, n) for n in range(1, MAX_ROUTES + 2)], 8)) == MAX_ROUTES


def test_where_no_route_is_the_blocks_are_named() -> None:
    """As for a session."""
    with pytest.raises(NoRoute, match="no node serves"):
        disjoint_routes([offer(1, 0, 4, 1)], 8)


def test_the_cheaper_route_is_bought_and_what_is_left_is_told() -> None:
    """100 seconds at a token each; the budget is for one of them."""
    plan = plan_batch([BatchJob("a", 150, 50)], [route(1, 20), route(2, 10)], 1_000, 100)
    assert [(each.route.nodes, each.tokens, each.cost) for each in plan.assignments] == [((address(2),), 100, 1_000)]
    assert (plan.cost, [(each.name, each.tokens) for each in plan.left]) == (1_000, [("a", 50)])


@pytest.mark.parametrize(("budget", "done"), [(3_000, 150), (1_999, 100), (999, 0)])
def test_the_budget_is_never_exceeded(budget: int, done: int) -> None:
    """At what both routes cost, one below it, and one below the cheaper one."""
    plan = plan_batch([BatchJob("a", 150, 50)], [route(1, 20), route(2, 10)], budget, 100)
    assert sum(each.tokens for each in plan.assignments) == done
    assert plan.cost <= budget


def test_nobody_pays_more_than_a_token_is_worth() -> None:
    """At its worth, and one past it; a route that only one job can afford works for that one."""
    routes = [route(1, 20)]
    plan = plan_batch([BatchJob("poor", 50, 19), BatchJob("rich", 50, 20)], routes, 10**9, 60)
    assert [(each.job, each.tokens) for each in plan.assignments] == [("rich", 50)]
    assert [each.name for each in plan.left] == ["poor"]
    assert plan_batch([BatchJob("poor", 50, 19)], routes, 10**9, 60).assignments == ()


def test_jobs_share_a_route_by_what_they_need_and_pay_for_what_they_get() -> None:
    """Never for more than the route has time for, nor for what another route did already."""
    jobs = [BatchJob("large", 300, 9), BatchJob("small", 100, 9)]
    plan = plan_batch(jobs, [route(1, 3, 2.0)], 10**6, 100)
    assert [(each.job, each.tokens, each.cost) for each in plan.assignments] == [
        ("large", 150, 450),
        ("small", 50, 150),
    ]
    both = plan_batch(jobs, [route(1, 3, 3.0), route(2, 4, 3.0)], 10**6, 100)
    assert sum(each.tokens for each in both.assignments) == 400
    assert both.left == ()


GOOD: dict[str, Any] = {"name": "letters", "tokens": 7, "value": "0.5"}


def write(folder: Path, rows: object) -> Path:
    """A file of jobs."""
    path = folder / "jobs.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return path


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ("[", "is not JSON"),
        ({}, "list of 1 to"),
        ([], "list of 1 to"),
        ([GOOD | {"name": str(n)} for n in range(MAX_JOBS + 1)], "list of 1 to"),
        ([GOOD, GOOD], "two jobs have one name"),
        ([GOOD, 7], "job 2 has"),
        ([GOOD | {"urgent": True}], "job 1 has"),
        ([GOOD | {"name": ""}], "name of job 1"),
        ([GOOD | {"name": "n" * (MAX_NAME + 1)}], "name of job 1"),
        ([GOOD | {"tokens": 0}], "tokens of job 1"),
        ([GOOD | {"tokens": True}], "tokens of job 1"),
        ([GOOD | {"tokens": MAX_TOKENS + 1}], "tokens of job 1"),
        ([GOOD | {"value": 0.5}], "value of job 1"),
        ([GOOD | {"value": "-1"}], "value of job 1"),
        (" " * (MAX_JOBS_BYTES + 1), "is larger than"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(tmp_path: Path, rows: object, problem: str) -> None:
    """With its name, and the job's number."""
    with pytest.raises(SettingsError, match=f"jobs.json: .*{problem}"):
        read_jobs(write(tmp_path, rows))


def test_a_file_at_its_limits_is_read(tmp_path: Path) -> None:
    """So many jobs, of so many tokens, with so long a name; a file that is not there is told."""
    rows = [GOOD | {"name": f"{n:0{MAX_NAME}}", "tokens": MAX_TOKENS} for n in range(MAX_JOBS)]
    found = read_jobs(write(tmp_path, rows))
    assert (len(found), found[0].tokens, found[0].value) == (MAX_JOBS, MAX_TOKENS, 5 * 10**17)
    with pytest.raises(SettingsError, match="cannot be read"):
        read_jobs(tmp_path / "nowhere.json")


def test_the_command_prints_who_takes_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For programs one object; people are told what is left."""
    monkeypatch.setattr(plans, "load_network", lambda *_: SimpleNamespace())
    monkeypatch.setattr(plans, "_routes", lambda *_: [route(1, 10**17)])
    path = str(write(tmp_path, [GOOD]))

    told = CliRunner().invoke(app, ["plan", "batch", path, "--budget", "1", "--within", "5", "--json"])
    assert told.exit_code == 0, told.output
    plan = json.loads(told.output)
    assert (plan["cost"], plan["routes"], plan["left"]) == (str(5 * 10**17), 1, [{"job": "letters", "tokens": 2}])
    assert plan["assignments"][0]["nodes"] == [address(1)]
    shown = CliRunner().invoke(app, ["plan", "batch", path, "--budget", "1", "--within", "5"])
    assert "2 tokens of letters are left" in shown.output
    refused = CliRunner().invoke(app, ["plan", "batch", path, "--budget", "much"])
    assert isinstance(refused.exception, SettingsError)
