"""The jury under whatever hypothesis thinks of: two cases of one accuser, anybody's acts at any time, every refusal foretold.

No unit is ever lost; and when the play stops anywhere, time alone lets anybody close every case and everybody fetch what is due.
"""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from incentives.jury_rules import APPEAL_SEATS, SEATS
from incentives.signing import LocalSigner
from tests.conftest import ask
from tests.contracts.jury_model import CLOSED, Model
from tests.contracts.jury_world import (
    ACCUSER,
    CONTENT,
    CONVINCED,
    GAS,
    NODE,
    PURSE,
    SALT,
    STRANGER,
    TERMS,
    UNSURE,
    JuryWorld,
    trial,
)  # fmt: skip
from tests.contracts.test_state_machines import Machine
from tests.contracts.world import GRAVE

CASES = st.integers(0, 1)
BALLOTS = st.sampled_from((CONVINCED, CONVINCED, CONTENT, CONTENT, UNSURE))
WAITS = st.sampled_from((1, TERMS.commit_s - 5, TERMS.commit_s, TERMS.reveal_s, TERMS.answer_s))
ANY_SEAT = st.integers(0, SEATS + APPEAL_SEATS - 1)


class JuryMachine(Machine):
    """Both cases beside their models."""

    def __init__(self, on: JuryWorld) -> None:
        super().__init__(on.world)
        self.on = on
        self.trials = tuple(trial(on, nonce=bytes([k]) * 32, expires_in=10**6) for k in (1, 2))
        self.free, running = Counter[str](), Counter[str]()
        self.models = tuple(Model(self.free, running) for _ in self.trials)

    def on_chain(self, refusal: str, who: LocalSigner, fn: str, *words: Any) -> bool:
        """Whether it was done."""
        self.act(refusal, who, self.on.contract, fn, *words)
        return not refusal

    def act(self, refusal: str, *call: Any) -> None:
        """In the second that the model has counted; a refusal is what a block of that second says."""
        self.world.next_block_at(self.now)
        if refusal:
            ask(self.world.url, "evm_mine")
            assert self.world.refusal(*call)[0] == refusal, call
        else:
            self.world.send(*call, gas=GAS)
        self.now += 1

    @rule(k=CASES)
    def accuse(self, k: int) -> None:
        made = self.trials[k]
        self.on_chain(self.models[k].accuse(self.now), ACCUSER, "accuse", *made.accusing)

    @rule(k=CASES)
    def answer(self, k: int) -> None:
        refusal = self.models[k].answer(self.now)
        self.on_chain(refusal, NODE, "answer", self.trials[k].case.words)

    @rule(k=CASES)
    def draw(self, k: int) -> None:
        """So many blocks later that there is a beacon."""
        for _ in range(TERMS.lag_blocks):
            self.world.next_block_at(self.now)
            ask(self.world.url, "evm_mine")
            self.now += 1
        made = self.trials[k]
        if self.on_chain(self.models[k].draw(self.now), STRANGER, "draw", made.case.words, self.on.posting.words):
            made.lot = made.lot_of_newest()

    @rule(k=CASES, ballots=st.lists(BALLOTS, min_size=SEATS, max_size=APPEAL_SEATS), silent=ANY_SEAT)
    def sit(self, k: int, ballots: list[Any], silent: int) -> None:
        """A whole jury, as most do: a draw, the seals, the time, the openings."""
        self.draw(k)
        if self.trials[k].lot is None:
            return
        first = self.models[k].first
        for place, ballot in enumerate(ballots):
            self.commit_at(k, first + place, ballot)
        self.now += TERMS.commit_s
        for place in range(len(ballots)):
            if place != silent:
                self.reveal(k, first + place)
        self.now += TERMS.reveal_s

    @rule(k=CASES, seat=ANY_SEAT, ballot=BALLOTS)
    def commit(self, k: int, seat: int, ballot: Any) -> None:
        if self.trials[k].lot is not None:
            self.commit_at(k, seat, ballot)

    def commit_at(self, k: int, seat: int, ballot: Any) -> None:
        made = self.trials[k]
        juror = made.holder(seat).leaf.node
        sealer = self.on.jury.sealer(made.case, seat, juror)
        who, words = made.words(seat, sealer.commitment(ballot, SALT))
        if self.on_chain(self.models[k].commit(self.now, seat, juror, ballot), who, "commit", *words):
            made.votes[seat] = sealer, ballot

    @rule(k=CASES, seat=ANY_SEAT)
    def reveal(self, k: int, seat: int) -> None:
        made = self.trials[k]
        if seat in made.votes:
            self.on_chain(self.models[k].reveal(self.now, seat), STRANGER, "reveal", *made.opening(seat))

    @rule(k=CASES, by_accuser=st.booleans())
    def appeal(self, k: int, by_accuser: bool) -> None:
        refusal = self.models[k].appeal(self.now, by_accuser)
        self.on_chain(refusal, ACCUSER if by_accuser else NODE, "appeal", self.trials[k].case.words)

    @rule(k=CASES)
    def close(self, k: int) -> None:
        self.on_chain(self.models[k].close(self.now), STRANGER, "close", self.trials[k].case.words)

    @rule(k=CASES, seat=ANY_SEAT)
    def collect(self, k: int, seat: int) -> None:
        self.on_chain(self.models[k].collect(seat), STRANGER, "collect", self.trials[k].case.id, seat)

    @precondition(lambda self: any(each.votes for each in self.trials))
    @rule(k=CASES, seat=ANY_SEAT)
    def collect_silent(self, k: int, seat: int) -> None:
        made = self.trials[k]
        if seat in made.votes:
            words = made.case.id, seat, made.votes[seat][0].juror, made.sealed(seat)
            self.on_chain(self.models[k].collect_silent(seat), STRANGER, "collectSilent", *words)

    @invariant()
    def nothing_leaves(self) -> None:
        """Nobody withdraws here, so what has come in is there."""
        assert self.world.balance(self.on.contract.address) == 8 * PURSE

    def compare(self) -> None:
        """Every account, as the models say."""
        for who in (ACCUSER, *self.on.owners.values()):
            assert self.on.funds(who) == PURSE + self.free[who.address]
        assert self.world.view(self.on.contract, "fundsOf", GRAVE)[0] == self.free["burnt"]

    def wind_up(self) -> None:
        """Without anybody's help: time passes, a stranger closes each case, and all money is free or to be burnt."""
        self.now += TERMS.longest_s
        for k, model in enumerate(self.models):
            if model.phase not in (0, CLOSED):
                self.close(k)
            for seat, taken in model.seats.items():
                if not taken.is_paid:
                    (self.collect if taken.is_open else self.collect_silent)(k, seat)
        assert sum(self.free.values()) == 0

    def teardown(self) -> None:
        try:
            self.compare()
            self.wind_up()
            self.compare()
        finally:
            super().teardown()


def test_no_unit_is_lost_and_every_case_can_be_ended(jurors: JuryWorld, chain_snapshot: str, steps: int) -> None:
    """Whatever is done in whatever order."""
    bounds = settings(
        max_examples=max(2, steps // 8), stateful_step_count=max(12, steps // 4), deadline=None, derandomize=True,
        suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate), database=None,
    )  # fmt: skip
    run_state_machine_as_test(lambda: JuryMachine(jurors), settings=bounds)  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("ballots", [[CONVINCED] * 5, [CONTENT] * 5, [CONVINCED] * 3 + [CONTENT] * 2])
def test_a_played_case_ends_as_the_model_says(jurors: JuryWorld, chain_snapshot: str, ballots: list[Any]) -> None:
    """The machine's own way through an appeal, so that it is known to get there."""
    machine = JuryMachine(jurors)
    machine.accuse(0)
    machine.answer(0)
    machine.pass_time(1)
    machine.accuse(1)
    machine.sit(0, ballots, silent=7)
    for by_accuser in (True, False):
        machine.appeal(0, by_accuser)
    machine.close(1)
    machine.close(1)
    machine.sit(0, [CONVINCED] * 6 + [CONTENT], silent=2)
    machine.close(0)
    assert machine.models[0].phase == CLOSED
    assert machine.models[0].taken
    machine.nothing_leaves()
    machine.teardown()
