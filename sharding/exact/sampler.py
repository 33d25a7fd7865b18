"""The sampler of SPEC.md section 6: from Q16 logits to a token, in integers, so that a wrong token is provably wrong."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sharding.errors import IntegerOverflow, ShapeMismatch
from sharding.exact.arithmetic import MAX_INT32, Q16
from sharding.exact.gumbel import gumbel_noise
from sharding.exact.reference import exp2_mantissa

if TYPE_CHECKING:
    from sharding.sampling import SamplingParams  # which imports this module: there, the profile's logits decide

LOG2_E = 94548
"""log2(e) in Q16."""
ONE = 1 << Q16
MAX_DIFFERENCE = 1 << 28
"""In Q16: logits further below the largest have no weight at any temperature."""
MAX_EXPONENT = 40 << Q16
WEIGHT_BITS = 14

Ints = NDArray[np.int64]


def sample_exact(logits: Tensor, params: "SamplingParams", position: int) -> int:
    """The token at position (an unsigned 64-bit number). Shapes: logits (vocab_size,) int32.

    Raises: SamplingError, ShapeMismatch (shape, dtype), IntegerOverflow (a logit of -2^31), FileDamaged.
    """
    params.validate()
    scores = checked(logits)
    if params.temperature == 0:
        return int(scores.argmax())  # the first of equals
    ids = candidates(scores, params)
    totals = perturbed(scores[ids], ids, params, position)
    return int(ids[totals == totals.max()].min())


def checked(logits: Tensor) -> Ints:
    """The logits as numbers that cannot wrap here. Raises ShapeMismatch, IntegerOverflow."""
    if logits.dim() != 1 or len(logits) < 1:
        raise ShapeMismatch(b"", "shape of the logits", ("vocab_size",), tuple(logits.shape))
    if logits.dtype != torch.int32:
        raise ShapeMismatch(b"", "dtype of the logits", torch.int32, logits.dtype)
    scores = logits.detach().cpu().numpy().astype(np.int64)
    if scores.min() < -MAX_INT32:
        raise IntegerOverflow("a logit", MAX_INT32)
    return scores


def candidates(scores: Ints, params: "SamplingParams") -> Ints:
    """The ids among which the noise decides, for a temperature above 0.

    By falling logit, the lower id first among equals, where top-k or top-p may cut; else all of them by id.
    """
    share = fixed_top_p(params)
    if share >= ONE and not 0 < params.top_k < len(scores):
        return np.arange(len(scores))
    ids = _ordered(scores, params.top_k)
    if share >= ONE:
        return ids
    totals = weights(scores[ids], fixed_temperature(params)).cumsum()
    enough = -(-share * int(totals[-1]) // ONE)  # past 64 bits on the way
    return ids[: int(np.searchsorted(totals, enough)) + 1]


def fixed_temperature(params: "SamplingParams") -> int:
    """tau: Q16, at least 1."""
    return max(1, round(params.temperature * ONE))


def fixed_top_p(params: "SamplingParams") -> int:
    """pi: Q16, at least 1; 65536 keeps everything."""
    return max(1, round(params.top_p * ONE))


def weights(falling: Ints, tau: int) -> Ints:
    """Shares for top-p: e^(difference to the first / temperature) in 2^-30, each below 2^30. Shapes: (n,) both, n <= 2^21."""
    difference = np.minimum(falling[0] - falling, MAX_DIFFERENCE)
    y = np.minimum((difference * ((LOG2_E << Q16) // tau)) >> Q16, MAX_EXPONENT)
    shares: Ints = (exp2_mantissa(y) << WEIGHT_BITS) >> (y >> Q16)
    return shares


def perturbed(scores: Ints, ids: Ints, params: "SamplingParams", position: int) -> Ints:
    """What the token is the largest of, in 2^-32, from the ids' own scores. Shapes: (n,). Raises SamplingError, FileDamaged."""
    return (scores << Q16) + fixed_temperature(params) * gumbel_noise(params.seed, position, ids)


def _ordered(scores: Ints, top_k: int) -> Ints:
    # one key each, unlike any other: sorting plain numbers is several times faster than a stable sort of their places
    room = len(scores).bit_length()
    keys = ((scores.max() - scores) << room) | np.arange(len(scores))
    if 0 < top_k < len(keys):
        keys = np.partition(keys, top_k - 1)[:top_k]
    return np.sort(keys) & ((1 << room) - 1)
