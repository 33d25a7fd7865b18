"""Python and Solidity compute the same digests: random cases against the deployed contracts."""

import random

import pytest

from incentives.payees import payees_for, payees_hash
from incentives.stakes import consent_digest
from incentives.vouchers import ChannelKey, Release, Voucher
from tests.incentives.suite import OWNER, PAYER, WORK, Suite
from verification.addresses import Address, to_address
from verification.receipts import Receipt

CASES = 20
UINT32 = (0, 1, 2**31, 2**32 - 1)
UINT40 = (0, 1, 2**31, 2**40 - 1)
UINT96 = (0, 1, 2**53 + 1, 2**96 - 1)


@pytest.fixture
def dice(request: pytest.FixtureRequest) -> random.Random:
    """Seeded by the test's name."""
    return random.Random(request.node.originalname)


def address(dice: random.Random) -> Address:
    """Any address."""
    return to_address(dice.randbytes(20))


def key(dice: random.Random) -> ChannelKey:
    """Any channel."""
    return ChannelKey(address(dice), address(dice), dice.randbytes(32), dice.randbytes(32))


def test_channel_ids_agree(deployed_suite: Suite, dice: random.Random) -> None:
    """EIP-712 over the key."""
    channels = deployed_suite.channels
    for _ in range(CASES):
        case = key(dice)
        words = (case.payer, case.signer, case.payees, case.salt)
        assert deployed_suite.chain.call(channels.contract, "channelId", words) == case.id(channels.domain)


def test_voucher_digests_agree(deployed_suite: Suite, dice: random.Random) -> None:
    """Edge amounts included."""
    channels = deployed_suite.channels
    for case in range(CASES):
        amount = UINT96[case] if case < len(UINT96) else dice.randrange(2**96)
        voucher = Voucher(dice.randbytes(32), amount, dice.randbytes(32))
        theirs = deployed_suite.chain.call(
            channels.contract, "voucherDigest", voucher.channel, voucher.cumulative, voucher.work
        )
        assert theirs == voucher.digest(channels.domain)


def test_release_digests_agree(deployed_suite: Suite, dice: random.Random) -> None:
    """Edge amounts and edge times included."""
    channels = deployed_suite.channels
    for case in range(CASES):
        settled = UINT96[case] if case < len(UINT96) else dice.randrange(2**96)
        deadline = UINT40[case] if case < len(UINT40) else dice.randrange(2**40)
        release = Release(dice.randbytes(32), settled, deadline)
        theirs = deployed_suite.chain.call(
            channels.contract, "releaseDigest", release.channel, release.settled, release.deadline
        )
        assert theirs == release.digest(channels.domain)


def test_receipt_digests_agree(deployed_suite: Suite, dice: random.Random) -> None:
    """Every field at its edges."""
    court = deployed_suite.court
    for _ in range(CASES):
        numbers = [dice.choice((*UINT32, dice.randrange(2**32))) for _ in range(4)]
        roots = [dice.randbytes(32) for _ in range(4)]
        receipt = Receipt(dice.randbytes(32), *numbers, *roots)
        words = (receipt.route, *numbers, *roots)
        assert deployed_suite.chain.call(court.contract, "receiptDigest", words) == receipt.digest(court.domain)


def test_consent_digests_agree(deployed_suite: Suite, dice: random.Random) -> None:
    """What a hot key signs to join."""
    stakes = deployed_suite.stakes
    for _ in range(CASES):
        owner, peer = address(dice), dice.randbytes(32)
        theirs = deployed_suite.chain.call(stakes.contract, "consentDigest", owner, peer)
        assert theirs == consent_digest(stakes.domain, owner, peer)


def test_domain_separators_agree(deployed_suite: Suite) -> None:
    """The contracts' and the token's own."""
    for wrapper in (deployed_suite.channels, deployed_suite.stakes, deployed_suite.court):
        assert deployed_suite.chain.call(wrapper.contract, "domainSeparator") == wrapper.domain.separator
    token = deployed_suite.token
    assert deployed_suite.chain.call(token.contract, "DOMAIN_SEPARATOR") == token.permit_domain().separator


def test_payees_hashes_and_shares_agree(suite: Suite, dice: random.Random) -> None:
    """The contract hashes the words itself when they collect; only the right hash leads to the pot."""
    for count in (1, 3, 17):
        payees = payees_for([(address(dice), dice.randrange(1, 2**80)) for _ in range(count)])
        case = ChannelKey(PAYER.address, PAYER.address, payees_hash(payees), dice.randbytes(32))
        pot = dice.randrange(10**6, 10**18)
        suite.channels.deposit_and_open(PAYER, case, pot)
        domain = suite.channels.domain
        voucher = Voucher(case.id(domain), pot, WORK)
        r_and_vs = PAYER.sign_digest(voucher.digest(domain))
        words = (case.payer, case.signer, case.payees, case.salt)
        args = (words, pot, WORK, r_and_vs[:32], r_and_vs[32:])
        suite.chain.send(OWNER, suite.channels.contract, "settle", *args)
        suite.ripen()
        index = dice.randrange(count)
        expected = suite.channels.collectable(payees, index)
        assert expected == payees[index].share_of(pot)
        suite.channels.collect(OWNER, payees, index)
        assert suite.token.balance_of(payees[index].node) == expected
