"""Putting the suite on a chain: its contracts by one account, wired to each other by constructor arguments only.

Stakes has to know the Court before the Court exists, so addresses are computed first, from the account's next numbers.
Source: the CREATE rule of https://ethereum.github.io/yellowpaper/paper.pdf, keccak256(rlp([sender, nonce]))[12:].
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from incentives.artifacts import load_artifact
from incentives.chain_types import Chain, Contract, Deployed
from incentives.deployment import LOCAL_TESTNET, ContractRecord, Deployment, SuiteParams
from incentives.errors import DeploymentError, Reverted
from incentives.payees import POOL_BPS
from incentives.rpc_errors import shown_url
from incentives.signing import Signer
from incentives.units import ONE
from sharding.hashing import keccak256
from verification.addresses import Address, address_bytes, to_address

JUDGE_PARTS = ("Models", "Rulebook", "Bench")
TOKEN_SUPPLY = 1_000_000_000 * ONE
ARBITERS = 4
"""Disputes, jury, reliability, demands: what the Court obeys."""
__all__ = ["LOCAL_TESTNET", "SuiteParams", "create_address", "deploy_suite"]


def create_address(sender: str, nonce: int) -> Address:
    """Where the contract will be that `sender` creates with its transaction number `nonce`."""
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    short = len(number) == 1 and number[0] < 0x80
    fields = b"\x94" + address_bytes(sender) + (number if short else bytes([0x80 + len(number)]) + number)
    return to_address(keccak256(bytes([0xC0 + len(fields)]) + fields)[-20:])


def deploy_suite(
    chain: Chain,
    signer: Signer,
    params: SuiteParams,
    token: Address | None = None,
    progress: Callable[[Deployed], None] | None = None,
) -> Deployment:
    """Deploy the contracts and prove that they point to each other. `token`: an existing ERC-20; without it, a new one.

    The signer must send nothing else meanwhile. Raises: DeploymentError when it did, or the token is no contract;
    ChainError.
    """
    suite = _Suite(chain, signer, progress or (lambda _: None))
    token_record = suite.create("Token", TOKEN_SUPPLY) if token is None else _existing_token(chain, token)
    models = suite.create("Models")
    rulebook, bench = suite.create("Rulebook"), suite.create("Bench")
    judge = suite.create("Judge", models.address, rulebook.address, bench.address)
    genesis = chain.head().timestamp
    stakes_at, court_at, *arbiters, channels_at, evidence_at = next_addresses(chain, signer, 2 + ARBITERS + 2)
    disputes_at, jury_at, scores_at, demands_at = arbiters
    calendar = genesis, params.clocks.epoch
    stakes_args = (token_record.address, court_at, params.min_stake, params.unbonding_s, params.max_fee)
    deployment = Deployment(
        chain_id=chain.chain_id,
        token=token_record,
        models=models,
        rulebook=rulebook,
        bench=bench,
        judge=judge,
        stakes=suite.create_at(stakes_at, "Stakes", *stakes_args),
        court=suite.create_at(court_at, "Court", stakes_at, tuple(arbiters), calendar),
        disputes=suite.create_at(disputes_at, "Disputes", court_at, judge.address, _dispute_terms(params)),
        jury=suite.create_at(jury_at, "Jury", court_at, params.jury.words),
        reliability=suite.create_at(
            scores_at, "Reliability", stakes_at, court_at, evidence_at, *_score_terms(params, genesis)
        ),
        demands=suite.create_at(demands_at, "Demands", court_at, models.address, _demand_terms(params)),
        channels=suite.create_at(
            channels_at, "Channels", token_record.address, *_channel_terms(params), court_at, scores_at
        ),
        evidence=suite.create_at(evidence_at, "Evidence", court_at, channels_at, scores_at, *_credit_terms(params)),
        params=params,
    )
    verify_wiring(chain, deployment)
    return deployment


def next_addresses(chain: Chain, signer: Signer, count: int) -> list[Address]:
    """Where the signer's next contracts will be."""
    nonce = chain.nonce(signer.address)
    return [create_address(signer.address, nonce + k) for k in range(count)]


def _channel_terms(params: SuiteParams) -> tuple[int, int]:
    """As Channels' constructor takes them."""
    return params.close_delay_s, params.maturity_s


def _dispute_terms(params: SuiteParams) -> tuple[int, int, int, int, int]:
    """As DisputeTerms."""
    return params.bond, params.dispute_delay_s, params.answer_s, params.proof_s, params.descent_s


def _demand_terms(params: SuiteParams) -> tuple[int, int, int]:
    """As DemandTerms."""
    return params.bond, params.dispute_delay_s, params.answer_s


def _score_terms(params: SuiteParams, genesis: int) -> tuple[object, ...]:
    """As Reliability's constructor takes them."""
    scores = params.scores
    return params.clocks.words, genesis, scores.capacity, scores.demand_bond, scores.reward


def _credit_terms(params: SuiteParams) -> tuple[int, int]:
    """As Evidence's constructor takes them."""
    return params.scores.credit_unit, params.scores.credit_cap


@dataclass(frozen=True, slots=True)
class _Suite:
    chain: Chain
    signer: Signer
    progress: Callable[[Deployed], None]

    def create(self, name: str, *args: Any) -> ContractRecord:
        """Deploy one contract and check that its code is the one of its artifact."""
        artifact = load_artifact(name)
        deployed = self.chain.deploy(self.signer, artifact, *args)
        if not artifact.is_code(self.chain.code(deployed.address)):
            raise DeploymentError(f"{name} at {deployed.address}", "the chain runs other code than was sent")
        self.progress(deployed)
        return ContractRecord(deployed.address, deployed.code_hash, deployed.block)

    def create_at(self, expected: Address, name: str, *args: Any) -> ContractRecord:
        """Deploy where others already expect the contract. Raises: DeploymentError when it came to lie elsewhere."""
        try:
            record = self.create(name, *args)
        except Reverted as error:
            if error.name not in ("StakesForeign", "CourtForeign", "SuiteForeign"):
                raise
            raise self._moved(name, expected) from error
        if record.address != expected:
            raise self._moved(name, expected)
        return record

    def _moved(self, name: str, expected: Address) -> DeploymentError:
        reason = (
            f"it is not at {expected}: {self.signer.address} sent something else meanwhile, the contracts are useless"
        )
        return DeploymentError(name, reason)


def _existing_token(chain: Chain, token: Address) -> ContractRecord:
    code = chain.code(token)
    if not code:
        raise DeploymentError(f"token {token}", f"there is no contract at that address of {shown_url(chain.url)}")
    return ContractRecord(to_address(token), keccak256(code), chain.head().number)


def _scores_wiring(chain: Chain, deployment: Deployment) -> tuple[tuple[str, str, object], ...]:
    """What the contracts of the scores have to say; all three have to count the same epochs."""
    params, scores = deployment.params, deployment.params.scores
    reliability = deployment.contract("Reliability")
    genesis, count = chain.call(reliability, "times")[0], chain.call(reliability, "enrolled")[0]
    calendar, clocks = (genesis, params.clocks.epoch), params.clocks.words
    suite = deployment.court.address, deployment.channels.address, deployment.pool, POOL_BPS
    return (
        ("Court", "calendar", calendar),
        ("Evidence", "calendar", calendar),
        ("Evidence", "suite", suite),
        ("Evidence", "rule", _credit_terms(params)),
        ("Reliability", "times", (genesis, *clocks[:-1])),
        ("Reliability", "halfLife", clocks[-1]),
        ("Reliability", "enrolled", (count, scores.capacity)),
        ("Reliability", "stakes", deployment.stakes.address),
        ("Reliability", "court", deployment.court.address),
        ("Reliability", "evidence", deployment.evidence.address),
        ("Reliability", "token", deployment.token.address),
        ("Reliability", "amounts", (scores.demand_bond, scores.reward)),
    )


def verify_wiring(chain: Chain, deployment: Deployment) -> None:
    """Ask every contract for its constants. Raises: DeploymentError, CodeMismatch, ChainError."""
    deployment.verify(chain)
    token, params = deployment.token.address, deployment.params
    expected: tuple[tuple[str, str, object], ...] = (
        ("Stakes", "token", token),
        ("Stakes", "court", deployment.court.address),
        ("Stakes", "minStake", params.min_stake),
        ("Stakes", "unbonding", params.unbonding_s),
        ("Stakes", "maxFee", params.max_fee),
        ("Court", "stakes", deployment.stakes.address),
        ("Disputes", "court", deployment.court.address),
        ("Disputes", "bond", params.bond),
        ("Disputes", "disputeTerms", (deployment.judge.address, *_dispute_terms(params)[1:])),
        ("Jury", "court", deployment.court.address),
        ("Jury", "juryTerms", params.jury.words),
        ("Demands", "court", deployment.court.address),
        ("Demands", "bond", params.bond),
        ("Demands", "demandTerms", (deployment.models.address, *_demand_terms(params)[1:])),
        ("Judge", "parts", tuple(deployment.record(name).address for name in JUDGE_PARTS)),
        ("Channels", "token", token),
        ("Channels", "closeDelay", params.close_delay_s),
        *_scores_wiring(chain, deployment),
        ("Channels", "maturity", params.maturity_s),
        ("Channels", "court", deployment.court.address),
        ("Channels", "poolAccount", deployment.pool),
    )
    for name, fn, value in expected:
        contract: Contract = deployment.contract(name)
        actual = chain.call(contract, fn)
        actual = tuple(actual) if isinstance(actual, list) else actual
        if actual != value:
            raise DeploymentError(f"{name} at {contract.address}", f"{fn} is {actual}, expected {value}")
