"""What the chain knows of nodes' work: claiming credit for what channels have settled, and reading evidence by epochs."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from incentives.chain_types import Chain, Event, Sent
from incentives.court import route_words
from incentives.deployment import Deployment
from incentives.epochs import MAX_FAULTS_COUNTED, Evidence
from incentives.signing import Signer
from incentives.vouchers import ChannelKey
from verification.addresses import Address, address_bytes, to_address

if TYPE_CHECKING:
    from verification.routes import Route


@dataclass(frozen=True, slots=True)
class Claim:
    """A channel, and the words of its payees."""

    key: ChannelKey
    payees: tuple[bytes, ...]

    def share_of(self, account: Address) -> int:
        """Ten-thousandths that the account gets of it."""
        place = address_bytes(account)
        return sum(int.from_bytes(word[20:], "big") for word in self.payees if word[:20] == place)

    @property
    def words(self) -> tuple[tuple[object, ...], list[bytes]]:
        """As the contract takes it."""
        return astuple(self.key), list(self.payees)


@dataclass(frozen=True, slots=True)
class Counted:
    """What of a channel was counted for a node, and whether it counts no more."""

    settled: int
    barred: bool


class WorkEvidence:
    """The Evidence contract of a deployment, and the Court's part of it."""

    def __init__(self, chain: Chain, deployment: Deployment) -> None:
        self._chain, self.contract = chain, deployment.contract("Evidence")
        self._court = deployment.contract("Court")
        self.pool: Address = deployment.pool
        """The audit pool, which a channel has to pay."""

    def claim(self, sender: Signer, node: Address, claims: Sequence[Claim]) -> Sent:
        """Credit a node with its share of what was settled since. sender: the node's owner or signer.

        Raises: Reverted (NothingToClaim, PoolShort, NotPayee, PayeesWrong, PaysItself, NotNode).
        """
        return self._chain.send(sender, self.contract, "claim", node, [each.words for each in claims])

    def bar(self, sender: Signer, route: "Route", node: Address) -> Sent:
        """Let a channel give no more credit to a node convicted on its route. Raises: Reverted (NotConvicted, BarredBefore)."""
        return self._chain.send(sender, self.contract, "bar", route_words(route), node)

    def counted(self, channel: bytes, node: Address) -> Counted:
        """What a channel has given a node so far."""
        settled, barred = self._chain.call(self.contract, "countedOf", channel, node)
        return Counted(int(settled), bool(barred))

    def of(self, epoch: int, node: Address) -> Evidence:
        """What an epoch adds to a node; final once it is over, and known for sixteen epochs."""
        credit, faults, qos = self._chain.call(self.contract, "evidenceOf", epoch, node)
        return Evidence(int(credit), int(faults), int(qos))

    def credits(self, from_block: int = 0) -> list[Event]:
        """Each tells all that a node had gained in an epoch by then."""
        return self._chain.events(self.contract, "Credited", from_block)

    def convictions(self, from_block: int = 0) -> list[Event]:
        """Each is one fault of a node in an epoch."""
        return self._chain.events(self._court, "Convicted", from_block)


def evidence_by_epoch(credits: Sequence[Event], convictions: Sequence[Event]) -> dict[int, dict[Address, Evidence]]:
    """What each epoch adds to each node, from all events since the deployment."""
    found: dict[int, dict[Address, Evidence]] = {}
    for event in credits:
        of_epoch = found.setdefault(int(event.args["epoch"]), {})
        node = to_address(event.args["node"])
        of_epoch[node] = Evidence(int(event.args["credit"]), of_epoch.get(node, Evidence()).faults, 0)
    for event in convictions:
        of_epoch = found.setdefault(int(event.args["epoch"]), {})
        node = to_address(event.args["node"])
        known = of_epoch.get(node, Evidence())
        of_epoch[node] = Evidence(known.credit, min(known.faults + 1, MAX_FAULTS_COUNTED), 0)
    return found
