"""Channels against a model in plain integers: random acts of three payers on shared pots, refusals foretold by name."""

import random
from collections import defaultdict
from dataclasses import astuple, dataclass, field
from typing import Any

import pytest

from incentives.vouchers import ChannelKey
from sharding.hashing import keccak256
from tests.contracts.world import CLOSE_DELAY, GAS, RECLAIMED, World, dev, hot, word

PAYERS = tuple(dev(i) for i in (1, 2, 3))
CLIENT, KEEPER = hot("client"), dev(9)
NODES = tuple(hot(f"node {i}").address for i in range(3))
WORDS = (
    [word(node, weight) for node, weight in zip(NODES, (3_333, 3_333, 3_334), strict=True)],
    [word(NODES[0], 1), word(NODES[0], 9_999)],
)
ACTS = ("deposit", "open", "fund", "fund", *["settle"] * 4, *["collect"] * 4, "close", "reclaim", "withdraw")
LIFE = 15
"""So many acts after the last ones, new channels come into play; the old ones remain."""
Name = tuple[int, int, int]
"""A channel by its payer, its route and its salt."""


@dataclass
class Channel:
    locked: int = 0
    settled: int = 0
    closes_at: int = 0


@dataclass
class Model:
    """What the contract has to be; every act returns the name of its refusal, or "" when it is done."""

    now: int = 0
    free: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    channels: dict[Name, Channel] = field(default_factory=lambda: defaultdict(Channel))
    pots: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    drawn: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))

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
        self.pots[name[1]] += cumulative - channel.settled
        channel.settled = cumulative
        return ""

    def collect(self, route: int, index: int) -> str:
        earned = self.pots[route] * int.from_bytes(WORDS[route][index][20:], "big") // 10_000
        if earned == self.drawn[route, index]:
            return "NothingToCollect"
        self.drawn[route, index] = earned
        return ""

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
        self.free[name[0]] += channel.locked - channel.settled
        channel.locked, channel.closes_at = channel.settled, RECLAIMED
        return ""

    def withdraw(self, payer: int, amount: int) -> str:
        if self.free[payer] < amount:
            return "FundsShort"
        self.free[payer] -= amount
        return ""


@dataclass
class Play:
    """The model and the contract, side by side; every block is one hundred seconds after the one before."""

    world: World
    dice: random.Random
    model: Model

    def key(self, name: Name) -> ChannelKey:
        return self.world.channel(PAYERS[name[0]], CLIENT, WORDS[name[1]], salt=bytes([name[2]]) * 32)

    def step(self, number: int) -> str:
        self.model.now += 100
        self.world.next_block_at(self.model.now)
        act = self.dice.choice(ACTS)
        name = self.dice.randrange(3), self.dice.randrange(2), max(0, number // LIFE - self.dice.randrange(2))
        opened = [known for known in list(self.model.channels) if not self.model.live(known)]
        if opened and act in ("settle", "close", "reclaim") and self.dice.random() < 0.8:
            name = self.dice.choice(opened)  # blind choice would mostly hit channels that do not exist
        payer, route, _ = name
        amount = self.dice.choice((1, 7, 100, 12_345))
        key, who = astuple(self.key(name)), PAYERS[payer]
        if act == "deposit":
            self.model.free[payer] += amount
            return self.act("", who, "deposit", amount)
        if act == "open":
            return self.act(self.model.open(name, amount), who, "open", key, amount)
        if act == "fund":
            return self.act(self.model.lock(name, amount), who, "depositAndOpen", key, amount)
        if act == "settle":
            channel = self.model.channels[name]
            room = channel.locked - channel.settled
            cumulative = max(0, channel.settled + self.dice.choice((-1, 0, room // 2, room // 2, room, amount)))
            voucher = self.world.voucher(CLIENT, self.key(name), cumulative)
            return self.act(self.model.settle(name, cumulative), KEEPER, "settle", *voucher)
        if act == "collect":
            index = self.dice.randrange(len(WORDS[route]))
            return self.act(self.model.collect(route, index), KEEPER, "collect", WORDS[route], index)
        if act == "withdraw":
            return self.act(self.model.withdraw(payer, amount), who, "withdraw", amount)
        return self.act(getattr(self.model, act)(name), who, act, key)

    def act(self, refusal: str, *call: Any) -> str:
        """Does the same on the chain: a refusal is mined as well, so that time passes alike."""
        if refusal:
            assert self.world.refusal(*call[:1], self.world.channels, *call[1:], gas=GAS)[0] == refusal
        else:
            self.world.send(*call[:1], self.world.channels, *call[1:], gas=GAS)
        assert self.world.balance(self.world.channels.address) == self.model.total, call
        return refusal

    def compare(self) -> None:
        """Every record that can be read."""
        channels = self.world.channels
        for payer, who in enumerate(PAYERS):
            assert self.world.view(channels, "freeOf", who.address) == self.model.free[payer]
        for name, known in self.model.channels.items():
            assert self.world.channel_state(self.key(name)) == (known.locked, known.settled, known.closes_at)
        for route, words in enumerate(WORDS):
            payees = keccak256(b"".join(words))
            assert self.world.view(channels, "potOf", payees) == self.model.pots[route]
            for index in range(len(words)):
                assert self.world.view(channels, "drawnOf", payees, index) == self.model.drawn[route, index]
        paid = sum(self.world.balance(node) for node in NODES)
        assert paid == sum(self.model.drawn.values())


@pytest.mark.parametrize("seed", [3, 4])
def test_every_unit_is_somewhere_and_only_once(world: World, steps: int, seed: int) -> None:
    """After every act the contract holds exactly what the records say, and refuses exactly what it has to."""
    play = Play(world, random.Random(seed), Model(now=world.chain.head().timestamp + 1_000))
    refusals = [play.step(number) for number in range(steps)]
    play.compare()
    assert refusals.count("") >= steps // 4, "the dice hardly did anything"
    assert len(set(refusals)) >= 4, "the dice hardly tried anything forbidden"
