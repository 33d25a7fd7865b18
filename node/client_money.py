"""The client's channels: one for each route, funded before it is used, or from the free balance while it is."""

import asyncio
import logging
from collections.abc import Callable

from incentives.errors import ChainError
from incentives.payees import Payee
from incentives.signing import Signer
from node.channel_book import ChannelBook, OpenedChannel
from node.channel_care import sync
from node.network import Network

log = logging.getLogger(__name__)


class ClientMoney:
    """Takes channels and gives them back. Methods that speak to the chain run off the event loop."""

    def __init__(self, network: Network, signer: Signer, book: ChannelBook) -> None:
        self._network = network
        self._signer = signer
        self.book = book
        self._funding = asyncio.Lock()
        """One at a time: two sessions must not take one channel, nor count on the same free balance."""
        self._mining: dict[bytes, asyncio.Task[None]] = {}
        self._reserving: asyncio.Task[None] | None = None

    async def take(self, payees: tuple[Payee, ...], need: int) -> OpenedChannel:
        """An idle channel to these payees, or a new one, with enough left in it; it is busy from here on. Raises: ChainError."""
        async with self._funding:
            return await asyncio.shield(asyncio.to_thread(self._funded, payees, need))

    async def take_at_once(self, payees: tuple[Payee, ...], need: int) -> OpenedChannel:
        """Like take, but where the free balance is enough the transaction is sent and not waited for. Raises: ChainError."""
        async with self._funding:
            free = await asyncio.to_thread(self._network.channels.free_of, self._signer.address)
            idle = await asyncio.to_thread(self._idle, payees)
            if idle is not None or free < need:
                return await asyncio.shield(asyncio.to_thread(self._funded, payees, need))
            return self._open_later(payees, need)

    def _open_later(self, payees: tuple[Payee, ...], need: int) -> OpenedChannel:
        address = self._signer.address
        planned = self.book.plan(address, address, payees)
        self.book.set_locked(planned.channel, need)
        self.book.set_state(planned.channel, "busy")
        self._mining[planned.channel] = asyncio.create_task(self._open(planned, need))
        return self.book.get(planned.channel)

    async def _open(self, planned: OpenedChannel, need: int) -> None:
        try:
            # several routes may count on one reserve; without their channels the nodes would not trust this payer for a while
            await asyncio.to_thread(self._network.channels.fund, self._signer, planned.key, need)
        except ChainError as error:  # the stages stop by themselves after W tokens
            log.warning("channel %s could not be opened: %s", planned.channel.hex()[:16], error)
        finally:
            self._mining.pop(planned.channel, None)

    async def give_back(self, channel: bytes, owing: int) -> None:
        """Nothing runs on a channel any more; one that is still being mined is not taken for idle before it is.

        owing: the most that its stages can have worked for and were not promised.
        """
        await asyncio.to_thread(self.book.set_owing, channel, owing)
        if (mining := self._mining.get(channel)) is None:
            await asyncio.to_thread(self.book.set_state, channel, "open")
        else:
            mining.add_done_callback(lambda _: self.book.set_state(channel, "open"))

    def reserve(self, amount: int) -> None:
        """See to it, in the background, that the free balance would pay for another route."""
        if self._reserving is None or self._reserving.done():
            self._reserving = asyncio.create_task(self._reserve(amount))

    async def _reserve(self, amount: int) -> None:
        async with self._funding:
            try:
                await asyncio.shield(asyncio.to_thread(self._top_up, amount))
            except ChainError as error:
                log.info("no reserve for another route: %s", error)

    def _top_up(self, amount: int) -> None:
        missing = amount - self._network.channels.free_of(self._signer.address)
        if missing > 0:
            self._network.channels.deposit(self._signer, missing)

    async def close(self) -> None:
        """Wait for what was sent."""
        tasks = [*self._mining.values(), *([self._reserving] if self._reserving else [])]
        await asyncio.gather(*tasks, return_exceptions=True)

    def _funded(self, payees: tuple[Payee, ...], need: int) -> OpenedChannel:
        address = self._signer.address
        channel = self._idle(payees) or self.book.plan(address, address, payees)
        missing = need - channel.left
        if missing > 0:
            self._network.channels.fund(self._signer, channel.key, missing)
            self.book.set_locked(channel.channel, channel.locked + missing)
        self.book.set_state(channel.channel, "busy")
        return self.book.get(channel.channel)

    def _idle(self, payees: tuple[Payee, ...]) -> OpenedChannel | None:
        """An idle channel that the chain knows as the book does; a local chain that began anew has none of the old."""
        find: Callable[[], OpenedChannel | None] = lambda: self.book.idle(payees, self._signer.address)  # noqa: E731
        while (channel := find()) is not None:
            if sync(self.book, self._network, channel).is_open:
                return self.book.get(channel.channel)
            self.book.set_state(channel.channel, "reclaimed")
        return None
