"""What a model's nodes ask, sold and earned in the last epoch, and what that says of prices and fairness. Synchronous, read only.

Earnings are what was collected on the chain, capacities what signed records claim. So all who ask get the same numbers, as far
as they hold the same records; a node without a record counts with its earnings and no capacity.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median_low
from typing import TYPE_CHECKING

from incentives.fairness import NodeEpoch, jain_index
from incentives.price_hint import Utilisation, next_hint
from node.gossip_view import NodeView
from node.network import Network
from verification.addresses import Address, to_address
from verification.placement_claims import RATES_PER_BLOCK_TOKEN

if TYPE_CHECKING:
    from incentives.chain import Web3Chain


@dataclass(frozen=True, slots=True)
class NodeSales:
    """One node in one epoch. Amounts in the token's smallest unit, work in tokens x blocks."""

    node: Address
    blocks: str
    ask: int
    """Per token and block: the record's, else the chain's."""
    is_recorded: bool
    earned: int
    capacity: int

    @property
    def sold(self) -> int:
        """Work that the earnings pay for at this ask."""
        return self.earned // self.ask if self.ask else 0


@dataclass(frozen=True, slots=True)
class ModelMarket:
    """All nodes of one model in one epoch."""

    manifest: bytes
    nodes: tuple[NodeSales, ...]

    @property
    def utilisation(self) -> Utilisation:
        """Of the nodes whose capacity is known."""
        known = [each for each in self.nodes if each.capacity]
        return sum((Utilisation(each.sold, each.capacity) for each in known), Utilisation(0, 0))

    @property
    def median_ask(self) -> int:
        """The lower one of two in the middle."""
        return median_low([each.ask for each in self.nodes])

    @property
    def hint(self) -> int:
        """Where the median ask would go after an epoch as this one."""
        return next_hint(self.median_ask, self.utilisation)

    @property
    def fairness(self) -> Fraction | None:
        """Jain's index; None where no node told what it can do."""
        epoch = [NodeEpoch(each.node, each.earned, each.capacity) for each in self.nodes]
        return jain_index(epoch) if any(each.capacity for each in epoch) else None


def first_block_since(chain: "Web3Chain", timestamp: int) -> int:
    """The first block of that time (seconds since 1970) or later; one past the newest where there is none. Raises: ChainError."""
    low, high = 0, chain.head().number + 1
    while low < high:
        middle = (low + high) // 2
        if chain.block(middle).timestamp < timestamp:
            low = middle + 1
        else:
            high = middle
    return low


def collected_since(network: Network, seconds: int) -> dict[Address, int]:
    """What every account collected in the last `seconds` by the chain's clock. Raises: ChainError."""
    chain, contract = network.chain, network.channels.contract
    first = first_block_since(chain, chain.head().timestamp - seconds + 1)
    earned: dict[Address, int] = {}
    for event in chain.events(contract, "Collected", max(first, network.deployment.channels.block)):
        payee = to_address(event.args["payee"])
        earned[payee] = earned.get(payee, 0) + int(event.args["amount"])
    return earned


def markets_of(views: Iterable[NodeView], earned: Mapping[Address, int], seconds: int) -> list[ModelMarket]:
    """The markets of all models that staked nodes serve, the one with the most nodes first."""
    by_model: dict[bytes, list[NodeSales]] = {}
    for view in views:
        if view.chain.staked:
            sales = _sales(view, earned.get(view.chain.node, 0), seconds)
            by_model.setdefault(view.chain.manifest, []).append(sales)
    found = [ModelMarket(manifest, _ordered(nodes)) for manifest, nodes in by_model.items()]
    return sorted(found, key=lambda market: (-len(market.nodes), market.manifest))


def _sales(view: NodeView, earned: int, seconds: int) -> NodeSales:
    record = view.record
    capacity = 0 if record is None else record.placement.block_rate * seconds // RATES_PER_BLOCK_TOKEN
    return NodeSales(view.chain.node, view.blocks, view.ask, record is not None, earned, capacity)


def _ordered(nodes: Sequence[NodeSales]) -> tuple[NodeSales, ...]:
    return tuple(sorted(nodes, key=lambda each: (each.ask, each.node)))
