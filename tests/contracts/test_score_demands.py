"""Leaves on demand, and the money of Reliability: bonds, rewards and credits."""

from dataclasses import replace

import pytest

from incentives.score_challenges import find_challenge
from incentives.score_tree import Posting, ScoreTable, parse_rows
from incentives.scores import ONE, Masses
from sharding.hashing import keccak256
from tests.contracts.score_world import BOND, CAPACITY, CLOCKS, DEMANDER, OWNERS, REWARD, STRANGER, Play, changed
from tests.contracts.world import GRAVE, Refusal, dev, shipped

FIRST, SECOND, THIRD, _ = OWNERS
SHOWER, BANK = SECOND, dev(0)


@pytest.fixture
def ended(play: Play) -> Play:
    """An epoch of three nodes that has just ended."""
    play.enrol(FIRST, SECOND, THIRD)
    play.record(FIRST, credit=ONE)
    play.mine_at(play.end(play.epoch))
    return play


def _post(play: Play, lying: bool = False, **post: int) -> tuple[Posting, ScoreTable]:
    table = play.honest(play.epoch - 1)
    table = changed(table, 0, masses=Masses(7, 7)) if lying else table
    return play.post(play.epoch - 1, table, **post), table


def _demand(play: Play, posting: Posting, after: int = 1) -> int:
    """The leaves are demanded `after` seconds past the posting; the deadline."""
    play.at(posting.posted_at + after)
    sent = play.scored.send(DEMANDER, "demand", posting.words)
    assert [log.name for log in sent.logs] == ["LeavesDemanded"]
    deadline = posting.posted_at + after + CLOCKS.response
    assert dict(sent.logs[0].args) == {
        "epoch": posting.epoch, "demander": DEMANDER.address, "deadline": deadline,
    }  # fmt: skip
    return deadline


def _at(play: Play, timestamp: int, *call: object) -> Refusal:
    """What the call is refused with at this second and at the next."""
    play.mine_at(timestamp)
    who, fn, *arguments = call
    return play.scored.refusal(who, fn, *arguments)  # type: ignore[arg-type]


def test_demanded_leaves_are_shown_by_anybody_who_knows_them(ended: Play) -> None:
    """At the last second; the bond is theirs, and the time until the root counts begins again."""
    posting, table = _post(ended)
    deadline = _demand(ended, posting)
    held = ended.scored.world.balance(ended.scored.scores.address)
    assert (held, ended.scored.view("demandOf", posting.epoch)) == (BOND, [DEMANDER.address, deadline])
    ended.at(deadline - 1)
    ended.scored.send(SHOWER, "show", posting.words, table.rows)
    assert ended.scored.view("creditOf", SHOWER.address) == BOND
    assert ended.scored.view("demandOf", posting.epoch)[1] == 0
    active = deadline - 1 + CLOCKS.activation
    for timestamp, serves in ((active - 1, False), (active, True)):
        ended.mine_at(timestamp)
        assert ended.scored.view("isServing", posting.words) is serves


def test_leaves_that_are_not_shown_in_time_void_the_root(ended: Play) -> None:
    """The poster is slashed at the deadline, not before; the demander has the bond back, and the fee, whoever calls."""
    posting, table = _post(ended)
    deadline = _demand(ended, posting)
    assert _at(ended, deadline - 2, STRANGER, "expire", posting.words) == ("DeadlineAhead", (deadline,))
    assert _at(ended, deadline, SHOWER, "show", posting.words, table.rows) == ("TooLate", (posting.epoch,))
    world = ended.scored.world
    accounts = GRAVE, DEMANDER.address, STRANGER.address
    owed = [world.view(world.stakes, "owedTo", account) for account in accounts]
    logs = ended.scored.send(STRANGER, "expire", posting.words).logs
    (rejected,) = [log.args for log in logs if log.name == "EpochRejected"]
    assert (rejected["finder"], rejected["burnt"]) == (DEMANDER.address, 300)
    paid = [world.view(world.stakes, "owedTo", account) for account in accounts]
    assert [after - before for before, after in zip(owed, paid, strict=True)] == [210, 90, 0]
    ended.scored.send(STRANGER, "recover", posting.epoch)
    assert ended.scored.view("creditOf", DEMANDER.address) == BOND
    assert ended.scored.refusal(STRANGER, "recover", posting.epoch) == ("NotDemanded", (posting.epoch,))
    assert ended.scored.refusal(STRANGER, "expire", posting.words) == ("PostingUnknown", (posting.epoch,))


def test_a_void_root_never_counts_even_if_nobody_has_it_rejected(ended: Play) -> None:
    """Nor is it continued by the next one; its poster can be slashed as long as the ring holds it."""
    posting, _ = _post(ended)
    deadline = _demand(ended, posting)
    ended.mine_at(deadline + CLOCKS.activation)
    assert ended.scored.view("isServing", posting.words) is False
    ended.mine_at(ended.end(posting.epoch + 1))
    following = ended.post(posting.epoch + 1, ended.honest(posting.epoch + 1), SECOND)
    assert following.base == 0
    ended.mine_at(ended.end(posting.epoch + 8) - 2)
    ended.scored.send(STRANGER, "expire", posting.words)
    assert ended.scored.world.stake(FIRST)[0] == 0


def test_a_bond_is_given_back_however_late(ended: Play) -> None:
    """Also twenty epochs later, whether or not anybody has had the root rejected; before the deadline it stays."""
    posting, _ = _post(ended)
    deadline = _demand(ended, posting)
    assert _at(ended, deadline - 2, DEMANDER, "recover", posting.epoch) == ("DeadlineAhead", (deadline,))
    ended.mine_at(ended.end(posting.epoch + 20))
    ended.scored.send(STRANGER, "recover", posting.epoch)
    assert ended.scored.view("creditOf", DEMANDER.address) == BOND
    assert ended.scored.refusal(STRANGER, "recover", posting.epoch) == ("NotDemanded", (posting.epoch,))
    ended.scored.send(STRANGER, "expire", posting.words)
    assert ended.scored.view("creditOf", DEMANDER.address) == BOND
    stakes = ended.scored.world.stakes
    assert ended.scored.world.view(stakes, "owedTo", DEMANDER.address) == 90


def test_leaves_are_demanded_once_and_only_while_the_root_waits(ended: Play) -> None:
    """At the last second before it counts; not at that second, not twice, not when they lie open."""
    posting, table = _post(ended)
    _demand(ended, posting, after=CLOCKS.activation - 1)
    late = ("TooLate", (posting.epoch,))
    assert ended.scored.refusal(DEMANDER, "demand", posting.words) == late
    ended.scored.send(SHOWER, "show", posting.words, table.rows)
    assert ended.scored.refusal(DEMANDER, "demand", posting.words) == late
    assert ended.scored.refusal(SHOWER, "show", posting.words, table.rows) == ("NotDemanded", (posting.epoch,))
    assert ended.scored.refusal(SHOWER, "expire", posting.words) == ("NotDemanded", (posting.epoch,))


def test_a_root_that_counts_answers_to_nobody(ended: Play) -> None:
    """Its leaves need not be shown any more."""
    posting, _ = _post(ended)
    refusal = _at(ended, posting.posted_at + CLOCKS.activation, DEMANDER, "demand", posting.words)
    assert refusal == ("TooLate", (posting.epoch,))


def test_the_latest_possible_path_ends_before_the_next_root_may_come(ended: Play) -> None:
    """Posted, demanded and shown at the last second each: it counts within the epoch."""
    posting, table = _post(ended, after=CLOCKS.posting - 1)
    deadline = _demand(ended, posting, after=CLOCKS.activation - 1)
    ended.at(deadline - 1)
    ended.scored.send(SHOWER, "show", posting.words, table.rows)
    ended.mine_at(ended.end(posting.epoch) + CLOCKS.path - 3)
    assert ended.scored.view("isServing", posting.words) is True
    assert CLOCKS.path <= CLOCKS.epoch
    ended.mine_at(ended.end(posting.epoch + 1))
    ended.base, ended.before = posting, table
    assert ended.post(posting.epoch + 1, ended.honest(posting.epoch + 1), SECOND, after=1).base == posting.epoch


def test_only_the_list_that_makes_the_root_is_taken(ended: Play) -> None:
    """No leaf more or less, none changed, in no other order; a cut row is no row."""
    posting, table = _post(ended)
    _demand(ended, posting)
    rows = [leaf.row for leaf in table.leaves]
    wrong = (
        b"", table.rows[:-1], table.rows + b"\0", b"".join(rows[:2]), b"".join(rows[::-1]), table.rows + rows[2],
        changed(table, 0, qos=1).rows,
        changed(table, 2, stake_to=table.total + 1).rows,
        b"".join([*rows[:2], rows[2][:20], b"\xff" * 12, rows[2][32:]]),
    )  # fmt: skip
    for each in wrong:
        assert ended.scored.refusal(SHOWER, "show", posting.words, each)[0] == "LeavesForeign"
    ended.scored.send(SHOWER, "show", posting.words, table.rows)


def test_a_root_over_hidden_leaves_cannot_be_shown(ended: Play) -> None:
    """A second leaf of a node, a copy, a hole in the tickets: only the contract's own order makes a root."""
    epoch, honest = ended.epoch - 1, ended.honest(ended.epoch - 1)
    for who, after, leaves in (
        (FIRST, 60, (*honest.leaves, changed(honest, 0, qos=10_000).leaves[0])),
        (SECOND, 80, (*honest.leaves, honest.leaves[0])),
    ):
        table = ScoreTable(leaves)
        posting = ended.post(epoch, table, who, after)
        challenge = find_challenge(ended.case(posting))
        assert challenge is not None
        assert challenge.function == "demand"
        deadline = _demand(ended, posting)
        for rows in (table.rows, honest.rows):
            assert ended.scored.refusal(who, "show", posting.words, rows)[0] == "LeavesForeign"
        if who is FIRST:
            found = find_challenge(ended.case(posting), table)
            assert found is not None
            ended.scored.send(STRANGER, found.function, *found.words())
    ended.mine_at(deadline)
    ended.scored.send(STRANGER, "expire", posting.words)
    assert ended.scored.world.stake(SECOND)[0] == 0


def test_a_liar_who_shows_his_leaves_is_caught_by_one_of_them(ended: Play) -> None:
    """The rows in the transaction are all that a challenger needs; the demander's bond is not lost by it."""
    posting, table = _post(ended, lying=True)
    _demand(ended, posting)
    ended.scored.send(FIRST, "show", posting.words, table.rows)
    shown = parse_rows(table.rows, ended.end(posting.epoch))
    challenge = find_challenge(ended.case(posting), shown)
    assert challenge is not None
    assert challenge.function == "challengeLeaf"
    ended.scored.send(STRANGER, challenge.function, *challenge.words())
    assert ended.scored.view("creditOf", FIRST.address) == BOND  # paid for the truth about the lie
    assert ended.scored.world.stake(FIRST)[0] == 0


def test_a_challenge_need_not_wait_for_demanded_leaves(ended: Play) -> None:
    """The bond then returns; a demand for the epoch's second root hands it back at once."""
    posting, table = _post(ended, lying=True)
    _demand(ended, posting)
    challenge = find_challenge(ended.case(posting), table)
    assert challenge is not None
    ended.scored.send(STRANGER, challenge.function, *challenge.words())
    again = ended.post(posting.epoch, ended.honest(posting.epoch), SECOND, after=100)
    _demand(ended, again)
    assert ended.scored.view("creditOf", DEMANDER.address) == BOND
    assert ended.scored.world.balance(ended.scored.scores.address) == 2 * BOND


def test_a_demanded_root_is_open_to_challenges_until_the_epoch_ends(ended: Play) -> None:
    """Even past the time at which it would have counted; then nobody knows the tickets any more."""
    posting, table = _post(ended, lying=True)
    _demand(ended, posting)
    challenge = find_challenge(ended.case(posting), table)
    assert challenge is not None
    end = ended.end(posting.epoch + 1)
    ended.mine_at(end - 1)
    ended.scored.view(challenge.function, *challenge.words())
    assert _at(ended, end, STRANGER, challenge.function, *challenge.words()) == ("TooLate", (posting.epoch,))


def test_a_bond_that_cannot_be_paid_demands_nothing(ended: Play) -> None:
    """No allowance, no demand."""
    posting, _ = _post(ended)
    assert ended.scored.refusal(STRANGER, "demand", posting.words)[0] == "TransferFailed"
    assert ended.scored.view("ringOf", posting.epoch)[0] == 1


def test_the_poster_of_a_root_that_counts_is_rewarded_once(ended: Play) -> None:
    """From what anybody has sent to the contract; open bonds are not for that."""
    posting, table = _post(ended)
    world, scores = ended.scored.world, ended.scored.scores
    _demand(ended, posting)
    ended.scored.send(SHOWER, "show", posting.words, table.rows)
    assert ended.scored.refusal(STRANGER, "claimReward", posting.words) == ("EpochInactive", (posting.epoch,))
    ended.mine_at(posting.posted_at + 60 + CLOCKS.activation)
    unfunded = ended.scored.refusal(STRANGER, "claimReward", posting.words)
    assert unfunded == ("RewardUnfunded", (0,))
    world.send(BANK, world.token, "transfer", scores.address, REWARD - 1)
    assert ended.scored.refusal(STRANGER, "claimReward", posting.words) == ("RewardUnfunded", (REWARD - 1,))
    world.send(BANK, world.token, "transfer", scores.address, 1)
    (event,) = ended.scored.send(STRANGER, "claimReward", posting.words).logs
    assert dict(event.args) == {"epoch": posting.epoch, "poster": FIRST.address, "amount": REWARD}
    assert ended.scored.refusal(STRANGER, "claimReward", posting.words) == ("TooLate", (posting.epoch,))
    assert ended.scored.view("isServing", posting.words) is True
    assert ended.scored.view("creditOf", FIRST.address) == REWARD


def test_where_no_reward_is_promised_none_is_claimed(play: Play) -> None:
    """However much lies there: nobody is told of a reward of nothing."""
    world, stakes = play.scored.world, play.scored.world.stakes
    court, genesis = world.court.address, world.chain.head().timestamp
    arguments = stakes.address, court, court, CLOCKS.words, genesis, CAPACITY, BOND, 0
    scores = world.chain.deploy(dev(0), shipped("Reliability"), *arguments).contract
    unpaid = Play(replace(play.scored, scores=scores))
    unpaid.enrol(FIRST)
    unpaid.mine_at(unpaid.end(unpaid.epoch))
    posting = unpaid.settle(unpaid.epoch - 1)
    world.send(BANK, world.token, "transfer", scores.address, REWARD)
    assert unpaid.scored.refusal(STRANGER, "claimReward", posting.words) == ("RewardUnfunded", (REWARD,))


def test_every_credit_is_withdrawn_once_and_the_contract_is_empty(ended: Play) -> None:
    """Bond to who showed, reward to the poster, nothing left and nothing twice."""
    posting, table = _post(ended)
    world, scores = ended.scored.world, ended.scored.scores
    _demand(ended, posting)
    ended.scored.send(SHOWER, "show", posting.words, table.rows)
    world.send(BANK, world.token, "transfer", scores.address, REWARD)
    ended.mine_at(posting.posted_at + 60 + CLOCKS.activation)
    ended.scored.send(STRANGER, "claimReward", posting.words)
    for owner, amount in ((SHOWER, BOND), (FIRST, REWARD)):
        before = world.balance(owner.address)
        ended.scored.send(owner, "withdraw")
        assert world.balance(owner.address) == before + amount
        assert ended.scored.refusal(owner, "withdraw") == ("NothingToWithdraw", (owner.address,))
    assert world.balance(scores.address) == 0


def test_an_unknown_posting_has_no_leaves(ended: Play) -> None:
    """Neither demanded nor shown nor expired."""
    posting, table = _post(ended)
    other = Posting(posting.epoch, 0, posting.posted_at, FIRST.address, posting.total, keccak256(b"other"))
    unknown = ("PostingUnknown", (posting.epoch,))
    for fn, arguments in (("demand", ()), ("show", (table.rows,)), ("expire", ()), ("claimReward", ())):
        assert ended.scored.refusal(DEMANDER, fn, other.words, *arguments) == unknown
