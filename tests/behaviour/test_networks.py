"""Every network carries the same conversation, and the client and raw bytes see the same answer."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import Headers
from triohttp.errors import TrioHTTPError
from triohttp.lowlevel import Exchange, ResponseHead
from triohttp.testing import Cut, FaultyOrigin

if TYPE_CHECKING:
    from conftest import Network

MEMORY = ["memory", "tls-memory"]


async def echo(exchange: Exchange) -> None:
    """Answer with what was asked: method, target and content."""
    content = bytearray()
    while data := await exchange.content.receive_some():
        content += data
    head = f"{exchange.head.method} {exchange.head.target} ".encode()
    await exchange.respond(ResponseHead(200, Headers({"Content-Type": "text/plain"})), head + content)


async def test_the_same_answer_everywhere(network: Network) -> None:
    """A client's request and the same request in bytes get one and the same answer."""
    await network.serve(echo)
    client = await network.client()
    response = await client.post("/a?b=1", content=b"some content")
    assert (response.status, response.content) == (200, b"POST /a?b=1 some content")
    raw = await network.open_raw()
    await raw.send_all(b"POST /a?b=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\nsome content")
    answer = await raw.read_response()
    assert (answer.status, answer.content) == (200, response.content)
    assert network.server.statistics().connections == 2


async def test_connections_are_used_again(network: Network) -> None:
    """Requests one after the other travel over one connection."""
    await network.serve(echo)
    client = await network.client()
    for _ in range(3):
        assert (await client.get("/")).status == 200
    assert network.server.statistics().connections == 1


async def test_a_handlers_mistake_is_the_tests(network: Network) -> None:
    """With raise_handler_errors off, a mistake is the 500 that the peer sees; the default is tried elsewhere."""

    async def broken(exchange: Exchange) -> None:
        raise KeyError("mine")

    await network.serve(broken, raise_handler_errors=False)
    client = await network.client()
    assert (await client.get("/")).status == 500


async def test_faults_work_on_every_network(network: Network) -> None:
    """A connection that is cut after ten bytes of its answer is an error, and the next one is sound."""
    await network.serve(echo)
    origin = FaultyOrigin(network.site, receiving=[Cut(10)], connections=1)
    client = await network.client(through=origin)
    with pytest.raises(TrioHTTPError):
        await client.post("/", content=b"x")
    assert (await client.post("/", content=b"x")).status == 200
    assert len(origin.streams) == 2


@pytest.mark.parametrize("network", MEMORY, indirect=True)
async def test_memory_needs_no_sockets_and_no_time(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory no socket is made, and an hour passes at once."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket.socket, "__init__", refuse)

    async def slow(exchange: Exchange) -> None:
        await trio.sleep(3600)
        await echo(exchange)

    await network.serve(slow)
    raw = await network.open_raw()
    start = trio.current_time()
    await raw.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await raw.read_response()).status == 200
    assert trio.current_time() - start == pytest.approx(3600)
