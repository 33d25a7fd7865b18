"""A model hub on loopback that speaks as much of the real one's HTTP as huggingface_hub needs, and fails on demand.

Files are answered with a redirect to another host name (`localhost` instead of `127.0.0.1`), as the real one does for
weights, so that what must not cross to that host can be seen.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

Fault = int | Literal["cut", "short", "garbage"]
"""An HTTP status; the connection cut in mid-body; a body shorter than announced before; an answer that is not JSON."""


@dataclass
class FakeRepo:
    """Commits of one repository, each a set of files, and the names that point at them."""

    commits: dict[str, dict[str, bytes]]
    refs: dict[str, str]
    gated: bool = False
    unlisted: set[str] = field(default_factory=set)  # listed by the hub, but not there
    sizes: dict[str, int] = field(default_factory=dict)  # what the list says instead of the truth

    def commit(self, revision: str) -> str | None:
        return self.refs.get(revision, revision if revision in self.commits else None)


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    path: str
    range: str | None
    token: str | None


class FakeHub:
    """The state of the server: what it has, what it was asked, what goes wrong next."""

    def __init__(self) -> None:
        self.repos: dict[str, FakeRepo] = {}
        self.seen: list[Seen] = []
        self.faults: dict[tuple[str, str], list[Fault]] = {}
        self.token: str | None = None  # when set, what every question to the hub must carry
        self.sha: str | None = None  # when set, the commit it claims for anything
        self.port = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def fail(self, method: str, name: str, *faults: Fault) -> None:
        """Make the next requests for paths that end in `name` fail, one fault each."""
        self.faults[(method, name)] = list(faults)

    def next_fault(self, method: str, path: str) -> Fault | None:
        for (of, name), faults in self.faults.items():
            if of == method and path.endswith(name) and faults:
                return faults.pop(0)
        return None

    def fetched(self) -> list[str]:
        """The names of the files whose bytes were asked for, in order, without repeats."""
        names = [seen.path.rpartition("/")[2] for seen in self.seen if seen.path.startswith("/cdn/")]
        return list(dict.fromkeys(names))

    def asked(self, name: str) -> int:
        """How many requests of any kind there were for a file of this name."""
        return sum(seen.path.endswith("/" + name) for seen in self.seen)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        token = self.headers.get("authorization")
        self.hub.seen.append(Seen(self.command, path, self.headers.get("range"), token))
        fault = self.hub.next_fault(self.command, path)
        if isinstance(fault, int):
            self._refuse(fault, "")
        elif path.startswith("/cdn/"):
            self._send_file(path, fault)
        elif self.hub.token is not None and token != f"Bearer {self.hub.token}":
            self._refuse(401, "")
        elif path.startswith("/api/models/"):
            self._send_list(path.removeprefix("/api/models/"), fault)
        else:
            self._redirect(path)

    def _send_list(self, path: str, fault: Fault | None) -> None:
        repo, _, revision = path.partition("/revision/")
        if repo not in self.hub.repos:
            return self._refuse(404, "RepoNotFound")
        held = self.hub.repos[repo]
        commit = held.commit(revision or "main")
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        files = held.commits[commit]
        siblings = [
            {"rfilename": name, "size": held.sizes.get(name, len(files.get(name, b"")))}
            for name in sorted({*files, *held.unlisted})
        ]
        body = json.dumps({"id": repo, "sha": self.hub.sha or commit, "siblings": siblings}).encode()
        return self._send(200, b"<html>" if fault == "garbage" else body, {"Content-Type": "application/json"})

    def _redirect(self, path: str) -> None:
        match = re.fullmatch(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)", path)
        if match is None or match["repo"] not in self.hub.repos:
            return self._refuse(404, "RepoNotFound")
        held = self.hub.repos[match["repo"]]
        commit = held.commit(match["revision"])
        if held.gated:
            return self._refuse(403, "GatedRepo")
        if commit is None:
            return self._refuse(404, "RevisionNotFound")
        if match["name"] not in held.commits[commit]:
            return self._refuse(404, "EntryNotFound", {"X-Repo-Commit": commit})
        content = held.commits[commit][match["name"]]
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        away = f"http://localhost:{self.hub.port}/cdn/{match['repo']}/{commit}/{match['name']}"
        linked = {"X-Linked-Size": str(len(content)), "X-Linked-Etag": etag, "ETag": etag}
        return self._send(302, b"", {"Location": away, "X-Repo-Commit": commit} | linked)

    def _send_file(self, path: str, fault: Fault | None) -> None:
        _, _, organisation, name, commit, file = path.split("/", 5)
        content = self.hub.repos[f"{organisation}/{name}"].commits[commit][file]
        start = int((self.headers.get("range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        body = content[start:]
        if fault == "short":
            return self._send(200, body[:-1], {})
        headers = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if start else {}
        return self._send(206 if start else 200, body, headers, cut=fault == "cut")

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(status, b"", ({"X-Error-Code": code} if code else {}) | (headers or {}))

    def _send(self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if cut else body)


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """A hub that answers until the block ends."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
