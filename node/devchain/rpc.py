"""JSON-RPC 2.0 over the embedded chain: bytes in, bytes out, never an exception. Runs in the chain's own thread."""

import inspect
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from node.devchain.backend import EmbeddedChain
from node.devchain.constants import MAX_BATCH
from node.devchain.errors import InvalidParams, InvalidRequest, MethodNotFound, ParseError, RpcError
from node.devchain.methods import Methods

_log = logging.getLogger(__name__)


class Rpc:
    """The method table, and the framing around it."""

    def __init__(self, chain: EmbeddedChain) -> None:
        self._methods = Methods(chain).table()

    def handle(self, body: bytes) -> bytes | None:
        """The answer to one request or batch; None where every request was a notification."""
        try:
            request = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return _encode(_failure(None, ParseError("Parse error: the body is not JSON")))
        answer = self._batch(request) if isinstance(request, list) else self._one(request)
        return None if answer is None else _encode(answer)

    def _batch(self, requests: list[Any]) -> Any:
        if not requests:
            return _failure(None, InvalidRequest("an empty batch"))
        if len(requests) > MAX_BATCH:
            return _failure(None, InvalidRequest(f"a batch of {len(requests)} is past the limit of {MAX_BATCH}"))
        answers = [answer for answer in map(self._one, requests) if answer is not None]
        return answers or None

    def _one(self, request: Any) -> dict[str, Any] | None:
        try:
            _check_request(request)
        except InvalidRequest as error:
            return _failure(request.get("id") if isinstance(request, dict) else None, error)
        answer = self._answer(request)
        return answer if "id" in request else None  # without an id it is a notification: done, and not answered

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        identity = request.get("id")
        try:
            return {"jsonrpc": "2.0", "id": identity, "result": self._call(request)}
        except RpcError as error:
            return _failure(identity, error)
        except Exception as error:
            _log.exception("a request to the embedded chain failed inside")
            return _failure(identity, RpcError(f"internal error: {type(error).__name__}"))

    def _call(self, request: dict[str, Any]) -> Any:
        method = self._methods.get(request["method"])
        if method is None:
            raise MethodNotFound(request["method"])
        given = request.get("params")
        given = [] if given is None else given
        if not isinstance(given, list):
            raise InvalidParams("expected params as an array")
        _check_count(method, given)
        return method(*given)


def _check_request(request: Any) -> None:
    if not isinstance(request, dict) or request.get("jsonrpc") != "2.0" or not isinstance(request.get("method"), str):
        raise InvalidRequest('Invalid request: expected {"jsonrpc": "2.0", "id", "method", "params"}')
    if not isinstance(request.get("id"), str | int | float | None):
        raise InvalidRequest("Invalid request: id must be a string, a number or null")


def _check_count(method: Callable[..., Any], given: list[Any]) -> None:
    try:
        inspect.signature(method).bind(*given)
    except TypeError as error:
        raise InvalidParams(f"{error}, got {len(given)} parameters") from error


def _failure(identity: Any, error: RpcError) -> dict[str, Any]:
    usable = identity if isinstance(identity, str | int | float | None) else None
    return {"jsonrpc": "2.0", "id": usable, "error": error.as_object()}


def _encode(answer: Any) -> bytes:
    return msgspec.json.encode(answer)
