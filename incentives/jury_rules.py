"""What a jury's seats and votes come to, in plain integers, line by line as contracts/src/lib/Ballots.sol.

A seat is one word: 0 is empty; a sealed vote is 254 bits of a hash and then 00; an open one holds juror, 80 bits of the digest,
evidence and vote.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from sharding.hashing import keccak256
from verification.addresses import Address, to_address
from verification.typed_data import address_word, bytes32_word, uint_word

SEATS = 5
APPEAL_SEATS = 7
ATTEMPTS = 4
LEAD = 3
AGREEING = 2
STRONG_EVIDENCE = 30
"""log2 of the least e-value that takes stake: 2^30 > 10^9."""
MAX_EVIDENCE = 255


class Vote(IntEnum):
    """What a juror says of an output."""

    WRONG = 1
    FINE = 2
    ABSTAIN = 3


class Outcome(IntEnum):
    """What a jury has said, in the order of what the accuser would like. UNPROVEN: wrong, and no stake may be taken for it."""

    VOID = 0
    ACQUITTED = 1
    UNPROVEN = 2
    CONVICTED = 3


@dataclass(frozen=True, slots=True)
class Ballot:
    """A juror's vote. evidence: log2 of the e-value, 0 to 255. digest: of the tensor at the place that the seed chose."""

    vote: Vote
    evidence: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Accusation:
    """What a case is about. receipt, route: their digests. barred: the route's nodes, the accuser, the accuser's node."""

    receipt: bytes
    route: bytes
    node: Address
    accuser: Address
    position: int
    barred: tuple[Address, ...]

    @property
    def words(self) -> tuple[object, ...]:
        """As the contract takes it."""
        return self.receipt, self.route, self.node, self.accuser, self.position, list(self.barred)

    @property
    def id(self) -> bytes:
        """The case's name."""
        head = uint_word("offset", 32, 256) + self.receipt + self.route + address_word(self.node)
        head += address_word(self.accuser) + uint_word("position", self.position, 32) + uint_word("offset", 192, 256)
        barred = b"".join(map(address_word, self.barred))
        return keccak256(head + uint_word("barred", len(self.barred), 256) + barred)


@dataclass(frozen=True, slots=True)
class Lot:
    """What a jury is drawn from, and by."""

    seed: bytes
    root: bytes
    total: int

    def ticket(self, seat: int, attempt: int = 0) -> int:
        """The ticket that is drawn for a seat."""
        words = bytes32_word("seed", self.seed) + uint_word("seat", seat, 256) + uint_word("attempt", attempt, 256)
        return int.from_bytes(keccak256(words), "big") % self.total

    def place(self, blocks: range, positions: range) -> tuple[int, int]:
        """The block and the position whose output's digest every juror has to show (rule 12)."""
        number = int.from_bytes(keccak256(self.seed), "big")
        return blocks[number % len(blocks)], positions[number // len(blocks) % len(positions)]


@dataclass(frozen=True, slots=True)
class Sealer:
    """Where a vote counts: chain, jury's contract, case, seat and juror are all part of what is committed to."""

    chain_id: int
    contract: Address
    case: bytes
    seat: int
    juror: Address

    def commitment(self, ballot: Ballot, salt: bytes) -> bytes:
        """What the juror commits to."""
        place = uint_word("chain", self.chain_id, 256) + address_word(self.contract) + self.case
        place += uint_word("seat", self.seat, 256) + address_word(self.juror)
        said = uint_word("vote", ballot.vote, 8) + uint_word("evidence", ballot.evidence, 8)
        return keccak256(place + said + bytes32_word("digest", ballot.digest) + bytes32_word("salt", salt))


def concealed(juror: Address, commitment: bytes) -> int:
    """A sealed seat."""
    return int.from_bytes(keccak256(address_word(juror) + bytes32_word("commitment", commitment)), "big") & ~3


def opened(juror: Address, ballot: Ballot) -> int:
    """An open seat."""
    digest = int.from_bytes(ballot.digest[:10], "big")
    return int.from_bytes(address_word(juror), "big") << 96 | digest << 16 | ballot.evidence << 8 | ballot.vote


@dataclass(frozen=True, slots=True)
class Count:
    """What a jury said. camp: the side that prevails, 0 for none; paid: those of it with one digest, of either side where
    there is none; silent: not revealed.
    """

    outcome: Outcome = Outcome.VOID
    camp: int = 0
    paid: int = 0
    silent: int = 0
    against: int = 0
    digest: bytes = bytes(10)


def count(seats: Sequence[int]) -> Count:
    """Tally the words of all seats of a round. Ties acquit; without an opinion of more than half of the seats it is void."""
    votes = Counter(seat & 3 for seat in seats if seat)
    wrong, fine, silent = votes[Vote.WRONG], votes[Vote.FINE], votes[0]
    if 2 * (wrong + fine) <= len(seats):
        agreed, digest = _largest([seat for seat in seats if seat & 3 in (Vote.WRONG, Vote.FINE)])
        return Count(paid=agreed if agreed >= AGREEING else 0, silent=silent, digest=digest)
    camp, against = (Vote.WRONG, fine) if wrong > fine else (Vote.FINE, wrong)
    agreed, digest = _largest([seat for seat in seats if seat & 3 == camp])
    paid = agreed if agreed >= AGREEING else 0
    if camp == Vote.FINE:
        return Count(Outcome.ACQUITTED, camp, paid, silent, against, digest)
    strong = sum(
        seat & 3 == camp and digest_of(seat) == digest and seat >> 8 & 255 >= STRONG_EVIDENCE for seat in seats
    )
    proven = agreed >= fine + LEAD and 2 * strong > agreed
    return Count(Outcome.CONVICTED if proven else Outcome.UNPROVEN, camp, paid, silent, against, digest)


def digest_of(seat: int) -> bytes:
    """The digest of an open seat, its first 80 bits."""
    return (seat >> 16 & (1 << 80) - 1).to_bytes(10, "big")


def juror_of(seat: int) -> Address:
    """The juror of an open seat."""
    return to_address((seat >> 96).to_bytes(20, "big"))


def _largest(seats: Sequence[int]) -> tuple[int, bytes]:
    """How many share a digest: the most, and of equally many those whose first seat is lower."""
    if not seats:
        return 0, bytes(10)
    digest, agreed = Counter(map(digest_of, seats)).most_common(1)[0]
    return agreed, digest
