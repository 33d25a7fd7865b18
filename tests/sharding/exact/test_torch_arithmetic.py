"""Blocks, embeddings and logits in plain torch: the reference's bytes, wherever the weights lie."""

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from sharding.errors import KernelRefused
from sharding.exact import torch_arithmetic
from sharding.exact.arithmetic import Part
from sharding.exact.model import ExactSpan
from sharding.exact.reference_arithmetic import ReferenceArithmetic
from sharding.exact.torch_arithmetic import TorchArithmetic, on_device, proven_product
from sharding.exact.torch_products import PRODUCTS
from tests.sharding.exact.arithmetic_pair import CAPACITY, noise, passes
from tests.sharding.exact.random_span import FAMILY_NAMES, random_span


def assert_equal_passes(span: ExactSpan, product: str | None = None) -> None:
    made, expected = passes(TorchArithmetic(span, product=product), span), passes(ReferenceArithmetic(span), span)
    for one, other in zip(made, expected, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@pytest.mark.parametrize("product", sorted(PRODUCTS))
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_every_family_gives_the_bytes_of_the_reference(family: str, product: str) -> None:
    """Prefill, decode and mixed batches of two sessions: every hidden state, logit and cached number."""
    assert_equal_passes(random_span(1, family), product)


@pytest.mark.parametrize(
    ("family", "sizes"),
    [
        ("llama", {"head_dim": 2, "num_heads": 6, "num_kv_heads": 2}),
        ("llama", {"head_dim": 128, "num_heads": 2, "num_kv_heads": 1}),
        ("llama", {"num_heads": 3, "num_kv_heads": 3, "tied_embeddings": True}),
        ("llama", {"attention_biases": ("q", "k", "v", "o"), "mlp_bias": True}),
        ("mistral", {"sliding_window": 1}),
        ("mistral", {"sliding_window": 4}),
        ("qwen2", {"head_dim": 64, "tied_embeddings": True}),
        ("qwen3", {"head_dim": 32, "attention_biases": ("q", "k", "v", "o"), "num_heads": 8, "num_kv_heads": 1}),
        ("llama", {"hidden_size": 1, "intermediate_size": 1, "num_heads": 1, "num_kv_heads": 1, "vocab_size": 2}),
        ("llama", {"hidden_size": 1030, "intermediate_size": 1025, "num_blocks": 1}),
        ("qwen3", {"norm_epsilon": 0.1, "num_blocks": 3}),
    ],
)  # fmt: skip
def test_every_shape_gives_the_bytes_of_the_reference(family: str, sizes: dict[str, Any]) -> None:
    """Head sizes from 2 to 128, grouped and single heads, biases, windows, tied embeddings, one column, more than one piece."""
    assert_equal_passes(random_span(2, family, **sizes))


def test_a_prompt_gives_the_same_caches_in_one_chunk_as_position_by_position() -> None:
    """And the same logits for its last position, alone or beside another session."""
    span = random_span(4, "mistral", sliding_window=5)
    arithmetic = TorchArithmetic(span)
    whole, single, beside = (passes(arithmetic, span, each) for each in ([(12,)], [(1,)] * 12, [(12, 5)]))
    assert torch.equal(whole[-1], single[-1])
    assert torch.equal(whole[-2], single[-2])
    assert torch.equal(whole[-1], beside[-2])
    assert torch.equal(whole[-2], beside[-3][:1])


def test_the_final_block_computes_the_last_row_of_each_part() -> None:
    """The rows that a whole block would give there, and the same caches."""
    span = random_span(5, "qwen3", num_blocks=1)
    rows, made = noise(9), []
    for compute in ("block", "final_block"):
        arithmetic = TorchArithmetic(span)
        caches = [arithmetic.make_cache(CAPACITY) for _ in range(3)]
        parts = [Part(caches[0], 0, 4, 0), Part(caches[1], 4, 5, 0), Part(caches[2], 5, 9, 0)]
        made.append(
            [
                getattr(arithmetic, compute)(0, rows, parts),
                *(c.filled(n) for c, n in zip(caches, (4, 1, 4), strict=True)),
            ]
        )
    assert torch.equal(made[0][0][[3, 4, 8]], made[1][0])
    assert all(torch.equal(one, other) for one, other in zip(made[0][1:], made[1][1:], strict=True))


def test_the_name_says_which_product_is_used() -> None:
    """And on which device."""
    assert TorchArithmetic(random_span(14), product="float32").name == "torch cpu float32"
    assert TorchArithmetic(random_span(14)).name in {f"torch cpu {name}" for name in PRODUCTS}


def test_an_arithmetic_that_is_wrong_anywhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention's own products are a library's too: the trial model finds them."""
    proven_product.cache_clear()
    right = torch_arithmetic.attend
    monkeypatch.setattr(torch_arithmetic, "attend", lambda *given: right(*given) + 1)
    with pytest.raises(KernelRefused, match="differ from the reference"):
        TorchArithmetic(random_span(15))


def tensors_of(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, tuple):
        return [tensor for each in value for tensor in tensors_of(each)]
    return [t for f in fields(value) for t in tensors_of(getattr(value, f.name))] if hasattr(value, "__slots__") else []


def test_every_weight_moves_to_the_device_and_nothing_else_changes() -> None:
    """The meta device, which every machine has."""
    span = random_span(16, "qwen3", attention_biases=("q", "k", "v", "o"))
    moved = on_device(span, torch.device("meta"))
    assert {t.device.type for t in tensors_of(moved)} == {"meta"}
    assert [t.shape for t in tensors_of(moved)] == [t.shape for t in tensors_of(span)]
    assert (moved.spec, moved.span, moved.blocks[0].qkv.shift) == (span.spec, span.span, span.blocks[0].qkv.shift)


def test_no_tensor_is_made_on_a_device_that_was_not_named() -> None:
    """With another default device everything still comes out of the weights' one."""
    span = random_span(17, "mistral", sliding_window=3)
    arithmetic, expected = TorchArithmetic(span), passes(ReferenceArithmetic(span), span)
    with torch.device("meta"):
        made = passes(arithmetic, span)
    assert all(torch.equal(one, other) for one, other in zip(made, expected, strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("product", sorted(PRODUCTS))
@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_cuda_gives_the_bytes_of_the_reference(family: str, product: str) -> None:
    """The weights and caches lie there, rows come from and go to the CPU."""
    span = random_span(18, family)
    made = passes(TorchArithmetic(span, torch.device("cuda"), product), span)
    for one, other in zip(made, passes(ReferenceArithmetic(span), span), strict=True):
        assert torch.equal(one.cpu(), other)
