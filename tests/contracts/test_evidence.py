"""Evidence of nodes' work: only what was settled, once, capped, paid for by a share of the audit pool; and what the Court found."""

from dataclasses import replace
from typing import Any

import pytest

from incentives.epochs import AuditedWork, CreditRule, tally
from incentives.errors import Reverted
from incentives.scores import MAX_MASS, ONE
from incentives.signing import Signer
from sharding.hashing import keccak256
from tests.contracts.evidence_world import (
    CAP,
    DISPUTES,
    KEY,
    NODE,
    OTHER,
    PAYER,
    SHARE,
    STRANGER,
    UNIT,
    EvidenceWorld,
    deploy_evidence,
)
from tests.contracts.score_world import CAPACITY, CLOCKS
from tests.contracts.world import (
    ARBITERS,
    CLOSE_DELAY,
    EPOCH,
    MATURITY,
    MAX_FEE,
    MIN_STAKE,
    UNBONDING,
    ZERO,
    World,
    dev,
    hot,
    next_addresses,
    only_event,
    saying,
    shipped,
    word,
)
from verification.routes import Route, RouteStage

A, B = keccak256(b"a"), keccak256(b"b")


@pytest.fixture(scope="session")
def deployed_evidence(deployed: World) -> EvidenceWorld:
    return deploy_evidence(deployed)


@pytest.fixture
def known(deployed_evidence: EvidenceWorld, chain_snapshot: str) -> EvidenceWorld:
    """What the test does to the chain is undone."""
    return deployed_evidence


def test_a_node_is_credited_for_its_share_of_what_was_settled(known: EvidenceWorld) -> None:
    """Once: only what was settled since counts again; each fee is rounded down."""
    words, epoch = known.words((NODE.address, 7_000), (OTHER.address, 2_750)), known.epoch
    key, _ = claim = known.paid(words, 2_001)
    credit = 2_001 * 7_000 // 10_000 * ONE // UNIT
    sent = known.claim(claim)
    assert only_event(sent) == ("Credited", {"epoch": epoch, "node": NODE.address, "credit": credit})
    assert known.refusal(claim) == ("NothingToClaim", (NODE.address,))
    known.settle(key, 3_001)
    known.claim(claim)
    assert known.of(epoch) == [(1_400 + 700) * ONE // UNIT, 0, 0]
    known.claim(claim, node=OTHER)
    assert known.of(epoch, OTHER)[0] == 3_001 * 2_750 // 10_000 * ONE // UNIT
    channel = key.id(known.world.domain(known.world.channels))
    assert known.world.view(known.evidence, "countedOf", channel, NODE.address) == [3_001, False]


def test_two_places_of_one_node_count_together(known: EvidenceWorld) -> None:
    """As the stages of a route that one node serves."""
    words = known.words((NODE.address, 3_000), (OTHER.address, 2_000), (NODE.address, 4_750))
    known.claim(known.paid(words, 1_000))
    assert known.of(known.epoch)[0] == 775 * ONE // UNIT


def test_one_payer_gives_no_more_than_the_cap_in_an_epoch(known: EvidenceWorld) -> None:
    """However many channels; another payer, or the next epoch, gives again. What was past the cap is gone."""
    words, epoch = known.words((NODE.address, 9_750)), known.epoch
    whole = 4 * UNIT * 10_000 // 9_750 + 1
    key, _ = first = known.paid(words, whole - 200)
    known.claim(first)
    below = known.of(epoch)[0]
    assert CAP * 9 // 10 < below < CAP
    known.claim(known.paid(words, whole, salt=A))
    assert known.of(epoch)[0] == CAP
    assert known.refusal(known.paid(words, whole, salt=B)) == ("NothingToClaim", (NODE.address,))
    known.claim(known.paid(words, whole // 2, payer=dev(4)))
    assert CAP < known.of(epoch)[0] < 2 * CAP
    known.to_epoch(epoch + 1)
    known.settle(key, whole)
    known.claim(first)
    assert known.of(epoch + 1)[0] == (200 * 9_750 // 10_000) * ONE // UNIT


def test_one_transaction_claims_for_many_channels(known: EvidenceWorld) -> None:
    """As much as the twin of the rule says; those without anything new are left out."""
    words, epoch, records = known.words((NODE.address, 9_750)), known.epoch, []
    claims = []
    for salt, payer, amount in ((A, PAYER, 1_111), (B, PAYER, 2_222), (A, dev(4), 9_999), (B, dev(4), 3)):
        claims.append(known.paid(words, amount, payer, salt))
        records.append(AuditedWork(epoch, NODE.address, payer.address, amount * 9_750 // 10_000))
    known.claim(*claims)
    due = tally(records, epoch, CreditRule(UNIT, CAP))[NODE.address]
    assert known.of(epoch) == [due.credit, 0, 0]
    known.settle(claims[0][0], 1_222)
    known.claim(*claims[:2])
    assert known.of(epoch)[0] > due.credit


def test_a_channel_that_does_not_pay_the_pool_gives_nothing(known: EvidenceWorld) -> None:
    """One ten-thousandth less than its share is none."""
    words = known.words((NODE.address, 9_751), pool=249)
    assert known.refusal(known.paid(words, 5_000)) == ("PoolShort", (249, SHARE))
    words = [word(NODE.address, 10_000)]
    assert known.refusal(known.paid(words, 5_000)) == ("PoolShort", (0, SHARE))
    split = [word(known.scores.address, 125), word(NODE.address, 9_750), word(known.scores.address, 125)]
    known.claim(known.paid(split, 1_000))


def test_a_score_that_one_buys_oneself_costs_the_pools_share(known: EvidenceWorld) -> None:
    """The rest comes back; that share never does."""
    words = known.words((NODE.address, 9_750))
    known.claim(known.paid(words, 4 * UNIT, payer=OTHER))
    epoch, before = known.epoch, known.world.balance(known.scores.address)
    known.world.pass_time(2 * MATURITY)
    known.world.send(STRANGER, known.world.channels, "collect", words, 1)
    assert known.world.balance(known.scores.address) - before == 4 * UNIT * SHARE // 10_000
    assert 0 < known.of(epoch)[0] <= CAP
    assert known.refusal(known.paid(words, 5_000, payer=NODE)) == ("PaysItself", (NODE.address,))


def test_words_that_are_not_the_channels_are_refused(known: EvidenceWorld) -> None:
    """Others, of another sum, or without the node."""
    words = known.words((NODE.address, 9_750))
    key, _ = known.paid(words, 1_000)
    wrong = known.words((NODE.address, 9_749), (OTHER.address, 1))
    assert known.refusal((key, wrong)) == ("PayeesWrong", (key.payees, keccak256(b"".join(wrong))))
    assert known.refusal((key, words), node=OTHER) == ("NotPayee", (OTHER.address,))
    heavy = known.words((NODE.address, 97_500), pool=2_500)
    assert known.refusal(known.paid(heavy, 1_000)) == ("PayeesInvalid", (100_000,))


def test_only_the_node_says_when_it_claims(known: EvidenceWorld) -> None:
    """A stranger could waste what is past the cap. Its present key may; nobody else's."""
    words = known.words((NODE.address, 9_750))
    claim = known.paid(words, 1_000)
    for who in (STRANGER, OTHER, hot(OTHER.address)):
        if who is not OTHER and who is not STRANGER:
            known.world.chain.transfer_native(STRANGER, who.address, 10**18)
        assert known.refusal(claim, who=who) == ("NotNode", (who.address,))
    signer = hot(NODE.address)
    known.world.chain.transfer_native(STRANGER, signer.address, 10**18)
    known.claim(claim, who=signer)
    assert known.world.refusal(STRANGER, known.evidence, "claim", STRANGER.address, []) == (
        "NothingToClaim",
        (STRANGER.address,),
    )


def test_credit_stops_at_the_end_of_its_bits(known: EvidenceWorld) -> None:
    """Where the cap allows as much; nobody who earns a lot starts again from nothing."""
    generous = deploy_evidence(known.world, cap=MAX_MASS)
    words, epoch = generous.words((NODE.address, 9_750)), generous.epoch
    for payer in (PAYER, dev(4)):
        generous.claim(generous.paid(words, 2**17 * UNIT, payer=payer))
    assert generous.of(epoch)[0] == MAX_MASS


def test_what_is_known_of_an_epoch_is_final_when_it_is_over(known: EvidenceWorld) -> None:
    """Sixteen epochs are kept; a claim of the seventeenth takes the place of the first."""
    words, epoch = known.words((NODE.address, 9_750)), known.epoch
    key, _ = claim = known.paid(words, 1_000)
    known.claim(claim)
    due = known.of(epoch)
    for later in (1, 15):
        known.to_epoch(epoch + later)
        known.settle(key, 1_000 + 100 * later)
        known.claim(claim)
        assert known.of(epoch) == due
        assert 0 < known.of(epoch + later)[0] != due[0]
    known.to_epoch(epoch + 16)
    assert known.of(epoch) == due
    known.settle(key, 3_000)
    known.claim(claim)
    assert known.of(epoch) == [0, 0, 0]


def test_faults_are_counted_by_epochs(known: EvidenceWorld) -> None:
    """Each conviction once; those of eleven epochs before the last one are remembered, older ones are not."""
    epoch = known.epoch
    for route, times in ((A, 2), (B, 1)):
        for _ in range(times):
            known.convict(route)
    assert (known.of(epoch), known.of(epoch, OTHER), known.of(epoch + 1)) == ([0, 2, 0], [0, 0, 0], [0, 0, 0])
    known.to_epoch(epoch + 2)
    (event,) = known.convict(keccak256(b"c")).logs
    assert event.args["epoch"] == epoch + 2
    known.to_epoch(epoch + 11)
    known.convict(keccak256(b"d"))
    assert [known.of(epoch + age)[1] for age in (0, 1, 2, 3, 11, 12)] == [2, 0, 1, 0, 1, 0]
    known.to_epoch(epoch + 12)
    known.convict(keccak256(b"e"))
    assert [known.of(epoch + age)[1] for age in (0, 1, 2, 11, 12)] == [0, 0, 1, 1, 1]
    known.to_epoch(epoch + 40)
    known.convict(keccak256(b"f"))
    assert [known.of(epoch + age)[1] for age in (2, 11, 12, 28, 29, 40)] == [0, 0, 0, 0, 0, 1]


def test_who_was_convicted_on_a_route_gets_nothing_from_its_channel_any_more(known: EvidenceWorld) -> None:
    """Anybody may say so; the other payees of the channel are as they were."""
    words = known.words((NODE.address, 5_000), (OTHER.address, 4_750))
    key, _ = claim = known.paid(words, 1_000)
    channel = key.id(known.world.domain(known.world.channels))
    route = Route(A, channel, 0, bytes(32), (RouteStage(NODE.address, 0, 4, 5),), A, A, A, A, 16, A, 2**32)
    digest = route.digest(known.world.domain(known.world.court))
    terms = (
        A, channel, 0, bytes(32), [stage.struct_hash() for stage in route.stages], A, A, A, A, 16, A, 2**32,
    )  # fmt: skip

    def bar(node: Signer) -> Any:
        return known.world.send(STRANGER, known.evidence, "bar", terms, node.address)

    asked = known.world.refusal(STRANGER, known.evidence, "bar", terms, NODE.address)
    assert asked == ("NotConvicted", (digest, NODE.address))
    known.convict(digest)
    assert only_event(bar(NODE)) == ("Barred", {"channel": channel, "node": NODE.address})
    asked = known.world.refusal(STRANGER, known.evidence, "bar", terms, NODE.address)
    assert asked == ("BarredBefore", (channel, NODE.address))
    assert known.refusal(claim) == ("NothingToClaim", (NODE.address,))
    known.claim(claim, node=OTHER)


def test_it_tells_what_it_was_built_of(known: EvidenceWorld) -> None:
    """For whoever checks a deployment."""
    world = known.world
    assert world.view(known.evidence, "rule") == [UNIT, CAP]
    suite = [world.court.address, world.channels.address, known.scores.address, SHARE]
    assert world.view(known.evidence, "suite") == suite
    calendars = [tuple(world.view(each, "calendar")) for each in (known.evidence, known.scores, world.court)]
    assert len(set(calendars)) == 1
    assert calendars[0][1] == EPOCH


def _refused(known: EvidenceWorld, name: str, *arguments: Any) -> tuple[str, tuple[Any, ...]]:
    with pytest.raises(Reverted) as caught:
        known.world.chain.deploy(dev(0), shipped(name), *arguments)
    return caught.value.name, tuple(caught.value.arguments)


def test_an_evidence_for_another_suite_is_not_built(known: EvidenceWorld) -> None:
    """Each contract has to know the others, and to count as they do."""
    court, channels, scores = known.world.court.address, known.world.channels.address, known.scores.address

    def foreign(address: str) -> tuple[str, tuple[str]]:
        return "SuiteForeign", (address.lower(),)

    assert _refused(known, "Evidence", court, channels, scores, UNIT, CAP) == foreign(scores)  # it has its evidence
    other = deploy_evidence(known.world)
    assert _refused(known, "Evidence", other.world.court.address, channels, scores, UNIT, CAP) == foreign(scores)
    genesis, _ = known.world.view(known.scores, "calendar")
    for calendar in ((genesis, 1), (genesis - 1, EPOCH)):
        liar = saying(known.world.chain, *calendar)
        assert _refused(known, "Evidence", court, channels, liar, UNIT, CAP) == foreign(liar)
    refused = _refused(known, "Evidence", saying(known.world.chain, genesis, 0), channels, scores, UNIT, CAP)
    assert refused == ("EpochInvalid", (0,))
    refused = _refused(known, "Evidence", saying(known.world.chain, 2**39, 5), channels, scores, UNIT, CAP)
    assert refused == ("GenesisAhead", (2**39,))


@pytest.mark.parametrize(("unit", "cap"), [(0, CAP), (UNIT, 0)])
def test_a_rule_that_gives_nothing_or_everything_is_not_built(known: EvidenceWorld, unit: int, cap: int) -> None:
    """Neither a unit for nothing nor a cap of nothing; nor channels that are no contract, nor a court of other scores."""
    world, chain = known.world, known.world.chain
    (evidence_at,) = next_addresses(chain, 1, after=1)
    genesis = world.view(known.scores, "calendar")[0]
    terms = CLOCKS.words, genesis, CAPACITY, 1, 0
    arguments = world.stakes.address, world.court.address, evidence_at, *terms
    scores = chain.deploy(dev(0), shipped("Reliability"), *arguments).contract
    refused = _refused(known, "Evidence", world.court.address, world.channels.address, scores.address, unit, cap)
    assert refused == ("SuiteForeign", (world.court.address.lower(),))
    assert _unfinished(known, channels=STRANGER.address) == ("SuiteForeign", (STRANGER.address.lower(),))
    assert _unfinished(known, unit=unit, cap=cap) == ("CreditInvalid", (unit, cap))


def test_an_evidence_for_channels_with_another_audit_pool_is_not_built(known: EvidenceWorld) -> None:
    """Those of another suite: their routes would need the signature of a contract to be released."""
    channels = known.world.channels
    assert known.world.view(channels, "poolAccount") == known.scores.address
    assert _unfinished(known, channels=channels.address) == ("SuiteForeign", (channels.address.lower(),))


@pytest.mark.parametrize(("earlier", "longer"), [(1, 0), (0, 1)])
def test_an_evidence_for_scores_that_count_other_epochs_is_not_built(
    known: EvidenceWorld, earlier: int, longer: int
) -> None:
    """Although they know it as theirs: another first second, another length; it is they who are named, not the court."""
    world, chain = known.world, known.world.chain
    (evidence_at,) = next_addresses(chain, 1, after=1)
    genesis, length = world.view(known.scores, "calendar")
    clocks = replace(CLOCKS, epoch=length + longer).words
    arguments = world.stakes.address, world.court.address, evidence_at, clocks, genesis - earlier, CAPACITY, 1, 0
    scores = chain.deploy(dev(0), shipped("Reliability"), *arguments).contract
    refused = _refused(known, "Evidence", world.court.address, world.channels.address, scores.address, UNIT, CAP)
    assert refused == ("SuiteForeign", (scores.address.lower(),))


def _unfinished(known: EvidenceWorld, **changes: Any) -> tuple[str, tuple[Any, ...]]:
    """A suite whose last contract is refused."""
    world, chain = known.world, known.world.chain
    court_at, scores_at, evidence_at = next_addresses(chain, 3, after=2)
    terms = CLOSE_DELAY, MATURITY, world.verdicts.address, scores_at
    channels = chain.deploy(dev(0), shipped("Channels"), world.token.address, *terms).contract
    arguments = world.token.address, court_at, MIN_STAKE, UNBONDING, MAX_FEE
    stakes = chain.deploy(dev(0), shipped("Stakes"), *arguments).contract
    genesis = chain.head().timestamp
    arbiters = DISPUTES.address, DISPUTES.address, scores_at, DISPUTES.address
    chain.deploy(dev(0), shipped("Court"), stakes.address, arbiters, (genesis, EPOCH))
    rules = CLOCKS.words, genesis, CAPACITY, 1, 0
    chain.deploy(dev(0), shipped("Reliability"), stakes.address, court_at, evidence_at, *rules)
    right = {"channels": channels.address, "unit": UNIT, "cap": CAP} | changes
    return _refused(known, "Evidence", court_at, right["channels"], scores_at, right["unit"], right["cap"])


@pytest.mark.parametrize(
    ("calendar", "refusal"),
    [
        ((1, 0), ("EpochInvalid", (0,))),
        ((1, 2**20), ("EpochInvalid", (2**20,))),
        ((2**39, 2**20 - 1), ("GenesisAhead", (2**39,))),
    ],
)
def test_a_court_whose_epochs_cannot_be_counted_is_not_built(
    known: EvidenceWorld, calendar: tuple[int, int], refusal: tuple[str, Any]
) -> None:
    """The longest epoch is 2^20 - 1 seconds; the first has begun."""
    arguments = known.world.stakes.address, (ZERO,) * ARBITERS, calendar
    assert _refused(known, "Court", *arguments) == refusal


def test_the_keys_of_channels_are_only_the_payers(known: EvidenceWorld) -> None:
    """What is settled is read from Channels: no claim can say it."""
    words = known.words((NODE.address, 9_750))
    key = known.world.channel(PAYER, KEY, words, 1_000)
    assert known.refusal((key, words)) == ("NothingToClaim", (NODE.address,))
    assert known.refusal((replace(key, salt=A), words)) == ("NothingToClaim", (NODE.address,))
