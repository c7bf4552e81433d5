"""Owned answers of which nothing has gone out: an error is still a page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from triohttp import App, NotFound, Request
from triohttp.testing import RawResponse

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]


async def test_content_that_was_promised_and_never_came_is_an_error_page(ask: Ask) -> None:
    """The head is known to be wrong before it goes out; for HEAD it is right."""
    app = App()

    @app.get("/")
    async def promises(request: Request) -> None:
        async with request.respond(200, {"Content-Length": "5"}):
            pass

    assert (await ask(app, "GET /", faults=True)).status == 500
    response = await ask(app, "HEAD /")
    assert (response.status, response.headers["content-length"]) == (200, "5")


async def test_a_block_entered_by_hand_and_dropped_leaves_the_error_its_page(ask: Ask) -> None:
    """Nothing went out, so 404 is 404."""
    app = App()

    @app.get("/")
    async def dropped(request: Request) -> None:
        await request.respond().__aenter__()
        raise NotFound

    assert (await ask(app, "GET /")).status == 404
