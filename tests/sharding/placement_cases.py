"""Small networks for the tests of placement: every block takes 100 bytes."""

from sharding.placement import World
from sharding.placement_values import Holding, ModelNeeds, Move, Offer, Phase, Policy
from sharding.span import Span

BLOCK = 100


def world(num_blocks: int, **rules: float) -> World:
    return World(ModelNeeds(num_blocks, BLOCK, 0, 0), Policy(**rules), b"seed")  # type: ignore[arg-type]


def offer(node: str, blocks: int, rate: float = 8.0) -> Offer:
    return Offer(node, blocks * BLOCK, rate)


def spans(*texts: str) -> tuple[Span, ...]:
    return tuple(Span.parse(text) for text in texts)


def serving(node: str, *held: str, room: int = 0, rate: float = 8.0, since: float = 0.0) -> Holding:
    """A node that has served these spans since then, with room for so many blocks more."""
    blocks = sum(len(span) for span in spans(*held))
    return Holding(offer(node, blocks + room, rate), spans(*held), Phase.SERVING, since)


def moving(own: Holding, phase: Phase, give: str = "", take: str = "", closes: int = 0, since: float = 0.0) -> Holding:
    """The same node with a move in that phase."""
    move = Move(spans(give) if give else (), spans(take) if take else (), closes)
    return Holding(own.offer, own.spans, phase, since, move)


def view(*holdings: Holding) -> dict[str, Holding]:
    return {each.offer.node: each for each in holdings}
