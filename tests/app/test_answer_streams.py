"""Iterables that answers are made of: each is closed once, in the end, whoever made it and whatever was sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

import pytest
import trio

from triohttp import App, Handler, Request, Response
from triohttp.testing import RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]


class Chunks:
    """Content that counts how often it was closed."""

    def __init__(self, *chunks: bytes, error: Exception | None = None) -> None:
        self.chunks = chunks
        self.error = error
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.chunks)

    def close(self) -> None:
        self.closed += 1
        if self.error is not None:
            raise self.error


async def test_streams_of_middleware_are_closed_too(ask: Ask) -> None:
    """One wraps the handler's stream in its own, and another answers with something else after all."""
    inner, outer = Chunks(b"inner"), Chunks(b"outer")
    app = App()

    @app.middleware
    async def replaces(request: Request, handler: Handler) -> Response:
        await handler(request)
        return Response.text("replaced")

    @app.middleware
    async def wraps(request: Request, handler: Handler) -> Response:
        await handler(request)
        return Response.stream(outer)

    app.add_route("/", lambda request: Response.stream(inner))
    assert (await ask(app, "GET /")).content == b"replaced"
    assert (inner.closed, outer.closed) == (1, 1)


@pytest.mark.parametrize("line", ["GET /", "HEAD /"])
async def test_a_stream_is_closed_once(ask: Ask, line: str) -> None:
    """With middleware around it, sent or not."""
    chunks = Chunks(b"a", b"b")
    app = App()

    @app.middleware
    async def passes(request: Request, handler: Handler) -> Response:
        return await handler(request)

    app.add_route("/", lambda request: Response.stream(chunks))
    assert (await ask(app, line)).status == 200
    assert chunks.closed == 1


async def test_a_stream_that_cannot_be_closed_is_reported(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """The answer stands, the other stream is closed, and the connection goes on."""
    good, bad = Chunks(b"good"), Chunks(b"bad", error=OSError("cannot close"))
    app = App()

    @app.middleware
    async def replaces(request: Request, handler: Handler) -> Response:
        await handler(request)
        return Response.stream(bad)

    app.add_route("/", lambda request: Response.stream(good))
    async with open_in_process(app, raise_handler_errors=False) as server, await server.open_raw() as raw:
        for _ in range(2):
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await raw.read_response()).content == b"bad"
    assert (good.closed, bad.closed) == (2, 2)
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["triohttp.app"] * 2
    assert "failed to close its stream" in caplog.text


async def test_streams_are_closed_when_the_client_has_left(autojump_clock: trio.abc.Clock) -> None:
    """Each of them, although waiting in the first close is cancelled."""
    closed: list[str] = []

    class Waiting(Chunks):
        def __init__(self, name: str) -> None:
            super().__init__(b"")
            self.name = name

        async def aclose(self) -> None:
            closed.append(self.name)
            await trio.sleep(1)

    app = App()

    @app.middleware
    async def waits(request: Request, handler: Handler) -> Response:
        await handler(request)
        await trio.sleep_forever()
        raise AssertionError

    @app.middleware
    async def wraps(request: Request, handler: Handler) -> Response:
        await handler(request)
        return Response.stream(Waiting("outer"))

    app.add_route("/", lambda request: Response.stream(Waiting("inner")))
    async with open_in_process(app) as server:
        async with await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await trio.sleep(2)
    assert closed == ["outer", "inner"]
