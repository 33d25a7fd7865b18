"""`exact-equal`: random models and random schedules through every kernel, against the reference.

sharding/exact/equality.py says what a case is. Torch runs again in processes of their own under ONEDNN_MAX_CPU_ISA, which
takes instructions away from the library, and on a CUDA device where there is one.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from sharding.exact.arithmetic import Arithmetic
from sharding.exact.equality import draw_case, is_equal
from sharding.exact.kernels import KERNELS
from sharding.exact.model import ExactSpan
from sharding.exact.torch_arithmetic import TorchArithmetic
from sharding.exact.torch_products import choose_product

ISAS = ("AVX2", "AVX512_CORE")
TYPICAL_COLUMNS = (33, 64, 100, 150, 384)


def _torch_maker(device: str) -> Callable[[ExactSpan], Arithmetic]:
    """The proof once for all cases, whose sizes are all different."""
    place = torch.device(device)
    product = choose_product(TYPICAL_COLUMNS, place)
    return lambda span: TorchArithmetic.unproven(span, place, product)


def _makers() -> dict[str, Callable[[ExactSpan], Arithmetic]]:
    makers: dict[str, Callable[[ExactSpan], Arithmetic]] = {"native": KERNELS["native"], "torch": _torch_maker("cpu")}
    return makers | ({"cuda": _torch_maker("cuda")} if torch.cuda.is_available() else {})


def run(arguments: Sequence[str], say: Callable[[str], None]) -> dict[str, object]:
    """Count mismatches."""
    makers = _makers()
    parser = argparse.ArgumentParser(prog="exact-equal")
    parser.add_argument("--cases", type=int, default=2000, help="on this machine as it is, shared out over the kernels")
    parser.add_argument("--isa-cases", type=int, default=100, help="under each ONEDNN_MAX_CPU_ISA, with torch")
    parser.add_argument("--kernels", nargs="+", default=list(makers), choices=list(makers))
    parser.add_argument("--first-seed", type=int, default=0)
    options = parser.parse_args(arguments)
    counts: dict[str, int] = {}
    mismatched: list[str] = []
    for kernel in options.kernels:
        counts[kernel] = -(-options.cases // len(options.kernels))
        seeds = range(options.first_seed, options.first_seed + counts[kernel])
        mismatched += _compare(kernel, makers[kernel], seeds, say)
    for isa in ISAS if options.isa_cases else ():
        found = _under(isa, options.isa_cases, options.first_seed, say)
        mismatched += [f"{isa}: {each}" for each in found["mismatched"]]
        counts[f"torch {isa}"] = found["cases"]
    for each in mismatched:
        say(f"MISMATCH {each}")
    return {
        "cases": sum(counts.values()),
        "mismatches": len(mismatched),
        "mismatched": mismatched[:20],
        "by_kernel": counts,
    }


def _compare(
    kernel: str, make: Callable[[ExactSpan], Arithmetic], seeds: range, say: Callable[[str], None]
) -> list[str]:
    found = []
    for number, seed in enumerate(seeds, 1):
        case = draw_case(seed)
        if not is_equal(make, case):
            found.append(f"{kernel}, {case}")
        if number % 100 == 0:
            say(f"{kernel}: {number} of {len(seeds)} cases, {len(found)} mismatches")
    return found


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
