"""What a node's span would cost a session in time and money: claims of its record, corrected by what was measured."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from node.directory import NodeRecord
from node.hop_times import HopTimes
from sharding.span import Span, without
from verification.node_records import ServedSpan, ServiceRecord
from verification.routes import RouteStage

UNCLAIMED_TOKENS_PER_SECOND = 1.0
"""What a node is taken to claim that only the chain speaks of: little, so that it is chosen where no other is. It counts like a
wait, whatever the part that is taken: else who announces many blocks would look fast on each of them."""
_NO_COMPUTING = 1e9
"""Tokens per second: what a node that claims them needs is what was measured."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One span of one node, of which a route may take any part. Times in seconds."""

    stage: RouteStage
    link: float
    """Until a token's hidden state has reached the node from another one."""
    computing: float
    """Per token, through all blocks of the span; a part takes its blocks' share."""
    waiting: float
    """Until what waits there already is done."""
    reliability: float
    """Between 0 and 1, 0 excluded."""
    full: bool
    """Whether it has no free page: it is asked only where nobody else covers its blocks."""


def recorded_offers(records: Iterable[ServiceRecord], manifest: bytes, profile: bytes, times: HopTimes) -> list[Offer]:
    """The offers of one model in one profile; draining nodes make none. The records are a RecordBook's, so stakes are checked."""
    return [
        _recorded(record, span, times)
        for record in records
        if (record.manifest, record.profile, record.draining) == (manifest, profile, False)
        for span in record.spans
    ]


def announced_offers(
    records: Iterable[NodeRecord], manifest: bytes, minimum_stake: int, times: HopTimes
) -> list[Offer]:
    """The offers that the chain alone tells of, for nodes without a record: slow unless they were measured."""
    return [
        _announced(record, times)
        for record in records
        if record.manifest == manifest and record.ask > 0 and record.bonded >= minimum_stake
    ]


def _recorded(record: ServiceRecord, span: ServedSpan, times: HopTimes) -> Offer:
    computing = times.seconds_per_token(record.node, len(span.span), span.tokens_per_second)
    return Offer(
        stage=RouteStage(record.node, span.start, span.end, span.ask),
        link=times.one_way(record.node),
        computing=computing,
        waiting=record.queue * computing,
        reliability=times.reliability(record.node),
        full=record.free_pages == 0,
    )


def _announced(record: NodeRecord, times: HopTimes) -> Offer:
    span = record.span
    measured = times.seconds_per_token(record.node, len(span), _NO_COMPUTING)
    return Offer(
        stage=RouteStage(record.node, span.start, span.end, record.ask),
        link=times.one_way(record.node),
        computing=measured,
        waiting=times.seconds_per_token(record.node, len(span), UNCLAIMED_TOKENS_PER_SECOND) - measured,
        reliability=times.reliability(record.node),
        full=False,
    )


def part_of(offer: Offer, span: Span) -> Offer:
    """The offer of some of an offer's blocks: the same in all but its share of the computing."""
    share = len(span) / len(offer.stage.span)
    stage = replace(offer.stage, start=span.start, end=span.end)
    return replace(offer, stage=stage, computing=offer.computing * share)


def parts_within(offer: Offer, span: Span) -> list[Offer]:
    """The part of an offer that lies within a span, if there is one."""
    start, end = max(offer.stage.start, span.start), min(offer.stage.end, span.end)
    return [part_of(offer, Span(start, end))] if start < end else []


def parts_without(offer: Offer, spans: Sequence[Span]) -> list[Offer]:
    """The parts of an offer that lie in none of the spans."""
    return [part_of(offer, each) for each in without([offer.stage.span], spans)]


def with_kept(offers: Iterable[Offer], usable: Sequence[Offer], kept: Iterable[RouteStage]) -> list[Offer] | None:
    """What is left to choose when the stages of a session stay that still are on offer; None where none is.

    Their nodes offer these stages, whether full or not, and nothing else; the others nothing of their blocks.
    """
    staying = [each for stage in kept for each in _staying(stage, usable)]
    if not staying:
        return None
    spans, nodes = [each.stage.span for each in staying], {each.stage.node for each in staying}
    return staying + [part for each in offers if each.stage.node not in nodes for part in parts_without(each, spans)]


def _staying(stage: RouteStage, usable: Iterable[Offer]) -> list[Offer]:
    """A stage as its node offers it now, at whatever price; nothing where it does not offer all of its blocks."""
    parts = [part for each in usable if each.stage.node == stage.node for part in parts_within(each, stage.span)]
    offered = {block for part in parts for block in part.stage.span.blocks}
    return [replace(part, full=False) for part in parts] if len(offered) == len(stage.span) else []


@dataclass(frozen=True, slots=True)
class Claim:
    """What a node claims to do: tokens per second of one session through all blocks of a span."""

    span: Span
    tokens_per_second: float


def claimed(span: Span, claims: Sequence[Claim]) -> float:
    """Tokens per second through some blocks, each at the best pace that is claimed for it; little where nothing is."""
    seconds = 0.0
    for block in span.blocks:
        paces = [len(each.span) * each.tokens_per_second for each in claims if block in each.span.blocks]
        if not paces:
            return UNCLAIMED_TOKENS_PER_SECOND
        seconds += 1 / max(paces)
    return 1 / seconds
