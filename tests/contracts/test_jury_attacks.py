"""What a dishonest juror, accuser or node might try before the jury, and why it does not work."""

from dataclasses import astuple, replace

from incentives.jury_rules import APPEAL_SEATS, SEATS, Outcome, Sealer, Vote
from sharding.hashing import keccak256
from tests.contracts.jury_world import (
    ACCUSER,
    CONTENT,
    CONVINCED,
    JURORS,
    JURORS_STAKE,
    NODE,
    ONE,
    OTHER,
    PURSE,
    SALT,
    STAKE,
    STRANGER,
    TERMS,
    Trial,
    trial,
)  # fmt: skip
from tests.contracts.world import hot


def commit_as(played: Trial, seat: int, sealed: bytes) -> None:
    who, words = played.words(seat, sealed)
    played.send(who, "commit", *words)


def opening_time(played: Trial) -> None:
    played.at(played.since + TERMS.commit_s + 1)


def test_a_copied_commitment_opens_nothing(played: Trial) -> None:
    """Seat and juror are part of it: the copier can show neither its own vote nor the other's."""
    played.drawn()
    played.commit(0, CONVINCED)
    sealer, ballot = played.votes[0]
    commit_as(played, 1, sealer.commitment(ballot, SALT))
    opening_time(played)
    copier = played.holder(1).leaf.node
    for juror in {copier, sealer.juror}:
        words = sealer.case, 1, juror, astuple(ballot), SALT
        assert played.refusal(STRANGER, "reveal", *words) == ("CommitmentForeign", (1,))
    played.reveal(0)


def test_anothers_vote_cannot_be_changed_by_opening_it(played: Trial) -> None:
    """Whoever sees an opening on its way can only bring it unchanged."""
    played.drawn()
    played.commit(0, CONVINCED)
    opening_time(played)
    sealer, ballot = played.votes[0]
    for changed in (CONTENT, replace(ballot, evidence=31), replace(ballot, digest=ONE)):
        words = sealer.case, 0, sealer.juror, astuple(changed), SALT
        assert played.refusal(STRANGER, "reveal", *words) == ("CommitmentForeign", (0,))
    for salt, juror in ((ONE, sealer.juror), (SALT, STRANGER.address)):
        words = sealer.case, 0, juror, astuple(ballot), salt
        assert played.refusal(STRANGER, "reveal", *words) == ("CommitmentForeign", (0,))
    played.reveal(0)
    assert (
        played.refusal(STRANGER, "reveal", sealer.case, 0, sealer.juror, astuple(ballot), SALT)[0]
        == "CommitmentForeign"
    )


def test_a_vote_of_another_case_chain_or_contract_counts_nowhere_else(played: Trial) -> None:
    """All three are in what is sealed."""
    played.drawn()
    for seat, other in enumerate(("case", "chain", "contract")):
        sealer = played.on.jury.sealer(played.case, seat, played.holder(seat).leaf.node)
        sealed = Sealer(
            1 if other == "chain" else sealer.chain_id,
            STRANGER.address if other == "contract" else sealer.contract,
            ONE if other == "case" else sealer.case,
            seat,
            sealer.juror,
        ).commitment(CONVINCED, SALT)
        commit_as(played, seat, sealed)
    opening_time(played)
    for seat in range(3):
        words = played.case.id, seat, played.holder(seat).leaf.node, astuple(CONVINCED), SALT
        assert played.refusal(STRANGER, "reveal", *words) == ("CommitmentForeign", (seat,))


def test_who_has_a_side_does_not_judge(played: Trial) -> None:
    """The nodes of the route, the accuser as a node, and the node that the accuser's key belongs to."""
    by_owner = replace(played, accuser=JURORS[1]).drawn()
    for who in (NODE, OTHER, JURORS[1]):
        own = played.on.table.find(who.address)
        assert own is not None
        _, words = by_owner.words(0, ONE)
        refused = played.refusal(who, "commit", *words[:4], *own.words, ONE)
        assert refused == ("JurorBarred", (who.address,))
    barred = played.on.jury.accusation(played.receipt, played.route, 6, hot(JURORS[2].address).address).barred
    assert barred[-1] == JURORS[2].address


def test_stake_that_has_left_does_not_judge(played: Trial) -> None:
    """A holder of tickets that has taken a part of its bond back is out, whatever the table says."""
    played.drawn()
    who, words = played.words(0, ONE)
    played.world.send(who, played.world.stakes, "exit", 1)
    assert played.refusal(who, "commit", *words) == ("StakeGone", (who.address, JURORS_STAKE - 1))
    played.world.send(who, played.world.stakes, "cancelExit")
    played.send(who, "commit", *words)


def test_one_node_votes_on_each_of_its_seats_and_on_none_twice(played: Trial) -> None:
    """Two tickets are two votes; a second vote for a seat is refused, by the same node and by any other."""
    played.drawn()
    for seat in range(SEATS):
        played.commit(seat, CONTENT)
        who, words = played.words(seat, ONE)
        assert played.refusal(who, "commit", *words) == ("SeatTaken", (seat,))
    opening_time(played)
    for seat in range(SEATS):
        played.reveal(seat)
    assert played.on.jury.tally(played.case, 0).paid == SEATS


def test_a_bribed_minority_does_not_convict(played: Trial) -> None:
    """Two of five with any evidence; nor do all jurors whose work is not the same."""
    played.drawn()
    loud = replace(CONVINCED, evidence=255)
    assert played.voted([loud, loud, CONTENT, CONTENT, CONTENT]).outcome == Outcome.ACQUITTED
    other = trial(played.on, nonce=SALT).drawn()
    made_up = [replace(loud, digest=keccak256(bytes([seat]))) for seat in range(SEATS)]
    assert other.voted(made_up).outcome == Outcome.UNPROVEN
    other.close_later()
    assert other.world.stake(NODE)[0] == STAKE


def test_who_was_silent_in_the_first_jury_cannot_speak_in_the_second(played: Trial) -> None:
    """Its seat is not of that round: the first verdict stays as it was."""
    played.drawn()
    played.voted([CONVINCED] * 4 + [CONTENT], silent=[4])
    played.on.jury.appeal(NODE, played.case)
    played.draw()
    opening_time(played)
    sealer, ballot = played.votes[4]
    words = sealer.case, 4, sealer.juror, astuple(ballot), SALT
    assert played.refusal(STRANGER, "reveal", *words) == ("SeatInvalid", (4,))
    assert played.refusal(STRANGER, "reveal", sealer.case, SEATS + APPEAL_SEATS, *words[2:])[0] == "SeatInvalid"


def test_paying_four_of_seven_for_silence_undoes_no_verdict(played: Trial) -> None:
    """The first jury's word stands where the second has none: the stake is taken, and the appeal has cost three fees."""
    played.drawn()
    played.voted([CONVINCED] * 5)
    played.on.jury.appeal(NODE, played.case)
    played.draw()
    abstaining = replace(CONTENT, vote=Vote.ABSTAIN)
    played.voted([CONVINCED] * 3 + [abstaining] * 4, first=SEATS)
    assert played.close().logs[-1].args["taken"] == STAKE * 3 // 10
    assert played.world.stake(NODE)[0] == STAKE * 7 // 10
    assert played.on.funds(NODE) == PURSE - TERMS.bond - 3 * TERMS.fee
    played.collect()
    played.must_add_up()


def test_accusing_oneself_costs(played: Trial) -> None:
    """The node's owner accuses it and wins: a half of one bond, and more of the stake than the fee brings back."""
    own = replace(played, accuser=NODE).drawn()
    own.voted([CONVINCED] * 5)
    own.close_later()
    fee = own.world.view(own.world.stakes, "owedTo", NODE.address)
    lost = STAKE - own.world.stake(NODE)[0]
    assert own.on.funds(NODE) == PURSE - TERMS.bond // 2
    assert fee - lost - TERMS.bond // 2 < 0
    assert 2 * fee < lost


def test_spam_of_accusations_feeds_the_node(played: Trial) -> None:
    """Each lost one pays its answer; the node never needs more than one bond for each, whatever the accuser doubles."""
    cases = [trial(played.on, chunk=chunk) for chunk in range(10, 13)]
    for level, case in enumerate(cases):
        case.drawn()
        assert case.on.jury.case(case.case).bond == TERMS.bond << level
    assert played.on.funds(NODE) == PURSE - 3 * TERMS.bond
    for case in cases:
        for seat in range(SEATS):
            case.commit(seat, CONTENT)
    cases[-1].at(cases[-1].since + TERMS.commit_s + 1)
    for case in cases:
        for seat in range(SEATS):
            case.reveal(seat)
    for case in reversed(cases):
        case.close_later() if case is cases[-1] else case.close()
    assert played.on.funds(NODE) == PURSE + 7 * TERMS.bond // 2
    assert played.on.funds(ACCUSER) == PURSE - 7 * TERMS.bond


def test_two_convictions_of_one_route_cost_once(played: Trial) -> None:
    """The second accuser has its bond back and half of the node's; nothing more is taken of the stake."""
    others = replace(played, accuser=OTHER, votes={})
    for case in (played, others):
        case.drawn()
    for case in (played, others):
        for seat in range(SEATS):
            case.commit(seat, CONVINCED)
    others.at(others.since + TERMS.commit_s + 1)
    for case in (played, others):
        for seat in range(SEATS):
            case.reveal(seat)
    assert others.close_later().logs[-1].args["taken"] == STAKE * 3 // 10
    assert played.close().logs[-1].args["taken"] == 0
    assert played.world.stake(NODE)[0] == STAKE * 7 // 10
