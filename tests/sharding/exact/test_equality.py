"""Random models under random schedules: some hundred cases of what the benchmark `exact-equal` runs by the thousand."""

import pytest
import torch
from torch import Tensor

from sharding.exact.equality import draw_case, is_equal
from sharding.exact.kernels import KERNELS
from sharding.exact.model import ExactSpan
from sharding.exact.native_arithmetic import NativeArithmetic
from sharding.exact.reference_arithmetic import ReferenceArithmetic
from sharding.exact.torch_arithmetic import TorchArithmetic


def float32_torch(span: ExactSpan) -> TorchArithmetic:
    """Its product needs no proof, so that cases of many sizes are quick."""
    return TorchArithmetic.unproven(span, torch.device("cpu"), "float32")


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_compiled_kernels_equal_the_reference(first: int) -> None:
    """Prefill is decode, a batch is its sessions, stages are the whole, one thread is two."""
    assert [seed for seed in range(first, first + 10) if not is_equal(NativeArithmetic.unproven, draw_case(seed))] == []


@pytest.mark.parametrize("first", range(100, 140, 10))
def test_torch_equals_the_reference(first: int) -> None:
    """The same for torch."""
    assert [seed for seed in range(first, first + 10) if not is_equal(float32_torch, draw_case(seed))] == []


def test_the_reference_equals_itself_under_any_schedule() -> None:
    """Batching, chunks and cuts change nothing in the specification either."""
    assert [seed for seed in range(200, 206) if not is_equal(ReferenceArithmetic, draw_case(seed))] == []


class _OffByOne(ReferenceArithmetic):
    """One number of one row is wrong by one."""

    def logits(self, rows: Tensor) -> Tensor:
        made = super().logits(rows)
        made[-1, -1] += 1
        return made


class _WrongCache(ReferenceArithmetic):
    """Every value is right but one in a cache."""

    def block(self, place: int, rows: Tensor, parts: object) -> Tensor:
        made = super().block(place, rows, parts)  # type: ignore[arg-type]
        parts[0].cache.value_exponents[0, 0, ::64] ^= 1  # type: ignore[index]
        return made


@pytest.mark.parametrize("wrong", [_OffByOne, _WrongCache])
def test_a_difference_is_seen(wrong: type[ReferenceArithmetic]) -> None:
    """What compares must be able to find something."""
    case = next(case for case in map(draw_case, range(50)) if len(case.span.blocks) == 3)
    assert is_equal(ReferenceArithmetic, case)
    assert not is_equal(wrong, case)


def test_a_case_is_its_seed() -> None:
    """Drawn again, it is the same model, cut and text; its name says enough to see it again."""
    one, again = draw_case(7), draw_case(7)

    assert torch.equal(one.span.blocks[0].qkv.weight, again.span.blocks[0].qkv.weight)
    assert (one.stages, [p.tolist() for p in one.prompts]) == (again.stages, [p.tolist() for p in again.prompts])
    assert str(one).startswith("seed 7: ")


def test_comparing_leaves_the_number_of_threads() -> None:
    """Cases set it, and set it back."""
    before = torch.get_num_threads()
    is_equal(KERNELS["reference"], draw_case(3))
    assert torch.get_num_threads() == before
