"""`tally network prices`, `tally network fairness`: what nodes ask and earned, for people and for programs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.options import DeploymentOption, JsonOption, RpcOption, load_network
from node.cli.output import console, make_table, print_json, short, units

if TYPE_CHECKING:
    from rich.table import Table

    from node.market import ModelMarket

EpochOption = Annotated[
    int, typer.Option("--epoch", min=1, max=31_536_000, help="Seconds, by the chain's clock, up to its newest block.")
]
DEFAULT_EPOCH_SECONDS = 3_600


def _markets(rpc: RpcOption, deployment: DeploymentOption, epoch: int) -> "list[ModelMarket]":
    from node.gossip_view import view_network
    from node.lifetime import run_loop
    from node.market import collected_since, markets_of

    network = load_network(rpc, deployment)
    with console.status("asking nodes for their records", spinner="line") as status:
        views = run_loop(view_network(network))
        status.update("reading what was collected")
        return markets_of(views, collected_since(network, epoch), epoch)


def _show(
    markets: "Sequence[ModelMarket]",
    epoch: int,
    json_of: "Callable[[ModelMarket], dict[str, object]]",
    table_of: "Callable[[ModelMarket], Table] | None",
) -> None:
    """For people where there is a table, else for programs."""
    if table_of is None:
        print_json({"epochSeconds": epoch, "models": [json_of(each) for each in markets]})
        return
    for market in markets:
        console.print(table_of(market))
    if not markets:
        console.print("no staked node has announced itself")


def prices(
    epoch: EpochOption = DEFAULT_EPOCH_SECONDS,
    rpc: RpcOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what each node asks, how much of its capacity was bought, and where prices would go from there."""
    _show(_markets(rpc, deployment, epoch), epoch, prices_json, None if as_json else _prices_table)


def _prices_table(market: "ModelMarket") -> "Table":
    rows = [
        (short(each.node), each.blocks, units(each.ask), units(each.earned), _share(each.sold, each.capacity))
        for each in market.nodes
    ]
    title = f"Model {short(market.manifest.hex())}: hint {units(market.hint)}, median ask {units(market.median_ask)}"
    return make_table(title, ("node", "blocks", "ask", "collected", "sold"), rows)


def prices_json(market: "ModelMarket") -> dict[str, object]:
    """For programs; amounts as text."""
    total = market.utilisation
    nodes = [
        {"node": each.node, "blocks": each.blocks, "ask": str(each.ask), "recorded": each.is_recorded,
         "earned": str(each.earned), "sold": each.sold, "capacity": each.capacity}
        for each in market.nodes
    ]  # fmt: skip
    return {
        "manifest": market.manifest.hex(), "hint": str(market.hint), "medianAsk": str(market.median_ask),
        "sold": total.used, "capacity": total.capacity, "nodes": nodes,
    }  # fmt: skip


def fairness(
    epoch: EpochOption = DEFAULT_EPOCH_SECONDS,
    rpc: RpcOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how evenly the epoch's earnings were spread over what nodes offered: Jain's index, 1 where all earned alike."""
    _show(_markets(rpc, deployment, epoch), epoch, fairness_json, None if as_json else _fairness_table)


def _fairness_table(market: "ModelMarket") -> "Table":
    rows = [
        (short(each.node), units(each.earned), str(each.capacity) if each.capacity else "unknown")
        for each in market.nodes
    ]
    title = f"Model {short(market.manifest.hex())}: Jain's index {_shown(market)}"
    return make_table(title, ("node", "collected", "tokens x blocks offered"), rows)


def fairness_json(market: "ModelMarket") -> dict[str, object]:
    """For programs: the index exactly, and in parts of 10,000; null where no node told what it can do."""
    from incentives.fairness import in_bps

    index = market.fairness
    nodes = [{"node": each.node, "earned": str(each.earned), "capacity": each.capacity} for each in market.nodes]
    return {
        "manifest": market.manifest.hex(),
        "index": None if index is None else str(index),
        "bps": None if index is None else in_bps(index),
        "nodes": nodes,
    }


def _shown(market: "ModelMarket") -> str:
    from incentives.fairness import AIM

    index = market.fairness
    if index is None:
        return "unknown: no node told what it can do"
    return f"{float(index):.4f}, {'at least' if index >= AIM else 'below'} the {float(AIM):.1f} of a healthy network"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "unknown"
