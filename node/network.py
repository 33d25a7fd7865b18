"""The chain as a node or a client sees it: one verified deployment, its contracts and the domains of its signatures."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from incentives.channels import Channels
from incentives.deployment import Deployment
from incentives.stakes import Stakes
from incentives.token import Token
from verification.typed_data import Domain

if TYPE_CHECKING:
    from incentives.chain import Web3Chain


@dataclass(frozen=True, slots=True)
class Network:
    """Contracts whose code was checked against the deployment file."""

    chain: "Web3Chain"
    deployment: Deployment
    token: Token
    stakes: Stakes
    channels: Channels
    route_domain: Domain
    money_domain: Domain
    hello_domain: Domain


def connect(rpc_url: str, deployment_path: Path | None, wait_seconds: float = 0.0) -> Network:
    """Reach the chain and check the deployment.

    Raises: ChainUnavailable, WrongChain, CodeMismatch, DeploymentError.
    """
    from incentives.chain import Web3Chain, wait_until_up  # web3 takes a second: not for --help

    if wait_seconds > 0:
        wait_until_up(rpc_url, wait_seconds)
    chain = Web3Chain(rpc_url)
    path = deployment_path or Path("deployments") / f"{chain.chain_id}.json"
    deployment = Deployment.read(path)
    deployment.verify(chain)
    return from_deployment(chain, deployment)


def from_deployment(chain: "Web3Chain", deployment: Deployment) -> Network:
    """Wrap a deployment that is known to be good."""
    return Network(
        chain=chain,
        deployment=deployment,
        token=Token(chain, deployment),
        stakes=Stakes(chain, deployment),
        channels=Channels(chain, deployment),
        route_domain=Domain(deployment.chain_id, deployment.court.address),
        money_domain=Domain(deployment.chain_id, deployment.channels.address),
        hello_domain=Domain(deployment.chain_id, deployment.stakes.address),
    )
