"""WebSocket clients of other Python stacks, websockets and aiohttp on asyncio loops in threads, at the server."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import aiohttp
import pytest
import trio
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from triohttp import App, PerMessageDeflate, Request
from triohttp.errors import WebSocketClosedError
from triohttp.testing import CertificateAuthority

if TYPE_CHECKING:
    from conftest import OpenSite

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


class Over(Exception):
    """There is no further message."""


class WithWebsockets:
    """The client of the websockets package."""

    answered_with = None
    """The code of its answer to a close, None for the same one."""

    compressions: ClassVar[dict[str, Any]] = {
        "none": {"compression": None},
        "default": {},
        "nothing-kept": {
            "extensions": [
                ClientPerMessageDeflateFactory(
                    server_no_context_takeover=True, client_no_context_takeover=True, client_max_window_bits=True
                )
            ]
        },
        "small": {
            "extensions": [ClientPerMessageDeflateFactory(server_max_window_bits=9, client_max_window_bits=9)],
        },
    }

    def __init__(self, connection: websockets.asyncio.client.ClientConnection) -> None:
        self._connection = connection

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, context: ssl.SSLContext | None, protocols: Sequence[str] = (), compression: str = "default"
    ) -> AsyncIterator[WithWebsockets]:
        options = {"ssl": context, "subprotocols": protocols or None, **cls.compressions[compression]}
        async with websockets.asyncio.client.connect(url, proxy=None, **options) as connection:
            yield cls(connection)

    @property
    def subprotocol(self) -> str | None:
        return self._connection.subprotocol

    @property
    def compressed(self) -> bool:
        return bool(self._connection.protocol.extensions)

    @property
    def ended(self) -> tuple[int | None, str | None]:
        return self._connection.close_code, self._connection.close_reason

    async def send(self, message: str | bytes) -> None:
        await self._connection.send(message)

    async def receive(self) -> str | bytes:
        try:
            return await self._connection.recv()
        except ConnectionClosed as exc:
            raise Over from exc

    async def ping(self) -> None:
        await (await self._connection.ping(b"are you there?"))

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    def cut(self) -> None:
        self._connection.transport.abort()

    async def send_fragments(self, pieces: Sequence[str | bytes]) -> None:
        """Send one message in frames, with a ping in front of each."""

        async def each() -> AsyncIterator[str | bytes]:
            for piece in pieces:
                await self._connection.ping()
                yield piece

        await self._connection.send(each())


class WithAiohttp:
    """The client of aiohttp."""

    answered_with = 1000

    compressions: ClassVar[dict[str, Any]] = {
        "none": {"compress": 0},
        "default": {"compress": 15},
        "small": {"compress": 9},
    }

    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection
        self._reason: str | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, context: ssl.SSLContext | None, protocols: Sequence[str] = (), compression: str = "default"
    ) -> AsyncIterator[WithAiohttp]:
        connector = aiohttp.TCPConnector(ssl=context if context is not None else True)
        async with aiohttp.ClientSession(connector=connector) as session:
            async with session.ws_connect(url, protocols=protocols, **cls.compressions[compression]) as connection:
                sock = connection.get_extra_info("socket")
                yield cls(connection)
        async with asyncio.timeout(5):  # aiohttp does not wait until TLS has closed an upgraded connection
            while sock.fileno() != -1:
                await asyncio.sleep(0.01)

    @property
    def subprotocol(self) -> str | None:
        return self._connection.protocol

    @property
    def compressed(self) -> bool:
        return self._connection.compress != 0

    @property
    def ended(self) -> tuple[int | None, str | None]:
        return self._connection.close_code, self._reason

    async def send(self, message: str | bytes) -> None:
        await (self._connection.send_str(message) if isinstance(message, str) else self._connection.send_bytes(message))

    async def receive(self) -> str | bytes:
        received = await self._connection.receive()
        if received.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            return received.data
        self._reason = received.extra
        raise Over

    async def ping(self) -> None:
        await self._connection.ping(b"are you there?")  # nobody can wait for the pong while aiohttp answers pings

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code=code, message=reason.encode())

    def cut(self) -> None:
        transport = self._connection._response.connection.transport
        transport.abort()


CLIENTS: dict[str, Any] = {"websockets": WithWebsockets, "aiohttp": WithAiohttp}
each_client = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)


async def on_asyncio(work: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Run a coroutine function on an asyncio loop in a thread."""

    async def main() -> None:
        async with asyncio.timeout(25):
            await work(*arguments)

    await trio.to_thread.run_sync(lambda: asyncio.run(main()))


class Site:
    """What the clients talk to."""

    def __init__(self, compression: PerMessageDeflate | None = OURS["default"]) -> None:
        self.app = app = App()
        self.compressed: bool | None = None
        self.ended: tuple[int | None, str, str | None] | None = None
        self.over = trio.Event()

        @app.get("/echo")
        async def echo(request: Request) -> None:
            async with request.websocket(subprotocols=["one", "two"], compression=compression) as ws:
                self.compressed = ws.compressed
                try:
                    async for message in ws:
                        await ws.send(message)
                except WebSocketClosedError:
                    pass
                self.ended = (ws.close_code, ws.close_reason, ws.closed_by)
            self.over.set()

        @app.get("/close")
        async def close(request: Request) -> None:
            async with request.websocket() as ws:
                code, reason = str(await ws.receive()).split(" ", 1)
                await ws.aclose(int(code), reason)
                self.ended = (ws.close_code, ws.close_reason, ws.closed_by)
            self.over.set()

        @app.get("/ping")
        async def ping(request: Request) -> None:
            async with request.websocket() as ws, trio.open_nursery() as nursery:

                async def measure() -> None:
                    for _ in range(3):
                        assert 0 <= await ws.ping() < 20
                    await ws.send("three pongs")

                nursery.start_soon(measure)
                assert [message async for message in ws] == ["bye"]


def ws_url(url: str, path: str) -> str:
    return url.replace("http", "ws", 1).rstrip("/") + path


async def echo_all(url: str, open_peer: Callable[[str], Any], compressed: bool) -> None:
    async with open_peer(url) as peer:
        assert peer.compressed is compressed
        for message in MESSAGES:
            await peer.send(message)
            assert await peer.receive() == message
        await peer.close(1000, "")


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize(
    ("client", "theirs"),
    [(name, compression) for name, client in CLIENTS.items() for compression in client.compressions],
)
async def test_messages_of_every_kind_come_back(client: str, theirs: str, ours: str, open_site: OpenSite) -> None:
    """Text and binary, empty and a megabyte, come back the same, compressed where both ends can, however they do it."""
    site = Site(OURS[ours])
    compressed = "none" not in (ours, theirs)
    async with open_site(site.app) as server:
        opener = partial(CLIENTS[client].open, context=None, compression=theirs)
        await on_asyncio(echo_all, ws_url(server.urls[0], "/echo"), opener, compressed)
        await site.over.wait()
    assert site.compressed is compressed
    assert site.ended == (1000, "", "peer")


@each_client
async def test_messages_over_tls(client: Any, open_site: OpenSite, authority: CertificateAuthority) -> None:
    """The same over TLS."""
    site = Site()
    async with open_site(site.app, tls=authority.server_context("127.0.0.1")) as server:
        url = ws_url(server.urls[0], "/echo")
        assert url.startswith("wss://")
        await on_asyncio(echo_all, url, partial(client.open, context=authority.client_context()), True)
        await site.over.wait()
    assert site.ended == (1000, "", "peer")


@each_client
async def test_messages_both_ways_at_once(client: Any, open_site: OpenSite) -> None:
    """A client that sends without waiting for answers gets every one of them, in order."""
    site = Site()
    sent = [f"{number} " * 500 for number in range(2_000)]

    async def main(url: str) -> None:
        async with client.open(url, None) as peer:

            async def send() -> None:
                for message in sent:
                    await peer.send(message)

            async with asyncio.TaskGroup() as group:
                group.create_task(send())
                assert [await peer.receive() for _ in sent] == sent

    async with open_site(site.app) as server:
        await on_asyncio(main, ws_url(server.urls[0], "/echo"))


@pytest.mark.parametrize("ours", OURS)
async def test_fragments_with_pings_between_them(ours: str, open_site: OpenSite) -> None:
    """A message in frames, compressed or not, is one message, though pings come between them."""
    site = Site(OURS[ours])
    text = [f"piece {number}, grün 🐫 " * 200 for number in range(20)]
    data = [bytes([number]) * 3000 for number in range(50)]

    async def main(url: str) -> None:
        async with WithWebsockets.open(url, None) as peer:
            await peer.send_fragments(text)
            assert await peer.receive() == "".join(text)
            await peer.send_fragments(data)
            assert await peer.receive() == b"".join(data)

    async with open_site(site.app) as server:
        await on_asyncio(main, ws_url(server.urls[0], "/echo"))


@each_client
async def test_pings_are_answered_both_ways(client: Any, open_site: OpenSite) -> None:
    """A client's ping gets its pong, and the server's own pings get theirs."""

    async def main(url: str) -> None:
        async with client.open(url, None) as peer:
            await peer.ping()
            assert await peer.receive() == "three pongs"
            await peer.ping()
            await peer.send("bye")

    async with open_site(Site().app) as server:
        await on_asyncio(main, ws_url(server.urls[0], "/ping"))


async def test_aiohttp_gets_the_pong_it_asked_for(open_site: OpenSite) -> None:
    """A pong carries the bytes of its ping, in turn with the messages."""

    async def main(url: str) -> None:
        async with aiohttp.ClientSession() as session, session.ws_connect(url, autoping=False) as connection:
            await connection.ping(b"12345")
            received = await connection.receive()
            assert (received.type, bytes(received.data)) == (aiohttp.WSMsgType.PONG, b"12345")

    async with open_site(Site().app) as server:
        await on_asyncio(main, ws_url(server.urls[0], "/echo"))


@each_client
@pytest.mark.parametrize(
    ("offered", "chosen"), [(["two", "one"], "two"), (["three", "one"], "one"), (["three"], None), ([], None)]
)
async def test_subprotocols(client: Any, offered: list[str], chosen: str | None, open_site: OpenSite) -> None:
    """The first of the client's subprotocols that the server speaks is chosen, none when there is none."""

    async def main(url: str) -> None:
        async with client.open(url, None, offered) as peer:
            assert peer.subprotocol == chosen
            await peer.send("hello")
            assert await peer.receive() == "hello"

    async with open_site(Site().app) as server:
        await on_asyncio(main, ws_url(server.urls[0], "/echo"))


@each_client
@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_the_client_closes(client: Any, code: int, reason: str, open_site: OpenSite) -> None:
    """The handler hears the client's code and reason, and the client gets its code back."""
    site = Site()

    async def main(url: str) -> None:
        async with client.open(url, None) as peer:
            await peer.close(code, reason)
            assert peer.ended[0] == code

    async with open_site(site.app) as server:
        await on_asyncio(main, ws_url(server.urls[0], "/echo"))
        await site.over.wait()
    assert site.ended == (code, reason, "peer")


@each_client
@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_the_server_closes(client: Any, code: int, reason: str, open_site: OpenSite) -> None:
    """The client hears the handler's code and reason, and its answer ends the WebSocket without a wait."""
    site = Site()

    async def main(url: str) -> None:
        async with client.open(url, None) as peer:
            await peer.send(f"{code} {reason}")
            with pytest.raises(Over):
                await peer.receive()
            assert peer.ended == (code, reason)

    async with open_site(site.app) as server:
        await on_asyncio(main, ws_url(server.urls[0], "/close"))
        await site.over.wait()
    assert site.ended is not None
    assert site.ended[0] == (client.answered_with or code)  # the code that came from the peer (RFC 6455 §7.1.5)
    assert site.ended[2] == "self"


@each_client
async def test_a_client_that_is_lost(client: Any, open_site: OpenSite) -> None:
    """A connection that breaks without a close frame is 1006 for the handler."""
    site = Site()

    async def main(url: str) -> None:
        async with client.open(url, None) as peer:
            await peer.send("hello")
            assert await peer.receive() == "hello"
            peer.cut()

    async with open_site(site.app) as server:
        await on_asyncio(main, ws_url(server.urls[0], "/echo"))
        await site.over.wait()
    assert site.ended is not None
    assert (site.ended[0], site.ended[2]) == (1006, None)


@each_client
async def test_a_message_that_is_too_large(client: Any, open_site: OpenSite) -> None:
    """A message above the bound is refused with 1009, though it is small as long as it is compressed."""
    site = Site()

    async def main(url: str) -> None:
        async with client.open(url, None) as peer:
            await peer.send(bytes(2_000_000))
            with pytest.raises(Over):
                await peer.receive()
            assert peer.ended[0] == 1009

    async with open_site(site.app) as server:
        await on_asyncio(main, ws_url(server.urls[0], "/echo"))
        await site.over.wait()
    assert site.ended is not None
    assert (site.ended[0], site.ended[2]) == (1009, "self")


@each_client
async def test_a_shutdown_says_goodbye(client: Any, open_site: OpenSite) -> None:
    """Clients of a server that shuts down get 1001, and the shutdown does not wait for more than their answers."""
    connected = trio.Event()
    app = App()

    @app.get("/wait")
    async def wait(request: Request) -> None:
        async with request.websocket() as ws:
            connected.set()
            assert [message async for message in ws] == []
            assert (ws.close_code, ws.closed_by) == (client.answered_with or 1001, "self")

    async def main(url: str) -> None:
        async with client.open(url, None) as peer:
            with pytest.raises(Over):
                await peer.receive()
            assert peer.ended[0] == 1001

    async with open_site(app) as server, trio.open_nursery() as nursery:
        nursery.start_soon(on_asyncio, main, ws_url(server.urls[0], "/wait"))
        await connected.wait()
        with trio.fail_after(10):
            await server.shutdown(grace=20)


async def test_what_opens_no_websocket(open_site: OpenSite) -> None:
    """A page of another host gets 403, a path that is none 404, each as an answer that clients understand."""
    site = Site()

    async def main(url: str) -> None:
        for path, origin, status in (("/echo", "https://evil.test", 403), ("/missing", None, 404)):
            with pytest.raises(InvalidStatus) as caught:
                async with websockets.asyncio.client.connect(url + path, origin=origin, proxy=None):
                    pass
            assert caught.value.response.status_code == status
            headers = {} if origin is None else {"Origin": origin}
            async with aiohttp.ClientSession(headers=headers) as session:
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await session.ws_connect(url + path)
            assert refused.value.status == status

    async with open_site(site.app) as server:
        await on_asyncio(main, ws_url(server.urls[0], ""))
