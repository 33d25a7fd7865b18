"""What a node's span would cost a session in time and money: claims of its record, corrected by what was measured."""

from collections.abc import Iterable
from dataclasses import dataclass

from node.directory import NodeRecord
from node.hop_times import HopTimes
from verification.node_records import ServedSpan, ServiceRecord
from verification.routes import RouteStage

UNCLAIMED_TOKENS_PER_SECOND = 1.0
"""What a node is taken to claim that only the chain speaks of: little, so that it is chosen where no other is."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One span of one node. Times in seconds."""

    stage: RouteStage
    link: float
    """Until a token's hidden state has reached the node from another one."""
    computing: float
    """Per token."""
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
    return Offer(
        stage=RouteStage(record.node, span.start, span.end, record.ask),
        link=times.one_way(record.node),
        computing=times.seconds_per_token(record.node, len(span), UNCLAIMED_TOKENS_PER_SECOND),
        waiting=0.0,
        reliability=times.reliability(record.node),
        full=False,
    )
