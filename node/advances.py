"""What a node works for on the word of a free balance: the routes whose channels are not on the chain yet.

A client that lost a stage has no time for a transaction, so the free balance of its payer is trusted for a prompt and one
window. That trust is not given twice for the same money: what one payer was trusted for and has not locked counts together,
and whoever has let a channel stay away is not trusted again for a while. Other nodes know nothing of it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

from node.refusals import FailureCode, Refused
from verification.addresses import Address

MINED_SECONDS = 30.0
"""For a channel to come on the chain."""
MAX_UNMINED = 32
"""Channels of one payer at a time: as many sessions as may come back at once by default."""
FORGIVEN_SECONDS = 600.0
MAX_PAYERS = 10_000


@dataclass(frozen=True, slots=True)
class _Advance:
    """An amount in the smallest unit, trusted since a moment of the event loop's clock."""

    amount: int
    since: float


class Advances:
    """Who was trusted with what."""

    def __init__(self, is_mined: Callable[[bytes], bool]) -> None:
        """is_mined: whether a channel is on the chain; off the event loop. Raises: ChainError."""
        self._is_mined = is_mined
        self._payers: OrderedDict[Address, dict[bytes, _Advance]] = OrderedDict()

    async def trust(self, payer: Address, channel: bytes, amount: int, free: int) -> None:
        """Count a channel that is not on the chain; free: read before. Raises: Refused (channel), ChainError."""
        mined = await asyncio.to_thread(self._mined, list(self._payers.get(payer, ())))
        now = asyncio.get_running_loop().time()
        open_ones = self._payers.setdefault(payer, {})
        self._payers.move_to_end(payer)
        for each in [*mined, *(name for name, one in open_ones.items() if now - one.since > FORGIVEN_SECONDS)]:
            open_ones.pop(each, None)
        own = open_ones.get(channel, _Advance(amount, now))
        _check([one for name, one in open_ones.items() if name != channel], own, max(own.amount, amount), free)
        open_ones[channel] = replace(own, amount=max(own.amount, amount))
        if len(self._payers) > MAX_PAYERS:
            self._payers.popitem(last=False)

    def _mined(self, channels: list[bytes]) -> list[bytes]:
        return [channel for channel in channels if self._is_mined(channel)]


def _check(others: list[_Advance], own: _Advance, amount: int, free: int) -> None:
    now = asyncio.get_running_loop().time()
    if any(now - each.since > MINED_SECONDS for each in (*others, own)):
        text = "a channel of yours that work was begun for did not come on the chain; open this route's before you come"
        raise Refused(FailureCode.CHANNEL, text)
    if len(others) >= MAX_UNMINED or sum(each.amount for each in others) + amount > free:
        text = f"{len(others)} other channels of yours are not on the chain yet; open this route's before you come"
        raise Refused(FailureCode.CHANNEL, text)
