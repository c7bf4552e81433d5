"""WebSockets that do not come about: what a client is told, and who is kept out."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

import pytest

from triohttp import App, Client, Request, Response
from triohttp.errors import HandshakeError
from triohttp.testing import RawConnection, open_scripted

if TYPE_CHECKING:
    from conftest import Network

MEMORY = pytest.mark.parametrize("network", ["memory", "tls-memory"], indirect=True)
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: %b\r\n%b\r\n"
)


@MEMORY
async def test_a_client_is_told_what_a_server_answered_instead(network: Network) -> None:
    """Status and content are in the error, and the connection is used again."""
    app = App()

    @app.get("/no")
    async def no(request: Request) -> Response:
        return Response.text("not today", status=503)

    await network.serve(app)
    client = await network.client()
    with pytest.raises(HandshakeError) as caught:
        async with client.websocket("/no"):
            pass
    assert (caught.value.code, caught.value.content) == (503, b"not today")
    assert (await client.get("/no")).status == 503
    assert client.pool.statistics().opened == 1


@pytest.mark.parametrize(
    ("accept", "fields"),
    [
        (b"AAAAAAAAAAAAAAAAAAAAAAAAAAA=", b""),
        (b"%b", b"Sec-WebSocket-Protocol: other\r\n"),
        (b"%b", b"Sec-WebSocket-Extensions: x-unknown\r\n"),
        (b"%b", b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=abc\r\n"),
        (b"%b", b"Sec-WebSocket-Extensions: permessage-deflate, permessage-deflate\r\n"),
    ],
)
async def test_an_answer_that_is_none_to_the_request_opens_nothing(accept: bytes, fields: bytes) -> None:
    """A wrong accept key, a subprotocol or an extension that was not offered: an error, and the connection closes."""

    async def script(raw: RawConnection) -> None:
        request = await raw.read_request()
        key = request.headers["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        right = base64.b64encode(hashlib.sha1(key).digest())
        await raw.send_all(ANSWER % (accept.replace(b"%b", right), fields))
        await raw.read_until_closed()

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(HandshakeError) as caught:
            async with client.websocket(server.url + "/", subprotocols=["one"]):
                pass
        assert caught.value.code == 101
        assert client.pool.statistics().connections == 0


@MEMORY
async def test_a_foreign_page_is_kept_out(network: Network) -> None:
    """Same origin by default; more by name; browsers alone on demand."""
    app = App()

    @app.get("/{policy}")
    async def handler(request: Request) -> None:
        policy = request.path_params["policy"]
        origins = {"some": ["https://good.test"], "any": "*"}.get(policy, ())
        async with request.websocket(origins=origins, require_origin=policy == "browsers") as ws:
            await ws.send("in")

    await network.serve(app)
    client = await network.client()

    async def status(policy: str, origin: str | None) -> int:
        try:
            async with client.websocket(f"/{policy}", headers={} if origin is None else {"Origin": origin}) as ws:
                assert await ws.receive() == "in"
                return 101
        except HandshakeError as exc:
            return exc.code

    own = network.url
    assert await status("own", None) == 101
    assert await status("own", own) == 101
    assert await status("own", own.upper()) == 101
    assert await status("own", "https://evil.test") == 403
    assert await status("own", own + ":81") == 403
    assert await status("own", "null") == 403
    assert await status("some", "https://good.test") == 101
    assert await status("some", own) == 101
    assert await status("some", "https://evil.test") == 403
    assert await status("any", "https://evil.test") == 101
    assert await status("browsers", None) == 403
    assert await status("browsers", own) == 101


@MEMORY
async def test_options_of_another_type_are_refused_before_anything_goes_out(network: Network) -> None:
    """A dict, as routes take, is no bounds of a WebSocket: the handshake is answered with 500, and not with 101."""
    app = App()

    @app.get("/")
    async def handler(request: Request) -> None:
        request.websocket(timeouts={"ping_seconds": 5})  # type: ignore[arg-type]

    await network.serve(app, raise_handler_errors=False)
    client = await network.client()
    for wrong in ({"timeouts": {"ping_seconds": 5}}, {"limits": {}}, {"compression": True}):
        with pytest.raises(TypeError, match=r"must be of type"):
            client.websocket("/", **wrong)  # type: ignore[arg-type]
    with pytest.raises(HandshakeError) as caught:
        async with client.websocket("/"):
            pass
    assert caught.value.code == 500
