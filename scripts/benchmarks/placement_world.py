"""A network in virtual time whose nodes place themselves: a heap of events, no sleeping, one seed.

What is modelled, in seconds: a record reaches each other node after 0.05 to 0.5; a crash is noticed by each after 2 to 3 of
missed heartbeats; drains last as long as their sessions, 1 to 20, or 0.2 to 1 where a block is uncovered and sessions can only
migrate; a load takes 0.3 and 0.2 to 0.3 per block from the node's own disk. Each node looks at its view once a second, and when
it learns of a crash or a departure.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from sharding.placement import World
from sharding.placement_coverage import Coverage, Held
from sharding.placement_phases import join, leave, may_go, step
from sharding.placement_values import Holding, Offer, Phase

SPREAD = (0.05, 0.5)
NOTICED = (2.0, 3.0)
SESSIONS = (1.0, 20.0)
MIGRATIONS = (0.2, 1.0)
LOAD_START = 0.3
LOAD_BLOCK = (0.2, 0.3)


@dataclass(slots=True)
class Member:
    """A running node: what it knows of all (itself included), and when its drain or load ends."""

    name: str
    view: dict[str, Holding]
    done_at: float = 0.0

    @property
    def own(self) -> Holding:
        return self.view[self.name]


@dataclass(slots=True)
class Tally:
    """What is counted: blocks uncovered without need, seconds until blocks were covered again after a crash, moves begun.

    unforeseen: blocks that a node let go in the half second in which nobody could know that the other holder had crashed.
    """

    uncovered: int = 0
    gaps: list[float] = field(default_factory=list)
    moves: int = 0
    gap_moves: int = 0
    loads: int = 0
    unclosed: int = 0
    unforeseen: int = 0


class Network:
    """All members, the true coverage, and the heap of what happens next."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.now, self.tally = world, 0.0, Tally()
        self.random = random.Random(seed)  # noqa: S311
        self.members: dict[str, Member] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._covered = [False] * world.needs.num_blocks
        self._gap_since: dict[int, float] = {}
        self._crashed: dict[str, tuple[float, Holding]] = {}

    def at(self, time: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (time, next(self._order), action))

    def run_until(self, end: float) -> None:
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = end

    def join(self, offer: Offer) -> None:
        """A node asks the others what they hold and claims its spans."""
        view = {name: member.own for name, member in self.members.items()}
        own = join(offer, view, self.world, self.now)
        member = self.members[offer.node] = Member(offer.node, view | {offer.node: own})
        self._announce(member, own)
        self._schedule(member, own)
        self.at(self.now + self.random.random(), lambda: self._every_second(member))

    def leave(self, name: str) -> None:
        member = self.members[name]
        self._become(member, leave(member.own, self.now))

    def crash(self, name: str) -> None:
        self._crashed[name] = (self.now, self.members.pop(name).own)
        self._recount(crashed=True)
        for member in self.members.values():
            self.at(self.now + self.random.uniform(*NOTICED), lambda member=member: self._forget(member, name))

    @property
    def coverage(self) -> Coverage:
        """What the members serve at this moment."""
        held = (Held(each.own.offer.block_rate, each.own.serving) for each in self.members.values())
        return Coverage.of(held, self.world.needs.num_blocks)

    @property
    def feasible(self) -> bool:
        """Whether the members' memory suffices for all blocks: each then fits somewhere, as a node may hold several spans."""
        blocks = self.world.needs.num_blocks
        rooms = (min(blocks, self.world.needs.room(each.own.offer)) for each in self.members.values())
        return sum(rooms) >= blocks

    @property
    def calm(self) -> bool:
        return all(each.own.phase is Phase.SERVING for each in self.members.values())

    def _every_second(self, member: Member) -> None:
        if self._alive(member):
            self._look(member)
            self.at(self.now + 1.0, lambda: self._every_second(member))

    def _alive(self, member: Member) -> bool:
        return self.members.get(member.name) is member

    def _look(self, member: Member) -> None:
        if not self._alive(member):
            return
        own = member.own
        if own.phase is Phase.LEAVING:
            if may_go(member.name, member.view, self.world, self.now, self._silent()):
                self._go(member)
            return
        done = own.phase in (Phase.DRAINING, Phase.LOADING) and self.now >= member.done_at
        silent = self._silent()
        self._become(member, step(member.name, member.view, self.world, self.now, done=done, silent=silent))

    def _silent(self) -> frozenset[str]:
        """Who did not answer the question that was asked half a second ago."""
        return frozenset(name for name, (when, _) in self._crashed.items() if when <= self.now - SPREAD[1])

    def _unforeseeable(self, block: int) -> bool:
        """Whether a holder of the block crashed so lately that it may have answered the last question."""
        return any(
            when > self.now - SPREAD[1] and any(block in span.blocks for span in own.serving)
            for when, own in self._crashed.values()
        )

    def _become(self, member: Member, own: Holding) -> None:
        before = member.own
        if own == before:
            return
        self._count(before, own)
        member.view[member.name] = own
        self._recount(crashed=False)
        self._announce(member, own)
        self._schedule(member, own)

    def _count(self, before: Holding, own: Holding) -> None:
        moving = own.phase in (Phase.DRAINING, Phase.LOADING)
        if moving and before.phase in (Phase.SERVING, Phase.CLAIMING) and before.spans and own.move:
            self.tally.moves += 1
            self.tally.gap_moves += own.move.closes > 0
        self.tally.loads += own.phase is Phase.LOADING

    def _schedule(self, member: Member, own: Holding) -> None:
        """Wake the node when what it waits for is over."""
        if own.phase is Phase.CLAIMING:
            self.at(self.now + self.world.policy.settle + 1e-6, lambda: self._look(member))
        if own.move is None or own.phase is Phase.CLAIMING:
            return
        if own.phase is Phase.DRAINING:
            lasts = self.random.uniform(*(MIGRATIONS if own.move.closes else SESSIONS))
        else:
            blocks = sum(len(span) for span in own.move.take)
            lasts = LOAD_START + blocks * self.random.uniform(*LOAD_BLOCK)
        member.done_at = self.now + lasts
        self.at(member.done_at, lambda: self._look(member))

    def _announce(self, member: Member, own: Holding) -> None:
        for other in self.members.values():
            if other is not member:
                self.at(self.now + self.random.uniform(*SPREAD), lambda other=other: self._hear(other, own))

    def _hear(self, member: Member, heard: Holding) -> None:
        """The newer of two records of a node counts; they may overtake each other."""
        known = member.view.get(heard.offer.node)
        if self._alive(member) and (known is None or known.since <= heard.since):
            member.view[heard.offer.node] = heard

    def _forget(self, member: Member, name: str) -> None:
        member.view.pop(name, None)
        self._look(member)

    def _go(self, member: Member) -> None:
        del self.members[member.name]
        self._recount(crashed=False)
        for other in self.members.values():
            self.at(self.now + self.random.uniform(*SPREAD), lambda other=other: self._forget(other, member.name))

    def _recount(self, *, crashed: bool) -> None:
        """Note what became uncovered and what was covered again; gaps that no placement could close are not counted."""
        feasible, holders = self.feasible, self.coverage.holders
        for block, covered in enumerate((holders > 0).tolist()):
            if covered and block in self._gap_since:
                self.tally.gaps.append(self.now - self._gap_since.pop(block))
            elif self._covered[block] and not covered and feasible:
                self._gap_since[block] = self.now
                unforeseen = not crashed and self._unforeseeable(block)
                self.tally.unforeseen += unforeseen
                self.tally.uncovered += not crashed and not unforeseen
            self._covered[block] = covered
        if not feasible:
            self._gap_since.clear()
        self.tally.unclosed = len(self._gap_since)
