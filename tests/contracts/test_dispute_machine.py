"""Disputes under whatever hypothesis thinks of: two challengers, one node, descents, clocks, numbers that are taken again.

I10, and where every bond is.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from incentives.signing import Signer
from incentives.stands import Turn
from sharding.hashing import keccak256
from tests.contracts.descending import CHALLENGER, OTHER, OWNER, STRANGER, Fight, leaf, leaves, prepare
from tests.contracts.test_state_machines import Machine
from tests.contracts.world import ANSWER, BOND, DESCENT, GAS, GRAVE, PROOF, World

COUNT, WRONG = 40, 30
LONGEST = ANSWER + 2 * (PROOF + DESCENT)
WHO = (CHALLENGER, OTHER)
NAMES = st.tuples(st.integers(0, 1), st.integers(0, 1))
WAITS = (1, DESCENT // 2, DESCENT, ANSWER, PROOF, LONGEST)
Name = tuple[int, int]


class DisputesMachine(Machine):
    """Every act is foretold from the stand: whose turn it is, and whose clock."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        prepare(world)
        self.fights: dict[Name, Fight] = {}
        self.closed: dict[Name, int] = {}
        self.funds = {who.address: [10 * BOND, 0] for who in WHO} | {OWNER.address: [0, 0], GRAVE: [0, 0]}
        self.convicted: set[bytes] = set()

    def do(self, fight: Fight, refusal: str, who: Signer, fn: str, *words: Any) -> None:
        self.world.next_block_at(self.now)
        if refusal:
            assert self.world.refusal(who, *fight.call(fn, *words), gas=GAS)[0] == refusal, (fn, fight.stand)
        else:
            fight.act(who, fn, *words)
        self.now += 1

    def bond(self, who: Signer, count: int) -> None:
        self.funds[who.address][0] -= count * BOND
        self.funds[who.address][1] += count

    @rule(wait=st.sampled_from(WAITS))
    def pass_time(self, wait: int) -> None:
        self.now += wait

    @rule(name=NAMES, asks=st.booleans())
    def challenge(self, name: Name, asks: bool) -> None:
        """On the first route that has not convicted yet; with the bonds that lie with the number, and the purse's for the rest."""
        who, chunk = WHO[name[0]], name[1]
        data = leaves(COUNT, **{f"at{WRONG}": leaf(WRONG, b"wrong")})
        missing = 1 + asks - self.closed.get(name, 0)
        if (name in self.fights and name not in self.closed) or self.funds[who.address][0] < missing * BOND:
            return
        self.world.next_block_at(self.now)
        session = keccak256(len(self.convicted).to_bytes(4, "big"))
        self.fights[name] = Fight(self.world, data, leaves(COUNT), who, chunk, session).challenge(asks=asks)
        self.now += 1
        self.closed.pop(name, None)
        self.bond(who, missing)

    @rule(name=NAMES)
    def unbond(self, name: Name) -> None:
        """Back into the purse, once, and never from an open dispute."""
        who, lie = WHO[name[0]], self.closed.get(name, 0)
        is_open = name in self.fights and name not in self.closed
        call, self.now = (self.world.disputes, "unbond", name[1]), self.now + 1
        self.world.next_block_at(self.now - 1)
        if is_open or not lie:
            refusal = "DisputeKnown" if is_open else "NothingBonded"
            assert self.world.refusal(who, *call, gas=GAS)[0] == refusal
            return
        self.world.send(who, *call, gas=GAS)
        self.closed[name] = 0
        self.bond(who, -lie)

    @rule(name=NAMES)
    def move(self, name: Name) -> None:
        """By whose turn it is; at the last second it counts, after it not."""
        fight = self.fights.get(name)
        if fight is None or fight.stand.turn is Turn.SHOWN:
            return
        if fight.stand.turn is Turn.ANSWERED and self.funds[fight.who.address][0] < BOND:
            return
        refusal = "DisputeNotOpen" if name in self.closed else "ClockRunOut" * (self.now > fight.stand.deadline)
        turn, asked = fight.stand.turn, fight.stand.turn is Turn.ANSWERED
        if refusal:
            empty = {Turn.ANSWERED: ("ask",), Turn.PICKING: ("pick", 0, bytes(32), []), Turn.OPENING: ("open", [])}
            call = empty.get(turn, ("answer", fight.tree.root, COUNT, []))
            self.do(fight, refusal, fight.who if turn in (Turn.ANSWERED, Turn.PICKING) else OWNER, *call)
            return
        self.world.next_block_at(self.now)
        self.now += 1
        if turn in (Turn.OPEN, Turn.ASKED):
            fight.answer()
        elif asked:
            fight.ask()
            self.bond(fight.who, 1)
        elif turn is Turn.PICKING:
            fight.pick()
        elif fight.stand.where.is_last:
            fight.show()
        else:
            fight.open()

    @rule(name=NAMES, fn=st.sampled_from(("answer", "open", "show", "pick", "ask")))
    def meddle(self, name: Name, fn: str) -> None:
        """A stranger never gets anywhere."""
        fight = self.fights.get(name)
        if fight is None:
            return
        words = {"answer": (fight.tree.root, COUNT, []), "open": ([],), "show": (b"",), "pick": (0, bytes(32), [])}
        refused = {"DisputeNotOpen", "ClockRunOut", "TurnOther", "NotDefender", "DisputeAnswered"}
        self.world.next_block_at(self.now)
        assert self.world.refusal(STRANGER, *fight.call(fn, *words.get(fn, ())), gas=GAS)[0] in refused
        self.now += 1

    @rule(name=NAMES)
    def close(self, name: Name) -> None:
        fight = self.fights.get(name)
        if fight is None:
            return
        refusal, guilty = self.ending(name, fight)
        self.do(fight, refusal, STRANGER, "close")
        if not refusal:
            self.closed[name] = self.settle(fight, guilty)

    def ending(self, name: Name, fight: Fight) -> tuple[str, bool]:
        """Why a dispute cannot be closed yet, and whom it would be closed against."""
        stand = fight.stand
        silent = stand.turn in (Turn.OPEN, Turn.ASKED, Turn.OPENING)
        guilty = silent or fight.session in self.convicted
        if name in self.closed:
            return "DisputeNotOpen", guilty
        late = self.now > (stand.deadline if guilty else max(stand.deadline, stand.proofs))
        return "" if late else "ClockRunning", guilty

    def settle(self, fight: Fight, guilty: bool) -> int:
        """What stays with the number."""
        count = 1 if fight.stand.turn in (Turn.OPEN, Turn.ANSWERED) else 2
        if guilty:
            self.convicted.add(fight.session)
            return count
        self.funds[fight.who.address][1] -= count
        self.funds[OWNER.address][0] += count * BOND // 2
        self.funds[GRAVE][0] += count * BOND - count * BOND // 2
        return 0

    @invariant()
    def every_bond_is_somewhere(self) -> None:
        """The contract holds what its records say, and they are the model's."""
        told = {who: list(self.world.view(self.world.disputes, "fundsOf", who)) for who in self.funds}
        assert told == self.funds
        held = sum(free + out * BOND for free, out in self.funds.values())
        assert self.world.balance(self.world.disputes.address) == held == 20 * BOND
        for name, lie in self.closed.items():
            kept = self.world.view(self.world.disputes, "keptOf", self.fights[name].facts.id())
            assert int.from_bytes(kept, "big") == 1 + lie

    def teardown(self) -> None:
        """I10: nobody moves any more, every dispute still ends within the longest time, by a stranger, and all bonds can be had."""
        try:
            self.now += LONGEST
            for name, fight in self.fights.items():
                if name not in self.closed:
                    assert self.ending(name, fight)[0] == ""
                    self.close(name)
                if self.closed[name]:
                    self.unbond(name)
            assert all(out == 0 for _, out in self.funds.values())
            self.every_bond_is_somewhere()
        finally:
            super().teardown()


@pytest.mark.timeout(240)
def test_disputes_end_and_keep_every_bond_whatever_is_played(world: World, steps: int) -> None:
    """On both kinds of chain; the slower one gets fewer plays."""
    plays = settings(
        max_examples=steps // 6,
        stateful_step_count=16,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: DisputesMachine(world), settings=plays)
