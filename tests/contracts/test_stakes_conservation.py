"""Stakes against a model in plain integers: random acts of three nodes and a judge, refusals foretold by name."""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.contracts.world import GAS, GRAVE, MIN_STAKE, PEER, UNBONDING, WEALTH, World, dev, hot

OWNERS = tuple(dev(i) for i in (1, 2, 3))
JUDGE = dev(9)
ACTS = ("join", "join", "join", "addStake", "exit", "exit", "cancelExit", "withdraw", "withdraw", "slash")


@dataclass
class Node:
    """One node's stake; every act returns the name of its refusal, or "" when it is done."""

    bonded: int = 0
    exiting: int = 0
    exit_at: int = 0
    paid_in: int = 0
    paid_out: int = 0
    burnt: int = 0

    def join(self, amount: int, _now: int) -> str:
        if self.bonded or self.exiting or amount < MIN_STAKE:
            return "AlreadyJoined" if self.bonded else "ExitPending" if self.exiting else "StakeTooLow"
        self.bonded = amount
        self.paid_in += amount
        return ""

    def add_stake(self, amount: int, _now: int) -> str:
        if not self.bonded or self.bonded + amount < MIN_STAKE:
            return "StakeTooLow" if self.bonded else "NotJoined"
        self.bonded += amount
        self.paid_in += amount
        return ""

    def exit(self, amount: int, now: int) -> str:
        rest = self.bonded - amount
        if not self.bonded or rest < 0 or 0 < rest < MIN_STAKE:
            return "NotJoined" if not self.bonded else "StakeShort" if rest < 0 else "StakeTooLow"
        self.bonded, self.exiting, self.exit_at = rest, self.exiting + amount, now + UNBONDING
        return ""

    def cancel_exit(self, _amount: int, _now: int) -> str:
        if not self.exiting or self.bonded + self.exiting < MIN_STAKE:
            return "StakeTooLow" if self.exiting else "NothingExiting"
        self.bonded, self.exiting, self.exit_at = self.bonded + self.exiting, 0, 0
        return ""

    def withdraw(self, _amount: int, now: int) -> str:
        if not self.exiting or now < self.exit_at:
            return "ExitNotReady" if self.exiting else "NothingExiting"
        self.paid_out += self.exiting
        self.exiting = self.exit_at = 0
        return ""

    def slash(self, bps: int) -> str:
        burnt = -(-(self.bonded + self.exiting) * bps // 10_000)
        if not burnt:
            return "NothingToSlash"
        from_exiting = min(burnt, self.exiting)
        self.exiting -= from_exiting
        self.bonded -= burnt - from_exiting
        self.exit_at = self.exit_at if self.exiting else 0
        self.burnt += burnt
        return ""


@dataclass
class Play:
    """The model and the contract, side by side; every block is 300 seconds after the one before."""

    world: World
    dice: random.Random
    now: int
    grave: int
    nodes: tuple[Node, ...] = field(default_factory=lambda: (Node(), Node(), Node()))

    def step(self) -> str:
        self.now += 300
        self.world.next_block_at(self.now)
        act, number = self.dice.choice(ACTS), self.dice.randrange(3)
        node, owner = self.nodes[number], OWNERS[number]
        amount = self.dice.choice((1, MIN_STAKE - 1, MIN_STAKE, 301, 301, 5_000, 5_000))
        stakes = self.world.stakes
        if act == "slash":
            bps = self.dice.choice((1, 500, 3_000, 10_000))
            return self.act(node.slash(bps), JUDGE, self.world.court, "slash", stakes.address, owner.address, bps)
        if act == "join":
            signer = hot(f"signer {number}")
            consent = self.world.consent(owner, signer)
            return self.act(node.join(amount, self.now), owner, stakes, "join", amount, signer.address, PEER, *consent)
        if act == "exit":
            amount = self.dice.choice((amount, node.bonded or 1))
        refusal = getattr(node, {"addStake": "add_stake", "cancelExit": "cancel_exit"}.get(act, act))(amount, self.now)
        return self.act(refusal, owner, stakes, act, *([amount] if act in ("addStake", "exit") else []))

    def act(self, refusal: str, *call: Any) -> str:
        """Does the same on the chain: a refusal is mined as well, so that time passes alike."""
        if refusal:
            assert self.world.refusal(*call, gas=GAS)[0] == refusal
        else:
            self.world.send(*call, gas=GAS)
        held = sum(node.bonded + node.exiting for node in self.nodes)
        assert self.world.balance(self.world.stakes.address) == held, call
        return refusal

    def compare(self) -> None:
        """Every record; and what came in is bonded, leaving, paid out or burnt."""
        for node, owner in zip(self.nodes, OWNERS, strict=True):
            bonded, _, exiting, exit_at, _ = self.world.stake(owner)
            assert (bonded, exiting, exit_at) == (node.bonded, node.exiting, node.exit_at)
            assert node.paid_in == node.bonded + node.exiting + node.paid_out + node.burnt
            assert self.world.balance(owner.address) == WEALTH - node.paid_in + node.paid_out
        assert self.world.balance(GRAVE) - self.grave == sum(node.burnt for node in self.nodes)


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
