"""The computing of one session on one stage: a frame in, a frame out, whatever other sessions share the pass."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from node.admission import Admitted
from node.batcher import Batcher
from node.errors import MalformedFrame
from node.frame_rules import MAX_CHUNK_TOKENS, MIN_PROMPT_ROWS
from node.kept import Kept
from node.refusals import Refused, refusal_of
from node.wire import Frame, frame_to_tensor, hidden_frame, sampled_frame
from sharding.engine import Chunk, Engine
from sharding.sampling import sample

REPLAY_CHUNK_TOKENS = 128
"""Rows of a frame that is sent again: the next stage works on one while the next comes."""


@dataclass(frozen=True, slots=True)
class _Output:
    """What one pass made: rows for the next stage, or a token, or neither."""

    rows: Tensor | None = None
    token: int | None = None


class StageWork:
    """Turns frames from upstream into frames for downstream, in the order of the session's positions."""

    def __init__(self, terms: Admitted, kept: Kept, engine: Engine, batcher: Batcher, next_has: int | None) -> None:
        """next_has: the positions that the next stage holds already; None on a last stage."""
        self._terms = terms
        self._kept = kept
        self._engine = engine
        self._batcher = batcher
        self._next_has = next_has
        self._sent_frames = 0
        self._unsent: list[Tensor] = []
        """Rows of the prompt that are too few for a frame of their own."""
        self.decode_seconds = 0.0

    async def advance(self, frame: Frame) -> list[Frame]:
        """Compute a frame; returns what goes on. Raises: Refused naming the stage before, for its bad frame; EngineError."""
        inputs = self._inputs(frame)
        began = time.perf_counter()
        chunk = Chunk(self._kept.name, frame.position, inputs, self._wants_logits(frame))
        self._kept.has_rows = True
        output: _Output = await self._batcher.compute(chunk, lambda made: self._take(made, frame), self._terms.priority)
        if frame.position >= self._terms.prompt_tokens:
            self.decode_seconds += time.perf_counter() - began
        if output.rows is None:
            return [] if output.token is None else [self._token_frame(frame, output.token)]
        self._kept.outputs.append(frame.position, output.rows)
        skipped = max(0, (self._next_has or 0) - frame.position)
        return self._hidden_frames(output.rows[skipped:], frame.position + skipped)

    def replay(self, position: int) -> list[Frame]:
        """The frames of rows that the next stage lacks, up to `position`."""
        start = self._next_has
        if start is None or start >= position:
            return []
        return self._hidden_frames(self._kept.outputs.rows(start, position), start, REPLAY_CHUNK_TOKENS)

    def _inputs(self, frame: Frame) -> Tensor:
        spec = self._engine.spec
        try:
            return frame_to_tensor(frame, spec.hidden_size, spec.vocab_size, self._engine.hidden_dtype)
        except MalformedFrame as error:
            raise at_fault(error, self._terms) from error

    def _wants_logits(self, frame: Frame) -> bool:
        return self._next_has is None and frame.position + frame.shape[0] >= self._terms.prompt_tokens

    def _take(self, made: Tensor, frame: Frame) -> _Output:
        """In the compute thread. Rows are copied: they are a view into the whole pass."""
        if self._next_has is not None:
            return _Output(rows=made.clone())
        if not self._wants_logits(frame):
            return _Output()
        return _Output(token=sample(made, self._terms.sampling, frame.position + frame.shape[0]))

    def _hidden_frames(self, rows: Tensor, position: int, largest: int = MAX_CHUNK_TOKENS) -> list[Frame]:
        """Too few rows of a prompt wait for the next ones: stages hold different parts of it after a loss."""
        if not len(rows):
            return []
        waiting = torch.cat([*self._unsent, rows]) if self._unsent else rows
        end = position + len(rows)
        if self._are_too_few(len(waiting), end):
            self._unsent.append(rows)
            return []
        self._unsent.clear()
        sizes = _replay_sizes(len(waiting)) if len(waiting) > largest else [len(waiting)]
        at, frames = end - len(waiting), []
        for piece in torch.split(waiting, sizes):
            frames.append(self._hidden_frame(at, piece))
            at += len(piece)
        return frames

    def _are_too_few(self, rows: int, end: int) -> bool:
        """As frame_rules.py has it; the first that a stage gets after what it holds may be few."""
        may_be_short = bool(self._next_has) and not self._sent_frames
        return not may_be_short and rows < MIN_PROMPT_ROWS and end < self._terms.prompt_tokens - 1

    def _hidden_frame(self, position: int, rows: Tensor) -> Frame:
        made = hidden_frame(self._terms.session, self._terms.route.epoch, self._sent_frames, position, rows)
        self._sent_frames += 1
        return made

    def _token_frame(self, frame: Frame, token: int) -> Frame:
        position = frame.position + frame.shape[0]
        return sampled_frame(frame.session, frame.epoch, frame.step, position, token)


def _replay_sizes(rows: int) -> list[int]:
    """A rest that is too short for a frame of its own goes into the last one."""
    whole, rest = divmod(rows, REPLAY_CHUNK_TOKENS)
    sizes = [REPLAY_CHUNK_TOKENS] * whole
    if whole and rest < MIN_PROMPT_ROWS:
        sizes[-1] += rest
    else:
        sizes.append(rest)
    return sizes


def at_fault(error: Exception, terms: Admitted) -> Exception:
    """An error about what came from upstream, with the name of the stage that sent it."""
    refusal = refusal_of(error)
    if terms.is_first or refusal.stage is not None:
        return error
    return Refused(refusal.code, refusal.message, terms.stage - 1)


@dataclass(frozen=True, slots=True)
class Held:
    """What a stage can begin a route with."""

    own: int
    """Positions in its cache."""
    next_has: int | None
    """Positions in the next stage's; None on a last stage."""


async def settle_held(kept: Kept, terms: Admitted, batcher: Batcher, next_has: int | None) -> Held:
    """Bring the cache to what this route can use.

    The last known token is always computed again, so that its successor is drawn anew; and what the next stage lacks must
    be here to be sent again, or is computed once more. Raises: UnknownSession, CacheFull, PoolFull.
    """
    length = await batcher.call(batcher.runner.length, kept.name)
    own = min(length, terms.prompt_tokens - 1, length if kept.account is None else kept.confirmed)
    if next_has is not None and next_has < own and not kept.outputs.covers(next_has, own):
        own = next_has
    await batcher.call(batcher.runner.go_back, kept.name, own, terms.capacity)
    kept.outputs.cut(own)
    del kept.tokens[own:]
    kept.confirmed = own
    return Held(own, next_has)
