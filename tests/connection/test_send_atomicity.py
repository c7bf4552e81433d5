"""A send that has sent everything is no cancelled send, whenever the cancellation comes."""

from __future__ import annotations

import socket

import trio

from triohttp import Headers, open_server
from triohttp._connection.transport import transport_for
from triohttp.lowlevel import AnswerState, Exchange, ResponseHead
from triohttp.testing import RawConnection


async def test_a_send_that_need_not_wait_is_never_cancelled() -> None:
    """It either leaves to be cancelled what has not begun, or has sent everything."""
    near, far = socket.socketpair()
    with far:
        transport = transport_for(trio.SocketStream(trio.socket.from_stdlib_socket(near)))
        with trio.CancelScope() as scope:
            scope.cancel()
            for _ in range(3):
                await transport.send_all(b"abc", None)
        assert not scope.cancelled_caught
        assert far.recv(100) == b"abc" * 3
        transport.close()


async def test_an_answer_that_is_out_is_complete() -> None:
    """A scope of the service's own that ends in the same moment does not turn a whole answer into a cut one."""
    states: list[AnswerState] = []

    async def service(exchange: Exchange) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await exchange.respond(ResponseHead(200, Headers()), b"whole")
        states.append(exchange.state)

    async with open_server(service) as server:
        async with RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) as raw:
            for _ in range(2):
                await raw.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                assert (await raw.read_response()).content == b"whole"
    assert states == [AnswerState.COMPLETE] * 2
