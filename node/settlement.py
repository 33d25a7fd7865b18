"""Turning vouchers into money: settle the route's pot, then collect this node's share. Runs beside serving and after a restart.

Anybody may settle, and one settlement pays all stages; so a stage waits its turn by its index and usually finds it done.
"""

import asyncio
import logging
from dataclasses import dataclass

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


class Settlement:
    """The money side of one node. All methods are synchronous; `keep_settling` calls them off the event loop."""

    def __init__(self, network: Network, ledger: Ledger, signer: Signer, minimum: int = 1) -> None:
        self._network = network
        self._ledger = ledger
        self._signer = signer
        self._minimum = minimum
        """Shares below this are left to grow."""
        self._rounds_seen: dict[bytes, int] = {}

    def round(self, *, at_once: bool = False) -> list[Settled]:
        """Look at every voucher on disk once. `at_once` does not wait for earlier stages to settle.

        Raises: ChainUnavailable. What one channel's transaction is refused for is logged and does not stop the others.
        """
        done: list[Settled] = []
        collected: set[bytes] = set()
        for held in self._ledger.all_held():
            try:
                done += self._settle(held, at_once)
                if held.key.payees not in collected:
                    done += self._collect(held)
                    collected.add(held.key.payees)
            except Reverted as error:
                log.warning("channel %s: %s", held.channel.hex(), error)
        return done

    def _settle(self, held: HeldChannel, at_once: bool) -> list[Settled]:
        state = self._network.channels.state(held.channel)
        owed = held.cumulative - state.settled
        if held.voucher is None or owed <= 0:
            self._rounds_seen.pop(held.channel, None)
            return []
        rounds = self._rounds_seen.get(held.channel, 0)
        self._rounds_seen[held.channel] = rounds + 1
        if not (at_once or state.closes_at or rounds >= held.stage):
            return []
        sent = self._network.channels.settle(self._signer, held.voucher)
        return [Settled("settle", held.channel, owed, sent.gas_used, sent.tx_hash)]

    def _collect(self, held: HeldChannel) -> list[Settled]:
        payees = parse_payees(held.payees)
        amount = self._network.channels.collectable(payees, held.stage)
        if amount < self._minimum:
            return []
        sent = self._network.channels.collect(self._signer, payees, held.stage)
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
