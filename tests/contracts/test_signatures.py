"""Every signature form but one is refused, although the EVM's own recovery would accept it."""

from dataclasses import astuple
from typing import Any

import pytest
from coincurve import PublicKey

from incentives.artifacts import load_artifact
from incentives.chain import Web3Chain
from incentives.signing import GROUP_ORDER, LocalSigner, split_signature
from sharding.hashing import keccak256
from tests.conftest import ask
from tests.contracts.world import DEADLINE, MIN_STAKE, PEER, ZERO, Words, World, dev, hot, word
from verification.receipts import Receipt
from verification.typed_data import Domain

OWNER, STRANGER = dev(1), dev(9)
HIGHEST_S = GROUP_ORDER // 2
PARITY = 1 << 255
INVALID = ("SignatureInvalid", ())


def _key_for(digest: bytes, s: int) -> tuple[LocalSigner, Words]:
    """A key, and its valid signature over `digest` with exactly this s: from R = kG follows the key (sk - z)/r."""
    k = int.from_bytes(keccak256(b"nonce"), "big")
    point = PublicKey.from_valid_secret(k.to_bytes(32, "big"))
    r, parity = point.point()[0] % GROUP_ORDER, point.point()[1] & 1
    secret = (s * k - int.from_bytes(digest, "big")) * pow(r, -1, GROUP_ORDER) % GROUP_ORDER
    return LocalSigner(secret.to_bytes(32, "big")), (r.to_bytes(32, "big"), (s | parity * PARITY).to_bytes(32, "big"))


def _join(world: World, signer: LocalSigner, words: Words) -> tuple[Any, ...]:
    return (world.stakes, "join", MIN_STAKE, signer.address, PEER, *words)


def test_a_high_s_is_refused_and_the_highest_low_one_is_not(world: World) -> None:
    """Both signatures are by the key that has to sign; only the form of one is wrong."""
    digest = world.view(world.stakes, "consentDigest", OWNER.address, PEER)
    signer, words = _key_for(digest, HIGHEST_S + 1)
    assert world.refusal(OWNER, *_join(world, signer, words)) == INVALID
    signer, words = _key_for(digest, HIGHEST_S)
    world.send(OWNER, *_join(world, signer, words))
    assert world.stake(OWNER)[1] == signer.address


def test_the_court_hears_no_high_s(world: World) -> None:
    """A receipt's signature has one form, too."""
    receipt = Receipt(PEER, 0, 0, 0, 16, PEER, PEER, PEER, PEER)
    signer, words = _key_for(receipt.digest(world.domain(world.court)), HIGHEST_S + 1)
    other = Receipt(PEER, 0, 0, 0, 16, PEER, PEER, PEER, bytes(32))
    signed = split_signature(signer.sign_digest(other.digest(world.domain(world.court))))
    call = world.court, "proveEquivocation", astuple(receipt), *words, astuple(other), *signed, ZERO
    assert world.refusal(STRANGER, *call) == INVALID


def test_broken_signatures_are_refused_everywhere(world: World) -> None:
    """r and s of zero, too large an r, an r that is no point, the mirrored parity: by all three contracts."""
    key = world.channel(OWNER, hot("client"), [word(OWNER.address, 10_000)], 10)
    receipt = astuple(Receipt(PEER, 0, 0, 0, 16, PEER, PEER, PEER, PEER))
    other = (*receipt[:-1], bytes(32))
    good_r, good_vs = world.voucher(hot("client"), key, 5)[3:]
    flipped = (int.from_bytes(good_vs, "big") ^ PARITY).to_bytes(32, "big")
    no_point = (5).to_bytes(32, "big")  # 5^3 + 7 has no square root in the field
    for r, vs in (
        (bytes(32), good_vs),
        (good_r, bytes(32)),
        (GROUP_ORDER.to_bytes(32, "big"), good_vs),
        (no_point, good_vs),
        (good_r, flipped),
    ):
        settle = world.channels, "settle", astuple(key), 5, PEER, r, vs
        assert world.refusal(STRANGER, *settle) == INVALID
        assert world.refusal(OWNER, *_join(world, hot("signer"), (r, vs))) == INVALID
        if vs != flipped:  # the Court takes any key's word, so the mirrored one is merely another key
            call = world.court, "proveEquivocation", receipt, r, vs, other, r, vs, ZERO
            assert world.refusal(STRANGER, *call) == INVALID


@pytest.mark.parametrize("shift", [-27, 1, 2])
def test_a_permit_has_one_form_too(world: World, shift: int) -> None:
    """v of 0, 1, 28 for 27, 29; then the mirrored (r, n - s), which the EVM would take."""
    deadline, v, r, s = world.permit(OWNER, world.stakes, 5)
    call = world.token, "permit", OWNER.address, world.stakes.address, 5
    assert world.refusal(STRANGER, *call, deadline, v + shift if v + shift != 28 else 30, r, s) == INVALID
    mirrored = (GROUP_ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    assert world.refusal(STRANGER, *call, deadline, 55 - v, r, mirrored) == INVALID
    world.send(STRANGER, *call, deadline, v, r, s)
    assert world.refusal(STRANGER, *call, DEADLINE, v, r, s) == INVALID, "a permit counts once"


def test_the_domains_differ_and_wallets_can_read_them(world: World) -> None:
    """EIP-5267 tells the fields; the separator is their hash; no two contracts share it."""
    separators = set()
    for contract in (world.token, world.stakes, world.court, world.channels):
        fields = world.view(contract, "eip712Domain")
        assert list(fields) == [b"\x0f", "Tallystick", "1", 31337, contract.address, bytes(32), []]
        assert world.view(contract, "domainSeparator") == world.domain(contract).separator
        separators.add(world.domain(contract).separator)
    assert len(separators) == 4


def test_after_a_fork_the_domain_is_the_new_chains(anvil_url: str) -> None:
    """What was signed for the old chain is worth nothing on the new one, though the contract is the same."""
    snapshot, chain = ask(anvil_url, "evm_snapshot"), Web3Chain(anvil_url)
    token = chain.deploy(dev(0), load_artifact("Token"), 1).contract
    separators = [chain.call(token, "domainSeparator")]
    ask(anvil_url, "anvil_setChainId", 999)  # only anvil can
    try:
        separators.append(chain.call(token, "domainSeparator"))
    finally:
        ask(anvil_url, "anvil_setChainId", 31337)
        ask(anvil_url, "evm_revert", snapshot)
    assert separators == [Domain(chain_id, token.address).separator for chain_id in (31337, 999)]
