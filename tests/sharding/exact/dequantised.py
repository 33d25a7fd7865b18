"""An exact model turned back into real numbers, each with how far its checkpoint's may be from it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_torch_file

Doubles = NDArray[np.float64]
HALF = 0.5001
"""Of a rounding step, and a little for what doubles lose on the way."""


@dataclass(frozen=True, slots=True)
class Real:
    """values, and the most that each may be wrong by; slack 0 is exact."""

    values: Doubles
    slack: Doubles

    def times(self, other: "Real") -> "Real":
        """The product by elements and the bound that follows for it."""
        slack = np.abs(self.values) * other.slack + self.slack * np.abs(other.values) + self.slack * other.slack
        return Real(self.values * other.values, slack)

    def rows(self, first: int, last: int) -> "Real":
        return Real(self.values[first:last], self.slack[first:last])

    def is_near(self, wanted: Doubles) -> bool:
        return bool((np.abs(self.values - wanted) <= self.slack + 1e-12 * np.abs(wanted)).all())

    def error(self, wanted: Doubles) -> float:
        """Root mean square, relative to what is wanted."""
        return float(np.sqrt(((self.values - wanted) ** 2).mean() / (wanted**2).mean()))


def compose(producer: Real, consumer: Real) -> Real:
    """What each inner channel carries from each input to each output. Shapes: (P, K), (N, P) -> (N, P, K)."""
    return Real(consumer.values[:, :, None], consumer.slack[:, :, None]).times(
        Real(producer.values[None], producer.slack[None])
    )


@dataclass(frozen=True, slots=True)
class Dequantised:
    tensors: dict[str, NDArray[np.generic]]

    @classmethod
    def of(cls, folder: Path) -> "Dequantised":
        return cls(
            {name: each for path in sorted(folder.glob("*.safetensors")) for name, each in load_file(path).items()}
        )

    def matrix(self, name: str, shift: str = "") -> Real:
        """weight scale 2^-shift, each within half a step of its row; shift names another tensor than the matrix's own."""
        exponent = int(self.tensors[shift or f"{name}.shift"][0])
        step = np.ldexp(self.tensors[f"{name}.scale"].astype(np.float64), -exponent)[:, None]
        weight = self.tensors[f"{name}.weight"].astype(np.float64)
        return Real(weight * step, np.broadcast_to(HALF * step, weight.shape))

    def gain(self, name: str, slack: float = 0.0) -> Real:
        """gain 2^-shift; slack in steps: none where the matrix was divided by just this number."""
        shift = int(self.tensors[f"{name}.shift"][0])
        gain = np.ldexp(self.tensors[f"{name}.gain"].astype(np.float64), -shift)
        return Real(gain, np.full(gain.shape, slack * 2.0**-shift))

    def bias(self, name: str) -> Real:
        """As one column. Shape: (N, 1)."""
        bias = np.ldexp(self.tensors[f"{name}.bias"].astype(np.float64), -16)[:, None]
        return Real(bias, np.full(bias.shape, HALF * 2.0**-16))

    def embedding(self) -> Real:
        column = np.ldexp(self.tensors["embed.column"].astype(np.float64), 0)
        matrix = self.matrix("embed")  # Q16: the shift leaves 2^16
        return Real(matrix.values * column * 2.0**-16, matrix.slack * column * 2.0**-16)


def checkpoint(folder: Path) -> dict[str, Doubles]:
    """The float tensors of a folder, in doubles."""
    files = [load_torch_file(path) for path in sorted(folder.glob("*.safetensors"))]
    return {name: each.double().numpy() for file in files for name, each in file.items()}
