"""One direction of a connection: counts what passes, spoils it as planned, and delivers it in order when its time has come."""

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.errors import NodeError, PeerClosed
from node.inbox import MAX_WAITING_MESSAGES
from node.memory import MemoryPipe
from node.transport import CloseCode
from tests.faults.plan import Fault, Kind
from tests.faults.spoiling import flipped, garbage

if TYPE_CHECKING:
    from tests.faults.network import FaultNetwork

WIRE_TASKS = "wire:"
"""How the names of the network's own tasks begin."""


@dataclass(frozen=True, slots=True)
class _Passing:
    """Something on its way: a message, or the connection's end."""

    due: float
    content: bytes | NodeError
    discard: bool = False


class Wire:
    """Stands where a MemoryPipe has its other end, and its inbox: takes what that pipe sends to the pipe behind it."""

    def __init__(self, network: "FaultNetwork", source: str, target: str, behind: MemoryPipe) -> None:
        self.inbox = self  # what a pipe asks its other end for
        self.source, self.target = source, target
        self.over = False
        self._max_message = behind._max_message
        self._network = network
        self._behind = behind
        self._passing: deque[_Passing] = deque()
        self._swapped: _Passing | None = None
        self._moved = asyncio.Event()
        self._task = asyncio.create_task(self._deliver(), name=f"{WIRE_TASKS}{source}>{target}")

    async def put(self, message: bytes) -> None:
        """Take one message; waits while the wire is full, as a sender does whose peer does not read."""
        while len(self._passing) >= MAX_WAITING_MESSAGES and not self.over:
            self._moved.clear()
            await self._moved.wait()
        if self._is_mute():
            return
        nth, faults = self._network.count(self.source, self.target, len(message))
        if self._is_mute():  # this very message has set off the end
            return
        due = _now() + self._network.latency(self.source, self.target, nth)
        due += sum(fault.seconds for fault in faults if fault.kind is Kind.DELAY)
        self._enqueue(_Passing(due, _spoilt(message, faults)), {fault.kind: fault for fault in faults})

    def _is_mute(self) -> bool:
        """Whether nothing more is taken: nobody hears it, or a dead node says it."""
        return self.over or self._network.is_dead(self.source)

    def _enqueue(self, item: _Passing, faults: dict[Kind, Fault]) -> None:
        if Kind.DROP in faults:
            return
        if Kind.REORDER in faults and self._swapped is None:
            self._swapped = item
            asyncio.get_running_loop().call_later(faults[Kind.REORDER].seconds, self._release, item)
            return
        self._passing.extend([item] * (2 if Kind.DUPLICATE in faults else 1))
        self._release(self._swapped)

    def _release(self, item: _Passing | None) -> None:
        """Let a message that was held back for the next one go on."""
        if item is not None and item is self._swapped:
            self._passing.append(item)
            self._swapped = None
        self._moved.set()

    def end(self, error: NodeError, *, discard: bool = False) -> None:
        """The sending pipe ends the connection: known behind it when all that was sent before has arrived."""
        if not self._is_mute():
            self._release(self._swapped)
            self._passing.append(_Passing(_now() + self._network.latency(self.source, self.target, 0), error, discard))
            self._moved.set()

    def break_off(self) -> None:
        """The sender was killed: its system closes the connection after what it has sent already."""
        self._swapped = None
        self._passing.append(_Passing(_now() + self._network.plan.latency_seconds, _lost()))
        self._moved.set()

    def silence(self) -> None:
        """Nobody is there to hear any more."""
        self.over = True
        self._passing.clear()
        self._moved.set()
        self._task.cancel()

    async def _deliver(self) -> None:
        """Hand on what has come due, in order, until the end."""
        while not self.over:
            if not self._passing:
                self._moved.clear()
                await self._moved.wait()
            elif not await self._wait_for_turn(self._passing[0]):
                await self._hand_over()

    async def _wait_for_turn(self, item: _Passing) -> bool:
        """Wait until the first item may pass; returns whether there was anything to wait for."""
        until = max(item.due, self._network.open_at(self.source, self.target))
        if until <= _now():
            return False
        await asyncio.sleep(until - _now())
        return True

    async def _hand_over(self) -> None:
        item = self._passing.popleft()
        self._moved.set()
        if isinstance(item.content, NodeError):
            self._behind.inbox.end(item.content, discard=item.discard)
            self.over = True
            return
        try:
            await self._behind.inbox.put(item.content)
        except NodeError:  # the pipe behind has ended, and has said so on the other wire
            self.over = True


def _spoilt(message: bytes, faults: list[Fault]) -> bytes:
    for fault in faults:
        if fault.kind is Kind.FLIP:
            message = flipped(message, fault.chance)
        elif fault.kind is Kind.GARBAGE:
            message = garbage(message, fault.chance)
    return message


def _lost() -> PeerClosed:
    return PeerClosed(CloseCode.LOST, "connection lost")


def _now() -> float:
    return asyncio.get_running_loop().time()
