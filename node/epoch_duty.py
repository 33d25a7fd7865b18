"""What every node does about the scores, epoch by epoch: it is in the table, claims credit for its work, posts the root when it
is its turn, holds others' roots against what the chain says, and fetches what it has earned by all that.

Nothing has to be remembered: what was done is on the chain, so a node that starts again goes on where it was. Whatever the contract
refuses is tried a few times an epoch, no more.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from incentives.chain_types import Block
from incentives.client_errors import FeeTooHigh, TransactionFailed
from incentives.errors import ChainError, Reverted, ScoreTableError, TransactionLost, TransactionRefused
from incentives.score_history import ScoreHistory
from incentives.signing import Signer
from node.epoch_act import Act, seconds_between_looks
from node.epoch_credit import EpochCredit
from node.epoch_roots import EpochRoots
from node.epoch_watch import EpochWatch
from node.ledger import Ledger
from node.network import Network
from verification.addresses import Address

log = logging.getLogger(__name__)

MAX_TRIES = 3
"""Of one act in one epoch."""
_OF_ONE = (Reverted, TransactionRefused, TransactionLost, TransactionFailed, FeeTooHigh)
"""What is wrong with one transaction, and no reason to leave the others: leaves that are not shown cost their poster all stake."""
SPARED_LOOKS = 3
"""At most so many times in a row nothing more is read than that there is no new block."""


@dataclass(frozen=True, slots=True)
class DutyDone:
    """One transaction of a look. `act`: enrol, claim, collect, post, reward, withdraw, pay out, recover, demand, commit,
    challenge..., show, expire.
    """

    act: str
    epoch: int
    gas_used: int


class ChainClock:
    """What time it is on the chain now: its newest block's, and what has passed since this process saw it first.

    A chain where nothing happens may have an old block for its newest.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen: tuple[bytes, float] | None = None

    def now(self, head_hash: bytes, head_timestamp: int) -> int:
        """In seconds since 1970, never ahead of the chain."""
        if self._seen is None or self._seen[0] != head_hash:
            self._seen = head_hash, self._monotonic()
        return head_timestamp + int(self._monotonic() - self._seen[1])


class EpochDuty:
    """The duty of one node. All methods are synchronous; `keep_duty` calls them off the event loop."""

    def __init__(
        self, network: Network, ledger: Ledger, signer: Signer, owner: Address, clock: ChainClock | None = None
    ) -> None:
        self._network = network
        self._clock = clock or ChainClock()
        self.history = ScoreHistory(network.chain, network.deployment)
        self._watch = EpochWatch(network, self.history, signer, owner)
        self._parts = (
            EpochRoots(network, self.history, signer, owner),
            self._watch,
            EpochCredit(
                network, self.history, ledger, signer, owner
            ),  # last: it asks most, and what fails ends the look
        )
        self._tries: Counter[tuple[int, str]] = Counter()
        self._seen, self._spared = b"", 0

    def look_if_new(self) -> list[DutyDone]:
        """As look, and seldom where nothing has happened since. Raises: ChainError."""
        head = self._network.chain.head()
        if head.hash == self._seen and self._spared < SPARED_LOOKS and not self._watch.is_waiting:
            self._spared += 1
            return []
        self._seen, self._spared = head.hash, 0
        return self._look(head)

    def look(self) -> list[DutyDone]:
        """See what is due now, and do it. Raises: ChainError where the chain cannot be asked at all."""
        return self._look(self._network.chain.head())

    def _look(self, head: Block) -> list[DutyDone]:
        now = self._clock.now(head.hash, head.timestamp)
        self.history.refresh(head.number)
        epoch = self.history.epoch_at(now)
        self._tries = Counter({key: count for key, count in self._tries.items() if key[0] == epoch})
        return [done for part in self._parts for act in self._due(part, now) for done in self._do(epoch, act)]

    def _due(self, part: EpochCredit | EpochRoots | EpochWatch, now: int) -> Iterator[Act]:
        """One part's trouble is not the others'."""
        try:
            yield from part.due(now)
        except (Reverted, ScoreTableError) as error:
            log.warning("scores: %s", error)

    def _do(self, epoch: int, act: Act) -> list[DutyDone]:
        if self._tries[epoch, act.name] >= MAX_TRIES:
            return []
        try:
            sent = act.send()
        except _OF_ONE as error:
            self._tries[epoch, act.name] += 1
            log.info("scores: %s: %s", act.name, error)
            return []
        return [] if sent is None else [DutyDone(act.name, epoch, sent.gas_used)]

    @property
    def seconds(self) -> float:
        """Between two looks."""
        return seconds_between_looks(self.history.clocks)


async def keep_duty(duty: EpochDuty) -> None:
    """Look until cancelled; a chain that is down is asked again at the next look."""
    while True:
        await asyncio.sleep(duty.seconds)
        try:
            for done in await asyncio.to_thread(duty.look_if_new):
                log.info("scores: %s in epoch %d, gas %d", done.act, done.epoch, done.gas_used)
        except ChainError as error:
            log.warning("scores wait: %s", error)
        except Exception:  # nobody would start it again, and a lie could come to count
            log.exception("a look at the scores failed")
