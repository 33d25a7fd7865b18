"""What a node says of itself: its load is read, and a record is signed when one is due or when the load has changed much."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from incentives.signing import Signer
from node.hosting import Hosting
from node.record_book import sign_record
from sharding.placement_values import Phase
from sharding.span import Span, covers
from verification.addresses import Address
from verification.node_records import (
    DEFAULT_LIFE_SECONDS,
    RATES_PER_TOKEN,
    ServedSpan,
    ServiceRecord,
    SignedServiceRecord,
    next_sequence,
)
from verification.placement_claims import FIXED, PlacementClaim, claimed_rate
from verification.typed_data import Domain

RECORD_SECONDS = 10.0
"""Three records in the life of one: two may be lost on their way."""
MUCH_QUEUE = 64
"""Rows; a queue that has grown or shrunk by this much and by half is news."""
MAX_U32 = 2**32 - 1


@dataclass(frozen=True, slots=True)
class SpanRate:
    """Tokens per second through a span's blocks for one session when nothing waits."""

    span: Span
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class StageLoad:
    """A node at one moment. free_pages: of the span that has the fewest; spans: open to new sessions, ascending.

    placement: of a node that places itself.
    """

    queue: int
    free_pages: int
    spans: tuple[SpanRate, ...]
    draining: bool = False
    placement: PlacementClaim = FIXED

    @property
    def claim(self) -> PlacementClaim:
        """What to say of the node's place."""
        if self.placement != FIXED:
            return self.placement
        rates = [len(each.span) * each.tokens_per_second for each in self.spans]
        rate = claimed_rate(sum(rates) / max(1, len(rates)))
        return replace(FIXED, block_rate=rate, phase=Phase.LEAVING if self.draining else Phase.SERVING)


@dataclass(frozen=True, slots=True)
class Service:
    """What stays the same for the life of a process; the ask may move."""

    node: Address
    peer: bytes
    endpoint: str
    manifest: bytes
    profile: bytes
    ask: int


class Author:
    """Signs the records of one node; `load` reads what it hosts."""

    def __init__(
        self, service: Service, signer: Signer, domain: Domain, load: Callable[[], Awaitable[StageLoad]]
    ) -> None:
        self.service = service
        """Replaced when the ask moves: the next record has it, and is due at once."""
        self._signer = signer
        self._domain = domain
        self._load = load
        self._last: ServiceRecord | None = None

    def ask(self, ask: int) -> None:
        """Ask for so much per token and block from the next record on."""
        self.service = replace(self.service, ask=ask)

    async def write(self, held: ServiceRecord | None) -> SignedServiceRecord | None:
        """A new record, or None where the last one still says it all.

        held: what this node's book has of it. It may be from an earlier life, by a clock that was set back since; its sequence
        is gone past, or nobody would listen.
        """
        load = await self._load()
        now, last = time.time(), self._last
        if not (load.spans or load.claim.take):
            return None  # there is nothing to say
        if (
            last is not None
            and held == last
            and 0 <= now - last.issued < RECORD_SECONDS
            and all(each.ask == self.service.ask for each in last.spans)
            and not changed_much(last, load)
        ):
            return None
        sequence = next_sequence(max(each.sequence if each is not None else 0 for each in (held, last)), now)
        self._last = self._record(load, sequence, int(now))
        return sign_record(self._last, self._signer, self._domain)

    def _record(self, load: StageLoad, sequence: int, now: int) -> ServiceRecord:
        service = self.service
        return ServiceRecord(
            node=service.node, sequence=sequence, issued=now, expires=now + DEFAULT_LIFE_SECONDS, peer=service.peer,
            endpoint=service.endpoint, manifest=service.manifest, profile=service.profile,
            spans=tuple(self._served(each) for each in load.spans), queue=min(load.queue, MAX_U32),
            free_pages=_bounded(load.free_pages), draining=load.draining,
            placement=_not_later(load.claim, now),
        )  # fmt: skip

    def _served(self, each: SpanRate) -> ServedSpan:
        rate = round(each.tokens_per_second * RATES_PER_TOKEN)
        return ServedSpan(each.span.start, each.span.end, self.service.ask, min(max(rate, 1), MAX_U32))


def changed_much(last: ServiceRecord, load: StageLoad) -> bool:
    """Whether others would decide otherwise: other blocks, a move, draining, full or no longer, a queue of another size."""
    if [each.span for each in last.spans] != [each.span for each in load.spans]:
        return True
    if _place(last.placement) != _place(_not_later(load.claim, last.issued)):
        return True
    if (last.draining, last.free_pages == 0) != (load.draining, load.free_pages <= 0):
        return True
    difference = abs(load.queue - last.queue)
    return difference >= MUCH_QUEUE and 2 * difference >= max(load.queue, last.queue)


async def stage_load(hosting: Hosting, *, draining: bool) -> StageLoad:
    """Read what is hosted; between two passes of each, so it takes as long as those."""
    free, current = [], hosting.current
    for hosted in current:
        hosted.speed.update(hosted.batcher.load)
        runner = hosted.batcher.runner
        free.append(await hosted.batcher.call(lambda runner=runner: runner.unpromised_pages))
    rates = tuple(
        SpanRate(span, next(each.speed.tokens_per_second for each in current if covers((each.span,), span)))
        for span in hosting.spans
        if covers([each.span for each in current], span)
    )
    return StageLoad(hosting.waiting_rows, min(free), rates, draining)


def _place(claim: PlacementClaim) -> PlacementClaim:
    """Without what changes all the time."""
    return replace(claim, block_rate=1)


def _not_later(claim: PlacementClaim, now: int) -> PlacementClaim:
    """The clock may have been set back since the phase began; now is in seconds."""
    return replace(claim, since=min(claim.since, 1000 * now + 999))


def _bounded(count: int) -> int:
    return min(max(count, 0), MAX_U32)
