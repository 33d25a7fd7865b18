"""A WebSocket client that does not follow the rules of the handshake."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp

from node.identity import client_ssl_context
from node.transport import Pipe
from node.wss_pipe import WebSocketPipe, WssSettings


@asynccontextmanager
async def connect(settings: WssSettings) -> AsyncIterator[Callable[[str], Awaitable[Pipe]]]:
    """Yield a function that upgrades a connection to an endpoint and then says nothing."""
    async with aiohttp.ClientSession() as session:

        async def make_pipe(endpoint: str) -> Pipe:
            socket = await session.ws_connect(endpoint, ssl=client_ssl_context(), compress=0)
            return WebSocketPipe(socket, settings, lambda: None)

        yield make_pipe
