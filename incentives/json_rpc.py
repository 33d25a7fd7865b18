"""One JSON-RPC server over HTTP: one question, one answer or one of our errors. Nothing is repeated here."""

import itertools
import json
import threading
from collections.abc import Mapping
from typing import Any, Protocol

import requests
from urllib3.exceptions import HTTPError

from incentives.errors import ChainUnavailable, UnexpectedAnswer
from incentives.http_deadline import Deadline, timed_session
from incentives.rpc_errors import ErrorTable, shown_url, translate_rpc_error

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A range of full blocks' logs; what is longer is not read to its end."""
PART_BYTES = 256 * 1024


class Rpc(Protocol):
    """Whoever answers questions in JSON-RPC."""

    shown: str
    """The URL without its secrets."""

    def ask(self, method: str, params: list[Any]) -> Any:
        """The `result`. Raises: ChainUnavailable, Reverted, TransactionRefused, UnexpectedAnswer."""
        ...


class HttpRpc:
    """A server behind a URL. Threads may share it; each has its own connection.

    timeout_s: for a question and its whole answer.
    """

    def __init__(self, url: str, timeout_s: float, errors: ErrorTable) -> None:
        self.url, self.shown = url, shown_url(url)
        self._timeout_s, self._errors = timeout_s, errors
        self._numbers, self._threads = itertools.count(1), threading.local()

    def ask(self, method: str, params: list[Any]) -> Any:
        """The `result`. Raises: ChainUnavailable, Reverted, TransactionRefused, UnexpectedAnswer."""
        answer = self._read(method, self._post(method, params))
        if answer.get("error") is not None:
            raise translate_rpc_error(answer["error"], self._errors)
        return answer["result"]

    def _post(self, method: str, params: list[Any]) -> bytes:
        question = {"jsonrpc": "2.0", "id": next(self._numbers), "method": method, "params": params}
        body, headers = json.dumps(question, default=_jsonable), {"Content-Type": "application/json"}
        try:
            with (
                Deadline(self._timeout_s),
                self._session().post(
                    self.url, data=body, headers=headers, timeout=self._timeout_s, stream=True, allow_redirects=False
                ) as response,
            ):
                response.raise_for_status()
                if response.is_redirect:  # a question with a key in its URL goes nowhere else
                    raise UnexpectedAnswer(
                        self.shown, f"HTTP status {response.status_code} sends {method} to another URL"
                    )
                return self._content(method, response)
        except (OSError, HTTPError) as error:  # every error of requests is the first
            raise ChainUnavailable(self.shown, self._reason(error)) from error
        except ValueError as error:  # a URL that the libraries beneath requests cannot read
            raise ChainUnavailable(self.shown, type(error).__name__) from error

    def _content(self, method: str, response: requests.Response) -> bytes:
        content = bytearray()
        while part := response.raw.read1(PART_BYTES, decode_content=True):
            content += part
            if len(content) > MAX_ANSWER_BYTES:
                raise UnexpectedAnswer(self.shown, f"the answer to {method} is longer than {MAX_ANSWER_BYTES} bytes")
        return bytes(content)

    def _read(self, method: str, content: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UnexpectedAnswer(self.shown, f"{method} was not answered with JSON") from error
        if not isinstance(answer, dict) or not (answer.get("error") is not None or "result" in answer):
            raise UnexpectedAnswer(self.shown, f"{method} was not answered with JSON-RPC")
        return answer

    def _session(self) -> requests.Session:
        if not hasattr(self._threads, "session"):
            self._threads.session = timed_session()
        session: requests.Session = self._threads.session
        return session

    def _reason(self, error: Exception) -> str:
        if isinstance(error, (requests.Timeout, TimeoutError)):
            return f"no answer within {self._timeout_s:g} s"
        if isinstance(error, requests.HTTPError) and error.response is not None:
            return f"HTTP status {error.response.status_code}"
        return f"{type(error).__name__}"  # its text would show the whole URL, access key included


def _jsonable(value: object) -> object:
    """What libraries put among parameters: bytes, and mappings that are no dict."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
