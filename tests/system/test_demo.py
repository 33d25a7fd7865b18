"""The whole house as a user meets it: real processes, the committed model, the README's own lines."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from node.devchain.local import LocalChain

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "demo"
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


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose processes can be found again; the test fails if one outlives it, and none is left behind."""
    marker = f"{os.getpid()}-{tmp_path}"
    client = {"TALLY_DATA_DIR": str(tmp_path / "client"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    yield os.environ | client | {"TALLY_TEST_MARKER": marker, "NO_COLOR": "1", "COLUMNS": "160"}
    left = processes_of(marker)
    for process in left:
        process.kill()
    assert not left, f"left behind: {left}"


def await_no_process(environment: dict[str, str], seconds: float = 15.0) -> None:
    """Wait until every marked process is gone."""
    deadline = time.monotonic() + seconds
    while processes_of(environment["TALLY_TEST_MARKER"]) and time.monotonic() < deadline:
        time.sleep(0.1)


def whole_model_tokens(prompt: str, count: int) -> list[int]:
    """What transformers' generate gives for the whole model."""
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
    output = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False)
    return output[0, ids.shape[1] :].tolist()


def test_the_demo_answers_like_the_whole_model_and_loses_no_coin(marked: dict[str, str]) -> None:
    """Four processes give transformers' own tokens; every coin is accounted for to the last unit; nothing keeps running."""
    done = subprocess.run(
        [*TALLY, "demo", "--json", "--max-tokens", "40"],
        env=marked,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])

    assert result["tokens"] == whole_model_tokens(PROMPT, 40)
    assert len(result["route"]) == 4
    for moment in ("before", "after"):
        assert result[moment]["total"] == result[moment]["supply"]
    before, after = (result[moment]["accounts"] for moment in ("before", "after"))
    paid = int(result["paid"])
    assert int(before["client"]) - int(after["client"]) == paid > 0
    earned = [int(after[f"node {index}"]) - int(before[f"node {index}"]) for index in range(4)]
    assert [str(each) for each in earned] == [stage["amount"] for stage in result["route"]]
    assert sum(earned) + int(result["after"]["pots"]) == paid
    events = [each["event"] for each in result["transactions"]]
    assert events.count("Settled") == 1, "one settlement pays the whole route"
    assert events.count("Collected") == 4
    assert not processes_of(marked["TALLY_TEST_MARKER"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_demo_leaves_no_process(marked: dict[str, str], number: signal.Signals) -> None:
    """However the demo dies while its nodes come up, they and the chain die with it."""
    demo = subprocess.Popen(
        [*TALLY, "demo"],
        env=marked,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
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
        from node.generation import ClientModel

        expected = ClientModel.from_folder(MODEL).tokenizer.decode(whole_model_tokens("ROMEO:", 20))
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


@pytest.fixture
def network_by_hand(marked: dict[str, str], tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A chain with the suite and two nodes of four blocks each, brought up with the command line; yields folder and URL."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    with LocalChain("embedded") as chain:
        tally(marked, tmp_path, "contracts", "deploy", "--rpc", chain.url)
        tally(marked, tmp_path, "dev", "fund", "--rpc", chain.url)
        for index, blocks in enumerate(("0:4", "4:8")):
            account = ("--dev-account", str(index + 1))
            tally(marked, tmp_path, "node", "init", f"n{index}", "--blocks", blocks, "--rpc", chain.url, *account)
            tally(marked, tmp_path, "stake", "1000", "--config", f"n{index}/node.toml")
            tally(marked, tmp_path, "node", "start", "--config", f"n{index}/node.toml", "--detach")
        yield tmp_path, chain.url
        for process in processes_of(marked["TALLY_TEST_MARKER"]):
            process.terminate()
        await_no_process(marked)


def balance(environment: dict[str, str], folder: Path, rpc: str, account: int) -> dict[str, str]:
    """One test account's buckets."""
    done = tally(environment, folder, "balance", "--rpc", rpc, "--dev-account", str(account), "--json")
    return dict(json.loads(done.stdout))


def test_a_stage_killed_after_the_answer_still_collects(
    marked: dict[str, str], network_by_hand: tuple[Path, str]
) -> None:
    """kill -9 right after the answer, before any settlement: the vouchers are on disk, and a restart is paid for them."""
    folder, rpc = network_by_hand
    before = int(balance(marked, folder, rpc, 2)["wallet"])
    done = tally(marked, folder, "run", PROMPT, "--max-tokens", "20", "--rpc", rpc, "--dev-account", "9", "--json")
    result = json.loads(done.stdout)
    status = json.loads((folder / "n1" / "data" / "status.json").read_text())
    os.kill(status["pid"], signal.SIGKILL)
    for index in (0, 1):  # the first stage must not do the second one's work
        tally(marked, folder, "node", "stop", "--config", f"n{index}/node.toml", check=False)

    tally(marked, folder, "node", "collect", "--config", "n1/node.toml")

    after = int(balance(marked, folder, rpc, 2)["wallet"])
    assert result["tokens"] == whole_model_tokens(PROMPT, 20)
    assert after - before == int(result["route"][1]["amount"]) > 0


def test_the_clients_mistakes_have_names(
    marked: dict[str, str], network_by_hand: tuple[Path, str], tmp_path: Path
) -> None:
    """What a user gets wrong is answered in one sentence without a traceback, and the next good command works."""
    folder, rpc = network_by_hand
    key = ("--rpc", rpc, "--dev-account", "9")
    cases = [
        (("run", "a " * 600, *key), "context"),
        (("run", PROMPT, "--temperature", "-1", *key), "temperature"),
        (("run", PROMPT, "--rpc", "http://127.0.0.1:9", "--dev-account", "9"), "127.0.0.1:9"),
        (("run", PROMPT, "--rpc", rpc), "keystore"),
        (("node", "init", "n9", "--blocks", "4:2", "--dev-account", "3"), "4:2"),
        (("node", "start", "--config", "n0/node.toml"), "in use"),
        (("stake", "1,5", "--config", "n0/node.toml"), "1,5"),
        (("balance", "0x12", "--rpc", rpc), "0x12"),
    ]
    for arguments, word in cases:
        done = tally(marked, folder, *arguments, check=False)
        assert done.returncode in (1, 3), arguments
        assert word in done.stderr, (arguments, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
    assert json.loads(tally(marked, folder, "run", PROMPT, "--max-tokens", "3", *key, "--json").stdout)["tokens"]


def test_a_node_that_cannot_start_says_why(marked: dict[str, str], network_by_hand: tuple[Path, str]) -> None:
    """Chain down, not staked, blocks outside the model, port taken: each has its sentence and no process stays."""
    folder, rpc = network_by_hand
    status = json.loads((folder / "n0" / "data" / "status.json").read_text())
    taken = status["endpoint"].split("/")[2]
    common = ("--rpc", rpc, "--dev-account", "3")
    tally(
        marked, folder, "node", "init", "down", "--blocks", "0:4", "--rpc", "http://127.0.0.1:9", "--dev-account", "3"
    )
    tally(marked, folder, "node", "init", "unstaked", "--blocks", "0:4", *common)
    tally(marked, folder, "node", "init", "outside", "--blocks", "4:99", *common)
    tally(marked, folder, "node", "init", "port", "--blocks", "0:4", "--listen", taken, *common)
    tally(marked, folder, "stake", "1000", "--config", "port/node.toml")
    words = {"down": "127.0.0.1:9", "unstaked": "tally stake", "outside": "99", "port": "in use"}
    for name, word in words.items():
        done = tally(marked, folder, "node", "start", "--config", f"{name}/node.toml", check=False)
        assert done.returncode in (1, 3), name
        assert word in done.stderr, (name, done.stderr)
        assert "Traceback" not in done.stderr, done.stderr
