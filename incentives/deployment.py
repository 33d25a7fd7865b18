"""Where the contracts are: one JSON file per chain, pinned by the hash of each contract's code.

{"chainId": 31337, "contracts": {"Stakes": {"address": "0x..", "codeHash": "0x..", "block": 2}, ...},
 "params": {"minStake": "1000", "unbonding": 60, "closeDelay": 30, "maturity": 4, "maxFee": "20", "bond": "5", ...}}
"""

import json
import os
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Self

from incentives.chain_types import CodeReader, Contract
from incentives.epochs import MAINNET_CLOCKS, TESTNET_CLOCKS, Clocks
from incentives.errors import CodeMismatch, DeploymentError, WrongChain
from incentives.jury_terms import JURY_FIELDS, LOCAL_JURY, JuryTerms
from incentives.rpc_errors import shown_url
from incentives.score_params import (
    CLOCK_FIELDS,
    MAINNET_SCORES,
    SCORE_FIELDS,
    ScoreParams,
    clocks_from,
    clocks_json,
    scores_from,
    scores_json,
)
from incentives.secret_files import sync_folder
from incentives.strict_json import Fields
from incentives.units import MAX_AMOUNT, ONE
from sharding.hashing import keccak256
from verification.addresses import Address
from verification.typed_data import Domain

CONTRACTS = (
    "Token", "Models", "Rulebook", "Bench", "Judge",
    "Stakes", "Court", "Disputes", "Demands", "Jury", "Reliability", "Channels", "Evidence",
)  # fmt: skip
DAY_S = 24 * 60 * 60
MAX_FILE_BYTES = 64 * 1024
MAX_SECONDS = 2**40 - 1
_PARAM_FIELDS = (
    "minStake", "unbonding", "closeDelay", "maturity", "maxFee", "bond", "disputeDelay", "answerTime", "proofTime",
    "descentTime", "jury", "clocks", "scores",
)  # fmt: skip
_RECORD_FIELDS = ("address", "codeHash", "block")
MAX_BLOCK = 2**63 - 1
MAX_CHAIN_ID = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SuiteParams:
    """What the contracts are constructed with; it can never change afterwards."""

    min_stake: int = 1_000 * ONE
    unbonding_s: int = 7 * DAY_S
    """Longer than the longest dispute."""
    close_delay_s: int = DAY_S
    """What payees have to settle after a payer wants its money back."""
    maturity_s: int = 6 * DAY_S
    """What is settled can be collected after once to twice this time, and be refunded until then: longer than a dispute."""
    max_fee: int = 50 * ONE
    """The most that a finder gets of one slash: what proofs cost, several times over, and far below what nodes stake."""
    bond: int = 20 * ONE
    """What a challenge of an output puts at stake; half of a lost one pays the defender's answer."""
    dispute_delay_s: int = 2 * DAY_S
    """How long after a route's expiry its outputs can be challenged."""
    answer_s: int = DAY_S
    proof_s: int = DAY_S
    descent_s: int = DAY_S // 2
    """A dispute's clocks; the last is each side's for all its moves where the trace is withheld, and then proofs have their time
    once more. Together with the delay all of it is shorter than the unbonding: the contract refuses others."""
    jury: JuryTerms = field(default_factory=JuryTerms)
    clocks: Clocks = MAINNET_CLOCKS
    """Of the epochs of scores; the contract refuses epochs longer than half the unbonding."""
    scores: ScoreParams = MAINNET_SCORES


LOCAL_TESTNET = SuiteParams(
    min_stake=100 * ONE,
    unbonding_s=60,
    close_delay_s=60,
    maturity_s=4,
    max_fee=5 * ONE,
    bond=2 * ONE,
    jury=LOCAL_JURY,
    clocks=TESTNET_CLOCKS,
    scores=ScoreParams(demand_bond=ONE, reward=ONE, credit_unit=ONE // 1_000),
    dispute_delay_s=6,
    answer_s=5,
    proof_s=4,
    descent_s=5,
)
"""For chains of one's own: nobody waits a week to see a withdrawal."""


@dataclass(frozen=True, slots=True)
class ContractRecord:
    """One contract of a deployment."""

    address: Address
    code_hash: bytes
    block: int
    """The block that contains its creation: where its events begin."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """The contracts of one chain."""

    chain_id: int
    token: ContractRecord
    models: ContractRecord
    rulebook: ContractRecord
    bench: ContractRecord
    judge: ContractRecord
    stakes: ContractRecord
    court: ContractRecord
    disputes: ContractRecord
    jury: ContractRecord
    demands: ContractRecord
    channels: ContractRecord
    reliability: ContractRecord
    evidence: ContractRecord
    params: SuiteParams

    @property
    def pool(self) -> Address:
        """The audit pool: Reliability, which pays posters from its share of every route."""
        return self.reliability.address

    def record(self, name: str) -> ContractRecord:
        """The record of the contract with that name in its source."""
        record: ContractRecord = getattr(self, name.lower())
        return record

    def contract(self, name: str) -> Contract:
        """The contract with that name, ready to be called."""
        return Contract.at(name, self.record(name).address)

    def domain(self, name: str) -> Domain:
        """Where signatures for that contract hold."""
        return Domain(self.chain_id, self.record(name).address)

    def verify(self, chain: CodeReader) -> None:
        """Compare with the chain. Raises: WrongChain, CodeMismatch, ChainUnavailable."""
        if chain.chain_id != self.chain_id:
            raise WrongChain(shown_url(chain.url), self.chain_id, chain.chain_id)
        for name in CONTRACTS:
            record = self.record(name)
            actual = keccak256(chain.code(record.address))
            if actual != record.code_hash:
                raise CodeMismatch(name, record.address, record.code_hash, actual)

    def write(self, path: str | PathLike[str]) -> None:
        """Replace the file in one step: readers see the old one or the new one. Raises: DeploymentError."""
        target = Path(path)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part.open("w", encoding="utf-8") as file:
                file.write(json.dumps(_to_json(self), indent=2) + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise DeploymentError(str(path), error.strerror or str(error)) from error

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Self:
        """Read and check a file. Raises: DeploymentError for anything missing, unknown or out of range."""
        try:
            with Path(path).open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise DeploymentError(str(path), error.strerror or str(error)) from error
        if len(content) > MAX_FILE_BYTES:
            raise DeploymentError(str(path), f"larger than {MAX_FILE_BYTES} bytes, so it is no deployment")
        fields = Fields.parse(str(path), content, ("chainId", "contracts", "params"))
        records = fields.inner("contracts", CONTRACTS)
        contracts = {name.lower(): _record_from(records.inner(name, _RECORD_FIELDS)) for name in CONTRACTS}
        return cls(
            chain_id=fields.integer("chainId", MAX_CHAIN_ID),
            **contracts,
            params=_params_from(fields.inner("params", _PARAM_FIELDS)),
        )


def default_path(chain_id: int, folder: str | PathLike[str] = "deployments") -> Path:
    """Where the deployment of a chain is kept."""
    return Path(folder) / f"{chain_id}.json"


def _to_json(deployment: Deployment) -> dict[str, Any]:
    records = {name: deployment.record(name) for name in CONTRACTS}
    params = deployment.params
    return {
        "chainId": deployment.chain_id,
        "contracts": {
            name: {"address": record.address, "codeHash": "0x" + record.code_hash.hex(), "block": record.block}
            for name, record in records.items()
        },
        "params": {
            "minStake": str(params.min_stake),  # text: many JSON readers round numbers past 2^53
            "unbonding": params.unbonding_s,
            "closeDelay": params.close_delay_s,
            "maturity": params.maturity_s,
            "maxFee": str(params.max_fee),
            "bond": str(params.bond),
            "disputeDelay": params.dispute_delay_s,
            "answerTime": params.answer_s,
            "proofTime": params.proof_s,
            "jury": params.jury.to_json(),
            "clocks": clocks_json(params.clocks),
            "scores": scores_json(params.scores),
            "descentTime": params.descent_s,
        },
    }


def _record_from(fields: Fields) -> ContractRecord:
    return ContractRecord(fields.address("address"), fields.hash("codeHash"), fields.integer("block", MAX_BLOCK))


def _params_from(fields: Fields) -> SuiteParams:
    return SuiteParams(
        min_stake=fields.decimal("minStake", MAX_AMOUNT),
        unbonding_s=fields.integer("unbonding", MAX_SECONDS),
        close_delay_s=fields.integer("closeDelay", MAX_SECONDS),
        maturity_s=fields.integer("maturity", MAX_SECONDS),
        max_fee=fields.decimal("maxFee", MAX_AMOUNT),
        bond=fields.decimal("bond", MAX_AMOUNT),
        dispute_delay_s=fields.integer("disputeDelay", MAX_SECONDS),
        answer_s=fields.integer("answerTime", MAX_SECONDS),
        proof_s=fields.integer("proofTime", MAX_SECONDS),
        jury=JuryTerms.from_fields(fields.inner("jury", JURY_FIELDS)),
        clocks=clocks_from(fields.inner("clocks", CLOCK_FIELDS)),
        scores=scores_from(fields.inner("scores", SCORE_FIELDS)),
        descent_s=fields.integer("descentTime", MAX_SECONDS),
    )
