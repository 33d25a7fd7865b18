"""Bytes of a running download, told to a callback instead of drawn: the command line draws its own bars."""

from collections.abc import Callable
from typing import Any

from huggingface_hub.utils.tqdm import tqdm

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, its bytes so far (fewer again after a restart) and its size, None while unknown."""


def silent(file: str, done: int, size: int | None) -> None:
    """The Progress of nobody watching."""


def bar_class(file: str, progress: Progress) -> type[tqdm]:
    """A bar for huggingface_hub that draws nothing and reports `file`'s bytes."""

    class ReportingBar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs | {"disable": True})  # type: ignore[no-untyped-call]
            self.n = kwargs.get("initial", 0)
            self.total = kwargs.get("total")

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            progress(file, int(self.n), None if self.total is None else int(self.total))
            return None

        # Two counters reach a bar for one file; those on the wire (deduplicated, compressed) are not the file's bytes.
        def update_transfer(self, n: float) -> None:
            pass

        def set_transfer_postfix_str(self, *args: Any, **kwargs: Any) -> None:
            pass

    return ReportingBar
