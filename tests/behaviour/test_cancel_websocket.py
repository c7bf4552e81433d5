"""Cancel a WebSocket anywhere, at either end: nothing stays open, no message is lost or mixed, nobody else suffers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from websocket_frames import TEXT, close, frame

from triohttp import App, Client, Request, Response, WebSocket
from triohttp.errors import DisconnectedError, WebSocketClosedError
from triohttp.lowlevel import Role
from triohttp.testing import RawConnection, SweepRun, cancel_sweep, memory_stream_pair

if TYPE_CHECKING:
    from conftest import Network, Sweep

pytestmark = [pytest.mark.sweep, pytest.mark.wall_seconds(300)]

ASK = (
    b"GET /echo HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
GET = b"GET /plain HTTP/1.1\r\nHost: h\r\n\r\n"
LARGE = b"0123456789" * 7_000  # two frames


class Running:
    """How many handlers are at work."""

    def __init__(self) -> None:
        self.handlers = 0

    def __enter__(self) -> None:
        self.handlers += 1

    def __exit__(self, *error: object) -> None:
        self.handlers -= 1


def make_app(running: Running) -> App:
    app = App()

    @app.get("/echo")
    async def echo(request: Request) -> None:
        with running:
            async with request.websocket() as ws:
                async for message in ws:
                    await ws.send(message)

    @app.get("/plain")
    async def plain(request: Request) -> Response:
        return Response.text("plain")

    return app


async def settle(network: Network) -> None:
    """Wait until the server has noticed everything."""
    while network.server.statistics().open_connections:
        await trio.sleep(0.01)


async def talk(client: Client) -> None:
    async with client.websocket("/echo") as ws:
        for message in ("hello", LARGE):
            await ws.send(message)
            assert await ws.receive() == message
        await ws.aclose(4000, "enough")


async def listen_and_speak(client: Client) -> None:
    async with client.websocket("/echo") as ws, trio.open_nursery() as nursery:
        nursery.start_soon(ws.send, LARGE)
        nursery.start_soon(ws.ping)
        assert await ws.receive() == LARGE


@pytest.mark.parametrize("scenario", [talk, listen_and_speak], ids=lambda scenario: scenario.__name__)
def test_a_client_may_be_cancelled_at_any_moment(sweep: Sweep, scenario: object) -> None:
    """The slot comes back, the handler ends, and the next request is answered."""

    async def run(point: SweepRun, network: Network) -> None:
        running = Running()
        await network.serve(make_app(running))
        async with network.new_client() as client:
            with point.block(every_task=True):
                await scenario(client)  # type: ignore[operator]  # one of the two above
            assert client.pool.statistics().in_use == 0
            assert (await client.get("/plain")).text == "plain"
        await settle(network)
        assert running.handlers == 0

    report = sweep(run)
    assert report.cancelled >= 8


@pytest.mark.parametrize("leave", ["reset", "close"])
def test_a_peer_may_leave_at_any_moment(sweep: Sweep, leave: str) -> None:
    """The handler ends, nothing is reported as its fault, and the next client is answered."""

    async def converse(raw: RawConnection) -> None:
        await raw.send_all(ASK)
        assert (await raw.read_response()).status == 101
        await raw.send_all(frame(TEXT, "one", mask=True) + frame(TEXT, "two", mask=True))
        assert await raw.read_exactly(10) == frame(TEXT, "one") + frame(TEXT, "two")
        await raw.send_all(close(1000, mask=True))
        assert await raw.read_until_closed() == close(1000)

    async def run(point: SweepRun, network: Network) -> None:
        running = Running()
        await network.serve(make_app(running))
        raw = await network.open_raw()
        with point.block(action=raw.reset if leave == "reset" else None, every_task=True):
            try:
                await converse(raw)
            except (trio.BrokenResourceError, trio.ClosedResourceError, DisconnectedError):
                assert point.reached
        await raw.aclose()
        await settle(network)
        assert running.handlers == 0
        other = await network.open_raw()
        await other.send_all(GET)
        assert (await other.read_response()).status == 200

    assert len(sweep(run).points) >= 10


def test_a_server_may_be_cancelled_at_any_moment(sweep: Sweep) -> None:
    """Cancelling everything at once, both ends with it, leaves no handler, no task and no descriptor."""

    async def run(point: SweepRun, network: Network) -> None:
        running = Running()
        with point.block(every_task=True):
            async with network.new_site(make_app(running)) as site:
                tls = None if network.tls is None else network.tls.client_context()
                mounts = {site.url: site} if network.in_memory else None
                async with Client(site.url, tls=tls, mounts=mounts) as client:
                    await talk(client)
        assert running.handlers == 0

    assert len(sweep(run).points) >= 20


def test_a_server_may_drain_at_any_moment(sweep: Sweep) -> None:
    """The client gets whole messages and then 1001, or its own close; it is never cut, and the drain does not wait."""

    async def run(point: SweepRun, network: Network) -> None:
        running = Running()
        site = await network.serve(make_app(running))
        client = await network.client()
        received = []
        ws: WebSocket | None = None
        async with trio.open_nursery() as nursery:
            began = trio.current_time()
            with point.block(action=partial(nursery.start_soon, site.server.shutdown, 60), every_task=True):
                try:
                    async with client.websocket("/echo") as ws:
                        for message in ("hello", LARGE, "goodbye"):
                            await ws.send(message)
                            received.append(await ws.receive())
                except (WebSocketClosedError, trio.EndOfChannel):
                    assert point.reached
                except DisconnectedError:
                    assert point.reached
                    assert ws is None
            if not point.reached:
                await site.server.shutdown()
        assert trio.current_time() - began < 3
        assert received == ["hello", LARGE, "goodbye"][: len(received)]
        if ws is not None:
            assert ws.close_code in (1000, 1001)
        assert running.handlers == 0

    assert len(sweep(run).points) >= 20


def test_a_receive_may_be_cancelled_at_any_moment() -> None:
    """Whatever was being received is there for the next receive: every message once, whole and in order."""
    messages = ["one", LARGE, "ü" * 20_000, "four"]

    async def run(point: SweepRun) -> None:
        ours, theirs = memory_stream_pair(10_000)
        async with WebSocket(ours, Role.SERVER) as server, trio.open_nursery() as nursery:

            async def send() -> None:
                async with WebSocket(theirs, Role.CLIENT) as client:
                    for message in messages:
                        await client.send(message)

            nursery.start_soon(send)
            received = []
            with point.block(every_task=True):
                while len(received) < 4:
                    received.append(await server.receive())
            while len(received) < 4:
                received.append(await server.receive())
            assert received == messages
            with pytest.raises(trio.EndOfChannel):
                await server.receive()

    assert cancel_sweep(run).cancelled >= 10


def test_a_send_may_be_cancelled_at_any_moment() -> None:
    """The peer gets a beginning of the messages, each whole, and then all of them or an end that is no close."""
    messages = ["one", LARGE, "three"]

    async def run(point: SweepRun) -> None:
        ours, theirs = memory_stream_pair(10_000)
        received: list[str | bytes] = []
        code = None
        async with trio.open_nursery() as nursery:

            async def receive() -> None:
                nonlocal code
                async with WebSocket(theirs, Role.CLIENT) as client:
                    try:
                        async for message in client:
                            received.append(message)  # noqa: PERF401  # what came before an error counts
                    except WebSocketClosedError:
                        pass
                    code = client.close_code

            nursery.start_soon(receive)
            async with WebSocket(ours, Role.SERVER) as server:
                sent = 0
                with point.block(every_task=True):
                    for message in messages:
                        await server.send(message)
                        sent += 1
                try:
                    await server.send("after")
                except WebSocketClosedError:
                    assert point.reached
        whole = [message for message in received if message != "after"]
        assert whole == messages[: len(whole)]
        assert len(whole) >= sent
        assert code == (1000 if "after" in received else 1006)

    assert cancel_sweep(run).cancelled >= 5


def test_a_close_may_be_cancelled_at_any_moment() -> None:
    """Both ends are over, whoever gave up, and the stream is closed."""

    async def run(point: SweepRun) -> None:
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:

            async def other() -> None:
                async with WebSocket(theirs, Role.CLIENT) as client:
                    try:
                        async for _ in client:
                            pass
                    except WebSocketClosedError:
                        assert point.reached

            nursery.start_soon(other)
            async with WebSocket(ours, Role.SERVER) as server:
                with point.block(every_task=True):
                    await server.aclose(1000, "bye")
        assert ours.closed
        assert theirs.closed

    assert cancel_sweep(run).cancelled >= 2
