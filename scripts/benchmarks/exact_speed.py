"""`exact-speed`: the exact engine against transformers float32 on a Llama of 12 x 768 (97 million parameters), side by side.

Each round measures both, one after the other, in one process and with the same number of threads: a decode step of one session
and of eight together, each after a prompt of 32 tokens, and a prefill of 512. Figures are medians over rounds; ratios are taken
round by round. `products` are the same matrix products with nothing between them, the ceiling for whatever is made of the rest;
`library` the same products by torch._int_mm (two passes for sixteen bits), whatever its results are worth on this processor.
Bandwidth is that of copying 256 MB, bytes read and bytes written counted; the fraction is the bytes of weights that a decode
step reads in its time, over that.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from sharding.engine import Chunk
from sharding.exact.engine import ExactEngine
from sharding.exact.native_arithmetic import NativeProduct
from sharding.exact.quantise import quantise
from sharding.manifest import Manifest
from sharding.profiles import EXACT_BYTES
from sharding.random_model import RandomShape, write_random_model
from sharding.spec import ModelSpec

PROMPT, STEPS, PREFILL, SESSIONS = 32, 32, 512, 8
COPY_BYTES = 256 << 20


@dataclass(frozen=True)
class Timing:
    """Seconds: a decode step of one session, of eight, a prefill of 512."""

    decode: float
    batch8: float
    prefill: float


def run(arguments: Sequence[str], say: Callable[[str], None]) -> dict[str, object]:
    """Measure both sides."""
    parser = argparse.ArgumentParser(prog="exact-speed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kernel", default="auto")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="tallystick-bench-") as name:
        source, target = Path(name) / "float", Path(name) / "exact"
        say("writing and quantising the model")
        write_random_model(source, RandomShape())
        manifest = quantise(source, target)
        whole = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
        engine = ExactEngine.from_folder(target, ModelSpec.from_folder(target).whole, kernel=options.kernel)
        rounds = []
        for number in range(options.rounds + 1):
            made = _time_transformers(whole), _time_exact(engine)
            if number:  # the first warms both up
                rounds.append(made)
                say(f"round {number}: transformers {made[0]}, exact {made[1]}")
        figures = _figures(rounds, manifest, sum(p.numel() * 4 for p in whole.parameters()), engine.spec)
        return figures | {"kernel": engine.kernel, "threads": options.threads, "rounds": len(rounds)}


def _figures(
    rounds: list[tuple[Timing, Timing]], manifest: Manifest, float_bytes: int, spec: ModelSpec
) -> dict[str, object]:
    def ratio(field: str) -> float:
        return round(statistics.median(getattr(hf, field) / getattr(exact, field) for hf, exact in rounds), 3)

    def median(side: int, field: str) -> float:
        return statistics.median(getattr(each[side], field) for each in rounds)

    weights = _weight_bytes(manifest)
    copied, read = _copy_bandwidth(), weights["read"] / median(1, "decode")
    return {
        "decode_ratio_hf": ratio("decode"),
        "batch8_ratio_hf": ratio("batch8"),
        "prefill512_ratio_hf": ratio("prefill"),
        "weights_ratio": round(weights["resident"] / float_bytes, 4),
        "bandwidth_fraction": round(read / copied, 3),
        "weights_read_gb_per_s": round(read / 1e9, 2),
        "copy_gb_per_s": round(copied / 1e9, 2),
        "decode_tokens_per_s": round(1 / median(1, "decode"), 1),
        "batch8_tokens_per_s": round(SESSIONS / median(1, "batch8"), 1),
        "prefill512_tokens_per_s": round(PREFILL / median(1, "prefill"), 1),
        "hf_decode_tokens_per_s": round(1 / median(0, "decode"), 1),
        "hf_batch8_tokens_per_s": round(SESSIONS / median(0, "batch8"), 1),
        "hf_prefill512_tokens_per_s": round(PREFILL / median(0, "prefill"), 1),
    } | _ceilings(spec)


def _weight_bytes(manifest: Manifest) -> dict[str, int]:
    """resident: all in memory, with the four bytes a row that the compiled product keeps; read: what a decode step needs."""
    sizes = {r.name: int(np.prod(r.shape)) * EXACT_BYTES[r.dtype] for r in manifest.tensors}
    kept = sum(4 * r.shape[0] for r in manifest.tensors if r.name.endswith(".weight"))
    return {
        "resident": sum(sizes.values()) + kept,
        "read": sum(size for name, size in sizes.items() if name.endswith(".weight")),
    }


def _copy_bandwidth() -> float:
    source, target = torch.ones(COPY_BYTES, dtype=torch.uint8), torch.zeros(COPY_BYTES, dtype=torch.uint8)
    return 2 * COPY_BYTES / min(_seconds(lambda: target.copy_(source)) for _ in range(5))


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@torch.inference_mode()
def _time_transformers(model: torch.nn.Module) -> Timing:
    return Timing(_decode_transformers(model, 1), _decode_transformers(model, SESSIONS), _prefill_transformers(model))


def _decode_transformers(model: Any, batch: int) -> float:
    made = model(_prompts(batch, PROMPT), use_cache=True, logits_to_keep=1)
    past, seconds = made.past_key_values, []
    for _ in range(STEPS):
        token = made.logits[:, -1].argmax(-1, keepdim=True)
        began = time.perf_counter()
        made = model(token, past_key_values=past, use_cache=True)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _prefill_transformers(model: Any) -> float:
    return _seconds(lambda: model(_prompts(1, PREFILL), use_cache=True, logits_to_keep=1))


def _time_exact(engine: ExactEngine) -> Timing:
    return Timing(_decode_exact(engine, 1), _decode_exact(engine, SESSIONS), _prefill_exact(engine))


def _decode_exact(engine: ExactEngine, batch: int) -> float:
    names = [bytes([index]) for index in range(batch)]
    for name in names:
        engine.open(name, PROMPT + STEPS)
    tokens = list(_prompts(batch, PROMPT))
    position, seconds = 0, []
    for _ in range(STEPS + 1):
        chunks = [Chunk(name, position, each) for name, each in zip(names, tokens, strict=True)]
        began = time.perf_counter()
        logits = engine.forward(chunks)
        seconds.append(time.perf_counter() - began)
        position += len(tokens[0])
        tokens = [each.argmax().reshape(1) for each in logits]
    for name in names:
        engine.close(name)
    return statistics.median(seconds[1:])  # the first is the prompts'


def _prefill_exact(engine: ExactEngine) -> float:
    engine.open(b"prefill", PREFILL)
    try:
        return _seconds(lambda: engine.forward([Chunk(b"prefill", 0, _prompts(1, PREFILL)[0])]))
    finally:
        engine.close(b"prefill")


def _prompts(batch: int, length: int) -> torch.Tensor:
    return torch.randint(0, 16384, (batch, length), generator=torch.Generator().manual_seed(3))


def _ceilings(spec: ModelSpec) -> dict[str, object]:
    """Milliseconds of all products of a pass, the output matrix included, for 1 and 8 rows, and of the blocks' for 512."""
    queries = spec.num_heads * spec.head_dim
    rows = queries + 2 * spec.num_kv_heads * spec.head_dim
    shapes = [(rows, spec.hidden_size), (spec.hidden_size, queries), (2 * spec.intermediate_size, spec.hidden_size),
              (spec.hidden_size, spec.intermediate_size)] * spec.num_blocks  # fmt: skip
    random = np.random.default_rng(4)
    matrices = [
        random.integers(-127, 128, shape, dtype=np.int8) for shape in [*shapes, (spec.vocab_size, spec.hidden_size)]
    ]
    compiled = [NativeProduct(each) for each in matrices]
    made: dict[str, object] = {}
    for count, used in ((1, len(matrices)), (SESSIONS, len(matrices)), (PREFILL, len(matrices) - 1)):
        inputs = [random.integers(-8000, 8001, (count, each.shape[1]), dtype=np.int16) for each in matrices[:used]]
        pairs = list(zip(inputs, compiled, strict=False))
        made[f"products_ms_{count}"] = _milliseconds([partial(product, x) for x, product in pairs])
        if count == SESSIONS:
            library = [partial(_library_product, x, each) for x, each in zip(inputs, matrices, strict=True)]
            made[f"library_ms_{count}"] = _milliseconds(library)
    return made


def _milliseconds(calls: list[Callable[[], Any]]) -> float:
    """Of all calls one after the other, the best of three times."""
    return round(1000 * min(_seconds(lambda: [call() for call in calls]) for _ in range(3)), 2)


def _library_product(x: np.ndarray, weights: np.ndarray) -> torch.Tensor:
    wide, across = torch.from_numpy(x), torch.from_numpy(weights).T
    high = (wide.to(torch.int32) + 128) >> 8
    low = wide - (high << 8)
    return (torch._int_mm(high.to(torch.int8), across) << 8) + torch._int_mm(low.to(torch.int8), across)
