"""`tally network scores`: how far each node can be relied upon, by the root that counts."""

from typing import TYPE_CHECKING

from node.cli.options import DeploymentOption, JsonOption, RpcOption, load_network
from node.cli.output import console, make_table, print_json, short, units

if TYPE_CHECKING:
    from node.score_view import NodeScore, ScoreView

Q16 = 1 << 16


def scores(rpc: RpcOption = None, deployment: DeploymentOption = None, as_json: JsonOption = False) -> None:
    """Show how far each node can be relied upon, by the newest root of scores that counts."""
    from node.score_view import view_scores

    view = view_scores(load_network(rpc, deployment))
    if as_json:
        print_json(view.as_json())
    elif view.posting is None:
        console.print(f"epoch {view.epoch}: no root of scores counts yet")
    elif view.scores is None:
        console.print(
            f"epoch {view.epoch}: {root_text(view)} counts, and its leaves are not what the chain's events say"
        )
    else:
        columns = ("node", "score", "sound work", "failed", "quality", "tickets")
        rows = [_row(each) for each in view.scores]
        console.print(make_table(f"Epoch {view.epoch}, {root_text(view)}", columns, rows))


def root_text(view: "ScoreView") -> str:
    """The root that counts, shortly."""
    return "-" if view.posting is None else f"root {short(view.posting.root.hex())} of epoch {view.posting.epoch}"


def score_text(score: "NodeScore | None") -> str:
    """In per cent."""
    return "-" if score is None else f"{score.score / 100:.2f} %"


def _row(each: "NodeScore") -> tuple[str, ...]:
    quality = f"{each.quality / 100:.2f} %" if each.quality else "-"
    return (
        short(each.node),
        score_text(each),
        f"{each.good / Q16:.2f}",
        f"{each.bad / Q16:.2f}",
        quality,
        units(each.tickets),
    )
