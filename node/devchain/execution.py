"""Trying a call without a transaction: eth_call and eth_estimateGas."""

from typing import Any, cast

from eth.abc import ComputationAPI, SignedTransactionAPI, StateAPI
from eth.constants import GAS_TX
from eth.exceptions import Revert
from eth.vm.forks.prague.constants import STANDARD_TOKEN_COST, TOTAL_COST_FLOOR_PER_TOKEN
from eth.vm.spoof import SpoofTransaction
from eth_utils.exceptions import ValidationError

from node.devchain.backend import EmbeddedChain, Header, deep_recursion
from node.devchain.constants import CHAIN_ID
from node.devchain.errors import ExecutionFailed, GasRefused, Refused, Reverted
from node.devchain.params import BlockRef, Call

CALL_STIPEND = 2300


def call(chain: EmbeddedChain, request: Call, ref: BlockRef) -> bytes:
    """What the call returns in the given block, "pending" being the next one. Reverted, ExecutionFailed, Refused."""
    header = chain.next_header() if ref == "pending" else chain.at(ref).header
    computation = _try(chain, header, request)
    return bytes(computation.output)


def estimate(chain: EmbeddedChain, request: Call) -> int:
    """A gas limit with which the transaction does in the next block what it does with unlimited gas; one execution.

    Let U be the gas used before refunds. A frame that calls nobody needs U, and 2,300 more where its last act is an
    SSTORE (EIP-2200). A call passes on at most 63/64 of what is left (EIP-150), so every level of nesting needs 64/63
    of the level below. Hence (U + 2,300) * (64/63)^depth suffices, for code that does not itself look at the gas left.
    """
    header = chain.next_header()
    if request.to and not request.data and not chain.vm(header).state.get_code(request.to):
        _try(chain, header, _with_gas(request, GAS_TX))
        return GAS_TX
    computation = _try(chain, header, request)
    used = request.gas - int(computation.get_gas_remaining()) + CALL_STIPEND
    for _ in range(_depth(computation)):
        used += -(-used // 63)
    return min(max(used, data_floor(request.data)), request.gas)


def data_floor(data: bytes) -> int:
    """The least a transaction with these data costs (EIP-7623)."""
    zeros = data.count(0)
    return int(GAS_TX + TOTAL_COST_FLOOR_PER_TOKEN * (zeros + STANDARD_TOKEN_COST * (len(data) - zeros)))


def _with_gas(request: Call, gas: int) -> Call:
    return Call(request.sender, request.to, request.value, request.data, gas)


def _try(chain: EmbeddedChain, header: Header, request: Call) -> ComputationAPI:
    vm = chain.vm(header.copy(base_fee_per_gas=0))  # so that a call without a fee is admissible
    state = vm.state
    try:
        with deep_recursion():
            computation: ComputationAPI = state.apply_transaction(_spoofed(vm, state, request))
    except ValidationError as error:
        raise _refusal(state, request, error) from error
    if not computation.is_error:
        return computation
    if isinstance(computation.error, Revert):
        raise Reverted(bytes(computation.output))
    raise ExecutionFailed(f"EVM error {type(computation.error).__name__}")


def _refusal(state: StateAPI, request: Call, error: ValidationError) -> Refused:
    balance = state.get_balance(request.sender)
    if balance < request.value:
        return Refused(f"Insufficient funds for gas * price + value: has {balance}, needs {request.value}")
    return GasRefused(f"intrinsic gas too low or {error}")


def _spoofed(vm: Any, state: StateAPI, request: Call) -> SignedTransactionAPI:
    unsigned = vm.get_transaction_builder().new_unsigned_dynamic_fee_transaction(
        chain_id=CHAIN_ID,
        nonce=state.get_nonce(request.sender),
        max_priority_fee_per_gas=0,
        max_fee_per_gas=0,
        gas=request.gas,
        to=request.to,
        value=request.value,
        data=request.data,
        access_list=(),
    )
    return cast(SignedTransactionAPI, SpoofTransaction(unsigned, from_=request.sender))


def _depth(computation: ComputationAPI) -> int:
    """How deep calls nest below the outermost frame; without recursion, since the EVM allows 1,024 levels."""
    depth, level = 0, list(computation.children)
    while level:
        depth += 1
        level = [child for frame in level for child in frame.children]
    return depth
