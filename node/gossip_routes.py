"""Routes from what records and chain say of nodes and from what this client has measured of them."""

import asyncio
import time
from collections.abc import Collection, Iterable
from dataclasses import replace

from node.busy_nodes import BusyNodes
from node.client_errors import PriceTooHigh
from node.directory import Directory
from node.errors import NoRoute
from node.gossip import Gossip
from node.hop_times import MAX_SECONDS, HopTimes, RingHop
from node.known_scores import KnownScores
from node.offers import (
    UNCLAIMED_TOKENS_PER_SECOND,
    Claim,
    Offer,
    announced_offers,
    claimed,
    parts_within,
    parts_without,
    recorded_offers,
)
from node.router import RouteWish, plan_route
from node.shunned import Shunned
from verification.addresses import Address
from verification.node_records import ServiceRecord
from verification.routes import Route, RouteStage, profile_id

HANDSHAKE_TRIPS = 4
"""Until a dialled stream stands: TCP, TLS, the upgrade, challenge and welcome."""
INERTIA = 0.8
"""Of its time is what a stage of the route before counts, or a part of it: another route needs another channel, which is a
transaction."""


class Planner:
    """The routes of one client for one model; remembers how each node did.

    Nodes with a live record are taken at its word, all others at the chain's: where no record is to be had the chain is enough.
    """

    def __init__(
        self, directory: Directory, gossip: Gossip | None, manifest: bytes, profile: str, minimum_stake: int,
        scores: KnownScores | None = None,
    ) -> None:  # fmt: skip
        self._directory = directory
        self._gossip = gossip
        self._manifest = manifest
        self._profile = profile_id(profile)
        self._minimum_stake = minimum_stake
        self._scores = scores
        self.times = HopTimes(time.monotonic)
        self.shunned = Shunned(time.monotonic)
        self.busy = BusyNodes(time.monotonic)
        self._open_stages: frozenset[RouteStage] = frozenset()
        self._announced: dict[Address, Claim] = {}
        if gossip is not None:
            gossip.on_round_trip = self.answered

    async def freshen(self) -> None:
        """Bring the records up to date; a short wait at the most. Raises nothing that peers or the chain can cause."""
        if self._gossip is not None:
            await self._gossip.freshen()
        if self._scores is not None:
            await self._scores.freshen()

    async def plan(self, wish: RouteWish, multiple: int = 1) -> tuple[RouteStage, ...]:
        """Without what failed a moment ago, if that is possible; every stage is paid `multiple` times its ask.

        Raises: NoRoute, NoDistinctRoute, PriceTooHigh, ChainError.
        """
        priced = [_priced(self._scored(each), multiple) for each in await self._offers()]
        offers = [part for each in priced for part in self._weighed(each)]
        careful = replace(wish, excluded=frozenset(wish.excluded) | self.shunned.nodes())
        try:
            return await asyncio.to_thread(plan_route, offers, careful)
        except (NoRoute, PriceTooHigh):
            if careful.excluded == frozenset(wish.excluded):
                raise
            return await asyncio.to_thread(plan_route, offers, wish)

    def _scored(self, offer: Offer) -> Offer:
        """What the client has seen of a node itself, and what has been proven against it."""
        if self._scores is None:
            return offer
        return replace(offer, reliability=offer.reliability * self._scores.reliability(offer.stage.node))

    def opened(self, stages: Iterable[RouteStage]) -> None:
        """A route was accepted by all its stages, and has a channel."""
        self._open_stages = frozenset(stages)

    def _weighed(self, offer: Offer) -> list[Offer]:
        """The parts of an offer that are stages of the open route, cheaper by the inertia, and the parts that are not."""
        own = (offer.stage.node, offer.stage.ask)
        open_spans = [each.span for each in self._open_stages if (each.node, each.ask) == own]
        kept = [_with_inertia(part) for span in open_spans for part in parts_within(offer, span)]
        return kept + parts_without(offer, open_spans) if kept else [offer]

    async def _offers(self) -> list[Offer]:
        announced = await self._directory.records()
        live = self._live()
        recorded = {
            record.node for record in live
        }  # what it does not offer there it does not offer: it may be draining
        rest = [record for node, record in announced.items() if node not in recorded]
        self._announced = {record.node: Claim(record.span, UNCLAIMED_TOKENS_PER_SECOND) for record in rest}
        return recorded_offers(live, self._manifest, self._profile, self.times) + announced_offers(
            rest, self._manifest, self._minimum_stake, self.times
        )

    def _live(self) -> tuple[ServiceRecord, ...]:
        return self._gossip.live() if self._gossip is not None else ()

    def dialled(self, node: Address, seconds: float) -> None:
        """A stream to a node stood after so long."""
        self.answered(node, seconds / HANDSHAKE_TRIPS)

    def answered(self, node: Address, seconds: float) -> None:
        """A node answered what took it no work."""
        self.times.saw_round_trip(node, min(seconds, MAX_SECONDS))

    def took(self, route: Route, seconds: float) -> None:
        """One token went round the whole ring."""
        hops = [
            RingHop(each.node, len(each.span), claimed(each.span, self._claims_of(each.node))) for each in route.stages
        ]
        self.times.saw_ring(hops, min(seconds, MAX_SECONDS))

    def _claims_of(self, node: Address) -> list[Claim]:
        """By its record, or else by the chain. For each token: nobody else's record is looked at."""
        record = self._gossip.record(node) if self._gossip is not None else None
        if record is not None:
            return [Claim(each.span, each.tokens_per_second) for each in record.spans]
        return [self._announced[node]] if node in self._announced else []

    def succeeded(self, nodes: Iterable[Address]) -> None:
        """These did their part of an answer to its end."""
        for node in nodes:
            self.times.succeeded(node)

    def failed(self, nodes: Collection[Address], *, shun: bool) -> None:
        """One of these let a session down; `shun`: leave them out for a while."""
        for node in nodes:
            self.times.failed(node, 1 / len(nodes))
            if shun:
                self.shunned.add(node)


def _priced(offer: Offer, multiple: int) -> Offer:
    return replace(offer, stage=replace(offer.stage, ask=multiple * offer.stage.ask)) if multiple != 1 else offer


def _with_inertia(offer: Offer) -> Offer:
    link, computing, waiting = (INERTIA * each for each in (offer.link, offer.computing, offer.waiting))
    return replace(offer, link=link, computing=computing, waiting=waiting)
