"""Hooks and filters at the edges: what they may return, answers that are replaced, filters that fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio

from triohttp import App, BodyFilter, Handler, NotFound, Request, Response
from triohttp._values.message import ResponseHead
from triohttp.errors import BodyStateError
from triohttp.testing import RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]


def app_with_mark() -> App:
    """Return an app that marks every answer."""
    app = App()

    @app.middleware
    async def mark(request: Request, handler: Handler) -> Response:
        request.on_head(lambda head: head.headers.add("X-Mark", str(head.status)))
        return await handler(request)

    return app


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


async def test_an_answer_that_takes_the_place_of_another_is_marked_too(ask: Ask) -> None:
    """The first one's head was ready and did not go out; the hooks see the one that does, and once each."""
    app = app_with_mark()

    @app.get("/late")
    async def late(request: Request) -> Response:
        with trio.CancelScope() as scope:
            async with request.respond(200) as body:
                scope.cancel()
                await body.send_all(b"never")
        return Response.text("too slow", status=503)

    @app.get("/error")
    async def error(request: Request) -> None:
        with trio.CancelScope() as scope:
            async with request.respond(200) as body:
                scope.cancel()
                await body.send_all(b"never")
        raise NotFound

    @app.get("/length")
    async def length(request: Request) -> Response:
        return Response(b"abc", headers={"Content-Length": "5"})

    for path, status in [("/late", 503), ("/error", 404), ("/length", 500)]:
        response = await ask(app, f"GET {path}", faults=True)
        assert response.status == status
        assert response.headers.get_all("x-mark") == [str(status)]


async def test_a_hook_that_fails_does_not_take_the_others_with_it(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """They see the 500; it does not, for it would fail again."""
    app = app_with_mark()
    calls: list[int] = []

    @app.get("/")
    async def failing(request: Request) -> Response:
        def fails(head: ResponseHead) -> None:
            calls.append(head.status)
            raise ValueError("hook")

        request.on_head(fails)
        request.on_head(lambda head: head.headers.add("X-Later", "1"))
        return Response.text("x")

    response = await ask(app, "GET /", faults=True)
    assert response.status == 500
    assert response.headers.get_all("x-mark") == ["500"]
    assert response.headers.get_all("x-later") == ["1"]
    assert calls == [200]
    assert len(faults(caplog)) == 1


async def test_a_hook_after_a_plain_answer_is_too_late() -> None:
    """A task that outlives the answer is told, where the head has gone out without any hooks."""
    app, told = App(), trio.Event()

    @app.get("/")
    async def plain(request: Request) -> Response:
        async def later() -> None:
            await request.wait_draining()
            with pytest.raises(BodyStateError):
                request.on_head(lambda head: None)
            told.set()

        app.nursery.start_soon(later)
        return Response.text("x")

    async with open_in_process(app) as server:
        async with await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await raw.read_response()).status == 200
        await server.server.shutdown(grace=1)
        await told.wait()


async def test_a_hook_that_returns_no_filter_is_named(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """A lambda whose expression has a value is taken for a hook by everybody once."""
    app = App()

    @app.get("/")
    async def wrong(request: Request) -> Response:
        request.on_head(lambda head: head.headers.setdefault("X-A", "1"))  # type: ignore[arg-type,return-value]
        return Response.text("x")

    assert (await ask(app, "GET /", faults=True)).status == 500
    assert "lambda> must return None or a body filter, not str" in faults(caplog)[0]


async def test_a_filter_that_fails_cuts_the_answer(ask: Ask) -> None:
    """What it was fed is lost, so the answer must not end as if it were whole, whatever the handler does about it."""
    app = App()

    class Once:
        fed = 0

        def feed(self, data: bytes) -> bytes:
            self.fed += 1
            if self.fed > 1:
                raise ValueError("filter")
            return data

        def flush(self) -> bytes:
            return b""

        def finish(self) -> bytes:
            return b""

    def hook(head: ResponseHead) -> BodyFilter:
        return Once()

    @app.get("/")
    async def owned(request: Request) -> None:
        request.on_head(hook)
        async with request.respond() as body:
            await body.send_all(b"first")
            with pytest.raises(ValueError, match="filter"):
                await body.send_all(b"second")
            with pytest.raises(trio.BrokenResourceError):
                await body.send_all(b"third")

    with pytest.raises(trio.BrokenResourceError):
        await ask(app, "GET /")
