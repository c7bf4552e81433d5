"""EventSource and WebSocket of Chromium: what a page hears, also when a stream is cut or the server shuts down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
import trio
from browser import Report

from triohttp import App, Broadcast, Event, Handler, PerMessageDeflate, Request, Response
from triohttp.errors import WebSocketClosedError
from triohttp.testing import CertificateAuthority

if TYPE_CHECKING:
    from conftest import OpenSite, Programs

pytestmark = [pytest.mark.interop, pytest.mark.wall_seconds(90)]

OURS = {
    "none": None,
    "default": PerMessageDeflate(),
    "all-kept": PerMessageDeflate(window_bits=15, context_takeover=True, min_bytes=0),
    "small": PerMessageDeflate(window_bits=9, min_bytes=0),
}
MESSAGES = 11
"""Those of the page."""
over_http_and_https = pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])


class Home:
    """An app that has the page, and hears what it tells."""

    def __init__(self, programs: Programs) -> None:
        self.app = app = App()
        self.report = Report(app)
        self.ready = trio.Event()
        self._programs = programs
        page = programs.beside_tests("browser_streams.html").read_text(encoding="utf-8")

        @app.get("/")
        async def index(request: Request) -> Response:
            return Response.html(page)

        @app.post("/ready")
        async def ready(request: Request) -> Response:
            self.ready.set()
            return Response(status=204)

    async def play(self, url: str, scenario: str, *, to: str | None = None, paths: Sequence[str] = ()) -> object:
        """Have the page play a scenario, with this server or with the one at ``to``; return what it has seen."""
        query = [("scenario", scenario), *(("path", path) for path in paths)]
        if to is not None:
            query.append(("to", to.rstrip("/")))
        return await self.report.of(f"{url.rstrip('/')}/?{urlencode(query)}", self._programs)


@over_http_and_https
async def test_events_arrive_as_they_were_sent(
    secure: bool, programs: Programs, open_site: OpenSite, authority: CertificateAuthority
) -> None:
    """Lines, ids, types and every kind of character, and a page that closes its EventSource ends the handler."""
    home = Home(programs)
    left = trio.Event()

    @home.app.get("/events")
    async def events(request: Request) -> None:
        try:
            async with request.events() as channel:
                await channel.send("plain")
                await channel.comment("nobody sees this")
                await channel.send(Event("one\ntwo\n\nfour\n", id="7"))
                await channel.send(Event("  spaces: kept ", type="custom"))
                await channel.send(Event("größer, 日本語 🐫", type="größe", id="größe-8"))
                await channel.send("")
                await channel.send(Event("data: not a field\r\nid: 9\rretry: 1", id=""))
                await channel.send("x" * 1_000_000)
                await channel.send(Event(type="end"))
                await trio.sleep_forever()
        finally:
            left.set()

    tls = authority.server_context("127.0.0.1") if secure else None
    async with open_site(home.app, tls=tls) as server:
        assert await home.play(server.urls[0], "events") == {
            "opened": 1,
            "events": [
                ["message", "plain", ""],
                ["message", "one\ntwo\n\nfour\n", "7"],
                ["custom", "  spaces: kept ", "7"],
                ["größe", "größer, 日本語 🐫", "größe-8"],
                ["message", "", "größe-8"],
                ["message", "data: not a field\nid: 9\nretry: 1", ""],
                ["message", "x" * 1_000_000, ""],
            ],
        }
        await left.wait()


async def test_nothing_is_lost_over_reconnects(programs: Programs, open_site: OpenSite) -> None:
    """A page whose stream ends, or is cut, connects again with its last id, and a broadcast goes on from there."""
    home = Home(programs)
    hub = Broadcast()
    asked: list[str | None] = []
    ids: list[str] = []

    async def publish(count: int) -> None:
        for _ in range(count):
            ids.append(await hub.publish("numbers", str(len(ids))))

    @home.app.get("/events")
    async def events(request: Request) -> None:
        connection = len(asked)
        asked.append(request.last_event_id)
        async with (
            hub.subscribe("numbers", after=request.last_event_id) as numbers,
            request.events(retry_ms=10) as channel,
        ):
            if connection == 0:
                await publish(4)
            for _ in range((3, 7, 20)[connection]):
                number = await numbers.receive()
                await channel.send(Event(number.data, id=number.id))
            if connection == 2:
                await channel.send(Event(type="end"))
                await trio.sleep_forever()
            await publish(13)  # while nobody is connected, for what this page knows
            if connection == 1:
                request.exchange.cut()

    async with hub, open_site(home.app) as server:
        seen = await home.play(server.urls[0], "events")
    assert asked == [None, ids[2], ids[9]]
    assert seen == {"opened": 3, "events": [["message", str(n), ids[n]] for n in range(30)]}


@over_http_and_https
async def test_messages_of_every_kind_come_back(
    secure: bool, programs: Programs, open_site: OpenSite, authority: CertificateAuthority
) -> None:
    """Text, binary, blobs and a megabyte come back the same, with every way of ours to compress."""
    home = Home(programs)
    ended: list[tuple[int | None, str, str | None]] = []

    @home.app.get("/echo/{name}")
    async def echo(request: Request) -> None:
        compression = OURS[request.path_params["name"]]
        async with request.websocket(compression=compression) as ws:
            assert ws.compressed is (compression is not None)  # Chromium always offers it
            with pytest.raises(WebSocketClosedError):
                async for message in ws:
                    await ws.send(message)
            ended.append((ws.close_code, ws.close_reason, ws.closed_by))

    tls = authority.server_context("127.0.0.1") if secure else None
    async with open_site(home.app, tls=tls) as server:
        seen = await home.play(server.urls[0], "messages", paths=[f"/echo/{name}" for name in OURS])
    assert isinstance(seen, dict)
    for name in OURS:
        one = seen[f"/echo/{name}"]
        assert one["extensions"].startswith("permessage-deflate") is (name != "none")
        assert one["back"] == [*[True] * MESSAGES, "of a blob"]
        assert one["inOrder"]
        assert one["closed"] == [3001, "", True]
    assert ended == [(3001, "grüße", "peer")] * len(OURS)


async def test_ends_of_websockets(programs: Programs, open_site: OpenSite) -> None:
    """Subprotocols, codes and reasons reach the page; a browser that is gone ends the handler."""
    home = Home(programs)
    gone = trio.Event()

    @home.app.get("/protocol")
    async def protocol(request: Request) -> None:
        async with request.websocket(subprotocols=["one", "two"]) as ws:
            with pytest.raises((trio.EndOfChannel, WebSocketClosedError)):
                await ws.receive()

    @home.app.get("/closed")
    async def closed(request: Request) -> None:
        async with request.websocket() as ws:
            await ws.aclose(4001, "grüße vom Server")

    @home.app.get("/gone")
    async def until_gone(request: Request) -> None:
        async with request.websocket() as ws:
            with pytest.raises((trio.EndOfChannel, WebSocketClosedError)):
                await ws.receive()
            assert ws.close_code in (1001, 1006)  # the page had the time to say so, or not
        gone.set()

    async with open_site(home.app) as server:
        assert await home.play(server.urls[0], "ends") == {
            "protocol": "two",
            "closed": [4001, "grüße vom Server", True],
            "left": [1005, "", True],
            "large": [1009, "a message passes max_message_bytes=1048576", True],
        }
        await gone.wait()


async def test_pages_of_other_hosts_stay_out(programs: Programs, open_site: OpenSite) -> None:
    """A page of another origin gets 403 for a WebSocket, and no events, unless the handler lets it in."""
    home, target = Home(programs), App()
    answered: list[tuple[str, int]] = []

    @target.middleware
    async def record(request: Request, handler: Handler) -> Response:
        request.on_head(lambda head: answered.append((request.path, head.status)))
        return await handler(request)

    @target.get("/guarded")
    async def guarded(request: Request) -> None:
        async with request.websocket():
            pytest.fail("this page should not have come in")

    @target.get("/events")
    async def events(request: Request) -> Response:
        return Response.text("data: secret\n\n", headers={"Content-Type": "text/event-stream"})

    async with open_site(home.app) as server, open_site(target) as other:
        assert await home.play(server.urls[0], "foreign", to=other.urls[0]) == {
            "refused": [1006, "", False],
            "events": 2,  # CLOSED: it does not try again
        }
    assert answered == [("/guarded", 403), ("/events", 200)]


async def test_a_shutdown_reaches_the_page(programs: Programs, open_site: OpenSite) -> None:
    """The page's WebSocket is closed with 1001 and its events end, while handlers leave their blocks in order."""
    home, target = Home(programs), App()
    handlers: list[str] = []

    async with open_site(home.app) as server, open_site(target) as other:
        origin = server.urls[0].rstrip("/")

        @target.get("/wait")
        async def wait(request: Request) -> None:
            async with request.websocket(origins=[origin]) as ws:
                assert [message async for message in ws] == []
                assert (ws.close_code, ws.closed_by) == (1001, "self")
            handlers.append("websocket")

        @target.get("/ticks")
        async def ticks(request: Request) -> None:
            async with request.events(headers={"Access-Control-Allow-Origin": origin}) as channel:
                await channel.send("tick")
                await trio.sleep_forever()
            handlers.append("events")

        async with trio.open_nursery() as nursery:

            async def shut_down() -> None:
                await home.ready.wait()
                with trio.fail_after(10):
                    await other.shutdown(grace=20)

            nursery.start_soon(shut_down)
            assert await home.play(origin, "shutdown", to=other.urls[0]) == {
                "closed": [1001, "", True],
                "ended": 0,  # CONNECTING: it would try again
            }
    assert sorted(handlers) == ["events", "websocket"]
