"""Content that a handler does not read: a little is read for it, so that the connection lives; a lot ends it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Limits, Request, Response, Timeouts

if TYPE_CHECKING:
    from conftest import Network

KIB = 1024
LIMITS = Limits(max_body_bytes=None, max_unread_bytes=256 * KIB, max_linger_bytes=64 * KIB)
COUNTED = b"POST /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
CHUNKED = b"POST /ignore HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


def make_app(calls: list[str]) -> App:
    app = App()

    @app.post("/ignore")
    async def ignore(request: Request) -> Response:
        calls.append("ignore")
        return Response.text("early")

    @app.get("/next")
    async def following(request: Request) -> Response:
        calls.append("next")
        return Response.text("next")

    return app


def chunked(size: int) -> bytes:
    """Return chunked content of that size."""
    return b"%x\r\n%b\r\n" % (KIB, bytes(KIB)) * (size // KIB) + b"0\r\n\r\n"


@pytest.mark.parametrize("request_bytes", [COUNTED % (256 * KIB) + bytes(256 * KIB), CHUNKED + chunked(255 * KIB)])
async def test_a_little_is_read_and_the_connection_lives(network: Network, request_bytes: bytes) -> None:
    """The answer comes at once, and the next request begins where the content ends."""
    calls: list[str] = []
    await network.serve(make_app(calls), limits=LIMITS)
    raw = await network.open_raw()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(raw.send_all, request_bytes + GET)
        response = await raw.read_response()
        assert (response.content, "connection" in response.headers) == (b"early", False)
        assert (await raw.read_response()).content == b"next"
    assert calls == ["ignore", "next"]


@pytest.mark.parametrize(
    ("request_bytes", "announced"),
    [(COUNTED % (256 * KIB + 1) + bytes(256 * KIB + 1), True), (CHUNKED + chunked(400 * KIB), False)],
)
async def test_a_lot_ends_the_connection(network: Network, request_bytes: bytes, announced: bool) -> None:
    """The answer arrives all the same and says so where that was known; nothing behind it is taken for a request."""
    calls: list[str] = []
    await network.serve(make_app(calls), limits=LIMITS)
    raw = await network.open_raw()

    async def send() -> None:
        with suppress(trio.BrokenResourceError):  # which says that it was refused in the middle
            await raw.send_all(request_bytes + GET)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        response = await raw.read_response()
        assert (response.content, "connection" in response.headers) == (b"early", announced)
        assert await raw.read_until_closed() == b""
        nursery.cancel_scope.cancel()
    assert calls == ["ignore"]


@pytest.mark.parametrize("network", ["memory"], indirect=True)
async def test_what_comes_of_a_lot_is_not_taken_in(network: Network) -> None:
    """Of content without end the server takes no more than it is willing to throw away."""
    await network.serve(make_app([]), limits=LIMITS)
    raw = await network.open_raw()
    taken = 0

    async def send() -> None:
        nonlocal taken
        with suppress(trio.BrokenResourceError):
            await raw.send_all(COUNTED % (100 * KIB * KIB))
            while True:
                await raw.send_all(bytes(KIB))
                taken += KIB

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        assert (await raw.read_response()).content == b"early"
        assert await raw.read_until_closed() == b""
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert taken <= 64 * KIB + 64 * KIB + 64 * KIB  # what is thrown away, one read, and the buffer between the two


@pytest.mark.parametrize("network", ["memory", "tls-memory"], indirect=True)
async def test_what_does_not_come_is_not_waited_for_long(network: Network) -> None:
    """The rest of unread content has ``unread_seconds``, and then the connection ends."""
    await network.serve(make_app([]), limits=LIMITS, timeouts=Timeouts(unread_seconds=5, linger_seconds=0))
    raw = await network.open_raw()
    start = trio.current_time()
    await raw.send_all(COUNTED % 1000 + b"a few bytes")
    response = await raw.read_response()
    assert (response.content, trio.current_time()) == (b"early", pytest.approx(start))
    assert await raw.read_until_closed() == b""
    assert trio.current_time() - start == pytest.approx(5)
