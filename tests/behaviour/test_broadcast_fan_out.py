"""One message to many clients over real connections: WebSockets and event streams, the slow ones included."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Broadcast, Event, Gap, Published, Request, WebSocket

if TYPE_CHECKING:
    from conftest import Network

HANDSHAKE = (
    b"GET /chat/silent HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def make_chat(hub: Broadcast) -> App:
    """A room that says who comes and who leaves."""
    app = App()

    @app.get("/chat/{name}")
    async def chat(request: Request) -> None:
        name = request.path_params["name"]
        async with request.websocket() as ws, hub.subscribe("room") as items, trio.open_nursery() as nursery:

            async def forward() -> None:
                async for item in items:
                    await ws.send(item.text if isinstance(item, Published) else f"(missed: {item.why})")

            nursery.start_soon(forward)
            await hub.publish("room", f"{name} comes")
            try:
                async for message in ws:
                    await hub.publish("room", message)
            finally:
                with trio.move_on_after(1, shield=True):
                    await hub.publish("room", f"{name} leaves")
            nursery.cancel_scope.cancel()

    return app


@pytest.mark.parametrize("network", ["memory", "tcp"], indirect=True)
async def test_a_client_that_stopped_reading_holds_up_nobody(network: Network) -> None:
    """Three clients of a chat, one never reads: the other two exchange a thousand messages, and see it leave."""
    async with Broadcast() as hub:
        await network.serve(make_chat(hub))
        client = await network.client()
        silent = await network.open_raw()
        await silent.send_all(HANDSHAKE)
        assert (await silent.read_response()).status == 101
        async with client.websocket("/chat/alice") as alice, client.websocket("/chat/bob") as bob:
            while await alice.receive() != "bob comes":
                pass
            assert await bob.receive() == "bob comes"

            filling = random.Random(0).randbytes(8000).hex()  # more than fits between the two ends, compressed or not

            async def talk(ws: WebSocket, name: str) -> None:
                for number in range(500):
                    message = f"{name} {number} {filling}"
                    await ws.send(message)
                    while await ws.receive() != message:
                        pass

            async with trio.open_nursery() as nursery:
                nursery.start_soon(talk, alice, "alice")
                nursery.start_soon(talk, bob, "bob")
            statistics = hub.statistics()
            assert statistics.subscriptions == 3
            assert statistics.pending <= 3 * 66
            assert statistics.dropped > 0
            silent.reset()
            for ws in (alice, bob):
                with trio.fail_after(60):
                    while await ws.receive() != "silent leaves":
                        pass
        while hub.statistics().subscriptions:
            await trio.sleep(0.01)


@pytest.mark.parametrize("network", ["memory"], indirect=True)
async def test_event_streams_resume_where_they_were_cut(network: Network) -> None:
    """Each connection is ended after a few events: with its last id, a client gets every message, once and in order."""
    hub = Broadcast()
    app = App()

    @app.get("/news")
    async def news(request: Request) -> None:
        sent = 0
        async with (
            request.events(retry_ms=10) as events,
            hub.subscribe("a", "b", after=request.last_event_id) as items,
        ):
            async for item in items:
                if isinstance(item, Gap):
                    await events.send(Event(item.why, type="gap"))
                else:
                    await events.send(Event(item.text, id=item.id, type=item.topic))
                sent += 1
                if sent == 7:
                    return

    async with hub:
        await network.serve(app)
        client = await network.client()
        received: dict[int, list[str]] = {}

        async def listen(number: int, ready: trio.Event) -> None:
            got = received[number] = []
            async with client.events("/news") as events:
                while len(got) < 100:
                    event = await events.receive()
                    assert event.type == "ab"[int(event.data) % 2]
                    got.append(event.data)
                    ready.set()

        async with trio.open_nursery() as nursery:
            ready = [trio.Event() for _ in range(10)]
            for number, event in enumerate(ready):
                nursery.start_soon(listen, number, event)
            while hub.statistics().subscriptions < 10:
                await trio.sleep(0.01)
            await hub.publish("a", "0")
            for event in ready:
                await event.wait()
            for number in range(1, 100):
                await hub.publish("ab"[number % 2], str(number))
                await trio.sleep(0.005)
        expected = [str(number) for number in range(100)]
        assert all(got == expected for got in received.values())
        assert len(received) == 10


@pytest.mark.parametrize("network", ["memory"], indirect=True)
async def test_a_drain_ends_what_waits_for_messages(network: Network) -> None:
    """Handlers that wait for a message do not hold up the end of a server, and leave the hub."""
    hub = Broadcast()
    app = App()

    @app.get("/news")
    async def news(request: Request) -> None:
        async with request.events() as events, hub.subscribe("a") as items:
            async for item in items:
                assert isinstance(item, Published)
                await events.send(item.text)

    async with hub:
        server = await network.serve(app)
        client = await network.client()
        async with client.events("/news", reconnect=False) as events:
            while not hub.statistics().subscriptions:
                await trio.sleep(0.01)
            await hub.publish("a", "1")
            assert (await events.receive()).data == "1"
            start = trio.current_time()
            await server.server.shutdown(grace=60)
            assert trio.current_time() - start < 5
            assert hub.statistics().subscriptions == 0
            with pytest.raises(trio.EndOfChannel):
                await events.receive()
