"""`tally pull`: a model, or only what a span of its blocks needs, from the hub into a folder.

First the small files, then the index of the weights, then only the safetensors files that hold the span's tensors; all
of one commit. Nothing that runs code when it is read (pickles, python files) is ever asked for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node.hub import Hub
from node.hub_progress import Progress
from node.pull_errors import FileMissing, FileTooLarge, HubOffline, IndexRefused, NoSafetensors
from sharding.exact.layout import EMBED_WEIGHT
from sharding.profiles import EXACT_PROFILE, FLOAT_PROFILE, tensors_of
from sharding.span import Span
from sharding.spec import ModelSpec
from sharding.strict_json import BadJson, read_json_object

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
WHOLE = "model.safetensors"
COMPANIONS = (
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tallystick.json",  # the manifest: with a span alone nobody can build it again
)
"""Fetched where the repository has them."""
MAX_SMALL_BYTES = 32 << 20
"""Of any file that is not weights; the loader refuses an index past it. The largest honest ones are tokenizers."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.safetensors", re.ASCII)  # names the loader takes too


@dataclass(frozen=True, slots=True)
class PullResult:
    """What is in the folder now."""

    folder: Path
    revision: str  # the commit, 40 hex digits
    files: tuple[str, ...]  # in the order they were fetched
    bytes: int  # of these files together


def pull(
    repo: str,
    span: Span | None = None,
    *,
    revision: str = "main",
    to: Path | None = None,
    hub: Hub | None = None,
    progress: Progress | None = None,
) -> PullResult:
    """Fetch what serving `span` needs (None: the whole model). Files already there are not fetched again.

    Raises: a PullError that says what to do next; SpanError for a span outside the model and ConfigError or
    UnsupportedModel for a model that cannot be served, both before any weight is fetched.
    """
    source = hub or Hub()
    commit = source.commit_of(repo, revision)
    listed = source.files_of(repo, commit)
    order = _Order(repo, commit, source, to or source.folder(repo, commit), listed, progress)
    order.require_safetensors()
    order.fetch_small(CONFIG)
    spec = ModelSpec.from_folder(order.folder)
    wanted = (spec.whole if span is None else span).within(spec.num_blocks)
    small = [CONFIG, *filter(order.fetch_companion, COMPANIONS)]
    if order.has_index():
        small.append(INDEX)
        weights = shards_of(order.folder / INDEX, spec, wanted)
    else:
        weights = (WHOLE,)
    order.fetch_weights(weights)
    files = (*small, *weights)
    return PullResult(order.folder, commit, files, sum((order.folder / name).stat().st_size for name in files))


def shards_of(index: Path, spec: ModelSpec, span: Span) -> tuple[str, ...]:
    """The files that hold the span's tensors, by the index's word. Raises: IndexRefused."""
    places = _read_index(index)
    names = tensors_of(EXACT_PROFILE if EMBED_WEIGHT in places else FLOAT_PROFILE).span(spec, span)
    absent = [name for name in names if name not in places]
    if absent:
        raise IndexRefused(index, f"lists no {absent[0]} ({len(absent)} tensors of blocks {span} are absent)")
    files = sorted({places[name] for name in names})
    for file in files:
        if _PLAIN.fullmatch(file) is None:
            raise IndexRefused(index, f"places tensors in {file!r}, which is not a safetensors file beside it")
    return tuple(files)


@dataclass(frozen=True, slots=True)
class _Order:
    """One commit of one repository on its way into one folder."""

    repo: str
    commit: str
    hub: Hub
    folder: Path
    listed: Mapping[str, int | None] | None  # None: offline, nobody knows what the repository has
    progress: Progress | None

    def require_safetensors(self) -> None:
        if self.listed is not None and INDEX not in self.listed and WHOLE not in self.listed:
            others = [name for name in self.listed if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".gguf", ".h5"))]
            raise NoSafetensors(self.repo, sorted(others)[:3])

    def fetch_small(self, name: str) -> None:
        self._require_listed(name)
        size = (self.listed or {}).get(name) or 0
        if size > MAX_SMALL_BYTES:
            raise FileTooLarge(name, size, MAX_SMALL_BYTES)
        self._fetch(name)

    def fetch_companion(self, name: str) -> bool:
        """Fetch the file if there is one; whether there is."""
        if self.listed is not None and name not in self.listed:
            return False
        try:
            self.fetch_small(name)
        except HubOffline:
            return False
        return True

    def has_index(self) -> bool:
        """Whether the weights are in several files; their index is then in the folder."""
        return self.fetch_companion(INDEX)

    def fetch_weights(self, names: tuple[str, ...]) -> None:
        for name in names:  # first all names, so that an incomplete upload costs no hours of download
            self._require_listed(name)
        for name in names:
            self._fetch(name)

    def _fetch(self, name: str) -> None:
        self.hub.fetch(self.repo, self.commit, name, self.folder, self.progress)

    def _require_listed(self, name: str) -> None:
        if self.listed is not None and name not in self.listed:
            raise FileMissing(self.repo, name, self.commit)


def _read_index(path: Path) -> dict[str, str]:
    """The index's weight_map: tensor name -> file name."""
    try:
        places = read_json_object(path, MAX_SMALL_BYTES).get("weight_map")
    except BadJson as error:
        raise IndexRefused(path, str(error)) from error
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise IndexRefused(path, "has no weight_map from names to file names")
    return places
