"""`tally`: the command line. Commands import what they need when they run, so that `--help` is quick."""

import sys

import typer

from incentives.errors import ChainUnavailable, IncentivesError
from node.cli import contracts, dev, markets, money, nodes, plans, runs, scores
from node.cli.output import printable
from node.errors import NodeError
from node.settings import trace_wanted
from sharding.errors import ShardingError
from verification.errors import VerificationError

EXIT_FAILED = 1
EXIT_UNREACHABLE = 3

app = typer.Typer(
    name="tally",
    help="Tallystick: inference over nodes that do not trust each other, paid and settled on a chain.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(nodes.app, name="node", help="Run a node.")
app.add_typer(dev.app, name="dev", help="A local chain to try everything on.")
app.add_typer(contracts.app, name="contracts", help="The contracts.")
app.add_typer(money.channels_app, name="channels", help="The channels that this client opened.")
app.add_typer(money.wallet_app, name="wallet", help="Keystores.")
runs.network_app.command()(markets.prices)
runs.network_app.command()(markets.fairness)
runs.network_app.command()(scores.scores)
app.add_typer(runs.network_app, name="network", help="Who serves what, for how much, and how well.")
app.add_typer(plans.app, name="plan", help="What a batch of jobs would cost, and who would do it.")
app.command()(runs.run)
app.command()(runs.pull)
app.command()(runs.manifest)
app.command()(runs.quantize)
app.command()(money.stake)
app.command()(money.unstake)
app.command()(money.withdraw)
app.command()(money.balance)
app.command()(dev.demo)


def main() -> None:
    """Run a command; what goes wrong becomes one sentence on standard error and an exit status."""
    try:
        app()
    except (NodeError, IncentivesError, ShardingError, VerificationError) as error:
        if trace_wanted():
            raise
        sys.stderr.write(f"error: {printable(str(error))}\n")
        sys.exit(EXIT_UNREACHABLE if isinstance(error, ChainUnavailable) else EXIT_FAILED)
