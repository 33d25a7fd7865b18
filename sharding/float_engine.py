"""The float engine: transformers' decoder layers in float32, one span of them, many sessions.

Its last bits depend on the machine, the batch and the number of threads (setting which is the caller's matter): what
is computed here can be compared within a tolerance, not by hash.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import embedding, linear

from sharding.checkpoint import load_span
from sharding.engine import Chunk, Engine, loaded_tensors
from sharding.errors import NotFinite, UnsupportedModel
from sharding.float_attention import FloatCache, Part, plan_parts
from sharding.float_layers import FloatLayers, build_layers
from sharding.manifest import MANIFEST_FILE, Manifest, build_manifest, read_manifest
from sharding.paged_sessions import DEFAULT_CACHE_BYTES, PagedSessions, by_span, bytes_of, cache_positions, spread
from sharding.paging import PAGE_POSITIONS
from sharding.profiles import EXACT_PROFILE, FLOAT_PROFILE
from sharding.session_table import Session, SessionTable, is_finite
from sharding.span import Span
from sharding.spec import ModelSpec


class FloatEngine(PagedSessions):
    """An Engine (see engine.py) of profile "float32"."""

    profile = FLOAT_PROFILE
    hidden_dtype = torch.float32
    kernel = "transformers"

    def __init__(
        self,
        spec: ModelSpec,
        span: Span,
        manifest: Manifest,
        layers: FloatLayers,
        tensors: Mapping[str, Tensor],
        cache_bytes: int = DEFAULT_CACHE_BYTES,
    ) -> None:
        """tensors: what the layers are made of."""
        self.spec = spec
        self.span = span
        self.manifest = manifest
        self.tensors = tensors
        self._layers = layers
        self.page_bytes = bytes_of(self._make_cache(PAGE_POSITIONS).tensors)
        self._cache = self._make_cache(cache_positions(cache_bytes, self.page_bytes))
        self._sessions = SessionTable(spec, span, self._cache.tensors)

    @classmethod
    def from_folder(
        cls, folder: Path, span: Span, manifest: Manifest | None = None, cache_bytes: int = DEFAULT_CACHE_BYTES,
        reuse: Sequence[Engine] = (),
    ) -> "FloatEngine":  # fmt: skip
        """Load one span. Without a manifest the folder's is read, or built where the folder has none.

        cache_bytes: of keys and values. reuse: engines of the same model whose weights are shared where they have them.
        Raises SpanError, ConfigError, UnsupportedModel, CheckpointError's leaves.
        """
        folder = Path(folder)
        spec = ModelSpec.from_folder(folder)
        span.within(spec.num_blocks)
        if manifest is None:
            manifest = read_manifest(folder) if (folder / MANIFEST_FILE).exists() else build_manifest(folder)
        if manifest.profile == EXACT_PROFILE:
            raise UnsupportedModel(f"{folder.name} is an exact model: serve it in its own profile", key="profile")
        tensors = load_span(folder, spec, span, manifest, torch.float32, loaded_tensors(reuse, manifest))
        return cls(spec, span, manifest, build_layers(spec, span, tensors), tensors, cache_bytes)

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
        span = sessions[0].span
        parts = plan_parts(self._cache, sessions, [len(chunk.inputs) for chunk in batch], self.spec.sliding_window)
        rows = self._blocks(self._enter(batch, span), parts, span)
        outputs = self._leave(rows, parts, batch) if span.end == self.spec.num_blocks else _rows_of(rows, parts)
        for chunk, output in zip(batch, outputs, strict=True):
            if not is_finite(output):
                raise NotFinite("outputs", session=chunk.session)
        return outputs

    def _enter(self, batch: Sequence[Chunk], span: Span) -> Tensor:
        inputs = batch[0].inputs if len(batch) == 1 else torch.cat([chunk.inputs for chunk in batch])
        matrix = self._layers.embedding
        return inputs if matrix is None or span.start else embedding(inputs, matrix)

    def _blocks(self, rows: Tensor, parts: list[Part], span: Span) -> Tensor:
        """Shapes: (rows, hidden_size) in and out."""
        hidden = rows[None]
        places = torch.cat([torch.arange(part.start, part.end) for part in parts])[None]
        rotation = self._layers.rotary(hidden, position_ids=places)
        for block in self._layers.blocks[span.start - self.span.start : span.end - self.span.start]:
            hidden = block(hidden, position_embeddings=rotation, parts=parts)
        return hidden[0]

    def _leave(self, rows: Tensor, parts: list[Part], batch: Sequence[Chunk]) -> list[Tensor]:
        if self._layers.norm is None or self._layers.head is None:
            return _rows_of(rows, parts)
        wanted = [part.last - 1 for part, chunk in zip(parts, batch, strict=True) if chunk.wants_logits]
        if not wanted:
            return spread(rows[:0], batch)
        last = rows[0:1] if len(rows) == 1 else rows[wanted]
        return spread(linear(self._layers.norm(last), self._layers.head), batch)

    def _make_cache(self, capacity: int) -> FloatCache:
        shape = (len(self.span), self.spec.num_kv_heads, capacity, self.spec.head_dim)
        return FloatCache(torch.empty(shape), torch.empty(shape))


def _rows_of(rows: Tensor, parts: Sequence[Part]) -> list[Tensor]:
    return [rows[part.first : part.last] for part in parts]
