"""WebSockets through the whole stack, both ends ours, over every network; frames by hand where a peer misbehaves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio
from websocket_frames import TEXT, close, frame

from triohttp import App, Broadcast, Client, Request, Response, WebSocket, WebSocketTimeouts
from triohttp.errors import WebSocketClosedError
from triohttp.testing import RawConnection

if TYPE_CHECKING:
    from conftest import Network

MEMORY = pytest.mark.parametrize("network", ["memory", "tls-memory"], indirect=True)
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ASK = (
    b"GET %b HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n%b\r\n"
)


class Ends:
    """How the handlers of an app ended."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.started = trio.Event()
        self._ended = trio.Event()

    async def wait(self) -> list[str]:
        await self._ended.wait()
        return self.seen

    def note(self, how: str) -> None:
        self.seen.append(how)
        self._ended.set()


def make_app(ends: Ends) -> App:
    app = App()

    @app.get("/echo")
    async def echo(request: Request) -> None:
        try:
            async with request.websocket(subprotocols=["v2", "v1"]) as ws:
                ends.started.set()
                async for message in ws:
                    await ws.send(message)
            ends.note(f"left {ws.close_code} {ws.closed_by}")
        except BaseException as exc:
            ends.note(type(exc).__name__)
            raise

    async def quiet(request: Request) -> None:
        try:
            async with request.websocket() as ws:
                ends.started.set()
                await trio.sleep_forever()
            ends.note(f"left {ws.close_code}")
        except BaseException as exc:
            ends.note(type(exc).__name__)
            raise

    app.get("/quiet")(quiet)
    app.get("/finishes", on_disconnect="finish")(quiet)

    @app.get("/fails")
    async def fails(request: Request) -> None:
        async with request.websocket() as ws:
            await ws.receive()
            raise ZeroDivisionError

    @app.get("/sends")
    async def sends(request: Request) -> None:
        async with request.websocket() as ws:
            ends.started.set()
            try:
                while True:
                    await ws.send("x" * 1000)
                    await trio.sleep(0.001)
            except BaseException as exc:
                ends.note(type(exc).__name__)
                raise

    @app.get("/plain")
    async def plain(request: Request) -> Response:
        return Response.text("plain")

    return app


async def open_socket(network: Network, path: bytes = b"/echo", fields: bytes = b"") -> RawConnection:
    """Open a WebSocket of the server by hand."""
    raw = await network.open_raw()
    await raw.send_all(ASK % (path, fields))
    response = await raw.read_response()
    assert response.status == 101
    assert response.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    return raw


async def test_a_conversation(network: Network) -> None:
    """Client and handler exchange messages; the subprotocol is the client's first that the server knows."""
    ends = Ends()
    await network.serve(make_app(ends))
    client = await network.client()
    async with client.websocket("/echo", subprotocols=["v3", "v1", "v2"]) as ws:
        assert ws.subprotocol == "v1"
        assert ws.compressed
        for message in ("hello", b"\x00\xff", "", "ü" * 100_000, bytes(500_000)):
            await ws.send(message)
            assert await ws.receive() == message
        assert await ws.ping() >= 0
    assert (ws.close_code, ws.closed_by) == (1000, "self")
    assert await ends.wait() == ["left 1000 peer"]
    assert client.pool.statistics().connections == 0
    assert (await client.get("/plain")).text == "plain"


async def test_frames_that_follow_the_handshake_at_once_are_not_lost(network: Network) -> None:
    """Bytes in the same segment as the request's end belong to the WebSocket."""
    await network.serve(make_app(Ends()))
    raw = await network.open_raw()
    await raw.send_all(ASK % (b"/echo", b"") + frame(TEXT, "early", mask=True))
    assert (await raw.read_response()).status == 101
    assert await raw.read_exactly(7) == frame(TEXT, "early")


@MEMORY
async def test_a_shutdown_reaches_every_websocket_at_once(network: Network) -> None:
    """1001 goes out with the drain; the handler's loop ends with the answer, and the server is not held up."""
    ends = Ends()
    site = await network.serve(make_app(ends))
    client = await network.client()
    async with client.websocket("/echo") as ws, trio.open_nursery() as nursery:
        await ws.send("a")
        assert await ws.receive() == "a"
        began = trio.current_time()
        nursery.start_soon(site.server.shutdown, 10)
        with pytest.raises(trio.EndOfChannel):
            await ws.receive()
        assert (ws.close_code, ws.closed_by) == (1001, "peer")
    assert await ends.wait() == ["left 1001 self"]
    assert trio.current_time() - began < 0.3


@MEMORY
@pytest.mark.parametrize("path", [b"/echo", b"/quiet", b"/sends"])
async def test_a_client_that_does_not_answer_the_shutdown_has_three_seconds(network: Network, path: bytes) -> None:
    """The shutdown ends in 3.5 s although the grace is longer, whatever the handler waits for."""
    ends = Ends()
    site = await network.serve(make_app(ends))
    raw = await open_socket(network, path)
    await ends.started.wait()
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.server.shutdown, 60)
        read = b""
        while not read.endswith(close(1001)):
            read += await raw.receive_some()
    assert trio.current_time() - began < 3.5
    assert ends.seen


async def test_a_handler_that_sends_on_and_on_is_no_obstacle_to_a_shutdown(network: Network) -> None:
    """The client, which reads all the time, gets 1001 between two messages, and at once."""
    app = App()

    @app.get("/")
    async def firehose(request: Request) -> None:
        async with request.websocket() as ws:
            while True:
                await ws.send("x" * 5000)

    site = await network.serve(app)
    client = await network.client()
    async with client.websocket("/") as ws, trio.open_nursery() as nursery:
        for _ in range(10):
            await ws.receive()
        began = trio.current_time()
        nursery.start_soon(site.server.shutdown, 10)
        async for _ in ws:
            pass
        assert ws.close_code == 1001
        assert trio.current_time() - began < 2


@MEMORY
async def test_a_grace_that_ends_cancels_what_is_left(network: Network) -> None:
    """A client that goes on sending and a handler that goes on echoing are cut when the grace is over."""
    ends = Ends()
    site = await network.serve(make_app(ends))
    raw = await open_socket(network)
    async with trio.open_nursery() as nursery:

        async def send() -> None:
            with pytest.raises(trio.BrokenResourceError):
                while True:
                    await raw.send_all(frame(TEXT, "x" * 10_000, mask=True))
                    await trio.sleep(0.001)

        nursery.start_soon(send)
        began = trio.current_time()
        await site.server.shutdown(grace=1)
        assert trio.current_time() - began < 2.5


@MEMORY
@pytest.mark.parametrize(("path", "ended"), [(b"/quiet", True), (b"/finishes", False)])
async def test_a_handler_that_never_listens_is_cancelled_when_its_client_has_left(
    network: Network, path: bytes, ended: bool
) -> None:
    """Up to the end of the block, ``close_seconds`` after the close; a route that finishes is left alone."""
    ends = Ends()
    await network.serve(make_app(ends))
    raw = await open_socket(network, path)
    await raw.send_all(close(1000, mask=True))
    assert await raw.read_until_closed() == close(1000)
    await raw.aclose()
    with trio.move_on_after(6):
        await ends.wait()
    assert ends.seen == (["left 1000"] if ended else [])


async def test_a_handler_may_let_it_pass_that_its_client_left(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """``WebSocketClosedError`` out of a handler is the client's doing: nothing is logged as a fault."""
    ends = Ends()
    await network.serve(make_app(ends))
    raw = await open_socket(network, b"/sends")
    await ends.started.wait()
    raw.reset()
    assert await ends.wait() == ["WebSocketClosedError"]
    await network.server.shutdown()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_handler_that_fails_closes_with_1011_and_is_reported(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """The client is told that something went wrong, and nothing of what; the log is told everything."""
    await network.serve(make_app(Ends()), raise_handler_errors=False)
    client = await network.client()
    with pytest.raises(WebSocketClosedError) as caught:
        async with client.websocket("/fails") as ws:
            await ws.send("now")
            await ws.receive()
    assert (caught.value.code, caught.value.reason, caught.value.by) == (1011, "", "peer")
    await network.server.shutdown()
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


@MEMORY
@pytest.mark.parametrize(
    ("leave", "code"), [("normally", "1000"), ("cancelled", "1001"), ("failed", "1011"), ("client closed", "1006")]
)
async def test_the_server_hears_how_a_client_left(network: Network, leave: str, code: str) -> None:
    """The end of the block, a cancellation and an exception are told apart, within a second."""
    ends = Ends()
    await network.serve(make_app(ends))
    began = trio.current_time()
    with trio.CancelScope() as scope:
        try:
            async with network.new_client() as client:
                async with client.websocket("/echo") as ws:
                    await ws.send("a")
                    await ws.receive()
                    if leave == "cancelled":
                        scope.cancel()
                        await ws.receive()
                    elif leave == "failed":
                        raise KeyError
                    elif leave == "client closed":
                        await client.aclose()
                        with pytest.raises(WebSocketClosedError):
                            await ws.receive()
        except KeyError:
            assert leave == "failed"
    seen = await ends.wait()
    if code in ("1000", "1001"):
        assert seen == [f"left {code} peer"]
    else:
        assert seen == ["WebSocketClosedError"]
    assert trio.current_time() - began < 1


async def test_what_a_client_says_is_escaped_in_what_is_logged(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason of a close is the peer's text: no line of a log, and nothing on a terminal, can be made with it."""
    seen: list[WebSocketClosedError] = []
    app = App()

    @app.get("/")
    async def handler(request: Request) -> None:
        async with request.websocket() as ws:
            try:
                await ws.receive()
            except WebSocketClosedError as exc:
                seen.append(exc)

    await network.serve(app)
    raw = await open_socket(network, b"/")
    await raw.send_all(close(4000, "\x1b[2J\r\nADMIN ok", mask=True))
    assert await raw.read_until_closed()
    assert seen[0].reason == "\x1b[2J\r\nADMIN ok"
    assert "\n" not in str(seen[0]) and "\x1b" not in str(seen[0])


@MEMORY
@pytest.mark.parametrize("in_nursery", [False, True])
async def test_a_client_that_is_too_slow_for_a_broadcast_is_no_fault(
    network: Network, caplog: pytest.LogCaptureFixture, in_nursery: bool
) -> None:
    """The handler lets ``SlowReaderError`` pass: the client gets 1013 and may come again, and the log no traceback."""
    hub = Broadcast()
    app = App()

    @app.get("/")
    async def handler(request: Request) -> None:
        async with hub.subscribe("news", overflow="close", max_pending=2) as news, request.websocket() as ws:

            async def forward() -> None:
                async for item in news:
                    await trio.sleep(1)
                    await ws.send(str(item))

            if in_nursery:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(forward)
            else:
                await forward()

    async with hub:
        await network.serve(app)
        client = await network.client()
        async with client.websocket("/") as ws:
            await trio.sleep(0.1)
            for _ in range(5):
                await hub.publish("news", "x")
            with pytest.raises(WebSocketClosedError) as caught:
                while True:
                    await ws.receive()
        assert caught.value.code == (1011 if in_nursery else 1013)
        await network.server.shutdown()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@MEMORY
async def test_a_handler_may_be_closed_by_another_task(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """Closing a user's WebSocket from elsewhere ends the handler that receives from it, and is no fault."""
    open_ones: list[WebSocket] = []
    app = App()

    @app.get("/")
    async def handler(request: Request) -> None:
        async with request.websocket() as ws:
            open_ones.append(ws)
            async for _ in ws:
                pass

    await network.serve(app)
    client = await network.client()
    async with client.websocket("/") as ws, trio.open_nursery() as nursery:
        await trio.sleep(0.1)
        nursery.start_soon(open_ones[0].aclose, 4001, "opened elsewhere")
        with pytest.raises(WebSocketClosedError, match="opened elsewhere"):
            await ws.receive()
    await network.server.shutdown()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@MEMORY
async def test_a_client_that_goes_on_talking_has_three_seconds_too(network: Network) -> None:
    """An echo that is refused after 1001 has gone out does not cut the client that has not answered yet."""
    ends = Ends()
    site = await network.serve(make_app(ends))
    raw = await open_socket(network)
    read = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(site.server.shutdown, 10)
        for _ in range(4):
            await trio.sleep(0.5)
            await raw.send_all(frame(TEXT, "still here", mask=True))
        await raw.send_all(close(1001, mask=True))
        read = await raw.read_until_closed()
    assert read == close(1001)


@MEMORY
async def test_a_pool_knows_its_websockets(network: Network) -> None:
    """An open WebSocket has a slot, and gives it back however its block ends."""
    await network.serve(make_app(Ends()))
    client = await network.client()
    for leave in (False, True):
        with trio.CancelScope() as scope:
            async with client.websocket("/echo"):
                assert client.pool.statistics().in_use == 1
                if leave:
                    scope.cancel()
                    await trio.sleep_forever()
        assert client.pool.statistics().connections == 0


# -- time --------------------------------------------------------------------------------------------------------------


@MEMORY
async def test_heartbeats_keep_an_idle_pair_alive(network: Network) -> None:
    """Both ends are quiet for a day; neither takes the other for dead, and no keep-alive of HTTP ends it."""
    await network.serve(make_app(Ends()))
    client = await network.client()
    async with client.websocket("/echo", timeouts=WebSocketTimeouts(ping_seconds=600)) as ws:
        with trio.move_on_after(86_400):
            await ws.receive()
        await ws.send("still there")
        assert await ws.receive() == "still there"


@MEMORY
async def test_the_handler_time_of_http_ends_with_the_handshake(network: Network) -> None:
    """``handler_seconds`` bounds the way to the answer; a WebSocket may last."""
    app = App()

    @app.get("/", timeouts={"handler_seconds": 1})
    async def handler(request: Request) -> None:
        async with request.websocket() as ws:
            await trio.sleep(100)
            await ws.send("late")

    await network.serve(app)
    client = await network.client()
    async with client.websocket("/") as ws:
        assert await ws.receive() == "late"


@MEMORY
async def test_a_server_that_is_cancelled_says_goodbye(network: Network) -> None:
    """The hard stop still sends 1001, and takes no longer than a second for a client that does not answer."""
    ends = Ends()
    began = 0.0
    codes = []
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with network.new_site(make_app(ends)) as site:
                raw = await site.open_raw()
                await raw.send_all(ASK % (b"/echo", b""))
                assert (await raw.read_response()).status == 101
                await ends.started.wait()

                async def read() -> None:
                    codes.append(await raw.read_exactly(4))

                nursery.start_soon(read)
                await trio.testing.wait_all_tasks_blocked()
                began = trio.current_time()
                scope.cancel()
                await trio.sleep_forever()
    assert codes == [close(1001)]
    assert trio.current_time() - began <= 1.1
    assert await ends.wait() == ["Cancelled"]
    await raw.aclose()


async def test_an_app_can_be_called_from_a_handler(network: Network) -> None:
    """A relay: what one WebSocket of a handler receives, another one of its sends, both ways."""
    ends = Ends()
    await network.serve(make_app(ends))
    client = await network.client()
    relay = App()

    @relay.get("/")
    async def handler(request: Request) -> None:
        async with request.websocket() as near, client.websocket("/echo") as far, trio.open_nursery() as nursery:

            async def back() -> None:
                async for message in far:
                    await near.send(message)

            nursery.start_soon(back)
            async for message in near:
                await far.send(message)
            nursery.cancel_scope.cancel()

    async with network.new_site(relay) as site:
        options = {site.url: site} if network.in_memory else None
        tls = None if network.tls is None else network.tls.client_context()
        async with Client(tls=tls, mounts=options) as outer, outer.websocket(site.url + "/") as ws:
            for number in range(20):
                await ws.send(f"{number}")
                assert await ws.receive() == f"{number}"
    assert await ends.wait() == ["left 1000 peer"]
