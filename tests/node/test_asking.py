"""An automatic ask: up and down with the load, never past its limits, told when it has moved by enough, and no route cheated."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from incentives.price_hint import Utilisation
from incentives.prices import MAX_ASK
from node.admission import Admission, StageTerms
from node.asking import GRACE_SECONDS, MOVE_PERCENT, Asks, Busyness, keep_asking
from node.directory import Directory
from node.gossip_author import Author, StageLoad
from node.refusals import Refused
from sharding.span import Span
from tests.faults.virtual_time import run_virtual
from tests.node.admitted import make_route
from tests.node.gossips import IDLE
from tests.node.money_fakes import NODES, FakeChannels, fake_network
from tests.node.records import DOMAIN, key
from tests.node.test_gossip_author import SERVICE
from verification.routes import profile_id

ALL, HALF, NOTHING = Utilisation(10, 10), Utilisation(5, 10), Utilisation(0, 10)


@dataclass
class Hands:
    """A clock that a test turns, and engines that a test keeps busy."""

    at: float = 1_000.0
    busy_seconds: float = 0.0

    def __call__(self) -> float:
        return self.at


def test_it_rises_by_an_eighth_where_all_is_bought_up_to_the_ceiling() -> None:
    """And stays there: one more busy epoch changes nothing and tells nobody."""
    asks = Asks(800, 1_100)
    assert [asks.follow(ALL) for _ in range(4)] == [True, True, True, False]
    assert asks.published == 1_100
    asks = Asks(800, 900)  # the ceiling is one step away exactly
    assert (asks.follow(ALL), asks.published, asks.follow(ALL)) == (True, 900, False)
    asks = Asks(800, 899)
    assert (asks.follow(ALL), asks.published) == (True, 899)


def test_it_falls_by_an_eighth_where_nothing_is_bought_down_to_the_floor() -> None:
    """One idle epoch past the floor changes nothing."""
    asks = Asks(700, 800)
    for _ in range(3):
        asks.follow(ALL)
    assert asks.published == 800
    assert (asks.follow(NOTHING), asks.published) == (True, 700)
    assert (asks.follow(NOTHING), asks.published) == (False, 700)


def test_half_of_the_capacity_is_the_aim() -> None:
    """Nor does it move where no time has passed."""
    asks = Asks(800, 1_600)
    asks.follow(ALL)
    assert not asks.follow(HALF)
    assert not asks.follow(Utilisation(0, 0))
    assert asks.published == 900


def test_small_moves_add_up_before_they_are_told() -> None:
    """At so many per cent and not a step before."""
    asks = Asks(10_000, 100_000)
    steps = [asks.follow(Utilisation(60, 100)) for _ in range(4)]  # 2.5 % each
    assert steps == [False, True, False, True]
    assert MOVE_PERCENT == 5
    assert asks.published == 11_037


def test_what_was_asked_a_moment_ago_is_served_and_not_longer() -> None:
    """A rise gives clients time; a fall holds at once."""
    hands = Hands()
    asks = Asks(800, 10_000, hands)
    asks.follow(ALL)
    hands.at += 10
    asks.follow(ALL)
    assert (asks.published, asks.accepted) == (1_012, 800)
    hands.at += GRACE_SECONDS - 10.001
    assert asks.accepted == 800
    hands.at += 0.001
    assert asks.accepted == 900
    hands.at += 10
    assert asks.accepted == 1_012
    asks.follow(NOTHING)
    assert asks.accepted == asks.published == 886


@pytest.mark.parametrize(
    ("floor", "ceiling", "first"), [(1, 5, 5), (1, 100, 8), (7, 7, 7), (MAX_ASK, MAX_ASK, MAX_ASK)]
)
def test_limits_are_kept_where_the_rule_has_others(floor: int, ceiling: int, first: int) -> None:
    """The rule's own least price, and the largest ask of all."""
    asks = Asks(floor, ceiling)
    assert asks.published == first
    asks.follow(ALL)
    assert floor <= asks.published <= ceiling


def test_busyness_is_the_computing_share_of_the_time_since_the_last_look() -> None:
    """Never more than all of it, and nothing where an engine has gone with its time."""
    hands = Hands()
    busyness = Busyness(hands, hands)
    hands.at, hands.busy_seconds = hands.at + 10, 4.0
    assert busyness.since_last() == Utilisation(4_000_000, 10_000_000)
    hands.at, hands.busy_seconds = hands.at + 1, 6.5
    assert busyness.since_last() == Utilisation(1_000_000, 1_000_000)
    hands.at, hands.busy_seconds = hands.at + 1, 1.0
    assert busyness.since_last() == Utilisation(0, 1_000_000)
    assert busyness.since_last() == Utilisation(0, 0)


def test_a_busy_node_tells_a_new_ask_once_in_an_epoch_and_at_once_in_a_record() -> None:
    """The record is due when the ask has moved, whenever the last one was written."""

    async def main() -> None:
        loop, asks = asyncio.get_running_loop(), Asks(800, 10_000)
        engines, told = Working(loop), list[int]()
        author = Author(SERVICE, key(1), DOMAIN, idle)
        author.ask(asks.published)
        first = (await author.write(None)).record  # type: ignore[union-attr]
        assert await author.write(first) is None

        def tell(ask: int) -> None:
            told.append(ask)
            author.ask(ask)

        asking = asyncio.create_task(keep_asking(asks, engines, 60.0, tell))
        await asyncio.sleep(59.0)
        assert told == []
        await asyncio.sleep(62.0)
        assert told == [900, 1_012]
        signed = await author.write(first)
        assert signed is not None
        assert {each.ask for each in signed.record.spans} == {1_012}
        asking.cancel()

    run_virtual(main())


class Working:
    """Engines that never rest, by the loop's clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    @property
    def busy_seconds(self) -> float:
        """All the time there is."""
        return self._loop.time()


async def idle() -> StageLoad:
    """A stage without work."""
    return IDLE


def admission(asks: Asks | None) -> Callable[[int], None]:
    """The door of the first of three stages, where a route that pays so much comes in. Raises: Refused."""
    terms = StageTerms(NODES[0].address, 3, bytes(32), "exact-1", 10_000, 64, 100, asks)
    door = Admission(
        terms, fake_network(FakeChannels()), Directory(fake_network(FakeChannels())), lambda: (Span(0, 1),)
    )

    def comes(pays: int) -> None:
        route = make_route()
        first = replace(route.stages[0], ask=pays)
        profile = profile_id("exact-1")
        door._check_terms(replace(route, stages=(first, *route.stages[1:]), profile=profile), 0)

    return comes


def test_the_door_takes_what_was_asked_a_moment_ago_and_no_less() -> None:
    """At it, and one below; where the ask is fixed, that."""
    hands = Hands()
    asks = Asks(800, 10_000, hands)
    comes = admission(asks)
    asks.follow(ALL)
    for _ in range(2):
        comes(asks.accepted)
        with pytest.raises(Refused, match=f"this node asks {asks.accepted}"):
            comes(asks.accepted - 1)
        hands.at += GRACE_SECONDS
    assert asks.accepted == 900
    fixed = admission(None)
    fixed(10_000)
    with pytest.raises(Refused, match="this node asks 10000"):
        fixed(9_999)
