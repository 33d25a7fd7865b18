"""Which arithmetic computes: the fastest that is there and equals the reference on this machine."""

import logging
from collections.abc import Callable

from sharding.errors import KernelRefused
from sharding.exact.arithmetic import Arithmetic
from sharding.exact.model import ExactSpan
from sharding.exact.native_arithmetic import NativeArithmetic
from sharding.exact.reference_arithmetic import ReferenceArithmetic
from sharding.exact.torch_arithmetic import TorchArithmetic

log = logging.getLogger(__name__)

KERNELS: dict[str, Callable[[ExactSpan], Arithmetic]] = {
    "native": NativeArithmetic,
    "torch": TorchArithmetic,
    "reference": ReferenceArithmetic,
}


def choose_arithmetic(span: ExactSpan, kernel: str = "auto") -> Arithmetic:
    """By name, or with "auto" the compiled kernels where they can be had, else torch. Raises KernelRefused."""
    if kernel != "auto":
        if kernel not in KERNELS:
            raise KernelRefused(f"there is no kernel {kernel!r}: take auto or one of {', '.join(KERNELS)}")
        return KERNELS[kernel](span)
    try:
        return NativeArithmetic(span)
    except KernelRefused as error:
        log.warning("compiled kernels are not used, torch computes instead: %s", error)
        return TorchArithmetic(span)
