"""Chains in processes of their own: they start, they stop, and they never stay behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from node.devchain.chain_errors import AnvilNotFound, ChainStartFailed, NotTheLocalChain
from node.devchain.local import LocalChain
from node.devchain.locate import find_anvil
from node.devchain.probe import ask_chain_id
from node.errors import PortInUse

pytestmark = pytest.mark.system

HOLDER = """
import sys, time
from node.devchain.local import LocalChain
chain = LocalChain(sys.argv[1], detach=sys.argv[2] == "detach").start()
print(chain.pid, chain.url, flush=True)
time.sleep(60)
"""


@pytest.fixture(params=["embedded", "anvil"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "anvil" and find_anvil() is None:
        pytest.skip("no anvil: run `npm install` in contracts/ or put it on the PATH")
    return str(request.param)


@pytest.fixture
def quick() -> str:
    """The kind that starts fastest here, for what does not depend on the kind."""
    return "embedded" if find_anvil() is None else "anvil"


def _gone(pid: int) -> bool:
    """Waits at most ten seconds; a zombie counts as gone, since nobody may be left to bury it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_it_answers_while_it_is_open_and_is_gone_after(kind: str) -> None:
    """The process, its port, and the attributes that tell about it."""
    with LocalChain(kind) as chain:  # type: ignore[arg-type]
        assert chain.kind == kind
        assert ask_chain_id(chain.url, 5.0) == 31337
        assert psutil.pid_exists(chain.pid)
    assert _gone(chain.pid)
    assert ask_chain_id(chain.url, 1.0) is None


def test_it_is_gone_after_an_exception(quick: str) -> None:
    """The context manager stops it whatever happens inside."""
    with pytest.raises(ZeroDivisionError), LocalChain(quick) as chain:  # type: ignore[arg-type]
        raise ZeroDivisionError
    assert _gone(chain.pid)


def test_a_port_can_be_chosen(quick: str) -> None:
    """And be used again at once."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    for _ in range(2):
        with LocalChain(quick, port) as chain:  # type: ignore[arg-type]
            assert urlsplit(chain.url).port == port


def test_a_port_in_use_is_refused_at_once(kind: str) -> None:
    """Nothing is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortInUse) as caught:
            LocalChain(kind, port).start()  # type: ignore[arg-type]
    assert caught.value.port == port
    assert "choose another port" in str(caught.value)


def _holder(kind: str, mode: str) -> tuple["subprocess.Popen[str]", int, str]:
    """A process that holds a chain, and the chain's process id and URL."""
    parent = subprocess.Popen([sys.executable, "-c", HOLDER, kind, mode], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid, url = parent.stdout.readline().split()
    parent.stdout.close()
    return parent, int(pid), url


def _kill(parent: "subprocess.Popen[str]") -> None:
    parent.kill()
    parent.wait(10)


def test_kill_9_of_the_parent_leaves_no_process(kind: str) -> None:
    """The parent cannot clean up then; the chain ends all the same."""
    parent, pid, url = _holder(kind, "attached")
    assert ask_chain_id(url, 5.0) == 31337
    _kill(parent)
    assert _gone(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_kill_9_of_anvils_guard_leaves_no_process() -> None:
    """The guard watches the parent, the kernel watches the guard."""
    if find_anvil() is None:
        pytest.skip("no anvil: run `npm install` in contracts/ or put it on the PATH")
    with LocalChain("anvil") as chain:
        guard = psutil.Process(chain.pid).parent()
        assert guard is not None
        guard.kill()
        assert _gone(chain.pid)


def test_a_detached_chain_outlives_its_parent(kind: str) -> None:
    """Until somebody stops it by its process id."""
    parent, pid, url = _holder(kind, "detach")
    try:
        _kill(parent)
        assert ask_chain_id(url, 5.0) == 31337
    finally:
        os.kill(pid, signal.SIGTERM)
    assert _gone(pid)


def test_stopping_twice_or_before_the_start_is_harmless(quick: str) -> None:
    """stop is idempotent."""
    chain = LocalChain(quick)  # type: ignore[arg-type]
    chain.stop()
    chain.start()
    chain.stop()
    chain.stop()
    assert _gone(chain.pid)


def _program(folder: Path, script: str) -> Path:
    path = folder / "anvil"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_process_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """So that the user sees the reason, not a time-out."""
    with pytest.raises(ChainStartFailed) as caught:
        LocalChain("anvil", anvil=_program(tmp_path, "echo the disk is full >&2; exit 3")).start()
    assert "status 3" in caught.value.reason
    assert caught.value.tail == "the disk is full"


def test_a_process_that_never_answers_is_given_up_and_stopped(tmp_path: Path) -> None:
    """At the deadline."""
    chain = LocalChain("anvil", 0, anvil=_program(tmp_path, "exec sleep 60"), timeout_s=0.3)
    with pytest.raises(ChainStartFailed, match=r"no answer within 0\.3 s"):
        chain.start()
    assert _gone(chain.pid)


def test_a_chain_with_another_id_is_not_taken(tmp_path: Path) -> None:
    """Well-known keys must not sign for it."""
    anvil = find_anvil()
    if anvil is None:
        pytest.skip("no anvil: run `npm install` in contracts/ or put it on the PATH")
    chain = LocalChain("anvil", anvil=_program(tmp_path, f'exec {anvil} --silent --chain-id 1 --port "$2"'))
    with pytest.raises(NotTheLocalChain) as caught:
        chain.start()
    assert (caught.value.expected, caught.value.got) == (31337, 1)
    assert _gone(chain.pid)


def test_a_strangers_answer_on_the_port_is_not_mistaken_for_ours(tmp_path: Path, embedded_url: str) -> None:
    """Another local chain got the port between choosing it and listening on it."""
    chain = LocalChain("anvil", anvil=_program(tmp_path, "exec sleep 60"), timeout_s=0.3)
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.callback(chain.stop)
        patch.setattr("node.devchain.local._free_port", lambda: urlsplit(embedded_url).port)
        patch.setattr("node.devchain.local._check_free", lambda port: None)
        with pytest.raises(ChainStartFailed):
            chain.start()


def test_auto_takes_anvil_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the embedded chain elsewhere; neither is started here."""
    monkeypatch.setattr("node.devchain.local.find_anvil", lambda explicit: Path("/bin/true"))
    assert LocalChain("auto").kind == "anvil"
    monkeypatch.setattr("node.devchain.local.find_anvil", lambda explicit: None)
    assert LocalChain("auto").kind == "embedded"
    with pytest.raises(AnvilNotFound, match="npm install"):
        LocalChain("anvil")


def test_an_answer_that_is_no_chain_id_is_no_answer() -> None:
    """Nothing listens, or something that does not speak."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert ask_chain_id(f"http://127.0.0.1:{port}", 0.1) is None
    assert ask_chain_id(f"http://127.0.0.1:{port}", 0.1) is None


def test_the_log_keeps_what_the_process_said(tmp_path: Path) -> None:
    """Where the caller named a file; the error then points to it."""
    log = tmp_path / "chain.log"
    with pytest.raises(ChainStartFailed) as caught:
        LocalChain("anvil", anvil=_program(tmp_path, "echo no luck >&2; exit 3"), log=log).start()
    assert str(log) in str(caught.value)
    assert "no luck" in log.read_text()
