"""The server behind nginx: kept connections, uploads and answers that are streamed through, and what ends early."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import trio
from nginx_front import behind_nginx

from triohttp import App, Request, Response
from triohttp.errors import BodyTruncatedError, DisconnectedError

if TYPE_CHECKING:
    from conftest import OpenSite, Programs

pytestmark = pytest.mark.interop

CONTENT = os.urandom(3_000_000)


def make_app() -> App:
    app = App(limits={"max_body_bytes": None})

    @app.get("/hello")
    async def hello(request: Request) -> Response:
        return Response.text("hello")

    @app.post("/length")
    async def length(request: Request) -> Response:
        framing = request.headers.get("transfer-encoding", "length")
        return Response.text(f"{framing} {len(await request.read())}")

    @app.post("/echo")
    async def echo(request: Request) -> None:
        async with request.respond() as body:
            async for chunk in request.body:
                await body.send_all(chunk)

    @app.post("/refuse")
    async def refuse(request: Request) -> Response:
        return Response.text("no", status=403)

    @app.get("/shout")
    async def shout(request: Request) -> None:
        async with request.take_over("shout") as stream:
            async for data in stream:
                await stream.send_all(data.upper())

    return app


async def test_connections_to_the_server_are_kept(programs: Programs, open_site: OpenSite) -> None:
    """nginx sends request after request over one connection, errors and HEAD among them."""
    async with behind_nginx(make_app(), programs, open_site) as (client, server):
        for _ in range(5):
            assert (await client.get("/hello")).text == "hello"
            assert (await client.head("/hello")).headers["content-length"] == "5"
            assert (await client.get("/missing")).status == 404
            assert (await client.post("/length", content=b"12345")).text == "length 5"
        assert server.statistics().connections == 1
        assert server.statistics().requests == 20


async def test_many_requests_at_once(programs: Programs, open_site: OpenSite) -> None:
    """A hundred calls through nginx each get their own answer."""
    async with behind_nginx(make_app(), programs, open_site) as (client, _):
        answers: list[str] = []

        async def call(size: int) -> None:
            answers.append((await client.post("/length", content=b"x" * size)).text)

        async with trio.open_nursery() as nursery:
            for size in range(100):
                nursery.start_soon(call, size)
        assert sorted(answers) == sorted(f"length {size}" for size in range(100))


@pytest.mark.parametrize("path", ["/length", "/collected/length"])
async def test_uploads(path: str, programs: Programs, open_site: OpenSite) -> None:
    """Content of both framings arrives whole, whether nginx collects it first or not."""
    async with behind_nginx(make_app(), programs, open_site) as (client, _):
        assert (await client.post(path, content=CONTENT)).text == f"length {len(CONTENT)}"
        pieces = [CONTENT[:1_000_000], CONTENT[1_000_000:]]
        framing = "chunked" if path == "/length" else "length"
        assert (await client.post(path, content=pieces)).text == f"{framing} {len(CONTENT)}"


async def test_both_directions_stream_through(programs: Programs, open_site: OpenSite) -> None:
    """Each piece of an upload comes back before the next one is sent: nobody on the way waits for the whole."""
    async with behind_nginx(make_app(), programs, open_site) as (client, _):
        back = [trio.Event() for _ in range(5)]

        async def pieces() -> AsyncIterator[bytes]:
            for number, event in enumerate(back):
                yield b"piece %d;" % number
                await event.wait()

        received = b""
        async with client.stream("POST", "/echo", content=pieces()) as response:
            async for data in response.body:
                received += data
                for event in back[: received.count(b";")]:
                    event.set()
        assert received == b"".join(b"piece %d;" % number for number in range(5))


async def test_a_refused_upload_is_heard(programs: Programs, open_site: OpenSite) -> None:
    """An answer that comes while nginx still sends the content reaches the client."""
    async with behind_nginx(make_app(), programs, open_site) as (client, _):
        for _ in range(3):
            response = await client.post("/refuse", content=CONTENT)
            assert (response.status, response.text) == (403, "no")


async def test_leaving_cancels_the_handler(programs: Programs, open_site: OpenSite) -> None:
    """A client that leaves nginx makes nginx leave the server, and the handler ends."""
    app, ended = App(), trio.Event()

    @app.get("/")
    async def endless(request: Request) -> None:
        try:
            async with request.respond() as body:
                await body.send_all(b"some")
                await trio.sleep_forever()
        finally:
            ended.set()

    async with behind_nginx(app, programs, open_site) as (client, _):
        async with client.stream("GET", "/") as response:
            assert await response.body.receive_some() == b"some"
        with trio.fail_after(5):
            await ended.wait()


@pytest.mark.parametrize("headers", [{}, {"Content-Length": "1000"}], ids=["chunked", "length"])
async def test_an_answer_that_is_cut_does_not_look_whole(
    headers: dict[str, str], programs: Programs, open_site: OpenSite
) -> None:
    """What ends too early here ends too early behind nginx as well."""
    app = App()

    @app.get("/")
    async def give_up(request: Request) -> None:
        async with request.respond(headers=headers) as body:
            await body.send_all(b"some")
            request.exchange.cut()

    async with behind_nginx(app, programs, open_site) as (client, _):
        with pytest.raises((BodyTruncatedError, DisconnectedError)):
            async with client.stream("GET", "/") as response:
                assert response.status == 200
                await response.read()


async def test_an_upgrade_passes_through(programs: Programs, open_site: OpenSite) -> None:
    """nginx hands the raw stream on in both directions."""
    async with behind_nginx(make_app(), programs, open_site) as (client, _):
        async with client.upgrade("shout", "/shout") as upgraded:
            await upgraded.stream.send_all(b"hello")
            assert await upgraded.stream.receive_some() == b"HELLO"
