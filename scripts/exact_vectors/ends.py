"""Cases of the model's two ends that need more than arithmetic: the rope table's entries, and the choice of a token."""

from dataclasses import replace

import torch

from exact_vectors.numbers import MAX_INT32, Case, Numbers
from sharding.exact.rope_table import rope_table
from sharding.exact.sampler import candidates, checked, fixed_temperature, fixed_top_p, sample_exact
from sharding.exact.trial import trial_spec
from sharding.rope import Rope
from sharding.sampling import SamplingParams

MAX_WORD = (1 << 64) - 1
_LLAMA3 = (
    ("factor", 8.0),
    ("high_freq_factor", 4.0),
    ("low_freq_factor", 1.0),
    ("original_max_position_embeddings", 8192.0),
)
ROPES = (Rope("default", 10000.0), Rope("linear", 10000.0, (("factor", 2.5),)), Rope("llama3", 500000.0, _LLAMA3))
POSITIONS = (0, 1, 2, 3, 255, 256, 257, 1000, 4095)


def rope_cases() -> list[Case]:
    """Few rows of a table of each kind; head sizes whose frequencies reach from none to all of llama3's ranges."""
    cases = []
    for rope in ROPES:
        for d in (2, 16):
            table = rope_table(replace(trial_spec(d), rope=rope, max_positions=POSITIONS[-1] + 1))
            case: Case = {"kind": rope.kind, "theta": rope.theta, **dict(rope.parameters), "d": d}
            cases.append(case | {"positions": list(POSITIONS), "rows": table[list(POSITIONS)].tolist()})
    return cases


def choose_cases() -> list[Case]:
    """Every way to cut the candidates; equal logits; logits at both ends of int32; temperatures at both ends."""
    numbers, cases = Numbers("choose"), []
    usual = [numbers.signed(6 << 16) for _ in range(24)]
    ends = [MAX_INT32, -MAX_INT32, 0, MAX_INT32, -MAX_INT32, 1]
    for logits in (usual, ends, [7] * 9, [-MAX_INT32] * 3, [5], [numbers.signed(20 << 16) for _ in range(12)]):
        cases.append(_chosen(logits, SamplingParams(), 0))
        for temperature in (1e-6, 0.7, 1.0, 100.0):
            seed, position = numbers.within(0, MAX_WORD), numbers.within(0, 1 << 17)
            for top_k, top_p in ((0, 1.0), (3, 1.0), (0, 0.9), (5, 0.5), (0, 1e-9)):
                cases.append(_chosen(logits, SamplingParams(temperature, top_k, top_p, seed), position))
    return cases


def _chosen(logits: list[int], params: SamplingParams, position: int) -> Case:
    """ids are the candidates among which the noise decides, by their numbers."""
    tensor = torch.tensor(logits, dtype=torch.int32)
    case: Case = {"logits": logits, "T": params.temperature, "top_k": params.top_k, "top_p": params.top_p,
                  "seed": params.seed, "position": position}  # fmt: skip
    if params.temperature > 0:
        ids = sorted(candidates(checked(tensor), params).tolist())
        case |= {"tau": fixed_temperature(params), "pi": fixed_top_p(params), "ids": ids}
    return case | {"token": sample_exact(tensor, params, position)}
