"""Chromium as a client: the demo's page, and a page that tries what scripts in browsers do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from browser import Report

from triohttp import App, Request, Response
from triohttp._cli.demo import make_app
from triohttp.testing import CertificateAuthority

if TYPE_CHECKING:
    from conftest import OpenSite, Programs

pytestmark = [pytest.mark.interop, pytest.mark.wall_seconds(90)]


async def test_the_demo_page(programs: Programs, open_site: OpenSite, capsys: pytest.CaptureFixture[str]) -> None:
    """Each part of the page of ``triohttp demo`` comes to its end, three of them by themselves."""
    app = make_app()
    report = Report(app)
    frame = programs.beside_tests("browser_frame.html").read_text(encoding="utf-8")

    @app.get("/frame")
    async def around(request: Request) -> Response:
        return Response.html(frame)

    async with open_site(app) as server:
        seen = await report.of(f"{server.urls[0]}/frame", programs)
    assert isinstance(seen, list)
    hello, ticks, echo, wait = seen
    assert hello.startswith('200 {"hello":"world"')
    assert ticks == "".join(f"tick {number}\n" for number in range(1, 21))
    assert echo == "41 bytes out, 41 bytes back"
    assert wait.startswith("no answer in half a second")
    assert "the handler of /wait ended after" in capsys.readouterr().out


class Site:
    """What browser_page.html calls."""

    def __init__(self, page: str) -> None:
        self.app = app = App(limits={"max_body_bytes": None})
        gate, left = trio.Event(), trio.Event()

        @app.get("/")
        async def index(request: Request) -> Response:
            return Response.html(page)

        @app.get("/hello")
        async def hello(request: Request) -> Response:
            return Response.text("hello")

        @app.get("/number/{number:int}")
        async def number(request: Request) -> Response:
            return Response.text(str(request.path_params["number"]))

        @app.get("/hints")
        async def hints(request: Request) -> Response:
            await request.inform(103, {"Link": "</hello>; rel=preload; as=fetch"})
            return Response.text("after the hints")

        @app.get("/gated")
        async def gated(request: Request) -> None:
            async with request.respond(headers={"Content-Type": "text/plain"}) as body:
                await body.send_all(b"first")
                await gate.wait()
                await body.send_all(b"second")

        @app.post("/open")
        async def open_gate(request: Request) -> Response:
            gate.set()
            return Response(status=204)

        @app.post("/echo")
        async def echo(request: Request) -> None:
            async with request.respond() as body:
                async for chunk in request.body:
                    await body.send_all(chunk)

        @app.get("/cut")
        async def cut(request: Request) -> None:
            async with request.respond() as body:
                await body.send_all(b"some")
                request.exchange.cut()

        @app.get("/endless")
        async def endless(request: Request) -> None:
            try:
                async with request.respond() as body:
                    await body.send_all(b"x" * 5000)
                    await trio.sleep_forever()
            finally:
                left.set()

        @app.get("/left")
        async def leave(request: Request) -> Response:
            await left.wait()
            return Response.text("the handler has ended")


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_what_scripts_do(
    secure: bool, programs: Programs, open_site: OpenSite, authority: CertificateAuthority
) -> None:
    """fetch of every kind: streams piece by piece, uploads, answers that are cut, leaving, and sixty at once."""
    site = Site(programs.beside_tests("browser_page.html").read_text(encoding="utf-8"))
    report = Report(site.app)
    tls = authority.server_context("127.0.0.1") if secure else None
    async with open_site(site.app, tls=tls) as server:
        assert await report.of(server.urls[0], programs) == {
            "hello": "hello",
            "head": "5",
            "missing": 404,
            "hints": "after the hints",
            "pieces": ["first", "second"],
            "echo": True,
            "cut": "TypeError",
            "many": True,
            "left": "the handler has ended",
        }
        # A cut answer, one that was left, and a browser that opens six connections at once.
        assert server.statistics().connections < 16
