"""The transports keep the contract, over TLS and in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from node.handshake import HandshakeTerms
from node.identity import NodeIdentity
from node.memory import MAX_MESSAGE, MemoryNetwork, MemoryPipe, MemoryTransport
from node.transport import Pipe, Transport
from node.wss import WssSettings, WssTransport
from tests.node.hostile_contract import HostileContract
from tests.node.link import DEFAULTS, Link, Options
from tests.node.mallory import SIGNER
from tests.node.raw_wss import connect
from tests.node.transport_contract import TransportContract


def wss_settings(options: Options) -> WssSettings:
    return WssSettings(
        max_payload=options.max_payload, handshake_timeout=options.handshake_timeout,
        send_timeout=options.send_timeout, close_timeout=0.5, heartbeat=60.0,
    )  # fmt: skip


class TestWss(TransportContract, HostileContract):
    """WebSockets over TLS on loopback."""

    @asynccontextmanager
    async def opened(self, folder: Path, options: Options = DEFAULTS) -> AsyncIterator[Link]:
        """A node on a port of its own."""
        identity = NodeIdentity.load_or_create(folder)
        made: list[Transport] = []

        def make(options: Options, identity: NodeIdentity | None = None) -> Transport:
            made.append(WssTransport(SIGNER, options.domain, identity, wss_settings(options)))
            return made[-1]

        async with (
            connect(wss_settings(DEFAULTS)) as make_pipe,
            Link(make(options, identity), identity.peer, make, make_pipe) as link,
        ):
            yield link
            for transport in made:
                await transport.close()


class TestMemory(TransportContract, HostileContract):
    """Queues in this process."""

    @asynccontextmanager
    async def opened(self, folder: Path, options: Options = DEFAULTS) -> AsyncIterator[Link]:
        """A node on a network of its own."""
        network, peer = MemoryNetwork(), bytes([3]) * 32

        def make(options: Options) -> Transport:
            terms = HandshakeTerms(options.domain, options.max_payload, options.handshake_timeout)
            return MemoryTransport(network, SIGNER, terms, peer, options.send_timeout)

        async def make_pipe(endpoint: str) -> Pipe:
            pipe = MemoryPipe(MAX_MESSAGE)
            network.listeners[endpoint].connect(pipe)
            return pipe

        async with Link(make(options), peer, make, make_pipe) as link:
            yield link
