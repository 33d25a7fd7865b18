"""The fields between logits and token: SPEC.md section 6."""

import numpy as np

from sharding.exact.arithmetic import Q16
from sharding.exact.gumbel import cells, random_words, stream_key
from sharding.exact.reference import Ints
from sharding.exact.sampler import weights
from verification.trace.build import Builder, prefixes
from verification.trace.fields import Draw
from verification.trace.operations import PIECE
from verification.trace.sources import noise_rows


def build_choice(made: Builder, logits: Ints) -> None:
    """Greedy, or Gumbel-max among the candidates that top-k and top-p leave."""
    draw = made.layout.place.draw or Draw()
    names = np.arange(len(logits))
    values, kept = logits, len(logits)
    if draw.tau > 0:
        names = made.put("order", np.lexsort((names, -logits)) if draw.orders else names)[0]
        kept = draw.candidates(len(logits))
        values = _perturbed(made, draw, logits[names[:kept]], names[:kept])
        kept = _nucleus(made, draw, logits[names[:kept]])
    best = _best(values, names, kept)
    made.put("best", best)
    made.put("chosen", names[best[-1:]])


def _nucleus(made: Builder, draw: Draw, falling: Ints) -> int:
    """How many candidates top-p keeps."""
    if draw.pi >= 1 << Q16:
        return len(falling)
    shares = made.put("shares", weights(falling, draw.tau))[0]
    total = int(made.put("shares.total", prefixes(shares.reshape(1, -1), np.add))[0, -1])
    quota = (draw.pi * total + 65535) >> Q16
    reached = np.cumsum(shares) - shares
    counted = (reached < quota).astype(np.int64)
    return int(made.put("kept", prefixes(counted.reshape(1, -1), np.add))[0, -1])


def _perturbed(made: Builder, draw: Draw, falling: Ints, names: Ints) -> Ints:
    key = stream_key(draw.seed, made.layout.place.position + 1)
    places = made.put("cells", cells(random_words(key, names)))[0]
    perturbed: Ints = made.put("perturbed", (falling << Q16) + draw.tau * noise_rows()[0, places])[0]
    return perturbed


def _best(values: Ints, names: Ints, kept: int) -> Ints:
    """Prefix places of the largest value, the lowest id among equals. Shape: (pieces,)."""
    found, best = [], 0
    for first in range(0, len(values), PIECE):
        for place in range(first, min(first + PIECE, kept)):
            if (values[place], -names[place]) > (values[best], -names[best]):
                best = place
        found.append(best)
    return np.array(found, np.int64)
