"""Putting the suite on a chain: four contracts by one account, wired to each other by constructor arguments only.

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
from incentives.rpc_errors import shown_url
from incentives.signing import Signer
from incentives.units import ONE
from sharding.hashing import keccak256
from verification.addresses import Address, address_bytes, to_address

TOKEN_SUPPLY = 1_000_000_000 * ONE
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
    nonce = chain.nonce(signer.address)
    stakes_at, court_at = create_address(signer.address, nonce), create_address(signer.address, nonce + 1)
    stakes_args = (token_record.address, court_at, params.min_stake, params.unbonding_s)
    deployment = Deployment(
        chain_id=chain.chain_id,
        token=token_record,
        stakes=suite.create_at(stakes_at, "Stakes", *stakes_args),
        court=suite.create_at(court_at, "Court", stakes_at),
        channels=suite.create("Channels", token_record.address, params.close_delay_s),
        params=params,
    )
    verify_wiring(chain, deployment)
    return deployment


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
            if error.name != "StakesForeign":
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


def verify_wiring(chain: Chain, deployment: Deployment) -> None:
    """Ask every contract for its constants. Raises: DeploymentError, CodeMismatch, ChainError."""
    deployment.verify(chain)
    token, params = deployment.token.address, deployment.params
    expected: tuple[tuple[str, str, object], ...] = (
        ("Stakes", "token", token),
        ("Stakes", "court", deployment.court.address),
        ("Stakes", "minStake", params.min_stake),
        ("Stakes", "unbonding", params.unbonding_s),
        ("Court", "stakes", deployment.stakes.address),
        ("Channels", "token", token),
        ("Channels", "closeDelay", params.close_delay_s),
    )
    for name, fn, value in expected:
        contract: Contract = deployment.contract(name)
        actual = chain.call(contract, fn)
        if actual != value:
            raise DeploymentError(f"{name} at {contract.address}", f"{fn} is {actual}, expected {value}")
