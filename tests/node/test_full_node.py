"""A full node says busy before it works for who asks, and a client does not ask it again before it may."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
import pytest_asyncio

from node.admission import Admission, Admitted
from node.busy_nodes import BusyNodes
from node.claims import Claims
from node.client_errors import SessionFailed
from node.client_session import ClientSession
from node.errors import NoRoute
from node.hosting import Hosting
from node.messages import Open
from node.refusals import BUSY_RETRY_MS, FailureCode
from node.shunned import Shunned
from tests.node.replicas import Replicas, client_of
from tests.node.swarm import Swarm, deploy_network, generate, request, running_swarm, write_tiny_exact_model
from verification.addresses import Address

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def swarm(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    """Two stages."""
    home = tmp_path_factory.mktemp("full")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with running_swarm(network, write_tiny_exact_model(home / "model"), home, ("0:3", "3:6")) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def net(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replicas]:
    """Three stages with a spare each."""
    home = tmp_path_factory.mktemp("full-spares")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with Replicas.running(network, write_tiny_exact_model(home / "model"), home) as made:
        yield made


@pytest.fixture
def admitted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The stages of the Opens that were looked at closely."""
    seen, honest = list[int](), Admission.admit

    async def noting(self: Admission, opening: Open, remote: Address | None) -> Admitted:
        seen.append(opening.stage)
        return await honest(self, opening, remote)

    monkeypatch.setattr(Admission, "admit", noting)
    return seen


@pytest.fixture(autouse=True)
def fresh(swarm: Swarm) -> None:
    """Nobody is busy when a test begins."""
    swarm.client.planner.busy = BusyNodes()


def fill(monkeypatch: pytest.MonkeyPatch, claims: Claims) -> None:
    """No place for anybody."""
    monkeypatch.setattr(claims, "_max_sessions", 0)


async def refusal_of(opening: Callable[[], Awaitable[ClientSession]]) -> SessionFailed:
    with pytest.raises(SessionFailed) as caught:
        await opening()
    return caught.value


@pytest.mark.parametrize("stage", [0, 1])
async def test_a_full_stage_refuses_before_it_looks_closely(
    swarm: Swarm, stage: int, admitted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Signatures and the chain are for those who can be served; the answer says when to come back."""
    fill(monkeypatch, swarm.stages[stage].server._sessions._claims)
    error = await refusal_of(lambda: swarm.client.open(request()))
    assert (error.code, error.stage) == (FailureCode.BUSY, stage)
    assert (error.retry_after_ms, admitted) == (BUSY_RETRY_MS, list(range(stage)))


async def test_a_client_with_all_its_places_is_refused_as_soon(
    swarm: Swarm, admitted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the address that it proved when it dialled."""
    monkeypatch.setattr(swarm.stages[0].server._sessions._claims, "_per_client", 0)
    error = await refusal_of(lambda: swarm.client.open(request()))
    assert (error.code, admitted) == (FailureCode.BUSY, [])
    assert "of yours" in error.message


async def test_rows_that_wait_refuse_as_soon(
    swarm: Swarm, admitted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row past the limit; at the limit there is room."""
    limit = swarm.stages[0].context.limits.waiting_rows
    for rows, code in ((limit, None), (limit + 1, FailureCode.BUSY)):
        monkeypatch.setattr(Hosting, "waiting_rows", property(lambda _self, rows=rows: rows))
        if code is None:
            await generate(swarm.client, request(max_tokens=1))
            assert admitted.pop(0) == 0
            admitted.clear()
        else:
            error = await refusal_of(lambda: swarm.client.open(request()))
            assert (error.code, admitted) == (code, [])


async def test_a_busy_node_is_not_asked_again_before_it_may(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second request hears what the first one did, and nobody is dialled for it; then there is room."""
    now = [100.0]
    swarm.client.planner.busy = BusyNodes(lambda: now[0])
    dialled, honest = list[str](), swarm.client._dial

    async def noting(node: Address, *rest: object) -> object:
        dialled.append(node)
        return await honest(node, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(swarm.client, "_dial", noting)
        with monkeypatch.context() as full:
            fill(full, swarm.stages[0].server._sessions._claims)
            await refusal_of(lambda: swarm.client.open(request()))
        count = len(dialled)
        now[0] += 0.2
        again = await refusal_of(lambda: swarm.client.open(request()))
        assert (again.code, again.retry_after_ms, len(dialled)) == (FailureCode.BUSY, BUSY_RETRY_MS - 200, count)
        now[0] += 0.3
        tokens, _ = await generate(swarm.client, request(max_tokens=3))
    assert (len(tokens), dialled[count]) == (3, swarm.stages[0].owner.address)


async def test_a_refusal_that_ends_while_the_route_is_looked_for_still_counts(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking took longer than was left of the time: there was no route because of the busy node, not because of a gap."""
    now = [100.0]
    swarm.client.planner.busy = BusyNodes(lambda: now[0])
    plan = swarm.client.planner.plan
    with monkeypatch.context() as full:
        fill(full, swarm.stages[0].server._sessions._claims)
        await refusal_of(lambda: swarm.client.open(request()))

    async def slowly(*wish: object) -> object:
        now[0] += 1.0
        return await plan(*wish)  # type: ignore[arg-type]

    monkeypatch.setattr(swarm.client.planner, "plan", slowly)
    assert (await refusal_of(lambda: swarm.client.open(request()))).code == FailureCode.BUSY


@pytest.mark.parametrize("stage", [0, 1])
async def test_a_node_without_room_for_a_stream_is_busy_and_not_lost(
    swarm: Swarm, stage: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transport says so before anybody can ask: it is not shunned, and serves whoever comes when there is room."""
    listener = swarm.stages[stage].server._listener
    with monkeypatch.context() as patch:
        patch.setattr(listener, "_settings", replace(listener._settings, max_streams=0))  # type: ignore[union-attr]
        error = await refusal_of(lambda: swarm.client.open(request()))
    assert (error.code, error.stage, error.retry_after_ms) == (FailureCode.BUSY, stage, BUSY_RETRY_MS)
    assert swarm.client.planner.shunned.nodes() == frozenset()
    swarm.client.planner.busy = BusyNodes()
    tokens, _ = await generate(swarm.client, request(max_tokens=2))
    assert len(tokens) == 2


async def test_a_stage_cannot_hide_the_one_behind_it(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that the next one is busy, for five seconds: the next request asks again, since it was only hearsay."""
    swarm.client.planner.busy = BusyNodes(lambda: 100.0)
    with monkeypatch.context() as full:
        fill(full, swarm.stages[1].server._sessions._claims)
        await refusal_of(lambda: swarm.client.open(request()))
    assert swarm.client.planner.busy.nodes() == frozenset()
    tokens, _ = await generate(swarm.client, request(max_tokens=2))
    assert len(tokens) == 2


async def test_a_full_node_that_leaves_says_that_it_leaves(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Coming back to it would be for nothing."""
    monkeypatch.setattr(swarm.stages[0].server._sessions, "draining", True)
    fill(monkeypatch, swarm.stages[0].server._sessions._claims)
    error = await refusal_of(lambda: swarm.client.open(request()))
    swarm.client.planner.shunned = Shunned()
    assert error.code == FailureCode.DRAINING


async def test_a_gap_in_the_blocks_is_not_called_busy(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody said so."""

    async def no_route(*_: object) -> object:
        raise NoRoute([0], 6)

    monkeypatch.setattr(swarm.client.planner, "plan", no_route)
    with pytest.raises(NoRoute):
        await swarm.client.open(request())


async def test_a_replica_is_asked_meanwhile(net: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second session goes past the full node at its first attempt."""
    client = client_of(net)
    client.planner.busy = BusyNodes(lambda: 100.0)
    session = await client.open(request(max_tokens=1))
    await session.abandon()
    full = net.node_of(session, 0)
    fill(monkeypatch, full.server._sessions._claims)
    first = await client.open(request(max_tokens=1))
    await first.abandon()
    asked, honest = list[str](), client._open_on

    async def noting(stages: tuple[object, ...], *rest: object, **named: object) -> object:
        asked.extend(stage.node for stage in stages)  # type: ignore[attr-defined]
        return await honest(stages, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "_open_on", noting)
    second = await client.open(request(max_tokens=1))
    await second.abandon()
    await client.close()
    assert full.owner.address not in asked
    assert len(asked) == 3
