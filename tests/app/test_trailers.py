"""Fields behind the content of an answer: what they may be, and that a wrong one is told where it is set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest

from triohttp import App, Headers, Request, Response
from triohttp.errors import InvalidHeaderError
from triohttp.testing import RawResponse

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]


async def test_trailers_of_every_kind_of_answer(ask: Ask) -> None:
    """A mapping will do wherever they are set, and a stream may set them while it runs."""
    app = App()

    @app.get("/plain")
    async def plain(request: Request) -> Response:
        response = Response(b"x")
        response.trailers = {"X-Sum": "1"}
        return response

    @app.get("/stream")
    async def stream(request: Request) -> Response:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"x"
            response.trailers = Headers({"X-Sum": "1"})

        response = Response.stream(chunks())
        return response

    @app.get("/owned")
    async def owned(request: Request) -> None:
        async with request.respond() as body:
            await body.send_all(b"x")
            body.trailers = Headers({"X-Sum": "1"})

    for path in ("/plain", "/stream", "/owned"):
        response = await ask(app, f"GET {path}")
        assert response.content == b"x"
        assert response.trailers == {"X-Sum": "1"}


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Set-Cookie", "Content-Type"])
async def test_a_field_that_must_not_be_a_trailer_is_refused_when_it_is_set(ask: Ask, name: str) -> None:
    """While nothing has gone out that is a clean 500; framing and routing are never decided behind the content."""
    with pytest.raises(InvalidHeaderError, match=f"{name} must not be a trailer"):
        Response(b"x", trailers={name: "1"})
    app = App()

    @app.get("/")
    async def owned(request: Request) -> None:
        async with request.respond() as body:
            body.trailers = Headers({name: "1"})

    assert (await ask(app, "GET /", faults=True)).status == 500
