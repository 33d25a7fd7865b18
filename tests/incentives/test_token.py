"""The token and its signed approvals."""

from dataclasses import replace

import pytest

from incentives.chain_types import Contract
from incentives.deployment import ContractRecord
from incentives.errors import Reverted
from incentives.token import PermitUnsupported, Token
from sharding.hashing import keccak256
from tests.incentives.suite import DEPLOYER, OWNER, PAYER, STRANGER, Suite


def use_permit(suite: Suite, *args: object) -> None:
    """Bring a permit to the token, as the contracts do."""
    suite.chain.send(STRANGER, suite.token.contract, "permit", *args)


def test_transfers_and_allowances_are_as_told(suite: Suite) -> None:
    """Balances move, allowances replace each other."""
    before = suite.token.balance_of(DEPLOYER.address)
    suite.token.transfer(DEPLOYER, STRANGER.address, 5)
    assert suite.token.balance_of(STRANGER.address) == 5
    assert suite.token.balance_of(DEPLOYER.address) == before - 5
    for amount in (9, 2):
        suite.token.approve(OWNER, STRANGER.address, amount)
        assert suite.token.allowance(OWNER.address, STRANGER.address) == amount


def test_an_allowance_that_suffices_is_left_alone(suite: Suite) -> None:
    """No transaction for nothing; one unit more needs one."""
    suite.token.approve(OWNER, STRANGER.address, 9)
    nonce = suite.chain.nonce(OWNER.address)
    suite.token.ensure_allowance(OWNER, STRANGER.address, 9)
    assert suite.chain.nonce(OWNER.address) == nonce
    suite.token.ensure_allowance(OWNER, STRANGER.address, 10)
    assert suite.token.allowance(OWNER.address, STRANGER.address) == 10


def test_a_permit_approves_once(suite: Suite) -> None:
    """Anybody may bring it; the second time its nonce is used up."""
    permit = suite.token.sign_permit(OWNER, PAYER.address, 7)
    use_permit(suite, OWNER.address, PAYER.address, 7, *permit.words)
    assert suite.token.allowance(OWNER.address, PAYER.address) == 7
    with pytest.raises(Reverted, match="SignatureInvalid"):
        use_permit(suite, OWNER.address, PAYER.address, 7, *permit.words)


def test_a_permit_holds_for_what_was_signed_only(suite: Suite) -> None:
    """Owner, spender and amount."""
    permit = suite.token.sign_permit(OWNER, PAYER.address, 7)
    for changed in (
        (OWNER.address, PAYER.address, 8),
        (OWNER.address, STRANGER.address, 7),
        (DEPLOYER.address, PAYER.address, 7),
    ):
        with pytest.raises(Reverted, match="SignatureInvalid"):
            use_permit(suite, *changed, *permit.words)


def test_a_permit_ends_with_its_deadline_on_the_chains_clock(suite: Suite) -> None:
    """One hour unless told otherwise, whatever this machine's clock says."""
    suite.wait(1_000_000)
    permit = suite.token.sign_permit(OWNER, PAYER.address, 7)
    assert 0 < permit.deadline - suite.chain.head().timestamp <= 3_600
    suite.wait(4_000)
    with pytest.raises(Reverted, match="PermitExpired"):
        use_permit(suite, OWNER.address, PAYER.address, 7, *permit.words)
    late = suite.token.sign_permit(OWNER, PAYER.address, 7, deadline=2**40)
    use_permit(suite, OWNER.address, PAYER.address, 7, *late.words)


def test_a_contract_without_permits_is_not_signed_for(suite: Suite) -> None:
    """The Court has none of the functions; a signature in a guessed domain would be a gamble."""
    court = suite.deployment.court
    token = Token(suite.chain, replace(suite.deployment, token=court))
    with pytest.raises(PermitUnsupported, match=court.address):
        token.sign_permit(OWNER, PAYER.address, 7)


def test_a_token_whose_domain_is_another_is_not_signed_for(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    """The separator that the token itself computes decides."""
    plain = suite.chain.call

    def lying(contract: Contract, fn: str, *args: object, block: int | None = None) -> object:
        return "Another" if fn == "name" else plain(contract, fn, *args, block=block)

    monkeypatch.setattr(suite.chain, "call", lying)
    with pytest.raises(PermitUnsupported):
        Token(suite.chain, suite.deployment).permit_domain()
    empty = replace(suite.deployment, token=ContractRecord(STRANGER.address, keccak256(b""), 0))
    with pytest.raises(PermitUnsupported):
        Token(suite.chain, empty).permit_domain()
