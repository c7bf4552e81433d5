"""What the pytest fixtures give: servers and clients as many as a test wants, ended with it.

Rule 1: a factory is an async context manager first; the fixtures only enter it.
Rule 2: the end of a test waits for nobody: servers drain with no grace.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from triohttp import Client, ClientLimits, ClientTimeouts, Limits, Timeouts

from .certificates import CertificateAuthority
from .in_process import InProcessServer, Servable, open_in_process
from .supervision import Supervisor, open_supervised

__all__ = ["ClientFactory", "ServerFactory", "open_client_factory", "open_server_factory"]


class ServerFactory:
    """Opens in-process servers; ``server = await triohttp_server(app)``."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def __call__(
        self,
        app: Servable,
        *,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        tls: CertificateAuthority | None = None,
        raise_handler_errors: bool = True,
    ) -> InProcessServer:
        """Serve ``app`` in memory until the test ends; the arguments are those of ``open_in_process``.

        Raises:
            Exception: what the app's lifespan raised at its start.
        """
        return await self._supervisor.hold(
            _open_server(app, limits=limits, timeouts=timeouts, tls=tls, raise_handler_errors=raise_handler_errors)
        )


class ClientFactory:
    """Opens clients of in-process servers; ``client = await triohttp_client(app)``."""

    def __init__(self, supervisor: Supervisor, servers: ServerFactory) -> None:
        self._supervisor = supervisor
        self._servers = servers

    async def __call__(
        self,
        app: Servable | InProcessServer,
        *,
        headers: Mapping[str, str] | None = None,
        limits: ClientLimits | None = None,
        timeouts: ClientTimeouts | None = None,
        raise_handler_errors: bool = True,
    ) -> Client:
        """Open a client that reaches ``app``, and nothing else, until the test ends.

        Args:
            app: an app, which is served in memory for this client, or a server that is there already.
            headers: header fields of every request.
            limits: as for ``Client``.
            timeouts: as for ``Client``.
            raise_handler_errors: as for ``open_in_process``; it means nothing for a server that is there already.
        """
        if isinstance(app, InProcessServer):
            server = app
        else:
            server = await self._servers(app, raise_handler_errors=raise_handler_errors)
        return await self._supervisor.hold(
            server.client(headers=headers, limits=limits, timeouts=timeouts)
        )


@asynccontextmanager
async def _open_server(
    app: Servable,
    *,
    limits: Limits | None,
    timeouts: Timeouts | None,
    tls: CertificateAuthority | None,
    raise_handler_errors: bool,
) -> AsyncIterator[InProcessServer]:
    async with open_in_process(
        app, limits=limits, timeouts=timeouts, tls=tls, raise_handler_errors=raise_handler_errors
    ) as server:
        yield server
        await server.server.shutdown(grace=0)


@asynccontextmanager
async def open_server_factory() -> AsyncIterator[ServerFactory]:
    """Give a factory of servers, all of which end with the block."""
    async with open_supervised() as supervisor:
        yield ServerFactory(supervisor)
        supervisor.release()


@asynccontextmanager
async def open_client_factory() -> AsyncIterator[ClientFactory]:
    """Give a factory of clients, all of which end with the block, and their servers after them."""
    async with open_server_factory() as servers, open_supervised() as supervisor:
        yield ClientFactory(supervisor, servers)
        supervisor.release()
