"""Loading the weights of one span: only its tensors are read, and none is returned unchecked."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from sharding.errors import ManifestMismatch, TensorMismatch, TensorNotFinite
from sharding.exact.layout import Slot
from sharding.exact.weight_pieces import place_of, tensor_root
from sharding.manifest_tree import Manifest, TensorRecord, tensor_hash
from sharding.profiles import FLOAT_PROFILE, tensors_of
from sharding.span import Span
from sharding.spec import ModelSpec
from sharding.tensors import Shapes
from sharding.weight_files import StoredTensor, read_tensors

NOTHING: Mapping[str, Tensor] = MappingProxyType({})


def load_span(
    folder: Path,
    spec: ModelSpec,
    span: Span,
    manifest: Manifest,
    dtype: torch.dtype | None = None,
    known: Mapping[str, Tensor] = NOTHING,
) -> dict[str, Tensor]:
    """Read, check and (where a dtype is given) convert every tensor of the span that is not known already, one at a time.

    Files that hold nothing of what is lacking need not exist. Each tensor's shape, dtype and hashes must be the manifest's
    and every value finite. known: tensors of the same manifest, loaded before. Raises SpanError and CheckpointError's leaves.
    """
    manifest.check_spec(spec)
    wanted = tensors_of(manifest.profile).span(spec, span)
    lacking = {name: shape for name, shape in wanted.items() if name not in known}
    read = load_tensors(folder, lacking, manifest, dtype) if lacking else {}
    return {name: known[name] if name in known else read[name] for name in wanted}


def load_tensors(
    folder: Path, shapes: Shapes, manifest: Manifest | None, dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """The named tensors, checked as load_span does; without a manifest their hashes are nobody's promise (float32 only)."""
    records = None if manifest is None else manifest.records()
    dtypes = tensors_of(FLOAT_PROFILE if manifest is None else manifest.profile).item_bytes
    tensors = {}
    for stored in read_tensors(folder, shapes, dtypes):
        if records is not None:
            _check_record(stored, records[stored.name])
        tensors[stored.name] = _finite(stored.values if dtype is None else stored.values.to(dtype), stored.name)
    return tensors


def _check_record(stored: StoredTensor, record: TensorRecord) -> None:
    if stored.dtype != record.dtype:
        raise TensorMismatch(stored.name, "dtype", record.dtype, stored.dtype)
    found = tensor_hash(stored.values)
    if found != record.sha256:
        message = f"the bytes of {stored.name!r} are not the manifest's: pull the checkpoint again"
        raise ManifestMismatch(message, tensor=stored.name, expected=record.sha256, found=found)
    if record.pieces:
        _check_pieces(stored, record)


def _check_pieces(stored: StoredTensor, record: TensorRecord) -> None:
    """Otherwise whoever wrote the manifest could have honest work proven wrong."""
    place = place_of(stored.name, Slot(stored.dtype, record.shape))
    found = tensor_root(stored.values, place)
    if found != record.pieces:
        message = f"the manifest's pieces of {stored.name!r} are not those of its bytes: use another copy of the model"
        raise ManifestMismatch(message, tensor=stored.name, expected=record.pieces, found=found)


def _finite(values: Tensor, name: str) -> Tensor:
    if not values.is_floating_point():
        return values
    # The extremes are NaN or infinite exactly where some value is; finding them builds no mask of the tensor's size.
    if not torch.isfinite(torch.stack(torch.aminmax(values))).all():
        raise TensorNotFinite(f"{name!r} holds a NaN or an infinity: the checkpoint is broken", tensor=name)
    return values
