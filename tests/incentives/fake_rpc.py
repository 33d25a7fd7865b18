"""A JSON-RPC server that answers what a test tells it to, for chains that are down, broken or hostile."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[str, list[Any]], Any]
"""From method and parameters to the `result`; raise RpcRefusal or HttpReply for anything else."""


class RpcRefusal(Exception):
    """Answer with this JSON-RPC error object."""

    def __init__(self, error: object) -> None:
        self.error = error


class HttpReply(Exception):
    """Answer with these bytes and this status, after a pause; with a drip, byte by byte and as long a pause before each."""

    def __init__(self, body: bytes, status: int = 200, pause_s: float = 0.0, drip_s: float = 0.0) -> None:
        self.body, self.status, self.pause_s, self.drip_s = body, status, pause_s, drip_s


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """Serve on loopback and give the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = _reply(answer, request)
            try:
                self.send_response(reply.status)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                size = 1 if reply.drip_s else len(reply.body) or 1
                for first in range(0, len(reply.body), size):
                    time.sleep(reply.drip_s)
                    self.wfile.write(reply.body[first : first + size])
            except OSError:
                self.close_connection = True  # the client has given up, as some tests want

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _reply(answer: Answer, request: dict[str, Any]) -> HttpReply:
    head = {"jsonrpc": "2.0", "id": request["id"]}
    try:
        return HttpReply(json.dumps({**head, "result": answer(request["method"], request["params"])}).encode())
    except RpcRefusal as refusal:
        return HttpReply(json.dumps({**head, "error": refusal.error}).encode())
    except HttpReply as reply:
        time.sleep(reply.pause_s)
        return reply


def chain_answers(**methods: Any) -> Answer:
    """An answer for every named method, and chain id 31337; a callable is called with the parameters."""

    def answer(method: str, params: list[Any]) -> Any:
        result = {"eth_chainId": "0x7a69", **methods}[method]
        return result(*params) if callable(result) else result

    return answer


def refusing(error: object) -> Any:
    """An answer that is always the same error object."""

    def refuse(*_: object) -> None:
        raise RpcRefusal(error)

    return refuse


def replying(body: bytes, status: int = 200, pause_s: float = 0.0, drip_s: float = 0.0) -> Any:
    """An answer that is not JSON-RPC."""

    def reply(*_: object) -> None:
        raise HttpReply(body, status, pause_s, drip_s)

    return reply
