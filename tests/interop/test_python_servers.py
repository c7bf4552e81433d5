"""The client against other Python servers: http.server, which speaks HTTP/1.0 unless told otherwise, and aiohttp."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiohttp import web
from aiohttp_site import open_aiohttp

from triohttp import Client

pytestmark = pytest.mark.interop

PIECES = [bytes([number]) * 50_000 for number in range(40)]
CONTENT = b"".join(PIECES)


class Handler(BaseHTTPRequestHandler):
    """What http.server makes of a few paths."""

    timeout = 20

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/plain":
            self.answer(b"plain")
        elif self.path == "/until-close":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)
            self.close_connection = True
        else:
            self.send_error(404)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()

    def do_POST(self) -> None:
        self.answer(str(len(self.rfile.read(int(self.headers["Content-Length"])))).encode())

    def answer(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def http_server(version: str) -> Iterator[str]:
    """Serve with http.server in threads of its own, which end with the block."""

    class Versioned(Handler):
        protocol_version = version

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that closing the server waits for them

    with Server(("127.0.0.1", 0), Versioned) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
async def test_http_server(version: str) -> None:
    """Both versions are understood; connections are kept in one of them only."""
    with http_server(version) as url:
        async with Client(url) as client:
            assert (await client.get("/plain")).text == "plain"
            assert (await client.get("/plain")).http_version == version.partition("/")[2]
            assert (await client.head("/plain")).headers["content-length"] == "5"
            assert (await client.post("/", content=CONTENT)).text == str(len(CONTENT))
            if version == "HTTP/1.1":  # which would hear from 1.0 that nobody knows what 100 is
                assert (await client.post("/", content=b"12345", expect_continue=True)).text == "5"
            assert client.pool.statistics().opened == (4 if version == "HTTP/1.0" else 1)
            assert (await client.get("/until-close")).content == CONTENT
            assert (await client.get("/missing")).status == 404
            assert client.pool.statistics().connections == 0


@asynccontextmanager
async def aiohttp_server() -> AsyncIterator[str]:
    """Serve with aiohttp on an asyncio loop in a thread, which ends with the block."""

    async def plain(request: web.Request) -> web.Response:
        return web.Response(text="plain")

    async def count(request: web.Request) -> web.Response:
        content = await request.read()
        return web.Response(text=f"{request.headers.get('Transfer-Encoding', 'length')} {len(content)}")

    async def echo(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece)
        return response

    async with open_aiohttp([web.get("/plain", plain), web.post("/count", count), web.post("/echo", echo)]) as url:
        yield url


async def test_aiohttp() -> None:
    """Uploads of both framings, an echo both ways at once, HEAD and errors share one connection."""
    async with aiohttp_server() as url, Client(url) as client:
        assert (await client.get("/plain")).text == "plain"
        assert (await client.head("/plain")).content == b""
        assert (await client.post("/count", content=CONTENT)).text == f"length {len(CONTENT)}"
        assert (await client.post("/count", content=PIECES)).text == f"chunked {len(CONTENT)}"
        assert (await client.post("/count", content=b"12345", expect_continue=True)).text == "length 5"
        async with client.stream("POST", "/echo", content=PIECES) as response:
            assert await response.read() == CONTENT
        assert (await client.get("/missing")).status == 404
        assert (await client.delete("/plain")).status == 405
        assert client.pool.statistics().opened == 1
