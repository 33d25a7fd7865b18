"""`tally node`: set up, start, look at and stop a node."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from incentives.signing import LocalSigner
from node.cli.dev import stop_process
from node.cli.options import (
    ConfigOption,
    DevAccountOption,
    JsonOption,
    ProfileOption,
    RpcOption,
    with_resolved_model,
)
from node.cli.output import console, make_table, print_json, short, units
from node.errors import SettingsError
from node.keys import load_keys, running_pid
from node.log import LOG_FILE
from node.model_folder import check_profile
from node.setting_texts import AUTO
from node.settings import (
    DEFAULT_ASK,
    DEFAULT_MODELS,
    DEFAULT_RPC_URL,
    NodeSettings,
    child_environment,
    load_client_settings,
    load_node_settings,
)
from sharding.span import parse_spans
from sharding.spec import ModelSpec
from verification.addresses import to_address

if TYPE_CHECKING:
    from node.node_process import Serving

app = typer.Typer(no_args_is_help=True)

START_SECONDS = 60.0
POLL_SECONDS = 0.05


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where the node lives: node.toml and its data.")],
    blocks: Annotated[
        str,
        typer.Option(help="Half-open span of blocks, such as 0:4, or several: 0:4,8:12; auto: the node finds its own."),
    ],
    model: Annotated[
        Path | None,
        typer.Option(help="Folder of the model, exact or from Hugging Face.", show_default="the demo model's"),
    ] = None,
    profile: ProfileOption = None,
    memory_megabytes: Annotated[int, typer.Option(min=0, help="With auto: memory for weights and caches.")] = 0,
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 chooses one.")] = "127.0.0.1:0",
    ask: Annotated[
        str, typer.Option(help="Tokens per model token and block; auto: it follows how busy the node is.")
    ] = DEFAULT_ASK,
    rpc: RpcOption = None,
    deployment: Annotated[Path, typer.Option()] = Path("deployments/31337.json"),
    owner: Annotated[str | None, typer.Option(help="The cold address that stakes and is paid.")] = None,
    dev_account: DevAccountOption = None,
) -> None:
    """Write node.toml and make the node's keys."""
    path = folder / "node.toml"
    if path.exists():
        raise SettingsError(path, "exists already; edit it, or choose another folder")
    profile = profile or load_client_settings().profile
    model = model or DEFAULT_MODELS[profile]
    check_profile(model, profile)
    values: dict[str, str | int | list[str]] = {
        "model": model.resolve().as_posix(),
        "profile": profile,
        "blocks": _checked(blocks, ModelSpec.from_folder(model)),
        "owner": _owner(owner, dev_account),
        "listen": listen,
        "ask": ask,
        "rpc_url": rpc or [DEFAULT_RPC_URL],
        "deployment": deployment.resolve().as_posix(),
    }
    if memory_megabytes:
        values["memory_megabytes"] = memory_megabytes
    _write_config(path, values)
    keys = load_keys(load_node_settings(path))
    console.print(f"wrote {path}; node key {keys.signer.address}")
    console.print(f"next: `tally stake AMOUNT --config {path}`, then `tally node start --config {path}`")


def _checked(blocks: str, spec: ModelSpec) -> str:
    """The spans as node.toml has them. Raises: SpanError where the model has no such blocks."""
    if blocks == AUTO:
        return blocks
    spans = parse_spans(blocks)
    spans[-1].within(spec.num_blocks)
    return ",".join(map(str, spans))


def _write_config(path: Path, values: dict[str, str | int | list[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".toml.new")
    draft.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    load_node_settings(draft)  # names what is wrong before anything is in the way of a second try
    draft.replace(path)


def _owner(owner: str | None, dev_account: int | None) -> str:
    if owner is not None:
        return to_address(owner)
    if dev_account is None:
        raise SettingsError("--owner", "name the address that stakes, or --dev-account N on the local chain")
    return LocalSigner.dev_account(dev_account, 31337).address


@app.command()
def start(
    configs: Annotated[list[Path], typer.Option("--config", help="Configuration file; several start several nodes.")],
    wait: Annotated[float, typer.Option(min=0, max=600, help="Seconds to wait for the chain and the stake.")] = 0.0,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return once it serves; `tally node stop` stops it.")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="With several configurations: start a node again that has died.")
    ] = False,
    watch_stdin: Annotated[bool, typer.Option("--watch-stdin", hidden=True)] = False,
) -> None:
    """Serve the node's blocks until SIGTERM or Ctrl-C."""
    nodes = [with_resolved_model(load_node_settings(config)) for config in configs]
    if detach:
        started = [_spawn_detached(config, settings, wait) for config, settings in zip(configs, nodes, strict=True)]
        for process, settings in zip(started, nodes, strict=True):
            _await_ready(process, settings.data_dir, START_SECONDS + wait)
    elif len(nodes) > 1 or restart:
        from node.supervisor import run_nodes

        raise typer.Exit(run_nodes(nodes, wait, watch_stdin=watch_stdin, restart=restart))
    else:
        _serve(nodes[0], wait, watch_stdin)


def _serve(settings: NodeSettings, wait: float, watch_stdin: bool) -> None:
    from node.lifetime import drain_event, run_loop, stop_event
    from node.log import configure_logging
    from node.node_process import run_node

    configure_logging()

    async def serve() -> None:
        stop, drain = stop_event(watch_stdin=watch_stdin), drain_event()
        await run_node(settings, stop, wait, _ready, drain)

    run_loop(serve())


def _ready(serving: "Serving") -> None:
    from node.lifetime import freeze_heap

    freeze_heap()
    console.print(f"serving blocks {serving.blocks} in profile {serving.profile} at {serving.endpoint}", soft_wrap=True)


def _spawn_detached(config: Path, settings: NodeSettings, wait: float) -> "subprocess.Popen[bytes]":
    running = running_pid(settings.data_dir)
    if running is not None:
        raise SettingsError(config, f"the node runs already (process {running})")
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    command = [sys.executable, "-m", "node", "node", "start", "--config", str(config), "--wait", str(wait)]
    with (settings.data_dir / LOG_FILE).open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own command line
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            env=child_environment(settings.threads),
        )  # fmt: skip


def _await_ready(process: "subprocess.Popen[bytes]", data_dir: Path, seconds: float) -> None:
    log = data_dir / LOG_FILE
    deadline = time.monotonic() + seconds
    while running_pid(data_dir) != process.pid:
        if process.poll() is not None:
            raise SettingsError(log, f"the node ended: {_last_line(log)}")
        if time.monotonic() > deadline:
            process.terminate()
            raise SettingsError(log, f"the node did not serve within {seconds:.0f} s; its log is there")
        time.sleep(POLL_SECONDS)
    console.print(f"node serves (process {process.pid}, log {log}); stop it with `tally node stop`")


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "its log is empty"


@app.command()
def stop(config: ConfigOption) -> None:
    """Stop a node that runs from this configuration."""
    pid = running_pid(load_node_settings(config).data_dir)
    if pid is None:
        raise SettingsError(config, "no node runs from it")
    stop_process(pid)
    console.print(f"stopped the node (process {pid})")


@app.command()
def drain(
    config: ConfigOption,
    grace: Annotated[float, typer.Option(min=0, max=86_400, help="Seconds in which sessions may finish here.")] = 30.0,
    timeout: Annotated[float, typer.Option(min=1, max=86_400, help="Seconds until this command gives up.")] = 600.0,
    as_json: JsonOption = False,
) -> None:
    """Have a running node leave: it takes no new sessions, finishes or hands over those it has, and ends. None is lost."""
    from node.draining import ask_to_drain, await_drained

    folder = load_node_settings(config).data_dir
    pid = running_pid(folder)
    if pid is None:
        raise SettingsError(config, "no node runs from it")
    ask_to_drain(folder, pid, grace)
    with console.status("the node finishes its sessions", spinner="line") as shown:
        await_drained(folder, pid, timeout, lambda left: shown.update(f"{left} sessions are left"))
    if as_json:
        print_json({"drained": True, "pid": pid})
    else:
        console.print(f"the node has left (process {pid}); no session was lost")


@app.command()
def status(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Show whether the node runs, what is staked behind it, what it has earned and not collected, and its score."""
    from node.cli.scores import root_text, score_text
    from node.money_view import node_status
    from node.network import connect_node
    from node.score_view import view_scores

    settings = load_node_settings(config)
    with console.status("asking the chain", spinner="line"):
        network = connect_node(settings)
        view, scores = node_status(settings, network), view_scores(network)
    own = scores.of(to_address(settings.owner))
    if as_json:
        told = scores.as_json() | {"score": None if own is None else own.as_json()}
        print_json(view.as_json() | {key: told[key] for key in ("epoch", "root", "score")})
        return
    rows = [
        ("process", str(view.pid) if view.pid else "not running"),
        ("owner", view.owner),
        ("signer", view.signer),
        ("blocks", view.blocks),
        ("profile", view.profile),
        ("endpoint", view.endpoint or "-"),
        ("staked", units(view.bonded)),
        ("leaving", units(view.exiting)),
        ("held in vouchers, whole routes", units(view.held)),
        ("collectable now", units(view.collectable)),
        ("epoch", str(scores.epoch)),
        ("scores that count", root_text(scores)),
        ("own score", score_text(own)),
        ("settled, not ripe", units(view.ripening)),
        ("transactions under way", ", ".join(f"{each.key[:30]} {each.state}" for each in view.sending) or "none"),
    ]
    console.print(make_table(f"Node {short(view.owner)}", ("what", "value"), rows))
    columns = ("endpoint of the chain", "newest block", "age", "latency", "state")
    console.print(make_table("Endpoints", columns, [each.row() for each in view.endpoints]))


@app.command()
def collect(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Settle every voucher on disk and collect this node's shares now. The node must not be running."""
    from node.money_view import collect_now

    done = collect_now(load_node_settings(config))
    if as_json:
        print_json(
            [{"kind": d.kind, "amount": str(d.amount), "gas": d.gas_used, "tx": "0x" + d.tx_hash.hex()} for d in done]
        )
        return
    rows = [(d.kind, units(d.amount), str(d.gas_used), short("0x" + d.tx_hash.hex())) for d in done]
    console.print(
        make_table("Settled and collected", ("what", "amount", "gas", "transaction"), rows)
        if rows
        else "nothing to collect"
    )
