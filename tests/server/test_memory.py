"""What a server keeps of what is over: nothing, whatever passed through it, and without the collector's help."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from triohttp import App, Client, Headers, Request, Response, Server, open_server
from triohttp.lowlevel import Exchange, ResponseHead
from triohttp.testing import RawConnection

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

Service = Callable[[Exchange], Awaitable[None]]


async def plain(exchange: Exchange) -> None:
    await exchange.respond(ResponseHead(200, Headers()), b"hello")


async def echo(exchange: Exchange) -> None:
    content = bytearray()
    while data := await exchange.content.receive_some():
        content += data
    exchange.begin(ResponseHead(200, Headers()))
    await exchange.send(bytes(content) or b"nothing")
    await exchange.finish()


def make_app() -> App:
    app = App()

    @app.get("/")
    async def index(request: Request) -> Response:
        return Response.text("hello")

    @app.post("/")
    async def upload(request: Request) -> Response:
        return Response(await request.read())

    return app


async def left_in_cycles(ask: Callable[[], Awaitable[object]], times: int) -> Counter[str]:
    """Ask some more, and return the classes of what only the collector could free afterwards."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(times):
            await ask()
        gc.collect()
        return Counter(
            type(thing).__qualname__ for thing in gc.garbage if type(thing).__module__.startswith("triohttp")
        )
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("request_bytes", [GET, POST, CHUNKED], ids=["no content", "counted", "chunked"])
@pytest.mark.parametrize("service", [plain, echo, make_app()], ids=["plain", "echo", "app"])
async def test_a_request_leaves_no_reference_cycle(service: Service, request_bytes: bytes) -> None:
    """Everything of a request is freed as soon as its answer is out."""
    async with open_server(service) as server:
        async with RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) as raw:
            await raw.send_all(request_bytes)
            await raw.read_response("POST")

            async def ask() -> None:
                await raw.send_all(request_bytes)
                await raw.read_until(b"\r\n\r\n")
                await raw.receive_some()

            assert await left_in_cycles(ask, 50) == {}


async def test_a_websocket_leaves_no_reference_cycle() -> None:
    """At either end everything of it is freed with its connection."""
    app = App()

    @app.get("/")
    async def handler(request: Request) -> None:
        async with request.websocket() as ws:
            await ws.send(await ws.receive())

    async with open_server(app) as server, Client(server.urls[0]) as client:

        async def ask() -> None:
            async with client.websocket("/") as ws:
                await ws.send("hello")
                assert await ws.receive() == "hello"
            while server.statistics().open_connections:
                await trio.testing.wait_all_tasks_blocked(0.001)

        await ask()
        assert await left_in_cycles(ask, 20) == {}


async def test_connections_leave_nothing_in_the_server() -> None:
    """However they end, a hundred connections later the server's tables are as empty as before."""
    async with open_server(plain) as server:
        for number in range(100):
            raw = RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port))
            await raw.send_all(GET if number % 4 else b"rubbish\r\n\r\n")
            if number % 3:
                await raw.read_response()
            if number % 2:
                raw.reset()
            await raw.aclose()
        while server.statistics().open_connections:
            await trio.testing.wait_all_tasks_blocked(0.001)
        assert kept(server) == (0, 0, 0, 0)


def kept(server: Server) -> tuple[int, int, int, int]:
    """How many connections, places, watched descriptors and live deadlines there are."""
    live = [entry for entry in server._timer._heap if entry.what is not None]
    return len(server._open), server._occupied, len(server._watch._connections), len(live)
