"""Routes of a higher epoch whose channels are not on the chain yet: they may count on their signer's own money, and once."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from incentives.payees import Payee, payees_for
from incentives.prices import StagePrice, route_price
from node.admission import MAX_ASKING
from node.channel_book import OpenedChannel
from node.client import Client
from node.client_errors import SessionFailed
from node.refusals import FailureCode, Refused
from node.reports import Request
from node.route_opening import Wanted
from node.route_run import RouteRun
from tests.node.swarm import Swarm, deploy_network, request, running_swarm, write_tiny_model
from verification.addresses import Address
from verification.routes import ZERO_HASH

pytestmark = pytest.mark.asyncio(loop_scope="module")

WISH = request(max_tokens=20)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def swarm(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    """Two stages and a client without any free balance."""
    home = tmp_path_factory.mktemp("free_balance")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with running_swarm(network, write_tiny_model(home / "model"), Path(home), ("0:3", "3:6")) as running:
        yield running


class Promising:
    """A client that opens no channel: it only says that it will, from the balance of `payer`."""

    def __init__(self, swarm: Swarm, payer: str) -> None:
        self.client = swarm.client_with()
        self.channels: list[OpenedChannel] = []
        self._payer = Address(payer)
        self._signer = swarm.signer.address
        self._book = swarm.context.book
        self.client.money.take = self._take  # type: ignore[method-assign]

    async def _take(self, payees: tuple[Payee, ...], need: int) -> OpenedChannel:
        planned = self._book.plan(self._payer, self._signer, payees)
        self._book.set_locked(planned.channel, need)
        self._book.set_state(planned.channel, "busy")
        self.channels.append(self._book.get(planned.channel))
        return self.channels[-1]

    async def open(self, wish: Request = WISH) -> RouteRun:
        """A route that says to take the place of another one. Raises: SessionFailed."""
        stages = await self.client._plan(frozenset(), wish, ())
        return await self.client._open_on(stages, Wanted(wish, wish.prompt, secrets.token_bytes(32), 1, ZERO_HASH))


async def refusal_of_open(client: Promising) -> str:
    with pytest.raises(SessionFailed) as caught:
        await client.open()
    return caught.value.code


async def first_part(swarm: Swarm, client: Client) -> int:
    """What a stage wants to see of the money: the prompt and one window."""
    stages = await client._plan(frozenset(), WISH, ())
    price = route_price([StagePrice(each.node, each.span, each.ask) for each in stages], swarm.context.model.num_blocks)
    return price.prefill_cost(len(WISH.prompt)) + price.decode_cost(swarm.context.window)


async def test_nobody_elses_balance_is_counted_on(swarm: Swarm) -> None:
    """Whoever signs a route may write any payer into it."""
    rich = swarm.stages[0].owner
    await asyncio.to_thread(swarm.network.channels.deposit, rich, 10**18)

    assert await refusal_of_open(Promising(swarm, rich.address)) == FailureCode.CHANNEL


async def test_a_balance_is_counted_on_once_until_the_chain_has_the_channel(swarm: Swarm) -> None:
    """For one route, not for two at once; the second one's time comes when the first one's money is locked and there is more."""
    client = Promising(swarm, swarm.signer.address)
    part = await first_part(swarm, client.client)
    channels = swarm.network.channels
    await asyncio.to_thread(channels.deposit, swarm.signer, part - 1)
    assert await refusal_of_open(client) == FailureCode.CHANNEL
    await asyncio.to_thread(channels.deposit, swarm.signer, 1)
    first = await client.open()
    assert await refusal_of_open(client) == FailureCode.CHANNEL

    await asyncio.to_thread(channels.open, swarm.signer, client.channels[1].key, part)
    await asyncio.to_thread(channels.deposit, swarm.signer, part)
    second = await client.open()
    for run in (first, second):
        await run.abandon()


async def test_so_many_opens_have_their_money_looked_up_at_one_time(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One more waits for its turn: whoever has no money costs questions too, and vouchers need the threads that ask."""
    asked, may_answer = list[object](), asyncio.Event()

    async def slow(*question: object) -> None:
        asked.append(question)
        await may_answer.wait()
        raise Refused(FailureCode.CHANNEL, "nothing there")

    monkeypatch.setattr(swarm.stages[0].server._sessions._admission, "_check_chain", slow)
    clients = [Promising(swarm, swarm.signer.address) for _ in range(MAX_ASKING + 1)]
    answers = [asyncio.create_task(refusal_of_open(each)) for each in clients]
    async with asyncio.timeout(10):
        while len(asked) < MAX_ASKING:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    assert len(asked) == MAX_ASKING
    may_answer.set()
    assert set(await asyncio.gather(*answers)) == {FailureCode.CHANNEL}
    assert len(asked) == MAX_ASKING + 1


async def test_two_routes_that_count_on_one_reserve_both_get_their_channels(swarm: Swarm) -> None:
    """The money of the second one comes from the payer's account: a channel that stays away would cost it the nodes' trust."""
    client = swarm.client_with()
    channels, need = swarm.network.channels, 10**15
    payees = payees_for([(stage.owner.address, 1) for stage in swarm.stages])
    missing = need - channels.free_of(swarm.signer.address)
    await asyncio.to_thread(channels.deposit, swarm.signer, missing)
    opened = [client.money._open_later(payees, need) for _ in range(2)]
    await client.close()

    assert [channels.state(each.channel).locked for each in opened] == [need, need]
