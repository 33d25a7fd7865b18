"""Building the manifest of a model's folder, and its file, tallystick.json; manifest_tree.py says what it holds."""

import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Literal

import msgspec

from sharding.errors import ManifestMalformed, ManifestMismatch
from sharding.exact.layout import EMBED_WEIGHT, Slot
from sharding.exact.weight_pieces import place_of, tensor_root
from sharding.manifest_tree import Manifest, TensorRecord, derive_manifest, tensor_hash
from sharding.profiles import EXACT_PROFILE, FLOAT_PROFILE, tensors_of
from sharding.spec import ModelSpec
from sharding.weight_files import StoredTensor, holds_tensor, read_tensors

MANIFEST_FILE = "tallystick.json"
MAX_MANIFEST_BYTES = 16 << 20  # a thousand blocks of twelve tensors take about three million
MAX_LABEL = 200
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)

Progress = Callable[[int, int], None]  # weights hashed so far, weights in all

__all__ = [
    "EXACT_PROFILE",
    "FLOAT_PROFILE",
    "Manifest",
    "TensorRecord",
    "build_manifest",
    "read_manifest",
    "write_manifest",
]


class _Tensor(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    dtype: Literal["F16", "BF16", "F32", "I8", "I16", "I32"]
    shape: list[int]
    sha256: str
    pieces: str = ""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    format: Literal["tallystick-manifest-1"]
    model: str
    profile: str
    root: str
    spec: str
    embed: str
    blocks: list[str]
    head: str
    tensors: dict[str, _Tensor]


def build_manifest(
    folder: Path, progress: Progress | None = None, *, model: str | None = None, profile: str | None = None
) -> Manifest:
    """Hash every tensor of the folder's model; without a profile its tensors tell which it is.

    Raises ConfigError, UnsupportedModel, CheckpointError's leaves.
    """
    spec = ModelSpec.from_folder(folder)
    profile = profile or _profile_of(folder)
    tensors = tensors_of(profile)
    shapes = tensors.span(spec, spec.whole)
    records, done, total = [], 0, sum(prod(shape) for shape in shapes.values())
    for stored in read_tensors(folder, shapes, tensors.item_bytes):
        records.append(record_of(stored, exact=profile == EXACT_PROFILE))
        done += stored.values.numel()
        if progress is not None:
            progress(done, total)
    return derive_manifest(model or folder.resolve().name, profile, spec, records)


def _profile_of(folder: Path) -> str:
    return EXACT_PROFILE if holds_tensor(folder, EMBED_WEIGHT) else FLOAT_PROFILE


def record_of(stored: StoredTensor, *, exact: bool) -> TensorRecord:
    """With the root of its pieces where the profile is exact."""
    shape = tuple(stored.values.shape)
    pieces = tensor_root(stored.values, place_of(stored.name, Slot(stored.dtype, shape))) if exact else b""
    return TensorRecord(stored.name, stored.dtype, shape, tensor_hash(stored.values), pieces)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write folder/tallystick.json, the same bytes for the same manifest."""
    tensors = {record.name: _written(record) for record in manifest.tensors}
    content = _File(
        format="tallystick-manifest-1",
        model=manifest.model,
        profile=manifest.profile,
        root=manifest.root.hex(),
        spec=manifest.spec_digest.hex(),
        embed=manifest.embed_root.hex(),
        blocks=[root.hex() for root in manifest.block_roots],
        head=manifest.head_root.hex(),
        tensors=tensors,
    )
    (folder / MANIFEST_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def read_manifest(folder: Path) -> Manifest:
    """Read folder/tallystick.json, believing none of its roots: each is derived again from config.json and the hashes.

    The weights are not read here; load_span compares them. Raises ManifestMalformed, ManifestMismatch, TensorMissing,
    TensorMismatch, and what ModelSpec.from_folder raises.
    """
    content = _decode(_read(folder / MANIFEST_FILE))
    spec = ModelSpec.from_folder(folder)
    _same("spec", _hash(content.spec), spec.digest())
    profile = _label(content.profile)
    _check_dtypes(content, profile)
    records = [_read_record(name, tensor) for name, tensor in content.tensors.items()]
    manifest = derive_manifest(_label(content.model), profile, spec, records)
    _same("embed root", _hash(content.embed), manifest.embed_root)
    _same("number of blocks", len(content.blocks).to_bytes(4, "big"), len(manifest.block_roots).to_bytes(4, "big"))
    for index, (stated, derived) in enumerate(zip(content.blocks, manifest.block_roots, strict=True)):
        _same(f"root of block {index}", _hash(stated), derived)
    _same("head root", _hash(content.head), manifest.head_root)
    _same("root", _hash(content.root), manifest.root)
    return manifest


def _written(record: TensorRecord) -> _Tensor:
    hashes = {"sha256": record.sha256.hex(), "pieces": record.pieces.hex()}
    return _Tensor(dtype=record.dtype, shape=list(record.shape), **hashes)  # type: ignore[arg-type]


def _read_record(name: str, tensor: _Tensor) -> TensorRecord:
    pieces = _hash(tensor.pieces) if tensor.pieces else b""
    return TensorRecord(name, tensor.dtype, tuple(tensor.shape), _hash(tensor.sha256), pieces)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        message = (
            f"{path.name} cannot be read: {error.strerror}; write it with `tally manifest FOLDER` where the whole model is,"
            " and copy it to where only a span is"
        )
        raise ManifestMalformed(message, file=path.name) from error
    if len(raw) > MAX_MANIFEST_BYTES:
        raise ManifestMalformed(f"{path.name} is larger than {MAX_MANIFEST_BYTES} bytes", file=path.name)
    return raw


def _decode(raw: bytes) -> _File:
    try:
        return msgspec.json.decode(raw, type=_File)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestMalformed(f"{MANIFEST_FILE} is no manifest: {error}", file=MANIFEST_FILE) from error


def _check_dtypes(content: _File, profile: str) -> None:
    allowed = tensors_of(profile).item_bytes
    for name, tensor in content.tensors.items():
        if tensor.dtype not in allowed:
            message = f"{name[:80]!r} is {tensor.dtype}, which no tensor of profile {profile[:80]} is"
            raise ManifestMalformed(message, file=MANIFEST_FILE)


def _hash(text: str) -> bytes:
    if not _HEX.fullmatch(text):
        raise ManifestMalformed(f"{text[:80]!r} is no hash of 64 lowercase hexadecimal digits", file=MANIFEST_FILE)
    return bytes.fromhex(text)


def _label(text: str) -> str:
    if not 0 < len(text) <= MAX_LABEL:
        raise ManifestMalformed(f"a label of {len(text)} characters: 1 to {MAX_LABEL} are taken", file=MANIFEST_FILE)
    return text


def _same(what: str, stated: bytes, derived: bytes) -> None:
    if stated != derived:
        message = f"the manifest's {what} is not what its tensors and config.json give: pull the model again"
        raise ManifestMismatch(message, expected=stated, found=derived)
