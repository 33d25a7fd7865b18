"""Who does a batch of jobs for how much: routes without a node in common, and those of them that the budget buys.

A route bought for a while does the jobs in the shares of what they need, as far as a token is worth its price to them. Which
routes, the allocator decides (incentives/allocation.py): what they do is worth at least 1 - 1/e of the best choice. Paces are
what nodes claim for one session at a time; who sends several at once is done earlier. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from incentives.allocation import MAX_UNEVEN_OFFERS, Job, Offer, allocate
from incentives.prices import StagePrice, route_price
from node.errors import NoRoute
from node.offers import Offer as StageOffer
from node.router import RouteWish, plan_route
from verification.addresses import Address

MAX_ROUTES = MAX_UNEVEN_OFFERS
MAX_JOBS = 64


@dataclass(frozen=True, slots=True)
class BatchJob:
    """Tokens to generate; `value`: what one is worth at most, in the token's smallest unit."""

    name: str
    tokens: int
    value: int


@dataclass(frozen=True, slots=True)
class BatchRoute:
    """Nodes that serve the whole model together, at a price and a claimed pace per token."""

    nodes: tuple[Address, ...]
    per_token: int
    tokens_per_second: float


@dataclass(frozen=True, slots=True)
class Assignment:
    """Tokens of one job on one route, and what they cost."""

    job: str
    route: BatchRoute
    tokens: int
    cost: int


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """What to run where."""

    assignments: tuple[Assignment, ...]
    left: tuple[BatchJob, ...]
    """What no route does within budget, time and worth."""

    @property
    def cost(self) -> int:
        """Of everything."""
        return sum(each.cost for each in self.assignments)


def disjoint_routes(offers: Iterable[StageOffer], num_blocks: int) -> list[BatchRoute]:
    """Up to 20 routes that share no node, the quickest first; each is the best of what the ones before it leave.

    Raises: NoRoute where there is none at all.
    """
    left, found = list(offers), list[BatchRoute]()
    while len(found) < MAX_ROUTES:
        try:
            stages = plan_route(left, RouteWish(num_blocks))
        except NoRoute:
            if not found:
                raise
            break
        nodes = tuple(dict.fromkeys(stage.node for stage in stages))
        price = route_price([StagePrice(each.node, each.span, each.ask) for each in stages], num_blocks)
        seconds = sum(_seconds(left, each.node, len(each.span)) for each in stages)
        found.append(BatchRoute(nodes, price.per_token, 1 / seconds))
        left = [each for each in left if each.stage.node not in nodes]
    return found


def _seconds(offers: Iterable[StageOffer], node: Address, blocks: int) -> float:
    """What a token takes through so many blocks of a node, the way there included."""
    own = [each for each in offers if each.stage.node == node]
    slowest = max(each.computing / len(each.stage.span) for each in own)
    return blocks * slowest + max(each.link for each in own)


def plan_batch(jobs: Sequence[BatchJob], routes: Sequence[BatchRoute], budget: int, seconds: int) -> BatchPlan:
    """Choose routes within the budget, for so many seconds, and divide the jobs between them. Raises: AllocationError."""
    wanted = [Job(each.value, each.tokens) for each in jobs]
    offers = [_offer(route, jobs, seconds) for route in routes]
    bought = allocate(wanted, offers, budget).chosen
    left = [each.tokens for each in jobs]
    assignments = []
    for index in bought:
        for place, supply in enumerate(offers[index].supply):
            tokens = min(left[place], supply)
            left[place] -= tokens
            if tokens:
                route = routes[index]
                assignments.append(Assignment(jobs[place].name, route, tokens, tokens * route.per_token))
    rest = (BatchJob(job.name, tokens, job.value) for job, tokens in zip(jobs, left, strict=True) if tokens)
    return BatchPlan(tuple(assignments), tuple(rest))


def _offer(route: BatchRoute, jobs: Sequence[BatchJob], seconds: int) -> Offer:
    """A route's time, shared by the jobs to which its tokens are worth their price; never more than they need."""
    needs = [each.tokens if each.value >= route.per_token else 0 for each in jobs]
    whole, room = sum(needs), int(route.tokens_per_second * seconds)
    supply = tuple(need if whole <= room else room * need // whole for need in needs)
    return Offer(sum(supply) * route.per_token, supply)
