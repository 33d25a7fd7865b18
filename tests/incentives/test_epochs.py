"""The epoch builder: the same records make the same table, and nobody buys himself a score."""

import random
from dataclasses import replace

import pytest

from incentives.epochs import (
    MAINNET_CLOCKS,
    MAX_FAULTS_COUNTED,
    TESTNET_CLOCKS,
    AuditedWork,
    Clocks,
    CreditRule,
    Evidence,
    Measured,
    ProvenFault,
    Record,
    build,
    epochs_added,
    quality,
    tally,
)
from incentives.errors import ScoreTableError
from incentives.scores import MAX_MASS, ONE, Masses, kept
from verification.addresses import Address, to_address

CLOCKS = TESTNET_CLOCKS
RULE = CreditRule(fee_unit=1_000)


def _address(number: int) -> Address:
    return to_address(number.to_bytes(20, "big"))


NODE, OTHER, PAYER, SECOND_PAYER = (_address(n) for n in range(1, 5))


def test_credit_follows_the_fees_of_audited_work() -> None:
    """A unit for each fee unit, over all work of a pair and all payers of a node."""
    records = [
        AuditedWork(5, NODE, PAYER, 600),
        AuditedWork(5, NODE, PAYER, 900),
        AuditedWork(5, NODE, SECOND_PAYER, 250),
        AuditedWork(5, OTHER, PAYER, 1_000),
    ]
    assert tally(records, 5, RULE) == {
        NODE: Evidence(ONE * 3 // 2 + ONE // 4),
        OTHER: Evidence(ONE),
    }


def test_one_payer_gives_one_node_no_more_than_the_cap() -> None:
    """In one payment or in thousands; another payer starts anew."""
    for fees in ([4_000], [4_001], [10**30], [1] * 4_001):
        records = [AuditedWork(1, NODE, PAYER, fee) for fee in fees]
        assert tally(records, 1, RULE)[NODE].credit == RULE.cap
    below = [AuditedWork(1, NODE, PAYER, 3_999)]
    assert tally(below, 1, RULE)[NODE].credit < RULE.cap
    both = [AuditedWork(1, NODE, payer, 10**30) for payer in (PAYER, SECOND_PAYER)]
    assert tally(both, 1, RULE)[NODE].credit == 2 * RULE.cap


def test_who_pays_himself_earns_no_score() -> None:
    """Not a unit, whatever he pays; with a second name no more than that name's cap in each epoch."""
    assert tally([AuditedWork(1, NODE, NODE, 10**30)], 1, RULE)[NODE].credit == 0
    masses = Masses()
    factor = kept(CLOCKS.epoch, CLOCKS.half_life)
    for _ in range(14 * 20):
        masses = masses.decayed(factor).updated(RULE.cap, 0)
    assert masses.a < 21 * RULE.cap  # the sum of all halves: 1 / (1 - 2^(-1/14)) epochs' worth, for ever
    assert masses.published < 9_000


def test_evidence_counts_in_its_own_epoch() -> None:
    """Not before, not after, not twice."""
    records: list[Record] = [AuditedWork(2, NODE, PAYER, 1_000), ProvenFault(3, NODE), Measured(4, NODE, OTHER, 7, 1)]
    found = [tally(records, epoch, RULE).get(NODE, Evidence()) for epoch in (1, 2, 3, 4, 5)]
    assert found == [Evidence(), Evidence(ONE), Evidence(faults=1), Evidence(qos=7), Evidence()]


def test_the_order_of_the_records_does_not_matter() -> None:
    """Nor does who wrote them down: a table is a function of the chain's events."""
    dice = random.Random(3)
    records: list[Record] = []
    for _ in range(200):
        node, payer = _address(dice.randrange(1, 9)), _address(dice.randrange(1, 30))
        records += [AuditedWork(1, node, payer, dice.randrange(3_000)), ProvenFault(1, node)][: dice.randrange(1, 3)]
    stakes = {_address(n): n for n in range(1, 9)}
    roots = set()
    for _ in range(5):
        dice.shuffle(records)
        roots.add(build(stakes, None, [tally(records, 1, RULE)], 60, CLOCKS).root)
    assert len(roots) == 1


def test_sums_stop_where_the_contract_stops() -> None:
    """Credit at 32 bits, faults at 16."""
    rule = CreditRule(1, MAX_MASS)
    works = [AuditedWork(1, NODE, _address(n), 10**9) for n in range(10, 13)]
    faults = [ProvenFault(1, OTHER)] * (MAX_FAULTS_COUNTED + 1)
    found = tally([*works, *faults], 1, rule)
    assert (found[NODE].credit, found[OTHER].faults) == (MAX_MASS, MAX_FAULTS_COUNTED)


def _figure(reporter: int, qos: int, stake: int) -> Measured:
    return Measured(1, NODE, _address(reporter), qos, stake)


@pytest.mark.parametrize(("figures", "expected"), [
    ([], 0),
    ([(10, 8_000, 5)], 8_000),
    ([(10, 8_000, 5), (11, 4_000, 5)], 8_000),
    ([(10, 8_000, 4), (11, 4_000, 5)], 4_000),
    ([(10, 10_000, 49), (11, 5_000, 30), (12, 4_900, 21)], 5_000),
    ([(10, 10_001, 99), (11, 5_000, 1)], 5_000),
    ([(1, 10_000, 99), (11, 5_000, 1)], 5_000),
    ([(10, 10_000, 0), (11, 5_000, 1)], 5_000),
    ([(10, 0, 99), (11, 5_000, 1)], 5_000),
])  # fmt: skip
def test_quality_is_what_half_of_the_stake_supports(figures: list[tuple[int, int, int]], expected: int) -> None:
    """A loud minority moves nothing; figures beyond the scale, of oneself or without stake do not count."""
    assert quality([_figure(*each) for each in figures]) == expected


def test_a_reporter_counts_once() -> None:
    """With the newest figure."""
    records: list[Record] = [_figure(10, 9_000, 5), _figure(10, 9_000, 5), _figure(11, 100, 6), _figure(10, 8_000, 5)]
    assert tally(records, 1, RULE)[NODE].qos == 100


def test_a_table_is_the_one_before_faded_plus_what_was_added() -> None:
    """Stake is new each time, quality stays until it is measured again, who has left is gone."""
    factor = kept(CLOCKS.epoch, CLOCKS.half_life)
    first = build({NODE: 10, OTHER: 20}, None, [{NODE: Evidence(8 * ONE, 0, 900)}], 60, CLOCKS)
    second = build({NODE: 15, PAYER: 1, OTHER: 0}, first, [{PAYER: Evidence(ONE)}], 120, CLOCKS)
    leaves = {leaf.node: leaf for leaf in second.leaves}
    assert set(leaves) == {NODE, PAYER}
    assert leaves[NODE].masses == Masses(8 * ONE).decayed(factor)
    assert (leaves[NODE].width, leaves[NODE].qos, leaves[NODE].as_of) == (15, 900, 120)
    assert leaves[PAYER].masses == Masses(ONE)


def test_a_skipped_root_changes_no_score() -> None:
    """Two epochs in two tables or in one: the leaves are the same."""
    evidence = [{NODE: Evidence(3 * ONE, 1)}, {NODE: Evidence(ONE), OTHER: Evidence(faults=2)}]
    stakes = {NODE: 1, OTHER: 2}
    between = build(stakes, None, evidence[:1], 60, CLOCKS)
    assert build(stakes, None, evidence, 120, CLOCKS).root == build(stakes, between, evidence[1:], 120, CLOCKS).root


@pytest.mark.parametrize(("base", "epoch", "expected"), [
    (0, 1, [1]), (0, 8, [*range(1, 9)]), (0, 9, [*range(2, 10)]), (4, 5, [5]), (4, 12, [*range(5, 13)]), (4, 13, [*range(6, 14)]),
])  # fmt: skip
def test_a_table_looks_back_to_its_base_or_over_the_ring(base: int, epoch: int, expected: list[int]) -> None:
    """Eight epochs at most."""
    assert list(epochs_added(base, epoch)) == expected


@pytest.mark.parametrize(("base", "epoch"), [(4, 4), (5, 4), (0, 0), (-1, 3)])
def test_only_an_earlier_table_is_continued(base: int, epoch: int) -> None:
    """Not its own, nor a later one's."""
    with pytest.raises(ScoreTableError, match="cannot continue"):
        epochs_added(base, epoch)


def test_what_lapses_has_faded() -> None:
    """As if there had been tables without evidence, up to what these would have rounded away."""
    before = build({NODE: 1}, None, [{NODE: Evidence(80 * ONE, 1)}], 60, CLOCKS)
    once = build({NODE: 1}, before, [{}], 360, CLOCKS, lapsed=4).leaves[0].masses
    for end in (120, 180, 240, 300, 360):
        before = build({NODE: 1}, before, [{}], end, CLOCKS)
    assert 0 <= once.a - before.leaves[0].masses.a <= 5
    assert 0 <= once.b - before.leaves[0].masses.b <= 5


@pytest.mark.parametrize("clocks", [MAINNET_CLOCKS, TESTNET_CLOCKS])
def test_the_profiles_fit_into_their_epochs(clocks: Clocks) -> None:
    """As the contract's constructor demands; half-lives are fourteen epochs."""
    assert 0 < clocks.exclusive < clocks.posting
    assert clocks.path <= clocks.epoch < 2**20
    assert clocks.half_life == 14 * clocks.epoch
    assert replace(clocks, response=clocks.response + clocks.epoch).path > clocks.epoch
