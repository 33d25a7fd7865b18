"""What a world is made of and what takes long to make: engines are kept from run to run, databases stay in memory."""

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

from node.model_folder import engine_loader
from node.store import Store, _migrate
from node.worker import Worker
from sharding.engine import Engine
from sharding.span import Span


class MemoryStore(Store):
    """A node's store without its file: what a kill leaves on disk is tested with real processes."""

    def __init__(self) -> None:
        self._lock = os.open(os.devnull, os.O_RDONLY)
        self._mutex = threading.RLock()
        self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        _migrate(self._db, 0)


class WatchedEngine:
    """An engine that knows which sessions hold a cache in it."""

    def __init__(self, engine: Engine) -> None:
        self._engine: Any = engine
        self.held: set[bytes] = set()

    def open(self, session: bytes, *args: Any, **options: Any) -> Any:
        """As Engine."""
        opened = self._engine.open(session, *args, **options)
        self.held.add(session)
        return opened

    def restore(self, session: bytes, *args: Any) -> None:
        """As Engine."""
        self._engine.restore(session, *args)
        self.held.add(session)

    def close(self, session: bytes) -> None:
        """As Engine."""
        self._engine.close(session)
        self.held.discard(session)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


class Parts:
    """Engines by the names of their nodes, and the stores and workers of the present run."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self._engines: dict[str, WatchedEngine] = {}
        self._open: list[Store | Worker] = []

    def engine(self, name: str, span: Span) -> WatchedEngine:
        """An engine without sessions; the one of the run before, if that left none."""
        kept = self._engines.get(f"{name} {span}")
        if kept is None or kept.held:
            kept = self._engines[f"{name} {span}"] = WatchedEngine(engine_loader(self.model)(self.model, span))
        return kept

    def store(self) -> Store:
        """An empty store."""
        self._open.append(store := MemoryStore())
        return store

    def worker(self) -> Worker:
        """A worker."""
        self._open.append(worker := Worker())
        return worker

    def close(self) -> None:
        """End a run: stores and workers go, engines stay."""
        for each in reversed(self._open):
            each.close()
        self._open.clear()
