"""A network for measurements: a chain, node processes with the settings that are asked for, and delay before each where wanted.

Unlike the demo's, its nodes settle seldom and its channels take an hour to close: nodes look at the chain four times within that
delay, and with the demo's one second their looking at every channel would be part of what is measured.
"""

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from benchmarks.delay_proxy import DelayProxy
from incentives.chain import Web3Chain
from incentives.deploy import LOCAL_TESTNET, deploy_suite
from incentives.epochs import Clocks
from incentives.signing import LocalSigner
from incentives.units import ONE
from node.demo import CLIENT_ACCOUNT, CLIENT_TOKENS, await_serving, stake_all
from node.demo_nodes import DEPLOYMENT_FILE, DemoNode, DemoNodes, spawn_nodes, stop_nodes
from node.devchain.constants import CHAIN_ID, HOST
from node.devchain.local import LocalChain
from node.keys import load_keys
from node.network import Network, from_deployment
from node.settings import Profile, load_node_settings
from sharding.span import Span
from sharding.spec import ModelSpec

CLOCKS = Clocks(1_800, 180, 480, 360, 360, 25_200)
"""Long enough that no epoch ends within a run."""
PARAMS = replace(LOCAL_TESTNET, min_stake=100 * ONE, unbonding_s=3600, close_delay_s=3600, clocks=CLOCKS)

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What to bring up: the model's blocks in equal shares over so many nodes, all with the same further settings."""

    model: Path
    stages: int
    profile: Profile = "exact"
    settings: Mapping[str, Value] = field(default_factory=dict)
    """Of node.toml."""
    one_way_seconds: float | None = None
    """Of a proxy before every node, through which everybody dials it; None puts none there."""
    client_accounts: tuple[int, ...] = (CLIENT_ACCOUNT,)
    """Of the chain's test accounts, of which the nodes have those from 1 on."""


@dataclass(frozen=True, slots=True)
class StageNetwork:
    """A network that serves."""

    network: Network
    nodes: DemoNodes
    clients: tuple[LocalSigner, ...]
    chain: str


@contextmanager
def running_stages(plan: StagePlan, folder: Path) -> Iterator[StageNetwork]:
    """Bring everything up in a new folder; it ends with this block. Raises: NodeStartFailed, ChainStartFailed, OSError."""
    folder.mkdir()
    with ExitStack() as stack:
        chain = stack.enter_context(LocalChain("auto"))
        nodes = tuple(
            _prepare(folder, index, _values(plan, span, chain.url, _addresses(plan, stack)))
            for index, span in enumerate(_spans(plan))
        )
        configs = [folder / f"node{index}" / "node.toml" for index in range(len(nodes))]
        supervisor = spawn_nodes(configs, folder / "supervisor.log")
        stack.callback(stop_nodes, supervisor)
        running = DemoNodes(nodes, supervisor)
        network, clients = _deploy(chain.url, folder, plan.client_accounts)
        stake_all(network, nodes)
        await_serving(network, running)
        yield StageNetwork(network, running, clients, chain.kind)


def _spans(plan: StagePlan) -> list[Span]:
    blocks = ModelSpec.from_folder(plan.model).num_blocks
    edges = [index * blocks // plan.stages for index in range(plan.stages + 1)]
    return [Span(start, end) for start, end in pairwise(edges)]


def _addresses(plan: StagePlan, stack: ExitStack) -> dict[str, Value]:
    """Where a node listens and where it is dialled."""
    if plan.one_way_seconds is None:
        return {"listen": f"{HOST}:0"}
    port = _free_port()
    proxy = stack.enter_context(DelayProxy(port, plan.one_way_seconds))
    return {"listen": f"{HOST}:{port}", "endpoint": f"wss://{HOST}:{proxy.listen_port}"}


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


def _values(plan: StagePlan, span: Span, rpc_url: str, addresses: dict[str, Value]) -> dict[str, Value]:
    own = {"model": str(plan.model.resolve()), "profile": plan.profile, "blocks": str(span), "rpc_url": rpc_url}
    return own | addresses | dict(plan.settings)


def _prepare(folder: Path, index: int, values: dict[str, Value]) -> DemoNode:
    home = folder / f"node{index}"
    home.mkdir(mode=0o700)
    owner = LocalSigner.dev_account(index + 1, CHAIN_ID)
    values |= {"owner": owner.address, "deployment": str(folder / DEPLOYMENT_FILE)}
    config = home / "node.toml"
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    settings = load_node_settings(config)
    load_keys(settings)
    return DemoNode(owner, settings)


def _deploy(rpc_url: str, folder: Path, accounts: tuple[int, ...]) -> tuple[Network, tuple[LocalSigner, ...]]:
    """Deploy, write the file that the nodes wait for, and give every client its tokens."""
    chain = Web3Chain(rpc_url)
    deployer = LocalSigner.dev_account(0, chain.chain_id)
    deployment = deploy_suite(chain, deployer, PARAMS)
    deployment.write(folder / DEPLOYMENT_FILE)
    network = from_deployment(chain, deployment)
    clients = tuple(LocalSigner.dev_account(account, chain.chain_id) for account in accounts)
    for client in clients:
        network.token.transfer(deployer, client.address, CLIENT_TOKENS)
    return network, clients
