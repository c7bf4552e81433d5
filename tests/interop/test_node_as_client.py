"""Node's two HTTP clients, its http module and fetch, as clients of the server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Headers, Request, Response

if TYPE_CHECKING:
    from conftest import OpenSite, Programs

pytestmark = pytest.mark.interop


class Site:
    """An app with something for each scenario of node_client.js."""

    def __init__(self) -> None:
        self.app = app = App()
        self.left = trio.Event()

        @app.get("/hello")
        async def hello(request: Request) -> Response:
            return Response.text("hello")

        @app.get("/empty")
        async def empty(request: Request) -> Response:
            return Response(status=204)

        @app.get("/number/{number:int}")
        async def number(request: Request) -> Response:
            return Response.text(str(request.path_params["number"]))

        @app.get("/stream")
        async def stream(request: Request) -> None:
            async with request.respond() as body:
                for piece in (b"a", b"b" * 100_000, b"c"):
                    await body.send_all(piece)

        @app.post("/report")
        async def report(request: Request) -> Response:
            content = await request.read()
            trailers = dict(request.trailers or {})
            framing = request.headers.get("transfer-encoding", "length")
            return Response.json({"received": len(content), "framing": framing, "trailers": trailers})

        @app.post("/echo")
        async def echo(request: Request) -> None:
            async with request.respond() as body:
                async for chunk in request.body:
                    await body.send_all(chunk)

        @app.post("/refuse")
        async def refuse(request: Request) -> Response:
            return Response.text("no", status=403)

        @app.get("/trailers")
        async def trailers(request: Request) -> None:
            async with request.respond(headers={"Trailer": "X-Sum, X-More"}) as body:
                await body.send_all(b"content")
                body.trailers = Headers([("X-Sum", "7"), ("X-More", "yes")])

        @app.get("/hints")
        async def hints(request: Request) -> Response:
            await request.inform(103, {"Link": "</one.css>; rel=preload"})
            await request.inform(103, {"Link": "</two.css>; rel=preload"})
            return Response.text("after")

        @app.get("/upgrade")
        async def upgrade(request: Request) -> None:
            async with request.take_over("shout") as stream:
                await stream.send_all(b"ready ")
                async for data in stream:
                    await stream.send_all(data.upper())

        @app.route("*", methods="CONNECT")
        async def connect(request: Request) -> None:
            async with request.take_over() as stream:
                async for data in stream:
                    await stream.send_all(request.target.encode() + b" " + data)

        @app.get("/endless")
        async def endless(request: Request) -> None:
            try:
                async with request.respond() as body:
                    await body.send_all(b"first")
                    await trio.sleep_forever()
            finally:
                self.left.set()


async def seen_by_node(scenario: str, programs: Programs, open_site: OpenSite, site: Site | None = None) -> object:
    """Return what a scenario of node_client.js reports."""
    async with open_site((site or Site()).app) as server:
        done = await programs.node("node_client.js", scenario, server.urls[0].rstrip("/"))
        return json.loads(done.output)


async def test_an_agent_keeps_one_connection(programs: Programs, open_site: OpenSite) -> None:
    """Content with a length, HEAD, chunks, 204 and 404 all leave the connection usable."""
    stream = "a" + "b" * 100_000 + "c"
    assert await seen_by_node("keepAlive", programs, open_site) == [
        [200, "hello", False],
        [200, "", True],
        [200, stream, True],
        [204, "", True],
        [404, "Not Found\n", True],
        [200, "hello", True],
    ]


async def test_many_requests_at_once(programs: Programs, open_site: OpenSite) -> None:
    """Two hundred requests on eight connections each get their own answer."""
    assert await seen_by_node("many", programs, open_site) == [str(number) for number in range(200)]


async def test_a_chunked_upload_with_trailers(programs: Programs, open_site: OpenSite) -> None:
    """Chunks and the trailer section behind them reach the handler."""
    assert await seen_by_node("chunkedWithTrailers", programs, open_site) == {
        "received": 300_000,
        "framing": "chunked",
        "trailers": {"X-Sum": "300000"},
    }


async def test_trailers_of_an_answer(programs: Programs, open_site: OpenSite) -> None:
    """What a handler sends behind its content is what Node calls the response's trailers."""
    seen = await seen_by_node("trailers", programs, open_site)
    assert seen == {"text": "content", "trailers": {"x-sum": "7", "x-more": "yes"}}


async def test_expect_is_answered_when_the_content_is_wanted(programs: Programs, open_site: OpenSite) -> None:
    """Node hears 100 and sends its content then."""
    seen = await seen_by_node("expect", programs, open_site)
    assert seen == {"continued": True, "received": 5, "framing": "length", "trailers": {}}


async def test_expect_without_interest_in_the_content(programs: Programs, open_site: OpenSite) -> None:
    """A handler that answers without reading sends no 100."""
    seen = await seen_by_node("expectRefused", programs, open_site)
    assert isinstance(seen, dict)
    assert (seen["continued"], seen["status"]) == (False, 403)


async def test_early_hints(programs: Programs, open_site: OpenSite) -> None:
    """Interim answers arrive one by one, in front of the final one."""
    assert await seen_by_node("hints", programs, open_site) == {
        "hints": [[103, "</one.css>; rel=preload"], [103, "</two.css>; rel=preload"]],
        "status": 200,
        "text": "after",
    }


async def test_an_upgrade_leaves_a_raw_stream(programs: Programs, open_site: OpenSite) -> None:
    """Both sides speak raw bytes after 101, and Node may close its sending half first."""
    assert await seen_by_node("upgrade", programs, open_site) == {"protocol": "shout", "text": "ready ONE TWO"}


async def test_connect_opens_a_tunnel(programs: Programs, open_site: OpenSite) -> None:
    """A route that names CONNECT may answer 200 and speak raw bytes."""
    seen = await seen_by_node("connect", programs, open_site)
    assert seen == {"status": 200, "text": "example.test:443 tunnelled"}


async def test_a_destroyed_request_cancels_the_handler(programs: Programs, open_site: OpenSite) -> None:
    """Node closes its socket in the middle of the answer, and the handler ends."""
    site = Site()
    async with open_site(site.app) as server:
        await programs.node("node_client.js", "leave", server.urls[0].rstrip("/"))
        with trio.fail_after(5):
            await site.left.wait()


async def test_fetch(programs: Programs, open_site: OpenSite) -> None:
    """Node's fetch streams an upload, gets it back, reads a stream and asks for a head."""
    stream = "a" + "b" * 100_000 + "c"
    assert await seen_by_node("fetchDuplex", programs, open_site) == {
        "echo": "one two three",
        "stream": stream,
        "length": "5",
    }
