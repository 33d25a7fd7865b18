"""A node that finds its own place: it claims blocks, loads them, and later moves to where it is missed more.

What to do is sharding/placement*.py's to say; here it is done: records are read and published, blocks loaded and let go, and
the others asked whether they are there. A block is let go when nobody's session needs it here any more or its drain has
lasted long enough for them to go on elsewhere, and only while another node that answers holds it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable
from dataclasses import replace

from node.lookout import Lookout
from node.placing_parts import PlacingParts
from node.refusals import FROM_OUTSIDE
from sharding.errors import ShardingError
from sharding.placement import View, World, releases
from sharding.placement_phases import NOBODY, drain_limit, join, leave, may_go, step
from sharding.placement_values import Holding, Phase, merged
from sharding.span import Span
from verification.placement_claims import PlacementClaim, claim_of

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
"""Between two looks; several fit into a slot and a settling time."""
MOVE_SECONDS = 5.0
"""Before the end of a drain sessions are asked to go on elsewhere."""
FAILED_SECONDS = 60.0
"""Without another move after blocks could not be loaded; doubled each time, up to MOST_FAILED_SECONDS."""
MOST_FAILED_SECONDS = 3600.0
JOIN_TRIES = 3


class Placing:
    """The driver of one node's place. `run` it from the start; `leave` before the node drains as a whole."""

    def __init__(self, parts: PlacingParts) -> None:
        self._parts = parts
        self._lookout = Lookout(parts)
        self.holding = Holding(parts.offer, (), Phase.SERVING, 0.0)
        """Nothing until the node has claimed something."""
        self._looking = asyncio.Lock()
        self._talking: set[asyncio.Task[None]] = set()
        self._hurried = False
        self._failures = 0
        self._rests_until = 0.0
        self._leaves = False
        self.joined = asyncio.Event()
        """Set once the first blocks are served."""

    @property
    def claim(self) -> PlacementClaim:
        """What the node's record says of its place; there is nothing to publish before the first."""
        return claim_of(self.holding)

    def plan(self) -> Holding:
        """What the node would claim now. Raises: PlacementError where not even one block fits its memory."""
        return join(self._parts.offer, self._lookout.others(), self._lookout.world(), self._parts.clock())

    async def run(self) -> None:
        """Join, then keep looking until cancelled. Raises: ShardingError where the node cannot join."""
        watching = asyncio.create_task(self._lookout.keep_watching())
        try:
            self._become(self.plan())
            while True:
                await self._look_safely()
                await asyncio.sleep(TICK_SECONDS)
        finally:
            for task in (watching, *self._talking):
                task.cancel()
            await asyncio.gather(watching, *self._talking, return_exceptions=True)

    async def _look_safely(self) -> None:
        try:
            async with self._looking:
                if not self._leaves:
                    await self.look()
        except FROM_OUTSIDE as error:
            if isinstance(error, ShardingError) and not self.joined.is_set():
                raise
            log.warning("this node's place could not be looked after: %s", error)

    async def look(self) -> None:
        """Do what is due. Raises: ShardingError, NodeError, ChainError."""
        own, now, silent = self.holding, self._parts.clock(), NOBODY
        if own.phase is Phase.SERVING and now < self._rests_until:
            return
        if own.phase is Phase.CLAIMING and own.move and now - own.since >= self._lookout.world().policy.settle:
            silent = await self._lookout.silent(own.move.give)
        view, world = self._everybody(), self._lookout.world()
        self._hurry(view, world)
        done = own.phase is Phase.DRAINING and not self._parts.host.retiring_sessions
        node, at = self._parts.node, self._parts.clock()
        # for many blocks this takes half a second, for which no session may wait
        await self._go_on(await asyncio.to_thread(step, node, view, world, at, done=done, silent=silent))
        if self.holding.phase is Phase.LOADING:
            await self._load()

    def _everybody(self) -> View:
        return {**self._lookout.others(), self._parts.node: self.holding}

    def _hurry(self, view: View, world: World) -> None:
        """Sessions that are still there shortly before a drain ends are asked to go on elsewhere, once."""
        own, host = self.holding, self._parts.host
        if own.phase is not Phase.DRAINING or self._hurried or not host.retiring_sessions:
            return
        if own.since + drain_limit(self._parts.node, view, world) - self._parts.clock() <= MOVE_SECONDS:
            self._hurried = True
            host.move()

    async def _go_on(self, new: Holding) -> None:
        """Do what a new phase asks for, then say so."""
        own, host = self.holding, self._parts.host
        if new == own:
            return
        if (
            own.phase is Phase.DRAINING and new.phase is Phase.SERVING
        ):  # there is nothing to load, or all is taken up again
            await self._serve(new.spans)
            return
        if new.phase is Phase.DRAINING and new.move is not None:
            self._hurried = False
            host.retire(new.move.give)
        self._become(new)

    async def _load(self) -> None:
        await self._serve(self.holding.planned)
        if self.holding.phase is Phase.SERVING:
            self.joined.set()

    async def _serve(self, spans: tuple[Span, ...]) -> None:
        """Serve these blocks from now on; where they cannot be loaded, those that are in memory still.

        Raises: ShardingError where a node that has none could not load any several times.
        """
        own, host = self.holding, self._parts.host
        kept = merged((*own.spans, *(own.move.give if own.move else ())))
        try:
            await host.change(spans)
            self._failures = 0
        except ShardingError as error:
            log.error("blocks %s could not be loaded: %s", _text(spans), error)
            self._failed(kept, error)
            if not kept:
                self._become(self.plan())
                return
            spans = await self._take_back(kept)
        self._become(Holding(own.offer, spans, Phase.SERVING, self._parts.clock()))
        if spans:
            self._talk(self._parts.served(spans))

    async def _take_back(self, kept: tuple[Span, ...]) -> tuple[Span, ...]:
        """Open blocks again that are in memory; returns what is open then."""
        try:
            await self._parts.host.change(kept)
        except ShardingError as error:
            log.error("blocks %s cannot be taken up again: %s", _text(kept), error)
        return self._parts.host.spans

    def _failed(self, kept: tuple[Span, ...], error: ShardingError) -> None:
        """Raises: the error, where nothing is left to try."""
        self._failures += 1
        if not kept and self._failures >= JOIN_TRIES:
            raise error
        pause = min(FAILED_SECONDS * 2 ** min(self._failures - 1, 10), MOST_FAILED_SECONDS)
        self._rests_until = self._parts.clock() + pause

    def stop(self) -> None:
        """The node goes now, with `run` cancelled: its claim is that nobody is to rely on its blocks. Whoever stops it says so."""
        self._leaves = True
        self.holding = leave(self.holding, self._parts.clock())

    async def leave(self, seconds: float) -> None:
        """Say that the node goes, and serve until others hold its blocks or the time is up. It claims and moves no more."""
        self._leaves = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async with self._looking:
                    await self._begin_to_leave()
                while True:
                    if not self.holding.spans or await self._may_go():
                        return
                    await asyncio.sleep(TICK_SECONDS)

    async def _begin_to_leave(self) -> None:
        """What was being given up is served again meanwhile: it is in memory still."""
        own = self.holding
        if own.phase is Phase.DRAINING:
            await self._parts.host.change(own.spans)
            own = replace(own, phase=Phase.SERVING, move=None)
        if own.spans:
            self._become(leave(own, self._parts.clock()))

    async def _may_go(self) -> bool:
        silent = NOBODY
        if releases(self._parts.node, self._everybody(), self._lookout.world()):
            with contextlib.suppress(*FROM_OUTSIDE):
                silent = await self._lookout.silent(self.holding.spans)
        return may_go(self._parts.node, self._everybody(), self._lookout.world(), self._parts.clock(), silent)

    def _become(self, new: Holding) -> None:
        log.info("%s", _story(new))
        self.holding = new
        self._talk(self._parts.publish())

    def _talk(self, said: Awaitable[object]) -> None:
        """In the background: a peer that is gone may take seconds to be given up."""
        task = asyncio.create_task(_heard(said))
        self._talking.add(task)
        task.add_done_callback(self._talking.discard)


async def _heard(said: Awaitable[object]) -> None:
    try:
        await said
    except FROM_OUTSIDE as error:
        log.info("this node's new place has not been told to all: %s", error)


def _story(own: Holding) -> str:
    """A phase for people."""
    move = own.move
    if move is None:
        leaves = ", until others do: this node is leaving" if own.phase is Phase.LEAVING else ""
        return f"serves blocks {_text(own.spans)}{leaves}"
    if own.phase is Phase.DRAINING:
        return f"takes no new sessions for blocks {_text(move.give)}, to load {_text(move.take)}"
    verb = "claims" if own.phase is Phase.CLAIMING else "loads"
    gap = f", {move.closes} of which nobody holds" if move.closes else ""
    return f"{verb} blocks {_text(move.take)}{gap}{f' instead of {_text(move.give)}' if move.give else ''}"


def _text(spans: tuple[Span, ...]) -> str:
    return ", ".join(map(str, spans)) or "none"
