"""The invariants of the suite under whatever hypothesis thinks of: three actors, one of them a liar, and a clock.

The same that contracts/test plays with Foundry, here with pip alone. Every act is foretold by the models in plain
integers; what fails is shrunk to the shortest play that does. The numbers are those of the notes: what a contract holds
is what its records say (I1, I3), stake is bonded, leaving, burnt or paid out (I2), locks cover vouchers and pots cover
draws (I4), every covered voucher settles (I5), an exit shelters nothing (I6).
"""

from dataclasses import astuple, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from incentives.signing import Signer, split_signature
from incentives.vouchers import ChannelKey
from sharding.hashing import keccak256
from tests.conftest import ask
from tests.contracts.channels_model import CLIENT, KEEPER, NODES, PAYERS, SHARES, WORDS, Model, Name
from tests.contracts.refunds import digest_of, refunding, session_of
from tests.contracts.stakes_model import Node
from tests.contracts.world import (
    CLOSE_DELAY,
    GAS,
    GRAVE,
    MATURITY,
    MIN_STAKE,
    PEER,
    UNBONDING,
    ZERO,
    World,
    dev,
    hot,
)
from verification.receipts import Receipt

OWNERS, LIAR, JUDGE = tuple(dev(i) for i in (1, 2, 3)), 2, dev(9)
NUMBERS = st.integers(0, 2)
STAKES = st.sampled_from((1, MIN_STAKE - 1, MIN_STAKE, 2 * MIN_STAKE, 5_000)) | st.integers(1, 10_000)
AMOUNTS = st.sampled_from((1, 7, 100)) | st.integers(1, 10_000)
WAITS = st.sampled_from((1, MATURITY, 300, CLOSE_DELAY, UNBONDING))
CHANNELS = st.tuples(NUMBERS, st.integers(0, 1), st.integers(0, 1))
RECEIPT = Receipt(PEER, 0, 0, 0, 16, PEER, PEER, PEER, PEER)


class Machine(RuleBasedStateMachine):
    """A chain that is as it was when the play is over, and a clock that both sides read."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.snapshot = ask(world.url, "evm_snapshot")
        self.now = world.chain.head().timestamp + 1_000

    def teardown(self) -> None:
        ask(self.world.url, "evm_revert", self.snapshot)

    @rule(wait=WAITS)
    def pass_time(self, wait: int) -> None:
        """Seconds until the next act."""
        self.now += wait

    def act(self, refusal: str, *call: Any) -> None:
        """Does on the chain what the model has done: a refusal is mined as well, so that time passes alike."""
        self.world.next_block_at(self.now)
        if refusal:
            assert self.world.refusal(*call, gas=GAS)[0] == refusal, call
        else:
            self.world.send(*call, gas=GAS)
        self.now += 1


class StakesMachine(Machine):
    """Three nodes before a judge who takes any part of any stake."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.nodes = (Node(), Node(), Node())
        self.grave = world.balance(GRAVE)
        self.wealth = [world.balance(owner.address) for owner in OWNERS]

    def sentence(self, number: int, bps: int) -> int:
        """What a slash would burn now."""
        return int(
            self.world.view(self.world.court, "slash", self.world.stakes.address, OWNERS[number].address, bps, ZERO)
        )

    @rule(number=NUMBERS, amount=STAKES)
    def join(self, number: int, amount: int) -> None:
        owner, signer = OWNERS[number], hot(f"signer {number}")
        consent = self.world.consent(owner, signer)
        refusal = self.nodes[number].join(amount, self.now)
        self.act(refusal, owner, self.world.stakes, "join", amount, signer.address, PEER, *consent)

    @rule(number=NUMBERS, amount=STAKES)
    def add(self, number: int, amount: int) -> None:
        refusal = self.nodes[number].add_stake(amount, self.now)
        self.act(refusal, OWNERS[number], self.world.stakes, "addStake", amount)

    @rule(number=NUMBERS, amount=STAKES, everything=st.booleans())
    def exit(self, number: int, amount: int, everything: bool) -> None:
        """I6: the same slash takes the same before and after."""
        node = self.nodes[number]
        amount = node.bonded if everything and node.bonded else amount
        before = self.third(number)
        self.act(node.exit(amount, self.now), OWNERS[number], self.world.stakes, "exit", amount)
        assert self.third(number) == before

    def third(self, number: int) -> int:
        """What a third of all would be, at any time."""
        return self.sentence(number, 3_333) if self.nodes[number].bonded + self.nodes[number].exiting else 0

    @rule(number=NUMBERS)
    def cancel(self, number: int) -> None:
        self.act(self.nodes[number].cancel_exit(0, self.now), OWNERS[number], self.world.stakes, "cancelExit")

    @rule(number=NUMBERS)
    def withdraw(self, number: int) -> None:
        self.act(self.nodes[number].withdraw(0, self.now), OWNERS[number], self.world.stakes, "withdraw")

    @rule(number=NUMBERS, bps=st.sampled_from((1, 500, 3_000, 9_900, 10_000)))
    def judge(self, number: int, bps: int) -> None:
        call = self.world.court, "slash", self.world.stakes.address, OWNERS[number].address, bps, ZERO
        self.act(self.nodes[number].slash(bps), JUDGE, *call)

    @rule(number=NUMBERS, victim=NUMBERS)
    def usurp(self, number: int, victim: int) -> None:
        """Nobody but the court slashes."""
        self.act("NotCourt", OWNERS[number], self.world.stakes, "slash", OWNERS[victim].address, 10_000, ZERO)

    @rule()
    def burn(self) -> None:
        """Anybody has the grave paid what it is owed."""
        owed = sum(node.taken for node in self.nodes) > self.burnt
        self.act("" if owed else "NothingOwed", JUDGE, self.world.stakes, "payOut", GRAVE)

    @property
    def burnt(self) -> int:
        """What has arrived at the grave."""
        return self.world.balance(GRAVE) - self.grave

    @invariant()
    def every_unit_is_somewhere(self) -> None:
        """I1 and I2."""
        held = sum(node.bonded + node.exiting + node.taken for node in self.nodes)
        assert self.world.balance(self.world.stakes.address) == held - self.burnt
        for node in self.nodes:
            assert node.paid_in == node.bonded + node.exiting + node.paid_out + node.taken

    def compare(self) -> None:
        """Every record and every account."""
        for node, owner, wealth in zip(self.nodes, OWNERS, self.wealth, strict=True):
            bonded, _, exiting, exit_at, _ = self.world.stake(owner)
            assert (bonded, exiting, exit_at) == (node.bonded, node.exiting, node.exit_at)
            assert self.world.balance(owner.address) == wealth - node.paid_in + node.paid_out
        owed = self.world.view(self.world.stakes, "owedTo", GRAVE)
        assert self.burnt + owed == sum(node.taken for node in self.nodes)

    def teardown(self) -> None:
        try:
            self.compare()
        finally:
            super().teardown()


class CourtMachine(StakesMachine):
    """The same nodes before the Court itself: the liar contradicts itself, the others never do."""

    def third(self, number: int) -> int:
        """The Court tries nothing out: it takes the whole or refuses."""
        return 0

    def receipts(self, *signed: tuple[Receipt, Signer]) -> tuple[Any, ...]:
        rows: tuple[Any, ...] = ()
        for receipt, signer in signed:
            signature = signer.sign_digest(receipt.digest(self.world.domain(self.world.court)))
            rows += (astuple(receipt), *split_signature(signature))
        return (self.world.court, "proveEquivocation", *rows, ZERO)

    @rule(number=NUMBERS, bps=st.just(10_000))
    def judge(self, number: int, bps: int) -> None:
        """Whoever brings it, a contradiction costs the liar everything."""
        signer = hot(f"signer {LIAR}")
        known = self.nodes[LIAR].paid_in > 0
        refusal = self.nodes[LIAR].slash(bps) if known else "SignerUnknown"
        proof = self.receipts((RECEIPT, signer), (replace(RECEIPT, out_root=bytes(32)), signer))
        self.act(refusal, OWNERS[number], *proof)

    @rule(number=st.integers(0, 1), kind=st.integers(0, 2))
    def frame(self, number: int, kind: int) -> None:
        """One receipt for each slot, and whatever keys others have: it is never enough."""
        honest, other = hot(f"signer {number}"), replace(RECEIPT, out_root=bytes(32))
        second = ((RECEIPT, honest), (replace(other, chunk=1), honest), (other, hot(f"signer {LIAR}")))[kind]
        self.act("NotEquivocation", OWNERS[LIAR], *self.receipts((RECEIPT, honest), second))


class ChannelsMachine(Machine):
    """Three payers on two routes, and a keeper who settles and collects."""

    def __init__(self, world: World) -> None:
        self.model = Model()
        super().__init__(world)
        self.high: dict[Name, int] = {}

    @property
    def now(self) -> int:
        """The model tells windows by it."""
        return self.model.now

    @now.setter
    def now(self, second: int) -> None:
        self.model.now = second

    def key(self, name: Name) -> ChannelKey:
        return self.world.channel(PAYERS[name[0]], CLIENT, WORDS[name[1]], salt=bytes([name[2]]) * 32)

    def does(self, refusal: str, who: Signer, *call: Any) -> None:
        self.act(refusal, who, self.world.channels, *call)

    @rule(payer=NUMBERS, amount=AMOUNTS)
    def deposit(self, payer: int, amount: int) -> None:
        self.model.free[payer] += amount
        self.does("", PAYERS[payer], "deposit", amount)

    @rule(payer=NUMBERS, amount=AMOUNTS)
    def withdraw(self, payer: int, amount: int) -> None:
        self.does(self.model.withdraw(payer, amount), PAYERS[payer], "withdraw", amount)

    @rule(name=CHANNELS, amount=AMOUNTS)
    def open(self, name: Name, amount: int) -> None:
        self.does(self.model.open(name, amount), PAYERS[name[0]], "open", astuple(self.key(name)), amount)

    @rule(name=CHANNELS, amount=AMOUNTS)
    def fund(self, name: Name, amount: int) -> None:
        self.does(self.model.lock(name, amount), PAYERS[name[0]], "depositAndOpen", astuple(self.key(name)), amount)

    @rule(name=CHANNELS, part=st.sampled_from((-1, 0, 1, 50, 99, 100, 101)))
    def settle(self, name: Name, part: int) -> None:
        """A part in hundredths of what is locked and not yet settled."""
        channel = self.model.channels[name]
        cumulative = max(0, channel.settled + (channel.locked - channel.settled) * part // 100 + (part == 101))
        voucher = self.world.voucher(CLIENT, self.key(name), cumulative)
        self.does(self.model.settle(name, cumulative), KEEPER, "settle", *voucher)

    @rule(name=CHANNELS, amount=AMOUNTS)
    def forge(self, name: Name, amount: int) -> None:
        """A voucher by the payer itself, who is not the channel's signer."""
        channel = self.model.channels[name]
        if self.model.live(name) == "" and channel.settled < channel.locked:
            voucher = self.world.voucher(PAYERS[name[0]], self.key(name), min(channel.settled + amount, channel.locked))
            self.does("SignatureInvalid", KEEPER, "settle", *voucher)

    @rule(route=st.integers(0, 1), index=NUMBERS)
    def collect(self, route: int, index: int) -> None:
        index %= len(WORDS[route])
        self.does(self.model.collect(route, index), KEEPER, "collect", WORDS[route], index)

    @rule(name=CHANNELS, number=st.integers(0, 1), index=NUMBERS)
    def convict(self, name: Name, number: int, index: int) -> None:
        """One node, of one session; again changes nothing."""
        node = SHARES[name[1]][index % len(WORDS[name[1]])][0]
        self.model.convicted.add(((name, number), node))
        digest = digest_of(self.world, session_of(self.world, self.key(name), number))
        self.act("", KEEPER, self.world.verdicts, "convict", digest, NODES[node])

    @rule(
        name=CHANNELS,
        number=st.integers(0, 1),
        index=NUMBERS,
        part=st.sampled_from((1, 30, 100, 10_000)),
        over=st.booleans(),
    )
    def refund(self, name: Name, number: int, index: int, part: int, over: bool) -> None:
        """A session said to have cost so many hundredths of all that is settled; `over`: by a voucher that is not settled."""
        settled, words = self.model.channels[name].settled, WORDS[name[1]]
        index, cumulative, amount = index % len(words), settled + over, settled * part // 100
        route = session_of(self.world, self.key(name), number)
        call = refunding(self.world, CLIENT, self.key(name), words, index, route, cumulative, amount)
        self.does(self.model.refund((name, number), index, cumulative, amount), KEEPER, "refund", *call)

    @rule(name=CHANNELS, fn=st.sampled_from(("close", "reclaim")), thief=st.booleans())
    def end(self, name: Name, fn: str, thief: bool) -> None:
        if thief:
            self.does("NotPayer", KEEPER, fn, astuple(self.key(name)))
        else:
            self.does(getattr(self.model, fn)(name), PAYERS[name[0]], fn, astuple(self.key(name)))

    @invariant()
    def every_unit_is_somewhere(self) -> None:
        """I3, and I4 by the records."""
        assert self.world.balance(self.world.channels.address) == self.model.total
        for name, known in list(self.model.channels.items())[-2:]:
            state = self.world.channel_state(self.key(name))
            assert state == (known.locked, known.settled, known.closes_at)
            assert self.high.get(name, 0) <= state[1] <= state[0]
            self.high[name] = state[1]

    @precondition(lambda self: any(self.payable(name) for name in list(self.model.channels)))
    @invariant()
    def every_covered_voucher_settles(self) -> None:
        """I5, asked and not done: the whole lock of the last channel that has something left."""
        name = [name for name in list(self.model.channels) if self.payable(name)][-1]
        voucher = self.world.voucher(CLIENT, self.key(name), self.model.channels[name].locked)
        self.world.view(self.world.channels, "settle", *voucher)

    def payable(self, name: Name) -> bool:
        channel = self.model.channels[name]
        return not self.model.live(name) and channel.settled < channel.locked

    def teardown(self) -> None:
        try:
            for route, words in enumerate(WORDS):
                payees = keccak256(b"".join(words))
                assert self.world.view(self.world.channels, "potOf", payees) == self.model.pots[route]
                drawn = [self.world.view(self.world.channels, "drawnOf", payees, i) for i in range(len(words))]
                assert drawn == [self.model.drawn[route, i] for i in range(len(words))]
                assert sum(drawn) <= self.model.pots[route]
        finally:
            super().teardown()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("machine", [StakesMachine, CourtMachine, ChannelsMachine])
def test_the_invariants_hold_whatever_is_played(
    machine: type[Machine], world: World, lenient: World, steps: int
) -> None:
    """On both kinds of chain; the slower one gets fewer plays."""
    plays = settings(
        max_examples=steps // 6,
        stateful_step_count=14,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: machine(lenient if machine is StakesMachine else world), settings=plays)
