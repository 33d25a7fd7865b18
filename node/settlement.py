"""Turning vouchers into money: settle a route's pot, collect this node's share. Beside serving, and after a restart.

Anybody may settle, and one settlement pays all stages; so a stage waits as many rounds as its index says since the last
settlement, and usually finds it done.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from incentives.channels import ChannelState
from incentives.errors import ChainError, Reverted
from incentives.payees import parse_payees
from incentives.signing import Signer
from node.ledger import HeldChannel, Ledger
from node.network import Network

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settled:
    """One transaction of a settlement round. `amount` in the smallest unit."""

    kind: str
    channel: bytes
    amount: int
    gas_used: int
    tx_hash: bytes


@dataclass(frozen=True, slots=True)
class _Wait:
    """How many rounds a voucher has waited since its channel was last busy or settled by anybody."""

    settled: int
    rounds: int


def owed_on(held: HeldChannel, state: ChannelState) -> int:
    """What the voucher on disk can still claim; nothing from a reclaimed channel, or one of another chain."""
    return max(0, held.cumulative - state.settled) if held.cumulative <= state.locked else 0


class Settlement:
    """The money side of one node. All methods are synchronous; `keep_settling` calls them off the event loop."""

    def __init__(
        self, network: Network, ledger: Ledger, signer: Signer, busy: Callable[[bytes], bool] = lambda _: False,
        minimum: int = 1,
    ) -> None:  # fmt: skip
        self._network = network
        self._ledger = ledger
        self._signer = signer
        self._busy = busy
        """Whether a session runs on a channel: its next voucher makes this one's settlement a waste."""
        self._minimum = minimum
        """Shares below this are left to grow."""
        self._waits: dict[bytes, _Wait] = {}

    def round(self, *, at_once: bool = False) -> list[Settled]:
        """Look at every voucher on disk once. `at_once` does not wait for earlier stages to settle.

        Raises: ChainUnavailable. What one channel's transaction is refused for is logged and does not stop the others.
        """
        held = self._ledger.all_held()
        done: list[Settled] = []
        for each in held:
            done += self._try(self._settle, each, at_once)
        for each in {each.key.payees: each for each in held}.values():  # one pot however many channels fill it
            for index in each.indexes:
                done += self._try(self._collect, each, index, at_once)
        return done

    def _try(self, step: Callable[..., list[Settled]], held: HeldChannel, *args: object) -> list[Settled]:
        try:
            return step(held, *args)
        except Reverted as error:
            log.warning("channel %s: %s", held.channel.hex(), error)
            return []

    def _settle(self, held: HeldChannel, at_once: bool) -> list[Settled]:
        state = self._network.channels.state(held.channel)
        owed = owed_on(held, state)
        if held.voucher is None or owed == 0:
            self._waits.pop(held.channel, None)
            return []
        if not at_once and not self._worth_it(held, owed):
            return []  # a payer could have nodes burn their gas on promises of next to nothing
        if not (at_once or state.closes_at or self._is_turn(held, state)):
            return []
        sent = self._network.channels.settle(self._signer, held.voucher)
        return [Settled("settle", held.channel, owed, sent.gas_used, sent.tx_hash)]

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

    def _collect(self, held: HeldChannel, index: int, at_once: bool) -> list[Settled]:
        payees = parse_payees(held.payees)
        amount = self._network.channels.collectable(payees, index)
        if amount < (1 if at_once else self._minimum):
            return []
        sent = self._network.channels.collect(self._signer, payees, index)
        return [Settled("collect", held.channel, amount, sent.gas_used, sent.tx_hash)]


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
