"""What the chain knows of nodes' work, in plain integers: what each claim gives, and by which name it is refused."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from incentives.epochs import Evidence
from incentives.scores import credit_of
from tests.contracts.evidence_world import CAP, UNIT
from verification.addresses import Address

WHOLE, LANES, MOST = 10_000, 12, 255
"""Epochs and faults that the Court's counts have room for."""
Place = tuple[int, Address]
"""A channel by its number, and a node that it pays; or an epoch and a node."""


@dataclass
class Known:
    """payers: of each channel. shares: of each node, in ten-thousandths, of every channel. A refusal changes nothing."""

    payers: tuple[Address, ...]
    shares: dict[Address, int]
    settled: Counter[int] = field(default_factory=Counter)
    counted: Counter[Place] = field(default_factory=Counter)
    fees: Counter[tuple[int, int, Address]] = field(default_factory=Counter)
    credits: Counter[Place] = field(default_factory=Counter)
    barred: set[Place] = field(default_factory=set)
    convicted: set[Place] = field(default_factory=set)
    """A route by its number, and the node."""
    faults: list[Place] = field(default_factory=list)

    def claim(self, epoch: int, node: Address, channels: Iterable[int]) -> str:
        counted, fees, gained = self.counted.copy(), self.fees.copy(), 0
        for channel in channels:
            if self.payers[channel] == node:
                return "PaysItself"
            fee = (self.settled[channel] - counted[channel, node]) * self.shares[node] // WHOLE
            if fee == 0 or (channel, node) in self.barred:
                continue
            counted[channel, node] = self.settled[channel]
            before = fees[epoch, channel, node]
            fees[epoch, channel, node] += fee
            gained += credit_of(before + fee, UNIT, CAP) - credit_of(before, UNIT, CAP)
        if gained == 0:
            return "NothingToClaim"
        self.counted, self.fees = counted, fees
        self.credits[epoch, node] += gained
        return ""

    def convict(self, epoch: int, node: Address, route: int) -> int:
        """In ten-thousandths, what it costs: nothing a second time on one route."""
        if (route, node) in self.convicted:
            return 0
        again = any(each == node for _, each in self.faults)
        self.convicted.add((route, node))
        self.faults.append((epoch, node))
        return WHOLE if again else 3_000

    def bar(self, channel: int, route: int, node: Address) -> str:
        if (route, node) not in self.convicted:
            return "NotConvicted"
        if (channel, node) in self.barred:
            return "BarredBefore"
        self.barred.add((channel, node))
        return ""

    def of(self, epoch: int, node: Address) -> Evidence:
        """What the contract says of an epoch that it still knows."""
        mine = [at for at, each in self.faults if each == node]
        forgotten = not mine or mine[-1] - epoch >= LANES
        return Evidence(self.credits[epoch, node], 0 if forgotten else min(mine.count(epoch), MOST), 0)
