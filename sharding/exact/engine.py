"""The exact engine: one span of an exact model, many sessions, by whichever arithmetic is fastest and proven here."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from sharding.engine import Chunk
from sharding.errors import IntegerOverflow, ScaleOutOfRange
from sharding.exact.arithmetic import Arithmetic, ExactCache, Part
from sharding.exact.kernels import choose_arithmetic
from sharding.exact.layout import EXACT_PROFILE
from sharding.exact.load import load_exact_span
from sharding.exact.model import ExactSpan
from sharding.manifest import Manifest, read_manifest
from sharding.session_table import Session, SessionTable
from sharding.span import Span
from sharding.spec import ModelSpec


class ExactEngine:
    """An Engine (see sharding/engine.py) of profile "exact-1"; hidden states and logits are Q16 int32.

    kernel names the arithmetic in use; it never changes a byte of what is computed.
    """

    profile = EXACT_PROFILE
    hidden_dtype = torch.int32

    def __init__(self, weights: ExactSpan, manifest: Manifest, arithmetic: Arithmetic) -> None:
        self.spec = weights.spec
        self.span = weights.span
        self.manifest = manifest
        self._arithmetic = arithmetic
        self._sessions: SessionTable[ExactCache] = SessionTable(
            weights.spec, arithmetic.make_cache, hidden_dtype=self.hidden_dtype
        )

    @classmethod
    def from_folder(
        cls, folder: Path, span: Span, manifest: Manifest | None = None, kernel: str = "auto"
    ) -> "ExactEngine":
        """Load one span of an exact model. kernel: "auto" or a name of kernels.KERNELS.

        Raises SpanError, ConfigError, UnsupportedModel, CheckpointError's leaves, ScaleOutOfRange, KernelRefused.
        """
        folder = Path(folder)
        spec = ModelSpec.from_folder(folder)
        span.within(spec.num_blocks)
        manifest = read_manifest(folder) if manifest is None else manifest
        weights = load_exact_span(folder, spec, span, manifest)
        return cls(weights, manifest, choose_arithmetic(weights, kernel))

    @property
    def kernel(self) -> str:
        return self._arithmetic.name

    def open(self, session: bytes, capacity: int) -> None:
        self._sessions.open(session, capacity)

    def length(self, session: bytes) -> int:
        return self._sessions.get(session).length

    def truncate(self, session: bytes, length: int) -> None:
        self._sessions.truncate(session, length)

    def close(self, session: bytes) -> None:
        self._sessions.close(session)

    @torch.inference_mode()
    def forward(self, batch: Sequence[Chunk]) -> list[Tensor]:
        if not batch:
            return []
        sessions = self._sessions.admit(batch, tokens=self.span.start == 0)
        parts = plan_parts(sessions, [len(chunk.inputs) for chunk in batch])
        try:
            outputs = self._compute(batch, parts)
        except (IntegerOverflow, ScaleOutOfRange) as error:
            error.session = _session_of(error.row, batch, parts)
            raise
        for session, part in zip(sessions, parts, strict=True):  # only now: a failure leaves every length as it was
            session.length = part.start + part.last - part.first
        return outputs

    def _compute(self, batch: Sequence[Chunk], parts: list[Part]) -> list[Tensor]:
        rows = batch[0].inputs if len(batch) == 1 else torch.cat([chunk.inputs for chunk in batch])
        if self.span.start == 0:
            rows = self._arithmetic.embed(rows)
        is_last = self.span.end == self.spec.num_blocks
        for place in range(len(self.span) - is_last):
            rows = self._arithmetic.block(place, rows, parts)
        if is_last:
            return list(self._logits(self._arithmetic.final_block(len(self.span) - 1, rows, parts), parts))
        return [rows[part.first : part.last] for part in parts]

    def _logits(self, last: Tensor, parts: list[Part]) -> Tensor:
        try:
            return self._arithmetic.logits(last)
        except (IntegerOverflow, ScaleOutOfRange) as error:  # rows are one a part here
            error.row = parts[error.row].last - 1
            raise


def plan_parts(sessions: Sequence[Session[ExactCache]], counts: Sequence[int]) -> list[Part]:
    """Lay the chunks out in a row."""
    parts, first = [], 0
    for session, count in zip(sessions, counts, strict=True):
        parts.append(Part(session.cache, first, first + count, session.length))
        first += count
    return parts


def _session_of(row: int, batch: Sequence[Chunk], parts: Sequence[Part]) -> bytes:
    return next(chunk.session for chunk, part in zip(batch, parts, strict=True) if part.first <= row < part.last)
