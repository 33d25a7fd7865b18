"""Whole sessions in the exact profile: the whole model's tokens to the last one, and a named end for numbers out of range."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import pytest
import pytest_asyncio
import torch

from node.client_errors import SessionFailed
from node.refusals import FailureCode
from sharding.engine import Chunk, Engine
from sharding.errors import IntegerOverflow, KernelRefused, ScaleOutOfRange
from sharding.exact.engine import ExactEngine
from sharding.sampling import SamplingParams, sample
from tests.node.swarm import GREEDY, Swarm, deploy_network, generate, request, running_swarm, write_tiny_exact_model
from verification.routes import profile_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

SAMPLED = SamplingParams(1.5, 40, 0.95, 7)
LOWEST = -(1 << 31)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def swarm(embedded_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    """Three exact stages over six blocks and a client, shared by the tests of this file: each must leave it working."""
    home = tmp_path_factory.mktemp("exact-swarm")
    network = await asyncio.to_thread(deploy_network, embedded_url)
    async with running_swarm(network, write_tiny_exact_model(home / "model"), home) as running:
        yield running


def whole_model_tokens(swarm: Swarm, prompt: tuple[int, ...], count: int, params: SamplingParams) -> list[int]:
    """What the reference arithmetic gives for the unsharded model, position by position."""
    engine = ExactEngine.from_folder(swarm.model, swarm.stages[0].engine.spec.whole, kernel="reference")
    engine.open(b"whole", len(prompt) + count)
    tokens, fed = list[int](), list(prompt)
    while len(tokens) < count:
        for token in fed:
            [logits] = engine.forward([Chunk(b"whole", engine.length(b"whole"), torch.tensor([token]))])
        fed = [sample(logits, params, engine.length(b"whole"))]
        tokens += fed
    return tokens


async def assert_still_serves(swarm: Swarm) -> None:
    """No session is left behind and the next good request is answered in full."""
    async with asyncio.timeout(5):
        while any(stage.server.active_sessions for stage in swarm.stages):
            await asyncio.sleep(0.01)
    assert len((await generate(swarm.client, request(max_tokens=3)))[0]) == 3


@pytest.mark.parametrize("params", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
async def test_tokens_are_the_unsharded_references_to_the_last_one(swarm: Swarm, params: SamplingParams) -> None:
    """Three stages over TLS, prefill in one piece: the same numbers as one row after the other through the whole model."""
    prompt = (5, 17, 3, 80)
    tokens, report = await generate(swarm.client, request(prompt, 24, params))

    assert list(tokens) == whole_model_tokens(swarm, prompt, 24, params)
    assert len(set(tokens)) > 3, "a model that repeats itself would hide a mistake"
    assert report.route.profile == profile_id("exact-1")  # type: ignore[attr-defined]


async def test_company_and_chunks_change_no_token(swarm: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session side by side with another, its prompt in pieces, gives what it gives alone and in one piece."""
    wanted = request(tuple(range(20, 50)), 8, SAMPLED)
    alone, _ = await generate(swarm.client, wanted)
    monkeypatch.setattr("node.route_run.PREFILL_CHUNK_TOKENS", 16)
    together = await asyncio.gather(generate(swarm.client, wanted), generate(swarm.client, request((60, 61), 8)))

    assert together[0][0] == alone


Outputs = Callable[[list[torch.Tensor]], list[torch.Tensor]]


@contextmanager
def tampered(engine: Engine, change: Outputs) -> Iterator[None]:
    """An engine that sends on, or raises, something else than it computed."""
    honest = engine.forward
    engine.forward = lambda batch: change(honest(batch))  # type: ignore[method-assign]
    try:
        yield
    finally:
        engine.forward = honest  # type: ignore[method-assign]


async def failure_of(swarm: Swarm) -> SessionFailed:
    """How a request ends that cannot be answered."""
    session = await swarm.client.open(request())
    with pytest.raises(SessionFailed) as caught:
        async for _ in session.tokens():
            pass
    await session.abandon()
    return caught.value


async def test_a_number_that_is_none_names_the_stage_that_sent_it(swarm: Swarm) -> None:
    """-2^31 among hidden states is found out by the next stage, and the client hears which."""

    def lowest(outputs: list[torch.Tensor]) -> list[torch.Tensor]:
        return [torch.full_like(output, LOWEST) for output in outputs]

    with tampered(swarm.stages[0].engine, lowest):
        error = await failure_of(swarm)

    assert (error.code, error.stage) == (FailureCode.OUT_OF_RANGE, 0)
    await assert_still_serves(swarm)


async def test_numbers_of_another_profile_are_not_read_as_these(swarm: Swarm) -> None:
    """Floats on an exact session end it, by name."""
    with tampered(swarm.stages[0].engine, lambda outputs: [output.float() for output in outputs]):
        error = await failure_of(swarm)

    assert (error.code, error.stage) == (FailureCode.MALFORMED, 0)
    assert "INT32, not FLOAT32" in error.message
    await assert_still_serves(swarm)


@pytest.mark.parametrize(
    ("fault", "code", "word"),
    [
        (IntegerOverflow("a gated value", 2147483647), FailureCode.OUT_OF_RANGE, "a gated value exceeds 2147483647"),
        (ScaleOutOfRange("a logit", -3, "at least 0"), FailureCode.OUT_OF_RANGE, "a logit has scale -3"),
        (KernelRefused("compiled wrongly on host 7"), FailureCode.INTERNAL, "operator's log"),
    ],
    ids=["overflow", "scale", "kernel"],
)
async def test_an_overflow_ends_its_session_by_name_and_no_other(
    swarm: Swarm, fault: Exception, code: FailureCode, word: str
) -> None:
    """The client hears which stage and which step; a session that runs meanwhile goes on to its end."""
    steady = await swarm.client.open(request(max_tokens=12))
    tokens = steady.tokens()
    first = await anext(tokens)

    def fail(_: list[torch.Tensor]) -> list[torch.Tensor]:
        raise fault

    with tampered(swarm.stages[1].engine, fail):
        error = await failure_of(swarm)
    rest = [token async for token in tokens]
    await steady.finish()

    assert (error.code, error.stage) == (code, 1)
    assert word in error.message
    assert "host 7" not in error.message
    assert [first, *rest] == list((await generate(swarm.client, request(max_tokens=12)))[0])
    await assert_still_serves(swarm)
