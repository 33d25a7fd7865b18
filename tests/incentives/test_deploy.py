"""A deployment is wired completely or refused."""

from dataclasses import fields, replace

import pytest

from incentives.chain_types import Deployed
from incentives.deploy import create_address, deploy_suite, verify_wiring
from incentives.deployment import LOCAL_TESTNET, ContractRecord, Deployment, SuiteParams
from incentives.errors import CodeMismatch, DeploymentError, Reverted, WrongChain
from incentives.signing import dev_addresses
from incentives.token import Token
from sharding.hashing import keccak256
from tests.incentives.suite import DEPLOYER, PARAMS, PAYER, STRANGER, Suite

CONTRACTS = [
    "Token",
    "Models",
    "Rulebook",
    "Bench",
    "Judge",
    "Stakes",
    "Court",
    "Disputes",
    "Jury",
    "Reliability",
    "Demands",
    "Channels",
    "Evidence",
]


@pytest.mark.parametrize(
    ("nonce", "address"),
    [
        (0, "0x5FbDB2315678afecb367f032d93F642f64180aa3"),
        (1, "0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512"),
        (127, "0x5fc748f1FEb28d7b76fa1c6B07D8ba2d5535177c"),
        (128, "0xB82008565FdC7e44609fA118A4a681E92581e680"),
        (255, "0x01E21d7B8c39dc4C764c19b308Bd8b14B1ba139E"),
        (256, "0x3C1Cb427D20F15563aDa8C249E71db76d7183B6c"),
        (2**40, "0x9E820f5E0b1FD7695985BEA0C73F4a83C4ebe58D"),
    ],
)
def test_addresses_of_future_contracts_are_known(nonce: int, address: str) -> None:
    """Each length of the number is encoded differently; the values are those of the rlp package."""
    assert create_address(dev_addresses()[0], nonce) == address


def test_a_deployment_is_verified_against_its_chain(suite: Suite) -> None:
    """Code and wiring as they were deployed."""
    suite.deployment.verify(suite.chain)
    verify_wiring(suite.chain, suite.deployment)
    assert suite.deployment.params == PARAMS
    assert suite.token.balance_of(DEPLOYER.address) > 0


def test_another_chain_id_in_the_file_is_refused(suite: Suite) -> None:
    """Before any address is looked at."""
    with pytest.raises(WrongChain) as caught:
        replace(suite.deployment, chain_id=1).verify(suite.chain)
    assert (caught.value.expected, caught.value.actual) == (1, 31337)


@pytest.mark.parametrize("name", CONTRACTS)
def test_another_program_at_an_address_is_refused(suite: Suite, name: str) -> None:
    """Another contract, and an account without any code, as after a restart of a local chain."""
    good = suite.deployment.record(name)
    for address in (suite.deployment.record("Court" if name != "Court" else "Token").address, STRANGER.address):
        moved = replace(suite.deployment, **{name.lower(): replace(good, address=address)})
        with pytest.raises(CodeMismatch, match="deploy again") as caught:
            moved.verify(suite.chain)
        assert (caught.value.name, caught.value.expected) == (name, good.code_hash)


@pytest.mark.parametrize(
    "params",
    [
        replace(PARAMS, min_stake=PARAMS.min_stake + 1),
        replace(PARAMS, unbonding_s=PARAMS.unbonding_s + 1),
        replace(PARAMS, close_delay_s=PARAMS.close_delay_s + 1),
        replace(PARAMS, maturity_s=PARAMS.maturity_s + 1),
        replace(PARAMS, max_fee=PARAMS.max_fee + 1),
        replace(PARAMS, bond=PARAMS.bond + 1),
        replace(PARAMS, dispute_delay_s=9),
        replace(PARAMS, answer_s=9),
        replace(PARAMS, proof_s=9),
        *(replace(PARAMS, jury=replace(PARAMS.jury, **{field.name: 1_000})) for field in fields(PARAMS.jury)),
        replace(PARAMS, clocks=replace(PARAMS.clocks, epoch=PARAMS.clocks.epoch + 1)),
        replace(PARAMS, clocks=replace(PARAMS.clocks, response=PARAMS.clocks.response - 1)),
        replace(PARAMS, clocks=replace(PARAMS.clocks, half_life=1)),
        replace(PARAMS, scores=replace(PARAMS.scores, capacity=1)),
        replace(PARAMS, scores=replace(PARAMS.scores, demand_bond=1)),
        replace(PARAMS, scores=replace(PARAMS.scores, reward=0)),
        replace(PARAMS, scores=replace(PARAMS.scores, credit_unit=1)),
        replace(PARAMS, scores=replace(PARAMS.scores, credit_cap=1)),
        replace(PARAMS, descent_s=9),
    ],
)
def test_parameters_that_are_not_the_contracts_are_refused(suite: Suite, params: SuiteParams) -> None:
    """A file cannot promise a longer delay than the contract keeps."""
    with pytest.raises(DeploymentError, match="expected"):
        verify_wiring(suite.chain, replace(suite.deployment, params=params))


def test_contracts_of_two_suites_do_not_pass_as_one(suite: Suite) -> None:
    """Every contract is genuine, and they do not know each other."""
    other = deploy_suite(suite.chain, PAYER, LOCAL_TESTNET, token=suite.token.address)
    with pytest.raises(DeploymentError, match="court"):
        verify_wiring(suite.chain, replace(other, court=suite.deployment.court))


def test_an_existing_token_is_used_and_progress_is_told(suite: Suite) -> None:
    """All but the token then, by an account that has already sent something."""
    told: list[Deployed] = []
    other = deploy_suite(suite.chain, PAYER, LOCAL_TESTNET, token=suite.token.address, progress=told.append)
    assert [each.contract.name for each in told] == CONTRACTS[1:]
    assert [each.address for each in told] == [other.record(name).address for name in CONTRACTS[1:]]
    assert other.token.address == suite.token.address
    assert other.params == LOCAL_TESTNET
    assert Token(suite.chain, other).balance_of(PAYER.address) == suite.token.balance_of(PAYER.address)


def test_an_account_is_no_token(suite: Suite) -> None:
    """Nothing is deployed round it."""
    nonce = suite.chain.nonce(PAYER.address)
    with pytest.raises(DeploymentError, match="no contract"):
        deploy_suite(suite.chain, PAYER, LOCAL_TESTNET, token=STRANGER.address)
    assert suite.chain.nonce(PAYER.address) == nonce


def test_parameters_that_the_contracts_refuse_are_a_revert(suite: Suite) -> None:
    """With the contract's own reason."""
    for params, reason in (
        (replace(PARAMS, min_stake=0), "AmountZero"),
        (replace(PARAMS, unbonding_s=0), "UnbondingInvalid"),
        (replace(PARAMS, close_delay_s=0), "CloseDelayInvalid"),
        (replace(PARAMS, maturity_s=0), "MaturityInvalid"),
        (replace(PARAMS, bond=0), "TermsInvalid"),
        (replace(PARAMS, answer_s=0), "TermsInvalid"),
        (replace(PARAMS, proof_s=0), "TermsInvalid"),
        (replace(PARAMS, unbonding_s=PARAMS.jury.longest_s), "TermsInvalid"),
        (replace(PARAMS, jury=replace(PARAMS.jury, reveal_s=0)), "TermsInvalid"),
        (replace(PARAMS, jury=replace(PARAMS.jury, fee=PARAMS.jury.bond // 24 + 1)), "BondInvalid"),
        (replace(PARAMS, unbonding_s=59), "ClocksInvalid"),
        (replace(PARAMS, scores=replace(PARAMS.scores, credit_unit=0)), "CreditInvalid"),
        (replace(PARAMS, descent_s=0), "TermsInvalid"),
        (replace(PARAMS, unbonding_s=29), "TermsInvalid"),
    ):
        with pytest.raises(Reverted, match=reason):
            deploy_suite(suite.chain, PAYER, params, token=suite.token.address)


@pytest.mark.parametrize("after", CONTRACTS[:-1])
def test_a_deployer_that_sends_something_else_meanwhile_is_told_so(suite: Suite, after: str) -> None:
    """The addresses computed before no longer hold; a suite that is not wired is never handed out."""

    def interfere(deployed: Deployed) -> None:
        if deployed.contract.name == after:
            suite.chain.transfer_native(PAYER, STRANGER.address, 1)

    if CONTRACTS.index(after) >= CONTRACTS.index("Stakes"):
        with pytest.raises(DeploymentError, match="meanwhile"):
            deploy_suite(suite.chain, PAYER, LOCAL_TESTNET, progress=interfere)
    else:  # the addresses are computed after these
        verify_wiring(suite.chain, deploy_suite(suite.chain, PAYER, LOCAL_TESTNET, progress=interfere))


def test_a_stranger_that_answers_like_a_contract_has_another_code_hash(suite: Suite) -> None:
    """The hash is of what runs, immutables included: another minimum stake is another program."""
    other = deploy_suite(suite.chain, PAYER, LOCAL_TESTNET, token=suite.token.address)
    assert other.stakes.code_hash != suite.deployment.stakes.code_hash
    mixed: Deployment = replace(other, stakes=ContractRecord(other.stakes.address, keccak256(b""), 0))
    with pytest.raises(CodeMismatch):
        mixed.verify(suite.chain)
