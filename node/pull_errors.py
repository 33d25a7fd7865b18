"""Errors of fetching a model, apart from errors.py for length.

NodeError
└── PullError
    ├── RepoNameInvalid      not a name a hub can know
    ├── RepoUnknown          no such repository, or a private one that the token does not open
    ├── RepoGated            the repository wants its terms accepted first
    ├── RevisionUnknown      no such branch, tag or commit
    ├── TokenRefused         the hub does not accept the access token
    ├── HubOffline           HF_HUB_OFFLINE is set and the file is not on this machine
    ├── HubUnreachable       nobody answers, or something that is not a hub
    ├── HubBusy              the hub answers with an error of its own; tried again a few times
    ├── DownloadInterrupted  the transfer broke off; tried again a few times
    ├── FileStale            the folder holds the file of another commit and the hub cannot be asked
    ├── FolderUnusable       the file system refuses: full, read-only, no permission
    ├── FileMissing          the repository lacks a file that the blocks need
    ├── FileTooLarge         a file of settings larger than any honest one
    ├── NoSafetensors        weights in other formats only
    └── IndexRefused         the index of the weights cannot be used
"""

from collections.abc import Sequence
from pathlib import Path

from node.errors import NodeError


class PullError(NodeError):
    """A model, or the part of it that was asked for, could not be fetched."""


class RepoNameInvalid(PullError):
    """Not a name a hub can know."""

    def __init__(self, repo: str) -> None:
        super().__init__(f"{repo!r} cannot be a repository; write ORG/NAME as in its address on the hub")
        self.repo = repo


class RepoUnknown(PullError):
    """No such repository, or a private one that the token does not open."""

    def __init__(self, repo: str) -> None:
        super().__init__(f"the hub shows no repository {repo}; check the name, and set HF_TOKEN if it is private")
        self.repo = repo


class RepoGated(PullError):
    """The repository wants its terms accepted first."""

    def __init__(self, repo: str, endpoint: str) -> None:
        super().__init__(f"{repo} is gated; accept its terms at {endpoint}/{repo}, then set HF_TOKEN of that account")
        self.repo = repo
        self.endpoint = endpoint


class RevisionUnknown(PullError):
    """No such branch, tag or commit."""

    def __init__(self, repo: str, revision: str) -> None:
        super().__init__(f"{repo} has no revision {revision!r}; leave --revision out for its main branch")
        self.repo = repo
        self.revision = revision


class TokenRefused(PullError):
    """The hub does not accept the access token, or the token does not reach this repository."""

    def __init__(self, repo: str, status: int) -> None:
        super().__init__(f"the hub refuses access to {repo} (HTTP {status}); renew HF_TOKEN or widen its permissions")
        self.repo = repo
        self.status = status


class HubOffline(PullError):
    """HF_HUB_OFFLINE is set and what is needed is not on this machine."""

    def __init__(self, repo: str, wanted: str) -> None:
        super().__init__(f"HF_HUB_OFFLINE is set and {wanted} of {repo} is not here; unset it and pull once")
        self.repo = repo
        self.wanted = wanted


class HubUnreachable(PullError):
    """Nobody answers at the endpoint, or something that is not a hub."""

    def __init__(self, endpoint: str, reason: str) -> None:
        super().__init__(
            f"no model hub answers at {endpoint} ({reason}); check the network, HTTPS_PROXY and HF_ENDPOINT,"
            " or set HF_HUB_OFFLINE=1 to use what is already here"
        )
        self.endpoint = endpoint
        self.reason = reason


class HubBusy(PullError):
    """The hub answers with an error of its own."""

    def __init__(self, endpoint: str, status: int) -> None:
        super().__init__(f"{endpoint} answers HTTP {status}; wait a little and pull again: finished files are kept")
        self.endpoint = endpoint
        self.status = status


class DownloadInterrupted(PullError):
    """The transfer broke off and did not come back."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(f"the download of {file} broke off ({reason}); pull again: finished files are kept")
        self.file = file
        self.reason = reason


class FileStale(PullError):
    """The folder holds the file of another commit and the hub cannot be asked for the right one."""

    def __init__(self, path: Path, commit: str) -> None:
        super().__init__(f"{path} is not known to be of commit {commit}; pull into an empty folder")
        self.path = path
        self.commit = commit


class FolderUnusable(PullError):
    """The file system refuses: full, read-only, no permission."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"cannot write to {folder} ({reason}); choose another folder with --to, or set HF_HOME")
        self.folder = folder
        self.reason = reason


class FileMissing(PullError):
    """The repository lacks a file that the blocks need."""

    def __init__(self, repo: str, file: str, revision: str) -> None:
        super().__init__(f"{repo} has no {file} at {revision}; its upload is incomplete: try another revision")
        self.repo = repo
        self.file = file
        self.revision = revision


class FileTooLarge(PullError):
    """A file of settings larger than any honest one; nothing of it was fetched."""

    def __init__(self, file: str, size: int, limit: int) -> None:
        super().__init__(f"{file} has {size} bytes, past the limit of {limit}; do not use this repository")
        self.file = file
        self.size = size
        self.limit = limit


class NoSafetensors(PullError):
    """Weights in other formats only, which may run code when they are read."""

    def __init__(self, repo: str, others: Sequence[str]) -> None:
        seen = f" (it has {', '.join(others)})" if others else ""
        super().__init__(f"{repo} has no safetensors weights{seen}; choose a repository that has been converted")
        self.repo = repo
        self.others = tuple(others)


class IndexRefused(PullError):
    """The index of the weights cannot be used; no weight was fetched."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path.name}: {reason}; do not use this repository")
        self.path = path
        self.reason = reason
