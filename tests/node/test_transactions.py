"""A node's recorded transactions on a real chain: whatever ends the process or an endpoint, one settlement is sent once."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from incentives.chain import Web3Chain
from incentives.client_errors import ClientLocked, ClientStoreError
from incentives.errors import ChainUnavailable
from incentives.payees import payee_words, payees_for, payees_hash
from incentives.signing import LocalSigner
from incentives.tx_chain import PoolTxChain
from incentives.tx_fees import GWEI, FeePolicy, SenderPolicy
from incentives.tx_sender import TxSender
from incentives.tx_states import Inclusion, Job, TxState, Wanted
from incentives.tx_store import TxStore
from incentives.units import ONE
from incentives.vouchers import ChannelKey, sign_voucher
from node.keys import load_keys
from node.ledger import Ledger
from node.money_view import collect_now
from node.network import Network, connect_node
from node.settings import NodeSettings
from node.settlement import Settled, Settlement
from node.store import Store
from node.transactions import Wishes, keep_ticking, open_record, sender_policy, waiting_transactions
from tests.conftest import ask
from tests.incentives.fake_rpc import replying
from tests.node.chain_proxy import ChainProxy, proxying
from tests.node.swarm import deploy_network

ROOT = Path(__file__).resolve().parents[2]
CLIENT, OWNER = (LocalSigner.dev_account(index, 31337) for index in (9, 1))
PAYEES = payees_for([(OWNER.address, 1)])
WORK = b"\x77" * 32


class Killed(BaseException):
    """The process is no more."""


@pytest.fixture(scope="module")
def network(embedded_url: str) -> Network:
    """A deployed suite."""
    return deploy_network(embedded_url)


RIPE_S = 10
"""Longer than two windows."""


@dataclass
class Node:
    """A node that holds a voucher for 400 of 1,000 locked; its key has gas money."""

    settings: NodeSettings
    network: Network
    channel: ChannelKey
    first_block: int

    @property
    def signer(self) -> LocalSigner:
        """Its key."""
        return load_keys(self.settings).signer

    def life(self, *urls: str, at_once: bool = True) -> list[Settled]:
        """What a process does: open the record, settle, collect once it is ripe, close it."""
        settings = self.settings.model_copy(update={"rpc_url": ",".join(urls or self.settings.chain_urls)})
        network = connect_node(settings)
        store, sender = Store(settings.data_dir), open_record(network, self.signer, settings)
        try:
            wishes = Wishes(sender.recorded)
            money = Settlement(network, Ledger(store), self.signer, wishes=wishes)
            done = money.round(at_once=at_once)
            for method, params in (("evm_increaseTime", [RIPE_S]), ("evm_mine", [])):
                ask(self.network.chain.url, method, *params)
            return [*done, *money.round(at_once=at_once)]
        finally:
            sender.close()
            store.close()

    def settlements(self) -> int:
        """How often the channel was settled, by the chain's own word."""
        channel = self.channel.id(self.network.money_domain)
        events = self.network.chain.events(self.network.channels.contract, "Settled", self.first_block)
        return sum(event.args["channel"] == channel for event in events)

    def received(self) -> int:
        """What the owner was paid from the pot."""
        contract = self.network.channels.contract
        events = self.network.chain.events(contract, "Collected", self.first_block)
        return sum(event.args["amount"] for event in events)


@pytest.fixture
def node(network: Network, embedded_snapshot: str, tmp_path: Path) -> Node:
    """On the embedded chain; what the test does to the chain is undone."""
    path = tmp_path / "deployment.json"
    network.deployment.write(path)
    settings = NodeSettings(
        model=tmp_path, blocks="0:1", owner=OWNER.address, rpc_url=embedded_snapshot, deployment=path,
        data_dir=tmp_path / "data",
    )  # fmt: skip
    keys = load_keys(settings)
    network.chain.transfer_native(OWNER, keys.signer.address, ONE)
    channel = ChannelKey(CLIENT.address, CLIENT.address, payees_hash(PAYEES), b"\x05" * 32)
    first = network.channels.fund(CLIENT, channel, 1_000).block
    store = Store(settings.data_dir)
    ledger = Ledger(store)
    ledger.open_channel(channel.id(network.money_domain), channel, payee_words(PAYEES), 0)
    ledger.hold_voucher(sign_voucher(CLIENT, network.money_domain, channel, 400, WORK))
    store.close()
    return Node(settings, network, channel, first)


def killed_at(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """The next transaction ends the process before or after it is offered."""
    offer = PoolTxChain.offer

    def dying(self: PoolTxChain, raw: bytes, *, everywhere: bool = False) -> Any:
        if moment == "after":
            offer(self, raw, everywhere=everywhere)
        raise Killed

    monkeypatch.setattr(PoolTxChain, "offer", dying)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_process_that_ends_around_the_offer_settles_once(
    node: Node, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one goes on with the same bytes before it looks at its vouchers, and then collects."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, moment)
        node.life()
    assert node.settlements() == (moment == "after")

    assert [each.kind for each in node.life()] == ["collect"]
    assert (node.settlements(), node.received()) == (1, 400)
    assert node.life() == []


def test_the_wish_itself_finds_what_was_begun(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first look after the start found no chain."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, "before")
        node.life()
    monkeypatch.setattr(TxSender, "tick", _down)

    assert [(each.kind, each.amount) for each in node.life()] == [("settle", 400), ("collect", 400)]
    assert node.settlements() == 1


def _down(_sender: TxSender) -> list[Job]:
    raise ChainUnavailable("http://chain.test", "down")


def test_a_killed_command_leaves_its_transaction_to_the_next_one(node: Node, tmp_path: Path) -> None:
    """SIGKILL between the signature and the chain: the bytes that the chain never saw are those that are mined."""
    offered: list[str] = []
    with proxying(node.settings.rpc_url) as proxy:
        config = tmp_path / "node.toml"
        values = {"model": str(tmp_path), "blocks": "0:1", "owner": OWNER.address, "rpc_url": proxy.url,
                  "deployment": "deployment.json", "data_dir": "data"}  # fmt: skip
        config.write_text("".join(f'{key} = "{value}"\n' for key, value in values.items()))
        command = [sys.executable, "-m", "node", "node", "collect", "--config", str(config)]
        process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE)

        def kill(method: str, params: list[Any]) -> None:
            if method == "eth_sendRawTransaction":
                offered.append(params[0])
                process.send_signal(signal.SIGKILL)
                process.wait()
                proxy.down = True

        proxy.own["eth_sendRawTransaction"] = "0x" + "00" * 32  # nobody hears the answer
        proxy.before = kill
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, len(offered)) == (-signal.SIGKILL, 1), errors
    assert node.settlements() == 0

    assert collect_now(node.settings) == []  # settled with the bytes of before, and not ripe yet
    ask(node.network.chain.url, "evm_increaseTime", RIPE_S)
    ask(node.network.chain.url, "evm_mine")
    assert [each.kind for each in collect_now(node.settings)] == ["collect"]
    assert (node.settlements(), node.received()) == (1, 400)
    block = ask(node.settings.rpc_url, "eth_getBlockByNumber", hex(node.first_block + 1), True)
    assert [each["nonce"] for each in block["transactions"]] == ["0x0"]


def test_an_endpoint_that_fails_in_the_middle_is_left_for_another(node: Node, embedded_url: str) -> None:
    """It takes the settlement and is never heard of again; what became of it is asked of the other one."""
    with proxying(embedded_url) as proxy:
        proxy.before = dying_after_offer(proxy)
        done = node.life(proxy.url, embedded_url)

    assert [(each.kind, each.amount) for each in done] == [("settle", 400), ("collect", 400)]
    assert proxy.asked.count("eth_sendRawTransaction") == 1
    assert node.settlements() == 1


def test_an_endpoint_that_swallows_a_transaction_costs_nothing_else(node: Node, embedded_url: str) -> None:
    """Silent when it is offered the settlement: the other one is offered the same bytes."""
    with proxying(embedded_url) as proxy:
        proxy.own["eth_sendRawTransaction"] = replying(b"", 503)
        assert [each.kind for each in node.life(proxy.url, embedded_url)] == ["settle", "collect"]
    assert (node.settlements(), node.received()) == (1, 400)


def test_an_endpoint_that_takes_a_transaction_and_keeps_it_is_got_round(node: Node, tmp_path: Path) -> None:
    """It says that it has it; when no block comes, the next price is offered to all."""
    url = node.settings.rpc_url
    with proxying(url, eth_sendRawTransaction="0x" + "00" * 32) as proxy:
        chain = PoolTxChain(Web3Chain([proxy.url, url]).pool, 31337)
        store = TxStore(tmp_path, 31337, node.signer.address)
        sender = TxSender(node.signer, chain, store, SenderPolicy(0, fees=FeePolicy(bump_after_s=0.0)))
        sender.submit(Wanted(OWNER.address, value=5), "k")
        states = []
        for _ in range(4):
            states += [job.state for job in sender.tick()]
        sender.close()
    assert states[:2] == [TxState.SIGNED, TxState.BROADCAST]
    assert states[-1] in (TxState.MINED, TxState.FINAL)
    assert node.network.chain.nonce(node.signer.address) == 1


def dying_after_offer(proxy: ChainProxy) -> Any:
    """The endpoint passes one transaction on and answers no further question."""

    def watch(method: str, params: list[Any]) -> None:
        if method == "eth_sendRawTransaction":
            proxy.down = True

    return watch


def test_what_another_program_replaced_is_sent_with_a_new_number(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the node's own key, while the process was away."""
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, "before")
        node.life()
    node.network.chain.transfer_native(node.signer, OWNER.address, 1)

    assert [(each.kind, each.amount) for each in node.life()] == [("settle", 400), ("collect", 400)]
    assert node.settlements() == 1


def test_a_process_that_stops_does_not_wait_for_a_block(node: Node) -> None:
    """Whoever waits in a thread hears that the record is closed; the transaction is the next process's."""
    with proxying(node.settings.rpc_url, eth_sendRawTransaction="0x" + "00" * 32) as proxy:
        network = connect_node(node.settings.model_copy(update={"rpc_url": proxy.url}))
        sender, failures = open_record(network, node.signer, node.settings), list[Exception]()

        def send() -> None:
            try:
                sender.send(Wanted(OWNER.address, value=5), "k")
            except ClientStoreError as error:
                failures.append(error)

        thread = threading.Thread(target=send)
        thread.start()
        while proxy.asked.count("eth_getTransactionReceipt") < 2:
            time.sleep(0.01)
        sender.close()
        thread.join(30)
        assert not thread.is_alive()
    assert len(failures) == 1
    again = open_record(node.network, node.signer, node.settings)
    found = again.recorded("k")
    again.close()
    assert found is not None
    assert found.state is TxState.BROADCAST


def test_what_is_under_way_can_be_read_beside_the_process_and_after_it(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name; nothing before the first transaction, and nothing of what is final."""
    network = connect_node(node.settings)

    def waiting() -> list[tuple[str, TxState, int | None]]:
        found = waiting_transactions(network, node.signer.address, node.settings)
        return [(each.key, each.state, each.nonce) for each in found]

    assert waiting() == []
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, "before")
        node.life()
    [(key, state, nonce)] = waiting()
    assert (key.startswith("settle-"), state, nonce) == (True, TxState.SIGNED, 0)
    sender = open_record(network, node.signer, node.settings)
    sender.submit(Wanted(OWNER.address, value=1), "pay")
    assert ("pay", TxState.PLANNED, None) in waiting()
    for _ in range(4):
        sender.tick()
    assert waiting() == []
    sender.close()
    [path] = node.settings.data_dir.glob("chain-*/transactions-*.sqlite")
    path.write_bytes(b"something else, long enough to be taken for a database" * 9)
    with pytest.raises(ClientStoreError):
        waiting()


def test_one_process_sends_at_a_time(node: Node) -> None:
    """The second one is told, and can go on when the first has ended."""
    network = connect_node(node.settings)
    first = open_record(network, node.signer, node.settings)
    with pytest.raises(ClientLocked):
        open_record(network, node.signer, node.settings)
    first.close()
    open_record(network, node.signer, node.settings).close()


def test_a_chain_that_began_anew_has_a_record_of_its_own(embedded_snapshot: str, tmp_path: Path) -> None:
    """Else the numbers used on the old one would be missing on the new one."""
    key = LocalSigner.dev_account(3, 31337)
    settings = NodeSettings(model=tmp_path, blocks="0:1", owner=OWNER.address, data_dir=tmp_path / "data")
    begun = ask(embedded_snapshot, "evm_snapshot")
    for _ in range(2):
        ask(embedded_snapshot, "evm_increaseTime", 100)
        network = deploy_network(embedded_snapshot)
        sender, used = open_record(network, key, settings), network.chain.nonce(key.address)
        for amount in (1, 2):
            network.chain.send(key, network.token.contract, "transfer", OWNER.address, amount, key=f"pay-{amount}")
        assert network.chain.nonce(key.address) == used + 2
        sender.close()
        ask(embedded_snapshot, "evm_revert", begun)
        begun = ask(embedded_snapshot, "evm_snapshot")
    assert len(list(settings.data_dir.glob("chain-31337-*"))) == 2


def job(state: TxState, *, mined: bool = False, success: bool = True) -> Job:
    """A recorded transaction."""
    inclusion = Inclusion(b"\1" * 32, 5, b"\2" * 32, success) if mined else None
    return Job(1, "k", True, Wanted(OWNER.address), state, 0, inclusion, "", ())


@pytest.mark.parametrize(
    ("known", "once", "again"),
    [
        (None, 1, 1),
        (job(TxState.PLANNED), 1, 1),
        (job(TxState.BROADCAST), 1, 1),
        (job(TxState.REPLACED), 1, 1),
        (job(TxState.FAILED), 1, 1),
        (job(TxState.MINED, mined=True), 1, 2),
        (job(TxState.FAILED, mined=True, success=False), 2, 2),
        (job(TxState.FINAL, mined=True), 2, 2),
    ],
    ids=lambda value: f"{value.state} {value.inclusion is not None}" if isinstance(value, Job) else str(value),
)
def test_a_wish_keeps_its_name_until_its_transaction_is_over(known: Job | None, once: int, again: int) -> None:
    """Over for good; or, for what is done over and over, in a block."""
    wishes = Wishes({"settle-1": known}.get)
    assert (wishes.once("settle"), wishes.again("settle")) == (f"settle-{once}", f"settle-{again}")
    assert wishes.once("other") == "other-1"


def test_the_local_chain_needs_no_confirmations() -> None:
    """It mines at once; any other one as many as usual, unless the settings say otherwise."""

    def policy(chain_id: int, **changes: int) -> Any:
        return sender_policy(NodeSettings(model=Path(), blocks="0:1", owner=OWNER.address, **changes), chain_id)

    assert [policy(chain_id).confirmations for chain_id in (31337, 1)] == [0, 12]
    assert [policy(chain_id, confirmations=3).confirmations for chain_id in (31337, 1)] == [3, 3]
    assert policy(1, confirmations=0).confirmations == 0
    assert (policy(1).fees.max_fee_cap, policy(1).fees.max_tip_cap) == (500 * GWEI, 50 * GWEI)
    assert (policy(1, max_fee_gwei=7).fees.max_fee_cap, policy(1, max_fee_gwei=7).fees.max_tip_cap) == (7 * GWEI,) * 2


class ScriptedSender:
    """Ticks that do what a test says; sets an event when the script is over."""

    def __init__(self, *script: Exception | list[Job]) -> None:
        self._script: Iterator[Exception | list[Job]] = iter(script)
        self._loop, self.over = asyncio.get_running_loop(), asyncio.Event()

    def tick(self) -> list[Job]:
        """As TxSender's."""
        step = next(self._script, None)
        if step is None:
            self._loop.call_soon_threadsafe(self.over.set)
            return []
        if isinstance(step, Exception):
            raise step
        return step


@pytest.mark.parametrize("error", [ChainUnavailable("http://chain.test", "down"), ValueError("a fault")])
async def test_looking_after_transactions_goes_on_whatever_happens(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log has what became of them."""
    caplog.set_level("INFO")
    script = ScriptedSender(error, [job(TxState.FINAL, mined=True), job(TxState.BROADCAST)])
    task = asyncio.create_task(keep_ticking(script, 0.001))  # type: ignore[arg-type]
    await asyncio.wait_for(script.over.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert str(error) in caplog.text
    assert "transaction k is final" in caplog.text
    assert "broadcast" not in caplog.text
