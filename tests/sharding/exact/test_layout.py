"""Names, dtypes and shapes of an exact model: the table of SPEC.md section 4, and nothing beside it."""

import pytest

from sharding.errors import SpanError
from sharding.exact.layout import (
    EMBED_SCALE,
    EMBED_WEIGHT,
    ROPE_TABLE,
    Slot,
    block_slots,
    embedding_slots,
    head_slots,
    span_slots,
)
from sharding.span import Span
from tests.sharding.exact.random_span import FAMILY_NAMES, small_spec

BIASES = {"blocks.1.qkv.bias", "blocks.1.o.bias", "blocks.1.gate_up.bias", "blocks.1.down.bias"}
HEAD_NORMS = {f"blocks.1.{name}.{part}" for name in ("q_norm", "k_norm") for part in ("gain", "shift")}


def test_a_block_is_its_table() -> None:
    """Every tensor of a Llama block with its dtype and shape: four heads on two, head size 6, 52 wide, 77 inside."""
    assert block_slots(small_spec(), 1) == {
        "blocks.1.attention_norm.gain": Slot("I32", (52,)),
        "blocks.1.attention_norm.shift": Slot("I32", (1,)),
        "blocks.1.down.scale": Slot("I32", (52,)),
        "blocks.1.down.shift": Slot("I32", (1,)),
        "blocks.1.down.weight": Slot("I8", (52, 77)),
        "blocks.1.gate_up.scale": Slot("I32", (154,)),
        "blocks.1.gate_up.shift": Slot("I32", (1,)),
        "blocks.1.gate_up.weight": Slot("I8", (154, 52)),
        "blocks.1.mlp_norm.gain": Slot("I32", (52,)),
        "blocks.1.mlp_norm.shift": Slot("I32", (1,)),
        "blocks.1.o.scale": Slot("I32", (52,)),
        "blocks.1.o.shift": Slot("I32", (1,)),
        "blocks.1.o.weight": Slot("I8", (52, 24)),
        "blocks.1.qkv.scale": Slot("I32", (48,)),
        "blocks.1.qkv.shift": Slot("I32", (1,)),
        "blocks.1.qkv.weight": Slot("I8", (48, 52)),
        ROPE_TABLE: Slot("I16", (64, 3, 2)),
    }


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_families_differ_by_biases_and_head_norms_alone(family: str) -> None:
    """Qwen2 has one bias over its three projections, Qwen3 a gain for each of two head norms, the others nothing more."""
    more = block_slots(small_spec(family), 1).keys() - block_slots(small_spec(), 1).keys()

    assert more == {"qwen2": {"blocks.1.qkv.bias"}, "qwen3": HEAD_NORMS}.get(family, set())


def test_every_projection_may_have_a_bias() -> None:
    """Where the configuration asks for them, one Q16 number for each row."""
    slots = block_slots(small_spec(attention_biases=("q", "k", "v", "o"), mlp_bias=True), 1)

    assert slots.keys() - block_slots(small_spec(), 1).keys() == BIASES
    for name in BIASES:
        assert slots[name] == Slot("I32", slots[name.replace("bias", "weight")].shape[:1])


def test_names_come_in_their_order() -> None:
    """The order of a block's Merkle leaves."""
    assert list(block_slots(small_spec("qwen3"), 1)) == sorted(block_slots(small_spec("qwen3"), 1))


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_head_is_the_embedding_again(tied: bool) -> None:
    """It shares weight and scale; the columns are part of its norm's gain, so they are no leaf of the head."""
    spec = small_spec(tied_embeddings=tied)
    shared = head_slots(spec).keys() & embedding_slots(spec).keys()

    assert shared == ({EMBED_WEIGHT, EMBED_SCALE} if tied else set())
    assert embedding_slots(spec)["embed.column"] == Slot("I32", (52,))
    assert head_slots(spec)["head.shift"] == Slot("I32", (1,))


@pytest.mark.parametrize("tied", [True, False])
def test_spans_make_up_the_model(tied: bool) -> None:
    """The first has the embedding, the last the head, each the rope table; together they are the whole."""
    spec = small_spec(tied_embeddings=tied)
    first, last = span_slots(spec, Span(0, 1)), span_slots(spec, Span(1, 2))

    assert first == embedding_slots(spec) | block_slots(spec, 0)
    assert last == block_slots(spec, 1) | head_slots(spec)
    assert first | last == span_slots(spec, spec.whole)


def test_a_span_outside_the_model_is_refused() -> None:
    """One block past the end."""
    with pytest.raises(SpanError):
        span_slots(small_spec(), Span(1, 3))
