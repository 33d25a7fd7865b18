"""The manifest's content: what a model is, down to the byte, under one 32-byte root that a contract can check against.

    tensor leaf   u16 length of the name, the name, u8 dtype (1 F16, 2 BF16, 3 F32, 4 I8, 5 I16, 6 I32), u8 dimensions, u64 each of
                  them, SHA-256 of the tensor's bytes as stored; integers big-endian
    block root    Merkle root over the block's tensor leaves in the order of their names
    embed root    the same over the embedding; head root over the output matrix (the embedding again where tied) and
                  the final norm
    pieces        of an exact tensor, besides: its root over pieces of 128 elements (docs/TRACE.md), which disputes need
    root          over the leaves "spec" + the spec's digest, "profile" + keccak(profile id), "embed" + embed root,
                  "block" + u32 index + block root for each block, "head" + head root, and in the exact profile "trace" +
                  the model's numbers + the root over all tensors' pieces; each leaf begins with DOMAIN

Sorted pairs do not bind a place, so every leaf names its own. The model's name is a label and not in the root.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, uint8

from sharding.errors import ManifestMismatch, TensorMismatch, TensorMissing
from sharding.exact.parameters import Parameters, parameters_of
from sharding.exact.weight_pieces import weights_root
from sharding.hashing import HASH_BYTES, keccak256, sha256
from sharding.merkle import merkle_proof, merkle_root
from sharding.profiles import EXACT_PROFILE, tensors_of
from sharding.spec import ModelSpec
from sharding.tensors import Shape, Shapes

DOMAIN = b"tallystick manifest 1\n"
DTYPE_CODES = {"F16": 1, "BF16": 2, "F32": 3, "I8": 4, "I16": 5, "I32": 6}


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """One tensor as it is stored: safetensors' dtype name, shape, SHA-256 of the raw little-endian bytes.

    pieces: the root over its pieces of 128 elements, in the exact profile.
    """

    name: str
    dtype: str
    shape: Shape
    sha256: bytes
    pieces: bytes = b""

    def leaf(self) -> bytes:
        name = self.name.encode("utf-8")
        head = struct.pack(">H", len(name)) + name + struct.pack(">BB", DTYPE_CODES[self.dtype], len(self.shape))
        return head + struct.pack(f">{len(self.shape)}Q", *self.shape) + self.sha256


@dataclass(frozen=True, slots=True)
class Manifest:
    """Roots are 32 bytes; tensors stand in the order of their names; model is a label, not part of the root."""

    model: str
    profile: str
    spec_digest: bytes
    tensors: tuple[TensorRecord, ...]
    block_roots: tuple[bytes, ...]
    embed_root: bytes
    head_root: bytes
    trace: bytes
    """The data of the leaf that disputes are decided by; empty in other profiles than the exact one."""
    root: bytes

    def records(self) -> dict[str, TensorRecord]:
        return {record.name: record for record in self.tensors}

    def trace_path(self) -> list[bytes]:
        """The siblings that lead from the leaf that disputes are decided by, which the exact profile has, to the root."""
        roots = self.embed_root, self.block_roots, self.head_root
        leaves = model_leaves(self.profile, self.spec_digest, *roots, self.trace)
        return merkle_proof(leaves, len(leaves) - 1)

    def check_spec(self, spec: ModelSpec) -> None:
        """Raises ManifestMismatch where the manifest belongs to a model of other numbers."""
        if self.spec_digest != spec.digest():
            message = "config.json is not the one that the manifest was made from: pull both again"
            raise ManifestMismatch(message, expected=self.spec_digest, found=spec.digest())


def derive_manifest(model: str, profile: str, spec: ModelSpec, records: Iterable[TensorRecord]) -> Manifest:
    """Hash the records up to the root. Raises TensorMissing and TensorMismatch where they do not make up the model."""
    by_name = {record.name: record for record in records}
    tensors = tensors_of(profile)
    _check_complete(by_name, tensors.span(spec, spec.whole))
    tensors.check_dtypes(spec, {record.name: record.dtype for record in by_name.values()})
    embed_root = _root_of(by_name, tensors.embedding(spec))
    block_roots = tuple(_root_of(by_name, tensors.block(spec, index)) for index in range(spec.num_blocks))
    head_root = _root_of(by_name, tensors.head(spec))
    trace = _trace_of(spec, by_name) if profile == EXACT_PROFILE else b""
    leaves = model_leaves(profile, spec.digest(), embed_root, block_roots, head_root, trace)
    return Manifest(
        model=model,
        profile=profile,
        spec_digest=spec.digest(),
        tensors=tuple(by_name[name] for name in sorted(by_name)),
        block_roots=block_roots,
        embed_root=embed_root,
        head_root=head_root,
        trace=trace,
        root=merkle_root(leaves),
    )


def model_leaves(
    profile: str,
    spec_digest: bytes,
    embed_root: bytes,
    block_roots: tuple[bytes, ...],
    head_root: bytes,
    trace: bytes = b"",
) -> list[bytes]:
    """The data of the leaves under the root, in their order; merkle_proof over them proves one of them."""
    leaves = [b"spec" + spec_digest, b"profile" + keccak256(profile.encode("utf-8")), b"embed" + embed_root]
    leaves += [b"block" + struct.pack(">I", index) + root for index, root in enumerate(block_roots)]
    named = [DOMAIN + leaf for leaf in [*leaves, b"head" + head_root]]
    return [*named, trace] if trace else named


def trace_leaf(parameters: Parameters, weights: bytes) -> bytes:
    """The data of the leaf, under an exact manifest's root, that disputes are decided by."""
    return DOMAIN + b"trace" + parameters.packed() + weights


def _trace_of(spec: ModelSpec, by_name: Mapping[str, TensorRecord]) -> bytes:
    roots = {name: record.pieces for name, record in by_name.items()}
    for name, root in roots.items():
        if len(root) != HASH_BYTES:
            message = f"the manifest has no root of the pieces of {name!r}: build it again"
            raise ManifestMismatch(message, tensor=name)
    return trace_leaf(parameters_of(spec), weights_root(spec, roots))


def tensor_hash(values: Tensor) -> bytes:
    """SHA-256 of the tensor's bytes in row-major order."""
    return sha256(values.contiguous().view(-1).view(uint8).numpy().data)


def _root_of(by_name: Mapping[str, TensorRecord], shapes: Shapes) -> bytes:
    return merkle_root([by_name[name].leaf() for name in sorted(shapes)])


def _check_complete(by_name: Mapping[str, TensorRecord], shapes: Shapes) -> None:
    for name, shape in shapes.items():
        if name not in by_name:
            raise TensorMissing(f"the manifest has no tensor {name!r}: build it again", tensor=name)
        if by_name[name].shape != shape:
            raise TensorMismatch(name, "shape", shape, by_name[name].shape)
    surplus = sorted(by_name.keys() - shapes.keys())
    if surplus:
        message = f"the manifest lists {surplus[0]!r}, which the model does not have: build it again"
        raise ManifestMismatch(message, tensor=surplus[0])
