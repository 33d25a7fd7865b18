"""`tally dev`: the local chain; `tally demo`: everything at once."""

import json
import os
import secrets
import signal
import tempfile
import time
from pathlib import Path
from typing import Annotated, Literal

import psutil
import typer

from node.cli.options import DeploymentOption, ProfileOption, RpcOption, load_network, load_signer
from node.cli.output import console
from node.demo_nodes import DemoPlan, node_processes
from node.devchain.local import LocalChain
from node.errors import SettingsError
from node.keys import recorded_process
from node.settings import DEFAULT_MODELS, load_client_settings

app = typer.Typer(no_args_is_help=True)

PID_FILE = Path(".tally/chain.pid")
LOG_FILE = Path(".tally/chain.log")
STOP_SECONDS = 10.0
MAX_DEMO_NODES = 8
"""The chain has accounts for so many owners."""


@app.command()
def up(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 chooses a free one.")] = 8545,
    kind: Annotated[
        Literal["auto", "anvil", "embedded"], typer.Option(help="auto: anvil if it is installed.")
    ] = "auto",
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once it answers; `tally dev down` stops it.")
    ] = False,
) -> None:
    """Start a local chain (id 31337) with the ten usual test accounts."""
    if detach:
        PID_FILE.parent.mkdir(parents=True, exist_ok=True)
    chain = LocalChain(kind, port, anvil=load_client_settings().anvil, detach=detach, log=LOG_FILE if detach else None)
    if detach:
        chain.start()
        PID_FILE.write_text(json.dumps({"pid": chain.pid, "created": psutil.Process(chain.pid).create_time()}))
        console.print(f"{chain.kind} chain 31337 at {chain.url} (process {chain.pid}); stop it with `tally dev down`")
        return
    with chain:
        console.print(f"{chain.kind} chain 31337 at {chain.url}; Ctrl-C stops it")
        _wait_for_signal()


def _wait_for_signal() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    while True:
        signal.pause()


def _leave(*_: object) -> None:
    raise typer.Exit


def _abort(*_: object) -> None:
    raise typer.Exit(128 + signal.SIGTERM)


@app.command()
def down() -> None:
    """Stop the chain that `tally dev up --detach` started from this folder."""
    pid = recorded_process(PID_FILE)
    if pid is None:
        PID_FILE.unlink(missing_ok=True)
        raise SettingsError(PID_FILE, "names no running chain; nothing to stop")
    stop_process(pid)
    PID_FILE.unlink(missing_ok=True)
    console.print(f"stopped the chain (process {pid})")


def stop_process(pid: int) -> None:
    """Ask a process to end, then make it."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            deadline += STOP_SECONDS
        time.sleep(0.02)


@app.command()
def fund(
    addresses: Annotated[
        list[str] | None, typer.Argument(help="Who gets tokens; without it all ten test accounts.")
    ] = None,
    amount: Annotated[str, typer.Option(help="Test tokens for each.")] = "1000000",
    rpc: RpcOption = None,
    deployment: DeploymentOption = None,
) -> None:
    """Send test tokens from account 0 of the local chain."""
    from incentives.signing import dev_addresses
    from incentives.units import parse_amount
    from verification.addresses import to_address

    network = load_network(rpc, deployment)
    giver = load_signer(network.chain.chain_id, 0, None, None)
    targets = [to_address(address) for address in addresses or dev_addresses() if address != giver.address]
    for target in targets:
        network.token.transfer(giver, target, parse_amount(amount))
    console.print(f"sent {amount} test tokens to each of {len(targets)} accounts")


def demo(
    prompt: Annotated[str, typer.Option(help="What the model continues.")] = "ROMEO:\n",
    max_tokens: Annotated[int, typer.Option(min=1, max=400)] = 80,
    nodes: Annotated[int, typer.Option(min=1, max=8, help="Node processes.")] = 4,
    chain: Annotated[Literal["auto", "anvil", "embedded"], typer.Option(help="Which local chain.")] = "embedded",
    profile: ProfileOption = None,
    kill: Annotated[bool, typer.Option("--kill/--no-kill", help="Kill a stage in mid-answer.")] = True,
    seed: Annotated[int | None, typer.Option(min=0, help="Picks the stage and the moment; drawn if not given.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Bring up a chain, contracts and nodes, answer a prompt, lose a stage on the way, pay and show every coin."""
    signal.signal(signal.SIGTERM, _abort)  # unwind as on Ctrl-C: everything that was started is stopped
    profile = profile or load_client_settings().profile
    spares = min(nodes, MAX_DEMO_NODES - nodes) if kill else 0
    strike_seed = (secrets.randbelow(1_000_000) if seed is None else seed) if spares else None
    plan = DemoPlan(
        prompt, max_tokens, nodes, chain, DEFAULT_MODELS[profile], profile, spares, strike_seed, restart=spares > 0
    )
    with (
        tempfile.TemporaryDirectory(prefix="tallystick-") as folder,
        LocalChain(chain) as local,
        node_processes(plan, Path(folder), local.url) as processes,
    ):
        from node.demo import run_on  # imports the engine's libraries while the nodes do the same

        run_on(plan, Path(folder), local.url, processes, as_json=as_json)
