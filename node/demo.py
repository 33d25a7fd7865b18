"""The whole house once: a chain, contracts, staked node processes, an answer token by token, and where every coin went."""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, NoReturn

from sharding.sampling import SamplingParams

from incentives.chain import Web3Chain
from incentives.deploy import SuiteParams, deploy_suite
from incentives.signing import LocalSigner
from incentives.stakes import sign_consent
from incentives.units import ONE, parse_amount
from node.channel_book import ChannelBook
from node.cli.bills import bill_json, bill_table
from node.cli.output import console, print_json
from node.client_session import Report
from node.demo_report import (
    Holdings,
    Transaction,
    balances_table,
    read_holdings,
    report_json,
    transactions_of,
    transactions_table,
)
from node.devchain.local import LocalChain
from node.errors import NodeStartFailed
from node.generation import ClientModel, Generated, generate_text, model_terms
from node.network import Network, from_deployment
from node.node_process import load_keys
from node.settings import DEFAULT_ASK, NodeSettings, child_environment, load_node_settings
from node.store import Store
from sharding.span import Span
from verification.addresses import Address

CLIENT_ACCOUNT = 9
STAKE = 1_000 * ONE
CLIENT_TOKENS = 100 * ONE
DEMO_PARAMS = SuiteParams(min_stake=100 * ONE, unbonding_s=30, close_delay_s=1)
READY_SECONDS = 60.0
SETTLE_SECONDS = 30.0
POLL_SECONDS = 0.1
GAS_COINS = 10**18


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What the demo does."""

    prompt: str
    max_tokens: int
    nodes: int
    chain: Literal["auto", "anvil", "embedded"]
    model: Path = Path("models/demo")


@dataclass(frozen=True, slots=True)
class DemoNode:
    """One node process of the demo."""

    owner: LocalSigner
    settings: NodeSettings
    process: "subprocess.Popen[bytes]"
    log: Path


def run_demo(plan: DemoPlan, *, as_json: bool) -> None:
    """Run the demo and print what happened; no process is left behind however it ends."""
    signal.signal(signal.SIGTERM, _leave)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tallystick-")))
        chain = stack.enter_context(LocalChain(plan.chain))
        nodes = stack.enter_context(node_processes(plan, folder, chain.url))
        with console.status("deploying contracts, staking nodes", spinner="line"):
            network = deploy_demo(chain.url, folder)
            stake_all(network, nodes)
            await_serving(network, nodes)
        _Demo(plan, folder, network, nodes).run(as_json=as_json)


def _leave(*_: object) -> NoReturn:
    """Unwind on SIGTERM as on Ctrl-C, so that everything that was started is stopped."""
    sys.exit(128 + signal.SIGTERM)


@contextmanager
def node_processes(plan: DemoPlan, folder: Path, rpc_url: str) -> Iterator[tuple[DemoNode, ...]]:
    """Start the node processes; they wait for the deployment and their stake, and end with this block or this process."""
    nodes: list[DemoNode] = []
    try:
        for index, span in enumerate(_spans(plan)):
            nodes.append(_start_node(index, span, plan, folder, rpc_url))
        yield tuple(nodes)
    finally:
        for node in nodes:
            node.process.terminate()
        for node in nodes:
            stop_node(node.process)


def stop_node(process: "subprocess.Popen[bytes]") -> None:
    """Wait for a terminated process, and kill it where it does not end."""
    try:
        process.wait(timeout=5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _spans(plan: DemoPlan) -> list[Span]:
    blocks = model_terms(plan.model).num_blocks
    edges = [index * blocks // plan.nodes for index in range(plan.nodes + 1)]
    return [Span(start, end) for start, end in pairwise(edges)]


def _start_node(index: int, span: Span, plan: DemoPlan, folder: Path, rpc_url: str) -> DemoNode:
    home = folder / f"node{index}"
    home.mkdir(mode=0o700)
    owner = LocalSigner.dev_account(index + 1, 31337)
    ask = parse_amount(DEFAULT_ASK) + index * parse_amount("0.0000001")  # different prices make the split visible
    config = home / "node.toml"
    config.write_text(
        f'model = "{plan.model.resolve()}"\nblocks = "{span}"\nowner = "{owner.address}"\nlisten = "127.0.0.1:0"\n'
        f'ask = "{ask / ONE:.18f}"\nrpc_url = "{rpc_url}"\ndeployment = "{folder / "deployment.json"}"\n'
        "settle_every_seconds = 0.5\n"
    )
    settings, log = load_node_settings(config), home / "node.log"
    load_keys(settings)
    return DemoNode(owner, settings, spawn_node(config, log, settings.threads), log)


def spawn_node(config: Path, log: Path, threads: int, wait_seconds: float = READY_SECONDS) -> "subprocess.Popen[bytes]":
    """Start `tally node start` as a process that ends with this one."""
    command = [
        sys.executable,
        "-m",
        "node",
        "node",
        "start",
        "--config",
        str(config),
        "--wait",
        str(wait_seconds),
        "--watch-stdin",
    ]
    with log.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own command line
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=child_environment(threads),
        )


def deploy_demo(rpc_url: str, folder: Path) -> Network:
    """Deploy the suite with short times, write the file that the nodes wait for, and give the client its tokens."""
    chain = Web3Chain(rpc_url)
    deployer = LocalSigner.dev_account(0, chain.chain_id)
    deployment = deploy_suite(chain, deployer, DEMO_PARAMS)
    deployment.write(folder / "deployment.json")
    network = from_deployment(chain, deployment)
    network.token.transfer(deployer, LocalSigner.dev_account(CLIENT_ACCOUNT, chain.chain_id).address, CLIENT_TOKENS)
    return network


def stake_all(network: Network, nodes: tuple[DemoNode, ...]) -> None:
    """Give every owner a stake and every node key its gas, and join."""
    deployer = LocalSigner.dev_account(0, network.chain.chain_id)
    for node in nodes:
        keys = load_keys(node.settings)
        network.token.transfer(deployer, node.owner.address, STAKE)
        network.chain.transfer_native(node.owner, keys.signer.address, GAS_COINS)
        consent = sign_consent(keys.signer, network.stakes.domain, node.owner.address, keys.identity.peer)
        network.stakes.join_with_permit(node.owner, consent, STAKE)


def await_serving(network: Network, nodes: tuple[DemoNode, ...]) -> None:
    """Wait until every node has announced itself; a node that died says why."""
    owners = {node.owner.address for node in nodes}
    deadline = time.monotonic() + READY_SECONDS
    while not owners <= {each.node for each in network.stakes.announcements()}:
        for node in nodes:
            if node.process.poll() is not None:
                raise NodeStartFailed(node.owner.address, node.log.read_text(errors="replace")[-2000:])
        if time.monotonic() > deadline:
            raise NodeStartFailed("some node", f"not serving within {READY_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


class _Demo:
    """From the prompt to the last coin, on a network that is up."""

    def __init__(self, plan: DemoPlan, folder: Path, network: Network, nodes: tuple[DemoNode, ...]) -> None:
        self._plan = plan
        self._data_dir = folder / "client"
        self._network = network
        self._nodes = nodes
        self._client = LocalSigner.dev_account(CLIENT_ACCOUNT, network.chain.chain_id)

    def run(self, *, as_json: bool) -> None:
        before = self._holdings(None)
        first_block = self._network.chain.head().number + 1
        generated = self._generate(quiet=as_json)
        report = generated.report
        with console.status("nodes settle and collect", spinner="line"):
            self._await_collected(report)
            self._take_back(report)
        after = self._holdings(report)
        transactions = transactions_of(self._network, first_block)
        self._print(generated.text, report, before, after, transactions, as_json)

    def _holdings(self, report: Report | None) -> Holdings:
        names: dict[str, Address] = {"client": self._client.address}
        names |= {f"node {index}": node.owner.address for index, node in enumerate(self._nodes)}
        names["deployer"] = LocalSigner.dev_account(0, self._network.chain.chain_id).address
        return read_holdings(self._network, names, [report.channel] if report else [])

    def _generate(self, *, quiet: bool) -> Generated:
        model = ClientModel.from_folder(self._plan.model)
        request = model.request(self._plan.prompt, SamplingParams(0.0, 0, 1.0, 0), self._plan.max_tokens)
        show = _ignore_piece if quiet else _print_piece
        show(self._plan.prompt)
        generated = asyncio.run(generate_text(self._network, model, self._client, request, self._data_dir, show))
        show("\n\n")
        return generated

    def _await_collected(self, report: Report) -> None:
        """The nodes settle and collect by themselves; wait until nothing is left for any of them."""
        payees, channels = tuple(bill.payee for bill in report.stages), self._network.channels
        _poll(lambda: channels.state(report.channel).settled == report.paid, "settle")
        for index in range(len(payees)):
            _poll(lambda index=index: channels.collectable(payees, index) == 0, "collect")  # type: ignore[misc]

    def _take_back(self, report: Report) -> None:
        """The client closes its channel and takes what was not spent back to its wallet."""
        store = Store(self._data_dir)
        try:
            key = ChannelBook(store, self._network.money_domain).get(report.channel).key
        finally:
            store.close()
        channels = self._network.channels
        channels.close(self._client, key)
        closes_at = channels.state(report.channel).closes_at
        while time.time() <= closes_at:
            time.sleep(POLL_SECONDS)
        channels.reclaim(self._client, key)
        channels.withdraw(self._client, channels.free_of(self._client.address))

    def _print(
        self,
        text: str,
        report: Report,
        before: Holdings,
        after: Holdings,
        transactions: list[Transaction],
        as_json: bool,
    ) -> None:
        if as_json:
            print_json({"text": text, **bill_json(report), **report_json(before, after, transactions)})
            return
        console.print(bill_table(report))
        console.print(transactions_table(transactions))
        console.print(balances_table(before, after))


def _poll(condition: Callable[[], bool], what: str) -> None:
    """Wait for what the nodes do by themselves."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise NodeStartFailed("some node", f"did not {what} within {SETTLE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def _print_piece(piece: str) -> None:
    console.print(piece, end="", markup=False, soft_wrap=True)


def _ignore_piece(piece: str) -> None:
    """For programs the text comes whole, in the JSON object."""
