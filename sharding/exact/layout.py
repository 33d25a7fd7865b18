"""Which tensors an exact model has, and which of them a span needs; names, dtypes and shapes after SPEC.md section 4."""

from dataclasses import dataclass

from sharding.families import FAMILIES
from sharding.span import Span
from sharding.spec import ModelSpec
from sharding.tensors import Shape

EXACT_PROFILE = "exact-1"
ROPE_TABLE = "rope.table"
EMBED_WEIGHT = "embed.weight"
EMBED_SCALE = "embed.scale"


@dataclass(frozen=True, slots=True)
class Slot:
    """What a tensor must be: safetensors' dtype name and shape."""

    dtype: str
    shape: Shape


Slots = dict[str, Slot]


def block_slots(spec: ModelSpec, index: int) -> Slots:
    """The tensors of one block, the shared rope table among them, in the order of their names."""
    slots = {ROPE_TABLE: Slot("I16", (spec.max_positions, spec.head_dim // 2, 2))}
    slots |= _norm("attention_norm", spec.hidden_size) | _norm("mlp_norm", spec.hidden_size)
    if FAMILIES[spec.family].qk_norm:
        slots |= _norm("q_norm", spec.head_dim) | _norm("k_norm", spec.head_dim)
    queries = spec.num_heads * spec.head_dim
    rows = queries + 2 * spec.num_kv_heads * spec.head_dim
    slots |= _matrix("qkv", rows, spec.hidden_size, "q" in spec.attention_biases)
    slots |= _matrix("o", spec.hidden_size, queries, "o" in spec.attention_biases)
    slots |= _matrix("gate_up", 2 * spec.intermediate_size, spec.hidden_size, spec.mlp_bias)
    slots |= _matrix("down", spec.hidden_size, spec.intermediate_size, spec.mlp_bias)
    named = {name if name == ROPE_TABLE else exact_prefix(index) + name: slot for name, slot in slots.items()}
    return dict(sorted(named.items()))


def exact_prefix(index: int) -> str:
    return f"blocks.{index}."


def embedding_slots(spec: ModelSpec) -> Slots:
    return {
        "embed.column": Slot("I32", (spec.hidden_size,)),
        EMBED_SCALE: Slot("I32", (spec.vocab_size,)),
        "embed.shift": Slot("I32", (1,)),
        EMBED_WEIGHT: Slot("I8", (spec.vocab_size, spec.hidden_size)),
    }


def head_slots(spec: ModelSpec) -> Slots:
    """The final norm and the output matrix, which is the embedding's where tied."""
    weight, scale = (EMBED_WEIGHT, EMBED_SCALE) if spec.tied_embeddings else ("head.weight", "head.scale")
    return _norm("head_norm", spec.hidden_size) | {
        weight: Slot("I8", (spec.vocab_size, spec.hidden_size)),
        scale: Slot("I32", (spec.vocab_size,)),
        "head.shift": Slot("I32", (1,)),
    }


def span_slots(spec: ModelSpec, span: Span) -> Slots:
    """Everything a stage over the span must hold. Raises SpanError where the model has no such blocks."""
    span.within(spec.num_blocks)
    slots: Slots = embedding_slots(spec) if span.start == 0 else {}
    for index in span.blocks:
        slots |= block_slots(spec, index)
    return slots | head_slots(spec) if span.end == spec.num_blocks else slots


def _norm(name: str, width: int) -> Slots:
    return {f"{name}.gain": Slot("I32", (width,)), f"{name}.shift": Slot("I32", (1,))}


def _matrix(name: str, rows: int, columns: int, bias: bool) -> Slots:
    slots = {
        f"{name}.weight": Slot("I8", (rows, columns)),
        f"{name}.scale": Slot("I32", (rows,)),
        f"{name}.shift": Slot("I32", (1,)),
    }
    return slots | ({f"{name}.bias": Slot("I32", (rows,))} if bias else {})
