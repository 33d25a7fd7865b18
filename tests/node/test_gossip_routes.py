"""A client's routes: by records where there are any, else by the chain, and always by what it has measured itself."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from incentives.prices import with_pool
from node.client import Client
from node.client_errors import PriceTooHigh
from node.errors import NoRoute
from node.gossip import Gossip, GossipParts
from node.gossip_routes import INERTIA, Planner
from node.record_book import sign_record
from node.router import RouteWish
from node.routing_errors import NoDistinctRoute
from sharding.span import Span
from tests.faults.parts import Parts
from tests.faults.plan import Fault, FaultPlan, Kind
from tests.faults.virtual_time import EPOCH, run_virtual
from tests.faults.world import Shape, World, hot_key, running_world
from tests.node.gossips import MANIFEST, Town
from tests.node.records import DOMAIN, MINIMUM, address, key, record
from tests.node.swarm import generate, request, write_tiny_exact_model
from verification.addresses import Address
from verification.node_records import ServedSpan, ServiceRecord
from verification.routes import ZERO_HASH, Route, RouteStage, profile_id

NOW = int(EPOCH)
PROFILE = "exact-1"


@dataclass
class Bench:
    """A planner over a town of which nobody is at home: records are put into its book by hand."""

    town: Town
    gossip: Gossip
    planner: Planner

    async def tell(self, number: int, span: str = "0:4", speed: float = 10.0, ask: int = 1, **changes: Any) -> None:
        """A node's record reaches this client."""
        await self.gossip._anchor()
        blocks = Span.parse(span)
        said: dict[str, Any] = {
            "endpoint": self.town.chain[address(number)].endpoint,
            "profile": profile_id(PROFILE),
            "spans": (ServedSpan(blocks.start, blocks.end, ask, round(1000 * speed)),),
        }
        whole = replace(record(number, issued=NOW, life=120), **(said | changes))
        self.gossip.book.add(sign_record(whole, key(number), DOMAIN), NOW)

    async def nodes(self, **wish: Any) -> list[Address]:
        """The nodes of the route that is planned now."""
        return [stage.node for stage in await self.planner.plan(RouteWish(4, **wish))]


def bench(*numbers: int, asks: Mapping[int, int] | None = None) -> Bench:
    """Nodes that all announce blocks 0:4, at an ask of 1 unless said otherwise."""
    town = Town(numbers)
    for number, ask in (asks or {}).items():
        town.chain[address(number)] = replace(town.chain[address(number)], ask=ask)
    reader = town.reader(90)
    planner = Planner(reader.directory, reader.gossip, MANIFEST, PROFILE, MINIMUM)
    return Bench(town, reader.gossip, planner)


def route(*stages: RouteStage) -> Route:
    """A route of which only the stages matter."""
    return Route(
        nonce=ZERO_HASH, channel=ZERO_HASH, epoch=0, previous=ZERO_HASH, stages=stages, manifest=MANIFEST,
        profile=ZERO_HASH, sampler=ZERO_HASH, prompt_root=ZERO_HASH, window=4, audit_policy=ZERO_HASH, expiry=1,
    )  # fmt: skip


def test_without_records_the_chain_is_enough() -> None:
    """The cheapest of those that announced, as long as nothing was measured."""

    async def main() -> list[Address]:
        return await bench(1, 2, 3, asks={1: 9, 2: 5, 3: 7}).nodes(seconds_per_unit=1e-3)

    assert run_virtual(main()) == [address(2)]


class Proven:
    """What the chain's scores say against nodes."""

    def __init__(self, against: Mapping[int, float]) -> None:
        self.against = {address(number): part for number, part in against.items()}

    async def freshen(self) -> None:
        """Nothing to read."""

    def reliability(self, node: Address) -> float:
        """As KnownScores."""
        return self.against.get(node, 1.0)


def test_what_was_proven_against_a_node_makes_it_dear() -> None:
    """An ask of 5 at a third of the trust is more than one of 9, and less than one of 20."""

    async def main(third: int) -> list[Address]:
        three = bench(1, 2, asks={1: third, 2: 5})
        scored: Any = Proven({2: 1 / 3})
        reader = three.planner
        planner = Planner(reader._directory, three.gossip, MANIFEST, PROFILE, MINIMUM, scored)
        await planner.freshen()
        return [stage.node for stage in await planner.plan(RouteWish(4, seconds_per_unit=1e-3))]

    assert run_virtual(main(9)) == [address(1)]
    assert run_virtual(main(20)) == [address(2)]


def test_a_record_outdoes_an_announcement() -> None:
    """Whoever tells of itself is taken at its word, also for its price and its blocks."""

    async def main() -> None:
        three = bench(1, 2, 3)
        await three.tell(2, speed=5.0, ask=3)
        stages = await three.planner.plan(RouteWish(4))
        assert stages == (RouteStage(address(2), 0, 4, 3),)

        await three.tell(1, "0:2", 500.0)
        await three.tell(3, "2:4", 500.0)
        assert await three.nodes() == [address(1), address(3)]

    run_virtual(main())


@pytest.mark.parametrize("change", [{"draining": True}, {"manifest": b"x" * 32}, {"profile": b"x" * 32}], ids=str)
def test_a_node_that_says_it_does_not_serve_gets_no_route_whatever_it_announced(change: dict[str, Any]) -> None:
    """Draining, or with another model by now; when its word is old the chain's counts again."""

    async def main() -> None:
        two = bench(1, 2, asks={1: 1, 2: 9})
        await two.tell(1, **change)
        assert await two.nodes(seconds_per_unit=1e-3) == [address(2)]
        with pytest.raises(NoRoute):
            await two.nodes(excluded={address(2)})

    run_virtual(main())


def test_a_busy_and_a_full_node_are_passed_over_where_there_are_others() -> None:
    """The queue counts at the node's speed; without a free page a node is the last resort."""

    async def main() -> None:
        three = bench(1, 2, 3)
        await three.tell(1, speed=100.0, queue=500)
        await three.tell(2, speed=100.0, free_pages=0)
        await three.tell(3, speed=10.0)
        assert await three.nodes() == [address(3)]
        assert await three.nodes(excluded={address(3)}) == [address(1)]

    run_virtual(main())


def test_a_liar_about_speed_loses_the_route_after_a_few_tokens() -> None:
    """Measured rings take the place of its claim."""

    async def main() -> None:
        two = bench(1, 2)
        await two.tell(1, speed=1000.0)
        await two.tell(2, speed=20.0)
        taken = []
        for _ in range(6):
            stages = await two.planner.plan(RouteWish(4))
            taken.append(stages[0].node)
            two.planner.opened(stages)
            for _ in range(2):
                two.planner.took(route(*stages), 0.5 if stages[0].node == address(1) else 0.05)
        assert taken[0] == address(1)
        assert taken[2:] == [address(2)] * 4

    run_virtual(main())


def test_a_route_that_is_open_is_kept_unless_another_is_better_by_a_fifth() -> None:
    """Another one takes another channel."""

    async def main() -> None:
        two = bench(1, 2)
        await two.tell(1, speed=1.0)
        await two.tell(2, speed=1.0 / (INERTIA + 0.02))
        assert await two.nodes() == [address(2)]
        two.planner.opened([RouteStage(address(1), 0, 4, 1)])
        assert await two.nodes() == [address(1)]
        await two.tell(2, speed=1.0 / (INERTIA - 0.02), sequence=5)
        assert await two.nodes() == [address(2)]

    run_virtual(main())


def test_who_failed_is_left_out_where_it_can_be_and_trusted_less_after_that() -> None:
    """Shunned for half a minute; alone it is asked all the same."""

    async def main() -> None:
        two = bench(1, 2, asks={1: 5, 2: 6})
        assert await two.nodes(seconds_per_unit=1e-3) == [address(1)]
        before = two.planner.times.reliability(address(1))
        two.planner.failed([address(1)], shun=True)
        assert await two.nodes(seconds_per_unit=1e-3) == [address(2)]
        assert await two.nodes(excluded={address(2)}) == [address(1)]
        assert two.planner.times.reliability(address(1)) < before
        two.planner.succeeded([address(2)])
        assert two.planner.times.reliability(address(2)) > before

    run_virtual(main())


def test_blame_that_nobody_can_place_is_shared() -> None:
    """Of a stage and of the one that accuses it, one is to blame."""

    async def main() -> None:
        three = bench(1, 2, 3)
        three.planner.failed([address(1), address(2)], shun=False)
        three.planner.failed([address(3)], shun=False)
        first, second, third = (three.planner.times.reliability(address(number)) for number in (1, 2, 3))
        assert first == second > third
        assert not three.planner.shunned.nodes()

    run_virtual(main())


def test_a_ceiling_and_distinct_owners_are_kept() -> None:
    """And an urgent request's double price counts against the ceiling."""

    async def main() -> None:
        three = bench(1, 2, 3)
        await three.tell(1, speed=100.0, ask=9)
        await three.tell(2, "0:2", 1.0, 1)
        await three.tell(3, "2:4", 1.0, 1)
        assert await three.nodes() == [address(1)]
        assert await three.nodes(max_price=with_pool(6)) == [address(2), address(3)]
        with pytest.raises(PriceTooHigh):
            await three.nodes(max_price=with_pool(5))
        doubled = await three.planner.plan(RouteWish(4, max_price=with_pool(12)), 2)
        assert [stage.ask for stage in doubled] == [2, 2]
        with pytest.raises(PriceTooHigh):
            await three.planner.plan(RouteWish(4, max_price=with_pool(11)), 2)

        two = bench(1, 2)
        await two.tell(1, spans=(ServedSpan(0, 1, 1, 1), ServedSpan(3, 4, 1, 1)))
        await two.tell(2, "1:3")
        assert await two.nodes() == [address(1), address(2), address(1)]
        with pytest.raises(NoDistinctRoute):
            await two.nodes(distinct_owners=True)

    run_virtual(main())


def test_a_near_node_is_taken_before_a_far_one() -> None:
    """Round trips that were measured: of a dialled stream a quarter, of an answer all of it."""

    async def main() -> None:
        two = bench(1, 2)
        await two.tell(1)
        await two.tell(2)
        for _ in range(3):
            two.planner.dialled(address(1), 0.4)
            two.planner.answered(address(2), 0.09)
        assert two.planner.times.one_way(address(1)) == pytest.approx(0.05)
        assert two.planner.times.one_way(address(2)) == pytest.approx(0.045)
        assert await two.nodes() == [address(2)]

    run_virtual(main())


def test_times_past_all_measure_are_bounded() -> None:
    """A laptop that slept in the middle of a token must not end the session."""

    async def main() -> None:
        one = bench(1)
        one.planner.took(route(RouteStage(address(1), 0, 4, 1)), 1e9)
        one.planner.dialled(address(1), 1e9)
        one.planner.answered(address(1), 1e9)
        assert await one.nodes() == [address(1)]

    run_virtual(main())


def claim_of(world: World, name: str, tokens_per_second: float) -> ServiceRecord:
    """What a node of the world says of itself."""
    node = world.nodes[name]
    engine, span = node.engine, node.engine.span
    announced = {each.node: each for each in world.chain.stakes.announcements()}[node.owner.address]  # type: ignore[index]
    peer = world.chain.stakes.identities()[announced.node].peer
    return ServiceRecord(
        node=announced.node, sequence=1, issued=int(time.time()), expires=int(time.time()) + 120, peer=peer,
        endpoint=announced.endpoint, manifest=engine.manifest.root, profile=profile_id(engine.profile),
        spans=(ServedSpan(span.start, span.end, announced.ask, round(1000 * tokens_per_second)),), queue=0, free_pages=9,
        draining=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Engines of a tiny exact model."""
    return Parts(write_tiny_exact_model(tmp_path_factory.mktemp("routing-model")))


def test_a_node_that_lies_about_its_speed_is_passed_over_after_a_few_answers(parts: Parts) -> None:
    """It claims a thousand tokens a second and holds each one up for a second; the honest one claims its twenty."""
    liar, honest = "s1r1", "s1r0"
    plan = FaultPlan(5, 0.01, 0.0, (Fault(Kind.SLOW, liar, 1, seconds=1.0),))

    async def main() -> list[str]:
        async with running_world(plan, parts, Shape(replicas=2)) as world:
            context = world.client._context
            gossip = Gossip(GossipParts(world.chain, context.directory, context.transport))
            await gossip._anchor()
            for name in world.nodes:
                speed = {liar: 1000.0, honest: 20.0}.get(name, 100.0)
                record = claim_of(world, name, speed)
                gossip.book.add(sign_record(record, hot_key(name), world.chain.hello_domain), time.time())
            client = Client(replace(context, gossip=gossip, price_seconds=0.0))
            names = {node.owner.address: name for name, node in world.nodes.items()}
            taken = []
            for _ in range(5):
                _, report = await generate(client, request(max_tokens=4))
                taken.append(names[report.route.stages[1].node])  # type: ignore[attr-defined]
            await client.close()
            await gossip.close()
            return taken

    taken = run_virtual(main())
    assert taken[0] == liar
    assert taken[2:] == [honest] * 3
