"""The real huggingface_hub against a hub on loopback: what is fetched, what is tried again, what works offline."""

import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest

from node.hub import ATTEMPTS, Hub
from node.pull_errors import DownloadInterrupted, FileStale, HubBusy, HubOffline
from tests.node.pull.fake_hub import FakeHub, FakeRepo

REPO = "quarry/slate"
OLD, NEW = "a" * 40, "b" * 40
FILE = "model.safetensors"
CONTENT = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def _repository(server: FakeHub) -> None:
    """One repository of two commits."""
    server.repos[REPO] = FakeRepo({OLD: {FILE: b"old" * 100}, NEW: {FILE: CONTENT}}, {"main": NEW, "v1": OLD})


def test_a_branch_a_tag_and_a_hash_resolve_to_the_commit(hub: Hub) -> None:
    """Whatever names a commit, its hash comes out."""
    assert [hub.commit_of(REPO, name) for name in ("main", "v1", NEW)] == [NEW, OLD, NEW]


def test_the_file_of_the_commit_arrives_whole(hub: Hub, tmp_path: Path) -> None:
    """The bytes on disk are the bytes of the commit that was asked for, not of the branch."""
    old = hub.fetch(REPO, OLD, FILE, tmp_path / "old")
    new = hub.fetch(REPO, NEW, FILE, tmp_path / "new")

    assert (old.read_bytes(), new.read_bytes()) == (b"old" * 100, CONTENT)


def test_files_are_plain_files(hub: Hub) -> None:
    """The loader refuses links that leave the folder, so none are made."""
    path = hub.fetch(REPO, NEW, FILE, hub.folder(REPO, NEW))

    assert path.is_file()
    assert not path.is_symlink()


def test_a_second_fetch_asks_for_nothing(hub: Hub, server: FakeHub, tmp_path: Path) -> None:
    """A file that is there of this commit costs no request."""
    hub.fetch(REPO, NEW, FILE, tmp_path)
    server.seen.clear()

    hub.fetch(REPO, NEW, FILE, tmp_path)

    assert server.seen == []


def test_the_token_goes_to_the_hub_and_to_nobody_else(hub: Hub, server: FakeHub, tmp_path: Path) -> None:
    """The host that serves the bytes never sees the access token."""
    server.token = "hf_secret"

    hub.fetch(REPO, hub.commit_of(REPO, "main"), FILE, tmp_path)

    tokens = {seen.path.startswith("/cdn/"): seen.token for seen in server.seen}
    assert tokens == {False: "Bearer hf_secret", True: None}


def test_progress_ends_at_the_size(hub: Hub, tmp_path: Path) -> None:
    """The callback hears of the file's bytes and of their total."""
    heard: list[tuple[str, int, int | None]] = []

    hub.fetch(REPO, NEW, FILE, tmp_path, lambda *report: heard.append(report))

    assert heard[-1] == (FILE, len(CONTENT), len(CONTENT))


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_a_hub_that_stumbles_once_is_asked_again(hub: Hub, server: FakeHub, tmp_path: Path, method: str) -> None:
    """One 500 does not cost the download."""
    server.fail(method, FILE, 500)

    assert hub.fetch(REPO, NEW, FILE, tmp_path).read_bytes() == CONTENT


def test_a_hub_that_keeps_failing_is_asked_a_bounded_number_of_times(hub: Hub, server: FakeHub, tmp_path: Path) -> None:
    """The last error is the hub's status, after as many attempts as are stated."""
    server.fail("GET", FILE, *[503] * 100)

    with pytest.raises(HubBusy) as caught:
        hub.fetch(REPO, NEW, FILE, tmp_path)

    assert caught.value.status == 503
    assert sum(seen.path.startswith("/cdn/") for seen in server.seen) == ATTEMPTS


def test_a_stumble_while_resolving_is_forgiven(hub: Hub, server: FakeHub) -> None:
    """The commit is found although the first question failed."""
    server.fail("GET", "/revision/main", 502)

    assert hub.commit_of(REPO, "main") == NEW


def test_a_cut_connection_is_resumed_where_it_broke(
    hub: Hub, server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second request asks for the missing half only, and the file is whole."""
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)
    server.fail("GET", FILE, "cut")

    path = hub.fetch(REPO, NEW, FILE, tmp_path)

    assert path.read_bytes() == CONTENT
    assert server.seen[-1].range == f"bytes={len(CONTENT) // 2}-"


@pytest.mark.parametrize("fault", ["cut", "short"])
def test_a_download_that_never_completes_is_interrupted(hub: Hub, server: FakeHub, tmp_path: Path, fault: str) -> None:
    """It ends with a named error and leaves no half file behind."""
    server.repos[REPO].commits[NEW][FILE] = b"xy"
    server.fail("GET", FILE, *[fault] * 200)  # type: ignore[list-item]

    with pytest.raises(DownloadInterrupted) as caught:
        hub.fetch(REPO, NEW, FILE, tmp_path)

    assert caught.value.file == FILE
    assert [path for path in tmp_path.rglob("*") if path.suffix in (".safetensors", ".incomplete")] == []


def test_an_interrupted_download_can_be_taken_up_again(hub: Hub, server: FakeHub, tmp_path: Path) -> None:
    """What the message promises: pull again, and it works."""
    server.fail("GET", FILE, *["short"] * ATTEMPTS)
    with pytest.raises(DownloadInterrupted):
        hub.fetch(REPO, NEW, FILE, tmp_path)

    assert hub.fetch(REPO, NEW, FILE, tmp_path).read_bytes() == CONTENT


@pytest.mark.usefixtures("offline")
def test_offline_nothing_is_asked(hub: Hub, server: FakeHub, tmp_path: Path) -> None:
    """What is not here is refused by name, and no request leaves."""
    with pytest.raises(HubOffline, match="revision main"):
        hub.commit_of(REPO, "main")
    with pytest.raises(HubOffline, match=FILE):
        hub.fetch(REPO, NEW, FILE, tmp_path)
    assert hub.files_of(REPO, NEW) is None
    assert server.seen == []


def test_offline_what_was_pulled_is_still_there(hub: Hub, server: FakeHub, request: pytest.FixtureRequest) -> None:
    """The branch resolves to the commit of the last pull and its file is found."""
    folder = hub.folder(REPO, hub.commit_of(REPO, "main"))
    hub.fetch(REPO, NEW, FILE, folder)
    request.getfixturevalue("offline")
    server.seen.clear()

    path = hub.fetch(REPO, hub.commit_of(REPO, "main"), FILE, folder)

    assert path.read_bytes() == CONTENT
    assert server.seen == []


def test_offline_the_library_s_own_cache_is_used(hub: Hub, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """A model that another program has downloaded with huggingface_hub need not be downloaded again."""
    huggingface_hub.hf_hub_download(REPO, FILE, endpoint=hub.endpoint, cache_dir=tmp_path / "home" / "hub")
    request.getfixturevalue("offline")

    commit = hub.commit_of(REPO, "main")
    path = hub.fetch(REPO, commit, FILE, hub.folder(REPO, commit))

    assert path.read_bytes() == CONTENT
    assert not path.is_symlink()


def test_a_file_of_another_commit_never_passes_for_the_right_one(hub: Hub, server: FakeHub, tmp_path: Path) -> None:
    """With the hub down, what lies in the folder is not taken unless it is of this commit."""
    hub.fetch(REPO, OLD, FILE, tmp_path)
    server.fail("HEAD", FILE, *[500] * 200)

    with pytest.raises(FileStale):
        hub.fetch(REPO, NEW, FILE, tmp_path)


def test_a_file_of_another_commit_is_replaced(hub: Hub, tmp_path: Path) -> None:
    """With the hub up, the folder follows the commit that is asked for."""
    hub.fetch(REPO, OLD, FILE, tmp_path)

    assert hub.fetch(REPO, NEW, FILE, tmp_path).read_bytes() == CONTENT


SCRIPT = """
import sys
from pathlib import Path
from node.hub import Hub
hub = Hub()
commit = hub.commit_of(sys.argv[1], "main")
sys.stdout.write(str(hub.fetch(sys.argv[1], commit, sys.argv[2], hub.folder(sys.argv[1], commit))))
"""


@pytest.mark.parametrize("switch", [{}, {"HF_HUB_OFFLINE": "1"}])
def test_the_environment_is_obeyed(server: FakeHub, tmp_path: Path, switch: dict[str, str]) -> None:
    """HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE work as everywhere else; read at import, so in a process."""
    server.token = "hf_from_environment"
    variables = {"HF_ENDPOINT": server.endpoint, "HF_TOKEN": "hf_from_environment", "HF_HOME": str(tmp_path / "home")}

    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, REPO, FILE],
        env=os.environ | variables | switch, capture_output=True, text=True, timeout=50, check=False,
    )  # fmt: skip

    if switch:
        assert "HubOffline" in ended.stderr
        assert server.seen == []
    else:
        assert Path(ended.stdout).read_bytes() == CONTENT, ended.stderr
        assert Path(ended.stdout).is_relative_to(tmp_path / "home")
