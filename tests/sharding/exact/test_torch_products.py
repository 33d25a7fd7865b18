"""Matrix products of the libraries: exact up to their bounds, proven before use, replaced where they are wrong."""

import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import Tensor

from sharding.errors import KernelRefused
from sharding.exact import torch_products
from sharding.exact.arithmetic import MAX_ACTIVATION, MAX_ACTIVATION_SUM
from sharding.exact.torch_products import (
    PIECE,
    PRODUCTS,
    _padded_int_mm,
    choose_product,
    exact_product,
    extreme_halves,
    float32_product,
    joined,
    split,
)
from sharding.exact.trial import extreme_activations, extreme_weights

CPU = torch.device("cpu")


def true_product(x: Tensor, weight: Tensor) -> Tensor:
    """By numpy's integers, which are summed by a plain loop."""
    return torch.from_numpy(x.numpy().astype(np.int64) @ weight.numpy().astype(np.int64).T)


def random_weight(rows: int, columns: int, seed: int = 1) -> Tensor:
    return torch.randint(-127, 128, (rows, columns), dtype=torch.int8, generator=torch.Generator().manual_seed(seed))


def random_x(rows: int, columns: int, seed: int = 2) -> Tensor:
    level = min(MAX_ACTIVATION, MAX_ACTIVATION_SUM // columns)
    return torch.randint(-level, level + 1, (rows, columns), generator=torch.Generator().manual_seed(seed))


def saturating_product(x: Tensor, weight: Tensor) -> Tensor:
    """What x86 gives without VNNI: unsigned times signed bytes, added in pairs that saturate at int16."""
    shifted, w = split(x) + 128, weight.to(torch.int64)
    if x.shape[1] % 2:
        shifted, w = torch.nn.functional.pad(shifted, (0, 1)), torch.nn.functional.pad(w, (0, 1))
    even = shifted[:, None, 0::2] * w[None, :, 0::2]
    pairs = even + shifted[:, None, 1::2] * w[None, :, 1::2]
    return joined(pairs.clamp(-(1 << 15), (1 << 15) - 1).sum(dim=2) - 128 * w.sum(dim=1))


@pytest.mark.parametrize("name", sorted(PRODUCTS))
@pytest.mark.parametrize(
    ("rows", "outputs", "columns"), [(1, 1, 1), (1, 5, 7), (2, 9, 64), (17, 33, 1023), (33, 8, 2050)]
)
def test_a_product_equals_the_integers_whatever_its_sizes(name: str, rows: int, outputs: int, columns: int) -> None:
    """Odd sizes, one row and many, one piece and several."""
    x, weight = random_x(rows, columns), random_weight(outputs, columns)
    assert torch.equal(PRODUCTS[name](x, weight), true_product(x, weight))


@pytest.mark.parametrize("name", sorted(PRODUCTS))
@pytest.mark.parametrize("columns", [1, 513, 514, 515, PIECE, PIECE + 1, 3000])
def test_a_product_is_exact_at_the_bounds_of_an_activation(name: str, columns: int) -> None:
    """All at the highest level, alternating, one spike, zeros, against all 127, all -127 and noise."""
    weight = torch.from_numpy(extreme_weights(columns))
    for rows in (extreme_activations(columns), extreme_halves(columns)):
        x = torch.from_numpy(rows).to(torch.int64)
        assert torch.equal(PRODUCTS[name](x, weight), true_product(x, weight))


def test_the_halves_of_the_largest_activation_are_signed_bytes() -> None:
    """Both ends, and every number between them comes back from its halves."""
    x = torch.arange(-MAX_ACTIVATION, MAX_ACTIVATION + 1)[None]
    halves = split(x)
    assert (int(halves.min()), int(halves.max())) == (-128, 127)
    assert torch.equal(joined(halves), x)
    assert int(split(torch.tensor([[MAX_ACTIVATION + 1]])).max()) == 128


def test_a_piece_ends_before_float32_does() -> None:
    """The largest sum of 1032 columns fits 24 bits, that of 1033 does not."""
    assert PIECE <= 1032
    assert 128 * 127 * 1032 < 1 << 24 <= 128 * 127 * 1033


def test_longer_pieces_would_not_be_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """1041 products of 127 and 127 are an odd number beyond 2^24, which float32 does not have."""
    x, weight = torch.full((1, 1041), 127), torch.full((1, 1041), 127, dtype=torch.int8)
    assert float32_product(x, weight).item() == 127 * 127 * 1041
    monkeypatch.setattr(torch_products, "PIECE", 1041)
    assert float32_product(x, weight).item() != 127 * 127 * 1041


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_no_setting_of_torch_rounds_a_product(precision: str) -> None:
    """TF32 and bfloat16 may be switched on by anybody in the process, even after the proof."""
    before = torch.get_float32_matmul_precision()
    x, weight = random_x(9, 1500), random_weight(20, 1500)
    try:
        torch.set_float32_matmul_precision(precision)
        assert torch_products._float_type() == (torch.float32 if precision == "highest" else torch.float64)
        assert torch.equal(float32_product(x, weight), true_product(x, weight))
    finally:
        torch.set_float32_matmul_precision(before)


def test_doubles_are_taken_where_torch_cannot_say_whether_it_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings made for single backends make torch raise when it is asked for the common one."""

    def mixed() -> str:
        raise RuntimeError("mix of the legacy and new APIs")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", mixed)
    assert torch_products._float_type() == torch.float64
    x, weight = random_x(2, 1500), random_weight(3, 1500)
    assert torch.equal(float32_product(x, weight), true_product(x, weight))


@pytest.mark.parametrize(("rows", "outputs", "columns"), [(1, 1, 1), (34, 16, 24), (32, 13, 24), (5, 16, 25)])
def test_filling_up_with_zeros_gives_cuda_its_sizes_and_changes_no_product(
    rows: int, outputs: int, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than 16 rows, the rest in eights; each size met or missed."""
    halves, weight = random_weight(rows, columns, seed=3), random_weight(outputs, columns)

    def particular(halves: Tensor, weight: Tensor) -> Tensor:
        assert len(halves) > 16
        assert not any(size % 8 for size in (*halves.shape, *weight.shape))
        return true_product(halves, weight)

    monkeypatch.setattr(torch_products, "_int_mm", particular)
    assert torch.equal(_padded_int_mm(halves, weight), true_product(halves, weight))


@pytest.mark.parametrize("columns", [2, 3, 96, 768, 1024, 11008, (1 << 17) + 1])
def test_a_saturating_product_is_caught_and_replaced(
    columns: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning names it; the name that is returned is float32's."""
    monkeypatch.setitem(PRODUCTS, "int_mm", saturating_product)
    monkeypatch.setattr(torch_products, "PROVEN_ROWS", (1, 2))
    monkeypatch.setattr(torch_products, "COPIES", 1)
    with caplog.at_level(logging.WARNING):
        assert choose_product({columns}, CPU) == "float32"
    assert "int_mm is not exact" in caplog.text


def test_the_emulated_saturation_is_the_one_that_was_seen() -> None:
    """768 times 127 by 127 gave 97,920 for the low halves on machines without VNNI."""
    x = torch.full((1, 768), 127)
    assert saturating_product(x, torch.full((1, 768), 127, dtype=torch.int8)).item() == 97_920


@pytest.mark.parametrize("rows", [1, 2, 3, 8, 17, 33])
def test_a_product_that_is_wrong_for_one_size_of_batch_is_caught(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libraries choose other code for other numbers of rows."""

    def sometimes(x: Tensor, weight: Tensor) -> Tensor:
        return saturating_product(x, weight) if len(x) == rows else true_product(x, weight)

    monkeypatch.setitem(PRODUCTS, "int_mm", sometimes)
    with pytest.raises(KernelRefused):
        choose_product({64, 200}, CPU, ["int_mm"])


def test_a_product_that_is_wrong_only_in_wide_layers_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """And for other numbers of outputs."""

    def sometimes(x: Tensor, weight: Tensor) -> Tensor:
        return saturating_product(x, weight) if len(weight) > 64 else true_product(x, weight)

    monkeypatch.setitem(PRODUCTS, "int_mm", sometimes)
    with pytest.raises(KernelRefused):
        choose_product({64}, CPU, ["int_mm"])


def test_a_product_that_fails_is_replaced(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A library that has no such kernel raises RuntimeError."""

    def broken(_: Tensor, __: Tensor) -> Tensor:
        raise RuntimeError("CUBLAS_STATUS_NOT_SUPPORTED\nmore lines")

    monkeypatch.setitem(PRODUCTS, "int_mm", broken)
    assert choose_product({8}, CPU) == "float32"
    assert "CUBLAS_STATUS_NOT_SUPPORTED" in caplog.text


def test_no_exact_product_is_a_named_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The text says what else can be done."""
    monkeypatch.setitem(PRODUCTS, "int_mm", saturating_product)
    with pytest.raises(KernelRefused, match="build the compiled kernels"):
        choose_product({96}, CPU, ["int_mm"])


@pytest.mark.parametrize("quick", sorted(PRODUCTS))
def test_of_two_exact_products_the_quicker_is_chosen(quick: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch._int_mm can be right and a plain loop."""
    monkeypatch.setitem(PRODUCTS, "int_mm", true_product)
    monkeypatch.setattr(torch_products, "seconds", lambda product, *_: 0.1 if product is PRODUCTS[quick] else 0.2)
    assert choose_product({8, 24}, CPU) == quick


@pytest.mark.parametrize("columns", [1, 2, 513, 514, 515, 1 << 17, (1 << 17) + 1, 1 << 20])
def test_the_extreme_halves_are_activations(columns: int) -> None:
    """Within both bounds, and as far out as they allow."""
    rows = np.abs(extreme_halves(columns).astype(np.int64))
    assert rows.max() == MAX_ACTIVATION
    assert rows.sum(axis=1).max() <= MAX_ACTIVATION_SUM
    assert columns < 514 or rows[3].sum() + MAX_ACTIVATION > MAX_ACTIVATION_SUM


@pytest.mark.parametrize("isa", ["AVX2", "AVX512_CORE"])
def test_the_chosen_product_is_exact_where_instructions_are_taken_away(isa: str) -> None:
    """In a process of its own, since the library looks once; sizes that the proof has not seen."""
    code = (
        "import torch\n"
        "from sharding.exact.torch_products import PRODUCTS, choose_product\n"
        "product = PRODUCTS[choose_product({768, 2048}, torch.device('cpu'))]\n"
        "for rows, outputs in ((1, 300), (8, 64), (40, 129)):\n"
        "    for columns in (768, 2048):\n"
        "        x = torch.full((rows, columns), 127)\n"
        "        made = product(x, torch.full((outputs, columns), 127, dtype=torch.int8))\n"
        "        print(bool((made == 127 * 127 * columns).all()))\n"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": isa, "OMP_NUM_THREADS": "1"}
    made = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert made.stdout.split() == ["True"] * 6


@pytest.mark.parametrize("sign", [1, -1])
def test_an_activation_at_its_bound_is_taken_and_one_past_it_is_refused(sign: int) -> None:
    """32639 and 32640, of either sign."""
    weight = torch.full((1, 2), 127, dtype=torch.int8)
    x = torch.tensor([[sign * MAX_ACTIVATION, 0]], dtype=torch.int16)
    assert exact_product(x, weight).item() == sign * MAX_ACTIVATION * 127
    with pytest.raises(KernelRefused, match="32640"):
        exact_product(x + sign, weight)


def test_the_lowest_int16_is_refused() -> None:
    """Its magnitude is no int16."""
    with pytest.raises(KernelRefused, match="32768"):
        exact_product(torch.tensor([[-(1 << 15)]], dtype=torch.int16), torch.ones((1, 1), dtype=torch.int8))


def test_a_row_sum_at_its_bound_is_taken_and_one_past_it_is_refused() -> None:
    """2^24 times 127 is still an int32."""
    x = torch.full((2, 1024), 1 << 14, dtype=torch.int16)
    x[:, ::2] *= -1
    weight = torch.full((1, 1024), 127, dtype=torch.int8)
    weight[:, ::2] *= -1
    assert exact_product(x, weight).tolist() == [[127 << 24]] * 2
    x[1, 7] += 1
    with pytest.raises(KernelRefused, match=str(MAX_ACTIVATION_SUM)):
        exact_product(x, weight)


def test_a_weight_of_minus_127_is_taken_and_minus_128_is_refused() -> None:
    """The bound on int32 counts on 127."""
    x, weight = torch.ones((1, 3), dtype=torch.int16), torch.full((1, 3), -127, dtype=torch.int8)
    assert exact_product(x, weight).item() == -381
    with pytest.raises(KernelRefused, match="-128"):
        exact_product(x, weight - 1)


@pytest.mark.parametrize(
    ("x", "weight"),
    [
        (torch.ones((1, 3), dtype=torch.int32), torch.ones((2, 3), dtype=torch.int8)),
        (torch.ones((1, 3), dtype=torch.int16), torch.ones((2, 3), dtype=torch.uint8)),
        (torch.ones((1, 3)), torch.ones((2, 3))),
        (torch.ones((1, 3), dtype=torch.int16), torch.ones((2, 4), dtype=torch.int8)),
        (torch.ones(3, dtype=torch.int16), torch.ones((2, 3), dtype=torch.int8)),
        (torch.ones((1, 3), dtype=torch.int16), torch.ones((1, 2, 3), dtype=torch.int8)),
        (torch.ones((0, 3), dtype=torch.int16), torch.ones((2, 3), dtype=torch.int8)),
        (torch.ones((1, 3), dtype=torch.int16), torch.ones((0, 3), dtype=torch.int8)),
        (torch.ones((1, 0), dtype=torch.int16), torch.ones((2, 0), dtype=torch.int8)),
    ],
)
def test_other_dtypes_and_shapes_are_refused(x: Tensor, weight: Tensor) -> None:
    """Floats, unsigned weights, other ranks and lengths, and everything empty."""
    with pytest.raises(KernelRefused, match="are taken"):
        exact_product(x, weight)
