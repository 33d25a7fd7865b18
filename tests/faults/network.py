"""A network in memory on which things go wrong as a FaultPlan says. Streams, handshakes and limits are node/memory.py's own.

Each node gets its transport by name. Between the two pipes of a connection stand two wires, one for each direction; a wire
counts, delays, holds and spoils what passes, and hands it to the pipe behind it in order.
"""

import asyncio
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass
from typing import cast

from incentives.signing import Signer
from node.errors import PeerClosed, PeerUnreachable
from node.handshake import HandshakeTerms
from node.memory import MemoryListener, MemoryNetwork, MemoryPipe, MemoryTransport
from node.transport import CloseCode, FrameStream, Handler
from tests.faults.plan import Fault, FaultPlan, Kind
from tests.faults.wire import WIRE_TASKS, Wire

__all__ = ["DIAL_SECONDS", "WIRE_TASKS", "FaultNetwork", "FaultTransport", "Happened"]

DIAL_SECONDS = 10.0
"""How long a dialer knocks at a door that does not answer."""
_dialling: ContextVar[str] = ContextVar("dialling")


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of a run's trace."""

    at: float
    """Virtual seconds."""
    what: str
    source: str
    target: str
    nth: int
    size: int


class FaultNetwork(MemoryNetwork):
    """All nodes, doors and wires of one run."""

    def __init__(self, plan: FaultPlan) -> None:
        super().__init__()
        self.plan = plan
        self.trace: list[Happened] = []
        """Every message that was sent, and every fault that was set off."""
        self.fired: list[Fault] = []
        self._left = list(plan.faults)
        self._counts: Counter[tuple[str, str]] = Counter()
        self._wires: list[Wire] = []
        self._pipes: list[tuple[str, MemoryPipe]] = []
        self._hidden: dict[str, dict[str, MemoryListener]] = {}
        self._held_until: dict[tuple[str, str], float] = {}
        self._stalled_until: dict[str, float] = {}
        self._slowed: dict[str, float] = {}
        self._dead: set[str] = set()

    def transport(self, name: str, signer: Signer, terms: HandshakeTerms, peer: bytes = b"") -> "FaultTransport":
        """The means of one node to listen and to dial; `peer` is its TLS key's hash, where it listens."""
        return FaultTransport(self, name, signer, terms, peer)

    def is_dead(self, name: str) -> bool:
        """Whether a node was killed and does not serve again yet."""
        return name in self._dead

    def count(self, source: str, target: str, size: int) -> tuple[int, list[Fault]]:
        """Count a message; returns its number on its link and the faults on it, after doing those that concern more than it."""
        nth, of_source = self._counts[source, target], self._counts[source, ""]
        self._counts[source, target] += 1
        self._counts[source, ""] += 1
        self.note("sent", source, target, nth, size)
        fired = [fault for fault in self._left if fault.matches(source, target, nth, of_source)]
        for fault in fired:
            self._left.remove(fault)
            self.fired.append(fault)
            self.note(fault.kind.value, source, target, nth, size)
            self.act(fault)
        return nth, fired

    def note(self, what: str, source: str, target: str, nth: int = 0, size: int = 0) -> None:
        """Add a line to the trace."""
        self.trace.append(Happened(round(_now(), 9), what, source, target, nth, size))

    def act(self, fault: Fault) -> None:
        """Do what concerns more than one message; the rest is the wire's part."""
        until = _now() + fault.seconds
        match fault.kind:
            case Kind.PARTITION:
                self._hold(fault.source, fault.target, until)
                if fault.both_ways:
                    self._hold(fault.target, fault.source, until)
            case Kind.STALL:
                self._stalled_until[fault.source] = max(until, self._stalled_until.get(fault.source, 0.0))
            case Kind.SLOW:
                self._slowed[fault.source] = self._slowed.get(fault.source, 0.0) + fault.seconds
            case Kind.KILL:
                self.kill(fault.source)
                if fault.seconds:
                    asyncio.get_running_loop().call_later(fault.seconds, self.revive, fault.source)

    def _hold(self, source: str, target: str, until: float) -> None:
        self._held_until[source, target] = max(until, self._held_until.get((source, target), 0.0))

    def latency(self, source: str, target: str, nth: int) -> float:
        """Of one message, in seconds."""
        return self.plan.latency(source, target, nth) + self._slowed.get(source, 0.0)

    def open_at(self, source: str, target: str) -> float:
        """When the next message may pass; in the past where nothing holds it."""
        stalled = max(self._stalled_until.get(source, 0.0), self._stalled_until.get(target, 0.0))
        return max(stalled, self._held_until.get((source, target), 0.0))

    def kill(self, name: str) -> None:
        """Everything of a node ends at once: its doors, both ends of its connections. What it still says reaches nobody."""
        self._dead.add(name)
        self.note("killed", name, "")
        self._hidden[name] = {
            endpoint: door for endpoint, door in self.listeners.items() if cast(FaultListener, door).name == name
        }
        for endpoint in self._hidden[name]:
            del self.listeners[endpoint]
        for wire in self._wires:
            if wire.source == name:
                wire.break_off()
            elif wire.target == name:
                wire.silence()
        for owner, pipe in self._pipes:
            if owner == name:
                pipe.inbox.end(PeerClosed(CloseCode.LOST, "connection lost"), discard=True)

    def revive(self, name: str) -> None:
        """A killed node opens its doors again."""
        self._dead.discard(name)
        self.note("revived", name, "")
        self.listeners.update(self._hidden.pop(name, {}))

    def join(self, dialer: str, theirs: MemoryPipe, listener: str, ours: MemoryPipe) -> None:
        """Put a wire into each direction of a new connection."""
        there = Wire(self, dialer, listener, ours)
        back = Wire(self, listener, dialer, theirs)
        theirs.other, ours.other = cast(MemoryPipe, there), cast(MemoryPipe, back)
        self._wires = [wire for wire in self._wires if not wire.over] + [there, back]
        self._pipes = [each for each in self._pipes if each[1].inbox.ended is None]
        self._pipes += [(dialer, theirs), (listener, ours)]

    async def knock(self, name: str, endpoint: str) -> None:
        """A connection's first packets, there and back. Raises: PeerUnreachable."""
        if name in self._dead:
            raise PeerUnreachable(endpoint, "this node was killed")
        door = self.listeners.get(endpoint)
        there = cast(FaultListener, door).name if door is not None else ""
        held = max(self._held_until.get(pair, 0.0) for pair in ((name, there), (there, name))) - _now()
        await asyncio.sleep(min(max(held, 0.0), DIAL_SECONDS) + 2 * self.plan.latency_seconds)
        if held > DIAL_SECONDS:
            raise PeerUnreachable(endpoint, f"no answer within {DIAL_SECONDS:g} s")

    async def close(self) -> None:
        """End the wires."""
        for wire in self._wires:
            wire.silence()
        await asyncio.sleep(0)


class FaultTransport(MemoryTransport):
    """One node's transport on a FaultNetwork."""

    def __init__(self, network: FaultNetwork, name: str, signer: Signer, terms: HandshakeTerms, peer: bytes) -> None:
        super().__init__(network, signer, terms, peer)
        self.name = name
        self.faults = network

    async def dial(self, endpoint: str, peer: bytes) -> FrameStream:
        """See Transport."""
        await self.faults.knock(self.name, endpoint)
        _dialling.set(self.name)
        return await super().dial(endpoint, peer)

    async def listen(self, host: str, port: int, handler: Handler) -> "FaultListener":
        """See Transport."""
        listener = FaultListener(self.faults, self.name, self._peer, self._terms, handler, self._send_seconds)
        listener.endpoint = self.faults.claim(host, port, listener)
        return listener


class FaultListener(MemoryListener):
    """A door whose connections go over wires."""

    def __init__(
        self, network: FaultNetwork, name: str, peer: bytes, terms: HandshakeTerms, handler: Handler, send_seconds: float
    ) -> None:  # fmt: skip
        super().__init__(network, peer, terms, handler, send_seconds)
        self.name = name
        self.faults = network

    def connect(self, theirs: MemoryPipe) -> None:
        """Serve the other end of a dialer's pipe, with wires between the two."""
        super().connect(theirs)
        self.faults.join(_dialling.get(), theirs, self.name, theirs.other)


def _now() -> float:
    return asyncio.get_running_loop().time()
