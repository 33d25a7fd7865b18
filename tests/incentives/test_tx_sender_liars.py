"""The sender over several endpoints of which one lies about transaction numbers: nothing is sent twice, nothing stops for ever."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from incentives.endpoint_health import HeadLimits
from incentives.endpoints import EndpointPool
from incentives.errors import TransactionLost, TransactionRefused
from incentives.tx_chain import Offered, PoolTxChain
from incentives.tx_fees import Market
from incentives.tx_states import TxState
from tests.incentives.fake_endpoint import CHAIN_ID, FakeRpc, Hands
from tests.incentives.fake_tx_chain import ACCOUNT, FakeTxChain
from tests.incentives.test_tx_sender import POLICY, World, wish

HIGH, FAR = 10**9, 10**6
COUNT = "eth_getTransactionCount"


class Node(FakeRpc):
    """An endpoint that tells what is so."""

    def __init__(self, name: str, hands: Hands, chain: FakeTxChain) -> None:
        super().__init__(name, hands)
        self.chain = chain
        self.on = {
            COUNT: self.counted,
            "eth_blockNumber": lambda: hex(chain.height()),
            "eth_getBlockByNumber": lambda *_: self.block(chain.height()),
            "eth_maxPriorityFeePerGas": lambda: hex(chain.prices.tip),
            "eth_estimateGas": lambda *_: hex(21_000),
            "eth_sendRawTransaction": self.taken,
            "eth_getTransactionReceipt": self.receipt,
        }

    def block(self, number: int) -> dict[str, str]:
        base_fee = hex(self.chain.prices.base_fee)
        return {"number": hex(number), "timestamp": hex(int(self.hands.at)), "baseFeePerGas": base_fee}

    def counted(self, _account: str, block: str) -> str:
        if block == "pending":
            return hex(self.chain.next_number(ACCOUNT))
        depth = 0 if block == "latest" else self.chain.height() - int(block, 16)
        return hex(self.chain.spent_numbers(ACCOUNT, depth))

    def taken(self, raw: str) -> str:
        if self.chain.offer(bytes.fromhex(raw[2:])) is Offered.SPENT:
            raise TransactionRefused(-32000, "nonce too low")
        return "0x"

    def receipt(self, tx_hash: str) -> Any:
        found = self.chain.find([bytes.fromhex(tx_hash[2:])])
        return found and {
            "transactionHash": tx_hash,
            "blockHash": "0x" + found.block_hash.hex(),
            "blockNumber": hex(found.block),
            "status": hex(int(found.success)),
        }

    def counts_waiting(self, number: int) -> None:
        """Lie about what waits, and about nothing else."""
        self.on[COUNT] = lambda account, block: hex(number) if block == "pending" else self.counted(account, block)

    def counts_spent(self, number: int) -> None:
        """Lie about what is used up, and about nothing else."""
        self.on[COUNT] = lambda account, block: self.counted(account, block) if block == "pending" else hex(number)

    def tells_truth(self) -> None:
        self.on[COUNT] = self.counted


class Pair(World):
    """A sender over two endpoints, of which the second may lie."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.honest, self.other = (Node(name, self.hands, self.chain) for name in "ab")
        self.restart()

    def start(self) -> None:
        super().start()
        if hasattr(self, "other"):
            pool = EndpointPool([self.honest, self.other], 30.0, CHAIN_ID, HeadLimits(recheck_s=0), self.clock)
            self.sender._chain = PoolTxChain(pool, CHAIN_ID)

    def settle(self) -> None:
        """Blocks until everything that can be mined is final."""
        for _ in range(POLICY.confirmations + 4):
            self.chain.mine()
            self.sender.tick()

    def reverted(self, *texts: str) -> None:
        """Transactions that used their numbers and did nothing."""
        self.chain.reverts |= {text.encode() for text in texts}
        self.submitted(*texts)
        self.settle()
        assert [self.state(text) for text in texts] == [TxState.FAILED] * len(texts)

    @property
    def fillers(self) -> int:
        """How many transactions for nothing were mined."""
        return sum(one.fields["data"] == "0x" and "foreign" not in one.fields for one in self.chain.mined())


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    made.sender.close()


def test_too_low_a_count_of_what_waits_stops_nothing(pair: Pair) -> None:
    """Numbers that are spent are not filled again, and what comes next goes through while the lie lasts."""
    pair.reverted("a", "b", "c")
    pair.submitted("d")
    pair.other.counts_waiting(0)
    pair.sender.tick()
    pair.sender.tick()
    pair.restart()
    pair.submitted("e")
    pair.settle()
    assert [pair.state(text) for text in "de"] == [TxState.FINAL] * 2
    assert (pair.times("d"), pair.times("e"), pair.fillers) == (1, 1, 0)


def test_what_is_sent_beside_too_low_a_count_is_mined(pair: Pair) -> None:
    """The record knows better."""
    pair.reverted("a")
    pair.other.counts_waiting(0)
    pair.on_sleep = pair.chain.mine
    assert pair.sender.send(wish("e"), "e").success


def test_too_low_a_count_of_everything_holds_up_only_while_it_lasts(pair: Pair) -> None:
    """Numbers of another program with the key are offered in vain, and the wish has its own in the end."""
    for _ in range(3):
        pair.chain.foreign()
    pair.chain.mine()
    pair.other.on[COUNT] = lambda *_: "0x0"
    pair.sender.submit(wish("d"), "d")
    for _ in range(5):
        pair.sender.tick()
    pair.other.tells_truth()
    pair.settle()
    assert pair.state("d") is TxState.REPLACED
    pair.submitted("d")
    pair.settle()
    assert (pair.state("d"), pair.times("d"), pair.fillers) == (TxState.FINAL, 1, 0)


@pytest.mark.parametrize("far", [False, True])
def test_too_high_a_count_of_what_is_spent_has_nothing_sent_twice(pair: Pair, far: bool) -> None:
    """Alone or with blocks that nobody else has, beside which the honest one looks late."""
    pair.submitted("x")
    pair.other.counts_spent(HIGH)
    if far:
        pair.other.on["eth_getBlockByNumber"] = lambda *_: pair.other.block(FAR)
        pair.other.on["eth_blockNumber"] = lambda: hex(FAR)
    with suppress(TransactionLost):
        pair.sender.send(wish("x"), "x")
    for _ in range(3):
        pair.sender.tick()
    for _ in range(6):
        pair.chain.mine()
    assert pair.times("x") == 1


@pytest.mark.parametrize("ticks", [1, 20])
def test_fillers_that_wait_for_better_prices_do_not_multiply(pair: Pair, ticks: int) -> None:
    """One missing number is filled once, however long that takes."""
    pair.chain.foreign(0)
    pair.submitted("a")
    del pair.chain.pool[0]
    prices, pair.chain.prices = pair.chain.prices, Market(base_fee=5_000, tip=10)
    for _ in range(ticks):
        pair.sender.tick()
    assert pair.fillers == 0
    pair.chain.prices = prices
    pair.settle()
    assert (pair.fillers, pair.times("a")) == (1, 1)


def test_bytes_that_were_another_transactions_are_not_signed_again(pair: Pair) -> None:
    """Two wishes for the same with one number: mined, nobody could say whose it was. The second one waits for its own."""
    pair.sender.submit(wish("x"), "first")
    pair.sender.tick()
    first = pair.job("first")
    with pair.store._database.transaction() as db:
        db.execute("UPDATE jobs SET state = 'replaced' WHERE key = 'first'")
    pair.sender.submit(wish("x"), "second")
    with pytest.raises(TransactionLost, match="same bytes"):
        pair.sender.send(wish("x"), "second")
    assert (pair.state("second"), pair.job("second").attempts) == (TxState.PLANNED, ())
    assert pair.job("first").attempts == first.attempts


def test_bytes_that_were_its_own_are_signed_again(pair: Pair) -> None:
    """Its first number came free once more, at the same price."""
    pair.sender.submit(wish("x"), "x")
    pair.sender.tick()
    with pair.store._database.transaction() as db:
        db.execute("UPDATE jobs SET state = 'replaced', nonce = NULL")
        db.execute("UPDATE attempts SET state = 'replaced'")
    pair.submitted("x")
    assert [attempt.state for attempt in pair.job("x").attempts] == [TxState.BROADCAST]
    pair.settle()
    assert pair.times("x") == 1
