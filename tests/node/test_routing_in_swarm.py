"""Records over TLS between real stages, and the routes that a real client takes by them."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest
import pytest_asyncio

from node.batcher import Load
from node.cli.runs import _node_json, _node_row
from node.client import Client
from node.client_errors import SessionFailed
from node.directory import Directory
from node.errors import NoRoute
from node.gossip import Gossip, GossipParts
from node.gossip_author import Author, Service, StageLoad, stage_load
from node.gossip_door import Door
from node.gossip_exchange import gossip_frame
from node.gossip_view import view_network
from node.record_messages import Summary
from node.refusals import FailureCode
from node.speed import Speed
from tests.node.swarm import (
    Stage,
    Swarm,
    deploy_network,
    generate,
    request,
    running_swarm,
    write_tiny_exact_model,
)
from verification.routes import profile_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

SPANS = ("0:3", "3:6", "3:6")


async def take_part(swarm: Swarm, stage: Stage) -> Gossip:
    """Have a stage exchange records, as a node process does."""
    context = stage.context
    gossip = Gossip(GossipParts(swarm.network, context.directory, context.transport))
    stage.server._context = replace(context, gossip=gossip)
    terms = context.terms
    for hosted in stage.server.hosting.current:
        await hosted.try_speed()
    service = Service(
        terms.node,
        stage.identity.peer,
        stage.endpoint,
        terms.manifest,
        profile_id(terms.profile),
        terms.ask,
    )

    async def load() -> StageLoad:
        return await stage_load(stage.server.hosting, draining=stage.server.draining)

    gossip.author = Author(service, stage.signer, swarm.network.hello_domain, load)
    return gossip


class Claim(Speed):
    """What is claimed whatever is computed."""

    def update(self, load: Load) -> None:
        """Stays."""


async def tell_all(gossips: list[Gossip]) -> None:
    """Everybody publishes and asks everybody, with a fresh allowance: how often one may ask has tests of its own."""
    for gossip in gossips:
        gossip._door = Door(time.monotonic)
        await gossip.publish()
    for gossip in gossips:
        await gossip.round(len(gossips))


@asynccontextmanager
async def reading_client(swarm: Swarm) -> AsyncIterator[Client]:
    """A client that has seen nothing yet and reads records; it knows of the chain what the swarm's client knows."""
    context = swarm.context
    directory = Directory(swarm.network, 600.0)
    gossip = Gossip(GossipParts(swarm.network, directory, context.transport))
    try:
        yield Client(replace(context, directory=directory, gossip=gossip))
    finally:
        await gossip.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def swarm(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    """A first stage and two last ones; each test leaves all of them serving."""
    home = tmp_path_factory.mktemp("routing")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with running_swarm(network, write_tiny_exact_model(home / "model"), home, SPANS) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def gossips(swarm: Swarm) -> list[Gossip]:
    """What each stage knows, after all have told each other."""
    made = [await take_part(swarm, stage) for stage in swarm.stages]
    await tell_all(made)
    return made


def owners(swarm: Swarm, *places: int) -> set[str]:
    """The owners of some stages."""
    return {swarm.stages[place].owner.address for place in places}


async def route_of(client: Client) -> set[str]:
    """The owners on the route that a client takes for a short answer."""
    tokens, report = await generate(client, request(max_tokens=3))
    assert len(tokens) == 3
    return {stage.node for stage in report.route.stages}  # type: ignore[attr-defined]


async def test_every_stage_and_every_reader_holds_every_record(swarm: Swarm, gossips: list[Gossip]) -> None:
    """With what the stage claims to do, and where it is."""
    async with reading_client(swarm) as client:
        await client.planner.freshen()
        for known in (*gossips, cast(Gossip, client._context.gossip)):
            assert {each.node for each in known.live()} == owners(swarm, 0, 1, 2)
            assert {each.endpoint for each in known.live()} == {stage.endpoint for stage in swarm.stages}
            assert all(each.spans[0].tokens_per_second > 1 for each in known.live())


async def test_a_client_takes_the_node_with_the_better_record(swarm: Swarm, gossips: list[Gossip]) -> None:
    """And gets its answer from it."""
    for better in (1, 2):
        for place in (1, 2):
            author = cast(Author, gossips[place].author)
            author._last = None
            swarm.stages[place].server.hosting.current[0].speed = Claim(50.0 if place == better else 2.0)
        await tell_all(gossips)
        async with reading_client(swarm) as client:
            assert await route_of(client) == owners(swarm, 0, better)


async def test_a_draining_node_gets_no_new_route(swarm: Swarm, gossips: list[Gossip]) -> None:
    """It says so, and clients hear of it before they ask it."""
    for place in (1, 2):
        swarm.stages[place].server.draining = True
        await tell_all(gossips)
        async with reading_client(swarm) as client:
            assert await route_of(client) == owners(swarm, 0, 3 - place)
        swarm.stages[place].server.draining = False
    await tell_all(gossips)


async def test_where_all_are_draining_there_is_no_route(swarm: Swarm, gossips: list[Gossip]) -> None:
    """Nobody is asked in vain."""
    swarm.stages[1].server.draining = swarm.stages[2].server.draining = True
    await tell_all(gossips)
    async with reading_client(swarm) as client:
        with pytest.raises(NoRoute) as caught:
            await client.open(request())
    swarm.stages[1].server.draining = swarm.stages[2].server.draining = False
    await tell_all(gossips)

    assert caught.value.uncovered == [3, 4, 5]


async def test_a_node_that_moved_is_found_before_the_chain_knows(swarm: Swarm, gossips: list[Gossip]) -> None:
    """By the client and by the stage before it; the chain still names the old port."""
    stage, other = swarm.stages[1], swarm.stages[2]
    author = cast(Author, gossips[1].author)
    before, service = stage.server._listener, author.service
    listener = await stage.context.transport.listen("127.0.0.1", 0, stage.server.serve)
    assert before is not None
    await before.close()
    author.service, author._last = replace(service, endpoint=listener.endpoint), None
    other.server.draining = True
    await tell_all(gossips)
    async with reading_client(swarm) as client:
        assert await route_of(client) == owners(swarm, 0, 1)
        assert (await client._context.directory.chain_records())[service.node].endpoint == service.endpoint
        stale = Client(replace(client._context, directory=Directory(swarm.network, 600.0), gossip=None))
        with pytest.raises(SessionFailed):  # by the chain alone it is not to be found, and the other one is leaving
            await stale.open(request())
    other.server.draining = False
    await listener.close()
    _, _, port = service.endpoint.removesuffix("/v1/stream").rpartition(":")
    await stage.server.start("127.0.0.1", int(port))
    author.service, author._last = service, None
    await tell_all(gossips)
    async with reading_client(swarm) as client:
        assert await route_of(client) <= owners(swarm, 0, 1, 2)


async def test_an_old_word_of_a_node_that_moved_and_announced_does_not_hide_it(
    swarm: Swarm, gossips: list[Gossip]
) -> None:
    """Where its record leads nobody answers: then the chain's endpoint is tried."""
    author = cast(Author, gossips[1].author)
    service = author.service
    author.service, author._last = replace(service, endpoint="wss://127.0.0.1:9/v1/stream"), None
    swarm.stages[2].server.draining = True
    await tell_all(gossips)
    async with reading_client(swarm) as client:
        await client.planner.freshen()
        assert (await client._context.directory.record(service.node)).endpoint == "wss://127.0.0.1:9/v1/stream"
        assert await route_of(client) == owners(swarm, 0, 1)
    swarm.stages[2].server.draining = False
    author.service, author._last = service, None
    await tell_all(gossips)


async def test_a_stage_without_gossip_refuses_it_by_name_and_serves_on(swarm: Swarm, gossips: list[Gossip]) -> None:
    """An older node among newer ones: its announcement is enough."""
    stage = swarm.stages[2]
    with_gossip, stage.server._context = stage.server._context, stage.context
    transport = swarm.context.transport
    async with await transport.dial(stage.endpoint, stage.identity.peer) as stream:
        await stream.send(gossip_frame(Summary(bytes(20), b"\xff" * 20, ())))
        assert FailureCode.MALFORMED.value.encode() in bytes((await stream.recv()).payload)
    async with reading_client(swarm) as client:
        assert await route_of(client) <= owners(swarm, 0, 1, 2)
    stage.server._context = with_gossip


async def test_measurements_come_of_themselves(swarm: Swarm, gossips: list[Gossip]) -> None:
    """An answer teaches a client how far its nodes are, how fast, and how far to be relied on."""
    async with reading_client(swarm) as client:
        used = await route_of(client)
        times = client.planner.times
        for node in used:
            seen = times._seen[node]  # type: ignore[index]
            assert seen.round_trip.weight > 0
            assert len(seen.steps) == 2, "three tokens, of which the first is the prompt's"
            assert seen.outcomes.successes > 0


async def test_a_spectator_sees_the_chain_and_the_load(swarm: Swarm, gossips: list[Gossip]) -> None:
    """Under a key of its own that nobody knows."""
    seen = await view_network(swarm.network)

    assert {each.chain.node for each in seen} == owners(swarm, 0, 1, 2)
    assert all(each.record is not None and each.tokens_per_second > 0 for each in seen)
    assert all("tokens/s" in each.load and each.shown_age.endswith(" s") for each in seen)
    nobody = replace(seen[0], record=None, age=0.0)
    assert (nobody.load, nobody.shown_age, nobody.tokens_per_second) == ("-", "-", 0.0)


async def test_the_list_of_nodes_shows_what_is_known_of_each(swarm: Swarm, gossips: list[Gossip]) -> None:
    """For programs and for people; a node without a record has none, and that is no error."""
    seen = (await view_network(swarm.network))[0]
    silent = replace(seen, record=None, age=0.0)
    manifest = seen.chain.manifest.hex()
    told = _node_json(seen, {manifest: "exact-1"})["record"]

    assert isinstance(told, dict)
    assert set(told) == {"queue", "free_pages", "draining", "age", "ask", "tokens_per_second", "blocks", "phase"}
    assert _node_json(silent, {})["record"] is None
    assert _node_row(seen, {manifest: "exact-1"})[-3:] == ("exact-1", seen.load, seen.shown_age)
    assert _node_row(silent, {})[-3:] == ("-", "-", "-")
