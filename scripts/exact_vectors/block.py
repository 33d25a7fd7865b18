"""One small block of each kind with all its weights: what a prompt and the tokens after it become."""

import torch
from torch import Tensor

from exact_vectors.numbers import MAX_INT32, Case, Json, Numbers
from sharding.exact.arithmetic import ExactCache, Part
from sharding.exact.model import ExactBlock, ExactSpan, Matrix, Norm
from sharding.exact.reference_arithmetic import ReferenceArithmetic
from sharding.exact.rope_table import rope_table
from sharding.rope import Rope
from sharding.span import Span
from sharding.spec import ModelSpec

HIDDEN, HEADS, HEAD_DIM, FEED_FORWARD, POSITIONS = 16, 2, 8, 24, 16
CHUNKS = (6, 1, 1, 1)
"""A prompt, then three tokens."""
SIZES = (1, 1 << 4, 1 << 9, 1 << 14, 1 << 16, 1 << 17, 1 << 18, 1 << 20, 1 << 24)
"""Largest magnitude of each position's row."""


def block_cases() -> list[Case]:
    """Without anything that some family adds, and with everything."""
    everything = ("q", "k", "v", "o")
    return [_block_case(_spec("llama", (), None)), _block_case(_spec("qwen3", everything, 4))]


def _spec(family: str, biases: tuple[str, ...], window: int | None) -> ModelSpec:
    return ModelSpec(
        family=family, num_blocks=3, hidden_size=HIDDEN, num_heads=HEADS, num_kv_heads=1, head_dim=HEAD_DIM,
        intermediate_size=FEED_FORWARD, vocab_size=32, max_positions=POSITIONS, tied_embeddings=True,
        eos_token_ids=(), norm_epsilon=1e-5, rope=Rope("default", 10000.0), attention_biases=biases,
        sliding_window=window,
    )  # fmt: skip


def _block_case(spec: ModelSpec) -> Case:
    """The middle block of three, so that a stage needs nothing else."""
    numbers = Numbers(f"block {spec.family}")
    block = _block(numbers, spec)
    span = ExactSpan(spec, Span(1, 2), torch.from_numpy(rope_table(spec)), (block,), None, None)
    rows = torch.tensor([numbers.several(HIDDEN, size) for size in SIZES], dtype=torch.int32)
    arithmetic = ReferenceArithmetic(span)
    cache = arithmetic.make_cache(POSITIONS)
    outputs = _run(arithmetic, rows, cache)
    return {
        "family": spec.family, "H": HIDDEN, "d": HEAD_DIM, "num_heads": HEADS, "num_kv_heads": 1, "K": FEED_FORWARD,
        "epsilon": spec.norm_epsilon, "theta": spec.rope.theta, "window": spec.sliding_window,
        "biases": list(spec.attention_biases), "rope.table": span.rope.tolist(), **_weights(block),
        "chunks": list(CHUNKS), "r": rows.tolist(), "result": outputs.tolist(), **_kept(cache, len(rows)),
    }  # fmt: skip


def _run(arithmetic: ReferenceArithmetic, rows: Tensor, cache: ExactCache) -> Tensor:
    outputs, start = [], 0
    for count in CHUNKS:
        outputs.append(arithmetic.block(0, rows[start : start + count], [Part(cache, 0, count, start)]))
        start += count
    return torch.cat(outputs)


def _block(numbers: Numbers, spec: ModelSpec) -> ExactBlock:
    """Scales such that what comes out of a matrix is of the size of what went in."""
    biased = bool(spec.attention_biases)
    normed = spec.family == "qwen3"
    queries = HEADS * HEAD_DIM
    return ExactBlock(
        _norm(numbers, HIDDEN), _matrix(numbers, queries + 2 * HEAD_DIM, HIDDEN, biased),
        _norm(numbers, HEAD_DIM) if normed else None, _norm(numbers, HEAD_DIM) if normed else None,
        _matrix(numbers, HIDDEN, queries, biased), _norm(numbers, HIDDEN),
        _matrix(numbers, 2 * FEED_FORWARD, HIDDEN, False), _matrix(numbers, HIDDEN, FEED_FORWARD, False),
    )  # fmt: skip


def _norm(numbers: Numbers, width: int) -> Norm:
    return Norm(_tensor(numbers.several(width, (1 << 19) - 1), torch.int32), 18)


def _matrix(numbers: Numbers, rows: int, columns: int, biased: bool) -> Matrix:
    scale = [numbers.within(1 << 27, MAX_INT32) for _ in range(rows)]
    bias = _tensor(numbers.several(rows, 1 << 17), torch.int32) if biased else None
    return Matrix(_tensor(numbers.rows(rows, columns, 127), torch.int8), _tensor(scale, torch.int32), 38, bias)


def _tensor(values: Json, dtype: torch.dtype) -> Tensor:
    return torch.tensor(values, dtype=dtype)


def _weights(block: ExactBlock) -> Case:
    """By the names of section 4, the block's own prefix left out."""
    weights: Case = {}
    for name in ("attention_norm", "q_norm", "k_norm", "mlp_norm"):
        norm = getattr(block, name)
        if norm is not None:
            weights |= {f"{name}.gain": norm.gain.tolist(), f"{name}.shift": norm.shift}
    for name in ("qkv", "o", "gate_up", "down"):
        matrix = getattr(block, name)
        weights |= {
            f"{name}.weight": matrix.weight.tolist(),
            f"{name}.scale": matrix.scale.tolist(),
            f"{name}.shift": matrix.shift,
        }
        weights |= {} if matrix.bias is None else {f"{name}.bias": matrix.bias.tolist()}
    return weights


def _kept(cache: ExactCache, length: int) -> Case:
    """The one head's cache: kh, ke, vh, ve of each position."""
    return {
        "kh": cache.keys[0, 0, :length].tolist(), "ke": cache.key_exponents[0, 0, :length].tolist(),
        "vh": cache.values[0, 0, :length].tolist(), "ve": cache.value_exponents[0, 0, :length].tolist(),
    }  # fmt: skip
