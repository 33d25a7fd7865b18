"""A node with blocks = "auto", put together: what it offers, whom it hears, and what the chain is told of it.

It is up before it serves anything: others must reach it to hear its claim. One inner block is loaded first, to learn how fast
this machine is; no new session goes to it.
"""

import asyncio
import logging
from collections.abc import Collection
from functools import partial

from incentives.errors import ChainError
from node.announcing import Announcer
from node.directory import REFRESH_SECONDS
from node.errors import NodeError, SettingsError
from node.gossip import WIDE, Gossip
from node.gossip_author import Author
from node.hosting import Hosting
from node.model_needs import needs_of
from node.placing import Placing
from node.placing_parts import PlacingParts
from node.settings import NodeSettings
from sharding.engine import Engine
from sharding.errors import PlacementError
from sharding.placement import World
from sharding.placement_values import Holding, Offer, Policy
from sharding.span import Span
from verification.addresses import Address, to_address
from verification.node_records import ServiceRecord
from verification.placement_claims import PlacementClaim
from verification.routes import profile_id

log = logging.getLogger(__name__)

ANNOUNCED_SECONDS = REFRESH_SECONDS + 1.0
"""Until all others have read of a new node on the chain, and take its record."""
ALIVE_SECONDS = 1.5
"""How long somebody may take to answer."""


class SelfPlacing:
    """`join`, then `leave` where the node drains; `close` in any case."""

    def __init__(self, settings: NodeSettings, gossip: Gossip, announcer: Announcer, hosting: Hosting) -> None:
        """hosting: of one engine, tried, which takes no session."""
        engine, self._settings = hosting.current[0].engine, settings
        self._gossip, self._announcer = gossip, announcer
        self._author: Author | None = None
        self._tasks: list[asyncio.Task[None]] = []
        parts = PlacingParts(
            node=to_address(settings.owner),
            offer=_offer(settings, hosting),
            world=_world(settings, engine),
            host=hosting,
            records=partial(_records_of, gossip, engine),
            alive=self._alive,
            publish=self._publish,
            served=self._tell_chain,
            round_seconds=settings.gossip_seconds,
        )
        self._placing = Placing(parts)

    @property
    def claim(self) -> PlacementClaim:
        """What the node's record says of its place."""
        return self._placing.claim

    async def join(self, author: Author) -> None:
        """Read what others serve, be announced, then serve what is missed most.

        Raises: SettingsError, ShardingError, ChainError.
        """
        self._author = author
        self._tasks.append(asyncio.create_task(self._gossip.run()))
        await self._read()
        planned = self._plan().planned
        if await asyncio.to_thread(self._announcer.at_all, max(planned, key=len)) is not None:
            log.info("announced; waiting %.0f s for others to read of it on the chain", ANNOUNCED_SECONDS)
            await asyncio.sleep(ANNOUNCED_SECONDS)
            await self._read()
        placing = asyncio.create_task(self._placing.run())
        self._tasks.append(placing)
        await self._until_joined(placing)
        placing.add_done_callback(_report)

    async def _until_joined(self, placing: "asyncio.Task[None]") -> None:
        """Raises: what ended the placing before that."""
        joining = asyncio.create_task(self._placing.joined.wait())
        try:
            await asyncio.wait({placing, joining}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            joining.cancel()
        if placing.done():
            placing.result()

    async def leave(self, seconds: float) -> None:
        """Serve until others hold this node's blocks or the time is up."""
        await self._placing.leave(seconds)

    async def close(self) -> None:
        """Look no more, and claim no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._placing.stop()

    def _plan(self) -> Holding:
        try:
            return self._placing.plan()
        except PlacementError as error:
            raise SettingsError("memory_megabytes", f"without cache_megabytes is too little: {error}") from error

    async def _read(self) -> None:
        try:
            await self._gossip.round(WIDE)
        except (NodeError, ChainError) as error:
            log.info("no records could be read: %s", error)

    async def _alive(self, nodes: Collection[Address]) -> frozenset[Address]:
        return await self._gossip.reach(nodes, ALIVE_SECONDS)

    async def _publish(self) -> None:
        self._gossip.author = self._author
        await self._gossip.spread()

    async def _tell_chain(self, spans: tuple[Span, ...]) -> None:
        await asyncio.to_thread(self._announcer.truly, spans)


def _offer(settings: NodeSettings, hosting: Hosting) -> Offer:
    """Memory for weights, and the speed of one block."""
    trial = hosting.current[0]
    weights_bytes = (settings.memory_megabytes - settings.cache_megabytes) << 20
    return Offer(to_address(settings.owner), weights_bytes, len(trial.span) * trial.speed.tokens_per_second)


def _world(settings: NodeSettings, engine: Engine) -> World:
    """The root of the model is the seed of all draws: nobody chose it for that, and all know it."""
    policy = Policy(max_spans=settings.max_spans)
    return World(needs_of(engine.spec, engine.manifest), policy, engine.manifest.root)


def _records_of(gossip: Gossip, engine: Engine) -> list[ServiceRecord]:
    root, profile = engine.manifest.root, profile_id(engine.profile)
    return [each for each in gossip.live() if (each.manifest, each.profile) == (root, profile)]


def _report(placing: "asyncio.Task[None]") -> None:
    """The node goes on with the blocks that it has."""
    if not placing.cancelled() and (error := placing.exception()) is not None:
        log.error("this node does not look after its place any more; restart it", exc_info=error)
