"""The recorded sender on real chains, behind the same calls as before."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from incentives.chain import Web3Chain
from incentives.client_errors import FeeTooHigh, KeyReused
from incentives.deploy import deploy_suite
from incentives.errors import CallMismatch, Reverted, TransactionRefused
from incentives.signing import LocalSigner
from incentives.tx_chain import Offered, PoolTxChain
from incentives.tx_fees import FeePolicy, SenderPolicy
from incentives.tx_sender import TxSender
from incentives.tx_states import TxState, Wanted
from incentives.tx_store import TxStore
from incentives.units import ONE
from sharding.hashing import keccak256
from tests.conftest import ask
from tests.incentives.fake_rpc import chain_answers, refusing, serving
from tests.incentives.suite import DEPLOYER, NODE, STRANGER, Suite, deploy

PENNILESS = LocalSigner(keccak256(b"an account without gas money"))
LOCAL = SenderPolicy(confirmations=2, wait_s=20.0)


class Recorded:
    """A chain client whose deployer's transactions are recorded."""

    def __init__(self, suite: Suite, folder: Path) -> None:
        self.suite, self.folder = suite, folder
        self.start()

    def start(self) -> None:
        """As a new process does."""
        self.chain = Web3Chain(self.suite.url)
        self.sender = self.chain.record(DEPLOYER, self.folder, LOCAL)

    def pay(self, amount: int, key: str | None = None) -> bytes:
        """Some tokens for STRANGER."""
        sent = self.chain.send(DEPLOYER, self.suite.token.contract, "transfer", STRANGER.address, amount, key=key)
        assert sent.logs[0].args["value"] == amount
        return sent.tx_hash

    def received(self) -> int:
        """What STRANGER has."""
        return self.suite.token.balance_of(STRANGER.address)


@pytest.fixture
def recorded(suite: Suite, tmp_path: Path) -> Iterator[Recorded]:
    """On both kinds of local chain."""
    recorded = Recorded(suite, tmp_path)
    yield recorded
    recorded.sender.close()


def test_one_key_pays_once_whatever_happens_between(recorded: Recorded) -> None:
    """Asked again, and by the next process."""
    first = recorded.pay(7, "salary")
    assert recorded.pay(7, "salary") == first
    recorded.sender.close()
    recorded.start()
    assert recorded.pay(7, "salary") == first
    assert recorded.received() == 7
    recorded.pay(5)
    recorded.pay(5)
    assert recorded.received() == 17
    with pytest.raises(KeyReused):
        recorded.pay(8, "salary")


def test_everything_else_goes_through_the_same_record(suite: Suite, tmp_path: Path) -> None:
    """Deploying the suite, wrappers, gas money."""
    recorded = Recorded(suite, tmp_path)
    deployed = recorded.chain.deploy(DEPLOYER, suite.token.contract.artifact, 5)
    assert recorded.chain.call(deployed.contract, "totalSupply") == 5
    recorded.chain.transfer_native(DEPLOYER, PENNILESS.address, 3)
    assert recorded.chain.native_balance(PENNILESS.address) == 3
    assert {job.state for job in recorded.sender.tick()} <= {TxState.MINED, TxState.FINAL}
    recorded.chain.transfer_native(NODE, STRANGER.address, 1)  # an account without a record, as before
    recorded.sender.close()


def test_finality_comes_with_the_blocks(recorded: Recorded) -> None:
    """Two of them."""
    recorded.pay(1, "k")
    for expected in (TxState.MINED, TxState.MINED, TxState.FINAL):
        recorded.sender.tick()
        job = recorded.sender.recorded("k")
        assert job is not None
        assert job.state is expected
        ask(recorded.suite.url, "evm_mine")


def test_what_a_snapshot_takes_back_is_sent_again_with_the_same_bytes(recorded: Recorded) -> None:
    """A re-org on a real chain; the payment arrives in the end."""
    taken = ask(recorded.suite.url, "evm_snapshot")
    first = recorded.pay(7, "k")
    assert ask(recorded.suite.url, "evm_revert", taken) is True
    assert recorded.received() == 0
    recorded.sender.tick()
    assert recorded.pay(7, "k") == first
    assert recorded.received() == 7


def test_another_program_with_the_same_key_costs_time_only(recorded: Recorded) -> None:
    """Its numbers are passed over."""
    recorded.pay(1)
    recorded.suite.token.transfer(DEPLOYER, STRANGER.address, 2)
    recorded.pay(4)
    assert recorded.received() == 7


def test_reverts_are_named_before_and_after_sending(recorded: Recorded) -> None:
    """With their sentence; the second kind is found again under its key."""
    contract = recorded.suite.token.contract
    supply = recorded.suite.token.total_supply()
    with pytest.raises(Reverted, match=r"Token\.transfer reverted: ERC20InsufficientBalance.*send tokens there"):
        recorded.pay(2 * supply)
    for _ in range(2):
        with pytest.raises(Reverted, match="ERC20InsufficientBalance"):
            recorded.chain.send(
                DEPLOYER, contract, "transfer", STRANGER.address, 2 * supply, gas=200_000, key="too much"
            )
    with pytest.raises(Reverted, match="OutOfGas"):
        recorded.chain.send(DEPLOYER, contract, "transfer", STRANGER.address, ONE, gas=25_000)


def test_a_key_without_a_record_is_refused(suite: Suite) -> None:
    """Before anything is sent: nobody could keep the promise."""
    with pytest.raises(CallMismatch, match="recorded sender"):
        suite.chain.send(DEPLOYER, suite.token.contract, "transfer", STRANGER.address, 1, key="k")


def test_poverty_and_prices_are_told(suite: Suite, tmp_path: Path) -> None:
    """The node's own words, and the cap."""
    chain = PoolTxChain(suite.chain.pool, 31337)
    with (
        TemporarySender(PENNILESS, chain, tmp_path, LOCAL) as sender,
        pytest.raises(TransactionRefused, match="gas mon"),
    ):
        sender.send(Wanted(STRANGER.address, gas=21_000))
    low = SenderPolicy(fees=FeePolicy(max_fee_cap=1))
    with TemporarySender(DEPLOYER, chain, tmp_path, low) as sender, pytest.raises(FeeTooHigh):
        sender.send(Wanted(STRANGER.address))


class TemporarySender(TxSender):
    """Closes its record at the end of a block."""

    def __init__(self, signer: LocalSigner, chain: PoolTxChain, folder: Path, policy: SenderPolicy) -> None:
        super().__init__(signer, chain, TxStore(folder, 31337, signer.address), policy)

    def __enter__(self) -> "TemporarySender":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_a_price_too_low_for_a_waiting_block_is_raised_and_the_replacement_mined(
    anvil_url: str, tmp_path: Path
) -> None:
    """On an anvil that does not mine by itself: both are offered, the dearer one ends in the block."""
    taken = ask(anvil_url, "evm_snapshot")
    ask(anvil_url, "evm_setAutomine", False)
    try:
        chain = PoolTxChain(Web3Chain(anvil_url).pool, 31337)
        policy = SenderPolicy(confirmations=1, fees=FeePolicy(bump_after_s=0.0, max_attempts=3))
        with TemporarySender(NODE, chain, tmp_path, policy) as sender:
            sender.submit(Wanted(STRANGER.address, value=5), "k")
            for _ in range(5):
                sender.tick()
            ask(anvil_url, "evm_mine")
            (job,) = sender.tick()
            assert [attempt.state for attempt in job.attempts] == ["replaced", "replaced", "mined"]
            assert chain.offer(job.attempts[-1].raw) in (Offered.TAKEN, Offered.SPENT)
            ask(anvil_url, "evm_mine")
            (job,) = sender.tick()
            assert job.state is TxState.FINAL
    finally:
        ask(anvil_url, "evm_setAutomine", True)
        ask(anvil_url, "evm_revert", taken)


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("already known", Offered.TAKEN),
        ("AlreadyKnown: transaction already imported", Offered.TAKEN),
        ("nonce too low: next nonce 5, tx nonce 3", Offered.SPENT),
        ("replacement transaction underpriced", Offered.CONTESTED),
    ],
)
def test_what_nodes_say_of_an_offer_is_understood(words: str, meaning: Offered) -> None:
    """Of the kinds in use."""
    answers = chain_answers(eth_sendRawTransaction=refusing({"code": -32000, "message": words}))
    with serving(answers) as url:
        assert PoolTxChain(Web3Chain(url).pool, 31337).offer(b"\1") is meaning


def test_the_suite_is_deployed_through_a_record(chain_snapshot: str, tmp_path: Path) -> None:
    """Addresses are computed from the numbers to come, so the record must not skip any."""
    suite = deploy(chain_snapshot)
    recorded = Recorded(suite, tmp_path)
    deployment = deploy_suite(recorded.chain, DEPLOYER, suite.deployment.params)
    deployment.verify(recorded.chain)
    recorded.sender.close()


def test_threads_share_one_sender(recorded: Recorded) -> None:
    """Each transaction has a number of its own, and a key that two of them ask for is paid once."""
    failures: list[BaseException] = []

    def pay(thread: int) -> None:
        try:
            for step in range(3):
                recorded.pay(1, f"{thread % 2}-{step}")
                recorded.pay(100)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=pay, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert recorded.received() == 6 + 1_200
