"""Handshakes that open no WebSocket, over real connections: an answer, and the end of that connection alone."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
from websocket_corpus import MASK, apply_mask

from triohttp import App, Request, Response
from triohttp.errors import DisconnectedError, HandshakeError, TrioHTTPError
from triohttp.testing import RawConnection

if TYPE_CHECKING:
    from conftest import Network

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
OPEN = (
    b"GET /echo HTTP/1.1\r\nHost: h.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n\r\n"
)


def changed(old: bytes, new: bytes) -> bytes:
    assert OPEN.count(old) == 1
    return OPEN.replace(old, new)


def added(fields: bytes, content: bytes = b"") -> bytes:
    return OPEN[:-2] + fields + b"\r\n\r\n" + content


REFUSED: dict[str, tuple[bytes, int]] = {
    "no upgrade at all": (b"GET /echo HTTP/1.1\r\nHost: h.test\r\n\r\n", 400),
    "no Connection": (changed(b"Connection: Upgrade\r\n", b""), 400),
    "no Upgrade": (changed(b"Upgrade: websocket\r\n", b""), 400),
    "another protocol": (changed(b"websocket\r\nSec", b"h2c\r\nSec"), 400),
    "POST": (changed(b"GET", b"POST"), 405),
    "HTTP/1.0": (changed(b"HTTP/1.1", b"HTTP/1.0"), 400),
    "content": (added(b"Content-Length: 5", b"hello"), 400),
    "content that does not come": (added(b"Content-Length: 5"), 400),
    "content in chunks": (added(b"Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"), 400),
    "content that waits to be asked for": (added(b"Content-Length: 5\r\nExpect: 100-continue"), 400),
    "no version": (changed(b"Sec-WebSocket-Version: 13\r\n", b""), 426),
    "version 8": (changed(b"13", b"8"), 426),
    "version 14": (changed(b"13", b"14"), 426),
    "two versions": (added(b"Sec-WebSocket-Version: 13"), 426),
    "no key": (changed(b"Sec-WebSocket-Key: " + KEY + b"\r\n", b""), 400),
    "a short key": (changed(KEY, b"x"), 400),
    "two keys": (added(b"Sec-WebSocket-Key: " + KEY), 400),
    "a subprotocol of octets": (added(b"Sec-WebSocket-Protocol: \xff"), 400),
    "300 subprotocols": (added(b"Sec-WebSocket-Protocol: " + b", ".join(b"p%d" % n for n in range(300))), 400),
    "a subprotocol twice": (added(b"Sec-WebSocket-Protocol: a, a"), 400),
    "no subprotocol": (added(b"Sec-WebSocket-Protocol: ,"), 400),
    "a foreign origin": (added(b"Origin: https://evil.test"), 403),
    "an origin of octets": (added(b"Origin: \xff"), 403),
    "a host of octets": (changed(b"h.test", b"\xff"), 400),
    "no host": (changed(b"Host: h.test\r\n", b""), 400),
}
OPENED: dict[str, bytes] = {
    "as it should be": OPEN,
    "other protocols too": changed(b"websocket\r\nSec", b"foo, WebSocket\r\nSec"),
    "other options too": changed(b"Connection: Upgrade", b"Connection: keep-alive, Upgrade"),
    "in lower case": OPEN.replace(b"Sec-WebSocket", b"sec-websocket").replace(b"Upgrade", b"upgrade"),
    "content of no bytes": added(b"Content-Length: 0"),
    "a window that is no number": added(
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=abc"
    ),
    "an extension of octets": added(b"Sec-WebSocket-Extensions: \xff"),
    "its own origin": added(b"Origin: https://h.test"),
}  # fmt: skip


def make_app(opened: list[str]) -> App:
    app = App()

    @app.route("/echo", methods=["GET", "POST"])
    async def echo(request: Request) -> None:
        async with request.websocket(subprotocols=["a"]) as ws:
            opened.append("opened")
            async for message in ws:
                await ws.send(message)

    @app.get("/alive")
    async def alive(request: Request) -> Response:
        return Response.text("alive")

    return app


async def test_a_handshake_that_is_none_is_told_so(network: Network) -> None:
    """The status says why, the block is not entered, the connection closes, and the server serves on."""
    opened: list[str] = []
    await network.serve(make_app(opened))
    for name, (data, status) in REFUSED.items():
        async with await network.site.open_raw() as raw:
            await raw.send_all(data)
            response = await raw.read_response()
            assert (response.status, response.headers["connection"]) == (status, "close"), name
            assert response.headers.get("sec-websocket-version") == ("13" if status == 426 else None), name
            assert "sec-websocket-accept" not in response.headers
            assert response.headers.get("allow") == ("GET" if status == 405 else None), name
            if network.tls is not None:
                await raw.send_eof()
            assert await raw.read_until_closed() == b"", name
        assert opened == []
        async with await network.site.open_raw() as raw:
            await raw.send_all(b"GET /alive HTTP/1.1\r\nHost: h.test\r\n\r\n")
            assert (await raw.read_response()).content == b"alive", name


async def test_a_handshake_that_says_more_than_it_must_is_taken(network: Network) -> None:
    """What has no meaning here is left out of the answer."""
    await network.serve(make_app([]))
    for name, data in OPENED.items():
        async with await network.site.open_raw() as raw:
            if network.tls is None:  # else the page of an https origin is the same one as that of the server
                data = data.replace(b"https://", b"http://")
            await raw.send_all(data + b"\x81\x82" + MASK + apply_mask(b"hi", MASK))
            response = await raw.read_response()
            assert response.status == 101, name
            assert response.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            assert "sec-websocket-extensions" not in response.headers
            assert "content-length" not in response.headers
            assert await raw.read_exactly(4) == b"\x81\x02hi", name


def accept_of(key: str) -> bytes:
    digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode(), usedforsecurity=False).digest()
    return base64.b64encode(digest)


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\n"
GOOD = SWITCH + b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
ANSWERS: dict[str, tuple[bytes, int | None]] = {
    "200": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    "a redirect": (b"HTTP/1.1 301 Moved\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", 301),
    "401": (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno", 401),
    "426": (b"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", 426),
    "500 up to the end": (b"HTTP/1.1 500 Oops\r\nConnection: close\r\n\r\noops", 500),
    "a wrong accept": (GOOD.replace(b"%b", b"AAAAAAAAAAAAAAAAAAAAAAAAAAA="), 101),
    "no accept": (GOOD.replace(b"Sec-WebSocket-Accept: %b\r\n", b""), 101),
    "an accept of octets": (GOOD.replace(b"%b", b"\xff"), 101),
    "two accepts": (GOOD[:-2] + b"Sec-WebSocket-Accept: %b\r\n\r\n", 101),
    "another protocol": (GOOD.replace(b"websocket\r\n", b"h2c\r\n"), 101),
    "no upgrade": (GOOD.replace(b"Upgrade: websocket\r\n", b""), 101),
    "no connection": (GOOD.replace(b"Connection: Upgrade\r\n", b""), 101),
    "a subprotocol": (GOOD[:-2] + b"Sec-WebSocket-Protocol: b\r\n\r\n", 101),
    "a window of 16 bits": (
        GOOD[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=16\r\n\r\n", 101
    ),
    "an extension of octets": (GOOD[:-2] + b"Sec-WebSocket-Extensions: \xff\r\n\r\n", 101),
    "no HTTP": (b"hello\r\n\r\n", None),
}  # fmt: skip


async def test_an_answer_that_does_not_count_is_an_error(network: Network) -> None:
    """``HandshakeError`` with the status, or the error of the message; no connection is kept that says 101."""
    answer, kept = GOOD, False

    async def script(raw: RawConnection) -> None:
        with suppress(DisconnectedError, trio.BrokenResourceError):
            while True:
                request = await raw.read_request()
                await raw.send_all(answer.replace(b"%b", accept_of(request.headers["sec-websocket-key"])))
                if not kept:
                    return await raw.send_eof()

    async with network.open_script(script) as new_client, new_client() as client:
        for name, (data, status) in ANSWERS.items():
            answer, kept = data, status not in (None, 101) and b"Connection: close" not in data
            with pytest.raises(TrioHTTPError) as caught:
                async with client.websocket("/", subprotocols=["a"]):
                    raise AssertionError(name)
            assert isinstance(caught.value, HandshakeError) is (status is not None), name
            if isinstance(caught.value, HandshakeError):
                assert caught.value.code == status, name
            assert client.pool.statistics().connections == kept, name


async def test_frames_that_follow_the_answer_at_once_are_not_lost(network: Network) -> None:
    """Bytes in the same segment as the end of the answer belong to the WebSocket."""

    async def script(raw: RawConnection) -> None:
        request = await raw.read_request()
        accept = accept_of(request.headers["sec-websocket-key"])
        await raw.send_all(GOOD.replace(b"%b", accept) + b"\x81\x05early\x88\x02\x03\xe8")
        await raw.read_exactly(8)
        await raw.aclose()

    async with network.open_script(script) as new_client, new_client() as client:
        async with client.websocket("/") as ws:
            assert [message async for message in ws] == ["early"]
        assert client.pool.statistics().connections == 0
