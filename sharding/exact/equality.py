"""Random models and random schedules through an arithmetic, against the reference that computes each session alone.

One case is one model (family, sizes, window, biases drawn by the seed) and one schedule: up to four sessions in batches of
changing make-up, prompts cut into chunks anywhere, prefill and decode mixed, positions forgotten and computed again, pages in
any order, one or two threads, the model cut into up to three stages. The reference gets every session in one chunk, whole
and alone. A case is equal where every hidden state between two stages, every logit and every row of every KV cache is.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sharding.exact.arithmetic import Arithmetic, Part
from sharding.exact.model import ExactSpan
from sharding.exact.reference_arithmetic import ReferenceArithmetic
from sharding.exact.trial import random_span
from sharding.families import FAMILIES
from sharding.page_table import places_in
from sharding.paging import PAGE_POSITIONS
from sharding.rope import Rope
from sharding.span import Span
from sharding.spec import ModelSpec

MOST_POSITIONS = 24
HEAD_DIMS = (2, 6, 16, 32, 64, 80, 128)
CHUNK_LENGTHS = (1, 3, MOST_POSITIONS)
Prompt = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Case:
    """A model, where it is cut, the sessions' tokens, and a seed for the schedule."""

    span: ExactSpan
    stages: tuple[Span, ...]
    prompts: tuple[Prompt, ...]
    threads: int
    seed: int

    def __str__(self) -> str:
        spec = self.span.spec
        cut = ", ".join(map(str, self.stages))
        return f"seed {self.seed}: {spec.family}, head_dim {spec.head_dim}, stages {cut}, {self.threads} threads"


@dataclass(frozen=True, slots=True)
class Truth:
    """Of one session alone: hidden states (n, H) behind each stage but the last, logits (n, vocab), each stage's cache."""

    hidden: tuple[Tensor, ...]
    logits: Tensor
    caches: tuple[Tensor, ...]


def draw_case(seed: int) -> Case:
    random = np.random.Generator(np.random.PCG64(seed))
    spec = draw_spec(random)
    cuts = sorted({0, spec.num_blocks, *random.integers(0, spec.num_blocks + 1, 2).tolist()})
    lengths = random.integers(1, MOST_POSITIONS + 1, int(random.integers(1, 5)))
    return Case(
        random_span(spec, seed),
        tuple(Span(start, end) for start, end in pairwise(cuts)),
        tuple(random.integers(0, spec.vocab_size, int(n)) for n in lengths),
        2 if random.random() < 0.25 else 1,
        seed,
    )


def draw_spec(random: np.random.Generator) -> ModelSpec:
    """Small, and of every kind."""
    family = FAMILIES[str(random.choice(sorted(FAMILIES)))]
    kv_heads = int(random.integers(1, 4))
    configured = ("q", "k", "v", "o") if random.random() < 0.5 else ()
    biases = {"never": (), "configured": configured, "query-key-value": ("q", "k", "v")}
    windowed = family.sliding == "optional" and random.random() < 0.7
    return ModelSpec(
        family=family.name, num_blocks=int(random.integers(1, 4)), hidden_size=int(random.integers(3, 100)),
        num_heads=kv_heads * int(random.integers(1, 4)), num_kv_heads=kv_heads, head_dim=int(random.choice(HEAD_DIMS)),
        intermediate_size=int(random.integers(1, 150)), vocab_size=int(random.integers(2, 60)),
        max_positions=MOST_POSITIONS, tied_embeddings=bool(random.random() < 0.5), eos_token_ids=(), norm_epsilon=1e-6,
        rope=Rope("default", 10000.0), attention_biases=biases[family.biases],
        mlp_bias=family.mlp_bias and bool(random.random() < 0.5),
        sliding_window=int(random.integers(1, 12)) if windowed else None,
    )  # fmt: skip


def is_equal(make: Callable[[ExactSpan], Arithmetic], case: Case) -> bool:
    """Compute the case by schedule and compare; torch's number of threads is as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(case.threads)
    try:
        run = _Run(case, [make(case.span.cut(stage)) for stage in case.stages], [_truth(case, p) for p in case.prompts])
        return all(run.step_equals(step) for step in _schedule(case)) and run.caches_equal()
    finally:
        torch.set_num_threads(threads)


def _truth(case: Case, prompt: Prompt) -> Truth:
    """Block by block in one chunk, every row to its end."""
    whole, starts = ReferenceArithmetic(case.span), {stage.start for stage in case.stages}
    cache = whole.make_cache(MOST_POSITIONS)
    rows, hidden = whole.embed(torch.from_numpy(prompt)), []
    for place in range(case.span.spec.num_blocks):
        rows = whole.block(place, rows, [Part(cache, 0, len(prompt), 0)])
        if place + 1 in starts:
            hidden.append(rows)
    kept = tuple(cache.filled(len(prompt), slice(stage.start, stage.end)) for stage in case.stages)
    return Truth(tuple(hidden), whole.logits(rows), kept)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Positions start to end - 1 of a session. A start before the session's length means that the rest is forgotten."""

    session: int
    start: int
    end: int


def _schedule(case: Case) -> Iterator[list[_Piece]]:
    """Batches until every prompt is done; twice at most a session is set back, as after a lost stage."""
    random, done, setbacks = np.random.Generator(np.random.PCG64([case.seed, 1])), [0] * len(case.prompts), 2
    while left := [i for i, prompt in enumerate(case.prompts) if done[i] < len(prompt)]:
        chosen = [i for i in left if random.random() < 0.7] or left[:1]
        batch = []
        for i in chosen:
            count = int(random.integers(1, 1 + min(len(case.prompts[i]) - done[i], int(random.choice(CHUNK_LENGTHS)))))
            batch.append(_Piece(i, done[i], done[i] + count))
            done[i] += count
        yield batch
        if setbacks and random.random() < 0.2:
            done[chosen[0]], setbacks = int(random.integers(0, done[chosen[0]] + 1)), setbacks - 1


class _Run:
    """The stages with a cache for each session, and what must come out of them."""

    def __init__(self, case: Case, stages: Sequence[Arithmetic], truths: Sequence[Truth]) -> None:
        self._case, self._stages, self._truths = case, stages, truths
        pages = np.random.Generator(np.random.PCG64([case.seed, 2])).permutation(len(case.prompts))
        self._tables = [torch.tensor([page], dtype=torch.int32) for page in pages]
        self._caches = [stage.make_cache(PAGE_POSITIONS * len(case.prompts)) for stage in stages]

    def step_equals(self, batch: Sequence[_Piece]) -> bool:
        prompts = self._case.prompts
        rows = torch.from_numpy(np.concatenate([prompts[piece.session][piece.start : piece.end] for piece in batch]))
        for number, stage in enumerate(self._case.stages):
            parts, rows = self._parts(number, batch), self._forward(number, rows, batch)
            last = stage.end == self._case.span.spec.num_blocks
            for place, (piece, part) in enumerate(zip(batch, parts, strict=True)):
                truth = self._truths[piece.session]
                wanted = truth.logits[piece.end - 1] if last else truth.hidden[number][piece.start : piece.end]
                if not torch.equal(rows[place] if last else rows[part.first : part.last], wanted):
                    return False
        return True

    def _parts(self, number: int, batch: Sequence[_Piece]) -> list[Part]:
        parts, first = [], 0
        for piece in batch:
            last = first + piece.end - piece.start
            parts.append(Part(self._caches[number], first, last, piece.start, self._tables[piece.session]))
            first = last
        return parts

    def _forward(self, number: int, rows: Tensor, batch: Sequence[_Piece]) -> Tensor:
        stage, span, parts = self._stages[number], self._case.stages[number], self._parts(number, batch)
        if span.start == 0:
            rows = stage.embed(rows)
        if span.end < self._case.span.spec.num_blocks:
            for place in range(len(span)):
                rows = stage.block(place, rows, parts)
            return rows
        for place in range(len(span) - 1):
            rows = stage.block(place, rows, parts)
        return stage.logits(stage.final_block(len(span) - 1, rows, parts))

    def caches_equal(self) -> bool:
        return all(
            torch.equal(cache.at(places_in(table, 0, len(prompt))), truth.caches[number])
            for number, cache in enumerate(self._caches)
            for table, prompt, truth in zip(self._tables, self._case.prompts, self._truths, strict=True)
        )
