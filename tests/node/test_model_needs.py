"""What blocks take of memory, against the tensors that an engine really holds."""

from pathlib import Path

import pytest

from node.model_folder import engine_loader
from node.model_needs import needs_of
from sharding.span import Span
from tests.node.swarm import write_tiny_exact_model, write_tiny_model


@pytest.mark.parametrize("profile", ["exact", "float"])
def test_needs_are_those_of_the_loaded_tensors(profile: str, tmp_path: Path) -> None:
    """Inner blocks, and what the ends need on top; tables that each span shares are a small difference."""
    from sharding.manifest import build_manifest, write_manifest

    folder = write_tiny_exact_model(tmp_path) if profile == "exact" else write_tiny_model(tmp_path)
    if profile == "float":
        write_manifest(folder, build_manifest(folder))
    load = engine_loader(folder)
    for span in (Span(2, 3), Span(2, 4), Span(0, 2), Span(4, 6), Span(0, 6)):
        engine = load(folder, span)
        held = sum(tensor.nbytes for tensor in engine.tensors.values())
        needs = needs_of(engine.spec, engine.manifest)
        assert needs.num_blocks == 6
        assert held == pytest.approx(needs.bytes_of([span]), rel=0.15)
