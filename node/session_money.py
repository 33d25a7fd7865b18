"""The money of one route on one stage: vouchers checked and put on disk, work held to what they pay, the channel watched."""

import asyncio
import time
from dataclasses import dataclass

from incentives.errors import ChainError
from incentives.vouchers import SignedVoucher, Voucher, check_voucher
from node.admission import Admitted
from node.advances import MINED_SECONDS
from node.batcher import Batcher
from node.credit import SessionCredit
from node.kept import Kept
from node.ledger import Ledger
from node.messages import Open, VoucherMessage, amount_of
from node.network import Network
from node.refusals import FailureCode, Refused
from sharding.engine import Engine
from verification.typed_data import Domain
from verification.work import session_work

SHORTEST_CHANNEL_WATCH, LONGEST_CHANNEL_WATCH = 1.0, 30.0
PROVISIONAL_WATCH = 0.25


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What of the node a session works with."""

    engine: Engine
    batcher: Batcher
    ledger: Ledger
    network: Network
    idle_seconds: float


class SessionMoney:
    """What a route owes this stage and what it has paid."""

    def __init__(self, terms: Admitted, parts: SessionParts, held: int) -> None:
        """held: positions that the stage has from before, for which nobody pays again."""
        self._terms = terms
        self._parts = parts
        self._mined = asyncio.Event()
        self._raised = asyncio.Event()
        if not terms.is_provisional:
            self._mined.set()
        self.waits_for_chain = False
        """Whether work stands still until the channel is mined: no fault of this stage."""
        unseen_since = int(time.time()) if terms.is_provisional else None
        account = parts.ledger.open_channel(terms.route.channel, terms.key, terms.payees, terms.stage, unseen_since)
        self.earned_before = account.earned
        self.credit = SessionCredit(
            terms.price, terms.prompt_tokens, terms.route.window, account.earned, account.cumulative, account.cumulative,
            terms.locked, held,
        )  # fmt: skip

    def check(self, message: VoucherMessage) -> SignedVoucher:
        """Check a voucher. Raises: VoucherRejected's leaves, InvalidSignature; nothing counts yet."""
        terms = self._terms
        signed = signed_voucher(terms, message)
        check_voucher(
            signed,
            self._parts.network.money_domain,
            channel=terms.route.channel,
            locked=self.credit.locked,  # a promise past it could not be settled, and would stand before every good one
            previous=self.credit.paid,
            work=_work(terms, self.credit, message.positions),
        )
        return signed

    async def hold(self, signed: SignedVoucher) -> None:
        """Put a checked voucher on disk; only then does it count."""
        await asyncio.to_thread(self._parts.ledger.hold_voucher, signed)
        self.credit.paid = signed.voucher.cumulative
        self._raised.set()

    async def raised(self) -> None:
        """Wait until there is more credit than now."""
        self._raised.clear()
        await self._raised.wait()

    async def check_credit(self, rows: int) -> None:
        """Raises: Refused where `rows` more positions are not covered; waits first where the channel is still to be mined."""
        if self.credit.allows(rows):
            return
        self.waits_for_chain = not self._mined.is_set()
        try:
            async with asyncio.timeout(MINED_SECONDS):
                await self._mined.wait()
            self.waits_for_chain = False
        except TimeoutError as error:
            raise Refused(FailureCode.CHANNEL, "the route's channel did not come on the chain in time") from error
        if not self.credit.allows(rows):
            raise Refused(FailureCode.UNPAID, f"{rows} more positions are past what is paid and the window's credit")

    async def watch_channel(self) -> None:
        """A payer that closes its channel while a session runs would take the money back before it is settled. Raises: Refused."""
        delay = self._parts.network.deployment.params.close_delay_s / 4
        every = min(max(delay, SHORTEST_CHANNEL_WATCH), LONGEST_CHANNEL_WATCH)
        while True:
            await asyncio.sleep(every if self._mined.is_set() else PROVISIONAL_WATCH)
            try:
                state = await asyncio.to_thread(self._parts.network.channels.state, self._terms.route.channel)
            except ChainError:
                continue  # a chain that is down ends no session: what is owed is within the credit
            if state.closes_at:
                raise Refused(FailureCode.CHANNEL, "the channel is being closed on chain")
            if not self._mined.is_set() and state.locked:
                self.credit.locked = state.locked
                await asyncio.to_thread(self._parts.ledger.saw, self._terms.route.channel)
                self._mined.set()
                self._raised.set()

    async def record(self) -> None:
        """Charge the finished work to the channel."""
        total = self.earned_before + self.credit.earned
        await asyncio.to_thread(self._parts.ledger.raise_earned, self._terms.route.channel, total)


def signed_voucher(terms: Admitted, message: VoucherMessage) -> SignedVoucher:
    """The message as a voucher on the route's channel, not checked yet."""
    voucher = Voucher(terms.route.channel, amount_of(message.cumulative), message.work)
    return SignedVoucher(terms.key, voucher, message.signature)


async def take_payment(kept: Kept, opening: Open, domain: Domain, ledger: Ledger) -> None:
    """The last voucher of the session's route before goes on disk, and must pay what that route has delivered.

    Raises: VoucherRejected's leaves, InvalidSignature; Refused where something is unpaid.
    """
    account = kept.account
    if account is None:
        return
    terms, credit = account.terms, account.credit
    own = [each for each in opening.paid if each.work == _work(terms, credit, each.positions)]
    if own and amount_of(own[-1].cumulative) > credit.paid:
        signed, work = signed_voucher(terms, own[-1]), own[-1].work
        channel, locked = terms.route.channel, credit.locked
        check_voucher(signed, domain, channel=channel, locked=locked, previous=credit.paid, work=work)
        await asyncio.to_thread(ledger.hold_voucher, signed)
        credit.paid = signed.voucher.cumulative
    check_paid(credit, opening.prompt_tokens - 1)


def _work(terms: Admitted, credit: SessionCredit, positions: int) -> bytes:
    return session_work(terms.digest, credit.cost_of(positions), positions)


def check_paid(credit: SessionCredit, needed: int) -> None:
    """Rule 14: no new route before the positions that the old one delivered are paid, `needed` at most. Raises: Refused."""
    delivered = min(credit.positions, needed)
    owed = credit.earned_before + (credit.cost_of(delivered) if credit.worked_at_all else 0)
    if credit.paid < owed:
        raise Refused(FailureCode.UNPAID, f"the session's route before has {owed - credit.paid} unpaid; pay it first")
