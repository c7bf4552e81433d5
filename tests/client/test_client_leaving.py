"""Leaving the block of a streamed answer: what has come in already decides, without waiting, about the connection."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from triohttp import Client
from triohttp.testing import RawConnection, open_scripted


def always(answer: bytes) -> Callable[[RawConnection], Awaitable[None]]:
    """Return a script that answers every request in the same way."""

    async def script(connection: RawConnection) -> None:
        while True:
            await connection.read_request()
            await connection.send_all(answer)

    return script


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ("GET", b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"),
        ("GET", b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nsad\r\n2\r\n!!\r\n0\r\nx: y\r\n\r\n"),
    ],
)
async def test_an_answer_that_is_all_there_keeps_its_connection(method: str, answer: bytes) -> None:
    """Whoever looks at the head only, or at some of the content, pays no new connection when the rest has come in."""
    async with open_scripted(always(answer)) as server, Client(mounts={server.url: server}) as client:
        async with client.stream(method, server.url):
            pass
        async with client.stream(method, server.url) as response:
            await response.body.receive_some(1)
        async with client.stream(method, server.url) as response:
            await response.body.aclose()
            assert client.pool.statistics().idle == 1
        assert len(server.connections) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfoodHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfood\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    ],
)
async def test_any_other_answer_costs_its_connection(answer: bytes) -> None:
    """What is missing is not waited for, and what is wrong with the rest is nobody's error any more."""
    async with open_scripted(always(answer)) as server, Client(mounts={server.url: server}) as client:
        async with client.stream("GET", server.url) as response:
            assert response.status == 200
        assert client.pool.statistics().connections == 0
