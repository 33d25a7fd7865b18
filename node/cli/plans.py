"""`tally plan batch`: which nodes would do a batch of jobs within a budget. Nothing is opened or paid."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from incentives.errors import AmountError
from incentives.units import parse_amount
from node.cli.options import DeploymentOption, JsonOption, ProfileOption, RpcOption, load_network, resolved_model
from node.cli.output import console, make_table, print_json, short, units
from node.errors import SettingsError
from node.settings import DEFAULT_MODELS, load_client_settings

if TYPE_CHECKING:
    from node.batch_plan import BatchJob, BatchPlan, BatchRoute
    from node.client_context import ModelTerms
    from node.network import Network

app = typer.Typer(no_args_is_help=True)

MAX_JOBS_BYTES = 256 * 1024
MAX_TOKENS = 10**12
MAX_NAME = 100


@app.callback()
def about() -> None:
    """Look before anything is spent."""


@app.command()
def batch(
    jobs: Annotated[
        Path,
        typer.Argument(help='JSON: [{"name": "letters", "tokens": 50000, "value": "0.00002"}, ...], value per token.'),
    ],
    budget: Annotated[str, typer.Option(help="The most that all of it may cost, in tokens of the chain.")],
    within: Annotated[int, typer.Option(min=1, max=31_536_000, help="Seconds in which it has to be done.")] = 3_600,
    model: Annotated[Path | None, typer.Option(help="Folder of the model.", show_default="the demo model's")] = None,
    profile: ProfileOption = None,
    rpc: RpcOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print which nodes take which jobs, by their records: asks, blocks and claimed paces."""
    from node.batch_plan import plan_batch
    from node.generation import model_terms

    settings = load_client_settings()
    wanted, money = read_jobs(jobs), _budget(budget)
    profile = profile or settings.profile
    terms = model_terms(resolved_model(model or settings.model or DEFAULT_MODELS[profile], profile))
    network = load_network(rpc, deployment)
    with console.status("asking nodes for their records", spinner="line") as status:
        routes = _routes(network, terms)
        status.update(f"choosing among {len(routes)} routes")
        plan = plan_batch(wanted, routes, money, within)
    if as_json:
        print_json(plan_json(plan, len(routes)))
    else:
        _print(plan, routes)


def _budget(text: str) -> int:
    try:
        return parse_amount(text)
    except AmountError as error:
        raise SettingsError("--budget", str(error)) from error


def _routes(network: "Network", terms: "ModelTerms") -> "list[BatchRoute]":
    from node.batch_plan import disjoint_routes
    from node.gossip_view import view_network
    from node.hop_times import HopTimes
    from node.lifetime import run_loop
    from node.offers import announced_offers, recorded_offers
    from verification.routes import profile_id

    views, times = run_loop(view_network(network)), HopTimes(time.monotonic)
    known = [each.record for each in views if each.record is not None]
    others = [each.chain for each in views if each.record is None]
    offers = recorded_offers(known, terms.manifest, profile_id(terms.profile), times)
    offers += announced_offers(others, terms.manifest, network.deployment.params.min_stake, times)
    return disjoint_routes(offers, terms.num_blocks)


def read_jobs(path: Path) -> "list[BatchJob]":
    """Read and check a file of jobs. Raises: SettingsError that names the file and the job."""
    from node.batch_plan import MAX_JOBS

    try:
        with path.open("rb") as file:
            raw = file.read(MAX_JOBS_BYTES + 1)
    except OSError as error:
        raise SettingsError(path, f"cannot be read ({error.strerror})") from error
    if len(raw) > MAX_JOBS_BYTES:
        raise SettingsError(path, f"is larger than {MAX_JOBS_BYTES} bytes")
    try:
        rows = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise SettingsError(path, "is not JSON") from error
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_JOBS:
        raise SettingsError(path, f"is a list of 1 to {MAX_JOBS} jobs")
    found = [_job(path, number, row) for number, row in enumerate(rows, 1)]
    if len({each.name for each in found}) != len(found):
        raise SettingsError(path, "two jobs have one name")
    return found


def _job(path: Path, number: int, row: Any) -> "BatchJob":
    from node.batch_plan import BatchJob

    if not isinstance(row, dict) or set(row) != {"name", "tokens", "value"}:
        raise SettingsError(path, f"job {number} has name, tokens and value, and nothing else")
    name, tokens, value = row["name"], row["tokens"], row["value"]
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME:
        raise SettingsError(path, f"the name of job {number} is a text of 1 to {MAX_NAME} characters")
    if not isinstance(tokens, int) or isinstance(tokens, bool) or not 1 <= tokens <= MAX_TOKENS:
        raise SettingsError(path, f"the tokens of job {number} are a whole number from 1 to {MAX_TOKENS}")
    try:
        return BatchJob(name, tokens, parse_amount(value if isinstance(value, str) else ""))
    except AmountError as error:
        raise SettingsError(path, f'the value of job {number}: write an amount as text, such as "0.00002"') from error


def plan_json(plan: "BatchPlan", routes: int) -> dict[str, object]:
    """For programs; amounts as text in the smallest unit."""
    return {
        "routes": routes,
        "cost": str(plan.cost),
        "assignments": [
            {"job": each.job, "nodes": list(each.route.nodes), "tokens": each.tokens, "cost": str(each.cost),
             "perToken": str(each.route.per_token), "tokensPerSecond": round(each.route.tokens_per_second, 2)}
            for each in plan.assignments
        ],
        "left": [{"job": each.name, "tokens": each.tokens} for each in plan.left],
    }  # fmt: skip


def _print(plan: "BatchPlan", routes: "list[BatchRoute]") -> None:
    rows = [
        (each.job, " ".join(map(short, each.route.nodes)), str(each.tokens), units(each.route.per_token),
         f"{each.route.tokens_per_second:.1f}", units(each.cost))
        for each in plan.assignments
    ]  # fmt: skip
    columns = ("job", "nodes of the route", "tokens", "per token", "tokens/s", "cost")
    console.print(make_table(f"{len(routes)} routes on offer, {units(plan.cost)} in all", columns, rows))
    for each in plan.left:
        console.print(f"{each.tokens} tokens of {each.name} are left: give more money, more time, or more per token")
