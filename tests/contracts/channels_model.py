"""Channels in plain integers: what the contract has to do, and by which name it has to refuse."""

from collections import defaultdict
from dataclasses import dataclass, field

from incentives.maturing import ceil_short, expand
from tests.contracts.world import CLOSE_DELAY, MATURITY, RECLAIMED, dev, hot, word

PAYERS = tuple(dev(i) for i in (1, 2, 3))
CLIENT, KEEPER = hot("client"), dev(9)
KEYS = tuple(hot(f"node {i}") for i in range(3))
NODES = tuple(key.address for key in KEYS)
SHARES = (((0, 3_333), (1, 3_333), (2, 3_334)), ((0, 1), (0, 9_999)))
"""Of each route: which node, and its weight."""
WORDS = tuple([word(NODES[node], weight) for node, weight in shares] for shares in SHARES)
Name = tuple[int, int, int]
"""A channel by its payer, its route and its salt."""
Session = tuple[Name, int]
"""A channel, and which of its sessions."""
History = list[tuple[int, int]]
"""Windows, and what was settled in them."""


@dataclass
class Channel:
    locked: int = 0
    settled: int = 0
    closes_at: int = 0
    history: History = field(default_factory=list)


@dataclass
class Model:
    """What the contract has to be; every act returns the name of its refusal, or "" when it is done."""

    now: int = 0
    free: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    channels: dict[Name, Channel] = field(default_factory=lambda: defaultdict(Channel))
    pots: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    histories: dict[int, History] = field(default_factory=lambda: defaultdict(list))
    drawn: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    """Collected or refunded."""
    convicted: set[tuple[Session, int]] = field(default_factory=set)
    returned: dict[tuple[Session, int], int] = field(default_factory=lambda: defaultdict(int))
    reached: dict[tuple[Name, int], int] = field(default_factory=lambda: defaultdict(int))
    refunded: int = 0

    @property
    def total(self) -> int:
        """All money that the contract must hold."""
        waiting = sum(channel.locked - channel.settled for channel in self.channels.values())
        return sum(self.free.values()) + waiting + sum(self.pots.values()) - sum(self.drawn.values())

    def lock(self, name: Name, amount: int) -> str:
        channel = self.channels[name]
        if channel.closes_at:
            return "ChannelClosed" if channel.closes_at == RECLAIMED else "ChannelClosing"
        channel.locked += amount
        return ""

    def open(self, name: Name, amount: int) -> str:
        if self.free[name[0]] < amount:
            return "FundsShort"
        refusal = self.lock(name, amount)
        self.free[name[0]] -= 0 if refusal else amount
        return refusal

    def live(self, name: Name) -> str:
        channel = self.channels[name]
        return "ChannelClosed" if channel.closes_at == RECLAIMED else "" if channel.locked else "ChannelUnknown"

    def settle(self, name: Name, cumulative: int) -> str:
        channel, refusal = self.channels[name], self.live(name)
        if refusal or cumulative <= channel.settled or cumulative > channel.locked:
            return refusal or ("VoucherStale" if cumulative <= channel.settled else "VoucherExceedsLock")
        amount = cumulative - channel.settled
        for history in (channel.history, self.histories[name[1]]):
            history.append((self.now // MATURITY, amount))
        self.pots[name[1]] += amount
        channel.settled = cumulative
        return ""

    def ripe(self, history: History) -> int:
        """What was settled before the last window began."""
        return sum(amount for window, amount in history if window < self.now // MATURITY - 1)

    def collect(self, route: int, index: int) -> str:
        earned = self.share(route, index, self.ripe(self.histories[route]))
        if earned <= self.drawn[route, index]:
            return "NothingToCollect"
        self.drawn[route, index] = earned
        return ""

    def share(self, route: int, index: int, amount: int) -> int:
        return amount * SHARES[route][index][1] // 10_000

    def refund(self, session: Session, index: int, cumulative: int, amount: int) -> str:
        (payer, route, _), channel = session[0], self.channels[session[0]]
        if (session, SHARES[route][index][0]) not in self.convicted:
            return "NotConvicted"
        if cumulative > channel.settled:
            return "VoucherNotSettled"
        at = max(expand(ceil_short(self.ripe(channel.history))), self.reached[session[0], index])
        units = min(amount - self.returned[session, index], channel.settled - at)
        if units <= 0:
            return "NothingToRefund"
        ripe, drawn = self.share(route, index, self.ripe(self.histories[route])), self.drawn[route, index]
        left = self.share(route, index, self.pots[route]) - max(drawn, ripe)
        paid = self.share(route, index, units)
        assert paid <= left, "together the channels' bounds are within the pot's"
        if paid == 0:
            return "NothingToRefund"
        self.returned[session, index] += units
        self.reached[session[0], index] = at + units
        self.drawn[route, index] += paid
        self.free[payer] += paid
        self.refunded += paid
        return ""

    def settle_many(self, rows: list[tuple[Name, int]]) -> str:
        return "" if [row for row in rows if not self.settle(*row)] else "NothingInBatch"

    def collect_many(self) -> str:
        places = (0, 0), (1, 0), (1, 1)
        return "" if [place for place in places if not self.collect(*place)] else "NothingInBatch"

    def close(self, name: Name) -> str:
        channel, refusal = self.channels[name], self.live(name)
        if refusal or channel.closes_at:
            return refusal or "ChannelClosing"
        channel.closes_at = self.now + CLOSE_DELAY
        return ""

    def reclaim(self, name: Name) -> str:
        channel, refusal = self.channels[name], self.live(name)
        if refusal or not channel.closes_at or self.now < channel.closes_at:
            return refusal or ("CloseNotReady" if channel.closes_at else "ChannelNotClosing")
        return self.end(name)

    def release(self, name: Name, settled: int) -> str:
        refusal = self.live(name)
        if refusal or settled != self.channels[name].settled:
            return refusal or "ReleaseStale"
        return self.end(name)

    def end(self, name: Name) -> str:
        channel = self.channels[name]
        self.free[name[0]] += channel.locked - channel.settled
        channel.locked, channel.closes_at = channel.settled, RECLAIMED
        return ""

    def withdraw(self, payer: int, amount: int) -> str:
        if self.free[payer] < amount:
            return "FundsShort"
        self.free[payer] -= amount
        return ""
