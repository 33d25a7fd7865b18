"""The exact engine: one span of an exact model, many sessions, by whichever arithmetic is fastest and proven here."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sharding.engine import Chunk, Engine, loaded_tensors
from sharding.errors import IntegerOverflow, ScaleOutOfRange
from sharding.exact.arithmetic import Arithmetic, ExactCache, Part
from sharding.exact.kernels import choose_arithmetic
from sharding.exact.layout import EXACT_PROFILE
from sharding.exact.load import exact_span, load_exact_tensors
from sharding.exact.model import ExactSpan
from sharding.manifest import Manifest, read_manifest
from sharding.paged_sessions import DEFAULT_CACHE_BYTES, PagedSessions, by_span, bytes_of, cache_positions, spread
from sharding.paging import PAGE_POSITIONS
from sharding.session_table import Session, SessionTable
from sharding.span import Span
from sharding.spec import ModelSpec


class ExactEngine(PagedSessions):
    """An Engine (see sharding/engine.py) of profile "exact-1"; hidden states and logits are Q16 int32.

    kernel names the arithmetic in use; it never changes a byte of what is computed.
    """

    profile = EXACT_PROFILE
    hidden_dtype = torch.int32

    def __init__(
        self, weights: ExactSpan, manifest: Manifest, arithmetic: Arithmetic, tensors: Mapping[str, Tensor],
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:  # fmt: skip
        """tensors: what the weights are made of."""
        self.spec = weights.spec
        self.span = weights.span
        self.manifest = manifest
        self.tensors = tensors
        self._arithmetic = arithmetic
        self.page_bytes = bytes_of(arithmetic.make_cache(PAGE_POSITIONS).tensors)
        self._cache = arithmetic.make_cache(cache_positions(cache_bytes, self.page_bytes))
        self._sessions = SessionTable(weights.spec, weights.span, self._cache.tensors, self.hidden_dtype)

    @classmethod
    def from_folder(
        cls, folder: Path, span: Span, manifest: Manifest | None = None, kernel: str = "auto",
        cache_bytes: int = DEFAULT_CACHE_BYTES, reuse: Sequence[Engine] = (),
    ) -> "ExactEngine":  # fmt: skip
        """Load one span of an exact model. kernel: "auto" or a name of kernels.KERNELS; cache_bytes: of keys and values.

        reuse: engines of the same model whose weights are shared where they have them, and not read again.
        Raises SpanError, ConfigError, UnsupportedModel, CheckpointError's leaves, ScaleOutOfRange, KernelRefused.
        """
        folder = Path(folder)
        spec = ModelSpec.from_folder(folder)
        span.within(spec.num_blocks)
        manifest = read_manifest(folder) if manifest is None else manifest
        tensors = load_exact_tensors(folder, spec, span, manifest, loaded_tensors(reuse, manifest))
        weights = exact_span(spec, span, tensors)
        return cls(weights, manifest, choose_arithmetic(weights, kernel), tensors, cache_bytes)

    @property
    def kernel(self) -> str:
        return self._arithmetic.name

    @torch.inference_mode()
    def forward(self, batch: Sequence[Chunk]) -> list[Tensor]:
        if not batch:
            return []
        sessions = self._sessions.admit(batch)
        outputs: list[Tensor] = [batch[0].inputs] * len(batch)
        for places in by_span(sessions):
            made = self._compute([batch[place] for place in places], [sessions[place] for place in places])
            for place, output in zip(places, made, strict=True):
                outputs[place] = output
        for session, chunk in zip(sessions, batch, strict=True):  # only now: a failure leaves every length as it was
            session.length += len(chunk.inputs)
        return outputs

    def _compute(self, batch: Sequence[Chunk], sessions: Sequence[Session]) -> list[Tensor]:
        """Chunks of sessions over the same blocks."""
        parts = plan_parts(self._cache, sessions, batch)
        try:
            return self._pass(batch, parts, sessions[0].span)
        except (IntegerOverflow, ScaleOutOfRange) as error:
            error.session = _session_of(error.row, batch, parts)
            raise

    def _pass(self, batch: Sequence[Chunk], parts: list[Part], span: Span) -> list[Tensor]:
        rows = batch[0].inputs if len(batch) == 1 else torch.cat([chunk.inputs for chunk in batch])
        if span.start == 0:
            rows = self._arithmetic.embed(rows)
        is_last, before = span.end == self.spec.num_blocks, self.span.start
        for block in range(span.start, span.end - is_last):
            rows = self._arithmetic.block(block - before, rows, parts)
        if is_last:
            return spread(self._finish(rows, parts, span.end - 1 - before), batch)
        return [rows[part.first : part.last] for part in parts]

    def _finish(self, rows: Tensor, parts: list[Part], place: int) -> Tensor:
        """(wanted parts, vocab_size)"""
        last = self._arithmetic.final_block(place, rows, parts)
        if not len(last):
            return last
        try:
            return self._arithmetic.logits(last)
        except (IntegerOverflow, ScaleOutOfRange) as error:  # rows are one a part here
            error.row = [part for part in parts if part.wanted][error.row].last - 1
            raise


def plan_parts(cache: ExactCache, sessions: Sequence[Session], batch: Sequence[Chunk]) -> list[Part]:
    """Lay the chunks out in a row."""
    parts, first = [], 0
    for session, chunk in zip(sessions, batch, strict=True):
        last = first + len(chunk.inputs)
        parts.append(Part(cache, first, last, session.length, session.table(), chunk.wants_logits))
        first = last
    return parts


def _session_of(row: int, batch: Sequence[Chunk], parts: Sequence[Part]) -> bytes:
    return next(chunk.session for chunk, part in zip(batch, parts, strict=True) if part.first <= row < part.last)
