"""Two receipts that contradict each other cost a node its stake."""

from dataclasses import replace

import pytest

from incentives.errors import InvalidSignature, Reverted
from sharding.hashing import keccak256
from tests.incentives.suite import NODE, OWNER, PAYER, STRANGER, Suite
from verification.receipts import Receipt

RECEIPT = Receipt(keccak256(b"route"), 1, 2, 32, 64, bytes(32), keccak256(b"in"), keccak256(b"kv"), keccak256(b"out"))
OTHER = replace(RECEIPT, out_root=keccak256(b"other out"))


def test_equivocation_burns_the_whole_stake(suite: Suite) -> None:
    """Anybody may bring the proof."""
    suite.join()
    digests = [receipt.digest(suite.court.domain) for receipt in (RECEIPT, OTHER)]
    first, second = (NODE.sign_digest(digest) for digest in digests)
    sent = suite.court.prove_equivocation(PAYER, RECEIPT, first, OTHER, second)
    record = suite.stakes.stake_of(OWNER.address)
    assert (record.bonded, record.exiting) == (0, 0)
    assert suite.stakes.stakes_changed(sent.block) == {OWNER.address: sent.block}
    assert [event.name for event in sent.logs] == ["EquivocationProven"]
    assert sent.logs[0].args["node"] == OWNER.address


@pytest.mark.parametrize(
    "other", [RECEIPT, replace(OTHER, chunk=3), replace(OTHER, stage=0), replace(OTHER, route=bytes(32))]
)
def test_receipts_that_agree_or_are_for_other_slots_prove_nothing(suite: Suite, other: Receipt) -> None:
    """An honest node signs many of those."""
    suite.join()
    first = NODE.sign_digest(RECEIPT.digest(suite.court.domain))
    second = NODE.sign_digest(other.digest(suite.court.domain))
    with pytest.raises(Reverted, match="NotEquivocation"):
        suite.court.prove_equivocation(PAYER, RECEIPT, first, other, second)


def test_a_strangers_signature_is_no_proof_against_a_node(suite: Suite) -> None:
    """Nor is one in another contract's domain, nor none at all."""
    suite.join()
    first = NODE.sign_digest(RECEIPT.digest(suite.court.domain))
    for second in (
        STRANGER.sign_digest(OTHER.digest(suite.court.domain)),
        NODE.sign_digest(OTHER.digest(suite.channels.domain)),
    ):
        with pytest.raises(Reverted, match="NotEquivocation"):
            suite.court.prove_equivocation(PAYER, RECEIPT, first, OTHER, second)
    with pytest.raises(InvalidSignature):
        suite.court.prove_equivocation(PAYER, RECEIPT, first, OTHER, b"")


def test_a_broken_link_burns_the_whole_stake(suite: Suite) -> None:
    """A receipt that says whose output it took, and took another one; an honest link proves nothing."""
    suite.join()
    after = replace(RECEIPT, stage=2, previous=RECEIPT.struct_hash(), in_root=RECEIPT.out_root)
    broken = replace(after, in_root=keccak256(b"another one"))
    domain = suite.court.domain
    with pytest.raises(Reverted, match="NotBrokenLink"):
        suite.court.prove_broken_link(PAYER, RECEIPT, after, NODE.sign_digest(after.digest(domain)))
    sent = suite.court.prove_broken_link(PAYER, RECEIPT, broken, NODE.sign_digest(broken.digest(domain)))
    assert [event.name for event in sent.logs] == ["BrokenLinkProven"]
    assert suite.stakes.stake_of(OWNER.address).bonded == 0


def test_either_fault_is_kept_as_a_conviction_on_its_route(suite: Suite) -> None:
    """Which is what a client's refund asks for; the second time it is known."""
    suite.join()
    domain = suite.court.domain
    first, second = (NODE.sign_digest(receipt.digest(domain)) for receipt in (RECEIPT, OTHER))
    suite.court.convict_of_equivocation(PAYER, RECEIPT, first, OTHER, second)
    assert suite.channels.is_convicted(RECEIPT.route, OWNER.address)
    elsewhere = replace(RECEIPT, route=keccak256(b"other route"))
    broken = replace(elsewhere, stage=2, previous=elsewhere.struct_hash(), in_root=keccak256(b"another one"))
    signature = NODE.sign_digest(broken.digest(domain))
    assert not suite.channels.is_convicted(broken.route, OWNER.address)
    suite.court.convict_of_broken_link(PAYER, elsewhere, broken, signature)
    assert suite.channels.is_convicted(broken.route, OWNER.address)
    with pytest.raises(Reverted, match="NodeConvicted"):
        suite.court.convict_of_broken_link(PAYER, elsewhere, broken, signature)
