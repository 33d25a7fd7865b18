"""Choosing the next token from the last stage's logits, so that the same seed and position always choose the same.

Randomness comes from Philox as a function of (seed, position) and of nothing before it: any node can take over a
session at any position. Weights are computed in float64; two machines whose logits differ in the last bits can still
differ in a token, as everywhere in the float profile. Logits of the exact profile, int32, are sampled by exact/sampler.py.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sharding.errors import NotFinite, SamplingError, ShapeMismatch
from sharding.exact.sampler import sample_exact

MAX_TEMPERATURE = 100.0
MAX_TOP_K = 1 << 21  # the largest vocabulary
MAX_SEED = (1 << 64) - 1
MAX_POSITION = (1 << 64) - 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """temperature 0 is greedy; top_k 0 and top_p 1 keep every token; the seed is an unsigned 64-bit number.

    top_k cuts first, then top_p keeps the fewest of the likeliest tokens whose share of the rest reaches it.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def validate(self) -> "SamplingParams":
        """The parameters themselves. Raises SamplingError naming the first that is out of its limits."""
        _check_real("temperature", self.temperature, 0.0, MAX_TEMPERATURE)
        _check_whole("top_k", self.top_k, MAX_TOP_K)
        _check_real("top_p", self.top_p, 0.0, 1.0)
        if self.top_p == 0:
            raise SamplingError("top_p", self.top_p, "above 0: it would keep no token")
        _check_whole("seed", self.seed, MAX_SEED)
        return self


def sample(logits: Tensor, params: SamplingParams, position: int) -> int:
    """The token that stands at position (an unsigned 64-bit number, the first token of the session being 0).

    Shapes: logits (vocab_size,), float32 or float64, or int32 in Q16. Equal logits: the lowest id wins when greedy.
    Raises: SamplingError, NotFinite, ShapeMismatch (shape, dtype); for int32 what sample_exact raises.
    """
    params.validate()
    _check_whole("position", position, MAX_POSITION)
    if logits.dtype == torch.int32:
        return sample_exact(logits, params, position)
    if logits.dtype not in (torch.float32, torch.float64):
        raise ShapeMismatch(b"", "dtype of the logits", "int32, float32 or float64", logits.dtype)
    if logits.dim() != 1 or len(logits) < 1:
        raise ShapeMismatch(b"", "shape of the logits", ("vocab_size",), tuple(logits.shape))
    scores = logits.detach().numpy().astype(np.float64)
    if not np.isfinite(scores).all():
        raise NotFinite("logits")
    if params.temperature == 0:
        return int(scores.argmax())
    return _draw(scores, params, uniform(params.seed, position))


def uniform(seed: int, position: int) -> float:
    """In [0, 1), steps of 2^-53: the first word of Philox 4x64 with key (seed, 0) and counter (0, position, 0, 0)."""
    philox = np.random.Philox(key=np.array([seed, 0], np.uint64), counter=np.array([0, position, 0, 0], np.uint64))
    return float(int(philox.random_raw()) >> 11) * 2.0**-53


def _draw(scores: Floats, params: SamplingParams, chance: float) -> int:
    weights = _weights(scores, params.temperature)
    if params.top_k == 0 and params.top_p == 1:
        return _pick(weights, chance)
    kept = _likeliest(scores, params.top_k)
    totals = np.cumsum(weights[kept])
    enough = int(np.searchsorted(totals, params.top_p * totals[-1])) + 1
    kept = kept[:enough]
    return int(kept[_pick(weights[kept], chance)])


def _weights(scores: Floats, temperature: float) -> Floats:
    with np.errstate(over="ignore", under="ignore"):  # a tiny temperature sends the rest to minus infinity: weight 0
        return np.asarray(np.exp((scores - scores.max()) / temperature), np.float64)


def _likeliest(scores: Floats, top_k: int) -> NDArray[np.intp]:
    """Ids by falling score, the lower id first among equals, at most top_k of them (0: all)."""
    if not 0 < top_k < len(scores):
        return np.argsort(-scores, kind="stable")
    threshold = np.partition(scores, len(scores) - top_k)[len(scores) - top_k]
    candidates = np.flatnonzero(scores >= threshold)  # ties at the threshold included, the stable sort settles them
    return candidates[np.argsort(-scores[candidates], kind="stable")][:top_k]


def _pick(weights: Floats, chance: float) -> int:
    totals = np.cumsum(weights)
    place = int(np.searchsorted(totals, chance * totals[-1], side="right"))
    # chance * total may round up to the total itself; then the last token with any weight is meant
    return min(place, int(np.flatnonzero(weights)[-1]))


def _check_real(name: str, value: object, low: float, high: float) -> None:
    if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:  # type: ignore[arg-type,operator]
        raise SamplingError(name, value, f"a number in [{low}, {high}]")


def _check_whole(name: str, value: object, high: int) -> None:
    if type(value) is not int or not 0 <= value <= high:
        raise SamplingError(name, value, f"a whole number in [0, {high}]")
