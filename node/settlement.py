"""Turning vouchers into money: settle a route's pot, collect this node's share. Beside serving, and after a restart.

Anybody may settle, and one settlement pays all stages; so a stage waits as many rounds as its index says since the last
settlement, and usually finds it done. What is due in one round goes into one transaction; should the contract refuse that, each
goes alone.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from incentives.chain_types import Sent
from incentives.channels import NEVER_OPENED, ChannelState, PotShare
from incentives.client_errors import KeyReused
from incentives.errors import ChainError, Reverted
from incentives.payees import Payee, parse_payees, payees_hash
from incentives.signing import Signer
from incentives.vouchers import SignedVoucher
from node.batches import batches
from node.ledger import HeldChannel, Ledger
from node.looks import Looks
from node.network import Network
from node.transactions import Wishes
from sharding.hashing import keccak256
from verification.addresses import Address

log = logging.getLogger(__name__)
T = TypeVar("T")

FORGET_SECONDS = 24 * 3600
"""A channel that has not come on the chain for so long never will: as long as the longest route lasts."""
MAX_FORGOTTEN = 64
"""In a round: each costs a question."""
MAX_BATCH = 64
"""Vouchers or places in one transaction: a million gas of vouchers, far below what a block holds."""
_OF_ONE = (Reverted, KeyReused)
"""What is wrong with one transaction, and no reason to leave the others. A key is reused by a payer that signs one amount twice,
to a node whose disk was restored between."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement round did for one channel or one share. `amount` in the smallest unit."""

    kind: str
    channel: bytes
    amount: int
    gas_used: int
    """Its part of what the transaction took."""
    tx_hash: bytes


@dataclass(frozen=True, slots=True)
class _Wait:
    """How many rounds a voucher has waited since its channel was last busy or settled by anybody."""

    settled: int
    rounds: int


@dataclass(frozen=True, slots=True)
class _Voucher:
    """A voucher to settle now, and what it still claims."""

    held: HeldChannel
    signed: SignedVoucher
    amount: int


@dataclass(frozen=True, slots=True)
class _Place:
    """A share of a pot to collect now, and what is in it."""

    held: HeldChannel
    payees: tuple[Payee, ...]
    index: int
    amount: int


def owed_on(held: HeldChannel, state: ChannelState) -> int:
    """What the voucher on disk can still claim; nothing from a reclaimed channel, or one of another chain."""
    return max(0, held.cumulative - state.settled) if held.cumulative <= state.locked else 0


class Settlement:
    """The money side of one node. All methods are synchronous; `keep_settling` calls them off the event loop."""

    def __init__(
        self, network: Network, ledger: Ledger, signer: Signer, busy: Callable[[bytes], bool] = lambda _: False,
        minimum: int = 1, wishes: Wishes | None = None, looks: Looks | None = None,
    ) -> None:  # fmt: skip
        self._network = network
        self._ledger = ledger
        self._signer = signer
        self._busy = busy
        """Whether a session runs on a channel: its next voucher makes this one's settlement a waste."""
        self._minimum = minimum
        """Shares below this are left to grow."""
        self._wishes = wishes
        """Names of transactions, where they are recorded."""
        self._looks = Looks() if looks is None else looks
        self._waits: dict[bytes, _Wait] = {}
        self._ripening: set[bytes] = set()
        """Pots in which something of this node's becomes collectable by time alone; by their payees' hash."""

    def round(self, *, at_once: bool = False) -> list[Settled]:
        """Look at every voucher on disk once. `at_once` does not wait for earlier stages to settle.

        Raises: ChainUnavailable. What one channel's transaction is refused for is logged and does not stop the others.
        """
        every = self._ledger.all_held()
        held = [each for each in every if self._looks.is_due(each) or at_once]
        done: list[Settled] = []
        for vouchers in _alike([due for each in held for due in self._try(self._to_settle, each, at_once)]):
            done += self._settle(vouchers)
        pots = {each.key.payees for each in held} | self._ripening
        places: list[_Place] = []
        # one pot however many channels fill it
        for each in {each.key.payees: each for each in every if each.key.payees in pots}.values():
            self._ripening.discard(each.key.payees)
            for index in each.indexes:
                places += self._try(self._to_collect, each, index, at_once)
        for node in dict.fromkeys(place.payees[place.index].node for place in places):
            own = (place for place in places if place.payees[place.index].node == node)
            for batch in batches(own, MAX_BATCH, lambda place: len(place.payees)):
                done += self._collect(node, batch)
        try:
            self._forget_what_never_came()
        except ChainError as error:  # what was done is done
            log.warning("channels that never came are forgotten later: %s", error)
        return done

    def _forget_what_never_came(self) -> None:
        before = int(time.time()) - FORGET_SECONDS
        for channel in self._ledger.unseen(before)[:MAX_FORGOTTEN]:
            if self._busy(channel):
                continue
            if self._network.channels.state(channel) != NEVER_OPENED:
                self._ledger.saw(channel)
                continue
            log.warning(
                "channel %s never came on the chain; its vouchers are worth nothing and forgotten", channel.hex()
            )
            self._ledger.forget(channel, before)
            self._looks.found_something(channel)

    def _try(self, step: Callable[..., list[T]], held: HeldChannel, *args: object) -> list[T]:
        try:
            return step(held, *args)
        except _OF_ONE as error:
            log.warning("channel %s: %s", held.channel.hex(), error)
            return []

    def _to_settle(self, held: HeldChannel, at_once: bool) -> list[_Voucher]:
        state = self._network.channels.state(held.channel)
        if held.is_unseen and state != NEVER_OPENED:
            self._ledger.saw(held.channel)
        owed = owed_on(held, state)
        if held.voucher is None or owed == 0:
            self._looks.found_nothing(held)
            self._waits.pop(held.channel, None)
            return []
        self._looks.found_something(held.channel)
        if not at_once and not self._worth_it(held, owed):
            return []  # a payer could have nodes burn their gas on promises of next to nothing
        if not (at_once or state.closes_at or self._is_turn(held, state)):
            return []
        newest = self._ledger.held(held.channel)  # a session may have ended since the round began, and paid the rest
        owed = owed_on(newest, state)
        return [_Voucher(newest, newest.voucher, owed)] if newest.voucher is not None and owed else []

    def _settle(self, vouchers: Sequence[_Voucher]) -> list[Settled]:
        if len(vouchers) > 1:
            try:
                key = self._once("settle", *[_named(each) for each in vouchers])
                sent = self._network.channels.settle_many(self._signer, [each.signed for each in vouchers], key)
            except _OF_ONE as error:
                log.warning("%d vouchers together: %s; now one by one", len(vouchers), error)
            else:
                moved = {event.args["channel"] for event in sent.logs if event.name == "Settled"}
                return _shared("settle", sent, [each for each in vouchers if each.held.channel in moved])
        return [done for each in vouchers for done in self._try(self._settle_one, each.held, each)]

    def _settle_one(self, held: HeldChannel, due: _Voucher) -> list[Settled]:
        key = self._once("settle", _named(due))
        return _shared("settle", self._network.channels.settle(self._signer, due.signed, key), [due])

    def _worth_it(self, held: HeldChannel, owed: int) -> bool:
        payees = parse_payees(held.payees)
        return sum(payees[index].share_of(owed) for index in held.indexes) >= self._minimum

    def _is_turn(self, held: HeldChannel, state: ChannelState) -> bool:
        if self._busy(held.channel):
            self._waits.pop(held.channel, None)  # else all stages' turns would come together once the session ends
            return False
        wait = self._waits.get(held.channel)
        rounds = wait.rounds if wait is not None and wait.settled == state.settled else 0
        self._waits[held.channel] = _Wait(state.settled, rounds + 1)
        return rounds >= held.stage

    def _to_collect(self, held: HeldChannel, index: int, at_once: bool) -> list[_Place]:
        payees = parse_payees(held.payees)
        share = self._network.channels.share(payees, index)
        if share.ripening > 0:
            self._ripening.add(held.key.payees)
        amount = share.collectable
        return [] if amount < (1 if at_once else self._minimum) else [_Place(held, payees, index, amount)]

    def _collect(self, node: Address, places: Sequence[_Place]) -> list[Settled]:
        if len(places) > 1:
            indexes: dict[tuple[Payee, ...], tuple[int, ...]] = {}
            for place in places:
                indexes[place.payees] = (*indexes.get(place.payees, ()), place.index)
            shares = [PotShare(payees, of_node) for payees, of_node in indexes.items()]
            key = self._again("collect", *[_place(each) for each in places])
            try:
                return _shared("collect", self._network.channels.collect_many(self._signer, node, shares, key), places)
            except _OF_ONE as error:
                log.warning("%d shares together: %s; now one by one", len(places), error)
        return [done for each in places for done in self._try(self._collect_one, each.held, each)]

    def _collect_one(self, held: HeldChannel, place: _Place) -> list[Settled]:
        key = self._again("collect", _place(place))
        return _shared("collect", self._network.channels.collect(self._signer, place.payees, place.index, key), [place])

    def _once(self, kind: str, *parts: str) -> str | None:
        return None if self._wishes is None else self._wishes.once(_wish(kind, parts))

    def _again(self, kind: str, *parts: str) -> str | None:
        return None if self._wishes is None else self._wishes.again(_wish(kind, parts))


def _named(due: _Voucher) -> str:
    return f"{due.held.channel.hex()}-{due.signed.voucher.cumulative}"


def _place(place: _Place) -> str:
    return f"{payees_hash(place.payees).hex()}-{place.index}"


def _wish(kind: str, parts: Sequence[str]) -> str:
    """One part is named in full; of several the hash says that it is the same batch again."""
    return f"{kind}-{parts[0]}" if len(parts) == 1 else f"{kind}-{keccak256(' '.join(parts).encode()).hex()}"


def _alike(vouchers: Sequence[_Voucher]) -> list[Sequence[_Voucher]]:
    """All of one size: a voucher names its payees by their hash."""
    return batches(vouchers, MAX_BATCH, lambda _: 0)


def _shared(kind: str, sent: Sent, parts: Sequence[_Voucher | _Place]) -> list[Settled]:
    """One record for each part of a transaction; what its gas leaves over when divided is the first one's."""
    each, rest = divmod(sent.gas_used, max(1, len(parts)))
    return [
        Settled(kind, part.held.channel, part.amount, each + (rest if at == 0 else 0), sent.tx_hash)
        for at, part in enumerate(parts)
    ]


async def keep_settling(settlement: Settlement, every_seconds: float) -> None:
    """Run rounds until cancelled; a chain that is down is tried again in the next round."""
    while True:
        await asyncio.sleep(every_seconds)
        try:
            for done in await asyncio.to_thread(settlement.round):
                log.info("%s %d on channel %s, gas %d", done.kind, done.amount, done.channel.hex()[:16], done.gas_used)
        except ChainError as error:
            log.warning("settlement waits: %s", error)
        except Exception:  # nobody would start it again, and what the node earns would be left behind
            log.exception("a settlement round failed")
