"""The allocator keeps its promise against every choice there is, and its objective is what the promise needs."""

import random
from fractions import Fraction
from itertools import combinations

import pytest

from incentives.allocation import MAX_UNEVEN_OFFERS, Allocation, Job, Offer, allocate, batch_value
from incentives.errors import AllocationError

PROMISE = Fraction(632_120_558_828_557_679, 10**18)
"""1 - 1/e, rounded up."""
INSTANCES = 500


def instance(seed: int) -> tuple[list[Job], list[Offer], int]:
    """Up to five jobs and nine offers; prices alike, a little or wildly uneven; a budget for some of them.

    Every other offer is dear and does much, so that a small one with the better rate is often in the way.
    """
    dice = random.Random(seed)
    jobs = [Job(dice.randint(0, 20), dice.randint(0, 120)) for _ in range(dice.randint(1, 5))]
    highest = dice.choice((1, 5, 100))
    offers = []
    for at in range(dice.randint(2, 9)):
        size = highest if at % 2 else dice.randint(highest > 1, max(1, highest // 10))
        share = dice.randint(1, 2 + 40 * size // highest)
        offers.append(Offer(size, tuple(dice.choice((0, dice.randint(0, share))) for _ in jobs)))
    return jobs, offers, dice.randint(highest, max(highest, sum(offer.cost for offer in offers) // 2))


def greedy_alone(jobs: list[Job], offers: list[Offer], budget: int) -> int:
    """What always the most gain for its price is worth, without trying any beginnings."""
    chosen: list[Offer] = []
    left = [offer for offer in offers if offer.cost]
    while left:
        value = batch_value(jobs, chosen)
        best = max(left, key=lambda offer: Fraction(batch_value(jobs, [*chosen, offer]) - value, offer.cost))
        left.remove(best)
        if sum(offer.cost for offer in chosen) + best.cost <= budget:
            chosen.append(best)
    return batch_value(jobs, chosen)


def optimum(jobs: list[Job], offers: list[Offer], budget: int) -> int:
    """The best value of any set of offers within the budget."""
    sets = (chosen for size in range(len(offers) + 1) for chosen in combinations(offers, size))
    return max(batch_value(jobs, chosen) for chosen in sets if sum(offer.cost for offer in chosen) <= budget)


def test_the_bound_holds_on_every_instance() -> None:
    """500 of 500 reach 1 - 1/e of the best choice by brute force, within the budget, where the simple rule does not."""
    kept, hard, spoilt = 0, 0, 0
    for seed in range(INSTANCES):
        jobs, offers, budget = instance(seed)
        found, best = allocate(jobs, offers, budget), optimum(jobs, offers, budget)
        chosen = [offers[index] for index in found.chosen]
        assert found == Allocation(found.chosen, batch_value(jobs, chosen), sum(offer.cost for offer in chosen))
        assert found.cost <= budget
        kept += found.value >= PROMISE * best
        hard += 0 < best < batch_value(jobs, offers)
        spoilt += greedy_alone(jobs, offers, budget) < PROMISE * best
    assert kept == INSTANCES
    assert hard > INSTANCES // 2, "too few instances in which not everything can be had"
    assert spoilt > 10, "a simpler rule would pass as well"


def test_one_great_offer_beats_a_small_one_with_the_better_rate() -> None:
    """The classical failure of greedy under a budget: it would get 2 of 100."""
    assert allocate([Job(1, 1_000)], [Offer(1, (2,)), Offer(100, (100,))], 100) == Allocation((1,), 100, 100)


def test_an_offer_adds_the_less_the_more_there_are_and_never_takes_away() -> None:
    """Monotone and submodular, on random chains of sets: without it the bound would promise nothing."""
    for seed in range(100):
        jobs, offers, _ = instance(seed)
        dice = random.Random(seed)
        dice.shuffle(offers)
        for small in range(len(offers)):
            for large in range(small, len(offers)):
                few, many, extra = offers[:small], offers[:large], offers[-1:]
                gain_of_few = batch_value(jobs, few + extra) - batch_value(jobs, few)
                gain_of_many = batch_value(jobs, many + extra) - batch_value(jobs, many)
                assert gain_of_few >= gain_of_many >= 0


def test_a_job_is_worth_nothing_past_its_need() -> None:
    """At its need it is full, one unit more adds nothing."""
    job = Job(7, 10)
    assert [batch_value([job], [Offer(1, (units,))]) for units in (9, 10, 11)] == [63, 70, 70]
    assert batch_value([job], [Offer(1, (6,)), Offer(1, (6,))]) == 70


def test_the_budget_is_kept_to_the_unit() -> None:
    """All of it may be spent, not one more."""
    offer = Offer(10, (5,))
    assert allocate([Job(1, 5)], [offer], 10).chosen == (0,)
    assert allocate([Job(1, 5)], [offer], 9) == Allocation((), 0, 0)


def test_free_offers_are_taken_where_they_help_and_useless_ones_never() -> None:
    """Nobody pays for what adds nothing, and nothing that is free is left behind."""
    jobs = [Job(1, 10), Job(5, 4)]
    offers = [Offer(0, (4, 0)), Offer(3, (10, 0)), Offer(2, (0, 0)), Offer(1, (0, 4)), Offer(0, (0, 0))]
    found = allocate(jobs, offers, 100)
    assert found.value == 30
    assert set(found.chosen) & {2, 4} == set()
    assert allocate(jobs, offers, 0) == Allocation((0,), 4, 0)


def test_any_number_of_offers_at_one_price_is_allocated() -> None:
    """The bound is cheap then: two hundred of them, ten to be bought, each for a job of its own."""
    jobs = [Job(1 + index, 1) for index in range(200)]
    offers = [Offer(3, tuple(int(at == index) for at in range(200))) for index in range(200)]
    assert allocate(jobs, offers, 32).chosen == tuple(range(190, 200))


def test_more_offers_at_several_prices_than_can_be_tried_are_refused() -> None:
    """At the limit it answers, one past it it says what to do; those beyond the budget do not count."""
    jobs = [Job(1, 1_000)]
    offers = [Offer(10 + index, (index + 1,)) for index in range(MAX_UNEVEN_OFFERS + 1)]
    assert allocate(jobs, offers[:-1], 29).cost <= 29
    assert allocate(jobs, offers, 29).cost <= 29
    with pytest.raises(AllocationError, match="21 offers at several prices"):
        allocate(jobs, offers, 30)


@pytest.mark.parametrize(
    ("jobs", "offers", "budget"),
    [
        ([Job(-1, 1)], [], 1),
        ([Job(1, -1)], [], 1),
        ([Job(1, 1)], [Offer(-1, (1,))], 1),
        ([Job(1, 1)], [Offer(1, (-1,))], 1),
        ([Job(1, 1)], [], -1),
        ([Job(1, 1)], [Offer(1, ())], 1),
        ([Job(1, 1)], [Offer(1, (1, 1))], 1),
    ],
    ids=["value", "need", "cost", "supply", "budget", "too few jobs", "too many jobs"],
)
def test_what_makes_no_sense_is_refused(jobs: list[Job], offers: list[Offer], budget: int) -> None:
    """Negative numbers and supplies of other jobs."""
    with pytest.raises(AllocationError):
        allocate(jobs, offers, budget)


def test_nothing_to_choose_from_is_an_empty_choice() -> None:
    """Neither offers nor jobs are a mistake."""
    assert allocate([], [], 0) == Allocation((), 0, 0)
    assert allocate([Job(1, 1)], [], 5) == Allocation((), 0, 0)
    assert allocate([], [Offer(1, ())], 5) == Allocation((), 0, 0)


def test_the_same_input_gives_the_same_choice() -> None:
    """Of equal offers the first ones."""
    jobs = [Job(1, 4)]
    offers = [Offer(1, (2,))] * 4
    assert allocate(jobs, offers, 10).chosen == (0, 1)
