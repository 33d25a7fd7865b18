"""The network as somebody sees it who asks once: the chain's word on every node, and the node's own, if it has one."""

import secrets
import time
from dataclasses import dataclass

from incentives.signing import LocalSigner
from node.directory import Directory, NodeRecord
from node.gossip import Gossip, GossipParts
from node.network import Network
from node.wss import WssTransport
from sharding.placement_values import Phase
from verification.node_records import ServiceRecord

PEERS = 3


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node. age: of its record, in seconds."""

    chain: NodeRecord
    record: ServiceRecord | None
    age: float

    @property
    def tokens_per_second(self) -> float:
        """As claimed for the whole of what it announced, or of the first span it tells of; 0 without a record."""
        spans = self.record.spans if self.record is not None else ()
        places = {(each.start, each.end): each for each in reversed(spans)}
        chosen = places.get((self.chain.span.start, self.chain.span.end), spans[0] if spans else None)
        return chosen.tokens_per_second if chosen is not None else 0.0

    @property
    def ask(self) -> int:
        """Per token and block: the least that its record asks, or else the chain's, which is the most that it will."""
        spans = self.record.spans if self.record is not None else ()
        return min((each.ask for each in spans), default=self.chain.ask)

    @property
    def load(self) -> str:
        """For people."""
        record = self.record
        if record is None:
            return "-"
        place = "" if self.phase == Phase.SERVING else f", {self.phase}"
        return f"{record.queue} waiting, {record.free_pages} pages free, {self.tokens_per_second:.1f} tokens/s{place}"

    @property
    def phase(self) -> str:
        """Where the node stands with its blocks, in one word; what it takes or gives up in a move, with them."""
        if self.record is None:
            return "-"
        claim = self.record.placement
        if self.record.draining:
            return "draining"
        if not claim.moves:
            return str(claim.phase)
        blocks = claim.give if claim.phase is Phase.DRAINING else claim.take
        return f"{claim.phase} {','.join(map(str, blocks))}"

    @property
    def blocks(self) -> str:
        """As the record has them: open to new sessions; or else the chain."""
        spans = [each.span for each in self.record.spans] if self.record is not None else [self.chain.span]
        return ",".join(map(str, spans)) or "-"

    @property
    def shown_age(self) -> str:
        """For people."""
        return f"{self.age:.0f} s" if self.record is not None else "-"


async def view_network(network: Network) -> list[NodeView]:
    """Read the chain, ask a few nodes for records, and put the two together. Raises: ChainError."""
    signer = LocalSigner(secrets.token_bytes(32))  # readers are asked who they are, but not to be anybody
    transport, directory = WssTransport(signer, network.hello_domain), Directory(network)
    gossip = Gossip(GossipParts(network, directory, transport))
    try:
        await gossip.round(PEERS)
        records = {each.node: each for each in gossip.live()}
        now = time.time()
        return [_view(each, records.get(each.node), now) for each in (await directory.records()).values()]
    finally:
        await gossip.close()
        await transport.close()


def _view(chain: NodeRecord, record: ServiceRecord | None, now: float) -> NodeView:
    return NodeView(chain, record, max(0.0, now - record.issued) if record is not None else 0.0)
