"""A connection changes its protocol after the whole request, and only if the handler says so (RFC 9110 §7.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from triohttp import App, Request, Response
from triohttp.errors import BodyStateError

if TYPE_CHECKING:
    from conftest import Network

UPGRADE = b"POST %b HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 5\r\n\r\nhello"
GET = b"GET /admin HTTP/1.1\r\nHost: h\r\n\r\n"


def make_app() -> App:
    app = App()

    @app.post("/read")
    async def read(request: Request) -> None:
        content = await request.read()
        async with request.take_over("echo") as stream:
            await stream.send_all(content)
            await stream.send_all(await stream.receive_some())

    @app.post("/unread")
    async def unread(request: Request) -> Response:
        with pytest.raises(BodyStateError):
            async with request.take_over("echo"):
                raise AssertionError("the block must not run")
        return Response(b"still HTTP: " + b"".join([piece async for piece in request.body]))

    @app.get("/admin")
    async def admin(request: Request) -> Response:
        return Response.text("asked as a request")

    return app


async def test_what_follows_an_accepted_upgrade_is_not_http(network: Network) -> None:
    """Bytes that look like a request belong to the new protocol, in the same segment too."""
    await network.serve(make_app())
    raw = await network.open_raw()
    await raw.send_all(UPGRADE % b"/read" + GET)
    response = await raw.read_response()
    assert (response.status, response.headers["upgrade"]) == (101, "echo")
    assert await raw.read_until_closed() == b"hello" + GET


@pytest.mark.parametrize(
    "framed", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
async def test_unread_content_stands_before_the_new_protocol(network: Network, framed: bytes) -> None:
    """The upgrade is refused to the handler, which can still read it all and answer; then comes the next request."""
    await network.serve(make_app())
    raw = await network.open_raw()
    await raw.send_all(UPGRADE.replace(b"Content-Length: 5\r\n\r\nhello", framed) % b"/unread" + GET)
    assert (await raw.read_response()).content == b"still HTTP: hello"
    assert (await raw.read_response()).content == b"asked as a request"
