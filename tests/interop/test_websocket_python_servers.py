"""The client's WebSockets at servers of other Python stacks: websockets and aiohttp, on asyncio loops in threads."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, ClassVar

import aiohttp
import pytest
import trio
import websockets.asyncio.server
from aiohttp import web
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

from triohttp import Client, PerMessageDeflate, WebSocketLimits
from triohttp.errors import HandshakeError, WebSocketClosedError
from triohttp.testing import CertificateAuthority

pytestmark = pytest.mark.interop

MESSAGES: list[str | bytes] = [
    *("", "text", "größer als ASCII, 日本語 🐫", '{"a": [1, 2, 3]}' * 500, "large, grün 🐫 " * 50_000),
    *(b"", b"\x00\xff", bytes(range(256)) * 20, bytes(1_000_000), b"the same again", b"the same again"),
]
OURS = {
    "none": None,
    "default": PerMessageDeflate(),
    "all-kept": PerMessageDeflate(window_bits=15, context_takeover=True, min_bytes=0),
    "small": PerMessageDeflate(window_bits=9, min_bytes=0),
}
CLOSES = [(1000, "done"), (1001, ""), (1011, "it broke"), (3000, "registered"), (4999, "grün " * 20 + "x")]


class Peer:
    """One WebSocket at the server's end, whatever the library."""

    path: str
    compressed: bool
    receive: Callable[[], Awaitable[str | bytes | None]]
    """The next message, None at the end."""
    send: Callable[[str | bytes], Awaitable[None]]
    ping: Callable[[], Awaitable[None]]
    close: Callable[[int, str], Awaitable[None]]
    cut: Callable[[], None]
    ended: Callable[[], tuple[int | None, str | None]]


Serve = Callable[[Peer], Awaitable[None]]


class WithWebsockets:
    """The server of the websockets package."""

    answered_with = None
    """The code of its answer to a close, None for the same one."""
    compressions: ClassVar[dict[str, Any]] = {
        "none": {"compression": None},
        "default": {},
        "nothing-kept": {
            "extensions": [
                ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)
            ]
        },
        "small": {"extensions": [ServerPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=9)]},
    }

    @classmethod
    @asynccontextmanager
    async def open(
        cls, serve: Serve, context: ssl.SSLContext | None, protocols: Sequence[str], compression: str
    ) -> AsyncIterator[str]:
        options = {"ssl": context, "subprotocols": protocols or None, **cls.compressions[compression]}
        handler = partial(cls._handle, serve)
        options |= {"origins": [None, "https://a.test"], "max_size": 4_000_000}
        async with websockets.asyncio.server.serve(handler, "127.0.0.1", 0, **options) as server:
            yield "http{}://{}:{}".format("s" if context else "", *server.sockets[0].getsockname())

    @staticmethod
    async def _handle(serve: Serve, connection: websockets.asyncio.server.ServerConnection) -> None:
        peer = Peer()
        assert connection.request is not None
        peer.path = connection.request.path
        peer.compressed = bool(connection.protocol.extensions)

        async def receive() -> str | bytes | None:
            try:
                return await connection.recv()
            except ConnectionClosed:
                return None

        async def ping() -> None:
            await (await connection.ping(b"are you there?"))

        peer.receive, peer.send, peer.ping, peer.close = receive, connection.send, ping, connection.close
        peer.cut = connection.transport.abort
        peer.ended = lambda: (connection.close_code, connection.close_reason)
        await serve(peer)


class WithAiohttp:
    """The server of aiohttp."""

    answered_with = 1000
    compressions: ClassVar[dict[str, Any]] = {"none": {"compress": False}, "default": {"compress": True}}

    @classmethod
    @asynccontextmanager
    async def open(
        cls, serve: Serve, context: ssl.SSLContext | None, protocols: Sequence[str], compression: str
    ) -> AsyncIterator[str]:
        app = web.Application()

        async def missing(request: web.Request) -> web.Response:
            raise web.HTTPNotFound(text="there is none")

        app.router.add_get("/missing", missing)
        app.router.add_get("/{path}", partial(cls._handle, serve, protocols, cls.compressions[compression]))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
            yield "http{}://{}:{}".format("s" if context else "", *runner.addresses[0])
        finally:
            await runner.cleanup()

    @staticmethod
    async def _handle(
        serve: Serve, protocols: Sequence[str], options: dict[str, Any], request: web.Request
    ) -> web.WebSocketResponse:
        connection = web.WebSocketResponse(protocols=protocols, **options)
        await connection.prepare(request)
        peer = Peer()
        peer.path = request.path
        peer.compressed = bool(connection.compress)
        reason: list[str | None] = []

        async def receive() -> str | bytes | None:
            received = await connection.receive()
            if received.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return received.data
            reason.append(received.extra)
            return None

        async def send(message: str | bytes) -> None:
            await (connection.send_str(message) if isinstance(message, str) else connection.send_bytes(message))

        async def ping() -> None:
            await connection.ping(b"are you there?")  # nobody can wait for the pong while aiohttp answers pings

        async def close(code: int, reason: str) -> None:
            await connection.close(code=code, message=reason.encode())

        def cut() -> None:
            assert request.transport is not None
            request.transport.abort()

        peer.receive, peer.send, peer.ping, peer.close, peer.cut = receive, send, ping, close, cut
        peer.ended = lambda: (connection.close_code, reason[0] if reason else None)
        await serve(peer)
        return connection


SERVERS: dict[str, Any] = {"websockets": WithWebsockets, "aiohttp": WithAiohttp}
each_server = pytest.mark.parametrize("library", SERVERS.values(), ids=SERVERS)


class Running:
    """A server in a thread, and what its end of the WebSockets saw."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.compressed: bool | None = None
        self.ended: tuple[int | None, str | None] | None = None
        self.over = trio.Event()


@asynccontextmanager
async def open_peer(
    library: Any,
    *,
    tls: ssl.SSLContext | None = None,
    protocols: Sequence[str] = (),
    compression: str = "default",
) -> AsyncIterator[Running]:
    """Serve in a thread for a block: an echo, and what the paths /close, /cut and /ping stand for."""
    token = trio.lowlevel.current_trio_token()
    listening = trio.Event()
    running = Running("")
    ends: list[Callable[[], object]] = []

    async def serve(peer: Peer) -> None:
        running.compressed = peer.compressed
        if peer.path == "/ping":
            await peer.ping()
        while (message := await peer.receive()) is not None:
            if peer.path == "/close":
                code, reason = str(message).split(" ", 1)
                await peer.close(int(code), reason)
            elif peer.path == "/cut":
                peer.cut()
            else:
                await peer.send(message)
        running.ended = peer.ended()
        token.run_sync_soon(running.over.set)

    async def main() -> None:
        end = asyncio.Event()
        ends.append(partial(asyncio.get_running_loop().call_soon_threadsafe, end.set))
        async with library.open(serve, tls, protocols, compression) as running.url:
            token.run_sync_soon(listening.set)
            async with asyncio.timeout(25):
                await end.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, lambda: asyncio.run(main()))
        await listening.wait()
        try:
            yield running
        finally:
            ends[0]()


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize(
    ("library", "theirs"),
    [(name, compression) for name, library in SERVERS.items() for compression in library.compressions],
)
async def test_messages_of_every_kind_come_back(library: str, theirs: str, ours: str) -> None:
    """Text and binary, empty and a megabyte, come back the same, compressed where both ends can, however they do it."""
    compressed = "none" not in (ours, theirs)
    async with open_peer(SERVERS[library], compression=theirs) as peer, Client(peer.url) as client:
        async with client.websocket("/echo", compression=OURS[ours]) as ws:
            assert ws.compressed is compressed
            for message in MESSAGES:
                await ws.send(message)
                assert await ws.receive() == message
        assert (ws.close_code, ws.closed_by) == (1000, "self")
        await peer.over.wait()
    assert peer.compressed is compressed


@each_server
async def test_messages_over_tls(library: Any, authority: CertificateAuthority) -> None:
    """The same over TLS, with a certificate that is verified."""
    async with (
        open_peer(library, tls=authority.server_context("127.0.0.1")) as peer,
        Client(peer.url, tls=authority.client_context()) as client,
        client.websocket("/echo") as ws,
    ):
        assert peer.url.startswith("https://")
        for message in MESSAGES:
            await ws.send(message)
            assert await ws.receive() == message


@each_server
async def test_messages_both_ways_at_once(library: Any) -> None:
    """Tasks that send and a task that receives do not wait for each other, and order is kept."""
    sent = [f"{number} " * 500 for number in range(2_000)]
    async with open_peer(library) as peer, Client(peer.url) as client, client.websocket("/echo") as ws:
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                for message in sent:
                    await ws.send(message)

            nursery.start_soon(send)
            assert [await ws.receive() for _ in sent] == sent


@each_server
async def test_a_large_message_in_pieces(library: Any) -> None:
    """A message far above the bound of whole ones is read piece by piece."""
    content = os.urandom(3_000_000)
    limits = WebSocketLimits(max_message_bytes=None, max_fragments=100_000)
    async with open_peer(library) as peer, Client(peer.url) as client:
        async with client.websocket("/echo", limits=limits) as ws:
            await ws.send(content)
            assert b"".join([piece async for piece in ws.receive_chunks()]) == content
            await ws.send("and on")
            assert await ws.receive() == "and on"


@each_server
async def test_pings_are_answered_both_ways(library: Any) -> None:
    """The client measures its pings, and answers the server's."""
    async with open_peer(library) as peer, Client(peer.url) as client, client.websocket("/ping") as ws:
        assert 0 <= await ws.ping() < 20
        await ws.send("hello")  # which the server reads when it has had its own pong
        assert await ws.receive() == "hello"
        assert 0 <= await ws.ping() < 20


@each_server
async def test_subprotocols(library: Any) -> None:
    """The client learns which subprotocol was chosen, and that none was."""
    async with open_peer(library, protocols=["one", "two"]) as peer, Client(peer.url) as client:
        async with client.websocket("/echo", subprotocols=["three", "two"]) as ws:
            assert ws.subprotocol == "two"


@each_server
@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_the_client_closes(library: Any, code: int, reason: str) -> None:
    """The server hears the client's code and reason, and its answer ends the WebSocket without a wait."""
    async with open_peer(library) as peer, Client(peer.url) as client:
        async with client.websocket("/echo") as ws:
            await ws.aclose(code, reason)
            assert (ws.close_code, ws.closed_by) == (library.answered_with or code, "self")
        await peer.over.wait()
    assert peer.ended == (code, reason)


@each_server
@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_the_server_closes(library: Any, code: int, reason: str) -> None:
    """Codes that say that all is well end the loop; any other is an error with the server's code and reason."""
    async with open_peer(library) as peer, Client(peer.url) as client:
        async with client.websocket("/close") as ws:
            await ws.send(f"{code} {reason}")
            if code in (1000, 1001):
                assert [message async for message in ws] == []
            else:
                with pytest.raises(WebSocketClosedError) as caught:
                    await ws.receive()
                assert (caught.value.code, caught.value.reason, caught.value.by) == (code, reason, "peer")
            assert (ws.close_code, ws.close_reason, ws.closed_by) == (code, reason, "peer")
        await peer.over.wait()
        assert client.pool.statistics().connections == 0
    assert peer.ended is not None
    assert peer.ended[0] == code


@each_server
async def test_a_server_that_is_lost(library: Any) -> None:
    """A connection that breaks without a close frame is 1006, and its slot in the pool is free again."""
    async with open_peer(library) as peer, Client(peer.url) as client:
        async with client.websocket("/cut") as ws:
            await ws.send("now")
            with pytest.raises(WebSocketClosedError) as caught:
                await ws.receive()
        assert (caught.value.code, caught.value.by) == (1006, None)
        assert client.pool.statistics().connections == 0


@each_server
async def test_a_message_that_is_too_large(library: Any) -> None:
    """A message above the bound is refused with 1009, though it is small as long as it is compressed."""
    async with open_peer(library) as peer, Client(peer.url) as client:
        limits = WebSocketLimits(max_message_bytes=100_000)
        async with client.websocket("/echo", limits=limits) as ws:
            await ws.send(bytes(1_000_000))
            with pytest.raises(WebSocketClosedError) as caught:
                await ws.receive()
        assert (caught.value.code, caught.value.by) == (1009, "self")
        await peer.over.wait()
    assert peer.ended is not None
    assert peer.ended[0] == 1009


async def test_an_answer_that_opens_no_websocket() -> None:
    """A refusal is an error with its status, and with the content that says why."""
    async with open_peer(WithAiohttp) as peer, Client(peer.url) as client:
        with pytest.raises(HandshakeError) as missing:
            async with client.websocket("/missing"):
                pass
        assert (missing.value.code, missing.value.content) == (404, b"there is none")
    async with open_peer(WithWebsockets) as peer, Client(peer.url) as client:
        with pytest.raises(HandshakeError) as foreign:
            async with client.websocket("/echo", headers={"Origin": "https://b.test"}):
                pass
        assert foreign.value.code == 403
        async with client.websocket("/echo", headers={"Origin": "https://a.test"}) as ws:
            await ws.send("hello")
            assert await ws.receive() == "hello"
