"""Channels against a model in plain integers: random acts of three payers on shared pots, refusals foretold by name."""

import random
from dataclasses import astuple, dataclass
from typing import Any

import pytest

from incentives.signing import split_signature
from incentives.vouchers import ChannelKey, Release
from sharding.hashing import keccak256
from tests.contracts.channels_model import CLIENT, KEEPER, KEYS, NODES, PAYERS, SHARES, WORDS, Model, Name
from tests.contracts.refunds import convict, refunding, session_of
from tests.contracts.world import GAS, World, batched

FIRST_NODES_PLACES = [(WORDS[0], [0]), (WORDS[1], [0, 1])]
ACTS = (
    *("deposit", "open", *["fund"] * 4, *["settle"] * 4, *["settleMany"] * 2, *["collect"] * 4, "collectMany"),
    *("close", "reclaim", "release", "withdraw", *["refund"] * 4),
)
LIFE = 15
"""So many acts after the last ones, new channels come into play; the old ones remain."""


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
        if opened and act in ("settle", "close", "reclaim", "release") and self.dice.random() < 0.85:
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
            cumulative = self.promise(name)
            voucher = self.world.voucher(CLIENT, self.key(name), cumulative)
            return self.act(self.model.settle(name, cumulative), KEEPER, "settle", *voucher)
        if act == "settleMany":
            rows = [(each, self.promise(each)) for each in (name, *self.dice.choices([*opened, name], k=3))]
            vouchers = [self.world.voucher(CLIENT, self.key(each), cumulative) for each, cumulative in rows]
            return self.act(self.model.settle_many(rows), KEEPER, "settleMany", batched(vouchers))
        if act == "collect":
            index = self.dice.randrange(len(WORDS[route]))
            return self.act(self.model.collect(route, index), KEEPER, "collect", WORDS[route], index)
        if act == "collectMany":
            return self.act(self.model.collect_many(), KEEPER, "collectMany", NODES[0], FIRST_NODES_PLACES)
        if act == "refund":
            return self.refund(name)
        if act == "release":
            settled = self.model.channels[name].settled + self.dice.choice((0, 0, 0, 1))
            consents = self.consents(name, settled)
            return self.act(self.model.release(name, settled), who, "release", key, WORDS[route], *consents)
        if act == "withdraw":
            return self.act(self.model.withdraw(payer, amount), who, "withdraw", amount)
        return self.act(getattr(self.model, act)(name), who, act, key)

    def refund(self, name: Name) -> str:
        """Of a session in which all nodes were convicted, or of one in which nobody was; now and then too much is said."""
        session, index = (name, self.dice.choice((0, 1, 2))), self.dice.randrange(len(WORDS[name[1]]))
        settled = self.model.channels[name].settled
        cumulative = settled + (self.dice.random() < 0.1)
        amount = self.dice.choice((1, settled // 2, settled, 10**6))
        key = self.key(name)
        call = refunding(
            self.world, CLIENT, key, WORDS[name[1]], index, session_of(self.world, key, session[1]), cumulative, amount
        )
        return self.act(self.model.refund(session, index, cumulative, amount), KEEPER, "refund", *call)

    def sentence(self) -> None:
        """Every node on two sessions of every channel of the first life, before the play begins."""
        for payer in range(3):
            for route in range(2):
                for salt, number in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    name = payer, route, salt
                    for node in {node for node, _ in SHARES[route]}:
                        self.model.convicted.add(((name, number), node))
                        convict(self.world, session_of(self.world, self.key(name), number), NODES[node])

    def promise(self, name: Name) -> int:
        """What a voucher of the channel may say: now and then too little or too much."""
        channel = self.model.channels[name]
        room = channel.locked - channel.settled
        return max(0, channel.settled + self.dice.choice((-1, 0, room // 2, room // 2, room, room + 1)))

    def consents(self, name: Name, settled: int) -> tuple[int, int, list[tuple[bytes, bytes]]]:
        """The last three arguments of `release`."""
        domain, deadline = self.world.domain(self.world.channels), self.model.now
        digest = Release(self.key(name).id(domain), settled, deadline).digest(domain)
        return settled, deadline, [split_signature(KEYS[node].sign_digest(digest)) for node, _ in SHARES[name[1]]]

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
        assert paid == sum(self.model.drawn.values()) - self.model.refunded


@pytest.mark.parametrize("seed", [3, 4])
def test_every_unit_is_somewhere_and_only_once(world: World, steps: int, seed: int) -> None:
    """After every act the contract holds exactly what the records say, and refuses exactly what it has to."""
    play = Play(world, random.Random(seed), Model(now=world.chain.head().timestamp + 1_000))
    play.sentence()
    play.model.now = world.chain.head().timestamp + 1_000
    refusals = [play.step(number) for number in range(steps)]
    play.compare()
    assert refusals.count("") >= steps // 4, "the dice hardly did anything"
    assert len(set(refusals)) >= 4, "the dice hardly tried anything forbidden"
