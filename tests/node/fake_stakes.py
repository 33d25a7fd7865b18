"""Stakes that a test fills, for whoever reads the chain's view of the nodes."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

from incentives.chain_types import Block
from incentives.errors import ChainUnavailable
from incentives.stakes import Announcement, Identity, StakeRecord
from node.network import Network
from verification.addresses import Address, to_address

MANIFEST = b"\x0a" * 32


def address(number: int) -> Address:
    """An address of its own for each number."""
    return to_address(number.to_bytes(20, "big"))


@dataclass
class FakeStakes:
    """The Stakes wrapper with what a test puts in; counts its readings."""

    announced: list[Announcement] = field(default_factory=list)
    known: list[tuple[int, Identity]] = field(default_factory=list)
    """With the blocks of their events."""
    bonded: dict[Address, int] = field(default_factory=dict)
    changes: list[tuple[int, Address]] = field(default_factory=list)
    """Blocks in which stakes changed."""
    asked: list[Address] = field(default_factory=list)
    """Whose stakes were asked for."""
    readings: int = 0
    whole_readings: int = 0
    down: bool = False
    block: int = 0

    def head(self) -> Block:
        """As the chain."""
        return Block(self.block, self.block, self.block.to_bytes(32, "big"))

    def join(self, number: int, start: int = 0, end: int = 2, bonded: int = 500) -> Address:
        """A node that joined and announced in the next block."""
        node = address(number)
        self.block += 1
        self.known.append((self.block, Identity(node, address(1000 + number), number.to_bytes(32, "big"))))
        self.bond(number, bonded)
        self.announce(number, start, end)
        return node

    def bond(self, number: int, bonded: int) -> None:
        """A node has so much at stake from the present block on."""
        self.bonded[address(number)] = bonded
        self.changes.append((self.block, address(number)))

    def announce(self, number: int, start: int = 0, end: int = 2) -> None:
        """Another announcement in the present block."""
        at = Announcement(
            address(number), MANIFEST, start, end, 7, f"wss://node{number}.test:1", self.block, len(self.announced)
        )
        self.announced.append(at)

    def forget_since(self, block: int) -> None:
        """A re-org: what happened from a block on did not happen."""
        self.announced = [each for each in self.announced if each.block < block]
        self.known = [each for each in self.known if each[0] < block]
        self.changes = [each for each in self.changes if each[0] < block]

    def announcements(self, from_block: int | None = None) -> list[Announcement]:
        """As the wrapper."""
        self.readings += 1
        self.whole_readings += from_block is None
        if self.down:
            raise ChainUnavailable("http://chain.test", "down")
        return list({each.node: each for each in self.announced if each.block >= (from_block or 0)}.values())

    def identities(self, from_block: int | None = None) -> dict[Address, Identity]:
        """As the wrapper."""
        return {each.node: each for block, each in self.known if block >= (from_block or 0)}

    def stakes_changed(self, from_block: int) -> dict[Address, int]:
        """As the wrapper."""
        return {node: block for block, node in self.changes if block >= from_block}

    def stake_of(self, node: str) -> StakeRecord:
        """As the wrapper."""
        self.asked.append(to_address(node))
        return StakeRecord(self.bonded[to_address(node)], address(0), 40, 0, 0)


def network(stakes: FakeStakes) -> Network:
    """A network of stakes alone."""
    return cast(Network, SimpleNamespace(stakes=stakes, chain=stakes))
