"""Where a node's engines come from: its model's folder, in its profile, with the root that its operator expects."""

import logging
from collections.abc import Sequence
from pathlib import Path

from node.errors import SettingsError
from node.hosted import by_blocks
from node.model_folder import engine_loader, resolve_model
from node.settings import NodeSettings
from sharding.engine import Engine
from sharding.span import Span
from sharding.spec import ModelSpec

log = logging.getLogger(__name__)


class EngineSource:
    """Loads spans of one node's model, one engine each."""

    def __init__(self, settings: NodeSettings) -> None:
        self._settings = settings
        self._folder: Path | None = None

    def first(self) -> tuple[Engine, ...]:
        """Load the tensors of this node's spans and no others; of one block to try where it has none yet.

        Raises: ShardingError, SettingsError.
        """
        settings = self._settings
        self.limit_threads()
        self._folder = resolve_model(settings.model, settings.profile)
        engines: list[Engine] = []
        spans = settings.spans or (_trial(ModelSpec.from_folder(self._folder)),)
        for span, cache_bytes in by_blocks(settings.cache_megabytes << 20, spans).items():
            engines.append(self.load(span, cache_bytes, engines))
            self._check_root(engines[0])
        return tuple(engines)

    def limit_threads(self) -> None:
        """Have torch compute in as many threads as are set; it may remember their number for each thread that asks."""
        import torch  # takes seconds: a node that may not serve says so first

        torch.set_num_threads(self._settings.threads)

    def load(self, span: Span, cache_bytes: int, have: Sequence[Engine]) -> Engine:
        """Load a span as node.hosted.Loader says. Raises: ShardingError; SettingsError before `first`."""
        if self._folder is None:
            raise SettingsError(self._settings.model, "has not been looked at yet; load the first spans first")
        manifest = have[0].manifest if have else None
        engine = engine_loader(self._folder)(self._folder, span, manifest=manifest, cache_bytes=cache_bytes, reuse=have)
        log.info("blocks %s are computed in profile %s with kernels %s", engine.span, engine.profile, engine.kernel)
        return engine

    def _check_root(self, engine: Engine) -> None:
        found, expected = engine.manifest.root.hex(), self._settings.manifest
        if expected is not None and found != expected.removeprefix("0x").lower():
            raise SettingsError("manifest", f"{self._folder} has root {found}, expected {expected}")


def _trial(spec: ModelSpec) -> Span:
    """A block in the middle: it needs neither embedding nor head, and is as fast as any."""
    middle = spec.num_blocks // 2
    return Span(middle, middle + 1)
