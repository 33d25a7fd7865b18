"""The model hub, through huggingface_hub and nothing else: a commit, its list of files, the files.

Errors of that library and of its transport become PullErrors here and nowhere else. HF_ENDPOINT, HF_TOKEN, HF_HOME and
HF_HUB_OFFLINE are read by the library itself.
"""

import errno
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx2
import tenacity
from huggingface_hub import HfApi, constants, is_offline_mode, try_to_load_from_cache
from huggingface_hub import errors as hub_errors

from node import pull_errors as errors
from node.hub_progress import Progress, bar_class, silent

Answer = TypeVar("Answer")

ATTEMPTS = 4
"""How often one question to the hub, or one file, is tried where the fault may pass."""
RETRY_SECONDS = 1800.0
"""No attempt at a file begins later than this after its first."""
LIST_SECONDS = 30.0

_COMMIT = re.compile(r"[0-9a-f]{40}")
_DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR}
_FOREIGN = (
    httpx2.HTTPError,  # the library's own HTTP errors too
    httpx2.InvalidURL,
    hub_errors.EntryNotFoundError,
    hub_errors.RevisionResolutionError,
    hub_errors.XetDownloadError,
    OSError,
    RuntimeError,  # hf_xet raises bare ones
    ValueError,  # answers that are not JSON, or names the library's validators refuse
    KeyError,
    TypeError,
    AssertionError,  # the library's way to say that an answer lacks a field
)


@dataclass(frozen=True, slots=True)
class Hub:
    """A model hub. What is None is what huggingface_hub takes from HF_ENDPOINT, HF_TOKEN and HF_HOME."""

    endpoint: str | None = None
    token: str | None = None
    home: Path | None = None
    retry_wait: float = 1.0  # seconds before the second attempt; doubles

    @property
    def address(self) -> str:
        """The endpoint that is really used."""
        return self.endpoint or constants.ENDPOINT

    def folder(self, repo: str, commit: str) -> Path:
        """Where a commit's files are kept when nobody says otherwise: plain files, one folder per commit."""
        home = self.home or Path(constants.HF_HOME)
        return home / "tallystick" / repo.replace("/", "--") / commit

    def commit_of(self, repo: str, revision: str) -> str:
        """Resolve a branch, tag or commit to a full commit hash; unreachable, the last known answer is given."""
        question = _Question(self.address, repo, revision)
        found = self._ask(
            question, lambda: self._api.resolve_revision(repo, revision=revision, cache_dir=self._cache).resolved
        )
        if _COMMIT.fullmatch(found) is None:  # it names a folder: nothing else may come from a server
            raise errors.HubUnreachable(self.address, "its answer is not a commit hash")
        return found

    def files_of(self, repo: str, commit: str) -> Mapping[str, int | None] | None:
        """File names and sizes in bytes of a commit; None when HF_HUB_OFFLINE forbids to ask."""
        if is_offline_mode():
            return None
        info = self._ask(
            _Question(self.address, repo, commit),
            lambda: self._api.model_info(repo, revision=commit, files_metadata=True, timeout=LIST_SECONDS),
        )
        return {sibling.rfilename: sibling.size for sibling in info.siblings or []}

    def fetch(self, repo: str, commit: str, name: str, folder: Path, progress: Progress | None = None) -> Path:
        """Bring one file of one commit into the folder, unless it is there; returns its path."""
        if is_offline_mode() and self._copy_cached(repo, commit, name, folder):
            return folder / name
        question = _Question(self.address, repo, commit, name, folder)
        self._ask(question, lambda: self._download(repo, commit, name, folder, progress or silent))
        return folder / name

    @property
    def _api(self) -> HfApi:
        return HfApi(endpoint=self.endpoint, token=self.token)

    @property
    def _cache(self) -> Path | None:
        return None if self.home is None else self.home / "hub"

    def _ask(self, question: "_Question", call: Callable[[], Answer]) -> Answer:
        attempts = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(ATTEMPTS) | tenacity.stop_after_delay(RETRY_SECONDS),
            wait=tenacity.wait_exponential(multiplier=self.retry_wait),
            retry=tenacity.retry_if_exception_type((errors.HubBusy, errors.DownloadInterrupted)),
            reraise=True,
        )
        answer: Answer = attempts(_translated, question, call)
        return answer

    def _copy_cached(self, repo: str, commit: str, name: str, folder: Path) -> bool:
        """Offline, huggingface_hub does not look into its own cache for a download into a folder."""
        cached = try_to_load_from_cache(repo, name, cache_dir=self._cache, revision=commit)
        if not isinstance(cached, str):
            return False
        question = _Question(self.address, repo, commit, name, folder)
        _translated(question, lambda: _copy_whole(Path(cached), folder / name))
        return True

    def _download(self, repo: str, commit: str, name: str, folder: Path, progress: Progress) -> None:
        self._api.hf_hub_download(repo, name, revision=commit, local_dir=folder, tqdm_class=bar_class(name, progress))
        # When the hub cannot be asked, the library settles for any file of that name. After a sound download this
        # asks its records only.
        record = self._api.hf_hub_download(repo, name, revision=commit, local_dir=folder, dry_run=True)
        if isinstance(record, str) or record.commit_hash != commit:
            raise errors.FileStale(folder / name, commit)


@dataclass(frozen=True, slots=True)
class _Question:
    """What was asked of the hub, for the text of an error."""

    endpoint: str
    repo: str
    revision: str
    file: str | None = None
    folder: Path | None = None

    def explain(self, error: Exception) -> errors.PullError:
        wrapped = isinstance(error, hub_errors.LocalEntryNotFoundError | hub_errors.RevisionResolutionError)
        match (error.__cause__ or error) if wrapped else error:
            case hub_errors.GatedRepoError():
                return errors.RepoGated(self.repo, self.endpoint)
            case hub_errors.RevisionNotFoundError():
                return errors.RevisionUnknown(self.repo, self.revision)
            case hub_errors.RemoteEntryNotFoundError():
                return errors.FileMissing(self.repo, self.file or "list of files", self.revision)
            case hub_errors.RepositoryNotFoundError():
                return errors.RepoUnknown(self.repo)
            case hub_errors.HfHubHTTPError() as refusal:
                return self._by_status(refusal.response.status_code)
            case hub_errors.OfflineModeIsEnabled():
                return errors.HubOffline(self.repo, self.file or f"revision {self.revision}")
            case hub_errors.HFValidationError():
                return errors.RepoNameInvalid(self.repo)
            case OSError() as refusal if refusal.errno in _DISK_ERRNOS and self.folder is not None:
                return errors.FolderUnusable(self.folder, refusal.strerror or "no reason given")
            case other if self.file is None or wrapped:
                return errors.HubUnreachable(self.endpoint, _reason(other))
            case other:
                return errors.DownloadInterrupted(self.file or "", _reason(other))

    def _by_status(self, status: int) -> errors.PullError:
        if status in (401, 403):
            return errors.TokenRefused(self.repo, status)
        if status == 404:
            return errors.RepoUnknown(self.repo)
        if status in (408, 429) or status >= 500:
            return errors.HubBusy(self.endpoint, status)
        return errors.HubUnreachable(self.endpoint, f"HTTP {status}")


def _translated(question: _Question, call: Callable[[], Answer]) -> Answer:
    try:
        return call()
    except _FOREIGN as error:
        raise question.explain(error) from error


def _reason(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__


def _copy_whole(source: Path, target: Path) -> None:
    """Copy so that the target is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.incomplete")
    shutil.copyfile(source, partial)
    partial.replace(target)
