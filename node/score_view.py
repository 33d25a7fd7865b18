"""The scores that count now, read from the chain: for people, for programs, and for whoever plans routes. Synchronous."""

from dataclasses import dataclass

from incentives.score_history import ScoreHistory
from incentives.score_tree import Leaf, Posting
from incentives.scores import ONE, WHOLE
from node.network import Network
from verification.addresses import Address


@dataclass(frozen=True, slots=True)
class NodeScore:
    """What the root that counts says of a node. Score and quality in ten-thousandths, evidence in Q16.16."""

    node: Address
    score: int
    good: int
    bad: int
    quality: int
    tickets: int

    def as_json(self) -> dict[str, object]:
        """Tickets as text: they do not fit the numbers of every JSON reader."""
        return {
            "node": self.node, "score": self.score, "good": self.good, "bad": self.bad, "quality": self.quality,
            "tickets": str(self.tickets),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ScoreView:
    """The running epoch, the root that counts (None before the first), and its leaves; None where nobody knows those."""

    epoch: int
    posting: Posting | None
    scores: tuple[NodeScore, ...] | None

    def of(self, node: Address) -> NodeScore | None:
        """One node's; None where it has none yet."""
        return next((each for each in self.scores or () if each.node == node), None)

    def as_json(self) -> dict[str, object]:
        """For programs."""
        posting = self.posting
        root = {"epoch": posting.epoch, "root": posting.root.hex(), "poster": posting.poster} if posting else None
        scores = None if self.scores is None else [each.as_json() for each in self.scores]
        return {"epoch": self.epoch, "root": root, "scores": scores}


def view_scores(network: Network, history: ScoreHistory | None = None) -> ScoreView:
    """Read all scores, highest first; `history`: what was read before. Raises: ChainError."""
    history = history or ScoreHistory(network.chain, network.deployment)
    head = network.chain.head()
    history.refresh(head.number)
    posting = history.serving(head.timestamp)
    table = history.table(posting) if posting is not None else None
    scores = () if posting is None else None if table is None else tuple(map(_score, table.leaves))
    ordered = None if scores is None else tuple(sorted(scores, key=lambda each: (-each.score, each.node)))
    return ScoreView(history.epoch_at(head.timestamp), posting, ordered)


def reliability_of(score: NodeScore | None) -> float:
    """As routes weigh it: 1 for a node of which nothing is known, as for all before there were scores; less only by faults.

    A newcomer's published score is 0, which says that nothing is known, not that it is bad; so it is the evidence against a node
    that lowers its part, by the mean of its Beta.
    """
    if score is None or score.bad == 0:
        return 1.0
    return max(1 / WHOLE, (score.good + ONE) / (score.good + score.bad + ONE))


def _score(leaf: Leaf) -> NodeScore:
    masses = leaf.masses
    return NodeScore(leaf.node, masses.published, masses.a, masses.b, leaf.qos, leaf.width)
