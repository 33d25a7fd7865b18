"""The demo's node processes. Imports no engine and no client, so that the processes start before this one is ready to use them."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Literal

from incentives.signing import LocalSigner
from incentives.units import format_amount, parse_amount
from node.errors import NodeStartFailed
from node.keys import load_keys, running_pid
from node.log import LOG_FILE
from node.settings import DEFAULT_ASK, DEFAULT_MODELS, NodeSettings, Profile, child_environment, load_node_settings
from sharding.span import Span
from sharding.spec import ModelSpec

DEPLOYMENT_FILE = "deployment.json"
READY_SECONDS = 60.0
STOP_SECONDS = 5.0
ASK_STEP = "0.0000001"
"""Each node asks a little more than the one before: the shares in the bill differ, so that a mix-up would show."""


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demo does."""

    prompt: str
    max_tokens: int
    nodes: int
    chain: Literal["auto", "anvil", "embedded"]
    model: Path = DEFAULT_MODELS["exact"]
    profile: Profile = "exact"
    spares: int = 0
    """Further nodes, for the first spans again; the chain's accounts are enough for eight nodes in all."""
    strike_seed: int | None = None
    """Picks the stage that is killed in mid-answer, and when; None kills none."""
    restart: bool = False
    """Start a node again that dies."""
    settings: Mapping[str, int | float | bool] = field(default_factory=dict)
    """Of node.toml, beyond what a demo needs."""


@dataclass(frozen=True, slots=True)
class DemoNode:
    """One node process of the demo."""

    owner: LocalSigner
    settings: NodeSettings

    def check_alive(self, supervisor: "subprocess.Popen[bytes]") -> None:
        """Raises: NodeStartFailed with the end of the log when the process is gone."""
        log = self.settings.data_dir / LOG_FILE
        text = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        if supervisor.poll() is not None or "error:" in text:
            raise NodeStartFailed(self.owner.address, text or "its process ended")

    @property
    def pid(self) -> int | None:
        """Its process, once it serves."""
        return running_pid(self.settings.data_dir)


@dataclass(frozen=True, slots=True)
class DemoNodes:
    """All of them, and the process that forked them."""

    nodes: tuple[DemoNode, ...]
    supervisor: "subprocess.Popen[bytes]"

    def check_alive(self) -> None:
        """Raises: NodeStartFailed."""
        for node in self.nodes:
            node.check_alive(self.supervisor)


@contextmanager
def node_processes(plan: DemoPlan, folder: Path, rpc_url: str) -> Iterator[DemoNodes]:
    """Start the node processes; they wait for the deployment and their stake, and end with this block or this process."""
    nodes = tuple(_prepare(index, span, plan, folder, rpc_url) for index, span in enumerate(_spans(plan)))
    configs = [folder / f"node{index}" / "node.toml" for index in range(len(nodes))]
    supervisor = spawn_nodes(configs, folder / "supervisor.log", restart=plan.restart)
    try:
        yield DemoNodes(nodes, supervisor)
    finally:
        stop_nodes(supervisor)


def spawn_nodes(
    configs: list[Path], log: Path, threads: int = 1, *, restart: bool = False
) -> "subprocess.Popen[bytes]":
    """`tally node start` for all configurations, as a process that ends with this one."""
    options = [option for config in configs for option in ("--config", str(config))]
    command = [sys.executable, "-m", "node", "node", "start", *options, "--wait", str(READY_SECONDS), "--watch-stdin"]
    command += ["--restart"] if restart else []
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own command line
            command, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True,
            env=child_environment(threads),
        )  # fmt: skip


def stop_nodes(supervisor: "subprocess.Popen[bytes]") -> None:
    """End the supervisor and with it its nodes; kill what does not end."""
    if supervisor.stdin is not None:
        supervisor.stdin.close()
    try:
        supervisor.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()


def _spans(plan: DemoPlan) -> list[Span]:
    blocks = ModelSpec.from_folder(plan.model).num_blocks
    edges = [index * blocks // plan.nodes for index in range(plan.nodes + 1)]
    spans = [Span(start, end) for start, end in pairwise(edges)]
    return [*spans, *spans[: plan.spares]]


def _prepare(index: int, span: Span, plan: DemoPlan, folder: Path, rpc_url: str) -> DemoNode:
    home = folder / f"node{index}"
    home.mkdir(mode=0o700)
    owner = LocalSigner.dev_account(index + 1, 31337)
    values = {
        "model": str(plan.model.resolve()),
        "profile": plan.profile,
        "blocks": str(span),
        "owner": owner.address,
        "listen": "127.0.0.1:0",
        "ask": format_amount(parse_amount(DEFAULT_ASK) + index * parse_amount(ASK_STEP)),
        "rpc_url": rpc_url,
        "deployment": str(folder / DEPLOYMENT_FILE),
    }
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in (values | dict(plan.settings)).items()]
    config = home / "node.toml"
    config.write_text("".join(lines) + 'settle_every_seconds = 0.5\ncollect_at_least = "0"\n')  # every coin is shown
    settings = load_node_settings(config)
    load_keys(settings)
    return DemoNode(owner, settings)
