"""Bills and balances as tables and JSON: what a run cost, to whom, and that no unit is missing."""

from rich.table import Table

from incentives.payees import POOL_BPS
from node.cli.output import console, make_table, short, units
from node.reports import Recovery, Report


def bill_table(report: Report, profile: str) -> Table:
    """The route with what each stage earns; profile: the numbers that it was computed in."""
    several = len({bill.route for bill in report.stages}) > 1
    rows = [
        (
            f"{bill.route}.{bill.stage}" if several else str(bill.stage),
            short(bill.payee.node),
            bill.blocks,
            units(bill.ask),
            f"{bill.payee.weight_bps / 100:.2f} %",
            units(bill.amount),
        )
        for bill in report.stages
    ]
    rows.append(("", "audit pool", "", "", f"{POOL_BPS / 100:.2f} %", units(report.pool)))
    title = (
        f"{len(report.tokens)} tokens in profile {profile}, {report.tokens_per_second:.1f} tokens/s,"
        f" first after {report.first_token_seconds:.2f} s, bill {units(report.paid)}"
    )
    if report.recoveries:
        replayed = sum(each.replayed for each in report.recoveries)
        title += f", {replayed} tokens replayed at the prompt's price"
    return make_table(
        title,
        ("route.stage" if several else "stage", "node", "blocks", "ask per token and block", "share", "earns"),
        rows,
    )


def bill_json(report: Report, profile: str) -> dict[str, object]:
    """The same for programs; amounts as text in the smallest unit."""
    stages = [
        {
            "node": b.payee.node,
            "blocks": b.blocks,
            "ask": str(b.ask),
            "weightBps": b.payee.weight_bps,
            "amount": str(b.amount),
            "route": b.route,
        }
        for b in report.stages
    ]
    return {
        "tokens": list(report.tokens),
        "promptTokens": report.prompt_tokens,
        "profile": profile,
        "tokensPerSecond": round(report.tokens_per_second, 2),
        "paid": str(report.paid),
        "auditPool": str(report.pool),
        "channel": "0x" + report.channel.hex(),
        "channels": ["0x" + each.channel.hex() for each in report.channels],
        "reused": report.reused,
        "recoveries": [
            {
                "stage": r.stage,
                "node": r.node,
                "reason": r.reason,
                "replacement": r.replacement,
                "replayedTokens": r.replayed,
                "seconds": round(r.seconds, 3),
            }
            for r in report.recoveries
        ],
        "route": stages,
    }


def recovery_line(recovery: Recovery) -> str:
    """What a user sees of a lost stage."""
    replayed = f"{recovery.replayed} tokens replayed on node {short(recovery.replacement)}"
    return f"stage {recovery.stage} lost, {replayed} in {recovery.seconds:.1f} s"


def print_recovery(recovery: Recovery) -> None:
    """In the middle of the text, where it happened."""
    console.print(f"\n[dim]{recovery_line(recovery)}[/dim]", highlight=False)
