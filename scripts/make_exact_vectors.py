"""Write the golden vectors of the exact profile from the reference; `--check` proves instead that the files are current.

One JSON file for each operation of SPEC.md, one case a line, under the specification's own names. Whole numbers that a
double does not hold are decimal strings. A case with "error" names what has to be raised.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from exact_vectors import block, elements, ends, vectors
from exact_vectors.numbers import Case, Json

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "exact"
MAKERS: dict[str, Callable[[], list[Case]]] = {
    "rsh": elements.rsh_cases,
    "exp2": elements.exp2_cases,
    "pack": vectors.pack_cases,
    "dot_weights": vectors.dot_weight_cases,
    "dot_heads": vectors.dot_head_cases,
    "norm": vectors.norm_cases,
    "head_norm": vectors.head_norm_cases,
    "project": vectors.project_cases,
    "rotate": elements.rotate_cases,
    "compress": elements.compress_cases,
    "attend": vectors.attend_cases,
    "gate": elements.gate_cases,
    "add": elements.add_cases,
    "embed": elements.embed_cases,
    "noise_key": elements.noise_key_cases,
    "noise_index": elements.noise_index_cases,
    "rope": ends.rope_cases,
    "choose": ends.choose_cases,
    "block": block.block_cases,
}
_DOUBLE = 1 << 53


def render(cases: list[Case]) -> str:
    """The text of one file: a list with one case a line."""
    lines = [json.dumps(_portable(case), separators=(", ", ": "), ensure_ascii=True) for case in cases]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _portable(value: Json) -> Json:
    if isinstance(value, dict):
        return {key: _portable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(each) for each in value]
    return str(value) if isinstance(value, int) and abs(value) > _DOUBLE else value


def differences(texts: dict[str, str], folder: Path) -> list[str]:
    """One line for each file that is missing, outdated or made by nothing."""
    found = []
    for name, text in texts.items():
        path = folder / f"{name}.json"
        if not path.is_file():
            found.append(f"{path.name} is missing")
        elif path.read_text(encoding="utf-8") != text:
            found.append(f"{path.name} is not what the reference computes")
    return found + [f"{path.name} has no maker" for path in sorted(folder.glob("*.json")) if path.stem not in texts]


def main() -> int:
    """Write or check; the exit status is 1 where the files are not current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file would change")
    arguments = parser.parse_args()
    texts = {name: render(make()) for name, make in MAKERS.items()}
    if not arguments.check:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (FOLDER / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")
        print(f"{len(texts)} files written")
        return 0
    found = differences(texts, FOLDER)
    for line in found:
        print(line, file=sys.stderr)
    print("run `python scripts/make_exact_vectors.py` and commit the result" if found else "all vectors are current")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
