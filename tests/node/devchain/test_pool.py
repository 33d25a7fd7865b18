"""Admission and the queue of early nonces, in process."""

import random
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from node.devchain import pool
from node.devchain.backend import EmbeddedChain
from node.devchain.constants import CHAIN_ID, MAX_QUEUED, MNEMONIC
from node.devchain.errors import GasRefused, InvalidParams, Refused, RpcError

TARGET = "0x" + "11" * 20


@pytest.fixture
def chain() -> EmbeddedChain:
    return EmbeddedChain()


@pytest.fixture(scope="module")
def keys() -> list[LocalAccount]:
    Account.enable_unaudited_hdwallet_features()
    return [Account.from_mnemonic(MNEMONIC, account_path=f"m/44'/60'/0'/0/{index}") for index in range(2)]


def raw(key: LocalAccount, nonce: int = 0, **fields: Any) -> bytes:
    whole = {"chainId": CHAIN_ID, "nonce": nonce, "to": TARGET, "value": 1, "gas": 21_000}
    whole |= {"maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 10**9} | fields
    return bytes(key.sign_transaction({k: v for k, v in whole.items() if v is not None}).raw_transaction)


def test_random_bytes_are_refused_and_never_crash(chain: EmbeddedChain) -> None:
    """Every refusal has its code; the chain goes on."""
    rng = random.Random(7)
    for _ in range(500):
        body = rng.randbytes(rng.randrange(0, 200))
        for prefix in (b"", b"\x01", b"\x02", b"\x04"):
            with pytest.raises(RpcError):
                pool.submit(chain, prefix + body)
    assert chain.head.number == 0


def test_a_flipped_bit_is_refused_or_belongs_to_another_sender(chain: EmbeddedChain, keys: list[LocalAccount]) -> None:
    """No change of a signed transaction is taken for the signer's."""
    rng, signed = random.Random(8), raw(keys[0])
    for _ in range(200):
        changed = bytearray(signed)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        with pytest.raises(RpcError):
            pool.submit(chain, bytes(changed))
    assert chain.state("latest").get_nonce(chain.accounts[0]) == 0  # type: ignore[arg-type]


def test_a_legacy_transaction_without_a_chain_id_is_refused(chain: EmbeddedChain, keys: list[LocalAccount]) -> None:
    """It could be replayed on any chain."""
    old = raw(keys[0], chainId=None, maxFeePerGas=None, maxPriorityFeePerGas=None, gasPrice=3 * 10**9)
    with pytest.raises(Refused, match="chain id"):
        pool.submit(chain, old)


@pytest.mark.parametrize(("kind", "name"), [(3, "blob"), (4, "set-code")])
def test_unsupported_types_are_refused_by_name(chain: EmbeddedChain, kind: int, name: str) -> None:
    """There is no place for them here."""
    with pytest.raises(Refused, match=name):
        pool.submit(chain, bytes([kind, 0xC0]))


def test_the_floor_of_calldata_is_part_of_the_least_gas(chain: EmbeddedChain, keys: list[LocalAccount]) -> None:
    """EIP-7623: 40 gas for a non-zero byte; at the floor it is taken, one below it is not."""
    floor = 21_000 + 40 * 100
    with pytest.raises(GasRefused, match=str(floor)):
        pool.submit(chain, raw(keys[0], data=b"\1" * 100, gas=floor - 1))
    pool.submit(chain, raw(keys[0], data=b"\1" * 100, gas=floor))
    assert chain.head.header.gas_used == floor


def test_the_whole_price_must_be_affordable(chain: EmbeddedChain, keys: list[LocalAccount]) -> None:
    """Value and the highest fee: exactly enough is taken, one wei more is not."""
    balance = chain.state("latest").get_balance(chain.accounts[0])  # type: ignore[arg-type]
    most = balance - 21_000 * 3 * 10**9
    with pytest.raises(Refused, match="nsufficient funds"):
        pool.submit(chain, raw(keys[0], value=most + 1))
    pool.submit(chain, raw(keys[0], value=most))


def test_a_tip_above_the_ceiling_is_refused(chain: EmbeddedChain, keys: list[LocalAccount]) -> None:
    """EIP-1559."""
    with pytest.raises((Refused, InvalidParams)):
        pool.submit(chain, raw(keys[0], maxPriorityFeePerGas=3 * 10**9 + 1))


def test_the_queue_is_mined_in_order_once_the_gap_is_filled(chain: EmbeddedChain, keys: list[LocalAccount]) -> None:
    """One block each."""
    hashes = [pool.submit(chain, raw(keys[0], nonce)) for nonce in (3, 2, 1)]
    assert chain.head.number == 0
    hashes.append(pool.submit(chain, raw(keys[0], 0)))
    found = [chain.place(one) for one in reversed(hashes)]
    assert [one and one.number for one in found] == [1, 2, 3, 4]
    assert not chain.queue


def test_the_queue_has_a_limit(chain: EmbeddedChain, keys: list[LocalAccount]) -> None:
    """At it a transaction is taken, past it refused; the one that fills the gap is always taken."""
    for nonce in range(1, MAX_QUEUED + 1):
        pool.submit(chain, raw(keys[0], nonce))
    with pytest.raises(Refused, match="already wait"):
        pool.submit(chain, raw(keys[1], 1))
    pool.submit(chain, raw(keys[0], 0))
    assert chain.head.number == MAX_QUEUED + 1


def test_a_waiting_transaction_is_replaced_for_ten_percent_more(chain: EmbeddedChain, keys: list[LocalAccount]) -> None:
    """Not for less."""
    fee = 2 * 10**9
    pool.submit(chain, raw(keys[0], 1, maxFeePerGas=fee))
    with pytest.raises(Refused, match="underpriced"):
        pool.submit(chain, raw(keys[0], 1, maxFeePerGas=fee * 11 // 10 - 1))
    better = pool.submit(chain, raw(keys[0], 1, maxFeePerGas=fee * 11 // 10))
    pool.submit(chain, raw(keys[0], 0))
    assert chain.place(better) is not None


def test_a_waiting_transaction_that_became_unaffordable_is_dropped(
    chain: EmbeddedChain, keys: list[LocalAccount]
) -> None:
    """It neither blocks the chain nor is it mined."""
    balance = chain.state("latest").get_balance(chain.accounts[0])  # type: ignore[arg-type]
    half = balance // 2
    late = pool.submit(chain, raw(keys[0], 1, value=half))
    pool.submit(chain, raw(keys[0], 0, value=half))
    assert chain.place(late) is None
    assert not chain.queue
    assert chain.head.number == 1


def test_a_revert_brings_the_queue_back(chain: EmbeddedChain, keys: list[LocalAccount]) -> None:
    """What waited then waits again."""
    early = pool.submit(chain, raw(keys[0], 1))
    taken = chain.snapshot()
    pool.submit(chain, raw(keys[0], 0))
    assert chain.place(early) is not None
    chain.revert(taken)
    assert chain.place(early) is None
    pool.submit(chain, raw(keys[0], 0))
    assert chain.place(early) is not None
