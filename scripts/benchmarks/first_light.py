"""`first-light`: four node processes against transformers in one process, side by side, and what the chain costs.

A random Llama of 12 x 768 (97 million parameters), float32 on both sides, one thread per process. Rounds alternate between the
two sides on one machine; figures are medians over the rounds. A hop's overhead is what a token's way round the network takes
beyond what the stages' own logs say they computed, shared out over the five hops (client, four stages, client). `chained_ms` is
a token through the same four engines called one after the other in this process: what it is below `computed_ms` is the price of
cold caches.
"""

import argparse
import asyncio
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from benchmarks.gas_acts import measure_gas
from incentives.signing import LocalSigner
from node.demo import CLIENT_ACCOUNT, bring_up
from node.demo_nodes import DemoPlan, node_processes
from node.devchain.local import LocalChain
from node.generation import model_terms, running_client
from node.lifetime import run_loop
from node.log import LOG_FILE
from node.network import Network
from node.reports import Report, Request
from sharding.engine import Chunk
from sharding.float_engine import FloatEngine
from sharding.random_model import write_random_model
from sharding.sampling import SamplingParams
from sharding.span import Span

GREEDY = SamplingParams(0.0, 0, 1.0, 0)
PROMPT = tuple(range(100, 132))
GAS = {
    "join": "join",
    "join_first": "join_first",
    "open": "fund_open",
    "open_from_free": "open",
    "settle": "settle_4",
    "settle_first": "settle_4_first",
    "settle_32": "settle_32",
    "collect": "collect",
    "collect_first": "collect_first",
}
"""This benchmark's names for the acts of `gas`."""


@dataclass(frozen=True)
class Round:
    """Seconds per token after the first one, of each side, and whether their tokens were equal; `computed`: by the stages' logs."""

    network: float
    transformers: float
    chain_of_engines: float
    computed: float
    equal: bool


def run(arguments: Sequence[str], say: Callable[[str], None]) -> dict[str, object]:
    """Measure and return the figures."""
    parser = argparse.ArgumentParser(prog="first-light")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stages", type=int, default=4)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name:
        say("writing the model")
        model = write_random_model(Path(name) / "model")
        return _measure(Path(name), model, options, say)


def _measure(folder: Path, model: Path, options: argparse.Namespace, say: Callable[[str], None]) -> dict[str, object]:
    plan = DemoPlan("", options.tokens, options.stages, "auto", model, "float32")
    began = time.perf_counter()
    with LocalChain(plan.chain) as chain, node_processes(plan, folder, chain.url) as nodes:
        network = bring_up(folder, chain.url, nodes)
        setup = time.perf_counter() - began
        say(f"{options.stages} nodes serve after {setup:.1f} s on the {chain.kind} chain")
        logs = [node.settings.data_dir / LOG_FILE for node in nodes.nodes]
        rounds = run_loop(_rounds(network, model, folder, logs, options, say))
    with LocalChain(plan.chain) as chain:
        used = measure_gas(chain.url, batches=False)
        kind = chain.kind
    gas = {ours: used[theirs] for ours, theirs in GAS.items()}
    return _figures(rounds, options, setup, gas, kind)


def _figures(
    rounds: Sequence[Round], options: argparse.Namespace, setup: float, gas: dict[str, int], chain: str
) -> dict[str, object]:
    network = statistics.median(each.network for each in rounds)
    whole = statistics.median(each.transformers for each in rounds)
    overhead = statistics.median(each.network - each.computed for each in rounds)
    return {
        "tokens_per_s": round(1 / network, 2),
        "hf_tokens_per_s": round(1 / whole, 2),
        "ratio": round(statistics.median(each.transformers / each.network for each in rounds), 3),
        "hop_overhead_ms": round(1000 * overhead / (options.stages + 1), 3),
        "computed_ms": round(1000 * statistics.median(each.computed for each in rounds), 2),
        "chained_ms": round(1000 * statistics.median(each.chain_of_engines for each in rounds), 2),
        "setup_s": round(setup, 2),
        "gas": gas,
        "tokens_equal": all(each.equal for each in rounds),
        "stages": options.stages,
        "tokens": options.tokens,
        "rounds": len(rounds),
        "threads": 1,
        "chain": chain,
    }


async def _rounds(
    network: Network,
    model: Path,
    folder: Path,
    logs: list[Path],
    options: argparse.Namespace,
    say: Callable[[str], None],
) -> list[Round]:
    whole = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    edges = [index * whole.config.num_hidden_layers // options.stages for index in range(options.stages + 1)]
    engines = [FloatEngine.from_folder(model, Span(start, end)) for start, end in pairwise(edges)]
    terms = model_terms(model)
    signer = LocalSigner.dev_account(CLIENT_ACCOUNT, network.chain.chain_id)
    rounds = []
    async with running_client(network, terms, signer, folder / "client") as client:
        for number in range(options.rounds + 1):
            request = Request(PROMPT, GREEDY, options.tokens, 10**18)
            session = await client.open(request)
            tokens = [token async for token in session.tokens()]
            report = await session.finish()
            computed = await _computed(logs, number, options.tokens)
            made = _compare(tokens, report, whole, engines, options.tokens, computed)
            if number:  # the first round warms both sides up
                rounds.append(made)
                say(f"round {number}: {1 / made.network:.1f} tokens/s, transformers {1 / made.transformers:.1f}")
    return rounds


def _compare(
    tokens: list[int], report: Report, whole: torch.nn.Module, engines: list[FloatEngine], count: int, computed: float
) -> Round:
    expected, whole_seconds = _generate_whole(whole, count)
    return Round(
        network=report.decode_seconds / (count - 1),
        transformers=whole_seconds,
        chain_of_engines=_generate_chained(engines, count),
        computed=computed,
        equal=tokens == expected,
    )


async def _computed(logs: list[Path], session: int, count: int) -> float:
    """Seconds per decoded token that all stages together computed in their n-th session, from their logs."""
    total = 0.0
    for log in logs:
        async with asyncio.timeout(10):
            while len(found := re.findall(r"decode compute ([0-9.]+) ms", log.read_text())) <= session:
                await asyncio.sleep(0.05)
        total += float(found[session]) / 1000
    return total / (count - 1)


def _generate_whole(whole: torch.nn.Module, count: int) -> tuple[list[int], float]:
    """transformers' generate with its key/value cache; the prefill's time is measured apart and taken off."""
    prompt = torch.tensor([PROMPT])
    options = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    began = time.perf_counter()
    whole.generate(prompt, max_new_tokens=1, **options)
    first = time.perf_counter() - began
    began = time.perf_counter()
    output = whole.generate(prompt, max_new_tokens=count, min_new_tokens=count, **options)
    seconds = time.perf_counter() - began - first
    return output[0, len(PROMPT) :].tolist(), seconds / (count - 1)


def _generate_chained(engines: list[FloatEngine], count: int) -> float:
    """The same stages called one after the other in this process."""
    session = bytes(16)
    for engine in engines:
        engine.open(session, len(PROMPT) + count)
    try:
        inputs, position, began = torch.tensor(PROMPT), 0, 0.0
        for step in range(count):
            values = inputs
            for engine in engines:
                [values] = engine.forward([Chunk(session, position, values)])
            position += len(inputs)
            inputs = torch.argmax(values).reshape(1)
            if step == 0:
                began = time.perf_counter()
        return (time.perf_counter() - began) / (count - 1)
    finally:
        for engine in engines:
            engine.close(session)
