"""The whole house as a user meets it: real processes, the committed model, the README's own lines."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from incentives.deploy import LOCAL_TESTNET
from incentives.payees import POOL_BPS, WHOLE_BPS
from node.devchain.local import LocalChain
from sharding.exact.engine import ExactEngine
from sharding.manifest import read_manifest
from sharding.spec import ModelSpec
from sharding.tokenizer import Tokenizer
from tests.conftest import ask
from tests.sharding.chains import greedy

ROOT = Path(__file__).resolve().parents[2]
MODEL, FLOAT_MODEL = ROOT / "models" / "demo-exact", ROOT / "models" / "demo"
PROMPT = "ROMEO:\n"
TALLY = [sys.executable, "-m", "node"]

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]


def processes_of(marker: str) -> list[psutil.Process]:
    """Every living process whose environment carries this test's marker: the demo's own children, however they were started."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TALLY_TEST_MARKER") == marker and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def environment_of(folder: Path) -> dict[str, str]:
    """An environment whose processes can be found again."""
    client = {"TALLY_DATA_DIR": str(folder / "client"), "TALLY_CACHE_DIR": str(folder / "cache")}
    client |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    marker = {"TALLY_TEST_MARKER": f"{os.getpid()}-{folder}"}
    return os.environ | client | marker | {"NO_COLOR": "1", "COLUMNS": "160"}


def end_all(environment: dict[str, str]) -> list[psutil.Process]:
    """Kill what is still there; returns it."""
    left = processes_of(environment["TALLY_TEST_MARKER"])
    for process in left:
        process.kill()
    return left


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment of this test's own; the test fails if a process outlives it, and none is left behind."""
    environment = environment_of(tmp_path)
    yield environment
    left = end_all(environment)
    assert not left, f"left behind: {left}"


def await_no_process(environment: dict[str, str], seconds: float = 15.0) -> None:
    """Wait until every marked process is gone."""
    deadline = time.monotonic() + seconds
    while processes_of(environment["TALLY_TEST_MARKER"]) and time.monotonic() < deadline:
        time.sleep(0.1)


def whole_model_tokens(prompt: str, count: int) -> list[int]:
    """What the unsharded exact model gives, in this process and by torch's arithmetic."""
    whole = ModelSpec.from_folder(MODEL).whole
    engine = ExactEngine.from_folder(MODEL, whole, kernel="torch")
    return greedy([engine], Tokenizer.from_folder(MODEL).encode(prompt), count)


def transformers_tokens(prompt: str, count: int) -> list[int]:
    """What transformers' generate gives for the whole float model."""
    tokenizer = AutoTokenizer.from_pretrained(FLOAT_MODEL)
    model = AutoModelForCausalLM.from_pretrained(FLOAT_MODEL, dtype=torch.float32)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False)
    return output[0, ids.shape[1] :].tolist()


def test_the_demo_answers_like_the_whole_model_and_loses_no_coin(marked: dict[str, str]) -> None:
    """Four processes give the whole model's tokens; every coin is accounted for to the last unit; nothing keeps running."""
    result = run_demo(marked, "--no-kill")

    assert (result["profile"], result["tokens"]) == ("exact-1", whole_model_tokens(PROMPT, 40))
    assert (result["recoveries"], "strike" in result) == ([], False)
    _assert_every_coin(result)
    assert not processes_of(marked["TALLY_TEST_MARKER"])


@pytest.mark.parametrize("seed", ["1", "5"])
def test_a_stage_killed_in_mid_answer_costs_no_token_and_no_coin(marked: dict[str, str], seed: str) -> None:
    """The text is that of the whole model all the same; the killed node, started again, is paid for what it did."""
    result = run_demo(marked, "--seed", seed)
    [recovery], [killed] = result["recoveries"], result["strike"]["killed"]
    before, after = (result[moment]["accounts"] for moment in ("before", "after"))
    earned = {name: int(after[name]) - int(before[name]) for name in before if name.startswith("node")}

    assert result["tokens"] == whole_model_tokens(PROMPT, 40)
    assert (recovery["stage"], recovery["node"]) == (result["strike"]["stage"], killed)
    assert recovery["replacement"] != killed
    assert len(result["channels"]) == 2
    assert int(before["client"]) - int(after["client"]) == int(result["paid"]) > 0
    pool = int(after["audit pool"]) - int(before["audit pool"])
    assert sum(earned.values()) + pool + int(result["after"]["pots"]) == int(result["paid"])
    assert earned[f"node {result['strike']['stage']}"] > 0
    assert result["after"]["total"] == result["after"]["supply"]


def test_the_demo_in_float32_gives_transformers_tokens(marked: dict[str, str]) -> None:
    """The other profile on the other model, with the same money."""
    result = run_demo(marked, "--profile", "float32", "--no-kill")

    assert (result["profile"], result["tokens"]) == ("float32", transformers_tokens(PROMPT, 40))
    _assert_every_coin(result)


def run_demo(marked: dict[str, str], *options: str) -> dict[str, Any]:
    """What the demo reports to programs."""
    done = subprocess.run(
        [*TALLY, "demo", "--json", "--max-tokens", "40", *options],
        env=marked,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _assert_every_coin(result: dict[str, Any]) -> None:
    assert len(result["route"]) == 4
    for moment in ("before", "after"):
        assert result[moment]["total"] == result[moment]["supply"]
    before, after = (result[moment]["accounts"] for moment in ("before", "after"))
    paid = int(result["paid"])
    assert int(before["client"]) - int(after["client"]) == paid > 0
    earned = [int(after[f"node {index}"]) - int(before[f"node {index}"]) for index in range(4)]
    assert [str(each) for each in earned] == [stage["amount"] for stage in result["route"]]
    pool = int(after["audit pool"]) - int(before["audit pool"])
    assert str(pool) == result["auditPool"] == str(paid * POOL_BPS // WHOLE_BPS)
    assert sum(earned) + pool + int(result["after"]["pots"]) == paid
    events = [each["event"] for each in result["transactions"]]
    assert events.count("Settled") == 1, "one settlement pays the whole route"
    assert events.count("Collected") == 4 + 1, "each stage, and somebody for the audit pool"


def hears_interrupts() -> None:
    """Shells start what runs in their background deaf to SIGINT, and that is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_no_process(marked: dict[str, str], number: signal.Signals) -> None:
    """However the demo dies while its nodes come up, they and the chain die with it."""
    demo = subprocess.Popen(
        [*TALLY, "demo", "--no-kill", "--max-tokens", "400"],  # long enough to be still at it
        env=marked,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=hears_interrupts,
    )
    deadline = time.monotonic() + 60
    while len(processes_of(marked["TALLY_TEST_MARKER"])) < 6 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(processes_of(marked["TALLY_TEST_MARKER"])) >= 6, "demo, chain and four nodes should be up"

    demo.send_signal(number)

    assert demo.wait(timeout=30) != 0
    await_no_process(marked)


def readme_lines() -> list[str]:
    """The walk by hand: the README's block of `tally` lines, verbatim."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    walks = [block.splitlines() for block in blocks if "tally dev up" in block]
    assert len(walks) == 1, "the README has one walk by hand"
    return [line for line in walks[0] if line.strip() and not line.startswith("#")]


def test_the_readmes_walk_by_hand_works_line_by_line(marked: dict[str, str], tmp_path: Path) -> None:
    """Every line of the README's walk succeeds as written, in an empty folder with the models beside it."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    environment = marked | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{marked['PATH']}"}
    answer = ""
    try:
        for line in readme_lines():
            done = subprocess.run(
                ["bash", "-c", line],
                env=environment,
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            answer = done.stdout if line.startswith("tally run") else answer
        expected = Tokenizer.from_folder(MODEL).decode(whole_model_tokens(PROMPT, 60))
        assert "".join(expected.split()) in "".join(answer.split())
    finally:
        await_no_process(marked)


def tally(
    environment: dict[str, str], folder: Path, *arguments: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run one command."""
    done = subprocess.run(
        [*TALLY, *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=90, check=False
    )
    assert not check or done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
    return done


@dataclass(frozen=True)
class ByHand:
    """A chain with the suite, and two nodes of four blocks each that have staked; nothing runs but the chain."""

    folder: Path
    rpc: str
    environment: dict[str, str]

    def tally(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run one command in the folder."""
        return tally(self.environment, self.folder, *arguments, check=check)

    @contextmanager
    def nodes(self) -> Iterator[None]:
        """Both nodes, for the length of the block."""
        self.tally("node", "start", "--config", "n0/node.toml", "--config", "n1/node.toml", "--detach")
        try:
            yield
        finally:
            for name in ("n0", "n1"):
                self.tally("node", "stop", "--config", f"{name}/node.toml", check=False)


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ByHand]:
    """Set up with the command line, once for this file."""
    folder = tmp_path_factory.mktemp("by-hand")
    (folder / "models").symlink_to(ROOT / "models")
    with LocalChain("embedded") as chain:
        made = ByHand(folder, chain.url, environment_of(folder))
        made.tally("contracts", "deploy", "--rpc", chain.url)
        made.tally("dev", "fund", "--rpc", chain.url)
        for name, blocks, account in (("n0", "0:4", "1"), ("n1", "4:8", "2")):
            made.tally("node", "init", name, "--blocks", blocks, "--rpc", chain.url, "--dev-account", account)
            made.tally("stake", "1000", "--config", f"{name}/node.toml")
        yield made
    assert not end_all(made.environment), "a node was left behind"


def wallet(by_hand: ByHand, account: int) -> int:
    """What one test account has in its wallet."""
    done = by_hand.tally("balance", "--rpc", by_hand.rpc, "--dev-account", str(account), "--json")
    return int(json.loads(done.stdout)["wallet"])


def test_a_stage_killed_after_the_answer_still_collects(by_hand: ByHand) -> None:
    """kill -9 right after the answer, before any settlement: the vouchers are on disk, and pay when they are ripe."""
    before = wallet(by_hand, 2)
    with by_hand.nodes():
        done = by_hand.tally("run", PROMPT, "--max-tokens", "20", "--rpc", by_hand.rpc, "--dev-account", "9", "--json")
        status = json.loads((by_hand.folder / "n1" / "data" / "status.json").read_text())
        os.kill(status["pid"], signal.SIGKILL)
    result = json.loads(done.stdout)

    by_hand.tally("node", "collect", "--config", "n1/node.toml")  # settles, if nobody else has
    ask(by_hand.rpc, "evm_increaseTime", 2 * LOCAL_TESTNET.maturity_s)
    ask(by_hand.rpc, "evm_mine")
    by_hand.tally("node", "collect", "--config", "n1/node.toml")

    assert result["tokens"] == whole_model_tokens(PROMPT, 20)
    assert wallet(by_hand, 2) - before == int(result["route"][1]["amount"]) > 0


def test_a_node_that_dies_in_mid_answer_leaves_the_partial_text(by_hand: ByHand) -> None:
    """The client hears which stage was lost, and programs get what was generated until then."""
    key = ("--rpc", by_hand.rpc, "--dev-account", "9")
    with by_hand.nodes():
        run = subprocess.Popen(
            [*TALLY, "run", PROMPT, "--max-tokens", "400", *key, "--json"], env=by_hand.environment, cwd=by_hand.folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        status = json.loads((by_hand.folder / "n1" / "data" / "status.json").read_text())
        _await_vouchers(by_hand.folder / "n1" / "data")
        os.kill(status["pid"], signal.SIGKILL)
        stdout, stderr = run.communicate(timeout=60)
    result = json.loads(stdout)

    assert run.returncode == 1
    assert result["code"] == "stage_lost"
    assert result["text"]
    assert "stage 1" in stderr


def _await_vouchers(data_dir: Path) -> None:
    """Wait for three writes to a node's store: the channel, the prompt's voucher, and one for sixteen tokens or more."""
    log, seen, deadline = data_dir / "tallystick.sqlite-wal", set[int](), time.monotonic() + 60
    while len(seen) < 4 and time.monotonic() < deadline:
        seen.add(log.stat().st_mtime_ns if log.exists() else 0)
        time.sleep(0.02)
    assert len(seen) == 4, "no answer came under way"


def test_the_clients_mistakes_have_names(by_hand: ByHand) -> None:
    """What a user gets wrong is answered in one sentence without a traceback, and the next good command works."""
    key = ("--rpc", by_hand.rpc, "--dev-account", "9")
    init = ("node", "init", "n9", "--blocks", "0:4", "--dev-account", "3")
    cases = [
        (("run", "a " * 600, *key), "context"),
        (("run", PROMPT, "--temperature", "-1", *key), "temperature"),
        (("run", PROMPT, "--rpc", "http://127.0.0.1:9", "--dev-account", "9"), "127.0.0.1:9"),
        (("run", PROMPT, "--rpc", by_hand.rpc), "keystore"),
        (("node", "init", "n9", "--blocks", "4:2", "--dev-account", "3"), "4:2"),
        (("node", "start", "--config", "n0/node.toml"), "in use"),
        (("stake", "1,5", "--config", "n0/node.toml"), "1,5"),
        (("balance", "0x12", "--rpc", by_hand.rpc), "0x12"),
        (("run", PROMPT, "--model", "models/demo-exact", "--profile", "float32", *key), "profile exact"),
        ((*init, "--model", "models/demo-exact", "--profile", "float32"), "profile exact"),
        (("run", PROMPT, "--profile", "float32", *key), "no node serves"),
    ]
    with by_hand.nodes():
        for arguments, word in cases:
            _assert_named(by_hand.tally(*arguments, check=False), word)
        assert json.loads(by_hand.tally("run", PROMPT, "--max-tokens", "3", *key, "--json").stdout)["tokens"]


def test_a_float_checkpoint_joins_the_exact_network(by_hand: ByHand) -> None:
    """A node and a client with the float model quantise it by themselves and meet those with the exact one: the same root."""
    key = ("--rpc", by_hand.rpc, "--dev-account")
    init = ("--model", "models/demo", "--blocks", "0:4", "--ask", "0.000002")
    by_hand.tally("node", "init", "dear", *init, *key, "4")
    by_hand.tally("stake", "1000", "--config", "dear/node.toml")
    by_hand.tally("node", "start", "--config", "dear/node.toml", "--detach")
    try:
        status = json.loads(by_hand.tally("node", "status", "--config", "dear/node.toml", "--json").stdout)
    finally:
        by_hand.tally("node", "stop", "--config", "dear/node.toml")
    with by_hand.nodes():
        listed = json.loads(by_hand.tally("network", "ls", "--rpc", by_hand.rpc, "--json").stdout)
        run = by_hand.tally("run", PROMPT, "--model", "models/demo", "--max-tokens", "5", *key, "9", "--json")

    assert status["profile"] == "exact-1"
    shown = {(each["manifest"], each["profile"]) for each in listed}
    assert len(listed) == 3
    assert shown == {(read_manifest(MODEL).root.hex(), "exact-1")}
    assert json.loads(run.stdout)["tokens"] == whole_model_tokens(PROMPT, 5)


def _assert_named(done: "subprocess.CompletedProcess[str]", word: str) -> None:
    assert done.returncode in (1, 3), done.args
    assert word in done.stderr, (done.args, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr


def test_a_node_that_cannot_start_says_why(by_hand: ByHand) -> None:
    """Chain down, not staked, blocks outside the model, port taken: each has its sentence and no process stays."""
    common = ("--rpc", by_hand.rpc, "--dev-account", "3")
    init = ("node", "init")
    by_hand.tally(*init, "down", "--blocks", "0:4", "--rpc", "http://127.0.0.1:9", "--dev-account", "3")
    by_hand.tally(*init, "unstaked", "--blocks", "0:4", *common)
    for name, word in (("down", "127.0.0.1:9"), ("unstaked", "tally stake")):
        _assert_named(by_hand.tally("node", "start", "--config", f"{name}/node.toml", check=False), word)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = f"127.0.0.1:{taken.getsockname()[1]}"
        by_hand.tally(*init, "port", "--blocks", "0:4", "--listen", port, *common)
        by_hand.tally("stake", "1000", "--config", "port/node.toml")
        _assert_named(by_hand.tally("node", "start", "--config", "port/node.toml", check=False), "in use")
    config = by_hand.folder / "port" / "node.toml"
    config.write_text(config.read_text().replace('"0:4"', '"4:99"'))
    _assert_named(by_hand.tally("node", "start", "--config", "port/node.toml", check=False), "99")
