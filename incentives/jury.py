"""Accusations of outputs in the float profiles, and the juries that judge them, before the Jury contract."""

from dataclasses import astuple, dataclass

from incentives.chain_types import Chain, Contract, Event, Sent
from incentives.court import receipt_words, route_words
from incentives.jury_rules import Accusation, Ballot, Count, Lot, Outcome, Sealer
from incentives.score_tree import Posting, Proven
from incentives.signing import Signer, split_signature
from verification.addresses import Address, to_address
from verification.receipts import Receipt
from verification.routes import Route
from verification.typed_data import Domain


@dataclass(frozen=True, slots=True)
class Case:
    """Where a case stands. phase: as the contract's caseOf; since: seconds since 1970; armed: a block; verdict: the first."""

    phase: int
    since: int
    armed: int
    bond: int
    verdict: Outcome


class Jury:
    """The Jury contract. court: the domain that receipts and routes are signed for."""

    def __init__(self, chain: Chain, contract: Contract, stakes: Contract, court: Domain) -> None:
        self._chain, self.contract, self._stakes, self._court = chain, contract, stakes, court

    def deposit(self, sender: Signer, amount: int) -> Sent:
        """Bring money for bonds and votes; the sender must have approved it. A node's is its owner's to bring and to take."""
        return self._chain.send(sender, self.contract, "deposit", amount)

    def withdraw(self, sender: Signer, amount: int) -> Sent:
        """Take back what no bond holds. Raises: Reverted (BondShort)."""
        return self._chain.send(sender, self.contract, "withdraw", amount)

    def accuse(self, sender: Signer, receipt: Receipt, signature: bytes, route: Route, position: int) -> Sent:
        """Say that a receipt's output is wrong at a position; the bond is taken.

        Raises: Reverted (PositionInvalid, RouteNotOpened, ProfileExact, ChallengeTooLate, NotOnRoute, NodeConvicted, DisputeKnown,
        BondShort, TooManyChallenges, TooManyAgainst, SignatureInvalid, SignerUnknown), InvalidSignature.
        """
        stages = [astuple(stage) for stage in route.stages]
        words = receipt_words(receipt), *split_signature(signature), route_words(route), stages, position
        return self._chain.send(sender, self.contract, "accuse", *words)

    def accusation(self, receipt: Receipt, route: Route, position: int, accuser: Address) -> Accusation:
        """What the case is about that `accuse` opens; the other functions want it again."""
        own = to_address(self._chain.call(self._stakes, "nodeOf", accuser))
        barred = (*(stage.node for stage in route.stages), accuser, own)
        node = route.stages[receipt.stage].node
        return Accusation(receipt.digest(self._court), receipt.route, node, accuser, position, barred)

    @staticmethod
    def accused(event: Event) -> Accusation:
        """What the case is about that an Accused event opened: for the node, and for who may be drawn."""
        receipt, route, node, accuser, position, barred = event.args["facts"]
        parties = to_address(node), to_address(accuser), int(position), tuple(map(to_address, barred))
        return Accusation(bytes(receipt), bytes(route), *parties)

    def answer(self, sender: Signer, case: Accusation) -> Sent:
        """Say that the output is right. Raises: Reverted (NotDefender, ClockRunOut, PhaseWrong, BondShort)."""
        return self._chain.send(sender, self.contract, "answer", case.words)

    def draw(self, sender: Signer, case: Accusation, posting: Posting) -> Lot:
        """Draw the jury by this block's beacon. Raises: Reverted (TooEarly, ClockRunOut, PhaseWrong, TableNotServing)."""
        sent = self._chain.send(sender, self.contract, "draw", case.words, posting.words)
        seed, root, total = sent.logs[0].args["lot"]
        return Lot(bytes(seed), bytes(root), int(total))

    def commit(
        self, sender: Signer, case: Accusation, seat: int, lot: Lot, holder: Proven, sealed: bytes, attempt: int = 0
    ) -> Sent:
        """Take a seat with a sealed vote; its bond is taken from the node's funds. sealed: the Sealer's commitment.

        Raises: Reverted (PhaseWrong, ClockRunOut, SeatInvalid, SeatReserved, SeatTaken, LotForeign, NotHolder, JurorBarred,
        StakeGone, NotNode, BondShort, CommitmentMissing, LeafInvalid).
        """
        words = case.words, seat, attempt, astuple(lot), *holder.words, sealed
        return self._chain.send(sender, self.contract, "commit", *words)

    def sealer(self, case: Accusation, seat: int, juror: Address) -> Sealer:
        """What commits to a vote."""
        return Sealer(self._chain.chain_id, self.contract.address, case.id, seat, juror)

    def reveal(self, sender: Signer, sealer: Sealer, ballot: Ballot, salt: bytes) -> Sent:
        """Open a sealed vote. Raises: Reverted (PhaseWrong, ClockRunning, ClockRunOut, CommitmentForeign, SeatInvalid)."""
        words = sealer.case, sealer.seat, sealer.juror, astuple(ballot), salt
        return self._chain.send(sender, self.contract, "reveal", *words)

    def appeal(self, sender: Signer, case: Accusation) -> Sent:
        """Have seven others judge. Raises: Reverted (PhaseWrong, ClockRunning, ClockRunOut, NotLoser, BondShort)."""
        return self._chain.send(sender, self.contract, "appeal", case.words)

    def close(self, sender: Signer, case: Accusation) -> Sent:
        """End a case whose clock has run out. Raises: Reverted (PhaseWrong, ClockRunning)."""
        return self._chain.send(sender, self.contract, "close", case.words)

    def collect(self, sender: Signer, case: Accusation, seat: int) -> Sent:
        """Credit a revealed seat's juror. Raises: Reverted (PhaseWrong, CommitmentForeign)."""
        return self._chain.send(sender, self.contract, "collect", case.id, seat)

    def collect_silent(self, sender: Signer, sealer: Sealer, commitment: bytes) -> Sent:
        """Credit a seat that was not revealed. Raises: Reverted (PhaseWrong, CommitmentForeign)."""
        words = sealer.case, sealer.seat, sealer.juror, commitment
        return self._chain.send(sender, self.contract, "collectSilent", *words)

    def case(self, case: Accusation) -> Case:
        """Where it stands."""
        phase, since, armed, bond, verdict = self._chain.call(self.contract, "caseOf", case.id)
        return Case(int(phase), int(since), int(armed), int(bond), Outcome(verdict))

    def tally(self, case: Accusation, round_: int) -> Count:
        """What a jury has said so far."""
        outcome, camp, paid, silent, against, digest = self._chain.call(self.contract, "tally", case.id, round_)
        return Count(Outcome(outcome), int(camp), int(paid), int(silent), int(against), bytes(digest))
