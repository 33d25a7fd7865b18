"""The chain client against real chains."""

import threading
from typing import Any

import pytest
from eth_abi.abi import encode

from incentives.artifacts import canonical_signature, load_artifact, selector
from incentives.chain import Contract, Web3Chain
from incentives.chain_types import Event
from incentives.errors import CallMismatch, Reverted, TransactionRefused, WrongChain
from incentives.signing import LocalSigner
from sharding.hashing import keccak256
from tests.conftest import ask
from tests.incentives.suite import DEPLOYER, NODE, OWNER, PAYER, PEER, STRANGER, Suite

PENNILESS = LocalSigner(keccak256(b"an account without gas money"))


def test_the_expected_chain_is_checked_at_once(chain_url: str) -> None:
    """Before anything is signed for it."""
    assert Web3Chain(chain_url, expected_chain_id=31337).chain_id == 31337
    with pytest.raises(WrongChain):
        Web3Chain(chain_url, expected_chain_id=1)


def test_sending_gas_money_moves_it_and_makes_a_block(suite: Suite) -> None:
    """The sender pays the gas on top."""
    before, head = suite.chain.native_balance(DEPLOYER.address), suite.chain.head()
    sent = suite.chain.transfer_native(DEPLOYER, PENNILESS.address, 10**18)
    assert suite.chain.native_balance(PENNILESS.address) == 10**18
    assert suite.chain.native_balance(DEPLOYER.address) < before - 10**18
    assert sent.block == suite.chain.head().number == head.number + 1
    assert suite.chain.head().timestamp >= head.timestamp
    assert sent.gas_used == 21_000


def test_an_account_without_gas_money_is_told_so(suite: Suite) -> None:
    """The chain's refusal, with a remedy."""
    with pytest.raises(TransactionRefused, match="gas money"):
        suite.token.approve(PENNILESS, OWNER.address, 1)


def test_code_is_empty_for_a_plain_account_and_pinned_for_a_contract(suite: Suite) -> None:
    """The hash in the deployment is that of the code."""
    assert suite.chain.code(PENNILESS.address) == b""
    assert keccak256(suite.chain.code(suite.token.address)) == suite.deployment.token.code_hash


def test_a_revert_is_found_before_anything_is_sent(suite: Suite) -> None:
    """It costs nothing and no nonce."""
    nonce = suite.chain.nonce(STRANGER.address)
    with pytest.raises(Reverted, match=r"Token\.transfer reverted: ERC20InsufficientBalance") as caught:
        suite.token.transfer(STRANGER, OWNER.address, 5)
    assert caught.value.arguments[1:] == (0, 5)
    assert caught.value.arguments[0].lower() == STRANGER.address.lower()
    assert suite.chain.nonce(STRANGER.address) == nonce


def test_a_revert_in_a_block_is_named_as_well(suite: Suite) -> None:
    """With the gas given there is no estimate, so the failure is only seen in the receipt."""
    with pytest.raises(Reverted, match="ERC20InsufficientBalance"):
        suite.chain.send(STRANGER, suite.token.contract, "transfer", OWNER.address, 5, gas=200_000)


def test_running_out_of_gas_is_named(suite: Suite) -> None:
    """No contract chose to fail."""
    with pytest.raises(Reverted, match="OutOfGas") as caught:
        suite.chain.send(DEPLOYER, suite.token.contract, "transfer", OWNER.address, 5, gas=25_000)
    assert caught.value.arguments == (25_000,)


def test_the_events_of_the_called_contract_come_with_the_receipt(suite: Suite) -> None:
    """Decoded."""
    sent = suite.token.transfer(DEPLOYER, STRANGER.address, 7)
    wanted = {"from": DEPLOYER.address, "to": STRANGER.address, "value": 7}
    assert sent.logs == (Event(suite.token.address, "Transfer", wanted, sent.block, 0, sent.tx_hash),)


def test_events_are_read_back_in_order_from_any_block_and_by_indexed_value(suite: Suite) -> None:
    """In ranges of blocks."""
    sent = [suite.token.transfer(DEPLOYER, to.address, value) for value, to in enumerate((NODE, STRANGER, NODE))]
    read = suite.chain.events(suite.token.contract, "Transfer", sent[0].block)
    assert read == [log for each in sent for log in each.logs]
    assert suite.chain.events(suite.token.contract, "Transfer", sent[1].block) == read[1:]
    assert suite.chain.events(suite.token.contract, "Transfer", sent[0].block, to=NODE.address) == [read[0], read[2]]
    assert suite.chain.events(suite.token.contract, "Transfer", sent[2].block + 1) == []


def test_events_of_every_name_are_read_in_order(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the one contract, from a block on, in ranges of blocks."""
    monkeypatch.setattr("incentives.chain.LOG_RANGE_BLOCKS", 2)
    sent = [suite.token.transfer(DEPLOYER, NODE.address, 1), suite.token.approve(DEPLOYER, NODE.address, 2)]
    suite.join()
    sent.append(suite.token.transfer(DEPLOYER, NODE.address, 3))
    read = suite.chain.all_events(suite.token.contract, sent[0].block)
    assert [event.name for event in read] == ["Transfer", "Approval", "Approval", "Transfer", "Transfer"]
    assert suite.chain.all_events(suite.token.contract, sent[2].block) == list(sent[2].logs)
    assert suite.chain.all_events(suite.token.contract, sent[2].block + 1) == []


def test_events_are_complete_across_the_borders_of_ranges(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """No block is skipped or read twice."""
    monkeypatch.setattr("incentives.chain.LOG_RANGE_BLOCKS", 2)
    sent = [suite.token.transfer(DEPLOYER, NODE.address, value) for value in range(5)]
    read = suite.chain.events(suite.token.contract, "Transfer", sent[0].block)
    assert [event.args["value"] for event in read] == [0, 1, 2, 3, 4]


def test_an_announcement_that_is_no_text_does_not_hide_the_others(suite: Suite) -> None:
    """Solidity takes any bytes for a string; whoever sends them only hides itself."""
    suite.join()
    good = (OWNER.address, PEER, 0, 2, 5, "wss://a")
    suite.stakes.announce(NODE, *good)
    entry = next(e for e in load_artifact("Stakes").abi if e.get("name") == "announce")
    kinds = ["address", "bytes32", "uint32", "uint32", "uint96", "bytes"]
    data = selector(canonical_signature(entry)) + encode(kinds, [*good[:5], b"\xff\xfe"])
    suite.chain._sender.transact(NODE, {"to": suite.stakes.contract.address, "data": "0x" + data.hex()})
    assert [each.endpoint for each in suite.stakes.announcements()] == ["wss://a"]


def test_threads_that_share_a_key_take_turns_with_its_nonces(suite: Suite) -> None:
    """As a node does when it settles and announces at once."""
    failures: list[BaseException] = []

    def pay() -> None:
        try:
            for _ in range(3):
                suite.token.transfer(DEPLOYER, STRANGER.address, 1)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=pay) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert suite.token.balance_of(STRANGER.address) == 12


def test_a_view_can_be_asked_about_an_earlier_block(suite: Suite) -> None:
    """So that several views agree with each other."""
    sent = suite.token.transfer(DEPLOYER, STRANGER.address, 1)

    def balance(block: int) -> Any:
        return suite.chain.call(suite.token.contract, "balanceOf", STRANGER.address, block=block)

    assert (balance(sent.block - 1), balance(sent.block)) == (0, 1)


def test_a_contract_is_created_with_its_arguments(suite: Suite) -> None:
    """And known by the hash of its code."""
    deployed = suite.chain.deploy(PAYER, load_artifact("Token"), 77)
    assert suite.chain.call(deployed.contract, "balanceOf", PAYER.address) == 77
    assert deployed.code_hash == keccak256(suite.chain.code(deployed.address))
    assert deployed.block == suite.chain.head().number


def test_constructors_that_refuse_and_arguments_that_do_not_fit_are_told_apart(suite: Suite) -> None:
    """A Reverted with its name, a CallMismatch."""
    with pytest.raises(Reverted, match="TokenMissing"):
        suite.chain.deploy(PAYER, load_artifact("Channels"), PENNILESS.address, 5, 5, *[PENNILESS.address] * 2)
    with pytest.raises(CallMismatch, match="constructor"):
        suite.chain.deploy(PAYER, load_artifact("Channels"), 5)


def test_time_is_the_chains(suite: Suite) -> None:
    """Deadlines are counted on its clock."""
    before = suite.chain.head().timestamp
    ask(suite.url, "evm_increaseTime", 1_000)
    ask(suite.url, "evm_mine")
    assert suite.chain.head().timestamp >= before + 1_000


def test_the_suites_contracts_are_found_by_name() -> None:
    """With a checked address."""
    assert Contract.at("Court", PAYER.address.lower()).address == PAYER.address
