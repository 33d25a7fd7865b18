"""Products of activations and weights by the libraries' matrix kernels, and the proof that one may be used.

Activations are 256 hi + lo with both halves signed bytes; the halves of a batch are stacked, so that weights are read once.
"int_mm" gives them to torch._int_mm: on x86 without VNNI that may saturate inside, so it is used only where it has just been
right. "float32" needs nothing but IEEE numbers: in pieces of 1024 columns every partial sum is at most
128 * 127 * 1024 < 2^24, where float32 is exact in any order.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sharding.errors import KernelRefused
from sharding.exact.arithmetic import MAX_ACTIVATION, MAX_ACTIVATION_SUM
from sharding.exact.proof import product_fault
from sharding.exact.trial import extreme_weights

log = logging.getLogger(__name__)

PIECE = 1024
"""128 * 127 * 1024 = 16,646,144 < 2^24; 1033 columns would pass it."""
CUDA_ROWS, CUDA_MULTIPLE = 32, 8
"""torch._int_mm on CUDA wants more than 16 rows and both sizes of the weights in eights."""
PROVEN_ROWS = (1, 2, 8, 17, 33)
COPIES = 11
"""Of the seven trial weights: 77 outputs fill a vector kernel's blocks and leave some over."""

Product = Callable[[Tensor, Tensor], Tensor]
"""(n, K) int64 activations and (N, K) int8 weights -> (n, N) int64."""


def split(x: Tensor) -> Tensor:
    """(n, K) -> (2n, K): the high halves, then the low ones, all in [-128, 127]."""
    high = (x + 128) >> 8
    return torch.cat((high, x - (high << 8)))


def joined(products: Tensor) -> Tensor:
    """(2n, N) int64 -> (n, N)"""
    high, low = products.chunk(2)
    return (high << 8) + low


def float32_product(x: Tensor, weight: Tensor) -> Tensor:
    halves = split(x).to(_float_type())
    total = torch.zeros((len(halves), len(weight)), dtype=torch.int64, device=x.device)
    for start in range(0, x.shape[1], PIECE):
        piece = slice(start, start + PIECE)
        total += (halves[:, piece] @ weight[:, piece].to(halves.dtype).T).to(torch.int64)
    return joined(total)


def _float_type() -> torch.dtype:
    """Doubles where torch is, or may be, set to round float32 products (TF32, bfloat16): no setting rounds these."""
    try:
        whole = torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # torch's answer where only some backends were told to round
        whole = False
    return torch.float32 if whole else torch.float64


def int_mm_product(x: Tensor, weight: Tensor) -> Tensor:
    halves = split(x).to(torch.int8)
    multiply = _padded_int_mm if x.device.type == "cuda" else _int_mm
    return joined(multiply(halves, weight).to(torch.int64))


def _int_mm(halves: Tensor, weight: Tensor) -> Tensor:
    if weight.shape[1] == 1:  # on x86 with AMX torch 2.13 leaves the output of a single column unwritten
        halves, weight = (torch.nn.functional.pad(each, (0, 1)) for each in (halves, weight))
    return torch._int_mm(halves, weight.T)


def _padded_int_mm(halves: Tensor, weight: Tensor) -> Tensor:
    """Zeros fill up what CUDA wants; the weights, which would have to be copied, only where their sizes are odd ones."""
    rows, (outputs, columns) = len(halves), weight.shape
    more, beside = -columns % CUDA_MULTIPLE, -outputs % CUDA_MULTIPLE
    if more or beside:
        weight = torch.nn.functional.pad(weight, (0, more, 0, beside))
    halves = torch.nn.functional.pad(halves, (0, more, 0, -rows % CUDA_ROWS))
    return _int_mm(halves, weight)[:rows, :outputs]


PRODUCTS: dict[str, Product] = {"int_mm": int_mm_product, "float32": float32_product}


def choose_product(columns: Collection[int], device: torch.device, names: Collection[str] = tuple(PRODUCTS)) -> str:
    """The quickest of those that equal the reference for all these numbers of columns. Raises KernelRefused: none does.

    Being right is not enough: without VNNI torch._int_mm may be a plain loop, twenty times slower than float32.
    """
    exact = []
    for name in names:
        fault = next(_faults(PRODUCTS[name], columns, device), "")
        if fault:
            log.warning("matrix product %s is not exact on this machine and is not used: %s", name, fault)
        else:
            exact.append(name)
    if not exact:
        raise KernelRefused("no matrix product is exact on this machine: build the compiled kernels or serve float32")
    return exact[0] if len(exact) == 1 else min(exact, key=lambda name: seconds(PRODUCTS[name], max(columns), device))


def seconds(product: Product, columns: int, device: torch.device) -> float:
    """The best of three over a small batch; the first run, which is not counted, may have to prepare things."""
    x = torch.ones((8, columns), dtype=torch.int64, device=device)
    weight = torch.ones((256, columns), dtype=torch.int8, device=device)
    taken = []
    for _ in range(4):
        begun = time.perf_counter()
        int(product(x, weight)[0, 0])  # waits for the device
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


def _faults(product: Product, columns: Collection[int], device: torch.device) -> Iterator[str]:
    def on_device(x: NDArray[np.int16], weights: NDArray[np.int8]) -> NDArray[np.int64]:
        made = product(torch.from_numpy(x).to(device, torch.int64), torch.from_numpy(weights).to(device))
        found: NDArray[np.int64] = made.cpu().numpy()
        return found

    for each in sorted(columns):
        try:
            fault = product_fault(on_device, each) or _half_fault(on_device, each)
        except (RuntimeError, KernelRefused) as error:
            fault = str(error).splitlines()[0]
        if fault:
            yield fault


def _half_fault(product: Callable[[NDArray[np.int16], NDArray[np.int8]], NDArray[np.int64]], columns: int) -> str:
    """What is wrong where all halves are extreme at once, in many batch sizes; empty where nothing is."""
    weights = np.tile(extreme_weights(columns), (COPIES, 1))
    rows = extreme_halves(columns)
    true = rows.astype(np.int64) @ extreme_weights(columns).astype(np.int64).T
    for count in PROVEN_ROWS:
        chosen = np.arange(count) % len(rows)
        found = product(rows[chosen], weights)
        if not np.array_equal(found, np.tile(true[chosen], (1, COPIES))):
            return f"{columns} columns, {count} rows of extreme halves"
    return ""


def extreme_halves(columns: int) -> NDArray[np.int16]:
    """(5, columns): low halves at 127, at -128 (nearer to 0 past 2^17 columns), by turns; then the highest, as many as may be."""
    level = min(128, MAX_ACTIVATION_SUM // columns)
    many = min(columns, MAX_ACTIVATION_SUM // MAX_ACTIVATION)
    rows = np.zeros((5, columns), np.int16)
    rows[0], rows[1] = level - 1, -level
    rows[2, ::2], rows[2, 1::2] = level - 1, -level
    rows[3, :many], rows[4, :many] = MAX_ACTIVATION, -MAX_ACTIVATION
    return rows


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
