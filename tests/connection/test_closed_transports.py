"""What a transport says once this end has closed it."""

from __future__ import annotations

import socket

import pytest
import trio

from triohttp._connection.transport import Transport, transport_for
from triohttp.testing import memory_stream_pair


@pytest.mark.parametrize("kind", ["socket", "memory"])
async def test_a_closed_transport_says_so_every_time(kind: str) -> None:
    """Receiving and sending raise ClosedResourceError, however often, and leave nothing behind in the run."""
    if kind == "socket":
        near, far = socket.socketpair()
        transport: Transport = transport_for(trio.SocketStream(trio.socket.from_stdlib_socket(near)))
        far.close()
    else:
        transport = transport_for(memory_stream_pair()[0])
    transport.close()
    for _ in range(2):
        with pytest.raises(trio.ClosedResourceError):
            await transport.receive(1)
        with pytest.raises(trio.ClosedResourceError):
            await transport.send_all(b"x", None)
