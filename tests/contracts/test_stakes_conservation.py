"""Stakes against a model in plain integers: random acts of three nodes and a judge, refusals foretold by name."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.contracts.stakes_model import Node
from tests.contracts.world import GAS, GRAVE, MAX_FEE, MIN_STAKE, PEER, ZERO, World, dev, hot

OWNERS = tuple(dev(i) for i in (1, 2, 3))
JUDGE, FINDER = dev(9), dev(8).address
ACTS = ("join", "join", "join", "addStake", "exit", "exit", "cancelExit", "withdraw", "withdraw", "slash", "payOut")


@dataclass
class Play:
    """The model and the contract, side by side; every block is 300 seconds after the one before."""

    world: World
    dice: random.Random
    now: int
    grave: int
    owed: dict[str, int] = field(default_factory=lambda: {GRAVE: 0, FINDER: 0})
    paid: dict[str, int] = field(default_factory=lambda: {GRAVE: 0, FINDER: 0})
    nodes: tuple[Node, ...] = field(default_factory=lambda: (Node(), Node(), Node()))

    def __post_init__(self) -> None:
        self.wealth = [self.world.balance(owner.address) for owner in OWNERS]
        self.before = {account: self.world.balance(account) for account in (GRAVE, FINDER)}

    def step(self) -> str:
        self.now += 300
        self.world.next_block_at(self.now)
        act, number = self.dice.choice(ACTS), self.dice.randrange(3)
        node, owner = self.nodes[number], OWNERS[number]
        amount = self.dice.choice((1, MIN_STAKE - 1, MIN_STAKE, 301, 301, 5_000, 5_000))
        stakes = self.world.stakes
        if act == "slash":
            bps, finder = self.dice.choice((1, 500, 3_000, 10_000)), self.dice.choice((ZERO, FINDER))
            before, refusal = node.taken, node.slash(bps)
            self.owe(node.taken - before, finder)
            return self.act(refusal, JUDGE, self.world.court, "slash", stakes.address, owner.address, bps, finder)
        if act == "payOut":
            account = self.dice.choice((GRAVE, FINDER))
            refusal = "" if self.owed[account] else "NothingOwed"
            self.paid[account] += self.owed[account]
            self.owed[account] = 0
            return self.act(refusal, JUDGE, stakes, "payOut", account)
        if act == "join":
            signer = hot(f"signer {number}")
            consent = self.world.consent(owner, signer)
            return self.act(node.join(amount, self.now), owner, stakes, "join", amount, signer.address, PEER, *consent)
        if act == "exit":
            amount = self.dice.choice((amount, node.bonded or 1))
        refusal = getattr(node, {"addStake": "add_stake", "cancelExit": "cancel_exit"}.get(act, act))(amount, self.now)
        return self.act(refusal, owner, stakes, act, *([amount] if act in ("addStake", "exit") else []))

    def owe(self, taken: int, finder: str) -> None:
        """A finder's three tenths, at most MAX_FEE; the rest is the grave's."""
        fee = min(taken * 3 // 10, MAX_FEE) if finder == FINDER else 0
        self.owed[FINDER] += fee
        self.owed[GRAVE] += taken - fee

    def act(self, refusal: str, *call: Any) -> str:
        """Does the same on the chain: a refusal is mined as well, so that time passes alike."""
        if refusal:
            assert self.world.refusal(*call, gas=GAS)[0] == refusal
        else:
            self.world.send(*call, gas=GAS)
        held = sum(node.bonded + node.exiting for node in self.nodes) + sum(self.owed.values())
        assert self.world.balance(self.world.stakes.address) == held, call
        return refusal

    def compare(self) -> None:
        """Every record; and what came in is bonded, leaving, paid out or taken; what was taken is owed or paid."""
        for node, owner, wealth in zip(self.nodes, OWNERS, self.wealth, strict=True):
            bonded, _, exiting, exit_at, _ = self.world.stake(owner)
            assert (bonded, exiting, exit_at) == (node.bonded, node.exiting, node.exit_at)
            assert node.paid_in == node.bonded + node.exiting + node.paid_out + node.taken
            assert self.world.balance(owner.address) == wealth - node.paid_in + node.paid_out
        for account, amount in self.owed.items():
            assert self.world.view(self.world.stakes, "owedTo", account) == amount
            assert self.world.balance(account) - self.before[account] == self.paid[account]
        assert sum(node.taken for node in self.nodes) == sum(self.owed.values()) + sum(self.paid.values())


@pytest.mark.parametrize("seed", [1, 3])
def test_every_stake_is_bonded_leaving_paid_out_or_burnt(
    lenient: World, chain_snapshot: str, steps: int, seed: int
) -> None:
    """After every act the contract holds exactly what the records say, and refuses exactly what it has to."""
    now = lenient.chain.head().timestamp + 1_000
    play = Play(lenient, random.Random(seed), now, lenient.balance(GRAVE))
    refusals = [play.step() for _ in range(steps)]
    play.compare()
    assert refusals.count("") >= steps // 4, "the dice hardly did anything"
    assert len(set(refusals)) >= 4, "the dice hardly tried anything forbidden"
