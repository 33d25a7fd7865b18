"""The whole house once: a chain, contracts, staked node processes, an answer token by token, and where every coin went."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from incentives.chain import Web3Chain
from incentives.channels import PayeeShare
from incentives.deploy import LOCAL_TESTNET, deploy_suite
from incentives.signing import LocalSigner
from incentives.stakes import sign_consent
from incentives.units import ONE, parse_amount
from node.channel_book import ChannelBook
from node.cli.bills import bill_json, bill_table, print_recovery
from node.cli.output import console, print_json, printable
from node.demo_nodes import DEPLOYMENT_FILE, READY_SECONDS, DemoNode, DemoNodes, DemoPlan
from node.demo_report import (
    Holdings,
    Transaction,
    balances_table,
    read_holdings,
    report_json,
    transactions_of,
    transactions_table,
)
from node.demo_strike import Strike
from node.errors import NodeStartFailed
from node.generation import ClientModel, Generated, generate_text
from node.keys import load_keys
from node.lifetime import run_loop
from node.model_folder import resolve_model
from node.network import Network, from_deployment
from node.reports import Recovery, Report
from node.settings import DEFAULT_MAX_PRICE
from node.store import Store
from sharding.sampling import SamplingParams
from verification.addresses import Address

CLIENT_ACCOUNT = 9
STAKE = 1_000 * ONE
CLIENT_TOKENS = 100 * ONE
DEMO_PARAMS = replace(LOCAL_TESTNET, min_stake=100 * ONE, close_delay_s=1, maturity_s=1)
SETTLE_SECONDS = 30.0
POLL_SECONDS = 0.1
GAS_COINS = 10**18
MAX_PRICE = parse_amount(DEFAULT_MAX_PRICE)


def run_on(plan: DemoPlan, folder: Path, rpc_url: str, nodes: DemoNodes, *, as_json: bool) -> None:
    """Deploy, stake, answer, settle and print, on a chain and with node processes that are starting."""
    with console.status("deploying contracts, staking nodes", spinner="line"):
        network = bring_up(folder, rpc_url, nodes)
    _Demo(plan, folder, network, nodes.nodes).run(as_json=as_json)


def bring_up(folder: Path, rpc_url: str, nodes: DemoNodes) -> Network:
    """Deploy, stake and wait until all nodes serve."""
    network = deploy_demo(rpc_url, folder)
    stake_all(network, nodes.nodes)
    await_serving(network, nodes)
    return network


def deploy_demo(rpc_url: str, folder: Path) -> Network:
    """Deploy the suite with short times, write the file that the nodes wait for, and give the client its tokens."""
    chain = Web3Chain(rpc_url)
    deployer = LocalSigner.dev_account(0, chain.chain_id)
    deployment = deploy_suite(chain, deployer, DEMO_PARAMS)
    deployment.write(folder / DEPLOYMENT_FILE)
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


def await_serving(network: Network, nodes: DemoNodes) -> None:
    """Wait until every node has announced itself; a node that died says why."""
    owners = {node.owner.address for node in nodes.nodes}
    deadline = time.monotonic() + READY_SECONDS
    while not owners <= {each.node for each in network.stakes.announcements()}:
        nodes.check_alive()
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
        self._model = ClientModel.from_folder(plan.model, resolve_model(plan.model, plan.profile))
        self._strike = Strike.draw(plan, nodes)

    def run(self, *, as_json: bool) -> None:
        before = self._holdings(None)
        first_block = self._network.chain.head().number + 1
        generated = self._generate(quiet=as_json)
        report = generated.report
        if self._strike is not None:
            self._strike.await_restarted()
        with console.status("nodes settle and collect", spinner="line"):
            self._await_collected(report)
            self._take_back(report)
        after = self._holdings(report)
        transactions = transactions_of(self._network, first_block)
        self._print(generated.text, report, before, after, transactions, as_json)

    def _holdings(self, report: Report | None) -> Holdings:
        names: dict[str, Address] = {"client": self._client.address}
        names |= {f"node {index}": node.owner.address for index, node in enumerate(self._nodes)}
        names["audit pool"] = self._network.pool
        names["deployer"] = LocalSigner.dev_account(0, self._network.chain.chain_id).address
        return read_holdings(self._network, names, [each.channel for each in report.channels] if report else [])

    def _generate(self, *, quiet: bool) -> Generated:
        model = self._model
        request = model.request(self._plan.prompt, SamplingParams(0.0, 0, 1.0, 0), self._plan.max_tokens, MAX_PRICE)
        show = _ignore_piece if quiet else _print_piece
        show(self._plan.prompt)
        heard = _ignore_recovery if quiet else print_recovery
        if self._strike is not None and not quiet:
            console.print(f"[dim]{self._strike}[/dim]")
        watch = self._strike.watch if self._strike is not None else None
        generated = run_loop(
            generate_text(self._network, model, self._client, request, self._data_dir, show, heard, watch)
        )
        show("\n\n")
        return generated

    def _await_collected(self, report: Report) -> None:
        """The nodes settle and collect by themselves; wait until nothing is left for any of them.

        Nodes collect for the audit pool when it is worth an epoch's reward; here the client does, as anybody may.
        """
        channels = self._network.channels
        for bill in report.channels:
            _poll(partial(lambda bill: channels.state(bill.channel).settled == bill.promised, bill), "settle")
            *stages, pool = range(len(bill.payees))
            for index in stages:
                _poll(
                    partial(lambda payees, index: is_paid_out(channels.share(payees, index)), bill.payees, index),
                    "collect",
                )
            if channels.collectable(bill.payees, pool):  # as ripe as theirs
                channels.collect(self._client, bill.payees, pool)

    def _take_back(self, report: Report) -> None:
        """The client closes its channels and takes what was not spent back to its wallet."""
        store = Store(self._data_dir)
        try:
            book = ChannelBook(store, self._network.money_domain)
            keys = [book.get(bill.channel).key for bill in report.channels]
        finally:
            store.close()
        channels = self._network.channels
        for key in keys:
            channels.close(self._client, key)
        closes_at = max(channels.state(bill.channel).closes_at for bill in report.channels)
        while time.time() <= closes_at:
            time.sleep(POLL_SECONDS)
        for key in keys:
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
        profile = self._model.terms.profile
        if as_json:
            struck = {} if self._strike is None else {"strike": self._strike.as_json()}
            print_json(
                {"text": text, **bill_json(report, profile), **struck, **report_json(before, after, transactions)}
            )
            return
        console.print(bill_table(report, profile))
        console.print(transactions_table(transactions))
        console.print(balances_table(before, after))


def is_paid_out(share: PayeeShare) -> bool:
    """Nothing is left, nor will more be ripe."""
    return share.collectable == share.ripening == 0


def _poll(condition: Callable[[], bool], what: str) -> None:
    """Wait for what the nodes do by themselves."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise NodeStartFailed("some node", f"did not {what} within {SETTLE_SECONDS:.0f} s")
        time.sleep(POLL_SECONDS)


def _print_piece(piece: str) -> None:
    console.print(printable(piece), end="", markup=False, soft_wrap=True)


def _ignore_recovery(recovery: Recovery) -> None:
    """Programs find it in the JSON object."""


def _ignore_piece(piece: str) -> None:
    """For programs the text comes whole, in the JSON object."""
