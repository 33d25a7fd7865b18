"""The embedded chain's HTTP server: 127.0.0.1 only, one thread for the EVM."""

import asyncio
import errno
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from aiohttp import web

from node.devchain.backend import EmbeddedChain
from node.devchain.constants import HOST, MAX_BODY_BYTES
from node.devchain.rpc import Rpc
from node.errors import PortInUse
from node.lifetime import stop_event

_LOCAL_HOST = re.compile(r"(?:127\.0\.0\.1|localhost)(?::[0-9]{1,5})?", re.IGNORECASE)
_LOCAL_ORIGIN = re.compile(r"https?://(?:127\.0\.0\.1|localhost)(?::[0-9]{1,5})?", re.IGNORECASE)
_TOO_LARGE = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"the body is larger than 4 MiB"}}'
EXIT_GRACE_S = 5.0


def application(rpc: Rpc, worker: ThreadPoolExecutor) -> web.Application:
    """POST / with a JSON-RPC body. Other sites' pages are refused: a browser would reach this port for them."""

    async def answer(request: web.Request) -> web.Response:
        if not _is_local(request):
            return web.Response(status=403, text="only for programs on this machine")
        body = await _body(request)
        if body is None:
            return web.Response(status=413, body=_TOO_LARGE, content_type="application/json")
        found = await asyncio.get_running_loop().run_in_executor(worker, rpc.handle, body)
        return web.Response(status=204) if found is None else web.Response(body=found, content_type="application/json")

    app = web.Application(client_max_size=0)  # 0: no limit of aiohttp's own, _body has ours
    app.router.add_post("/", answer)
    return app


def _is_local(request: web.Request) -> bool:
    """The Host header guards against DNS rebinding, the Origin header against forms and scripts of other sites."""
    origin = request.headers.get("Origin")
    return bool(_LOCAL_HOST.fullmatch(request.headers.get("Host", ""))) and (
        origin is None or bool(_LOCAL_ORIGIN.fullmatch(origin))
    )


async def _body(request: web.Request) -> bytes | None:
    if (request.content_length or 0) > MAX_BODY_BYTES:
        return None
    found = bytearray()
    async for chunk in request.content.iter_any():
        found += chunk
        if len(found) > MAX_BODY_BYTES:
            return None
    return bytes(found)


@asynccontextmanager
async def serving(port: int) -> AsyncIterator[str]:
    """Serves a fresh chain; yields its URL. Port 0 chooses one. PortInUse where somebody else listens."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="evm") as worker:
        rpc = await asyncio.get_running_loop().run_in_executor(worker, lambda: Rpc(EmbeddedChain()))
        runner = web.AppRunner(application(rpc, worker), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await _listen(runner, port)
            yield f"http://{HOST}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


async def _listen(runner: web.AppRunner, port: int) -> None:
    try:
        await web.TCPSite(runner, HOST, port).start()
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise PortInUse(HOST, port) from error
        raise


async def run(port: int, announce: Callable[[str], None], watch_stdin: bool) -> None:
    """Serves until SIGTERM or SIGINT, or until standard input ends where that is watched."""
    stop = stop_event(watch_stdin=watch_stdin, exit_grace_s=EXIT_GRACE_S)
    async with serving(port) as url:
        announce(url)
        await stop.wait()
