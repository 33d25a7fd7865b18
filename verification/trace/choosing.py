"""What SPEC.md section 6 gives for one element on the way from logits to a token."""

import numpy as np

from sharding.exact.gumbel import MAX_WORD, cells, random_words, stream_key
from sharding.exact.sampler import LOG2_E, MAX_DIFFERENCE, MAX_EXPONENT, WEIGHT_BITS
from verification.trace.formulas import exp2
from verification.trace.operations import Outcome, Step


def best(step: Step) -> Outcome:
    index, value, name, first, kept = step.scalars
    names = step.right or range(first, first + len(step.left))
    for place, (other, its_name) in enumerate(zip(step.left, names, strict=True), first):
        if place < kept and (other > value or (other == value and its_name < name)):
            index, value, name = place, other, its_name
    return index


def rank(step: Step, claimed: int) -> bool:
    place, before, its_logit, logit, vocabulary = step.scalars
    if not 0 <= claimed < vocabulary:
        return False
    return place == 0 or its_logit > logit or (its_logit == logit and before < claimed)


def nucleus_weight(step: Step) -> Outcome:
    highest, logit, tau = step.scalars
    if tau < 1 or highest < logit:
        return None
    y = min((min(highest - logit, MAX_DIFFERENCE) * ((LOG2_E << 16) // tau)) >> 16, MAX_EXPONENT)
    return (exp2(y) << WEIGHT_BITS) >> (y >> 16)


def nucleus_count(step: Step) -> Outcome:
    """A prefix value: a candidate is kept where the weights before it do not reach the quota."""
    counted, share, total, reached = step.scalars
    quota = (share * total + 65535) >> 16
    for weight in step.left:
        counted += reached < quota
        reached += weight
    return counted


def noise_cell(step: Step) -> Outcome:
    seed, position, name = step.scalars
    if not (0 <= seed <= MAX_WORD and 0 <= position <= MAX_WORD and 0 <= name < 1 << 32):
        return None
    return int(cells(random_words(stream_key(seed, position), np.array([name], np.int64)))[0])


def sample_score(step: Step) -> Outcome:
    logit, tau, noise = step.scalars
    return (logit << 16) + tau * noise
