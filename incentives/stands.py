"""How far a dispute is: what the Disputes contract keeps the hash of, and every act brings along; followed by its events."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from incentives.chain_types import Event
from incentives.errors import UnexpectedAnswer
from sharding.hashing import HASH_BYTES, keccak256
from verification.addresses import Address, address_bytes, to_address
from verification.trace.descent import Where, root_of


class Turn(IntEnum):
    """Who is to move, as the contract numbers it. OPEN, ASKED, OPENING: the node; PICKING: the challenger."""

    OPEN = 0
    ASKED = 1
    ANSWERED = 2
    OPENING = 3
    PICKING = 4
    SHOWN = 5


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds for proofs, and for each side's moves in a descent."""

    proof: int
    descent: int


@dataclass(frozen=True, slots=True)
class Stand:
    """The contract's struct, field by field. Times are seconds since 1970, but for rest, which is a duration."""

    root: bytes
    node: bytes
    player: Address
    deadline: int
    rest: int
    proofs: int
    leaves: int
    place: int
    height: int
    turn: Turn

    @property
    def words(self) -> tuple[bytes, tuple[bytes, int, int]]:
        """As it travels: the contract's StandWords."""
        return self.root, self.play

    @property
    def play(self) -> tuple[bytes, int, int]:
        """All of it but the root: the contract's Play."""
        player = int.from_bytes(address_bytes(self.player), "big")
        clocks = player << 96 | self.deadline << 48 | self.rest
        step = self.proofs << 144 | self.leaves << 80 | self.place << 16 | self.height << 8 | self.turn
        return self.node, clocks, step

    def about(self, matter: bytes) -> bytes:
        """The hash of facts and root, which the moves of a descent bring instead of them."""
        return keccak256(matter + self.root)

    @property
    def where(self) -> Where:
        """Which node of the trace's tree is in question."""
        return Where(self.leaves, self.height, self.place)

    @property
    def bonds(self) -> int:
        """How many its challenger has put down: a descent takes a second one."""
        return 1 if self.turn in (Turn.OPEN, Turn.ANSWERED) else 2

    def hash(self, matter: bytes) -> bytes:
        """What the contract keeps of it and of the facts."""
        node, *packed = self.play
        return keccak256(self.about(matter) + node + b"".join(word.to_bytes(32, "big") for word in packed))

    def after(self, events: Iterable[Event], clocks: Clocks) -> "Stand":
        """The stand that a dispute's events lead to, in their order. Raises UnexpectedAnswer for one that cannot follow."""
        stand = self
        for event in events:
            step = _STEPS.get(event.name)
            if step is not None:
                stand = step(stand, event.args, clocks)
        return stand


NEW = Stand(bytes(HASH_BYTES), bytes(HASH_BYTES), to_address(bytes(20)), 0, 0, 0, 0, 0, 0, Turn.OPEN)
"""Of a dispute that is not there yet."""
_Args = Any


def _challenged(_: Stand, args: _Args, __: Clocks) -> Stand:
    """From anew: the number may have been that of a dispute which is over."""
    return replace(NEW, player=args["key"], deadline=args["deadline"], turn=Turn.ASKED if args["asked"] else Turn.OPEN)


def _answered(stand: Stand, args: _Args, clocks: Clocks) -> Stand:
    """Where the tree was asked for, the clock that has begun is the descent's: the answer's time follows from it."""
    deadline = args["deadline"]
    made = replace(stand, root=args["root"], leaves=args["leaves"], player=args["player"], deadline=deadline)
    if stand.turn is not Turn.ASKED:
        return replace(made, turn=Turn.ANSWERED, proofs=deadline)
    return _begun(replace(made, proofs=deadline - clocks.descent + clocks.proof), clocks)


def _asked(stand: Stand, args: _Args, clocks: Clocks) -> Stand:
    return _begun(replace(stand, deadline=args["deadline"]), clocks)


def _begun(stand: Stand, clocks: Clocks) -> Stand:
    height = root_of(stand.leaves).height
    return replace(stand, node=stand.root, place=0, height=height, turn=Turn.OPENING, rest=clocks.descent)


def _opened(stand: Stand, args: _Args, _: Clocks) -> Stand:
    _expect(stand, Turn.OPENING)
    made = replace(stand, node=args["ordered"], turn=Turn.PICKING)
    return _passed(made, stand, args["deadline"])


def _picked(stand: Stand, args: _Args, _: Clocks) -> Stand:
    _expect(stand, Turn.PICKING)
    made = replace(stand, node=args["node"], place=args["place"], height=stand.where.level, turn=Turn.OPENING)
    return _passed(made, stand, args["deadline"])


def _shown(stand: Stand, args: _Args, _: Clocks) -> Stand:
    _expect(stand, Turn.OPENING)
    return replace(stand, turn=Turn.SHOWN, deadline=args["deadline"])


def _passed(made: Stand, before: Stand, deadline: int) -> Stand:
    """The mover keeps what it has left, from the moment that the other's clock was started."""
    now = deadline - before.rest
    return replace(made, deadline=deadline, rest=before.deadline - now)


def _expect(stand: Stand, turn: Turn) -> None:
    if stand.turn is not turn:
        raise UnexpectedAnswer("Disputes", f"a move of {turn.name} where {stand.turn.name} was to move")


_STEPS = {
    "Challenged": _challenged,
    "Answered": _answered,
    "DataAsked": _asked,
    "NodesOpened": _opened,
    "NodePicked": _picked,
    "LeavesShown": _shown,
}
