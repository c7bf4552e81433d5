"""Streams through nginx: WebSockets, and events where nginx may collect what passes unless it is asked not to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from nginx_front import URL, behind_nginx

from triohttp import App, Event, Request
from triohttp.errors import HandshakeError, WebSocketClosedError

if TYPE_CHECKING:
    from conftest import OpenSite, Programs

pytestmark = pytest.mark.interop


async def test_websockets(programs: Programs, open_site: OpenSite) -> None:
    """Messages of every kind, pings, closes and refusals pass through in both directions."""
    app = App()
    ended: list[tuple[int | None, str, str | None]] = []

    @app.get("/echo")
    async def echo(request: Request) -> None:
        async with request.websocket(subprotocols=["echo"]) as ws:
            with pytest.raises(WebSocketClosedError):
                async for message in ws:
                    await ws.send(message)
            ended.append((ws.close_code, ws.close_reason, ws.closed_by))

    @app.get("/close")
    async def close(request: Request) -> None:
        async with request.websocket() as ws:
            await ws.aclose(4001, "that was all")

    async with behind_nginx(app, programs, open_site) as (client, _):
        async with client.websocket("/echo", subprotocols=["echo"], headers={"Origin": URL}) as ws:
            assert (ws.subprotocol, ws.compressed) == ("echo", True)
            for message in ("text", b"\x00\xff", "größer 🐫 " * 50_000, bytes(1_000_000)):
                await ws.send(message)
                assert await ws.receive() == message
            assert 0 <= await ws.ping() < 20
            await ws.aclose(4000, "enough")
        async with client.websocket("/close") as ws:
            with pytest.raises(WebSocketClosedError):
                await ws.receive()
        assert (ws.close_code, ws.close_reason, ws.closed_by) == (4001, "that was all", "peer")
        with pytest.raises(HandshakeError) as caught:
            async with client.websocket("/echo", headers={"Origin": "https://evil.test"}):
                pass
        assert caught.value.code == 403
    assert ended == [(4000, "enough", "peer")]


async def test_events_are_not_collected(programs: Programs, open_site: OpenSite) -> None:
    """Each event arrives before the next one is sent, at a place where nginx may collect answers."""
    app = App()
    arrived = [trio.Event() for _ in range(5)]
    left = trio.Event()

    @app.get("/events")
    async def numbers(request: Request) -> None:
        try:
            async with request.events() as events:
                for number, event in enumerate(arrived):
                    await events.send(Event(str(number), id=str(number)))
                    await event.wait()
                await trio.sleep_forever()
        finally:
            left.set()

    async with behind_nginx(app, programs, open_site) as (client, _):
        async with client.events("/collected/events") as events:
            for number, event in enumerate(arrived):
                assert (await events.receive()).data == str(number)
                event.set()
        await left.wait()  # nginx hears that its client is gone, and so does the handler


async def test_a_shutdown_reaches_the_client(programs: Programs, open_site: OpenSite) -> None:
    """Behind nginx, too, a shutdown is 1001 for a WebSocket, and the proper end of a stream of events."""
    app = App()
    handlers: list[str] = []

    @app.get("/wait")
    async def wait(request: Request) -> None:
        async with request.websocket() as ws:
            assert [message async for message in ws] == []
        handlers.append("websocket")

    @app.get("/ticks")
    async def ticks(request: Request) -> None:
        async with request.events() as events:
            await events.send("tick")
            await trio.sleep_forever()
        handlers.append("events")

    async with behind_nginx(app, programs, open_site) as (client, server):
        async with client.websocket("/wait") as ws, client.events("/ticks", reconnect=False) as events:
            assert (await events.receive()).data == "tick"
            async with trio.open_nursery() as nursery:

                async def shut_down() -> None:
                    with trio.fail_after(10):
                        await server.shutdown(grace=20)

                nursery.start_soon(shut_down)
                assert [message async for message in ws] == []
                assert (ws.close_code, ws.closed_by) == (1001, "peer")
                assert [event async for event in events] == []
    assert sorted(handlers) == ["events", "websocket"]
