"""The embedded chain in process: blocks, snapshots, time and its own invariants."""

import sys
from typing import Any

import pytest

from node import devchain
from node.devchain import backend
from node.devchain.backend import EmbeddedChain
from node.devchain.chain_errors import NotTheLocalChain
from node.devchain.constants import CHAIN_ID


@pytest.fixture
def chain() -> EmbeddedChain:
    return EmbeddedChain()


def test_a_backend_with_another_chain_id_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be configured; should a library change under us, nothing starts."""
    monkeypatch.setattr(backend, "_Backend", backend.PyEVMBackend)
    with pytest.raises(NotTheLocalChain) as caught:
        EmbeddedChain()
    assert caught.value.expected == CHAIN_ID
    assert caught.value.got != CHAIN_ID


def test_py_evms_recursion_limit_does_not_leak(chain: EmbeddedChain) -> None:
    """It would let a body of brackets overrun the C stack of a JSON decoder, anywhere in the process."""
    assert sys.getrecursionlimit() == devchain.RECURSION_LIMIT < backend.EVM_RECURSION_LIMIT
    with backend.deep_recursion():
        assert sys.getrecursionlimit() == backend.EVM_RECURSION_LIMIT
    assert sys.getrecursionlimit() == devchain.RECURSION_LIMIT


def test_blocks_are_found_by_number_hash_and_tag(chain: EmbeddedChain) -> None:
    """And not found where there are none."""
    mined = [chain.head, chain.mine(), chain.mine()]
    assert [chain.find(number) for number in range(4)] == [*mined, None]
    assert [chain.find(one.hash) for one in mined] == mined
    assert chain.find("earliest") == mined[0]
    assert {chain.find(tag) for tag in ("latest", "pending", "safe", "finalized")} == {mined[2]}
    assert chain.find(bytes(32)) is None
    assert list(chain.blocks(1, 9)) == mined[1:]
    assert [one.header.parent_hash for one in mined[1:]] == [one.hash for one in mined[:-1]]


def test_later_snapshots_go_with_the_one_reverted_to(chain: EmbeddedChain) -> None:
    """Their blocks are gone; earlier ones remain."""
    earlier = chain.snapshot()
    chain.mine()
    middle = chain.snapshot()
    chain.mine()
    later = chain.snapshot()
    assert chain.revert(middle)
    assert not chain.revert(later)
    assert not chain.revert(middle)
    assert chain.head.number == 1
    assert chain.revert(earlier)
    assert chain.head.number == 0


def test_a_number_of_a_snapshot_is_never_used_twice(chain: EmbeddedChain) -> None:
    """So that an old number cannot bring back a newer state."""
    first = chain.snapshot()
    chain.revert(first)
    assert chain.snapshot() > first


def test_a_snapshot_brings_the_clock_back(chain: EmbeddedChain) -> None:
    """Both the offset and a fixed next time."""
    taken = chain.snapshot()
    chain.clock.advance(10_000)
    chain.clock.fix(chain.head.header.timestamp + 50_000, chain.head.header.timestamp)
    chain.revert(taken)
    assert (chain.clock.offset, chain.clock.fixed) == (0, None)


def test_the_base_fee_falls_while_blocks_are_empty(chain: EmbeddedChain) -> None:
    """By an eighth a block (EIP-1559)."""
    first, second = chain.head, chain.mine()
    assert second.header.base_fee_per_gas == first.header.base_fee_per_gas * 7 // 8


def test_blockhash_sees_earlier_blocks(embedded: Any) -> None:
    """The opcode and the RPC agree on the parent's hash, also after a revert to another past."""
    taken = embedded.call("evm_snapshot")
    embedded.call("evm_mine")
    embedded.call("evm_revert", taken)
    embedded.call("evm_mine")
    embedded.call("evm_mine")
    parent = embedded.number("eth_blockNumber") - 1
    expected = int(embedded.call("eth_getBlockByNumber", hex(parent), False)["hash"], 16)
    code = bytes.fromhex("60014303405f5260205ff3")  # blockhash(number - 1)
    assert embedded.number("eth_call", {"data": "0x" + code.hex()}, "latest") == expected
