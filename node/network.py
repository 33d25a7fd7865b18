"""The chain as a node or a client sees it: one verified deployment, its contracts and the domains of its signatures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from incentives.channels import Channels
from incentives.deployment import Deployment, default_path
from incentives.errors import ChainError, DeploymentError
from incentives.stakes import Stakes
from incentives.token import Token
from verification.addresses import Address
from verification.typed_data import Domain

if TYPE_CHECKING:
    from incentives.chain import Web3Chain
    from node.settings import NodeSettings

ANCHOR_DIGITS = 16
ANSWER_SECONDS = 10.0
"""How long one endpoint may take to say which chain it is of."""


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

    @property
    def pool(self) -> Address:
        """The audit pool, which has a share of every route."""
        return self.deployment.pool


def connect(
    urls: str | Sequence[str],
    deployment_path: Path | None,
    wait_seconds: float = 0.0,
    max_head_age_s: float | None = None,
) -> Network:
    """Reach a chain at one of several URLs; none is used whose chain or whose contracts' code is not the deployment's.

    Without a path, the file of the first chain is taken that an endpoint names and that fits. `max_head_age_s`: how old
    an endpoint's newest block may be, 0 for any age; by default 300 s, and any on the local chain.
    Raises: ChainUnavailable, WrongChain, CodeMismatch, StaleChain, DeploymentError.
    """
    from incentives.chain import wait_until_up  # web3 takes a second: not for --help

    listed = (urls,) if isinstance(urls, str) else tuple(urls)
    if wait_seconds > 0:
        wait_until_up(listed, wait_seconds)
    if deployment_path is not None:
        return _connected(listed, Deployment.read(deployment_path), max_head_age_s)
    failures = list[ChainError | DeploymentError]()
    for chain_id in _told_ids(listed):
        try:
            return _connected(listed, Deployment.read(default_path(chain_id)), max_head_age_s)
        except (ChainError, DeploymentError) as error:  # whoever named that chain may have lied
            failures.append(error)
    raise failures[0]


def connect_node(settings: "NodeSettings") -> Network:
    """Connect as a node's settings say. Raises: as connect."""
    return connect(settings.chain_urls, settings.deployment, max_head_age_s=settings.max_head_age_seconds)


def _told_ids(urls: Sequence[str]) -> list[int]:
    """The chains that endpoints say they are of, in their order. Raises: ChainUnavailable where none says anything."""
    from incentives.chain import wait_until_up

    told, failures = list[int](), list[ChainError]()
    for url in urls:
        try:
            told.append(wait_until_up(url, 0.0, timeout_s=ANSWER_SECONDS))
        except ChainError as error:
            failures.append(error)
    if not told:
        raise failures[0]
    return list(dict.fromkeys(told))


def _connected(urls: Sequence[str], deployment: Deployment, max_head_age_s: float | None) -> Network:
    from incentives.chain import Web3Chain
    from incentives.endpoint_health import HeadLimits

    heads = None if max_head_age_s is None else HeadLimits(max_age_s=max_head_age_s or None)
    chain = Web3Chain(urls, deployment.chain_id, heads=heads)
    chain.pool.require(deployment.verify)
    return from_deployment(chain, deployment)


def chain_folder(network: Network, data_dir: Path) -> Path:
    """Where is recorded what a data directory's owner sent to this chain and read of it.

    The hash of the block of the deployment names the chain: a local one that began anew has the same id and the same
    addresses, and counts its accounts' transactions from 0 again. Raises: ChainError.
    """
    anchor = network.chain.block(network.deployment.stakes.block).hash.hex()[:ANCHOR_DIGITS]
    return data_dir / f"chain-{network.chain.chain_id}-{anchor}"


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
