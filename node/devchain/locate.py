"""Where anvil is, if anywhere."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from node.devchain.chain_errors import AnvilNotFound

_NATIVE = "node_modules/@foundry-rs/anvil-*/bin/anvil*"


def find_anvil(explicit: str | Path | None = None) -> Path | None:
    """The program `explicit`, or the first of PATH and the npm package of contracts/; None where there is none.

    AnvilNotFound where `explicit` is given and is not a program: an explicit wish is never replaced by a guess.
    """
    if explicit is not None:
        path = Path(explicit).expanduser()
        if not _runs(path):
            raise AnvilNotFound((str(path),))
        return path.resolve()
    return next((path for path in _candidates() if _runs(path)), None)


def searched() -> tuple[str, ...]:
    """The places find_anvil looks at, for messages."""
    return ("PATH", *(str(folder / _NATIVE) for folder in _folders()))


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("anvil")
    if on_path is not None:
        yield from _native(Path(on_path).resolve())
    for folder in _folders():
        yield from (path.resolve() for path in sorted(folder.glob(_NATIVE)))


def _native(found: Path) -> Iterator[Path]:
    """npm puts a JavaScript starter on the PATH; the program it starts lies in a package next to it."""
    if found.suffix in {".mjs", ".js", ".cmd"}:
        for parent in found.parents:
            yield from sorted(parent.glob(_NATIVE))
    yield found


def _folders() -> list[Path]:
    checkout = Path(__file__).resolve().parents[2]
    return list(dict.fromkeys(root / "contracts" for root in (checkout, Path.cwd())))


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
