"""`overhead`: what it costs to be a network. The same model over 1, 2 and 4 stages against one process, and with distance.

A random Llama of 12 x 768 (97 million parameters) in the exact profile, one thread a process, greedy, one session; --shape
half-billion takes one with the numbers of Qwen2.5-0.5B, among the smallest models that people run: what a hop costs does not
grow with the model, so its part of a token does not stay. The single
process is an ExactEngine over all blocks, called in a loop here, drawing each token included. Both sides are timed from the
first token to the last, one after the other in each round; ratios are taken round by round, and figures are medians. Their
tokens are compared.

With distance, a proxy before every node delays every byte by half the round trip each way. A token then goes stage 0 -> .. ->
last stage -> stage 0, once through a proxy on each of these ways, one per stage; the client hears of it meanwhile. So no network
can be faster than 1 / (compute + stages x one way), with the compute of the single process in the same rounds and the one way
measured: half of what a frame-sized message takes through such a proxy to an echo and back. A ring that goes by way of the
client has one way more; what would be its bound is given too (bound_fraction_by_client).
"""

import argparse
import contextlib
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.delay_proxy import HOST, DelayProxy
from benchmarks.stage_network import StageNetwork, StagePlan, running_stages
from node.client import Client
from node.generation import model_terms, running_client
from node.lifetime import run_loop
from node.model_folder import resolve_model
from node.reports import Request
from sharding.engine import Chunk
from sharding.exact.engine import ExactEngine
from sharding.random_model import RandomShape, write_random_model
from sharding.sampling import SamplingParams, sample
from sharding.spec import ModelSpec

GREEDY = SamplingParams(0.0, 0, 1.0, 0)
PROMPT = tuple(range(100, 132))
STAGES = (1, 2, 4)
DISTANT_STAGES = 2
ROUND_TRIP_MS = 50.0
PINGS = 20
WARM_UP_TOKENS = 20
"""Past the first voucher."""

SHAPES = {
    "small": RandomShape(),
    "half-billion": RandomShape(
        family="qwen2", num_hidden_layers=24, hidden_size=896, intermediate_size=4864, num_attention_heads=14,
        num_key_value_heads=2, vocab_size=151_936,
    ),
}  # fmt: skip

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Generated:
    """Seconds: per token after the first one."""

    tokens: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Round:
    """One after the other."""

    single: Generated
    sharded: Generated

    @property
    def ratio(self) -> float:
        """Of tokens per second, sharded to single."""
        return self.single.seconds / self.sharded.seconds

    @property
    def equal(self) -> bool:
        return self.single.tokens == self.sharded.tokens


@dataclass(frozen=True, slots=True)
class Bench:
    """What all measurements share."""

    folder: Path
    model: Path
    engine: ExactEngine
    tokens: int
    rounds: int
    say: Say

    @property
    def request(self) -> Request:
        return Request(PROMPT, GREEDY, self.tokens, 10**18)


def run(arguments: Sequence[str], say: Say) -> dict[str, object]:
    """Measure and return the figures."""
    parser = argparse.ArgumentParser(prog="overhead")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--blocks", type=int, help="instead of the shape's own")
    parser.add_argument("--round-trip-ms", type=float, default=ROUND_TRIP_MS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name:
        say("writing the model")
        shape = SHAPES[options.shape]
        shape = replace(shape, num_hidden_layers=options.blocks or shape.num_hidden_layers)
        written = write_random_model(Path(name) / "model", shape)
        model = resolve_model(written, "exact")
        engine = ExactEngine.from_folder(model, ModelSpec.from_folder(model).whole)
        bench = Bench(Path(name), model, engine, options.tokens, options.rounds, say)
        near = {stages: _rounds(bench, stages, None) for stages in STAGES}
        one_way = options.round_trip_ms / 2000
        far = _rounds(bench, DISTANT_STAGES, one_way)
        return _figures(near, far, _measured_one_way(one_way, shape.hidden_size)) | {
            "tokens": options.tokens,
            "rounds": options.rounds,
            "shape": options.shape,
            "blocks": shape.num_hidden_layers,
            "kernel": engine.kernel,
        }


def _rounds(bench: Bench, stages: int, one_way: float | None) -> list[Round]:
    plan = StagePlan(bench.model, stages, one_way_seconds=one_way)
    name = f"{stages} stages" + ("" if one_way is None else f", {1000 * one_way:g} ms one way")
    with running_stages(plan, bench.folder / name.replace(" ", "-")) as up:
        return run_loop(_alternate(bench, up, name))


async def _alternate(bench: Bench, up: StageNetwork, name: str) -> list[Round]:
    """The single process runs on the event loop's thread: nothing of the client's is under way then."""
    made = []
    async with running_client(
        up.network, model_terms(bench.model), up.clients[0], up.nodes.nodes[0].settings.data_dir.parent / "client"
    ) as client:
        await _sharded(client, Request(PROMPT, GREEDY, WARM_UP_TOKENS, 10**18))
        for number in range(bench.rounds):
            made.append(Round(_single(bench), await _sharded(client, bench.request)))
            each = made[-1]
            bench.say(
                f"{name}, round {number + 1}: {1 / each.sharded.seconds:.1f} tokens/s of {1 / each.single.seconds:.1f},"
                f" {'equal' if each.equal else 'DIFFERENT'}"
            )
    return made


async def _sharded(client: Client, request: Request) -> Generated:
    session = await client.open(request)
    try:
        tokens = [token async for token in session.tokens()]
        report = await session.finish()
    finally:
        await session.abandon()
    return Generated(tuple(tokens), report.decode_seconds / (len(tokens) - 1))


def _single(bench: Bench) -> Generated:
    engine, session = bench.engine, bytes(16)
    engine.open(session, len(PROMPT) + bench.tokens)
    try:
        inputs, position, tokens, began = torch.tensor(PROMPT), 0, list[int](), 0.0
        while len(tokens) < bench.tokens:
            [logits] = engine.forward([Chunk(session, position, inputs)])
            position += len(inputs)
            tokens.append(sample(logits, GREEDY, position))
            inputs = torch.tensor(tokens[-1:])
            began = began or time.perf_counter()
        return Generated(tuple(tokens), (time.perf_counter() - began) / (len(tokens) - 1))
    finally:
        engine.close(session)


def _measured_one_way(seconds: float, hidden_size: int) -> float:
    """Half of a message's way through a proxy to an echo and back, the median of several. Seconds."""
    message = bytes(hidden_size * 4)
    with socket.create_server((HOST, 0)) as listener:
        threading.Thread(target=_echo, args=(listener,), daemon=True).start()
        with (
            DelayProxy(listener.getsockname()[1], seconds) as proxy,
            socket.create_connection((HOST, proxy.listen_port)) as caller,
        ):
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return statistics.median(_ping(caller, message) for _ in range(PINGS)) / 2


def _echo(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection, contextlib.suppress(ConnectionResetError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(1 << 16):
            connection.sendall(data)


def _ping(caller: socket.socket, message: bytes) -> float:
    began, missing = time.perf_counter(), len(message)
    caller.sendall(message)
    while missing:
        missing -= len(caller.recv(missing))
    return time.perf_counter() - began


def _figures(near: dict[int, list[Round]], far: list[Round], one_way: float) -> dict[str, object]:
    every = [each for rounds in (*near.values(), far) for each in rounds]
    compute = statistics.median(each.single.seconds for each in far)
    measured = statistics.median(each.sharded.seconds for each in far)
    bound, by_client = (compute + ways * one_way for ways in (DISTANT_STAGES, DISTANT_STAGES + 1))
    ratios = {stages: statistics.median(each.ratio for each in rounds) for stages, rounds in near.items()}
    return {f"ratio_{stages}": round(ratio, 3) for stages, ratio in ratios.items()} | {
        f"bound_fraction_{DISTANT_STAGES}_at_50ms": round(bound / measured, 3),
        "bound_fraction_by_client": round(by_client / measured, 3),
        "tokens_equal": all(each.equal for each in every),
        "single_tokens_per_s": round(1 / statistics.median(each.single.seconds for each in every), 1),
        "tokens_per_s": {
            str(stages): round(1 / statistics.median(each.sharded.seconds for each in rounds), 1)
            for stages, rounds in near.items()
        },
        "added_ms_per_token": {
            str(stages): round(1000 * statistics.median(e.sharded.seconds - e.single.seconds for e in rounds), 2)
            for stages, rounds in near.items()
        },
        "distant_ms_per_token": round(1000 * measured, 2),
        "distant_bound_ms_per_token": round(1000 * bound, 2),
        "one_way_ms": round(1000 * one_way, 2),
    }
