"""Other Python clients of the server: httpx on the same trio loop, aiohttp on asyncio, http.client in a thread."""

from __future__ import annotations

import asyncio
import http.client
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
import trio

from triohttp import App, Request, Response
from triohttp.testing import CertificateAuthority

if TYPE_CHECKING:
    from conftest import OpenSite

pytestmark = pytest.mark.interop

PIECES = [bytes([number]) * 50_000 for number in range(40)]
CONTENT = b"".join(PIECES)


def make_app() -> App:
    app = App(limits={"max_body_bytes": None})

    @app.get("/hello")
    async def hello(request: Request) -> Response:
        return Response.text("hello")

    @app.get("/hints")
    async def hints(request: Request) -> Response:
        await request.inform(103, {"Link": "</style.css>; rel=preload"})
        return Response.text("after")

    @app.post("/echo")
    async def echo(request: Request) -> None:
        async with request.respond() as body:
            async for chunk in request.body:
                await body.send_all(chunk)

    @app.post("/length")
    async def length(request: Request) -> Response:
        framing = request.headers.get("transfer-encoding", "length")
        return Response.text(f"{framing} {len(await request.read())}")

    @app.post("/refuse")
    async def refuse(request: Request) -> Response:
        return Response.text("no", status=403)

    @app.get("/upgrade")
    async def upgrade(request: Request) -> None:
        async with request.take_over("shout") as stream:
            async for data in stream:
                await stream.send_all(data.upper())

    return app


async def pieces() -> AsyncIterator[bytes]:
    for piece in PIECES:
        yield piece


async def with_httpx(url: str, context: ssl.SSLContext | None) -> None:
    """Use the server as httpx does, on this trio loop."""
    verify = context if context is not None else False
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=verify, timeout=20) as client:
        assert (await client.get("/hello")).text == "hello"
        assert (await client.head("/hello")).headers["content-length"] == "5"
        assert (await client.get("/hints")).text == "after"
        assert (await client.get("/missing")).status_code == 404
        assert (await client.post("/length", content=CONTENT)).text == f"length {len(CONTENT)}"
        assert (await client.post("/length", content=pieces())).text == f"chunked {len(CONTENT)}"
        # httpx sends its content whole before it reads, so what comes back has to fit into the buffers between.
        async with client.stream("POST", "/echo", content=CONTENT[:50_000]) as response:
            assert b"".join([chunk async for chunk in response.aiter_raw()]) == CONTENT[:50_000]
        assert (await client.post("/refuse", content=b"x" * 1000)).status_code == 403


async def with_aiohttp(url: str, context: ssl.SSLContext | None) -> None:
    """Use the server as aiohttp does, on an asyncio loop in a thread."""

    async def main() -> None:
        connector = aiohttp.TCPConnector(ssl=context if context is not None else True, limit=4)
        async with aiohttp.ClientSession(base_url=url, connector=connector) as session:

            async def text(method: str, path: str, **options: Any) -> tuple[int, str]:
                async with session.request(method, path, **options) as response:
                    return response.status, await response.text()

            assert await text("GET", "/hello") == (200, "hello")
            assert await text("HEAD", "/hello") == (200, "")
            assert await text("GET", "/hints") == (200, "after")
            assert await text("GET", "/missing") == (404, "Not Found\n")
            assert await text("POST", "/length", data=io.BytesIO(CONTENT)) == (200, f"length {len(CONTENT)}")
            assert await text("POST", "/length", data=pieces()) == (200, f"chunked {len(CONTENT)}")
            assert await text("POST", "/length", data=b"12345", expect100=True) == (200, "length 5")
            assert await text("POST", "/refuse", data=b"12345", expect100=True) == (403, "no")
            async with session.post("/echo", data=pieces()) as response:
                assert await response.read() == CONTENT
            assert await asyncio.gather(*(text("GET", "/hello") for _ in range(50))) == [(200, "hello")] * 50

    await trio.to_thread.run_sync(asyncio.run, main())


async def with_http_client(url: str, context: ssl.SSLContext | None) -> None:
    """Use the server as the standard library does, in a thread."""
    host = url.partition("//")[2]

    def work() -> None:
        connection = (
            http.client.HTTPConnection(host, timeout=20)
            if context is None
            else http.client.HTTPSConnection(host, timeout=20, context=context)
        )

        def text(method: str, path: str, **options: Any) -> tuple[int, bytes]:
            connection.request(method, path, **options)
            with connection.getresponse() as response:
                return response.status, response.read()

        try:
            assert text("GET", "/hello") == (200, b"hello")
            sock = connection.sock
            assert text("HEAD", "/hello") == (200, b"")
            assert text("GET", "/missing") == (404, b"Not Found\n")
            assert text("POST", "/length", body=CONTENT) == (200, f"length {len(CONTENT)}".encode())
            chunked = text("POST", "/length", body=iter(PIECES), encode_chunked=True)
            assert chunked == (200, f"chunked {len(CONTENT)}".encode())
            assert text("POST", "/echo", body=CONTENT[:50_000]) == (200, CONTENT[:50_000])
            assert connection.sock is sock  # all on one connection
        finally:
            connection.close()

    await trio.to_thread.run_sync(work)


CLIENTS = {"httpx": with_httpx, "aiohttp": with_aiohttp, "http.client": with_http_client}


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_other_clients(
    client: str, secure: bool, open_site: OpenSite, authority: CertificateAuthority
) -> None:
    """Every kind of request that they make is understood, and they understand every kind of answer."""
    use: Callable[[str, ssl.SSLContext | None], Awaitable[None]] = CLIENTS[client]
    tls = authority.server_context("127.0.0.1") if secure else None
    async with open_site(make_app(), tls=tls) as server:
        await use(server.urls[0].rstrip("/"), authority.client_context() if secure else None)
        assert server.statistics().rejects == 0
