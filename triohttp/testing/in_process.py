"""A server without a port: the real server and the real connection code, over streams in memory.

Rule 1: nothing is simulated but the network; parsing, limits, deadlines and disconnects are the product's own.
Rule 2: what the server logs as a fault of the program (an error with its traceback) is the test's failure, unless the
test says otherwise. Faults are told apart by the context that they are logged in, so that two servers do not mix.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TypeAlias

import trio

from triohttp import Client, ClientLimits, ClientTimeouts, Limits, Server, Timeouts, open_server
from triohttp.lowlevel import Exchange, Service

from .certificates import CertificateAuthority
from .raw import RawConnection
from .streams import BUFFER_BYTES, MemoryListener, MemoryStream
from .supervision import Supervisor, open_supervised

__all__ = ["InProcessServer", "Servable", "open_error_trap", "open_in_process", "shake_hands"]

Servable: TypeAlias = Service | Callable[[Exchange], Awaitable[None]]

HOST = "app.test"


class InProcessServer:
    """A server that is reached by ``connect``; an origin for ``Client(mounts={server.url: server})``."""

    def __init__(self, server: Server, listener: MemoryListener, tls: CertificateAuthority | None) -> None:
        self.server = server
        """The server itself: its state, its statistics and its shutdown."""
        self.tls = tls
        """The authority that signed the server's certificate; None means without TLS."""
        self.url = f"{'http' if tls is None else 'https'}://{HOST}"
        """The URL that it stands for."""
        self._listener = listener

    async def connect(self) -> MemoryStream:
        """Open a connection and return the client's end; with TLS, the client's handshake is still to come.

        Raises:
            ConnectionRefusedError: the server has stopped accepting.
        """
        return await self._listener.connect()

    async def open_raw(self) -> RawConnection:
        """Open a connection for bytes of one's own; with TLS, after its handshake."""
        stream = await self.connect()
        return RawConnection(stream if self.tls is None else await shake_hands(stream, HOST, self.tls))

    def client(
        self,
        *,
        headers: Mapping[str, str] | None = None,
        limits: ClientLimits | None = None,
        timeouts: ClientTimeouts | None = None,
    ) -> Client:
        """Return a client that reaches this server and nothing else; enter it to use it.

        Its URLs are relative to ``url``, it trusts the server's authority, and it refuses every other origin.
        """
        return Client(
            self.url,
            headers=headers,
            limits=ClientLimits() if limits is None else limits,
            timeouts=ClientTimeouts() if timeouts is None else timeouts,
            tls=None if self.tls is None else self.tls.client_context(),
            mounts={self.url: self},
            mounts_only=True,
        )


async def shake_hands(
    stream: trio.abc.Stream, host: str, authority: CertificateAuthority
) -> trio.SSLStream[trio.abc.Stream]:
    """Return a client's TLS over ``stream`` after the handshake; on any failure ``stream`` is closed."""
    secure = trio.SSLStream(stream, authority.client_context(), server_hostname=host, https_compatible=True)
    try:
        await secure.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secure


@asynccontextmanager
async def open_in_process(
    app: Servable,
    *,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    tls: CertificateAuthority | None = None,
    raise_handler_errors: bool = True,
    max_buffer_bytes: int = BUFFER_BYTES,
) -> AsyncIterator[InProcessServer]:
    """Serve ``app`` in memory while the block runs.

    Leaving the block normally drains the server, as leaving ``open_server`` does.

    Args:
        app: an app, or anything else that ``serve`` takes.
        limits: as for ``serve``.
        timeouts: as for ``serve``.
        tls: the authority that signs the server's certificate; None means without TLS.
        raise_handler_errors: end the block with whatever a handler raises and nobody catches; false leaves it at the
            500 that the client gets.
        max_buffer_bytes: what each direction of a connection holds before its sender waits.
    """
    listener = MemoryListener(max_buffer_bytes=max_buffer_bytes)
    context = None if tls is None else tls.server_context(HOST)
    async with (
        open_error_trap(raise_handler_errors),
        open_server(app, listeners=[listener], tls=context, limits=limits, timeouts=timeouts) as server,
    ):
        yield InProcessServer(server, listener, tls)


_supervisor: ContextVar[Supervisor | None] = ContextVar("triohttp.testing.supervisor", default=None)


@asynccontextmanager
async def open_error_trap(enabled: bool = True) -> AsyncIterator[None]:
    """End the block with the first error of a handler that a server started in the block meets, the error itself.

    ``open_in_process`` has one of its own; this is for servers on sockets.

    Args:
        enabled: false keeps the errors of servers started in the block away from any trap around it.
    """
    if not enabled:
        with _report_faults_to(None):
            yield
        return
    async with open_supervised() as supervisor:
        with _report_faults_to(supervisor):
            yield


@contextmanager
def _report_faults_to(supervisor: Supervisor | None) -> Iterator[None]:
    reporter = _Reporter(supervisor)
    logger = logging.getLogger("triohttp")
    logger.addHandler(reporter)
    token = _supervisor.set(supervisor)
    try:
        yield
    finally:
        logger.removeHandler(reporter)
        _supervisor.reset(token)


class _Reporter(logging.Handler):
    """Hands what is logged as a fault in a supervisor's context to that supervisor."""

    def __init__(self, supervisor: Supervisor | None) -> None:
        super().__init__(logging.ERROR)
        self._wanted = supervisor

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception) and self._wanted is not None and _supervisor.get() is self._wanted:
            self._wanted.fail(error)
