"""A server end that does what a script says: for testing clients against servers that nobody would write.

Rule 1: the script gets raw connections; nothing is answered, checked or closed in its name before it returns.
Rule 2: a client that leaves ends the script of its connection; any other failure of a script is the test's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from triohttp.errors import DisconnectedError

from .certificates import CertificateAuthority
from .raw import RawConnection
from .streams import BUFFER_BYTES, MemoryStream, memory_stream_pair
from .supervision import Supervisor, open_supervised

__all__ = ["ScriptedServer", "open_scripted"]

SCRIPTED_HOST = "scripted.test"


class ScriptedServer:
    """Where a script can be reached; an origin for ``Client(mounts={server.url: server})``."""

    def __init__(
        self,
        supervisor: Supervisor,
        script: Callable[[RawConnection], Awaitable[object]],
        tls: CertificateAuthority | None,
        max_buffer_bytes: int,
    ) -> None:
        self._supervisor = supervisor
        self._script = script
        self._tls = tls
        self._max_buffer_bytes = max_buffer_bytes
        self.url = f"{'http' if tls is None else 'https'}://{SCRIPTED_HOST}"
        """The URL that it stands for."""
        self.connections: list[RawConnection] = []
        """The server ends of all connections so far, in the order in which they were opened."""

    async def connect(self) -> MemoryStream:
        """Open a connection and return the client's end; with TLS, the client's handshake is still to come."""
        await trio.lowlevel.checkpoint()
        ours, theirs = memory_stream_pair(self._max_buffer_bytes)
        stream: trio.abc.Stream = theirs
        if self._tls is not None:
            context = self._tls.server_context(SCRIPTED_HOST)
            stream = trio.SSLStream(theirs, context, server_side=True, https_compatible=True)
        connection = RawConnection(stream)
        self.connections.append(connection)
        self._supervisor.start_soon(self._run, connection)
        return ours

    async def _run(self, connection: RawConnection) -> None:
        async with connection:
            try:
                await self._script(connection)
                await connection.aclose()
            except (trio.BrokenResourceError, DisconnectedError):
                pass  # the client has left


@asynccontextmanager
async def open_scripted(
    script: Callable[[RawConnection], Awaitable[object]],
    *,
    tls: CertificateAuthority | None = None,
    max_buffer_bytes: int = BUFFER_BYTES,
) -> AsyncIterator[ScriptedServer]:
    """Run ``script`` for each connection that is opened while the block runs; what it raises comes out of the block.

    Args:
        script: an async function; it gets a ``RawConnection``, which is closed when it returns.
        tls: the authority that signs the server's certificate; None means without TLS.
        max_buffer_bytes: what each direction of a connection holds before its sender waits.
    Cancellation: scripts that still run when the block ends are cancelled, and their connections reset.
    """
    async with open_supervised() as supervisor:
        yield ScriptedServer(supervisor, script, tls, max_buffer_bytes)
        supervisor.cancel()
