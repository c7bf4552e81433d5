"""How a connection ends whose peer is still sending: the answer must not be lost to a reset."""

from __future__ import annotations

import math

import pytest
import trio
import trio.testing

from triohttp import App, Limits, Request, Response, Timeouts, open_server

MUCH = 1_000_000
TIMEOUTS = Timeouts(linger_seconds=math.inf)  # so that only the peer can end it


def make_app() -> App:
    app = App(limits={"max_body_bytes": None})

    @app.post("/")
    async def refuse(request: Request) -> Response:
        return Response.text("no", status=403)

    @app.post("/read")
    async def read(request: Request) -> Response:
        return Response.text(f"{len(await request.read())}")

    return app


async def test_a_peer_that_sends_on_can_still_read_the_answer() -> None:
    """Bytes past ``max_linger_bytes`` stay unread, without a reset; the connection ends as soon as the peer leaves."""
    async with open_server(make_app(), limits=Limits(max_linger_bytes=1000), timeouts=TIMEOUTS) as server:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MUCH + b"x" * 50_000)
            answer = b""
            async for data in stream:
                answer += data
            assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")
            for _ in range(3):  # a reset would make the second one fail at the latest
                await trio.testing.wait_all_tasks_blocked(0.01)
                await stream.send_all(b"x" * 1000)
            assert server.statistics().open_connections == 1
        while server.statistics().open_connections:
            await trio.testing.wait_all_tasks_blocked()


async def test_a_peer_that_stays_is_left_in_the_end() -> None:
    """A peer that neither reads nor leaves is closed after ``linger_seconds``."""
    limits, timeouts = Limits(max_linger_bytes=1000), Timeouts(linger_seconds=0.05)
    async with open_server(make_app(), limits=limits, timeouts=timeouts) as server:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % MUCH + b"x" * 50_000)
            while not server.statistics().connections or server.statistics().open_connections:
                await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /missing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"POST /read HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"GET /missing HTTP/1.0\r\n\r\n",
    ],
    ids=["no content", "content", "1.0"],
)
async def test_nobody_lingers_for_a_request_that_is_complete(request_bytes: bytes) -> None:
    """A peer that has sent all that it announced is not waited for: its connection closes with the answer."""
    async with open_server(make_app(), timeouts=TIMEOUTS) as server:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(request_bytes)
            answer = b""
            async for data in stream:
                answer += data
            assert b"Connection: close" in answer
            while server.statistics().open_connections:
                await trio.testing.wait_all_tasks_blocked()
