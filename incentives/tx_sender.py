"""Sends one account's transactions so that none is lost, and none with an idempotency key is ever sent twice.

Each step is recorded before the next one begins, and each begins by looking at the record: after a crash at any point
the same steps go on. A job gets a second transaction number only once its first is spent for good by something else;
with one number, at most one of its signed forms can be mined. Two processes with one data directory are kept apart by
a lock; another program with the same key may take numbers, which costs time and nothing else.
"""

import logging
import secrets
import threading
from dataclasses import dataclass

from incentives.client_errors import FeeTooHigh, KeyReused, TooManyWaiting, TransactionFailed
from incentives.clock import SYSTEM_CLOCK, Clock
from incentives.errors import ChainError, ChainUnavailable, TransactionLost, TransactionRefused, UnexpectedAnswer
from incentives.sending import FIRST_POLL_S, GAS_MARGIN_PERCENT, LAST_POLL_S
from incentives.signing import Signer
from incentives.tx_chain import Offered, TxChain
from incentives.tx_fees import SenderPolicy, bumped, first_fees
from incentives.tx_states import HOLDING, Attempt, Fees, Inclusion, Job, TxState, Wanted
from incentives.tx_store import TxStore
from sharding.hashing import keccak256

MAX_RENUMBERINGS = 3
MAX_GAP = 64
"""How many missing numbers are filled; more were never given out."""
FILLER_GAS = 21_000
FILLER_KEY = "gap-"
"""How the keys of transactions that only spend a number begin."""
_PASSING = (ChainUnavailable, UnexpectedAnswer, FeeTooHigh, TooManyWaiting, TransactionLost)
"""Reasons not to sign now that may be gone later: a wish with a key stays planned."""
_log = logging.getLogger(__name__)


class TxSender:
    """The one sender of an account. Threads may share it."""

    def __init__(
        self,
        signer: Signer,
        chain: TxChain,
        store: TxStore,
        policy: SenderPolicy | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Wishes without a key of their own that were never signed are given up: nobody waits for them any more."""
        self.account = signer.address
        self._signer, self._chain, self._store = signer, chain, store
        self._policy, self._clock = policy or SenderPolicy(), clock
        self._steps = threading.RLock()
        for job in store.live():
            if job.state is TxState.PLANNED and not job.keyed:
                store.move(job, TxState.FAILED, reason="the process ended before it was signed")

    def send(self, wanted: Wanted, key: str | None = None) -> Inclusion:
        """Send and wait for the block. The same key again gives the same transaction, also after a crash.

        Raises: KeyReused, Reverted, FeeTooHigh, TooManyWaiting, TransactionRefused and ChainUnavailable when nothing was sent,
        TransactionFailed when a tick found that out, TransactionLost when no block took it in time: it may still be
        mined, ask again with its key.
        """
        job = self.submit(wanted, key)
        deadline, pause, renumbered = self._clock.monotonic() + self._policy.wait_s, FIRST_POLL_S, 0
        while (found := job.inclusion) is None:
            before, tried = job, self._try(job)
            job = tried.job
            if job.state is TxState.REPLACED and renumbered < MAX_RENUMBERINGS:
                job, renumbered = self._replan(job), renumbered + 1
            if job.state is TxState.FAILED and job.inclusion is None:
                raise TransactionFailed(job.key, job.reason)
            if job.state is not before.state:
                continue
            if self._clock.monotonic() + pause > deadline or job.state is TxState.REPLACED:
                raise TransactionLost(job.attempts[-1].tx_hash, self._policy.wait_s, tried.reason)
            self._clock.sleep(pause)
            pause = min(2 * pause, LAST_POLL_S)
        return found

    def submit(self, wanted: Wanted, key: str | None = None) -> Job:
        """Record a wish under its key, or find what became of it. Raises: KeyReused for other content."""
        with self._steps:
            job = None if key is None else self._store.by_key(key)
            if job is None:
                return self._store.plan(key or f"unkeyed-{secrets.token_hex(16)}", key is not None, wanted)
            if not job.wanted.same_as(wanted):
                raise KeyReused(job.key)
            again = job.state is TxState.REPLACED or (job.state is TxState.FAILED and job.inclusion is None)
            return self._replan(job) if again else job

    def recorded(self, key: str) -> Job | None:
        """What became of a key."""
        return self._store.by_key(key)

    def tick(self) -> list[Job]:
        """Take every recorded transaction a step further: after a start, and then every few seconds.

        What the chain refuses is recorded, not raised. Raises: ChainUnavailable when nobody answers.
        """
        with self._steps:
            done = [self._quietly(job) for job in self._store.live()]
            return done + self._fill_gap()

    def close(self) -> None:
        """Release the record. Idempotent."""
        self._store.close()

    def _quietly(self, job: Job) -> Job:
        try:
            return self._step(job)
        except (ChainUnavailable, UnexpectedAnswer):
            raise
        except ChainError as error:
            _log.warning("transaction_refused key=%s reason=%s", job.key, error)
            return self._store.job(job.number)

    def _try(self, job: Job) -> "_Tried":
        """One step of a job that is waited for. Silence is waited out once there is something to look for."""
        with self._steps:
            job = self._store.job(job.number)
            try:
                return _Tried(self._step(job), "no block contains it")
            except (ChainUnavailable, UnexpectedAnswer) as error:
                job = self._store.job(job.number)
                if job.state in (TxState.PLANNED, TxState.FAILED):
                    raise
                return _Tried(job, error.reason)

    def _step(self, job: Job) -> Job:
        if job.state is TxState.PLANNED:
            return self._sign_first(job)
        if job.state is TxState.SIGNED:
            return self._offer_first(job)
        if job.state is TxState.BROADCAST:
            return self._look(job)
        return self._confirm(job) if job.state is TxState.MINED else job

    def _sign_first(self, job: Job) -> Job:
        if job.attempts and (found := self._find(job)) is not None:
            return self._store.include(self._store.sign(job, job.attempts[-1]), found, TxState.MINED)
        try:
            gas = job.wanted.gas
            if gas is None:
                gas = self._chain.estimate(self.account, job.wanted) * GAS_MARGIN_PERCENT // 100
            fees = first_fees(self._chain.market(), self._policy.fees)
            return self._store.sign(job, self._signed(job, self._number_for(job), gas, fees))
        except ChainError as error:
            if not (job.keyed and isinstance(error, _PASSING)):
                self._store.move(job, TxState.FAILED, reason=str(error)[:500])
            raise

    def _number_for(self, job: Job) -> int:
        """The number that a job keeps as long as it may be mined with it; else the lowest that is free."""
        spent = self._chain.spent_numbers(self.account, self._policy.confirmations)
        held = self._store.held_numbers(spent)
        if job.nonce is None or job.nonce < spent:
            if self._forgotten(job):
                raise TransactionLost(
                    job.attempts[-1].tx_hash, self._policy.memory_s, "it may have been mined long ago"
                )
            known = self._known(spent)
            first = self._first_free(known)
            free = next(number for number in range(first, first + len(held) + 1) if number not in held)
            return self._plausible(free, known, held)
        if job.nonce in held:
            raise TransactionLost(
                job.attempts[-1].tx_hash, 0.0, f"its number {job.nonce} went to another, not for good yet"
            )
        return job.nonce

    def _known(self, spent: int) -> int:
        """How many numbers are spent by what the chain and the record tell: the record knows its own, whatever is told."""
        return max(spent, self._store.used_numbers())

    def _first_free(self, known: int) -> int:
        """The lowest number that may be free: too low a count of what waits is lifted by what is known to be spent."""
        return max(self._chain.next_number(self.account), known)

    def _plausible(self, number: int, spent: int, held: set[int]) -> int:
        """Raises: TooManyWaiting where a transaction with this number might wait for ever."""
        unknown = sum(waiting not in held for waiting in range(spent, min(number, spent + MAX_GAP + len(held) + 1)))
        if unknown > MAX_GAP:
            raise TooManyWaiting(self.account, MAX_GAP)
        return number

    def _signed(self, job: Job, number: int, gas: int, fees: Fees) -> Attempt:
        wanted = job.wanted
        transaction = {
            **({} if wanted.to is None else {"to": wanted.to}),
            "data": "0x" + wanted.data.hex(),
            "value": wanted.value,
            "nonce": number,
            "gas": gas,
            "maxFeePerGas": fees.max_fee,
            "maxPriorityFeePerGas": fees.tip,
            "chainId": self._chain.chain_id,
            "type": 2,
        }
        raw = self._signer.sign_transaction(transaction)
        return Attempt(keccak256(raw), raw, number, gas, fees, TxState.SIGNED, self._clock.now(), None)

    def _offer_first(self, job: Job) -> Job:
        attempt = job.current[-1]
        try:
            offered = self._chain.offer(attempt.raw)
        except TransactionRefused as error:
            if (found := self._find(job)) is not None:
                return self._store.include(job, found, TxState.MINED)
            self._store.move(job, TxState.FAILED, reason=error.reason)
            raise
        if offered in (Offered.TAKEN, Offered.UNKNOWN):
            return self._store.sent(job, attempt, self._clock.now())
        return self._mined_or_replaced(job) or job

    def _look(self, job: Job) -> Job:
        """Look for a job in the blocks; offer what was never offered, or is waited for too long."""
        if (settled := self._mined_or_replaced(job)) is not None:
            return settled
        unsent = [attempt for attempt in job.current if attempt.sent_at is None]
        if unsent:
            return self._offer_again(job, unsent[-1])
        newest = job.current[-1]
        if self._clock.now() - (newest.sent_at or 0.0) < self._policy.fees.bump_after_s:
            return job
        return self._bump(job, newest)

    def _bump(self, job: Job, newest: Attempt) -> Job:
        policy = self._policy.fees
        full = len(job.current) >= policy.max_attempts
        fees = None if full else bumped(newest.fees, self._chain.market(), policy)
        if fees is None:
            return self._offer_again(job, newest)  # the nodes may have forgotten it
        attempt = self._signed(job, newest.nonce, newest.gas, fees)
        return self._offer_again(self._store.sign(job, attempt), attempt)

    def _offer_again(self, job: Job, attempt: Attempt) -> Job:
        try:
            self._chain.offer(attempt.raw, everywhere=True)
        except TransactionRefused as error:
            _log.warning("replacement_refused key=%s reason=%s", job.key, error)  # the one before it may still be mined
        return self._store.sent(job, attempt, self._clock.now())

    def _mined_or_replaced(self, job: Job) -> Job | None:
        """The count first: what is mined between the two questions must not look like somebody else's."""
        spent = self._chain.spent_numbers(self.account, self._policy.confirmations)
        if (found := self._find(job)) is not None:
            return self._store.include(job, found, TxState.MINED)
        if job.nonce is None or job.nonce >= spent:
            return None
        if self._forgotten(job):
            _log.warning("transaction_unclear key=%s number=%s", job.key, job.nonce)
            return None  # it may have been mined and forgotten: a second one could be one too many
        return self._store.move(job, TxState.REPLACED, reason=f"another transaction used number {job.nonce}")

    def _forgotten(self, job: Job) -> bool:
        """Whether a signed form is so old that not finding it proves nothing; what was proven to be replaced stays so."""
        signed = [attempt.signed_at for attempt in job.attempts if attempt.state is not TxState.REPLACED]
        return bool(signed) and self._clock.now() - min(signed) > self._policy.memory_s

    def _confirm(self, job: Job) -> Job:
        """Final after enough blocks; waiting again when a re-org took the block back."""
        height, found = self._chain.height(), self._find(job)
        if found is None:
            waiting = self._store.move(job, TxState.BROADCAST)
            return self._offer_again(waiting, waiting.current[-1])
        if height - found.block >= self._policy.confirmations:
            return self._store.include(job, found, TxState.FINAL if found.success else TxState.FAILED)
        return job if found == job.inclusion else self._store.include(job, found, TxState.MINED)

    def _find(self, job: Job) -> Inclusion | None:
        return self._chain.find([attempt.tx_hash for attempt in reversed(job.attempts)])

    def _replan(self, job: Job) -> Job:
        return self._store.move(job, TxState.PLANNED)

    def _fill_gap(self) -> list[Job]:
        """Where a number is missing before one that waits, spend it on nothing: else nothing behind it is ever mined."""
        live = self._store.live()
        waiting = [job.nonce for job in live if job.state in HOLDING and job.nonce is not None]
        if not waiting:
            return []
        first = self._first_free(self._known(self._chain.spent_numbers(self.account, self._policy.confirmations)))
        held = self._store.held_numbers(first)
        missing = [number for number in range(first, min(max(waiting), first + MAX_GAP + 1)) if number not in held]
        if len(missing) > MAX_GAP:
            _log.error("transaction_gap account=%s first=%s last=%s", self.account, first, max(waiting))
            return []
        planned = sum(job.state is TxState.PLANNED and job.key.startswith(FILLER_KEY) for job in live)
        keys = [f"{FILLER_KEY}{number}-{secrets.token_hex(8)}" for number in missing[planned:]]
        return [self._quietly(self._store.plan(key, True, self._filler)) for key in keys]

    @property
    def _filler(self) -> Wanted:
        return Wanted(self.account, gas=FILLER_GAS)


@dataclass(frozen=True, slots=True)
class _Tried:
    job: Job
    reason: str
