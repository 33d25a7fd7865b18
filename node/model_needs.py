"""What a model's blocks take of a node's memory, from its manifest alone."""

from math import prod

from sharding.manifest_tree import Manifest
from sharding.placement_values import ModelNeeds
from sharding.profiles import EXACT_PROFILE, tensors_of
from sharding.spec import ModelSpec
from sharding.tensors import Shapes

FLOAT_BYTES = 4
"""float32 computes in float32, whatever its checkpoint is stored in."""


def needs_of(spec: ModelSpec, manifest: Manifest) -> ModelNeeds:
    """Bytes of weights only: a node sets its caches aside as a whole and shares them out over the blocks that it has."""
    parts = tensors_of(manifest.profile)
    dtypes = {record.name: record.dtype for record in manifest.tensors}

    def size(shapes: Shapes) -> int:
        bytes_of = (
            parts.item_bytes if manifest.profile == EXACT_PROFILE else dict.fromkeys(parts.item_bytes, FLOAT_BYTES)
        )
        return sum(prod(shape) * bytes_of[dtypes[name]] for name, shape in shapes.items())

    return ModelNeeds(
        num_blocks=spec.num_blocks,
        weight_bytes=max(size(parts.block(spec, index)) for index in range(spec.num_blocks)),
        kv_bytes=0,
        positions=0,
        first_bytes=size(parts.embedding(spec)),
        last_bytes=size(parts.head(spec)),
    )
