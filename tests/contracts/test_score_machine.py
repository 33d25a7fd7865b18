"""The scores under whatever hypothesis thinks of: two honest nodes, a liar, a challenger, payers, the Court, and a clock.

Every act is foretold by the models in plain integers. Always: the contract holds what it owes and what is spare; the root that
counts is one that nobody refuted, and a later one than before; what is shown of it reads as the twin in Python says. Where
somebody watches in time, no lie ever counts, and honest nodes lose nothing.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from incentives.court import route_words
from incentives.score_tree import ScoreTable
from incentives.signing import Signer
from sharding.hashing import keccak256
from tests.contracts.evidence_model import WHOLE
from tests.contracts.evidence_world import DISPUTES, KEY, SHARE, STRANGER, EvidenceWorld
from tests.contracts.score_world import CLOCKS
from tests.contracts.scores_machine import ACCOUNTS, EITHER, HONEST, MOVES, NAMES, WHO, RootsMachine
from tests.contracts.scores_model import DEMANDED, POSTED, REJECTED, REWARDED, Standing
from tests.contracts.scores_plays import (
    BANK,
    LIAR,
    LOCKED,
    NODES,
    STAKE,
    claim_of,
    deploy_nodes,
    digest_of,
    key_of,
    receipt_of,
    route_of,
    words_of,
)
from tests.contracts.stakes_model import Node
from tests.contracts.world import GRAVE, ZERO, World

TWO = st.integers(0, 1)
CLAIMS = st.sampled_from(((0,), (1,), (0, 1), (0, 0), ()))
OTHERS: dict[str, dict[str, Any]] = {
    "work": {"number": WHO, "channel": TWO, "amount": st.sampled_from((0, 7, 900, 20_000)), "channels": CLAIMS},
    "judge": {"number": WHO, "channel": TWO, "route": TWO, "convicted": EITHER, "barred": EITHER},
    "money": {"who": st.sampled_from(ACCOUNTS), "amount": st.sampled_from((0, 0, 1, 1_000))},
    "usurp": {"what": st.sampled_from(("report", "slashPoster", "convict", "post", "claim"))},
}
MOST = ("mature", "close_epoch", "lie", "lie", "contest", "accuse", "work", "mature", "pass_time")
"""Of roots more often than of the rest. All in one rule: of several, hypothesis leaves some out of each play."""
PLAYED = st.sampled_from((*MOST, *MOST, *MOVES, *OTHERS)).flatmap(
    lambda name: st.tuples(st.just(name), st.fixed_dictionaries((MOVES | OTHERS)[name]))
)


class ScoresMachine(RootsMachine):
    """All that may happen, and what must hold."""

    @initialize(watched=st.sampled_from((True, True, False)), enrolled=st.integers(1, 3), counts=st.booleans())
    def begin(self, watched: bool, enrolled: int, counts: bool) -> None:
        """With a root that counts, or none yet."""
        self.watched = watched
        for number in range(enrolled):
            self.enrol(number)
        if counts:
            self.close_epoch(0, CLOCKS.exclusive, checked=False)
            self.mature(rewarded=False, soon=False)

    @rule(what=PLAYED)
    def play(self, what: tuple[str, dict[str, Any]]) -> None:
        name, words = what
        getattr(self, name)(**words)

    def work(self, number: int, channel: int, amount: int, channels: tuple[int, ...]) -> None:
        """Something is settled, and a node claims what it is credited for: once more gives nothing."""
        settled, node = self.model.known.settled, NODES[number]
        if amount and settled[channel] + amount <= LOCKED:
            settled[channel] += amount
            voucher = self.world.voucher(KEY, key_of(self.on, channel), settled[channel])
            self.act("", STRANGER, self.world.channels, "settle", *voucher)
        for _ in range(2):
            refusal = self.model.known.claim(self.model.epoch_at(self.now), node.address, channels)
            claims = [claim_of(self.on, channel) for channel in channels]
            self.act(refusal, node, self.on.evidence, "claim", node.address, claims)

    def judge(self, number: int, channel: int, route: int, convicted: bool, barred: bool) -> None:
        """A node is convicted on a route, or its channel gives it no more credit for that."""
        if convicted:
            self.convict(number, channel, route)
        if barred or not convicted:
            node = NODES[number].address
            refusal = self.model.known.bar(channel, 2 * channel + route, node)
            self.act(refusal, STRANGER, self.on.evidence, "bar", route_words(route_of(self.on, channel, route)), node)

    def convict(self, number: int, channel: int, route: int) -> None:
        node, epoch = NODES[number].address, self.model.epoch_at(self.now)
        before = self.model.nodes[node].taken
        self.model.slash(node, self.model.known.convict(epoch, node, 2 * channel + route))
        self.sentenced[node] += self.model.nodes[node].taken - before
        words = node, digest_of(self.on, channel, route), receipt_of(self.now), ZERO
        self.act("", DISPUTES, self.world.court, "convict", *words)

    def money(self, who: Signer, amount: int) -> None:
        """Somebody takes what is due; somebody gives to the pool, or collects for it what channels have paid."""
        self.withdraw(who)
        if amount:
            self.model.held += amount
            self.act("", BANK, self.world.token, "transfer", self.on.scores.address, amount)
        else:
            self.fill()

    def fill(self) -> None:
        words, channels = words_of(self.on), self.world.channels
        payees, pool = keccak256(b"".join(words)), len(words) - 1
        ripe = self.view(channels, "ripeOf", payees, self.now)
        due = ripe * SHARE // WHOLE - self.view(channels, "drawnOf", payees, pool)
        if due > 0:
            self.model.held += due
            self.act("", STRANGER, channels, "collect", words, pool)

    def usurp(self, what: str) -> None:
        """Nobody but the Court reports, nobody but the arbiters convict, nobody but a node acts for it."""
        node, epoch = NODES[0].address, self.model.epoch_at(self.now) - 1
        if what == "report":
            self.scores("NotCourt", LIAR, what, bytes(28))
        elif what == "post":
            refusal = self.model.post(self.now, epoch, ScoreTable(()), 1, LIAR.address, node)
            self.scores(refusal, LIAR, what, epoch, bytes(32), 1, node)
        elif what == "claim":
            self.act("NotNode", LIAR, self.on.evidence, what, node, [claim_of(self.on, 0)])
        else:
            words = (ZERO,) if what == "slashPoster" else (bytes(32), bytes(32), ZERO)
            self.act("NotArbiter", LIAR, self.world.court, what, node, *words)

    @invariant()
    def all_money_is_owed_or_spare(self) -> None:
        """Nobody withdraws what is another's."""
        self.turn += 1
        assert self.world.balance(self.on.scores.address) == self.model.held
        assert self.model.spare >= 0

    @invariant()
    def one_root_counts_and_nobody_has_refuted_it(self) -> None:
        """It was posted, stood its time, and none before it counts again; watched, it is sound."""
        head, serving = self.now - 1, self.model.latest(self.now - 1)
        for one in self.model.posted[-1:] + [self.served] * (self.served is not serving):
            told = one and self.view(self.on.scores, "isServing", one.posting.words)
            assert one is None or told == ((one is serving) if self.model.stands(one) else "PostingUnknown")
        if self.served is not serving:
            assert serving is not None
            assert serving.state != REJECTED
            assert head >= serving.active_at >= serving.posting.posted_at + CLOCKS.activation
            assert self.served is None or self.served.epoch < serving.epoch
        assert serving is None or serving.is_sound or not self.watched
        self.served = serving

    @invariant()
    def a_part_of_what_is_read_is_as_the_models_say(self) -> None:
        """Each in its turn."""
        parts = self.compare_served, self.compare_table, self.compare_known, self.compare_stake, self.compare_bond
        parts[self.turn % len(parts)](self.turn // len(parts) % len(NODES))

    def compare_served(self, number: int) -> None:
        """One leaf, as the twin says; who holds its first ticket."""
        serving = self.model.latest(self.now - 1)
        if serving is None:
            return
        proven = serving.table.proven(number % len(serving.table.leaves))
        leaf, words = proven.leaf, proven.words
        told = self.view(self.on.scores, "scoreOf", serving.posting.words, *words)
        assert told == [leaf.masses.published, leaf.qos]
        holder = self.view(self.on.scores, "holderOf", serving.posting.words, leaf.stake_from, *words)
        bonded = self.model.nodes[leaf.node].bonded if leaf.node in self.model.nodes else 0
        assert holder == (leaf.node if bonded >= leaf.width else "StakeGone")

    def compare_table(self, number: int) -> None:
        """Now, or at the end of the epoch before."""
        epoch, node = self.model.epoch_at(self.now - 1), NAMES[number]
        at = epoch - self.turn // 12 % 2
        assert self.view(self.on.scores, "stakeAt", at, node) == self.model.stake_at(at, node)
        assert self.view(self.on.scores, "totalAt", at) == sum(self.model.stakes(at).values())
        assert self.view(self.on.scores, "enrolled")[0] == len(self.model.stakes(epoch))

    def compare_known(self, number: int) -> None:
        """What was done in an epoch, and does not change once it is over."""
        for age in (0, 1, 2 + self.turn % 6):
            epoch, node = max(self.model.epoch_at(self.now - 1) - age, 0), NAMES[number]
            known = self.model.known.of(epoch, node)
            assert self.view(self.on.evidence, "evidenceOf", epoch, node) == [known.credit, known.faults, known.qos]

    def compare_stake(self, number: int) -> None:
        """A root costs its poster once; where somebody watches, only the Court's convictions cost honest nodes anything."""
        owner = NODES[number]
        node, (bonded, _, exiting, *_) = self.model.nodes[owner.address], self.world.stake(owner)
        assert (bonded, exiting) == (node.bonded, node.exiting)
        if self.watched and owner is not LIAR:
            assert node.taken == self.sentenced[owner.address]

    def compare_bond(self, number: int) -> None:
        """Of the last three roots: who has one for its leaves."""
        for one in self.model.posted[-1 - number : len(self.model.posted) - number]:
            demander, deadline = self.model.demanders.get(one.epoch, ZERO), self.model.bonds.get(one.epoch, ("", 0))[1]
            assert self.view(self.on.scores, "demandOf", one.epoch) == [demander, deadline]

    def compare(self) -> None:
        """Every account."""
        for who, wealth in self.wealth.items():
            node = self.model.nodes.get(who, Node(paid_in=STAKE))
            flow = self.moved[who] - node.paid_in + STAKE + node.paid_out
            assert self.world.balance(who) == wealth + flow
            assert self.view(self.on.scores, "creditOf", who) == self.model.credits[who]
        for who in (GRAVE, *NAMES):
            assert self.view(self.world.stakes, "owedTo", who) == self.model.fees[who]
        for number in range(len(NODES)):
            self.compare_stake(number)
            self.compare_known(number)
            self.compare_bond(number)

    def wind_up(self) -> None:
        """Time alone gives every bond back, and everybody takes what is due: what is left was given."""
        self.watched = False
        self.travel(self.now + 2 * CLOCKS.epoch)
        for epoch in sorted({one.epoch for one in self.model.posted}):
            self.scores(self.model.recover(self.now, epoch), STRANGER, "recover", epoch)
        for who in ACCOUNTS:
            if self.model.credits[who.address]:
                self.withdraw(who)
        assert self.model.owed == 0
        self.all_money_is_owed_or_spare()

    def teardown(self) -> None:
        try:
            self.compare()
            self.wind_up()
            self.compare()
        finally:
            super().teardown()


@pytest.fixture(scope="session")
def deployed_nodes(deployed: World) -> EvidenceWorld:
    return deploy_nodes(deployed)


@pytest.fixture
def nodes(deployed_nodes: EvidenceWorld, chain_snapshot: str) -> EvidenceWorld:
    """What the test does to the chain is undone."""
    return deployed_nodes


@pytest.mark.timeout(240)
def test_scores_hold_whatever_is_played(nodes: EvidenceWorld, steps: int) -> None:
    """On both kinds of chain; the slower one gets fewer plays. A play that fails is told as it was, for it would take minutes
    to make it shorter."""
    plays = settings(
        max_examples=steps // 5, stateful_step_count=20, derandomize=True, database=None, deadline=None,
        phases=(Phase.generate,), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    run_state_machine_as_test(lambda: ScoresMachine(nodes), settings=plays)


def test_every_end_of_a_root_is_reached(nodes: EvidenceWorld) -> None:
    """The machine's own way: one is paid for, one refuted, one falls in silence, one takes its place, one comes after a gap."""
    machine = ScoresMachine(nodes)
    machine.begin(watched=True, enrolled=3, counts=True)
    machine.work(0, 0, 20_000, (0,))
    machine.convict(1, 0, 0)
    machine.close_epoch(0, CLOCKS.exclusive, checked=True)
    machine.money(LIAR, 1_000)
    machine.mature(rewarded=True, soon=False)
    paid = ends(machine, REWARDED)
    machine.lie("credit", 1, shown=True)
    machine.travel(0)
    refuted = ends(machine, REJECTED)
    machine.stake(LIAR, "join", STAKE)
    machine.post(2, "twice", 0, 1)
    machine.travel(0)
    machine.travel(machine.model.bonds[refuted.epoch][1])
    assert ends(machine, DEMANDED).base == paid.posting
    machine.travel(0)
    ends(machine, REJECTED)
    machine.post(0, HONEST, 0, 1)
    machine.mature(rewarded=False, soon=False)
    assert ends(machine, POSTED) is machine.served
    machine.pass_time(0, 0, epochs=9)
    machine.close_epoch(0, CLOCKS.exclusive, checked=True)
    assert ends(machine, POSTED).epoch - refuted.epoch == 10
    machine.teardown()


def ends(machine: ScoresMachine, state: int) -> Standing:
    """The last root, which has come to that; all invariants hold."""
    machine.all_money_is_owed_or_spare()
    machine.one_root_counts_and_nobody_has_refuted_it()
    machine.compare()
    one = machine.last(1)
    assert one.state == state
    return one
