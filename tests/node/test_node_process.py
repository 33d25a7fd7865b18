"""A node's engine: the profile of its model, the root that was expected, and no import that it does not need."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from incentives.signing import LocalSigner
from incentives.tx_states import TxState
from incentives.units import ONE
from node.chain_records import ChainRecords
from node.engine_source import EngineSource
from node.errors import SettingsError
from node.keys import load_keys
from node.node_process import NodeProcess
from node.settings import NodeSettings
from sharding.engine import Engine
from sharding.errors import SpanError
from sharding.manifest import read_manifest
from sharding.placement_values import Phase
from sharding.span import Span
from tests.node.swarm import deploy_network, join_network, write_tiny_exact_model

ROOT = Path(__file__).resolve().parents[2]
EXACT, FLOAT = ROOT / "models" / "demo-exact", ROOT / "models" / "demo"
OWNER = "0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB"


def settings_of(model: Path, **changes: object) -> NodeSettings:
    """A node of the model's first block."""
    return NodeSettings(model=model, **({"blocks": "0:1", "owner": OWNER} | changes))


def load_engine(settings: NodeSettings) -> Engine:
    """The only one."""
    (engine,) = EngineSource(settings).first()
    return engine


@pytest.mark.parametrize(
    ("model", "asked", "profile"), [(EXACT, "exact", "exact-1"), (FLOAT, "float32", "float32")], ids=["exact", "float"]
)
def test_the_engine_is_of_the_models_profile(
    model: Path, asked: str, profile: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says which, with the kernels that compute."""
    caplog.set_level(logging.INFO, "node.engine_source")

    engine = load_engine(settings_of(model, profile=asked))

    assert (engine.profile, engine.span) == (profile, settings_of(model).spans[0])
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


def test_each_of_several_spans_has_an_engine_and_its_part_of_the_cache() -> None:
    """A third and two thirds of the megabytes; the weights that both hold are there once."""
    source = EngineSource(settings_of(EXACT, blocks="0:1,6:8", cache_megabytes=3))
    first, last = source.first()
    assert (first.span, last.span) == (Span(0, 1), Span(6, 8))
    for engine, megabytes in ((first, 1), (last, 2)):
        assert 0 <= (megabytes << 20) - engine.pages.total * engine.page_bytes < engine.page_bytes
    shared = first.tensors.keys() & last.tensors.keys()
    assert shared
    assert all(first.tensors[name] is last.tensors[name] for name in shared)


def test_a_running_node_loads_further_blocks_of_the_same_model() -> None:
    """With the weights that it has; before the first ones nothing can be loaded."""
    source = EngineSource(settings_of(EXACT, blocks="0:1"))
    with pytest.raises(SettingsError, match="first"):
        source.load(Span(0, 2), 1 << 20, ())
    (first,) = source.first()
    wider = source.load(Span(0, 2), 1 << 20, [first])
    assert wider.manifest is first.manifest
    assert all(wider.tensors[name] is tensor for name, tensor in first.tensors.items())
    with pytest.raises(SpanError):
        source.load(Span(7, 9), 1 << 20, [first])


def test_a_node_that_finds_its_own_blocks_tries_one_in_the_middle() -> None:
    """It is as fast as any and needs neither embedding nor head."""
    (trial,) = EngineSource(settings_of(EXACT, blocks="auto", memory_megabytes=300)).first()
    assert trial.span == Span(4, 5)


async def test_a_node_of_several_spans_tells_the_chain_of_one_and_others_of_all(
    embedded_url: str, tmp_path: Path
) -> None:
    """The widest is announced; the record has each with its own speed. Its last record says that it is gone."""
    network = await asyncio.to_thread(deploy_network, embedded_url)
    network.deployment.write(tmp_path / "deployment.json")
    owner = LocalSigner.dev_account(1, network.chain.chain_id)
    settings = settings_of(
        write_tiny_exact_model(tmp_path / "model"), blocks="0:1,2:4,5:6", owner=owner.address, listen="127.0.0.1:0",
        rpc_url=["http://127.0.0.1:9", embedded_url], deployment=tmp_path / "deployment.json",
        data_dir=tmp_path / "data", ask="auto", ask_floor="2", ask_ceiling="5",
    )  # fmt: skip
    keys = load_keys(settings)
    await asyncio.to_thread(join_network, network, owner, keys.signer, keys.identity.peer, 1_000 * ONE)
    process = NodeProcess(settings)
    try:
        serving = await process.start()
        assert process._gossip is not None
        assert await process._gossip.publish()
        [told] = process._gossip.live()
        assert process._records is not None
        [job] = await asyncio.to_thread(process._records.sender.tick)
        assert (job.key.partition("-")[0], job.state) == ("announce", TxState.FINAL)
    finally:
        await process.close()
    records = await asyncio.to_thread(ChainRecords.open, network, keys.signer, settings)  # released
    assert list(records.view.read()) == [owner.address]
    records.close()
    [last] = process._gossip.live()
    assert (told.draining, last.draining, last.placement.phase) == (False, True, Phase.LEAVING)
    [announced] = await asyncio.to_thread(network.stakes.announcements)
    assert (announced.start, announced.end, announced.endpoint) == (2, 4, serving.endpoint)
    assert (announced.ask, {each.ask for each in told.spans}) == (5 * ONE, {2 * ONE})
    assert [each.span for each in told.spans] == list(settings.spans)
    assert all(each.tokens_per_second > 1 for each in told.spans)


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
        "(engine,) = node.node_process.EngineSource(settings).first()\n"
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
