"""Thousands of streams of one process: the slow do not hold up the quick, the dead are found, and nothing grows.

In memory and on a virtual clock, where minutes pass in no time.
"""

from __future__ import annotations

import gc
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from websocket_frames import PING, PONG, FramePeer, frame

from triohttp import App, Broadcast, Event, Published, Request
from triohttp.testing import InProcessServer, MemoryStream, open_in_process

pytestmark = pytest.mark.wall_seconds(180)

SUBSCRIBERS = 1000
EVENTS = 80
WEBSOCKETS = 2000
ASK = (
    b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def resident_bytes() -> int:
    """What this process has in memory; tracing allocations would make the test ten times as long."""
    gc.collect()
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def read_head(stream: MemoryStream) -> bytes:
    """Read an answer up to its content and return what came of that."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += await stream.receive_some()
    return data.partition(b"\r\n\r\n")[2]


async def test_a_thousand_subscribers_of_which_one_in_ten_does_not_read(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Everybody else gets every event in order, memory stays flat, and the shutdown ends within its grace."""
    hub = Broadcast()

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        async with hub:
            yield

    app = App(lifespan=lifespan)

    @app.get("/")
    async def events(request: Request) -> None:
        async with hub.subscribe("news", max_pending=16) as subscription, request.events() as sender:
            async for item in subscription:
                assert isinstance(item, Published)
                await sender.send(Event(item.text, id=item.id))

    counts: list[int] = []

    async def subscribe(server: InProcessServer, task_status: trio.TaskStatus[None]) -> None:
        async with await server.connect() as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            data = await read_head(stream)
            task_status.started()
            seen = 0
            while b"\r\n0\r\n\r\n" not in data:
                received = await stream.receive_some()
                assert received, "the stream was cut"
                data += received
                while b"\n\n" in data:
                    event, _, data = data.partition(b"\n\n")
                    if b"data: " in event:
                        assert int(event.rpartition(b"data: ")[2].partition(b":")[0]) == seen
                        seen += 1
            counts.append(seen)

    async with (
        open_in_process(app, max_buffer_bytes=4096, raise_handler_errors=False) as server,
        trio.open_nursery() as nursery,
    ):
        silent = []
        for number in range(SUBSCRIBERS):
            if number % 10:
                await nursery.start(subscribe, server)
            else:
                silent.append(stream := await server.connect())
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.sleep(1)
        assert hub.statistics().subscriptions == SUBSCRIBERS
        before = 0
        for number in range(EVENTS):
            await hub.publish("news", f"{number}:" + "x" * 200)
            await trio.sleep(0.01)
            if number == 50:  # by then what holds something for those who do not read is full
                before = resident_bytes()
        after = resident_bytes()
        began = trio.current_time()
        await server.server.shutdown(grace=10)
        assert trio.current_time() - began <= 10.5
        for stream in silent:
            stream.abort()
    assert counts == [EVENTS] * (SUBSCRIBERS * 9 // 10)
    assert after - before < 4_000_000


async def test_two_thousand_idle_websockets_with_heartbeat(autojump_clock: trio.testing.MockClock) -> None:
    """One in ten is black-holed, and found within 40 seconds; the others live on, and nothing grows."""
    app = App()
    ends: list[float] = []

    @app.get("/")
    async def handler(request: Request) -> None:
        async with request.websocket() as ws:
            try:
                async for _ in ws:
                    pass
            finally:
                ends.append(trio.current_time())

    async def answer(peer: FramePeer) -> None:
        while (received := await peer.receive())[0] == PING:
            await peer.send(frame(PONG, received[1], mask=True))

    async with open_in_process(app) as server, trio.open_nursery() as nursery:
        streams = []
        for _ in range(WEBSOCKETS):
            stream = await server.connect()
            streams.append(stream)
            await stream.send_all(ASK)
            assert await read_head(stream) == b""
        opened = trio.current_time()
        for number, stream in enumerate(streams):
            if number % 10:
                nursery.start_soon(answer, FramePeer(stream))
        await trio.sleep(41)
        assert len(ends) == WEBSOCKETS // 10
        assert max(ends) - opened <= 41
        assert server.server.statistics().open_connections == WEBSOCKETS * 9 // 10
        before = resident_bytes()
        await trio.sleep(200)
        assert resident_bytes() - before < 4_000_000
        assert len(ends) == WEBSOCKETS // 10
        began = trio.current_time()
        async with trio.open_nursery() as closing:
            closing.start_soon(server.server.shutdown, 10)
            await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
            for stream in streams:
                stream.abort()
        assert trio.current_time() - began < 3.5
        assert len(ends) == WEBSOCKETS
