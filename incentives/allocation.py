"""Which offers a batch of jobs buys for its money: as much value as a simple rule can promise.

A job is worth `value` for each unit of work up to its `need`, and nothing beyond. An offer, say a route's free hours, does so
many units of each job for one price. Of the offers S bought, the batch is worth

    f(S) = sum over jobs j of  value_j x min(need_j, sum over o in S of supply_oj)

f never falls when an offer is added, and an offer adds the less the more there are: f is monotone and submodular. The cost of S
must stay within the budget. Nothing better than 1 - 1/e of the optimum (63.2 %) can be had in polynomial time (U. Feige, 1998),
and this much is reached:

- all offers at one price: the budget is a number of offers, and taking whatever adds most, again and again, is enough
  (G. Nemhauser, L. Wolsey, M. Fisher, "An analysis of approximations for maximizing submodular set functions I", 1978);
- any prices: that rule alone, or with gain per price, can be arbitrarily bad. Every set of three offers is tried as a beginning
  and completed by gain per price; the best of them, or of the sets of one and two, is taken (M. Sviridenko, "A note on
  maximizing a submodular set function subject to a knapsack constraint", 2004).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

from incentives.errors import AllocationError

SEED = 3
"""Offers in a beginning that is completed: Sviridenko's proof wants three."""
MAX_UNEVEN_OFFERS = 20
"""1,140 beginnings, a second or so. Offers at one price may be as many as there are."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work that is wanted: `value` for each of `need` units."""

    value: int
    need: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What can be bought at once for `cost`: `supply` units of each job, in the jobs' order."""

    cost: int
    supply: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Allocation:
    """Indexes of the offers to buy, in rising order, what they are worth to the batch, and what they cost."""

    chosen: tuple[int, ...]
    value: int
    cost: int


def allocate(jobs: Sequence[Job], offers: Sequence[Offer], budget: int) -> Allocation:
    """Choose offers within the budget, worth at least 1 - 1/e of the best choice. The same input gives the same choice.

    Raises: AllocationError for negative numbers, supplies that do not fit the jobs, or over 20 offers at several prices.
    """
    _check(jobs, offers, budget)
    free = tuple(index for index, offer in enumerate(offers) if offer.cost == 0)  # they can only help
    priced = [index for index, offer in enumerate(offers) if 0 < offer.cost <= budget]
    if len({offers[index].cost for index in priced}) <= 1:
        return _pruned(jobs, offers, _completed(jobs, offers, budget, free, priced))
    if len(priced) > MAX_UNEVEN_OFFERS:
        raise AllocationError(
            f"{len(priced)} offers at several prices; with more than {MAX_UNEVEN_OFFERS} the bound takes too long: "
            "leave the dearest out, or ask for offers at one price"
        )
    best = _allocation(jobs, offers, free)
    for seed in _seeds(priced):
        if _cost(offers, seed) <= budget:
            rest = [index for index in priced if index not in seed] if len(seed) == SEED else []
            found = _completed(jobs, offers, budget, (*free, *seed), rest)
            best = found if found.value > best.value else best
    return _pruned(jobs, offers, best)


def batch_value(jobs: Sequence[Job], offers: Iterable[Offer]) -> int:
    """Return f of these offers: what they are worth to the jobs together."""
    bought = list(offers)
    return sum(job.value * min(job.need, sum(offer.supply[at] for offer in bought)) for at, job in enumerate(jobs))


def _check(jobs: Sequence[Job], offers: Sequence[Offer], budget: int) -> None:
    numbers = [budget, *(n for job in jobs for n in (job.value, job.need))]
    numbers += [n for offer in offers for n in (offer.cost, *offer.supply)]
    if min(numbers) < 0:
        raise AllocationError("a value, a need, a supply, a cost and a budget are at least 0")
    if any(len(offer.supply) != len(jobs) for offer in offers):
        raise AllocationError(f"each offer says how much it does of each of the {len(jobs)} jobs")


def _seeds(indexes: Sequence[int]) -> Iterable[tuple[int, ...]]:
    for size in range(1, SEED + 1):
        yield from combinations(indexes, size)


def _cost(offers: Sequence[Offer], chosen: Iterable[int]) -> int:
    return sum(offers[index].cost for index in chosen)


def _completed(
    jobs: Sequence[Job], offers: Sequence[Offer], budget: int, begun: Sequence[int], candidates: Sequence[int]
) -> Allocation:
    """Add candidates to what is begun, each time the one with the most gain for its price; what no longer fits is left out."""
    chosen, open_ones = list(begun), list(candidates)
    left = [job.need - min(job.need, sum(offers[i].supply[at] for i in chosen)) for at, job in enumerate(jobs)]
    money = budget - _cost(offers, chosen)
    while open_ones:
        best = _densest(jobs, offers, left, open_ones)
        open_ones.remove(best)
        if offers[best].cost <= money:
            chosen.append(best)
            money -= offers[best].cost
            left = [need - min(need, supply) for need, supply in zip(left, offers[best].supply, strict=True)]
    return _allocation(jobs, offers, chosen)


def _allocation(jobs: Sequence[Job], offers: Sequence[Offer], chosen: Sequence[int]) -> Allocation:
    value = batch_value(jobs, (offers[index] for index in chosen))
    return Allocation(tuple(sorted(chosen)), value, _cost(offers, chosen))


def _densest(jobs: Sequence[Job], offers: Sequence[Offer], left: Sequence[int], candidates: Sequence[int]) -> int:
    best, gain = candidates[0], _gain(jobs, left, offers[candidates[0]])
    for index in candidates[1:]:
        other = _gain(jobs, left, offers[index])
        if other * offers[best].cost > gain * offers[index].cost:  # gain per price, without dividing
            best, gain = index, other
    return best


def _gain(jobs: Sequence[Job], left: Sequence[int], offer: Offer) -> int:
    return sum(job.value * min(need, units) for job, need, units in zip(jobs, left, offer.supply, strict=True))


def _pruned(jobs: Sequence[Job], offers: Sequence[Offer], best: Allocation) -> Allocation:
    """Leave out what adds nothing to the others, the dearest first, of equal ones the last: nobody pays for it."""
    for index in sorted(best.chosen, key=lambda i: (-offers[i].cost, -i)):
        without = _allocation(jobs, offers, [each for each in best.chosen if each != index])
        best = without if without.value == best.value else best
    return best
