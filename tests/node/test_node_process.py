"""A node's engine: the profile of its model, the root that was expected, and no import that it does not need."""

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from node.errors import SettingsError
from node.node_process import load_engine
from node.settings import NodeSettings
from sharding.errors import SpanError
from sharding.manifest import read_manifest

ROOT = Path(__file__).resolve().parents[2]
EXACT, FLOAT = ROOT / "models" / "demo-exact", ROOT / "models" / "demo"
OWNER = "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"


def settings_of(model: Path, **changes: object) -> NodeSettings:
    """A node of the model's first block."""
    return NodeSettings(model=model, **({"blocks": "0:1", "owner": OWNER} | changes))


@pytest.mark.parametrize(
    ("model", "asked", "profile"), [(EXACT, "exact", "exact-1"), (FLOAT, "float32", "float32")], ids=["exact", "float"]
)
def test_the_engine_is_of_the_models_profile(
    model: Path, asked: str, profile: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says which, with the kernels that compute."""
    caplog.set_level(logging.INFO, "node.node_process")

    engine = load_engine(settings_of(model, profile=asked))

    assert (engine.profile, engine.span) == (profile, settings_of(model).span)
    assert f"profile {profile}" in caplog.text
    assert f"kernels {engine.kernel}" in caplog.text


def test_an_expected_root_is_that_of_what_is_served() -> None:
    """With or without 0x, in any case of letters; another root is refused with both."""
    root = read_manifest(EXACT).root.hex()
    for text in (root, "0x" + root.upper()):
        assert load_engine(settings_of(EXACT, manifest=text)).manifest.root.hex() == root

    with pytest.raises(SettingsError) as caught:
        load_engine(settings_of(EXACT, manifest="00" * 32))
    assert root in str(caught.value)
    assert "00" * 32 in str(caught.value)


def test_blocks_outside_the_model_are_refused() -> None:
    """Before any weight is read."""
    with pytest.raises(SpanError):
        load_engine(settings_of(EXACT, blocks="7:9"))


def test_an_exact_node_starts_without_transformers() -> None:
    """What takes seconds to import is not needed for integers: neither by one node nor by a supervisor of several."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "import node.node_process, node.supervisor\n"
        "from node.model_folder import prepare_engine\n"
        "from node.settings import NodeSettings\n"
        f"settings = NodeSettings(model=Path({str(EXACT)!r}), blocks='6:8', owner={OWNER!r})\n"
        "prepare_engine(settings.model)\n"
        "engine = node.node_process.load_engine(settings)\n"
        "print(engine.profile, 'transformers' in sys.modules)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)

    assert done.stdout.split() == ["exact-1", "False"], done.stderr


def test_commands_that_read_no_model_import_no_torch() -> None:
    """The command line answers before the mathematics is there."""
    program = (
        "import sys, node.cli\n"
        "from node.model_folder import Path, profile_of\n"
        f"print(profile_of(Path({str(EXACT)!r})), 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.split() == ["exact-1", "False"], done.stderr


def test_the_committed_manifest_is_of_the_exact_profile() -> None:
    """What the demo, `tally node init` and `tally run` take when nothing else is said."""
    assert json.loads((EXACT / "tallystick.json").read_text())["profile"] == "exact-1"
