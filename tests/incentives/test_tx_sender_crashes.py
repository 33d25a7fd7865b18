"""Killed anywhere, on a chain that does anything, a sender carries out each keyed wish exactly once."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from incentives.client_errors import FeeTooHigh, TransactionFailed
from incentives.errors import ChainUnavailable, TransactionLost, TransactionRefused
from incentives.tx_fees import Market
from incentives.tx_states import TxState
from tests.incentives.test_tx_sender import POLICY, N, World, wish


class Killed(BaseException):
    """The process dies here: nothing catches it but the test."""


class Crashes:
    """Kills the sender at its n-th step outwards: before or after a commit, before or after an offer arrives."""

    def __init__(self, world: World, at: int) -> None:
        self.world, self.left, self.happened = world, at, False
        self.where: list[str] = []
        world.chain.before_offer = lambda: self.pass_by("before an offer")
        world.chain.after_offer = lambda: self.pass_by("after an offer")
        self.arm()

    def pass_by(self, where: str) -> None:
        """Die here if it is time to."""
        self.left -= 1
        if self.left == 0:
            self.happened = True
            self.where.append(where)
            raise Killed

    def arm(self) -> None:
        """Watch the commits of the present process."""
        database = self.world.store._database
        real, pass_by = database._db, self.pass_by

        class Watched:
            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

            def execute(self, query: str, *values: object) -> object:
                if query != "COMMIT":
                    return real.execute(query, *values)
                pass_by("before a commit")
                result = real.execute(query)
                pass_by("after a commit")
                return result

        database._db = Watched()  # type: ignore[assignment]

    def run(self, act: Callable[[], object]) -> None:
        """As a supervisor does: start again after the crash, take up the record, ask again."""
        while True:
            try:
                act()
                return
            except Killed:
                self.world.restart()
                self.world.sender.tick()


def test_killed_at_every_step_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """Through planning, signing, offering, replacing, mining, a re-org and finality, once at each step."""
    places = set[str]()
    for at in range(1, 200):
        world = World(tmp_path / str(at), seed=at)
        crashes = Crashes(world, at)
        world.chain.pool.clear()
        crashes.run(lambda world=world: life(world))  # type: ignore[misc]
        assert world.times("a") == 1
        assert world.state("a") is TxState.FINAL
        assert len(world.chain.mined()) == 1
        world.sender.close()
        if not crashes.happened:
            assert at > 15
            assert places == {"before a commit", "after a commit", "before an offer", "after an offer"}
            return
        places.update(crashes.where)
    raise AssertionError("more steps than expected")


def life(world: World) -> None:
    """One wish until it is final, with a replacement and a re-org on the way; may be begun again at any point."""
    with suppress(TransactionLost):
        world.sender.send(wish("a"), "a")
    world.hands.turn(60)
    world.sender.tick()
    world.chain.mine()
    world.sender.tick()
    if len(world.chain.blocks) <= 3:
        world.chain.reorganise(1)
    world.sender.tick()
    for _ in range(3):
        world.chain.mine(N)
        world.sender.tick()


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_each_wish_is_carried_out_exactly_once(seed: int, tmp_path: Path) -> None:
    """Silences, forgetful pools, re-orgs, another program with the key, dear gas, refusals and kills at random."""
    world = World(tmp_path, seed, replace(POLICY, memory_s=1e6))
    chance, wishes = world.chain.random, [f"w{number}" for number in range(6)]
    world.on_sleep = lambda: trouble(world)
    crashes = Crashes(world, 0)
    for _ in range(25):
        world.chain.silence, crashes.left = 0.2, chance.randint(1, 40)
        trouble(world)
        text = chance.choice(wishes)
        try:
            with suppress(TransactionLost, TransactionRefused, TransactionFailed, FeeTooHigh, ChainUnavailable):
                world.sender.send(wish(text), text)
        except Killed:
            world.restart()
            crashes.arm()
    crashes.left = 0
    calm(world)
    for text in wishes * 2:
        with suppress(TransactionLost):  # a refused one's number went to another, which is not final yet
            world.sender.send(wish(text), text)
        world.chain.mine(N + 1)
    for _ in range(4):  # one that kept its number may wait behind a gap, which a tick fills
        world.sender.tick()
        world.chain.mine(N + 1)

    assert {text: world.times(text) for text in wishes} == dict.fromkeys(wishes, 1)
    assert {world.state(text) for text in wishes} == {TxState.FINAL}
    world.sender.close()


def trouble(world: World) -> None:
    """Something happens to the chain; nothing is rewritten deeper than what counts as final."""
    chance, chain = world.chain.random, world.chain
    act = chance.randrange(8)
    if act < 3:
        chain.mine(chance.randint(1, 2))
    elif act == 3:
        depth = chance.randint(1, N)
        chain.reorganise(depth, keep=chance.random() < 0.5)
        chain.mine(depth)
    elif act == 4 and chain.pool:
        del chain.pool[chance.choice(sorted(chain.pool))]
    elif act == 5 and chance.random() < 0.5:
        chain.foreign()
    elif act == 6:
        chain.prices = Market(chance.choice([50, 100, 400, 2_000]), chance.choice([1, 10, 50]))
    elif act == 7:
        refusal = TransactionRefused(-32000, "insufficient funds")
        chain.refusal = refusal if chance.random() < 0.3 else None


def calm(world: World) -> None:
    """The chain behaves, and mines whatever waits."""
    chain = world.chain
    chain.silence, chain.refusal, chain.prices = 0.0, None, Market(1, 1)
    world.on_sleep = chain.mine
    for _ in range(30):
        chain.mine()
        world.hands.turn(61)
        world.sender.tick()
