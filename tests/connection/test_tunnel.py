"""A tunnel is a trio stream like any other, judged by trio's own checks."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from triohttp import ClientLimits, Headers, Limits
from triohttp.lowlevel import ClientExchange, Connection, ConnectionInfo, RequestHead, Role, Tunnel
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


async def test_a_connection_can_be_carried_over_a_tunnel() -> None:
    """HTTP inside of a tunnel, which is what a CONNECT is for: it is spoken, and closed without awaiting."""
    near, far = await over_sockets()
    inner = Connection.over_stream(near, Role.CLIENT, ClientLimits(), ConnectionInfo())
    exchange = ClientExchange(inner, ClientLimits())
    await exchange.request(RequestHead("GET", "/", Headers(), authority="a"))
    assert (await far.receive_some()).startswith(b"GET / HTTP/1.1\r\nHost: a\r\n")
    await far.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert (await exchange.receive_head()).status == 204
    inner.abort()
    assert await far.receive_some() == b""
    await far.aclose()
