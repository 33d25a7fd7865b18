"""A court with a real jury and a real lottery table: five jurors with nearly all tickets, two nodes of a route, an accuser."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Any

from incentives.chain import Contract, Sent
from incentives.court import receipt_words, route_words
from incentives.epochs import Clocks
from incentives.jury import Jury
from incentives.jury_rules import SEATS, Accusation, Ballot, Count, Lot, Sealer, Vote
from incentives.jury_terms import JuryTerms
from incentives.score_tree import Entry, Posting, Proven, ScoreTable, table_of
from incentives.scores import Masses
from incentives.signing import LocalSigner, split_signature
from sharding.hashing import keccak256
from tests.conftest import ask
from tests.contracts.world import FOREVER, GRAVE, MAX_FEE, MIN_STAKE, World, dev, hot, next_addresses, shipped
from verification.receipts import Receipt
from verification.routes import Route, RouteStage, profile_id

TERMS = JuryTerms(
    2_500, 100, 1_000, delay_s=300, answer_s=200, draw_s=150, commit_s=120, reveal_s=110, appeal_s=130, lag_blocks=2
)
UNBONDING = 2_000
CLOCKS = Clocks(epoch=40, exclusive=1, posting=10, activation=8, response=8, half_life=5_600)
"""Short, so that other worlds on the chain hardly grow older."""
NODE, JURORS, ACCUSER, OTHER, STRANGER = dev(1), tuple(dev(k) for k in range(2, 7)), dev(7), dev(8), dev(9)
STAKE, JURORS_STAKE, PURSE = 10 * MIN_STAKE, 10**12, 10**9
EXPIRES_IN = 100
GAS = 1_500_000
ONE, SALT, WORK = (keccak256(text) for text in (b"one", b"salt", b"work"))
CONVINCED = Ballot(Vote.WRONG, 30, WORK)
CONTENT = Ballot(Vote.FINE, 0, WORK)
UNSURE = Ballot(Vote.ABSTAIN, 0, bytes(32))


@dataclass(frozen=True, slots=True)
class JuryWorld:
    """The suite with a jury; every node of the table is in `owners` by its address."""

    world: World
    contract: Contract
    scores: Contract
    jury: Jury
    posting: Posting
    table: ScoreTable
    owners: Mapping[str, LocalSigner]

    def funds(self, who: LocalSigner) -> int:
        return int(self.world.view(self.contract, "fundsOf", who.address)[0])


def deploy_jury(world: World) -> JuryWorld:
    """Stakes, Court, Jury and Reliability; a table counts, and everybody has funds."""
    chain = world.chain
    court_at, jury_at, scores_at = next_addresses(chain, 3, after=1)
    words = world.token.address, court_at, MIN_STAKE, UNBONDING, MAX_FEE
    stakes = chain.deploy(dev(0), shipped("Stakes"), *words).contract
    arbiters, calendar = (
        (STRANGER.address, jury_at, scores_at, STRANGER.address),
        (chain.head().timestamp, CLOCKS.epoch),
    )
    court = chain.deploy(dev(0), shipped("Court"), stakes.address, arbiters, calendar).contract
    contract = chain.deploy(dev(0), shipped("Jury"), court.address, TERMS.words).contract
    scores = deploy_table(world, stakes, court, calendar[0])
    world = replace(world, stakes=stakes, court=court)
    owners = {who.address: who for who in (NODE, OTHER, *JURORS)}
    for who in (ACCUSER, *owners.values()):
        fund(world, who, contract)
    for who in owners.values():
        world.join(who, hot(who.address), JURORS_STAKE if who in JURORS else STAKE)
        world.send(STRANGER, scores, "enrol", who.address)
    jury = Jury(chain, contract, stakes, world.domain(court))
    table, posting = posted(world, scores, {who.address: world.stake(who)[0] for who in owners.values()})
    return JuryWorld(world, contract, scores, jury, posting, table, owners)


def deploy_table(world: World, stakes: Contract, court: Contract, genesis: int) -> Contract:
    """Reliability; nobody disputes its leaves here, so the evidence is nobody's."""
    arguments = stakes.address, court.address, court.address, CLOCKS.words, genesis, 64, 1_000, 500
    return world.chain.deploy(dev(0), shipped("Reliability"), *arguments).contract


def fund(world: World, who: LocalSigner, contract: Contract) -> None:
    world.give(who, 10**15)
    for spender in (world.stakes, contract):
        world.send(who, world.token, "approve", spender.address, FOREVER)
    world.send(who, contract, "deposit", PURSE)


def posted(world: World, scores: Contract, stakes: Mapping[str, int]) -> tuple[ScoreTable, Posting]:
    """The table of the running epoch, once it counts."""
    epoch = int(world.view(scores, "currentEpoch"))
    end = int(world.view(scores, "endOf", epoch))
    table = table_of({node: Entry(stake, Masses(0, 0), 0) for node, stake in stakes.items()}, end)
    world.next_block_at(end + CLOCKS.exclusive)
    words = epoch, table.root, table.total, JURORS[0].address
    (event,) = world.send(JURORS[0], scores, "post", *words, gas=GAS).logs
    at = int(event.args["postedAt"])
    world.next_block_at(at + CLOCKS.activation)
    ask(world.url, "evm_mine")
    return table, Posting(epoch, int(event.args["base"]), at, JURORS[0].address, table.total, table.root)


@dataclass
class Trial:
    """One case: a receipt of the first stage of a route of two, accused at a position."""

    on: JuryWorld
    route: Route
    receipt: Receipt
    position: int = 6
    accuser: LocalSigner = ACCUSER
    lot: Lot | None = None
    votes: dict[int, tuple[Sealer, Ballot]] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return self.on.world

    @property
    def case(self) -> Accusation:
        return self.on.jury.accusation(self.receipt, self.route, self.position, self.accuser.address)

    @property
    def signature(self) -> bytes:
        return hot(NODE.address).sign_digest(self.receipt.digest(self.world.domain(self.world.court)))

    @property
    def now(self) -> int:
        return self.world.chain.head().timestamp

    @property
    def since(self) -> int:
        return self.on.jury.case(self.case).since

    def at(self, timestamp: int) -> None:
        """The newest block is of that second."""
        self.world.next_block_at(timestamp)
        ask(self.world.url, "evm_mine")

    def send(self, who: LocalSigner, fn: str, *words: Any) -> Sent:
        return self.world.send(who, self.on.contract, fn, *words, gas=GAS)

    def refusal(self, who: LocalSigner, fn: str, *words: Any) -> tuple[str, tuple[Any, ...]]:
        return self.world.refusal(who, self.on.contract, fn, *words, gas=GAS)

    @property
    def accusing(self) -> tuple[Any, ...]:
        """The arguments of `accuse`."""
        stages = [astuple(stage) for stage in self.route.stages]
        signed = receipt_words(self.receipt), *split_signature(self.signature)
        return *signed, route_words(self.route), stages, self.position

    def sealed(self, seat: int) -> bytes:
        sealer, ballot = self.votes[seat]
        return sealer.commitment(ballot, SALT)

    def opening(self, seat: int) -> tuple[Any, ...]:
        """The arguments of `reveal`."""
        sealer, ballot = self.votes[seat]
        return sealer.case, seat, sealer.juror, astuple(ballot), SALT

    def accuse(self) -> Sent:
        return self.on.jury.accuse(self.accuser, self.receipt, self.signature, self.route, self.position)

    def answer(self) -> Sent:
        return self.on.jury.answer(NODE, self.case)

    def draw(self) -> Lot:
        for _ in range(TERMS.lag_blocks):
            ask(self.world.url, "evm_mine")
        self.lot = self.on.jury.draw(STRANGER, self.case, self.on.posting)
        return self.lot

    def lot_of_newest(self) -> Lot:
        """What the newest block has drawn."""
        head = self.world.chain.head().number
        (event,) = self.world.chain.events(self.on.contract, "Drawn", head)
        return Lot(*event.args["lot"])

    def lot_of(self, sent: Sent) -> Lot:
        """What a draw has drawn."""
        seed, root, total = sent.logs[0].args["lot"]
        return Lot(seed, root, total)

    def drawn(self) -> "Trial":
        self.accuse()
        self.answer()
        self.draw()
        return self

    @property
    def drawn_lot(self) -> Lot:
        assert self.lot is not None
        return self.lot

    def holder(self, seat: int, attempt: int = 0) -> Proven:
        return self.on.table.holder(self.drawn_lot.ticket(seat, attempt))

    def words(self, seat: int, sealed: bytes, attempt: int = 0) -> tuple[LocalSigner, tuple[Any, ...]]:
        """Who may take the seat, and the arguments of `commit`."""
        holder, lot = self.holder(seat, attempt), astuple(self.drawn_lot)
        return self.on.owners[holder.leaf.node], (self.case.words, seat, attempt, lot, *holder.words, sealed)

    def commit(self, seat: int, ballot: Ballot) -> Sent:
        holder = self.holder(seat)
        sealer = self.on.jury.sealer(self.case, seat, holder.leaf.node)
        self.votes[seat] = sealer, ballot
        sealed = sealer.commitment(ballot, SALT)
        return self.on.jury.commit(self.on.owners[holder.leaf.node], self.case, seat, self.drawn_lot, holder, sealed)

    def reveal(self, seat: int) -> Sent:
        sealer, ballot = self.votes[seat]
        return self.on.jury.reveal(STRANGER, sealer, ballot, SALT)

    def voted(self, ballots: Sequence[Ballot | None], first: int = 0, silent: Sequence[int] = ()) -> Count:
        """Everybody commits, most reveal, and the time for it is over. None takes no seat."""
        seats = [first + k for k, ballot in enumerate(ballots) if ballot is not None]
        for seat, ballot in zip(seats, (each for each in ballots if each is not None), strict=True):
            self.commit(seat, ballot)
        since = self.since
        self.at(since + TERMS.commit_s + 1)
        for seat in seats:
            if seat not in silent:
                self.reveal(seat)
        self.at(since + TERMS.commit_s + TERMS.reveal_s + 1)
        return self.on.jury.tally(self.case, 0 if first < SEATS else 1)

    def close(self) -> Sent:
        return self.on.jury.close(STRANGER, self.case)

    def close_later(self) -> Sent:
        """When nobody has appealed."""
        self.at(self.since + TERMS.commit_s + TERMS.reveal_s + TERMS.appeal_s + 1)
        return self.close()

    def collect(self) -> None:
        """Everybody fetches what is due."""
        self.collected()

    def collected(self) -> list[int]:
        """What each taken seat is due, in order."""
        return [int(self._fetched(seat).logs[0].args["amount"]) for seat in sorted(self.votes)]

    def _fetched(self, seat: int) -> Sent:
        sealer, ballot = self.votes[seat]
        if self.world.view(self.on.contract, "seatOf", sealer.case, seat) & 3:
            return self.on.jury.collect(STRANGER, self.case, seat)
        return self.on.jury.collect_silent(STRANGER, sealer, sealer.commitment(ballot, SALT))

    def paid_to_jurors(self) -> int:
        return sum(map(self.on.funds, JURORS)) - len(JURORS) * PURSE

    def burnt(self) -> int:
        """What waits to be burnt."""
        return int(self.world.view(self.on.contract, "fundsOf", GRAVE)[0])

    def must_add_up(self) -> None:
        """After a closed case whose seats have been fetched everything is free again, or to be burnt."""
        free = sum(map(self.on.funds, (ACCUSER, *self.on.owners.values())))
        assert self.world.balance(self.on.contract.address) == free + self.burnt() == 8 * PURSE


def trial(
    on: JuryWorld, nonce: bytes = ONE, profile: str = "float-1", expires_in: int = EXPIRES_IN, **changes: Any
) -> Trial:
    """A route of NODE and OTHER that expires soon, and a receipt of NODE."""
    stages = RouteStage(NODE.address, 0, 4, 5), RouteStage(OTHER.address, 4, 8, 5)
    expiry = on.world.chain.head().timestamp + expires_in
    route = Route(nonce, ONE, 0, bytes(32), stages, ONE, profile_id(profile), ONE, ONE, 16, ONE, expiry)
    receipt = Receipt(route.digest(on.world.domain(on.world.court)), 0, 1, 4, 8, bytes(32), ONE, ONE, ONE)
    return Trial(on, route, replace(receipt, **changes))
