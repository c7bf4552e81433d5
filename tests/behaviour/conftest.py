"""The networks that a behaviour is proved on: memory and TCP, each plain and under TLS, with one face for all.

    async def test_something(network: Network) -> None:
        await network.serve(app)
        client = await network.client()
        raw = await network.open_raw()

Rule 1: in memory, time is virtual and jumps; on sockets it is real, so a test that waits for seconds asks for memory:
``@pytest.mark.parametrize("network", MEMORY, indirect=True)`` with ``MEMORY = ["memory", "tls-memory"]``.
Rule 2: what was opened through a network is closed with it: clients first, then raw connections, then servers.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import trio

from triohttp import Client, ClientLimits, ClientTimeouts, Limits, Origin, Server, Timeouts, open_server
from triohttp.testing import (
    CertificateAuthority,
    RawConnection,
    SweepReport,
    SweepRun,
    cancel_sweep,
    open_error_trap,
    open_in_process,
    open_scripted,
)
from triohttp.testing.in_process import Servable, shake_hands
from triohttp.testing.supervision import Supervisor, open_supervised

LOOPBACK = "127.0.0.1"
CORPORA = Path(__file__).parents[1] / "spec"


class Site(Protocol):
    """A server that is being served, whatever carries its connections."""

    server: Server
    url: str
    tls: CertificateAuthority | None

    async def connect(self) -> trio.abc.Stream: ...
    async def open_raw(self) -> RawConnection: ...


class SocketSite:
    """A server on a TCP port, with the face of an ``InProcessServer``."""

    def __init__(self, server: Server, tls: CertificateAuthority | None) -> None:
        self.server = server
        self.tls = tls
        [self.url] = server.urls

    async def connect(self) -> trio.SocketStream:
        return await trio.open_tcp_stream(LOOPBACK, self.server.port)

    async def open_raw(self) -> RawConnection:
        stream = await self.connect()
        return RawConnection(stream if self.tls is None else await shake_hands(stream, LOOPBACK, self.tls))


class Network:
    """One way for bytes to travel, for one test."""

    def __init__(self, kind: str, authority: CertificateAuthority, servers: Supervisor, clients: Supervisor) -> None:
        self.kind = kind
        self.in_memory = kind.endswith("memory")
        self.tls = authority if kind.startswith("tls") else None
        self._servers = servers
        self._clients = clients
        self._site: Site | None = None

    @property
    def site(self) -> Site:
        """What was served last."""
        assert self._site is not None, "nothing is served yet"
        return self._site

    @property
    def url(self) -> str:
        """The URL of what was served last, without a slash at its end."""
        return self.site.url

    @property
    def server(self) -> Server:
        """The server of what was served last."""
        return self.site.server

    async def serve(
        self,
        app: Servable,
        *,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        raise_handler_errors: bool = True,
    ) -> Site:
        """Serve an app until the test ends."""
        site = self.new_site(app, limits=limits, timeouts=timeouts, raise_handler_errors=raise_handler_errors)
        self._site = await self._servers.hold(site)
        return self._site

    def new_site(
        self,
        app: Servable,
        *,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        raise_handler_errors: bool = True,
    ) -> AbstractAsyncContextManager[Site]:
        """Serve an app for a block of the test's own; the end of the block waits for nobody."""
        opener = self._open_in_memory if self.in_memory else self._open_on_socket
        return opener(app, limits, timeouts, raise_handler_errors)

    def new_client(
        self,
        *,
        through: Origin | None = None,
        headers: Mapping[str, str] | None = None,
        limits: ClientLimits | None = None,
        timeouts: ClientTimeouts | None = None,
    ) -> Client:
        """Make a client of what was served last, for a block of the test's own."""
        site = self.site
        origin = through if through is not None else site
        return Client(
            site.url,
            headers=headers,
            limits=ClientLimits() if limits is None else limits,
            timeouts=ClientTimeouts() if timeouts is None else timeouts,
            tls=None if self.tls is None else self.tls.client_context(),
            mounts={site.url: origin} if self.in_memory or through is not None else None,
            mounts_only=self.in_memory,
        )

    async def client(
        self,
        *,
        through: Origin | None = None,
        headers: Mapping[str, str] | None = None,
        limits: ClientLimits | None = None,
        timeouts: ClientTimeouts | None = None,
    ) -> Client:
        """Open a client of what was served last; ``through`` is an origin in its place, such as a faulty one."""
        return await self._clients.hold(
            self.new_client(through=through, headers=headers, limits=limits, timeouts=timeouts)
        )

    async def open_raw(self) -> RawConnection:
        """Open a connection for bytes of one's own; it is closed with the test."""
        return await self._clients.hold(await self.site.open_raw())

    @asynccontextmanager
    async def open_script(
        self, script: Callable[[RawConnection], Awaitable[object]]
    ) -> AsyncIterator[Callable[[], Client]]:
        """Run a script in the place of a server; the value makes clients of it."""
        tls = None if self.tls is None else self.tls.client_context()
        if self.in_memory:
            async with open_scripted(script, tls=self.tls) as server:
                yield partial(Client, server.url, tls=tls, mounts={server.url: server}, mounts_only=True)
            return
        context = None if self.tls is None else self.tls.server_context(LOOPBACK)

        async def accept(stream: trio.abc.Stream) -> None:
            if context is not None:
                stream = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
            async with RawConnection(stream) as raw:
                await script(raw)

        listeners = await trio.open_tcp_listeners(0, host=LOOPBACK)
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, accept, listeners)
            port = listeners[0].socket.getsockname()[1]
            yield partial(Client, f"{'http' if tls is None else 'https'}://{LOOPBACK}:{port}", tls=tls)
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def _open_in_memory(
        self, app: Servable, limits: Limits | None, timeouts: Timeouts | None, raise_handler_errors: bool
    ) -> AsyncIterator[Site]:
        async with open_in_process(
            app, limits=limits, timeouts=timeouts, tls=self.tls, raise_handler_errors=raise_handler_errors
        ) as site:
            yield site
            await site.server.shutdown(grace=0)

    @asynccontextmanager
    async def _open_on_socket(
        self, app: Servable, limits: Limits | None, timeouts: Timeouts | None, raise_handler_errors: bool
    ) -> AsyncIterator[Site]:
        context = None if self.tls is None else self.tls.server_context(LOOPBACK)
        async with (
            open_error_trap(raise_handler_errors),
            open_server(app, LOOPBACK, 0, tls=context, limits=limits, timeouts=timeouts) as server,
        ):
            yield SocketSite(server, self.tls)
            await server.shutdown(grace=0)


KINDS = ["memory", "tcp", "tls-memory", "tls-tcp"]


@asynccontextmanager
async def open_network(kind: str, authority: CertificateAuthority) -> AsyncIterator[Network]:
    """One network for one block."""
    async with open_supervised() as servers:
        async with open_supervised() as clients:
            yield Network(kind, authority, servers, clients)
            clients.release()
        servers.release()


@pytest.fixture(params=KINDS)
async def network(request: pytest.FixtureRequest, authority: CertificateAuthority) -> AsyncIterator[Network]:
    """Each kind of network in turn."""
    async with open_network(request.param, authority) as network:
        yield network


@pytest.fixture(params=KINDS)
def sweep(request: pytest.FixtureRequest, authority: CertificateAuthority) -> Sweep:
    """Each kind of network in turn, for tests that cancel a scenario at every point."""
    return Sweep(request.param, authority)


class Sweep:
    """Runs scenarios on one kind of network."""

    def __init__(self, kind: str, authority: CertificateAuthority) -> None:
        self.kind = kind
        self._authority = authority

    def __call__(self, scenario: Callable[[SweepRun, Network], Awaitable[object]]) -> SweepReport:
        """Run a scenario once for every point of its block, each time with a new network."""

        async def run(sweep: SweepRun) -> None:
            async with open_network(self.kind, self._authority) as network:
                await scenario(sweep, network)

        virtual = self.kind.endswith("memory")
        return cancel_sweep(run, virtual_time=virtual, seconds=300 if virtual else 20)


def expand(parts: Any) -> bytes:
    """Return the bytes of a text of a corpus, which may be a list of texts and of repeated ones."""
    if isinstance(parts, (str, dict)):
        parts = [parts]
    return b"".join(
        (part if isinstance(part, str) else part["repeat"] * part["times"]).encode("latin-1") for part in parts
    )


def load(path: Path) -> list[dict[str, Any]]:
    """Return the cases of a corpus; what they mean is in its README, their ``input`` and bodies are bytes here."""
    cases: list[dict[str, Any]] = json.loads(path.read_text("ascii"))
    for case in cases:
        case["input"] = expand(case["input"])
        for message in case.get("messages", [case]):
            message["body"] = expand(message["body"])
            if "target" in message:
                message["target"] = expand(message["target"]).decode("ascii")
    return cases


@pytest.fixture(params=sorted((CORPORA / "requests").glob("*.json")), ids=lambda path: path.stem)
def request_corpus(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Each file of requests in turn."""
    return load(request.param)


@pytest.fixture(params=sorted((CORPORA / "responses").glob("*.json")), ids=lambda path: path.stem)
def response_corpus(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Each file of responses in turn."""
    return load(request.param)
