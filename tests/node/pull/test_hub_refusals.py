"""What each failure of the hub, the network or the disk is called, with the real huggingface_hub."""

from pathlib import Path

import pytest

from node.hub import Hub
from node.pull_errors import (
    DownloadInterrupted,
    FileMissing,
    FileStale,
    FolderUnusable,
    HubBusy,
    HubOffline,
    HubUnreachable,
    PullError,
    RepoGated,
    RepoNameInvalid,
    RepoUnknown,
    RevisionUnknown,
    TokenRefused,
)
from tests.node.pull.fake_hub import FakeHub, FakeRepo

REPO = "quarry/slate"
OLD, NEW = "a" * 40, "b" * 40
FILE = "model.safetensors"
CONTENT = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def _repository(server: FakeHub) -> None:
    """One repository of two commits."""
    server.repos[REPO] = FakeRepo({OLD: {FILE: b"old" * 100}, NEW: {FILE: CONTENT}}, {"main": NEW, "v1": OLD})


def test_an_unknown_repository_has_a_name_for_it(hub: Hub) -> None:
    """404 for the repository."""
    with pytest.raises(RepoUnknown) as caught:
        hub.commit_of("quarry/granite", "main")
    assert caught.value.repo == "quarry/granite"


@pytest.mark.parametrize("repo", ["", "a/b/c", "../etc", "a b", "quarry/..", "https://host/a/b", "x--y/z"])
def test_names_that_no_hub_can_know_are_refused_here(hub: Hub, server: FakeHub, repo: str) -> None:
    """Nothing is asked for them."""
    with pytest.raises(RepoNameInvalid):
        hub.commit_of(repo, "main")
    assert server.seen == []


def test_an_unknown_revision_has_a_name_for_it(hub: Hub) -> None:
    """404 for the revision, of a branch and of a hash."""
    with pytest.raises(RevisionUnknown):
        hub.commit_of(REPO, "no-such-branch")
    with pytest.raises(RevisionUnknown):
        hub.files_of(REPO, "c" * 40)


def test_a_gated_repository_says_where_its_terms_are(hub: Hub, server: FakeHub, tmp_path: Path) -> None:
    """The address in the message can be opened."""
    server.repos[REPO].gated = True

    with pytest.raises(RepoGated, match=f"{server.endpoint}/{REPO}"):
        hub.fetch(REPO, NEW, FILE, tmp_path)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_has_a_name_for_it(hub: Hub, server: FakeHub, tmp_path: Path, status: int) -> None:
    """For the question after the commit and for a file alike."""
    server.fail("GET", "/revision/main", status)
    server.fail("HEAD", FILE, *[status] * 2)

    for ask in (lambda: hub.commit_of(REPO, "main"), lambda: hub.fetch(REPO, NEW, FILE, tmp_path)):
        with pytest.raises(TokenRefused) as caught:
            ask()
        assert caught.value.status == status


def test_a_file_that_is_not_there_has_a_name_for_it(hub: Hub, tmp_path: Path) -> None:
    """404 for the file."""
    with pytest.raises(FileMissing) as caught:
        hub.fetch(REPO, NEW, "config.json", tmp_path)
    assert caught.value.file == "config.json"


def test_nobody_at_the_endpoint_has_a_name_for_it(server: FakeHub, tmp_path: Path) -> None:
    """A closed port is a hub that cannot be reached, whatever is asked."""
    hub = Hub("http://127.0.0.1:9", home=tmp_path, retry_wait=0)

    for ask in (
        lambda: hub.commit_of(REPO, "main"),
        lambda: hub.files_of(REPO, NEW),
        lambda: hub.fetch(REPO, NEW, FILE, tmp_path),
    ):
        with pytest.raises(HubUnreachable) as caught:
            ask()
        assert caught.value.endpoint == "http://127.0.0.1:9"


@pytest.mark.parametrize("endpoint", ["no scheme", "http://[", "ftp://127.0.0.1"])
def test_an_endpoint_that_is_none_is_unreachable(tmp_path: Path, endpoint: str) -> None:
    """A mistyped HF_ENDPOINT is named in the message."""
    with pytest.raises(HubUnreachable, match="HF_ENDPOINT"):
        Hub(endpoint, home=tmp_path, retry_wait=0).commit_of(REPO, "main")


def test_something_that_is_not_a_hub_is_unreachable(hub: Hub, server: FakeHub) -> None:
    """A captive portal's page is no list of files."""
    server.fail("GET", f"/revision/{NEW}", "garbage")

    with pytest.raises(HubUnreachable):
        hub.files_of(REPO, NEW)


@pytest.mark.parametrize("sha", ["../../../etc", "a" * 39, "a" * 41, "A" * 40, "a" * 39 + "/"])
def test_a_commit_that_is_no_hash_never_becomes_a_folder(hub: Hub, server: FakeHub, sha: str) -> None:
    """The hash names a folder, so nothing else may come from the server."""
    server.sha = sha
    with pytest.raises(HubUnreachable, match="commit hash"):
        hub.commit_of(REPO, "main")


def test_a_folder_that_cannot_be_one_is_unusable(hub: Hub, tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "taken").write_text("not a folder")

    with pytest.raises(FolderUnusable) as caught:
        hub.fetch(REPO, NEW, FILE, tmp_path / "taken" / "model")
    assert caught.value.folder == tmp_path / "taken" / "model"


def test_a_full_disk_is_named(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's refusal to write is not mistaken for the network's."""

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(FolderUnusable, match="No space left"):
        hub.fetch(REPO, NEW, FILE, tmp_path)


def test_every_error_says_what_to_do_next() -> None:
    """Each leaf's text goes on after the fact, with a semicolon and a piece of advice."""
    leaves = [
        RepoNameInvalid(""), RepoUnknown(REPO), RepoGated(REPO, "e"), RevisionUnknown(REPO, "r"),
        TokenRefused(REPO, 401), HubOffline(REPO, FILE), HubUnreachable("e", "r"), HubBusy("e", 500),
        DownloadInterrupted(FILE, "r"), FileStale(Path("f"), NEW), FolderUnusable(Path("f"), "r"),
        FileMissing(REPO, FILE, NEW),
    ]  # fmt: skip
    assert all(isinstance(leaf, PullError) and "; " in str(leaf) for leaf in leaves)
