"""Who of the others is there: whoever would leave a gap is asked again and again, and whoever is to be relied on, before that."""

import asyncio
import logging
from collections.abc import Collection

from node.placement_view import Sight, sole_holders, witnesses
from node.placing_parts import PlacingParts
from node.refusals import FROM_OUTSIDE
from sharding.placement import World
from sharding.placement_phases import Silent
from sharding.placement_values import Holding
from sharding.span import Span
from verification.addresses import Address

log = logging.getLogger(__name__)

WATCH_SECONDS = 2.0
"""Between two questions to those whose loss would leave a gap."""
MOST_WATCHED = 8
MOST_WITNESSES = 16
AGAIN_SECONDS = 0.2
"""Whoever did not answer is asked once more after that, before it counts as lost."""


class Lookout:
    """One node's eyes."""

    def __init__(self, parts: PlacingParts) -> None:
        self._parts = parts
        self._sight = Sight(parts.node)
        self._watched: dict[str, float] = {}
        self._asking: set[str] = set()

    def world(self) -> World:
        """With as many nodes as there are records."""
        return self._parts.world_of(1 + sum(each.node != self._parts.node for each in self._parts.records()))

    def others(self) -> dict[str, Holding]:
        """What they hold and plan, as far as they are there."""
        return self._sight.view(self._parts.records(), self.world(), self._parts.clock())

    async def silent(self, given: Collection[Span]) -> Silent:
        """Whom not to rely on for these blocks: who was asked and said nothing, and where nobody answered, who was not asked.

        Raises: NodeError, ChainError.
        """
        view = self.others()
        asked = witnesses(given, view.values(), MOST_WITNESSES)
        answered = frozenset(asked) - await self._missing(asked)
        sure = {block for name in answered for span in view[name].relied_on for block in span.blocks}
        doubtful = {block for span in given for block in span.blocks} - sure
        unasked = {
            name
            for name, each in view.items()
            if name not in answered and any(not doubtful.isdisjoint(span.blocks) for span in each.relied_on)
        }
        return (frozenset(asked) - answered) | unasked

    async def keep_watching(self) -> None:
        """Until cancelled. One that takes its time to be silent does not hold up the question to the next."""
        asked: set[asyncio.Task[None]] = set()
        try:
            while True:
                task = asyncio.create_task(self._watch_safely())
                asked.add(task)
                task.add_done_callback(asked.discard)
                await asyncio.sleep(WATCH_SECONDS)
        finally:
            for task in asked:
                task.cancel()

    async def _watch_safely(self) -> None:
        try:
            await self.watch()
        except FROM_OUTSIDE as error:
            log.info("the others could not be asked whether they are there: %s", error)

    async def watch(self) -> None:
        """Ask those whose loss would leave a gap, and those that are lost; first whom nobody asked for longest.

        Raises: NodeError, ChainError.
        """
        chosen = self._due()
        self._asking |= chosen
        try:
            missing = await self._missing(chosen)
        finally:
            self._asking -= chosen
        for name in missing - self._sight.missed:
            log.info("%s does not answer; its blocks do not count until it does", name)
        self._sight.found([Address(name) for name in chosen - missing])
        self._sight.lost([Address(name) for name in missing])

    def _due(self) -> frozenset[str]:
        wanted = {*sole_holders(self.others(), self.world()), *self._sight.missed}
        self._watched = {name: self._watched.get(name, 0.0) for name in sorted(wanted)}
        free = [name for name in self._watched if name not in self._asking]
        chosen = sorted(free, key=self._watched.__getitem__)[:MOST_WATCHED]
        self._watched |= dict.fromkeys(chosen, self._parts.clock())
        return frozenset(chosen)

    async def _missing(self, nodes: Collection[str]) -> frozenset[str]:
        """Who of these does not answer, asked twice."""
        missing = frozenset(nodes)
        for pause in (0.0, AGAIN_SECONDS):
            if missing:
                await asyncio.sleep(pause)
                missing -= await self._parts.alive([Address(name) for name in sorted(missing)])
        return missing
