"""`exact-equal`: random models and random schedules through every kernel, against the reference that computes each session alone.

One case is one model (family, sizes, window, biases drawn by the seed) and one schedule: up to four sessions in batches of
changing make-up, prompts cut into chunks anywhere, prefill and decode mixed, positions forgotten and computed again, one or two
threads, the model cut into up to three stages. The reference gets every session in one chunk, whole and alone. A case is a
mismatch where any hidden state between two stages, any logit or any row of a KV cache differs. Torch runs again in processes
of their own under ONEDNN_MAX_CPU_ISA, which takes instructions away from the library.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sharding.engine import Chunk
from sharding.exact.arithmetic import Arithmetic, ExactCache, Part
from sharding.exact.engine import ExactEngine
from sharding.exact.kernels import KERNELS
from sharding.exact.layout import EXACT_PROFILE
from sharding.exact.model import ExactSpan
from sharding.exact.reference_arithmetic import ReferenceArithmetic
from sharding.exact.trial import random_span
from sharding.families import FAMILIES
from sharding.manifest import Manifest
from sharding.rope import Rope
from sharding.span import Span
from sharding.spec import ModelSpec

ISAS = ("AVX2", "AVX512_CORE")
MOST_POSITIONS = 24
HEAD_DIMS = (2, 6, 16, 32, 64)


@dataclass(frozen=True)
class Outcome:
    """Whether a case was equal, and what it was, for whoever wants to see it again."""

    equal: bool
    told: str


def run(arguments: Sequence[str], say: Callable[[str], None]) -> dict[str, object]:
    """Count mismatches."""
    parser = argparse.ArgumentParser(prog="exact-equal")
    parser.add_argument("--cases", type=int, default=2000, help="on this machine as it is, shared out over the kernels")
    parser.add_argument("--isa-cases", type=int, default=150, help="under each ONEDNN_MAX_CPU_ISA, with torch")
    parser.add_argument("--kernels", nargs="+", default=["native", "torch"], choices=sorted(KERNELS))
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args(arguments)
    counts: dict[str, int] = {}
    mismatches: list[str] = []
    for kernel in options.kernels:
        share = options.cases // len(options.kernels)
        seeds = range(options.first_seed, options.first_seed + share)
        mismatches += _compare(kernel, seeds, say)
        counts[kernel] = share
    for isa in ISAS if options.isa_cases else ():
        found = _under(isa, options.isa_cases, options.first_seed, say)
        mismatches += [f"{isa}: {each}" for each in found["mismatched"]]
        counts[f"torch {isa}"] = found["cases"]
    for each in mismatches:
        say(f"MISMATCH {each}")
    return {
        "cases": sum(counts.values()),
        "mismatches": len(mismatches),
        "mismatched": mismatches[:20],
        "by_kernel": counts,
    }


def _under(isa: str, cases: int, first_seed: int, say: Callable[[str], None]) -> dict[str, object]:
    say(f"torch under ONEDNN_MAX_CPU_ISA={isa}")
    command = [
        sys.executable, str(Path(__file__).resolve().parents[1] / "bench.py"), "exact-equal", "--json",
        "--cases", str(cases), "--isa-cases", "0", "--kernels", "torch", "--first-seed", str(first_seed + 10_000),
    ]  # fmt: skip
    made = subprocess.run(
        command, env=os.environ | {"ONEDNN_MAX_CPU_ISA": isa}, capture_output=True, text=True, check=True
    )
    return json.loads(made.stdout.splitlines()[-1])


def _compare(kernel: str, seeds: range, say: Callable[[str], None]) -> list[str]:
    found = []
    for number, seed in enumerate(seeds):
        outcome = compare_case(kernel, seed)
        if not outcome.equal:
            found.append(outcome.told)
        if number % 100 == 99:
            say(f"{kernel}: {number + 1} of {len(seeds)} cases, {len(found)} mismatches")
    return found


def random_spec(random: np.random.Generator) -> ModelSpec:
    """Small, and of every kind."""
    family = str(random.choice(sorted(FAMILIES)))
    kv_heads, head_dim = int(random.integers(1, 4)), int(random.choice(HEAD_DIMS))
    biases = FAMILIES[family].biases
    configured = ("q", "k", "v", "o") if random.random() < 0.5 else ()
    return ModelSpec(
        family=family, num_blocks=int(random.integers(1, 4)), hidden_size=int(random.integers(3, 100)),
        num_heads=kv_heads * int(random.integers(1, 4)), num_kv_heads=kv_heads, head_dim=head_dim,
        intermediate_size=int(random.integers(1, 150)), vocab_size=int(random.integers(2, 60)),
        max_positions=MOST_POSITIONS, tied_embeddings=bool(random.random() < 0.5), eos_token_ids=(), norm_epsilon=1e-6,
        rope=Rope("default", 10000.0),
        attention_biases={"never": (), "configured": configured, "query-key-value": ("q", "k", "v")}[biases],
        mlp_bias=FAMILIES[family].mlp_bias and bool(random.random() < 0.5),
        sliding_window=int(random.integers(1, 12)) if FAMILIES[family].sliding == "optional" and random.random() < 0.7 else None,
    )  # fmt: skip


def compare_case(kernel: str, seed: int) -> Outcome:
    """Draw, compute both ways, compare."""
    random = np.random.Generator(np.random.PCG64(seed))
    span = random_span(random_spec(random), seed)
    cuts = sorted({0, span.spec.num_blocks, *random.integers(0, span.spec.num_blocks + 1, 2).tolist()})
    spans = [Span(start, end) for start, end in pairwise(cuts)]
    threads = int(random.integers(1, 3))
    prompts = [
        random.integers(0, span.spec.vocab_size, int(n))
        for n in random.integers(1, MOST_POSITIONS + 1, int(random.integers(1, 5)))
    ]
    told = f"kernel {kernel}, seed {seed}, stages {[str(each) for each in spans]}, {threads} threads"
    torch.set_num_threads(threads)
    expected = [_reference(span, spans, prompt) for prompt in prompts]
    return Outcome(_schedule_equals(kernel, span, spans, prompts, expected, random), told)


@dataclass(frozen=True)
class Truth:
    """Of one session alone: hidden states (n, H) after each stage but the last, and logits (n, vocab)."""

    hidden: list[Tensor]
    logits: Tensor
    caches: list[Tensor]


def _engine(span: ExactSpan, arithmetic: Arithmetic) -> ExactEngine:
    nothing = Manifest("random", EXACT_PROFILE, span.spec.digest(), (), (), bytes(32), bytes(32), bytes(32))
    return ExactEngine(span, nothing, arithmetic)


def _reference(span: ExactSpan, spans: list[Span], prompt: np.ndarray) -> Truth:
    """Block by block in one chunk, every row to its end."""
    whole = ReferenceArithmetic(span)
    cache = whole.make_cache(MOST_POSITIONS)
    rows, hidden = whole.embed(torch.from_numpy(prompt)), []
    for place in range(span.spec.num_blocks):
        rows = whole.block(place, rows, [Part(cache, 0, len(prompt), 0)])
        if place + 1 in {each.start for each in spans}:
            hidden.append(rows)
    kept = [_kept(cache, each.start, each.end, len(prompt)) for each in spans]
    return Truth(hidden, whole.logits(rows), kept)


def _kept(cache: ExactCache, start: int, end: int, length: int) -> Tensor:
    filled = (cache.keys, cache.key_exponents, cache.values, cache.value_exponents)
    return torch.cat([each[start:end, :, :length].reshape(-1).to(torch.int16) for each in filled])


def _schedule_equals(
    kernel: str,
    span: ExactSpan,
    spans: list[Span],
    prompts: list[np.ndarray],
    expected: list[Truth],
    random: np.random.Generator,
) -> bool:
    engines = [_engine(span.cut(each), KERNELS[kernel](span.cut(each))) for each in spans]
    names = [bytes([index]) for index in range(len(prompts))]
    for engine in engines:
        for name in names:
            engine.open(name, MOST_POSITIONS)
    done, forgotten = [0] * len(prompts), 0
    while any(at < len(prompt) for at, prompt in zip(done, prompts, strict=True)):
        chosen = [i for i in range(len(prompts)) if done[i] < len(prompts[i]) and random.random() < 0.7]
        counts = [
            int(random.integers(1, 1 + min(len(prompts[i]) - done[i], int(random.choice((1, 3, 24)))))) for i in chosen
        ]
        if not _step_equals(engines, names, prompts, expected, done, chosen, counts):
            return False
        for i, count in zip(chosen, counts, strict=True):
            done[i] += count
        if chosen and forgotten < 2 and random.random() < 0.2:  # go back, as after a lost stage
            back = chosen[0]
            done[back], forgotten = int(random.integers(0, done[back] + 1)), forgotten + 1
            for engine in engines:
                engine.truncate(names[back], done[back])
    return all(
        torch.equal(
            _kept(engine._sessions.get(name).cache, 0, len(engine.span), engine.length(name)), truth.caches[stage]
        )
        for stage, engine in enumerate(engines)
        for name, truth in zip(names, expected, strict=True)
    )


def _step_equals(
    engines: list[ExactEngine], names: list[bytes], prompts: list[np.ndarray], expected: list[Truth],
    done: list[int], chosen: list[int], counts: list[int],
) -> bool:  # fmt: skip
    values = [torch.from_numpy(prompts[i][done[i] : done[i] + n]) for i, n in zip(chosen, counts, strict=True)]
    for stage, engine in enumerate(engines):
        batch = [Chunk(names[i], done[i], value) for i, value in zip(chosen, values, strict=True)]
        values = engine.forward(batch)
        for i, n, value in zip(chosen, counts, values, strict=True):
            truth = expected[i]
            last = stage == len(engines) - 1
            wanted = truth.logits[done[i] + n - 1] if last else truth.hidden[stage][done[i] : done[i] + n]
            if not torch.equal(value, wanted):
                return False
    return True
