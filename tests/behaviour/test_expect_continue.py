"""100 (Continue) goes out when the content is wanted, not before and not in vain (RFC 9110 §10.1.1)."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from triohttp import App, Headers, Request, Response, Timeouts
from triohttp.lowlevel import Exchange, ResponseHead

if TYPE_CHECKING:
    from conftest import Network

EXPECTING = b"POST %b HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n"
GET = b"GET /admin HTTP/1.1\r\nHost: h\r\n\r\n"


def make_app(calls: list[str]) -> App:
    app = App()

    @app.post("/read")
    async def read(request: Request) -> Response:
        await request.inform(103, {"Link": "</style.css>; rel=preload"})
        return Response(await request.read())

    @app.post("/refuse")
    async def refuse(request: Request) -> Response:
        calls.append("refuse")
        return Response.text("no", status=401)

    @app.post("/late")
    async def late(request: Request) -> Response:
        await trio.sleep(60)
        return Response(await request.read())

    @app.get("/admin")
    async def admin(request: Request) -> Response:
        calls.append("admin")
        return Response.text("admin")

    return app


async def test_it_goes_out_with_the_first_read(network: Network) -> None:
    """What the handler says before it reads comes first, and the connection is kept after the exchange."""
    await network.serve(make_app([]))
    raw = await network.open_raw()
    for _ in range(2):
        await raw.send_all(EXPECTING % (b"/read", 5))
        assert b"HTTP/1.1 103" in await raw.read_until(b"\r\n\r\n")
        assert await raw.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await raw.send_all(b"hello")
        response = await raw.read_response()
        assert (response.status, response.content, response.interim) == (200, b"hello", ())
        assert "connection" not in response.headers


async def test_content_that_has_come_is_not_asked_for(network: Network) -> None:
    """A client that did not wait is spared the interim response."""
    await network.serve(make_app([]))
    raw = await network.open_raw()
    await raw.send_all(EXPECTING % (b"/read", 5) + b"hello")
    response = await raw.read_response()
    assert (response.content, [interim.status for interim in response.interim]) == (b"hello", [103])


async def test_http_1_0_is_never_asked(network: Network) -> None:
    """An HTTP/1.0 client would take it for the answer, so its content is just waited for."""
    await network.serve(make_app([]))
    raw = await network.open_raw()
    await raw.send_all((EXPECTING % (b"/read", 5)).replace(b"HTTP/1.1", b"HTTP/1.0"))
    await trio.testing.wait_all_tasks_blocked()
    await raw.send_all(b"hello")
    response = await raw.read_response()
    assert (response.status, response.content, response.interim) == (200, b"hello", ())


async def test_an_answer_without_the_content_ends_the_connection(network: Network) -> None:
    """Nobody can tell whether the content will follow, so nothing that follows is a request."""
    calls: list[str] = []
    await network.serve(make_app(calls))
    raw = await network.open_raw()
    await raw.send_all(EXPECTING % (b"/refuse", len(GET)))
    response = await raw.read_response()
    assert (response.status, response.interim) == (401, ())
    assert response.headers["connection"] == "close"
    with suppress(trio.BrokenResourceError):  # it may have closed already
        await raw.send_all(GET + GET)
    assert await raw.read_until_closed() == b""
    assert calls == ["refuse"]


@pytest.mark.parametrize("kind", ["app", "service"])
async def test_too_much_content_is_not_asked_for(network: Network, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is 413 at the head: in front of an app's handler, and for any other service when it wants to read."""
    calls: list[str] = []

    async def service(exchange: Exchange) -> None:
        await exchange.content.receive_some()
        await exchange.respond(ResponseHead(200, Headers()))

    await network.serve(make_app(calls) if kind == "app" else service)
    raw = await network.open_raw()
    with caplog.at_level("INFO", "triohttp.reject"):
        await raw.send_all(EXPECTING % (b"/refuse", 10**10))
        response = await raw.read_response()
        assert (response.status, response.interim) == (413, ())
        assert response.headers["connection"] == "close"
        assert await raw.read_until_closed() == b""
    assert calls == []
    [record] = [record.getMessage() for record in caplog.records if record.name == "triohttp.reject"]
    assert "slug=body-too-large status=413" in record


@pytest.mark.parametrize("network", ["memory", "tls-memory"], indirect=True)
async def test_a_client_may_wait_as_long_as_the_handler_takes(network: Network) -> None:
    """The time for content begins when it is asked for."""
    await network.serve(make_app([]), timeouts=Timeouts(body_idle_seconds=20))
    raw = await network.open_raw()
    start = trio.current_time()
    await raw.send_all(EXPECTING % (b"/late", 5))
    assert await raw.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert trio.current_time() - start == pytest.approx(60)
    await trio.sleep(19)
    await raw.send_all(b"hello")
    assert (await raw.read_response()).content == b"hello"
