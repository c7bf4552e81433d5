"""npm's ws as a WebSocket client of the server, and as a server for the client.

``npm install ws`` in any directory puts it into that one's ``node_modules``, which ``NODE_PATH`` then has to name.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from triohttp import App, Client, PerMessageDeflate, Request
from triohttp.errors import HandshakeError, WebSocketClosedError
from triohttp.testing import CertificateAuthority

if TYPE_CHECKING:
    from conftest import OpenSite, Programs

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
THEIRS: dict[str, Any] = {
    "none": {"perMessageDeflate": False},
    "default": {"perMessageDeflate": True},
    "all-compressed": {"perMessageDeflate": {"threshold": 0}},
    "nothing-kept": {
        "perMessageDeflate": {"threshold": 0, "serverNoContextTakeover": True, "clientNoContextTakeover": True}
    },
    "small": {"perMessageDeflate": {"threshold": 0, "serverMaxWindowBits": 10, "clientMaxWindowBits": 9}},
}
CLOSES = [(1000, "done"), (1001, ""), (1011, "it broke"), (3000, "registered"), (4999, "grün " * 20 + "x")]


@pytest.fixture
def programs(programs: Programs) -> Programs:
    """What runs programs for this test; ws is one of them."""
    programs.need_node_package("ws")
    return programs


class Site:
    """What node_websocket_client.js talks to."""

    def __init__(self, compression: PerMessageDeflate | None = OURS["default"]) -> None:
        self.app = app = App()
        self.compressed: bool | None = None
        self.ended: tuple[int | None, str, str | None] | None = None
        self.waiting, self.over = trio.Event(), trio.Event()

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
                assert [message async for message in ws] == []

        @app.get("/wait")
        async def wait(request: Request) -> None:
            async with request.websocket() as ws:
                self.waiting.set()
                assert [message async for message in ws] == []
                self.ended = (ws.close_code, ws.close_reason, ws.closed_by)


async def ask_node(programs: Programs, scenario: str, url: str, **options: object) -> object:
    """Return what a scenario of node_websocket_client.js reports."""
    url = url.replace("http", "ws", 1).rstrip("/")
    return json.loads((await programs.node("node_websocket_client.js", scenario, url, json.dumps(options))).output)


@asynccontextmanager
async def open_client(programs: Programs, **options: object) -> AsyncIterator[Client]:
    """A client of a server on ws that lives as long as the block."""
    script = programs.beside_tests("node_websocket_server.js")
    async with programs.beside("node", script, json.dumps(options)) as node:
        async with Client(f"http://127.0.0.1:{node.line}") as client:
            yield client


@pytest.mark.parametrize("ours", OURS)
@pytest.mark.parametrize("theirs", THEIRS)
async def test_messages_of_ws_come_back(theirs: str, ours: str, programs: Programs, open_site: OpenSite) -> None:
    """Text and binary, empty and a megabyte, come back the same, compressed where both ends can, however they do it."""
    site = Site(OURS[ours])
    compressed = "none" not in (ours, theirs)
    async with open_site(site.app) as server:
        assert await ask_node(programs, "echo", server.urls[0], **THEIRS[theirs]) == {
            "compressed": compressed,
            "same": [True] * len(MESSAGES),
            "closed": [1000, ""],
        }
        await site.over.wait()
    assert site.compressed is compressed
    assert site.ended == (1000, "", "peer")


@pytest.mark.parametrize("scenario", ["many", "fragments"])
async def test_streams_of_messages(scenario: str, programs: Programs, open_site: OpenSite) -> None:
    """Two thousand messages both ways at once, and a message in frames with pings between them, arrive as sent."""
    async with open_site(Site().app) as server:
        assert await ask_node(programs, scenario, server.urls[0]) is True


async def test_messages_over_tls(programs: Programs, open_site: OpenSite, authority: CertificateAuthority) -> None:
    """The same over TLS, with a certificate that ws verifies."""
    site = Site()
    async with open_site(site.app, tls=authority.server_context("127.0.0.1")) as server:
        seen = await ask_node(programs, "echo", server.urls[0], ca=authority.pem.decode())
    assert seen == {"compressed": True, "same": [True] * len(MESSAGES), "closed": [1000, ""]}


async def test_pings_are_answered_both_ways(programs: Programs, open_site: OpenSite) -> None:
    """A pong carries the bytes of its ping, and the server's own pings get theirs."""
    async with open_site(Site().app) as server:
        seen = await ask_node(programs, "pings", server.urls[0])
    assert seen == {"pong": "are you there?", "received": "three pongs", "pings": 3}


@pytest.mark.parametrize(("offered", "chosen"), [(["three", "two", "one"], "two"), ([], "")])
async def test_subprotocols(offered: list[str], chosen: str, programs: Programs, open_site: OpenSite) -> None:
    """The first of the client's subprotocols that the server speaks is chosen."""
    async with open_site(Site().app) as server:
        assert await ask_node(programs, "protocol", server.urls[0], protocols=offered) == chosen


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_ws_closes(code: int, reason: str, programs: Programs, open_site: OpenSite) -> None:
    """The handler hears the client's code and reason, and the client gets its code back."""
    site = Site()
    async with open_site(site.app) as server:
        assert await ask_node(programs, "close", server.urls[0], code=code, reason=reason) == code
        await site.over.wait()
    assert site.ended == (code, reason, "peer")


async def test_ws_closes_without_a_code(programs: Programs, open_site: OpenSite) -> None:
    """An empty close frame is answered with one: both ends call that 1005."""
    site = Site()
    async with open_site(site.app) as server:
        assert await ask_node(programs, "close", server.urls[0]) == 1005
        await site.over.wait()
    assert site.ended == (1005, "", "peer")


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_the_server_closes(code: int, reason: str, programs: Programs, open_site: OpenSite) -> None:
    """The client hears the handler's code and reason, and answers with the code."""
    site = Site()
    async with open_site(site.app) as server:
        assert await ask_node(programs, "closed", server.urls[0], code=code, reason=reason) == [code, reason]
        await site.over.wait()
    assert site.ended is not None
    assert (site.ended[0], site.ended[2]) == (code, "self")


@pytest.mark.parametrize(("scenario", "code", "by"), [("terminate", 1006, None), ("tooLarge", 1009, "self")])
async def test_ends_that_are_not_fine(
    scenario: str, code: int, by: str | None, programs: Programs, open_site: OpenSite
) -> None:
    """A client that drops its connection is 1006 for the handler; one that sends too much is told 1009."""
    site = Site()
    async with open_site(site.app) as server:
        assert await ask_node(programs, scenario, server.urls[0]) == code
        await site.over.wait()
    assert site.ended is not None
    assert (site.ended[0], site.ended[2]) == (code, by)


async def test_a_shutdown_says_goodbye(programs: Programs, open_site: OpenSite) -> None:
    """Clients of a server that shuts down get 1001, and the shutdown waits for their answers only."""
    site = Site()
    seen: list[object] = []
    async with open_site(site.app) as server, trio.open_nursery() as nursery:

        async def connect() -> None:
            seen.append(await ask_node(programs, "shutdown", server.urls[0]))

        nursery.start_soon(connect)
        await site.waiting.wait()
        with trio.fail_after(10):
            await server.shutdown(grace=20)
    assert seen == [[1001, ""]]
    assert site.ended == (1001, "", "self")


async def test_what_opens_no_websocket(programs: Programs, open_site: OpenSite) -> None:
    """A page of another host gets 403, a path that is none 404."""
    async with open_site(Site().app) as server:
        assert await ask_node(programs, "refused", server.urls[0]) == [403, 404]


@pytest.mark.parametrize("theirs", THEIRS)
async def test_messages_to_a_server_on_ws(theirs: str, programs: Programs) -> None:
    """Text and binary, empty and a megabyte, come back the same, with every way of ours to compress."""
    async with open_client(programs, **THEIRS[theirs]) as client:
        for name, compression in OURS.items():
            async with client.websocket("/echo", compression=compression) as ws:
                assert ws.compressed is ("none" not in (name, theirs))
                for message in MESSAGES:
                    await ws.send(message)
                    assert await ws.receive() == message
            assert (ws.close_code, ws.closed_by) == (1000, "self")
            assert (await client.get("/ended")).json() == [1000, ""]


@pytest.mark.parametrize("theirs", ["none", "all-compressed", "nothing-kept"])
async def test_fragments_of_ws(theirs: str, programs: Programs) -> None:
    """A message in frames, compressed or not, is one message, though pings come between them."""
    async with open_client(programs, **THEIRS[theirs]) as client, client.websocket("/fragments") as ws:
        for message in ("ASCII only " * 8000, bytes(range(256)) * 400):
            await ws.send(message)
            assert await ws.receive() == message


async def test_messages_both_ways_at_once(programs: Programs) -> None:
    """Tasks that send and a task that receives do not wait for each other, and order is kept."""
    sent = [f"{number} " * 500 for number in range(2_000)]
    async with open_client(programs) as client, client.websocket("/echo") as ws, trio.open_nursery() as nursery:

        async def send() -> None:
            for message in sent:
                await ws.send(message)

        nursery.start_soon(send)
        assert [await ws.receive() for _ in sent] == sent


async def test_pings_of_both_ends(programs: Programs) -> None:
    """The client measures its pings, and answers the server's."""
    async with open_client(programs) as client, client.websocket("/ping") as ws:
        assert await ws.receive() == "pong: are you there?"
        assert 0 <= await ws.ping() < 20


async def test_a_subprotocol_is_chosen(programs: Programs) -> None:
    """The client learns which subprotocol was chosen."""
    async with open_client(programs) as client:
        async with client.websocket("/echo", subprotocols=["three", "two"]) as ws:
            assert ws.subprotocol == "two"


@pytest.mark.parametrize(("code", "reason"), CLOSES)
async def test_closes_of_both_ends(code: int, reason: str, programs: Programs) -> None:
    """Code and reason arrive at the other end, whoever closes."""
    async with open_client(programs) as client:
        async with client.websocket("/echo") as ws:
            await ws.aclose(code, reason)
            assert (ws.close_code, ws.closed_by) == (code, "self")
        assert (await client.get("/ended")).json() == [code, reason]

        async with client.websocket("/close") as ws:
            await ws.send(f"{code} {reason}")
            if code in (1000, 1001):
                assert [message async for message in ws] == []
            else:
                with pytest.raises(WebSocketClosedError) as caught:
                    await ws.receive()
                assert (caught.value.code, caught.value.reason, caught.value.by) == (code, reason, "peer")
            assert (ws.close_code, ws.close_reason, ws.closed_by) == (code, reason, "peer")
        ended = (await client.get("/ended")).json()
        assert isinstance(ended, list)
        assert ended[0] == code


async def test_ends_without_a_code(programs: Programs) -> None:
    """A close without a code ends the loop and is 1005; a connection that is cut is an error and 1006."""
    async with open_client(programs) as client:
        async with client.websocket("/close") as ws:
            await ws.send(" ")
            assert [message async for message in ws] == []
        assert (ws.close_code, ws.closed_by) == (1005, "peer")
        async with client.websocket("/cut") as ws:
            await ws.send("now")
            with pytest.raises(WebSocketClosedError) as caught:
                await ws.receive()
        assert (caught.value.code, caught.value.by) == (1006, None)


async def test_a_server_on_ws_that_refuses(programs: Programs) -> None:
    """A refusal is an error with its status."""
    async with open_client(programs) as client:
        with pytest.raises(HandshakeError) as caught:
            async with client.websocket("/echo", headers={"Origin": "https://evil.test"}):
                pass
        assert caught.value.code == 401
