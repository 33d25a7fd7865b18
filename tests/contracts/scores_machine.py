"""The acts on posted roots, each beside what the model says of it; and somebody who watches, if anybody does."""

from collections import Counter
from typing import Any

from hypothesis import strategies as st

from incentives.chain import Contract
from incentives.errors import Reverted
from incentives.score_challenges import evidence_commitment, find_challenge
from incentives.score_tree import ScoreTable
from incentives.signing import Signer
from tests.conftest import ask
from tests.contracts.evidence_world import STRANGER, EvidenceWorld
from tests.contracts.lies import LIES, SMOOTH
from tests.contracts.score_world import BOND, CLOCKS, SALT, UNPAID
from tests.contracts.scores_model import DEMANDED, POSTED, SHOWN, Standing, drawn
from tests.contracts.scores_plays import (
    CHALLENGER,
    KINDS,
    LIAR,
    NODES,
    STAKE,
    accusation,
    case_of,
    edges,
    made_up,
    model_of,
    refused_now,
)
from tests.contracts.test_state_machines import Machine
from tests.contracts.world import PEER, hot

ACCOUNTS = (*NODES, CHALLENGER, STRANGER)
NAMES = tuple(who.address for who in ACCOUNTS)
LATE = CLOCKS.exclusive
HONEST = ""
WHO, ANY, EITHER = st.integers(0, 2), st.integers(0, 11), st.booleans()
NEWEST = st.sampled_from((1, 1, 1, 2, 3, 9))
"""Which root, counted from the last one that was posted."""
SAID = st.sampled_from((HONEST, "total", "early", "early", *LIES))
AFTER = st.sampled_from((LATE, LATE, 1, LATE - 1, LATE, LATE + 1, LATE, CLOCKS.posting - 1, CLOCKS.posting))
CONTESTS = st.sampled_from(("demand", "demand", "show", "expire", "recover", "reward"))
STAKES = st.sampled_from(
    (("exit", 1_000), ("exit", 300), ("cancelExit", 0), ("withdraw", 0), ("addStake", 50), ("join", 1_000))
)
MOVES: dict[str, dict[str, Any]] = {
    "pass_time": {
        "wait": st.integers(0, 3),
        "by": st.integers(-1, 1),
        "epochs": st.sampled_from((0, 0, 0, 1, 2, 7, 8, 9)),
    },
    "mature": {"rewarded": EITHER, "soon": EITHER},
    "close_epoch": {"number": WHO, "after": AFTER, "checked": EITHER},
    "lie": {"said": SAID, "at": ANY, "shown": EITHER},
    "post": {"number": WHO, "said": SAID, "at": ANY, "back": st.sampled_from((1, 1, 1, 0, 2))},
    "contest": {"back": NEWEST, "act": CONTESTS, "by_liar": EITHER},
    "accuse": {
        "back": NEWEST,
        "kind": st.sampled_from(KINDS),
        "i": ANY,
        "j": ANY,
        "who": st.sampled_from((CHALLENGER, LIAR)),
    },
    "bond": {"number": WHO, "act": STAKES, "enrolled": EITHER},
}
"""What may be done to roots and stakes, and of what it is drawn."""


class RootsMachine(Machine):
    """The next act is in the second `now`; the newest block is of the second before."""

    def __init__(self, on: EvidenceWorld) -> None:
        super().__init__(on.world)
        self.on, self.model = on, model_of(on)
        self.watched, self.turn = True, 0
        self.served: Standing | None = None
        self.sentenced, self.moved = Counter[str](), Counter[str]()
        self.wealth = {who: self.world.balance(who) for who in NAMES}
        self.next_block_at(self.now - 1)

    def next_block_at(self, second: int) -> None:
        self.world.next_block_at(second)
        ask(self.world.url, "evm_mine")

    def travel(self, second: int) -> None:
        """The next act is in that second, unless it is past. Who watches acts before."""
        if self.watched:
            for one in [one for one in self.model.ring.values() if self.model.stands(one)]:
                self.guard(one)
        if second > self.now:
            self.next_block_at(second - 1)
            self.now = second

    def guard(self, one: Standing) -> None:
        """Honest leaves are shown; a lie is refuted, or its leaves are demanded, or it falls because they were not shown."""
        if one.is_sound:
            if one.state == DEMANDED:
                self.showing(one, one.table.rows, STRANGER)
        elif one.state == DEMANDED:
            if self.now >= self.model.bonds.get(one.epoch, ("", 0))[1]:
                self.scores(self.model.expire(self.now, one), STRANGER, "expire", one.posting.words)
        else:
            self.refute(one)

    def refute(self, one: Standing) -> None:
        """As the challenger's own code finds it. Of every other root without a finder, so that nobody has to commit."""
        found = find_challenge(case_of(self.model, one), one.table if one.state == SHOWN else None)
        assert found is not None
        if found.function == "demand":
            assert one.state == POSTED
            self.demanding(one, CHALLENGER)
            return
        finder, end = None, UNPAID
        if one.epoch % 2:
            finder, end = CHALLENGER.address, (CHALLENGER.address, SALT)
            self.scores("", CHALLENGER, "commit", evidence_commitment(finder, one.posting, SALT))
        refusal = self.model.challenge(self.now, one, True, finder)
        assert refusal == ""
        self.scores(refusal, STRANGER, found.function, *found.words(*end))

    def act(self, refusal: str, *call: Any) -> None:
        """A refusal is asked for in its second, so that every edge is sharp."""
        if not refusal:
            super().act(refusal, *call)
            return
        self.next_block_at(self.now)
        assert refused_now(self.world, *call) == refusal, call
        self.now += 1

    def scores(self, refusal: str, who: Signer, fn: str, *words: Any) -> None:
        self.act(refusal, who, self.on.scores, fn, *words)

    def view(self, contract: Contract, fn: str, *words: Any) -> Any:
        """What it says in the newest block's second; or the name of the refusal."""
        try:
            return self.world.view(contract, fn, *words)
        except Reverted as error:
            return error.name

    def last(self, back: int) -> Standing:
        """The first one of all where there are not so many."""
        return self.model.posted[-min(back, len(self.model.posted))]

    def pass_time(self, wait: int, by: int, epochs: int) -> None:
        """To where something changes by itself, a second before or after it; or to the beginning of a later epoch."""
        ahead = edges(self.model, self.now)
        later = self.model.end_of(self.model.epoch_at(self.now) + epochs - 1)
        self.travel(later if epochs else ahead[wait % len(ahead)] + by)

    def mature(self, rewarded: bool, soon: bool) -> None:
        """Until the last root counts, if it will: leaves that are shown first begin its time again. `soon`: a second before."""
        for one in self.model.posted[-1:] * 2:
            self.travel(one.active_at + (not soon))
        if rewarded and self.model.posted:
            self.contest(1, "reward", by_liar=False)

    def close_epoch(self, number: int, after: int, checked: bool) -> None:
        """The running epoch ends, and somebody posts what belongs there; every leaf of it may be called into question."""
        self.travel(self.model.end_of(self.model.epoch_at(self.now)) + after)
        self.post(number, HONEST, 0, 1)
        if checked and self.model.posted:
            for at in range(len(self.last(1).table.leaves)):
                self.accuse(1, "Leaf", at, 0, CHALLENGER)

    def lie(self, said: str, at: int, shown: bool) -> None:
        """The same by the liar, who brings new stake if he has none. Who watches may demand his leaves, and he may show them."""
        self.travel(self.model.end_of(self.model.epoch_at(self.now)) + (1 if said == "early" else LATE))
        if self.model.nodes[LIAR.address].bonded == 0:
            self.stake(LIAR, "join", STAKE)
        self.post(2, said, at, 1)
        self.travel(self.now)
        if shown and self.model.posted and self.last(1).state == DEMANDED:
            self.contest(1, "show", by_liar=True)

    def post(self, number: int, said: str, at: int, back: int) -> None:
        """Of the epoch so many before the running one. Where somebody watches, lies are the liar's and others wait their turn."""
        epoch = self.model.epoch_at(self.now) - back
        if not self.watched and said not in SMOOTH:
            said = HONEST  # what is built on any other lie is nobody's fault
        node = LIAR if said and self.watched else NODES[number]
        honest = self.model.honest(self.now, epoch)
        if (node is LIAR and self.watched) or (honest.leaves and (not self.watched or self.may_post(epoch, node))):
            self.posts(node, epoch, *made_up(honest, said, at))

    def may_post(self, epoch: int, node: Signer) -> bool:
        """Drawn, or late enough."""
        base = self.model.latest(self.now, epoch)
        late = base is None or self.now >= self.model.end_of(epoch) + CLOCKS.exclusive
        return base is None or late or drawn(base.posting, base.table, epoch) == node.address

    def posts(self, node: Signer, epoch: int, table: ScoreTable, total: int) -> None:
        refusal = self.model.post(self.now, epoch, table, total, node.address, node.address)
        self.scores(refusal, node, "post", epoch, table.root, total, node.address)

    def stake(self, owner: Signer, fn: str, amount: int) -> None:
        name = {"addStake": "add_stake", "cancelExit": "cancel_exit"}.get(fn, fn)
        refusal = getattr(self.model.nodes[owner.address], name)(amount, self.now)
        words: tuple[Any, ...] = (amount,) if amount else ()
        if fn == "join":
            signer = hot(owner.address)
            words = amount, signer.address, PEER, *self.world.consent(owner, signer)
        self.act(refusal, owner, self.world.stakes, fn, *words)

    def contest(self, back: int, act: str, by_liar: bool) -> None:
        """Leaves are asked for, shown and missed; a root that counts is paid for."""
        if not self.model.posted:
            return
        one, who = self.last(back), LIAR if by_liar else CHALLENGER
        if act == "demand":
            self.demanding(one, who)
        elif act == "show":
            self.showing(one, one.table.rows if by_liar else self.model.due(one).rows, who)
        elif act == "expire":
            self.scores(self.model.expire(self.now, one), who, "expire", one.posting.words)
        elif act == "recover":
            self.scores(self.model.recover(self.now, one.epoch), who, "recover", one.epoch)
        else:
            self.scores(self.model.claim_reward(self.now, one), who, "claimReward", one.posting.words)

    def enrol(self, number: int) -> None:
        node = NODES[number].address
        self.scores(self.model.enrol(self.now, node), STRANGER, "enrol", node)

    def bond(self, number: int, act: tuple[str, int], enrolled: bool) -> None:
        """Joins, adds, leaves; the table may learn of it later."""
        self.stake(NODES[number], *act)
        if enrolled:
            self.enrol(number)

    def demanding(self, one: Standing, who: Signer) -> None:
        refusal = self.model.demand(self.now, one, who.address)
        self.moved[who.address] -= 0 if refusal else BOND
        self.scores(refusal, who, "demand", one.posting.words)

    def showing(self, one: Standing, rows: bytes, who: Signer) -> None:
        """What the root was made of, or what it should have been made of."""
        refusal = self.model.show(self.now, one, rows, who.address)
        self.scores(refusal, who, "show", one.posting.words, rows)

    def accuse(self, back: int, kind: str, i: int, j: int, who: Signer) -> None:
        """Whatever is shown of a sound root, nothing is wrong with it. The liar wants a fee and has not committed to anything."""
        one = self.last(back) if self.model.posted else None
        found = accusation(self.model, one, kind, i, j) if one else None
        if one and found:
            fn, words, wrong = found
            assert not (wrong and one.is_sound and self.model.is_open(self.now, one))
            finder, end = (LIAR.address, (LIAR.address, SALT)) if who is LIAR else (None, UNPAID)
            self.scores(self.model.challenge(self.now, one, wrong, finder, ripe=False), who, fn, *words, *end)

    def withdraw(self, who: Signer) -> None:
        self.moved[who.address] += self.model.credits[who.address]
        self.scores(self.model.withdraw(who.address), who, "withdraw")
