"""A tunnel is a trio stream like any other, judged by trio's own checks."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from triohttp._values.limits import Limits
from triohttp._values.message import ConnectionInfo
from triohttp.lowlevel import Connection, Role, Tunnel
from triohttp.testing import memory_stream_pair


class YieldingTunnel(Tunnel):
    """Yields at every send, as the checks ask; a tunnel itself does so once a millisecond, which is cheaper."""

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await super().send_all(data)
        await trio.lowlevel.cancel_shielded_checkpoint()


Pair = tuple[Tunnel, Tunnel]


def tunnel_over(stream: trio.abc.Stream) -> Tunnel:
    return YieldingTunnel(Connection.over_stream(stream, Role.SERVER, Limits(), ConnectionInfo(1, None, None)), b"")


async def over_memory() -> Pair:
    near, far = memory_stream_pair(max_buffer_bytes=1000)
    return tunnel_over(near), tunnel_over(far)


async def over_sockets() -> Pair:
    near, far = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair())
    return tunnel_over(near), tunnel_over(far)


@pytest.mark.parametrize("make", [over_memory, over_sockets])
async def test_a_tunnel_keeps_the_promises_of_a_stream(make: Callable[[], Awaitable[Pair]]) -> None:
    """Conflicting use, closing, ending, odd arguments: all as ``trio.abc.HalfCloseableStream`` says."""
    await trio.testing.check_half_closeable_stream(make, None)
