"""Signed transactions on their way into a block: decoding, admission, and the queue for nonces that come too early."""

from eth.abc import SignedTransactionAPI, StateAPI
from eth.exceptions import PyEVMError
from eth.vm.forks.prague import PragueVM
from eth_keys.exceptions import BadSignature
from eth_typing import Address
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException  # type: ignore[import-untyped]

from node.devchain.backend import EmbeddedChain
from node.devchain.constants import BLOCK_GAS_LIMIT, CHAIN_ID, MAX_QUEUED
from node.devchain.errors import GasRefused, InvalidParams, Refused
from node.devchain.execution import data_floor

UNSUPPORTED = {3: "blob", 4: "set-code"}


def submit(chain: EmbeddedChain, raw: bytes) -> bytes:
    """Takes a raw transaction into a block, or into the queue where its nonce is still to come. Returns its hash.

    A transaction that reverts is mined with status 0, as on anvil. Refused, GasRefused or InvalidParams otherwise.
    """
    transaction = decode(raw)
    sender = _sender(transaction)
    _check_gas(transaction)
    state = chain.state("latest")
    expected = state.get_nonce(sender)
    if transaction.nonce < expected:
        raise Refused("nonce too low")
    _check_fees(chain, transaction)
    _check_funds(state, transaction, sender)
    if transaction.nonce > expected:
        _enqueue(chain, transaction, sender)
    else:
        _mine(chain, transaction)
        _promote(chain, sender)
    return bytes(transaction.hash)


def decode(raw: bytes) -> SignedTransactionAPI:
    """The transaction; InvalidParams for bytes that are none, Refused for another chain or an unsupported type."""
    if raw and raw[0] in UNSUPPORTED:
        raise Refused(f"{UNSUPPORTED[raw[0]]} transactions are not supported by the embedded chain")
    try:
        transaction = PragueVM.get_transaction_builder().decode(raw)
        chain_id = transaction.chain_id
    except (PyEVMError, RLPException, ValidationError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise InvalidParams(f"Failed to decode transaction: {type(error).__name__}") from error
    if chain_id != CHAIN_ID:
        raise Refused(f"invalid chain id for signer: have {chain_id}, want {CHAIN_ID}")
    return transaction


def _sender(transaction: SignedTransactionAPI) -> Address:
    try:
        return transaction.sender
    except (BadSignature, ValidationError, ValueError, TypeError) as error:
        raise Refused("invalid signature") from error


def _check_gas(transaction: SignedTransactionAPI) -> None:
    least = max(transaction.intrinsic_gas, data_floor(transaction.data))
    if transaction.gas < least:
        raise GasRefused(f"intrinsic gas too low: {transaction.gas} is below {least}")
    if transaction.gas > BLOCK_GAS_LIMIT:
        raise GasRefused(f"intrinsic gas too high: {transaction.gas} is past the block's {BLOCK_GAS_LIMIT}")


def _check_fees(chain: EmbeddedChain, transaction: SignedTransactionAPI) -> None:
    base_fee = chain.next_header().base_fee_per_gas
    if transaction.max_fee_per_gas < base_fee:
        raise Refused(f"max fee per gas less than block base fee: {transaction.max_fee_per_gas} is below {base_fee}")
    if transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
        raise Refused("max priority fee per gas higher than max fee per gas")


def _check_funds(state: StateAPI, transaction: SignedTransactionAPI, sender: Address) -> None:
    needs = transaction.gas * transaction.max_fee_per_gas + transaction.value
    has = state.get_balance(sender)
    if has < needs:
        raise Refused(f"Insufficient funds for gas * price + value: has {has}, needs {needs}")


def _mine(chain: EmbeddedChain, transaction: SignedTransactionAPI) -> None:
    try:
        chain.mine(transaction)
    except ValidationError as error:
        raise Refused(f"transaction refused: {error}") from error


def _enqueue(chain: EmbeddedChain, transaction: SignedTransactionAPI, sender: Address) -> None:
    key = (sender, transaction.nonce)
    waiting = chain.queue.get(key)
    if waiting is not None and transaction.max_fee_per_gas * 10 < waiting.max_fee_per_gas * 11:
        raise Refused("replacement transaction underpriced: offer at least 10 % more than the one that waits")
    if waiting is None and len(chain.queue) >= MAX_QUEUED:
        raise Refused(f"{MAX_QUEUED} transactions already wait for an earlier nonce; send the missing ones first")
    chain.queue[key] = transaction


def _promote(chain: EmbeddedChain, sender: Address) -> None:
    """Mines what waited for the nonce just used; one that has become unaffordable is dropped, later ones stay."""
    while chain.queue:
        nonce = chain.state("latest").get_nonce(sender)
        transaction = chain.queue.pop((sender, nonce), None)
        if transaction is None:
            return
        try:
            _mine(chain, transaction)
        except Refused:
            return
