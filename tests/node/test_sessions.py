"""Whole sessions over a chain, TLS and three stages: right tokens, right money, and a clear no to everything else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from transformers import AutoModelForCausalLM

from incentives.evidence import Claim, WorkEvidence
from incentives.payees import POOL_BPS, WHOLE_BPS, Payee, parse_payees, payees_for
from incentives.signing import LocalSigner
from incentives.units import ONE
from incentives.vouchers import sign_voucher
from node.channel_care import close_all, reclaim_all, sync
from node.client import Client
from node.client_errors import PriceTooHigh, PromptTooLong, SessionFailed
from node.client_session import ClientSession
from node.errors import NoRoute
from node.messages import Close, VoucherMessage, amount_bytes, message_frame
from node.refusals import FailureCode, Refused
from node.route_opening import payees_of
from node.route_run import RouteRun
from node.wire import Frame, hidden_frame, tokens_frame
from sharding.sampling import SamplingParams
from sharding.span import Span
from tests.conftest import ask
from tests.node.swarm import (
    PER_TOKEN,
    Swarm,
    deploy_network,
    generate,
    request,
    running_client,
    running_stage,
    running_swarm,
    write_tiny_model,
)
from verification.addresses import Address
from verification.routes import RouteStage
from verification.typed_data import Domain
from verification.work import session_work

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def swarm(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    """Three stages over six blocks and a client, shared by the tests of this file: each must leave it working."""
    home = tmp_path_factory.mktemp("swarm")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with running_swarm(network, write_tiny_model(home / "model"), home) as running:
        yield running


def whole_model(folder: Path) -> torch.nn.Module:
    """The unsharded model in transformers."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that must come true soon."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def assert_still_serves(swarm: Swarm) -> None:
    """No session is left behind and the next good request is answered in full."""
    await until(lambda: all(stage.server.active_sessions == 0 for stage in swarm.stages))
    tokens, _ = await generate(swarm.client, request(max_tokens=3))
    assert len(tokens) == 3


async def test_greedy_tokens_equal_the_unsharded_model(swarm: Swarm) -> None:
    """Three stages over TLS give transformers' own tokens, one by one."""
    prompt = (5, 17, 3, 80)
    tokens, _ = await generate(swarm.client, request(prompt, 24))

    expected = whole_model(swarm.model).generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)
    assert list(tokens) == expected[0, len(prompt) :].tolist()
    assert len(set(tokens)) > 3, "a model that repeats itself would hide a mistake"


async def test_a_seed_fixes_a_sampled_text(swarm: Swarm) -> None:
    """Equal seeds give equal texts, other seeds others."""
    first, again, other = [
        (await generate(swarm.client, request(max_tokens=16, sampling=SamplingParams(1.5, 0, 1.0, seed))))[0]
        for seed in (7, 7, 8)
    ]

    assert first == again
    assert first != other


async def test_sessions_side_by_side_do_not_touch_each_other(swarm: Swarm) -> None:
    """Two clients' sessions at once give what each gives alone."""
    prompts = [(1, 2, 3), (60, 61)]
    alone = [(await generate(swarm.client, request(prompt, 12)))[0] for prompt in prompts]
    together = await asyncio.gather(*(generate(swarm.client, request(prompt, 12)) for prompt in prompts))

    assert [tokens for tokens, _ in together] == alone


async def test_a_prompt_longer_than_a_chunk_arrives_in_several(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefill in chunks gives the tokens of prefill in one piece."""
    prompt = tuple(range(20, 50))
    whole, _ = await generate(swarm.client, request(prompt, 5))
    monkeypatch.setattr("node.route_run.PREFILL_CHUNK_TOKENS", 16)
    chunked, _ = await generate(swarm.client, request(prompt, 5))

    assert chunked == whole


async def until_ripe(swarm: Swarm, payees: tuple[Payee, ...]) -> None:
    """Nothing of a pot is held back any more."""
    while swarm.network.channels.share(payees, 0).ripening:
        await asyncio.sleep(0.1)


async def test_every_stage_holds_the_voucher_and_collects_its_share(swarm: Swarm) -> None:
    """After a session all stages hold the last voucher; one settlement pays all, to the last unit but rounding.

    The audit pool's share waits for whoever collects it.
    """
    _, report = await generate(swarm.client, request(max_tokens=10))
    held = [stage.ledger.held(report.channel) for stage in swarm.stages]
    before = [swarm.network.token.balance_of(stage.owner.address) for stage in swarm.stages]

    done = [await asyncio.to_thread(stage.settlement(swarm.network).round, at_once=True) for stage in swarm.stages]

    paid = swarm.network.channels.state(report.channel).settled
    assert {each.cumulative for each in held} == {paid}
    assert [[each.kind for each in some if each.channel == report.channel and each.kind == "settle"] for some in done] == [
        ["settle"], [], [],
    ]  # fmt: skip
    payees = parse_payees(held[0].payees)
    await until_ripe(swarm, payees)
    for stage in swarm.stages:
        await asyncio.to_thread(stage.settlement(swarm.network).round, at_once=True)
    after = [swarm.network.token.balance_of(stage.owner.address) for stage in swarm.stages]
    assert all(swarm.network.channels.collectable(payees, index) == 0 for index in range(3))
    assert payees[3] == Payee(swarm.network.pool, POOL_BPS)
    assert swarm.network.channels.collectable(payees, 3) >= payees[3].share_of(paid) > 0
    assert all(new > old for new, old in zip(after, before, strict=True))


async def test_what_an_answer_was_paid_is_credit_for_every_stage(swarm: Swarm) -> None:
    """The audit pool has its share of every route, so what is settled counts for the nodes' scores."""
    _, report = await generate(swarm.client, request(max_tokens=50))
    await asyncio.to_thread(swarm.stages[0].settlement(swarm.network).round, at_once=True)
    work = WorkEvidence(swarm.network.chain, swarm.network.deployment)
    for stage in swarm.stages:
        held = stage.ledger.held(report.channel)
        await asyncio.to_thread(work.claim, stage.signer, stage.owner.address, [Claim(held.key, held.payees)])

    counted = {work.counted(report.channel, stage.owner.address).settled for stage in swarm.stages}
    assert counted == {swarm.network.channels.state(report.channel).settled}
    gained = {event.args["node"] for event in work.credits() if event.args["credit"] > 0}
    assert {stage.owner.address for stage in swarm.stages} <= gained


async def test_the_bill_is_prompt_at_an_eighth_and_the_rest_at_the_full_price(swarm: Swarm) -> None:
    """Four prompt tokens and nine fed-back ones over 6 + 2 blocks at 10^12, which are 97.5 % of it."""
    _, report = await generate(swarm.client, request((1, 2, 3, 4), 10))

    assert report.paid == -(-4 * PER_TOKEN // 8) + 9 * PER_TOKEN
    assert 0 <= report.paid - report.pool - sum(bill.amount for bill in report.stages) < 4  # rounded down, each
    assert report.pool == report.paid * POOL_BPS // WHOLE_BPS


async def test_the_same_route_reuses_its_channel(swarm: Swarm) -> None:
    """A second request costs no new channel while the first is idle."""
    _, first = await generate(swarm.client, request(max_tokens=3))
    _, second = await generate(swarm.client, request(max_tokens=3))

    assert first.channel == second.channel


async def test_a_full_context_is_served_and_one_more_token_is_refused(swarm: Swarm) -> None:
    """Prompt and new tokens may fill the 64 positions exactly."""
    tokens, _ = await generate(swarm.client, request(tuple(range(60)), 4))
    assert len(tokens) == 4
    for wanted in (request(tuple(range(60)), 5), request(tuple(range(65)), 1), request((), 4), request((1,), 0)):
        with pytest.raises(PromptTooLong):
            await swarm.client.open(wanted)


async def test_a_client_that_vanishes_frees_its_caches(swarm: Swarm) -> None:
    """Both streams cut in mid-answer: every stage lets go within moments."""
    session = await swarm.client.open(request(max_tokens=30))
    async for _ in session.tokens():
        break
    assert all(stage.server.active_sessions == 1 for stage in swarm.stages)

    await session.abandon()

    await assert_still_serves(swarm)


async def failure_of(session: ClientSession) -> SessionFailed:
    """What the stages say about a session that they end."""
    async with asyncio.timeout(5):
        error = await session.run.failure
    await session.abandon()
    return error


Misdeed = Callable[[ClientSession, Swarm], Awaitable[None]]


async def send(session: ClientSession, frame: Frame) -> None:
    """Send past the client's own care."""
    await session.run.opened.control.send(frame)


def tokens_of(driver: ClientSession, /, **changes: object) -> Frame:
    """The prompt as the honest client would send it, with something changed."""
    return replace(tokens_frame(driver.run._session, 0, 0, 0, driver.request.prompt), **changes)  # type: ignore[arg-type]


async def pay(session: ClientSession, swarm: Swarm, **changes: object) -> None:
    """Send a prefill voucher with something changed."""
    positions = len(session.request.prompt)
    domain = changes.pop("domain", swarm.network.money_domain)
    signer = changes.pop("signer", swarm.signer)
    fields: dict[str, object] = {"cumulative": session.run._base + session.run._cost(positions), "positions": positions}
    fields["work"] = session_work(session.run.opened.digest, session.run._cost(positions), positions)
    fields |= changes
    key = session.run.opened.channel.key
    signed = sign_voucher(signer, domain, key, fields["cumulative"], fields["work"])  # type: ignore[arg-type]
    message = VoucherMessage(
        cumulative=amount_bytes(fields["cumulative"]), work=fields["work"], positions=fields["positions"],  # type: ignore[arg-type]
        signature=fields.get("signature", signed.signature),  # type: ignore[arg-type]
    )  # fmt: skip
    await send(session, message_frame(message, session.run._session, 0))


async def unpaid_prompt(session: ClientSession, swarm: Swarm) -> None:
    await send(session, tokens_of(session))


async def underpaid_prompt(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm, cumulative=session.run._base + session.run._cost(len(session.request.prompt)) - 1)
    await send(session, tokens_of(session))


async def step_ahead(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm)
    await send(session, tokens_of(session, step=1))


async def step_twice(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm)
    await send(session, tokens_of(session))
    await send(session, tokens_of(session))


async def wrong_position(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm)
    await send(session, tokens_of(session, position=1))


async def other_epoch(session: ClientSession, swarm: Swarm) -> None:
    await send(session, tokens_of(session, epoch=1))


async def other_session(session: ClientSession, swarm: Swarm) -> None:
    await send(session, tokens_of(session, session=bytes(16)))


async def hidden_to_first(session: ClientSession, swarm: Swarm) -> None:
    await send(session, hidden_frame(session.run._session, 0, 0, 0, torch.zeros(4, 32)))


async def token_past_vocabulary(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm)
    await send(session, tokens_frame(session.run._session, 0, 0, 0, (5, 17, 3, 96)))


async def other_prompt(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm)
    await send(session, tokens_frame(session.run._session, 0, 0, 0, (5, 17, 3, 81)))


async def past_capacity(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm)
    await send(session, tokens_frame(session.run._session, 0, 0, 0, tuple(range(41))))


async def prompt_and_decode_mixed(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm)
    await send(session, tokens_frame(session.run._session, 0, 0, 0, (5, 17, 3, 80, 1)))


async def bad_signature(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm, signature=bytes(64))


async def somebody_elses_signature(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm, signer=LocalSigner.dev_account(5, 31337))


async def voucher_of_another_chain(session: ClientSession, swarm: Swarm) -> None:
    signed = sign_voucher(
        swarm.signer, Domain(1, swarm.network.money_domain.contract), session.run.opened.channel.key,
        session.run._base + session.run._cost(4), session_work(session.run.opened.digest, session.run._cost(4), 4),
    )  # fmt: skip
    await pay(session, swarm, signature=signed.signature)


async def equal_voucher(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm)
    await pay(session, swarm)


async def lower_voucher(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm)
    await pay(session, swarm, cumulative=session.run._base + 1)


async def voucher_beyond_lock(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm, cumulative=session.run.opened.channel.locked + 1)


async def voucher_for_other_work(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm, work=bytes(32))


async def voucher_for_more_positions(session: ClientSession, swarm: Swarm) -> None:
    await pay(session, swarm, positions=5)


async def message_out_of_place(session: ClientSession, swarm: Swarm) -> None:
    from node.messages import Closed

    await send(session, message_frame(Closed(), session.run._session, 0))


async def garbage_message(session: ClientSession, swarm: Swarm) -> None:
    frame = message_frame(Close(), session.run._session, 0)
    await send(session, replace(frame, payload=b"\x80\x04\x95garbage"))


MISDEEDS: list[tuple[Misdeed, FailureCode]] = [
    (unpaid_prompt, FailureCode.UNPAID),
    (underpaid_prompt, FailureCode.UNPAID),
    (step_ahead, FailureCode.OUT_OF_ORDER),
    (step_twice, FailureCode.OUT_OF_ORDER),
    (wrong_position, FailureCode.OUT_OF_ORDER),
    (other_epoch, FailureCode.STALE_EPOCH),
    (other_session, FailureCode.UNKNOWN_SESSION),
    (hidden_to_first, FailureCode.PROTOCOL),
    (token_past_vocabulary, FailureCode.TOKEN_RANGE),
    (other_prompt, FailureCode.WRONG_ROUTE),
    (past_capacity, FailureCode.TOO_LONG),
    (prompt_and_decode_mixed, FailureCode.SHAPE),
    (bad_signature, FailureCode.SIGNATURE),
    (somebody_elses_signature, FailureCode.SIGNATURE),
    (voucher_of_another_chain, FailureCode.SIGNATURE),
    (equal_voucher, FailureCode.VOUCHER_STALE),
    (lower_voucher, FailureCode.VOUCHER_STALE),
    (voucher_beyond_lock, FailureCode.BEYOND_LOCK),
    (voucher_for_other_work, FailureCode.VOUCHER_WRONG),
    (voucher_for_more_positions, FailureCode.VOUCHER_WRONG),
    (message_out_of_place, FailureCode.PROTOCOL),
    (garbage_message, FailureCode.MALFORMED),
]


@pytest.mark.parametrize(("misdeed", "code"), MISDEEDS, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_misdeed_ends_its_session_with_a_named_reason(
    swarm: Swarm, misdeed: Misdeed, code: FailureCode
) -> None:
    """Each wrong frame or voucher is told apart, costs only its own session, and the next request works."""
    session = await swarm.client.open(request(max_tokens=36))
    await misdeed(session, swarm)
    error = await failure_of(session)

    assert error.code == code, str(error)
    await assert_still_serves(swarm)


async def test_credit_ends_exactly_at_the_window(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stops paying gets W tokens on credit, and not one more."""
    monkeypatch.setattr(RouteRun, "_pay_if_due", lambda self: asyncio.sleep(0))
    monkeypatch.setattr("node.client_session.MAX_ROUTES", 0)
    session = await swarm.client.open(request(max_tokens=30))
    tokens = []
    with pytest.raises(SessionFailed) as caught:
        async for token in session.tokens():
            tokens.append(token)
    await session.abandon()

    assert caught.value.code == FailureCode.UNPAID
    assert len(tokens) == 1 + swarm.context.window
    assert caught.value.generated == tuple(tokens)
    await assert_still_serves(swarm)


async def test_credit_counts_over_sessions_of_a_channel(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that opens sessions only to use up their credit has one credit for all of them."""
    monkeypatch.setattr(RouteRun, "_pay_if_due", lambda self: asyncio.sleep(0))
    monkeypatch.setattr("node.client_session.MAX_ROUTES", 0)
    produced = []
    for _ in range(2):
        session = await swarm.client.open(request(max_tokens=30))
        channel = session.run.opened.channel.channel
        session.run._base = session.run.opened.channel.cumulative  # and never makes good what is due
        count = 0
        with pytest.raises(SessionFailed):
            async for _ in session.tokens():
                count += 1
        await session.abandon()
        await until(lambda: all(stage.server.active_sessions == 0 for stage in swarm.stages))
        swarm.context.book.set_owing(channel, session.run.owing)
        swarm.context.book.set_state(channel, "open")  # the cheat reuses the channel that its book calls spoilt
        produced.append(count)
    swarm.context.book.set_state(channel, "busy")

    assert produced == [1 + swarm.context.window, 1]


async def test_closing_without_paying_leaves_a_debt_that_the_next_session_shows(swarm: Swarm) -> None:
    """What a stage did and was not paid for is seen in its next acceptance."""
    session = await swarm.client.open(request(max_tokens=30))
    async for _ in session.tokens():
        if len(session.generated) == 3:
            break
    await session.abandon()
    await until(lambda: all(stage.server.active_sessions == 0 for stage in swarm.stages))
    channel = session.run.opened.channel.channel
    held = swarm.stages[0].ledger.held(channel)
    owed = held.earned - swarm.context.book.get(channel).cumulative
    swarm.context.book.set_state(channel, "open")
    for window, owing in ((1, owed), (4, owed - 1)):
        swarm.context.book.set_owing(channel, owing)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SessionFailed) as caught:
            patch.setattr("node.client.MAX_ROUTE_ATTEMPTS", 1)
            await Client(replace(swarm.context, window=window)).open(request())
        assert caught.value.code == FailureCode.UNPAID, "past the window's credit, or past what was ever asked for"
    swarm.context.book.set_owing(channel, session.run.owing)
    tokens, report = await generate(swarm.client, request(max_tokens=30))
    await until(lambda: all(stage.server.active_sessions == 0 for stage in swarm.stages))
    held = swarm.stages[0].ledger.held(channel)

    assert owed in (2 * PER_TOKEN, 3 * PER_TOKEN)
    assert (report.channel, len(tokens), held.earned) == (channel, 30, held.cumulative), (
        "the next session makes it good"
    )


async def hostile_open(swarm: Swarm, change: Callable[[object], object]) -> SessionFailed:
    """Open with a route that `change` makes of the honest one, signed by the client all the same."""
    client = Client(swarm.context)
    honest = client._draft

    def draft(*args: object) -> object:
        made = honest(*args)  # type: ignore[arg-type]
        route = change(made.route)
        digest = route.digest(swarm.network.route_domain)  # type: ignore[attr-defined]
        return replace(made, route=route, digest=digest, signature=swarm.signer.sign_digest(digest))

    client._draft = draft  # type: ignore[assignment,method-assign]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SessionFailed) as caught:
        patch.setattr("node.client.MAX_ROUTE_ATTEMPTS", 1)
        await client.open(request())
    return caught.value


def swapped(stages: tuple[RouteStage, ...]) -> tuple[RouteStage, ...]:
    """The second and third stage with each other's nodes."""
    first, second, third = stages
    return first, replace(second, node=third.node), replace(third, node=second.node)


ROUTE_CHANGES = {
    "another_model": (lambda r: replace(r, manifest=bytes(32)), FailureCode.WRONG_MODEL),
    "another_profile": (lambda r: replace(r, profile=bytes(32)), FailureCode.WRONG_MODEL),
    "a_lower_price": (lambda r: replace(r, stages=(replace(r.stages[0], ask=10**12 - 1), *r.stages[1:])), FailureCode.WRONG_ROUTE),
    "another_span": (
        lambda r: replace(r, stages=(replace(r.stages[0], end=3), replace(r.stages[1], start=3), r.stages[2])),
        FailureCode.WRONG_ROUTE,
    ),
    "a_gap": (lambda r: replace(r, stages=(r.stages[0], r.stages[2])), FailureCode.WRONG_ROUTE),
    "a_node_twice": (lambda r: replace(r, stages=(r.stages[0], *r.stages)), FailureCode.WRONG_ROUTE),
    "a_window_past_the_limit": (lambda r: replace(r, window=65), FailureCode.WRONG_ROUTE),
    "an_expired_route": (lambda r: replace(r, expiry=1), FailureCode.WRONG_ROUTE),
    "an_endless_route": (lambda r: replace(r, expiry=r.expiry + 10**6), FailureCode.WRONG_ROUTE),
    "another_sampler": (lambda r: replace(r, sampler=bytes(32)), FailureCode.WRONG_ROUTE),
    "another_channel": (lambda r: replace(r, channel=bytes(32)), FailureCode.CHANNEL),
    "later_stages_swapped": (lambda r: replace(r, stages=swapped(r.stages)), FailureCode.CHANNEL),
}  # fmt: skip


@pytest.mark.parametrize("name", ROUTE_CHANGES)
async def test_a_route_that_a_stage_did_not_offer_is_refused(swarm: Swarm, name: str) -> None:
    """Every field that a stage must check is checked before any work is done."""
    change, code = ROUTE_CHANGES[name]
    error = await hostile_open(swarm, change)

    assert error.code == code, str(error)
    await assert_still_serves(swarm)


async def test_a_route_signed_by_somebody_else_is_refused(swarm: Swarm) -> None:
    """The key that pays must be the key that signs the route."""
    thief = Client(replace(swarm.context, signer=_Forger(swarm.signer)))
    spender = swarm.network.channels.contract.address
    await asyncio.to_thread(swarm.network.token.approve, swarm.signer, spender, 10**18)  # no permit to forge
    with pytest.raises(SessionFailed) as caught:
        await thief.open(request())
    await asyncio.to_thread(swarm.network.token.approve, swarm.signer, spender, 0)

    assert caught.value.code == FailureCode.SIGNATURE
    await assert_still_serves(swarm)


class _Forger:
    """Claims one address and signs with another's key."""

    def __init__(self, honest: LocalSigner) -> None:
        self._honest = honest
        self.address = honest.address

    def sign_digest(self, digest: bytes) -> bytes:
        return LocalSigner.dev_account(6, 31337).sign_digest(digest)

    def sign_transaction(self, transaction: dict[str, object]) -> bytes:
        return self._honest.sign_transaction(transaction)


async def test_an_epoch_is_served_once(swarm: Swarm) -> None:
    """The same signed route cannot be replayed, so no slot is ever worked on twice."""
    client = Client(swarm.context)
    kept: list[object] = []
    honest = client._draft

    def draft(*args: object) -> object:
        kept.append(kept[0] if kept else honest(*args))  # type: ignore[arg-type]
        return kept[0]

    client._draft = draft  # type: ignore[assignment,method-assign]
    await generate(client, request(max_tokens=2))
    with pytest.raises(SessionFailed) as caught:
        await client.open(request(max_tokens=2))

    assert caught.value.code == FailureCode.STALE_EPOCH
    await assert_still_serves(swarm)


async def test_a_stranger_cannot_take_a_sessions_tokens(swarm: Swarm) -> None:
    """Attach is for the client that signed the route."""
    from node.messages import Attach, Failure, message_of
    from node.wss import WssTransport

    session = await swarm.client.open(request())
    stranger = WssTransport(LocalSigner.dev_account(6, 31337), swarm.network.hello_domain)
    stream = await stranger.dial(swarm.stages[-1].endpoint, swarm.stages[-1].identity.peer)
    await stream.send(message_frame(Attach(route=session.run.opened.digest), session.run._session, 0))
    answer = message_of(await stream.recv())
    await stranger.close()
    await session.abandon()

    assert isinstance(answer, Failure)
    assert answer.code == FailureCode.UNKNOWN_SESSION.value
    await assert_still_serves(swarm)


async def test_a_middle_stage_takes_work_only_from_the_stage_before_it(swarm: Swarm) -> None:
    """Even the client itself cannot open a session in the middle of its route."""
    client = Client(swarm.context)
    records = await swarm.context.directory.records()
    middle = records[swarm.stages[1].owner.address]

    async def dial(*_: object) -> object:
        return await swarm.context.transport.dial(middle.endpoint, middle.peer)

    client._dial = dial  # type: ignore[assignment,method-assign]
    with pytest.raises(SessionFailed) as caught:
        await client.open(request())

    assert caught.value.code == FailureCode.WRONG_ROUTE
    await assert_still_serves(swarm)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
async def test_hidden_states_that_are_not_finite_name_the_stage_that_sent_them(swarm: Swarm, value: float) -> None:
    """A stage that sends NaN or Inf is found out by the next one, and the client hears which."""
    engine = swarm.stages[0].engine
    honest = engine.forward

    def broken(batch: object) -> list[torch.Tensor]:
        return [torch.full_like(output, value) for output in honest(batch)]  # type: ignore[arg-type]

    engine.forward = broken  # type: ignore[method-assign]
    try:
        session = await swarm.client.open(request())
        with pytest.raises(SessionFailed) as caught:
            async for _ in session.tokens():
                pass
        await session.abandon()
    finally:
        engine.forward = honest  # type: ignore[method-assign]

    assert (caught.value.code, caught.value.stage) == (FailureCode.NOT_FINITE, 0)
    await assert_still_serves(swarm)


async def test_an_error_inside_a_stage_tells_nothing_of_the_inside(swarm: Swarm) -> None:
    """A fault of the node itself ends one session with a neutral text; the node serves on."""
    engine = swarm.stages[1].engine
    honest = engine.forward

    def broken(batch: object) -> list[torch.Tensor]:
        raise RuntimeError("secret detail")

    engine.forward = broken  # type: ignore[method-assign]
    try:
        session = await swarm.client.open(request())
        with pytest.raises(SessionFailed) as caught:
            async for _ in session.tokens():
                pass
        await session.abandon()
    finally:
        engine.forward = honest  # type: ignore[method-assign]

    assert (caught.value.code, caught.value.stage) == (FailureCode.INTERNAL, 1)
    assert "secret" not in str(caught.value)
    await assert_still_serves(swarm)


async def test_an_unstaked_node_is_not_routed_to(swarm: Swarm, tmp_path: Path) -> None:
    """A cheaper node that has taken out its stake does not get the work."""
    account = 4
    async with running_stage(swarm.network, swarm.model, tmp_path / "cheap", account, Span(0, 2)) as cheap:
        await asyncio.to_thread(
            swarm.network.stakes.announce,
            cheap.signer,
            cheap.owner.address,
            cheap.context.terms.manifest,
            0,
            2,
            1,
            cheap.endpoint,
        )
        await asyncio.to_thread(swarm.network.stakes.exit, cheap.owner, 1_000 * ONE)
        swarm.forget_directories()
        _, report = await generate(swarm.client, request(max_tokens=2))

    assert cheap.owner.address not in {stage.node for stage in report.route.stages}


async def test_a_dead_node_is_left_out_of_the_next_attempt(swarm: Swarm, tmp_path: Path) -> None:
    """A cheaper node that no longer listens costs one attempt, not the request."""
    async with running_stage(swarm.network, swarm.model, tmp_path / "dead", 5, Span(2, 4), 1_000 * ONE) as dead:
        await asyncio.to_thread(
            swarm.network.stakes.announce, dead.signer, dead.owner.address, dead.context.terms.manifest, 2, 4, 1,
            "wss://127.0.0.1:1",
        )  # fmt: skip
    swarm.forget_directories()
    _, report = await generate(swarm.client, request(max_tokens=2))
    await asyncio.to_thread(swarm.network.stakes.exit, dead.owner, 1_000 * ONE)
    swarm.forget_directories()

    assert dead.owner.address not in {stage.node for stage in report.route.stages}
    await assert_still_serves(swarm)


async def test_a_certificate_unlike_the_record_is_not_spoken_to(swarm: Swarm, tmp_path: Path) -> None:
    """A node that announces another node's endpoint does not receive the session there."""
    async with running_stage(swarm.network, swarm.model, tmp_path / "liar", 6, Span(0, 2)) as liar:
        await asyncio.to_thread(
            swarm.network.stakes.announce, liar.signer, liar.owner.address, liar.context.terms.manifest, 0, 2, 2,
            swarm.stages[0].endpoint,
        )  # fmt: skip
        swarm.forget_directories()
        record = (await swarm.context.directory.records())[liar.owner.address]
        from node.errors import CertificateMismatch

        with pytest.raises(CertificateMismatch):
            await swarm.context.transport.dial(record.endpoint, record.peer)
        _, report = await generate(swarm.client, request(max_tokens=2))
        await asyncio.to_thread(swarm.network.stakes.exit, liar.owner, 1_000 * ONE)
    swarm.forget_directories()

    assert liar.owner.address not in {stage.node for stage in report.route.stages}


async def test_a_gap_in_the_blocks_is_named(swarm: Swarm) -> None:
    """Without a node for some blocks the client says which."""
    context = swarm.context
    client = Client(replace(context, model=replace(context.model, num_blocks=8)))
    with pytest.raises(NoRoute) as caught:
        await client.open(request())

    assert caught.value.uncovered == [6, 7]


async def test_a_stage_that_restarts_collects_what_it_holds(swarm: Swarm, tmp_path: Path) -> None:
    """Vouchers outlive the process: a new one on the same data directory settles and collects."""
    home = tmp_path / "alone"
    async with running_stage(swarm.network, swarm.model, home, 3 + 5, Span(0, 6)) as stage:
        assert stage.server.active_sessions == 0
    async with (
        running_stage(swarm.network, swarm.model, home, 3 + 5, Span(0, 6)) as again,
        running_client(swarm.network, swarm.model, tmp_path / "client", [again]) as alone,
    ):
        report = (await generate(alone.client, request(max_tokens=4)))[1]
    async with running_stage(swarm.network, swarm.model, home, 3 + 5, Span(0, 6)) as third:
        before = swarm.network.token.balance_of(third.owner.address)
        await asyncio.to_thread(third.settlement(swarm.network).round, at_once=True)
        await until_ripe(swarm, parse_payees(third.ledger.held(report.channel).payees))
        await asyncio.to_thread(third.settlement(swarm.network).round, at_once=True)
        after = swarm.network.token.balance_of(third.owner.address)
        await asyncio.to_thread(swarm.network.stakes.exit, third.owner, 1_000 * ONE)

    assert after - before == report.stages[0].amount == report.paid - report.pool - 1 > 0  # both rounded down


async def test_two_sessions_at_once_on_one_channel_are_not_paid_by_one_voucher(swarm: Swarm) -> None:
    """The second waits for the first and is then refused: one payment never counts twice."""
    first = await swarm.client.open(request(max_tokens=20))
    channel = first.run.opened.channel.channel
    swarm.context.book.set_state(channel, "open")  # the cheat's book calls a busy channel idle
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("node.claims.CHANNEL_WAIT_SECONDS", 0.2)
        patch.setattr("node.client.MAX_ROUTE_ATTEMPTS", 1)
        with pytest.raises(SessionFailed) as caught:
            await swarm.client.open(request(max_tokens=1))
    tokens = [token async for token in first.tokens()]
    report = await first.finish()

    assert caught.value.code == FailureCode.BUSY
    assert len(tokens) == 20
    assert swarm.stages[0].ledger.held(channel).earned >= report.paid
    await assert_still_serves(swarm)


async def test_a_client_that_hangs_up_while_a_stage_answers_leaks_no_cache(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An Open whose answer cannot be delivered frees what it took."""
    await until(lambda: all(stage.server.active_sessions == 0 for stage in swarm.stages))
    closed: list[bytes] = []
    engine = swarm.stages[-1].engine
    honest = engine.close
    monkeypatch.setattr(engine, "close", lambda session: (closed.append(session), honest(session)))
    monkeypatch.setattr("node.open_sessions.OpenSessions._accept", lambda self, session: 1 / 0)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SessionFailed) as caught:
        patch.setattr("node.client.MAX_ROUTE_ATTEMPTS", 1)
        await swarm.client.open(request())
    monkeypatch.undo()

    assert caught.value.code == FailureCode.INTERNAL
    await until(lambda: all(stage.server.active_sessions == 0 for stage in swarm.stages))
    assert len(closed) == 1
    await assert_still_serves(swarm)


async def test_a_route_past_the_price_limit_locks_nothing(swarm: Swarm) -> None:
    """The limit itself is served; one unit below it is refused before any money moves."""
    price = PER_TOKEN
    before = swarm.network.token.balance_of(swarm.signer.address)
    with pytest.raises(PriceTooHigh) as caught:
        await swarm.client.open(replace(request(), max_price=price - 1))
    assert (caught.value.price, caught.value.limit) == (price, price - 1)
    assert swarm.network.token.balance_of(swarm.signer.address) == before

    tokens, _ = await generate(swarm.client, replace(request(max_tokens=2), max_price=price))
    assert len(tokens) == 2


async def test_a_stage_that_accuses_an_honest_one_does_not_sell_a_dear_one(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blaming the next stage leads to a dearer node only as far as the client's price limit allows."""

    async def accuse(*args: object) -> object:
        raise Refused(FailureCode.STAGE_LOST, "stage 1 cannot be reached", 1)

    monkeypatch.setattr("node.open_sessions.open_downstream", accuse)
    with pytest.raises((SessionFailed, PriceTooHigh)):
        await Client(swarm.context).open(replace(request(), max_price=PER_TOKEN))
    monkeypatch.undo()
    await assert_still_serves(swarm)


async def test_a_channel_that_is_closed_under_a_session_ends_it(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A payer cannot take its money back while stages still work on vouchers for it."""
    monkeypatch.setattr("node.session_money.SHORTEST_CHANNEL_WATCH", 0.05)
    monkeypatch.setattr("node.session_money.LONGEST_CHANNEL_WATCH", 0.05)
    session = await swarm.client.open(request(max_tokens=30))
    channel = session.run.opened.channel
    await asyncio.to_thread(swarm.network.channels.close, swarm.signer, channel.key)
    error = await failure_of(session)

    assert error.code == FailureCode.CHANNEL
    await asyncio.to_thread(sync, swarm.context.book, swarm.network, channel)
    assert swarm.context.book.get(channel.channel).state == "closing"
    await assert_still_serves(swarm)


async def test_a_session_that_does_not_begin_gives_its_place_back(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening costs nothing, so it holds a place only briefly."""
    monkeypatch.setattr("node.stage_session.FIRST_WORK_SECONDS", 0.1)
    session = await swarm.client.open(request())
    error = await failure_of(session)

    assert error.code == FailureCode.IDLE
    monkeypatch.undo()
    await assert_still_serves(swarm)


async def test_a_lock_below_prompt_and_window_is_not_worked_for(swarm: Swarm) -> None:
    """Credit that the channel could never pay is not given: what is locked must cover the prompt and one window."""
    client = Client(swarm.context)
    honest = client.money._funded
    client.money._funded = lambda payees, need: honest(payees, -(-4 * PER_TOKEN // 8))  # type: ignore[method-assign]
    for channel in swarm.context.book.all():
        swarm.context.book.set_state(channel.channel, "busy")
    with pytest.raises(SessionFailed) as caught:
        await client.open(request(max_tokens=30))

    assert caught.value.code == FailureCode.CHANNEL
    await assert_still_serves(swarm)


async def test_a_share_rounded_below_the_ask_is_refused(swarm: Swarm) -> None:
    """Beside a partner ten thousand times as dear, a stage's one basis point would be a part of its price."""
    client = Client(swarm.context)
    honest = client._open_on

    async def with_dear_last(stages: tuple[RouteStage, ...], wanted: object, **_: object) -> object:
        return await honest((*stages[:2], replace(stages[2], ask=4_760 * 10**12)), wanted)  # type: ignore[arg-type]

    client._open_on = with_dear_last  # type: ignore[assignment,method-assign]
    with pytest.raises(SessionFailed) as caught:
        await client.open(replace(request(), max_price=10**18))

    assert caught.value.code == FailureCode.WRONG_ROUTE
    assert "share" in caught.value.message
    await assert_still_serves(swarm)


@pytest.mark.parametrize("pool", [0, POOL_BPS - 1, POOL_BPS + 1])
async def test_a_channel_that_pays_the_audit_pool_another_share_is_refused(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch, pool: int
) -> None:
    """None, less, or more at the cost of the stages: what it pays could give them no credit, or is not theirs."""

    def payees(stages: tuple[RouteStage, ...], _: int, account: Address) -> tuple[Payee, ...]:
        shares = payees_for([(each.node, each.end - each.start) for each in stages], WHOLE_BPS - pool)
        return (*shares, Payee(account, pool)) if pool else shares

    monkeypatch.setattr("node.client.payees_of", payees)
    with pytest.raises(SessionFailed) as caught:
        await Client(swarm.context).open(request())

    assert (caught.value.code, "audit pool" in caught.value.message) == (FailureCode.CHANNEL, True)
    monkeypatch.undo()
    await assert_still_serves(swarm)


async def test_the_audit_pools_share_goes_to_no_other_account(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is its word the client's to choose."""
    honest = payees_of
    monkeypatch.setattr("node.client.payees_of", lambda stages, blocks, _: honest(stages, blocks, swarm.signer.address))
    with pytest.raises(SessionFailed) as caught:
        await Client(swarm.context).open(request())

    assert caught.value.code == FailureCode.CHANNEL
    monkeypatch.undo()
    await assert_still_serves(swarm)


async def test_prompts_in_single_rows_are_not_sold_at_the_prompts_price(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifteen rows of a longer prompt are refused; sixteen are not."""
    prompt = tuple(range(40))
    for rows, refused in ((15, True), (16, False)):
        monkeypatch.setattr("node.route_run.PREFILL_CHUNK_TOKENS", rows)
        session = await swarm.client.open(request(prompt, 2))
        if refused:
            with pytest.raises(SessionFailed) as caught:
                _ = [token async for token in session.tokens()]
            assert caught.value.code == FailureCode.SHAPE
            await session.abandon()
        else:
            assert len([token async for token in session.tokens()]) == 2
            await session.finish()
    await assert_still_serves(swarm)


async def test_a_last_stage_that_does_not_confirm_the_end_costs_no_answer(
    swarm: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is paid and generated: the report comes all the same."""
    monkeypatch.setattr("node.client_session.CLOSE_SECONDS", 0.1)
    session = await swarm.client.open(request(max_tokens=3))
    tokens = [token async for token in session.tokens()]
    session.run.opened.tokens.recv = lambda: asyncio.sleep(60)  # type: ignore[assignment,method-assign,return-value]
    report = await session.finish()

    assert report.tokens == tuple(tokens)
    monkeypatch.undo()
    await assert_still_serves(swarm)


async def test_a_stage_number_that_is_not_on_the_route_falls_back_on_its_speaker(swarm: Swarm) -> None:
    """Nobody gets away by accusing a stage that does not exist."""
    session = await swarm.client.open(request())
    error = session.run.failed(FailureCode.STAGE_LOST, "stage 4294967295 did it", 2**32 - 1)
    await session.abandon()

    assert (error.stage, error.node) == (2, swarm.stages[2].owner.address)
    await assert_still_serves(swarm)


async def test_money_of_every_crash_is_found_again(swarm: Swarm) -> None:
    """Between a transaction and its record the book may be behind; the chain decides what can be closed and reclaimed."""
    book, network, signer = swarm.context.book, swarm.network, swarm.signer
    _, report = await generate(swarm.client, request(max_tokens=3))
    channel = book.get(report.channel)
    await asyncio.to_thread(network.channels.fund, signer, channel.key, 10**15)  # and no set_locked: the crash
    lost = book.plan(signer.address, signer.address, parse_payees(channel.payees))
    await asyncio.to_thread(network.channels.fund, signer, lost.key, 10**15)  # the record still says planned

    _, again = await generate(swarm.client, request(max_tokens=3))
    assert again.channel == report.channel
    assert book.get(report.channel).locked == network.channels.state(report.channel).locked

    closed = await asyncio.to_thread(close_all, book, network, signer)
    assert {report.channel, lost.channel} <= {each.channel for each in closed}
    assert await asyncio.to_thread(close_all, book, network, signer) == []
    early = await asyncio.to_thread(reclaim_all, book, network, signer)
    assert lost.channel not in {each.channel for each in early}, "the delay is not over"
    for method, params in (("evm_increaseTime", [11]), ("evm_mine", [])):
        ask(network.chain.url, method, *params)
    free = network.channels.free_of(signer.address)
    done = await asyncio.to_thread(reclaim_all, book, network, signer)
    assert lost.channel in {each.channel for each in done}
    assert network.channels.free_of(signer.address) >= free + 10**15
    assert await asyncio.to_thread(reclaim_all, book, network, signer) == []
    await assert_still_serves(swarm)
