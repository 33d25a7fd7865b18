"""Bills and balances as tables and JSON: what a run cost, to whom, and that no unit is missing."""

from rich.table import Table

from node.cli.output import make_table, short, units
from node.client_session import Report


def bill_table(report: Report, profile: str) -> Table:
    """The route with what each stage earns; profile: the numbers that it was computed in."""
    rows = [
        (
            str(index),
            short(bill.payee.node),
            bill.blocks,
            units(bill.ask),
            f"{bill.payee.weight_bps / 100:.2f} %",
            units(bill.amount),
        )
        for index, bill in enumerate(report.stages)
    ]
    title = (
        f"{len(report.tokens)} tokens in profile {profile}, {report.tokens_per_second:.1f} tokens/s,"
        f" first after {report.first_token_seconds:.2f} s, bill {units(report.paid)}"
    )
    return make_table(title, ("stage", "node", "blocks", "ask per token and block", "share", "earns"), rows)


def bill_json(report: Report, profile: str) -> dict[str, object]:
    """The same for programs; amounts as text in the smallest unit."""
    stages = [
        {
            "node": b.payee.node,
            "blocks": b.blocks,
            "ask": str(b.ask),
            "weightBps": b.payee.weight_bps,
            "amount": str(b.amount),
        }
        for b in report.stages
    ]
    return {
        "tokens": list(report.tokens),
        "promptTokens": report.prompt_tokens,
        "profile": profile,
        "tokensPerSecond": round(report.tokens_per_second, 2),
        "paid": str(report.paid),
        "channel": "0x" + report.channel.hex(),
        "route": stages,
    }
