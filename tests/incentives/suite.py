"""One deployed suite with its wrappers, and the accounts that use it."""

from dataclasses import dataclass, replace

from incentives.chain import Web3Chain
from incentives.channels import Channels
from incentives.court import Court
from incentives.deploy import deploy_suite
from incentives.deployment import LOCAL_TESTNET, Deployment
from incentives.payees import Payee, payees_for, payees_hash
from incentives.signing import LocalSigner
from incentives.stakes import Stakes, sign_consent
from incentives.token import Token
from incentives.units import ONE
from incentives.vouchers import ChannelKey
from sharding.hashing import keccak256
from tests.conftest import ask

PARAMS = replace(LOCAL_TESTNET, min_stake=100 * ONE, unbonding_s=1_000, close_delay_s=600, maturity_s=300)
PEER = keccak256(b"peer")
WORK = keccak256(b"work")
SALT = keccak256(b"salt")


def dev(index: int) -> LocalSigner:
    """An account with gas money; 0 deployed the suite and holds the tokens."""
    return LocalSigner.dev_account(index, 31337)


DEPLOYER, OWNER, NODE, PAYER, STRANGER = (dev(index) for index in range(5))


@dataclass(frozen=True, slots=True)
class Suite:
    """The contracts on one chain."""

    url: str
    chain: Web3Chain
    deployment: Deployment
    token: Token
    stakes: Stakes
    channels: Channels
    court: Court

    def join(self, amount: int = PARAMS.min_stake) -> None:
        """OWNER becomes a node whose process signs as NODE."""
        consent = sign_consent(NODE, self.stakes.domain, OWNER.address, PEER)
        self.stakes.join_with_permit(OWNER, consent, amount)

    def ripen(self) -> None:
        """All that is settled by now can be collected."""
        self.wait(2 * PARAMS.maturity_s)

    def wait(self, seconds: int) -> None:
        """Let the chain's clock run."""
        ask(self.url, "evm_increaseTime", seconds)
        ask(self.url, "evm_mine")


def deploy(url: str) -> Suite:
    """Deploy, and give OWNER and PAYER 1,000 tokens each."""
    chain = Web3Chain(url, expected_chain_id=31337)
    deployment = deploy_suite(chain, DEPLOYER, PARAMS)
    contracts = (kind(chain, deployment) for kind in (Token, Stakes, Channels, Court))
    suite = Suite(url, chain, deployment, *contracts)  # type: ignore[arg-type]
    for account in (OWNER, PAYER):
        suite.token.transfer(DEPLOYER, account.address, 1_000 * ONE)
    return suite


def two_payees() -> tuple[Payee, ...]:
    """OWNER with 7,500 of the shares, STRANGER with 2,500."""
    return payees_for([(OWNER.address, 3), (STRANGER.address, 1)])


def channel_key(salt: bytes = SALT) -> ChannelKey:
    """A channel of PAYER, signed for by PAYER, to the two payees."""
    return ChannelKey(PAYER.address, PAYER.address, payees_hash(two_payees()), salt)
