"""Products of activations and weights by the libraries' matrix kernels, and the proof that one may be used.

Activations are 256 hi + lo with both halves signed bytes. "int_mm" gives int8 halves to torch._int_mm; on x86 without
VNNI that saturates inside, so it is used only where it has just been right. "float32" needs nothing but IEEE numbers: in
pieces of 1024 columns every partial sum is at most 128 * 127 * 1024 < 2^24, where float32 is exact in any order.
"""

import logging
from collections.abc import Callable, Collection, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sharding.errors import KernelRefused
from sharding.exact.arithmetic import MAX_ACTIVATION, MAX_ACTIVATION_SUM
from sharding.exact.proof import product_fault

log = logging.getLogger(__name__)

PIECE = 1024
"""128 * 127 * 1024 = 16,646,144 < 2^24; 1033 columns would pass it."""
CUDA_ROWS, CUDA_MULTIPLE = 17, 8

Product = Callable[[Tensor, Tensor], Tensor]
"""(n, K) int64 activations and (N, K) int8 weights -> (n, N) int64."""


def high_half(x: Tensor) -> Tensor:
    return (x + 128) >> 8


def float32_product(x: Tensor, weight: Tensor) -> Tensor:
    """Raises KernelRefused while torch is set to round float32 products."""
    if torch.get_float32_matmul_precision() != "highest":
        raise KernelRefused('float32 products are rounded here: torch.set_float32_matmul_precision("highest")')
    high = high_half(x)
    low = x - (high << 8)
    total = torch.zeros((len(x), len(weight)), dtype=torch.int64, device=x.device)
    for start in range(0, x.shape[1], PIECE):
        piece = slice(start, start + PIECE)
        columns = weight[:, piece].T.float()
        total += (high[:, piece].float() @ columns).to(torch.int64) << 8
        total += (low[:, piece].float() @ columns).to(torch.int64)
    return total


def int_mm_product(x: Tensor, weight: Tensor) -> Tensor:
    """Where CUDA wants more rows or rounder sizes than there are, zeros fill up."""
    rows, outputs = len(x), len(weight)
    if x.device.type == "cuda":
        columns = -x.shape[1] % CUDA_MULTIPLE
        x = torch.nn.functional.pad(x, (0, columns, 0, max(0, CUDA_ROWS - rows)))
        weight = torch.nn.functional.pad(weight, (0, columns, 0, -outputs % CUDA_MULTIPLE))
    high = high_half(x)
    low = (x - (high << 8)).to(torch.int8)
    across = weight.T
    made = (torch._int_mm(high.to(torch.int8), across).to(torch.int64) << 8) + torch._int_mm(low, across)
    return made[:rows, :outputs]


PRODUCTS: dict[str, Product] = {"int_mm": int_mm_product, "float32": float32_product}


def choose_product(columns: Collection[int], device: torch.device, names: Collection[str] = tuple(PRODUCTS)) -> str:
    """The first by name that equals the reference for all these numbers of columns. Raises KernelRefused where none does."""
    for name in names:
        fault = next(_faults(PRODUCTS[name], columns, device), "")
        if not fault:
            return name
        log.warning("matrix product %s is not exact on this machine and is not used: %s", name, fault)
    raise KernelRefused("no matrix product is exact on this machine: build the compiled kernels or serve float32")


def _faults(product: Product, columns: Collection[int], device: torch.device) -> Iterator[str]:
    def on_device(x: NDArray[np.int16], weights: NDArray[np.int8]) -> NDArray[np.int64]:
        made = product(torch.from_numpy(x).to(device, torch.int64), torch.from_numpy(weights).to(device))
        found: NDArray[np.int64] = made.cpu().numpy()
        return found

    for each in sorted(columns):
        try:
            fault = product_fault(on_device, each)
        except (RuntimeError, KernelRefused) as error:
            fault = str(error).splitlines()[0]
        if fault:
            yield fault


def exact_product(x: Tensor, weight: Tensor) -> Tensor:
    """(n, K) int16 activations and (N, K) int8 weights -> (n, N) int64, with every promise of an activation checked.

    Raises KernelRefused: dtypes, shapes, |x| > 32639, a row's magnitudes summing past 2^24, a weight of -128.
    """
    if x.dtype != torch.int16 or weight.dtype != torch.int8:
        raise KernelRefused(f"activations are {x.dtype} and weights {weight.dtype}: int16 and int8 are taken")
    if x.dim() != 2 or weight.dim() != 2 or x.shape[1] != weight.shape[1] or not x.numel() or not weight.numel():
        raise KernelRefused(
            f"shapes {tuple(x.shape)} and {tuple(weight.shape)}: (n, K) and (N, K) are taken, none empty"
        )
    wide = x.to(torch.int64)
    if int(wide.abs().max()) > MAX_ACTIVATION:
        raise KernelRefused(
            f"an activation of {int(wide.abs().max())}: {MAX_ACTIVATION} is the largest whose halves are signed bytes"
        )
    if int(wide.abs().sum(dim=1).max()) > MAX_ACTIVATION_SUM:
        raise KernelRefused(f"activations of a row sum past {MAX_ACTIVATION_SUM}: their products might pass int32")
    if int(weight.min()) < -127:
        raise KernelRefused("a weight of -128: weights lie in [-127, 127]")
    return float32_product(wide, weight)
