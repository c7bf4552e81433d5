"""The blocks of ``SyncClient``: answers, events and WebSockets that come in piece by piece."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio
from threaded_server import serve_in_thread

from triohttp import App, Event, Request, Response
from triohttp._client.sync_client import SyncClient
from triohttp.errors import (
    BodyStateError,
    BodyTooLargeError,
    ContentError,
    HandshakeError,
    StatusError,
    TotalTimeout,
    WebSocketClosedError,
)


class Served:
    """A server, and what it has seen."""

    def __init__(self) -> None:
        self.url = ""
        self.left = threading.Event()
        self.close_codes: list[int | None] = []


@pytest.fixture
def served() -> Iterator[Served]:
    app = App()
    served = Served()

    @app.get("/lines")
    async def lines(request: Request) -> Response:
        return Response.text("one\ntwo\r\nthree", headers={"x-id": "7"})

    @app.get("/json")
    async def json(request: Request) -> Response:
        return Response.json({"a": [1]})

    @app.get("/events")
    async def events(request: Request) -> None:
        async with request.events() as events:
            await events.send(Event("one", id="1"))
            await events.send(Event("two", id="2"))

    @app.get("/endless")
    async def endless(request: Request) -> None:
        try:
            async with request.respond(200, {"content-type": "text/event-stream"}) as body:
                await body.send_all(b"data: first\n\n")
                await trio.sleep_forever()
        finally:
            served.left.set()

    @app.get("/never")
    async def never(request: Request) -> Response:
        try:
            await trio.sleep_forever()
        finally:
            served.left.set()
        raise AssertionError

    @app.get("/broken")
    async def broken(request: Request) -> Response:
        return Response.text("why", status=500)

    @app.get("/socket")
    async def socket(request: Request) -> None:
        async with request.websocket(subprotocols=["v1"]) as websocket:
            try:
                async for message in websocket:
                    if message == "leave":
                        await websocket.aclose(4000, "asked to")
                    else:
                        await websocket.send(message)
            finally:
                served.close_codes.append(websocket.close_code)
                served.left.set()

    with serve_in_thread(app) as served.url:
        yield served


# -- answers -----------------------------------------------------------------------------------------------------------


def test_a_streamed_answer_is_read_in_every_way(served: Served) -> None:
    """Head, pieces, lines, text, JSON and trailers are those of ``ClientResponseStream``, without ``await``."""
    with SyncClient(served.url) as client:
        with client.stream("GET", "/lines") as answer:
            assert (answer.status, answer.headers["x-id"], answer.length, answer.url.path) == (200, "7", 14, "/lines")
            assert list(answer.lines()) == ["one", "two", "three"]
            assert answer.trailers is None
        with client.stream("GET", "/lines") as answer:
            with pytest.raises(BodyStateError):
                _ = answer.trailers
            assert answer.body.receive_some(3) == b"one"
            assert b"".join(answer.body) == b"\ntwo\r\nthree"
        with client.stream("GET", "/lines") as answer:
            assert answer.raise_for_status().read() == b"one\ntwo\r\nthree"
        with client.stream("GET", "/json") as answer:
            assert answer.json() == {"a": [1]}
        with client.stream("GET", "/lines") as answer:
            answer.idle_seconds = 5.0
            assert (answer.idle_seconds, answer.text()) == (5.0, "one\ntwo\r\nthree")
        with client.stream("GET", "/events") as answer:
            events = answer.events()
            assert [event.data for event in events] == ["one", "two"]
            assert events.last_event_id == "2"
            assert events.retry_ms is None
        assert client.pool_statistics().opened == 1


def test_errors_come_out_of_readers_as_they_are(served: Served) -> None:
    """A bound that is passed, and content that is something else, are the same errors as in the loop."""
    with SyncClient(served.url) as client:
        with client.stream("GET", "/lines") as answer, pytest.raises(BodyTooLargeError):
            answer.read(max_bytes=3)
        with client.stream("GET", "/lines") as answer, pytest.raises(ContentError):
            answer.json()
        with client.stream("GET", "/broken") as answer, pytest.raises(StatusError) as caught:
            answer.raise_for_status()
        assert caught.value.content == b"why"
        with client.stream("GET", "/endless") as answer:
            pass
        with pytest.raises(trio.ClosedResourceError):
            answer.read()


def test_leaving_early_gives_the_answer_up(served: Served) -> None:
    """What is not wanted any more is not waited for: the server sees its client go."""
    with SyncClient(served.url) as client:
        with client.stream("GET", "/endless") as answer:
            assert next(answer.body) == b"data: first\n\n"
        assert served.left.wait(10)
        assert client.pool_statistics().connections == 0


def test_a_wait_that_took_too_long_loses_nothing(served: Served) -> None:
    """A timeout in the middle of a stream ends one wait, not the stream."""
    with SyncClient(served.url) as client:
        with client.stream("GET", "/endless") as answer:
            assert answer.body.receive_some(5) == b"data:"
            assert answer.body.receive_some() == b" first\n\n"
            with pytest.raises(TotalTimeout):
                answer.body.receive_some(timeout=0.02)
            with pytest.raises(TotalTimeout):
                next(answer.lines(timeout=0.02))
        assert served.left.wait(10)


def test_opening_has_a_timeout(served: Served) -> None:
    """When no head comes in time the request is cancelled, and its connection with it."""
    with SyncClient(served.url) as client:
        with pytest.raises(TotalTimeout):
            client.stream("GET", "/never", timeout=0.05).__enter__()
        assert served.left.wait(10)
        assert client.pool_statistics().connections == 0


def test_a_request_that_is_none_is_refused_at_once(served: Served) -> None:
    """As for ``Client.stream``, before the block is entered."""
    with SyncClient(served.url) as client, pytest.raises(ValueError, match="token"):
        client.stream("not a method", "/")


def test_the_exception_of_a_block_leaves_it(served: Served) -> None:
    """The program's own exception is what comes out, and the answer is given up."""
    with SyncClient(served.url) as client:
        with pytest.raises(ZeroDivisionError):
            with client.stream("GET", "/endless"):
                _ = 1 / 0
        assert served.left.wait(10)


def test_a_block_is_entered_once(served: Served) -> None:
    """A second request needs a second block."""
    with SyncClient(served.url) as client:
        block = client.stream("GET", "/lines")
        with block:
            pass
        with pytest.raises(RuntimeError, match="entered before"):
            block.__enter__()


def test_a_block_that_was_forgotten_ends_and_complains(served: Served) -> None:
    """Entered by hand and dropped, it is closed when it is collected."""
    with SyncClient(served.url) as client:
        blocks = [client.stream("GET", "/endless")]
        assert blocks[0].__enter__().status == 200
        with pytest.warns(ResourceWarning, match="never left"):
            blocks.clear()
        assert served.left.wait(10)


def test_a_block_may_be_left_after_its_client_was_closed(served: Served) -> None:
    """There is nothing left to do then, which is no error."""
    client = SyncClient(served.url)
    with client.stream("GET", "/endless") as answer:
        client.close()
        with pytest.raises(Exception, match="closed"):
            answer.read()


# -- events ------------------------------------------------------------------------------------------------------------


def test_events_are_iterated_over(served: Served) -> None:
    """The events of a server come out of a plain loop, which ends with the stream when told not to reconnect."""
    with SyncClient(served.url) as client, client.events("/events", reconnect=False) as events:
        assert [(event.id, event.data) for event in events] == [("1", "one"), ("2", "two")]
        assert (events.last_event_id, events.reconnects, events.response.status) == ("2", 0, 200)
        with pytest.raises(trio.EndOfChannel):
            events.receive()


def test_events_have_a_timeout_and_an_end(served: Served) -> None:
    """Waiting for an event may end without one; closing from another thread ends a wait."""
    with SyncClient(served.url) as client, client.events("/endless") as events:
        assert events.receive().data == "first"
        with pytest.raises(TotalTimeout):
            events.receive(timeout=0.02)
        with ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(events.receive)
            events.close()
            assert isinstance(waiting.exception(10), trio.ClosedResourceError)


# -- WebSockets --------------------------------------------------------------------------------------------------------


def test_a_websocket_carries_messages(served: Served) -> None:
    """Text and binary, in whole and in pieces, and a goodbye of 1000 at the end of the block."""
    with SyncClient(served.url) as client:
        with client.websocket("/socket", subprotocols=["v1"], compression=None) as websocket:
            websocket.send("text")
            assert websocket.receive() == "text"
            websocket.send(bytearray(b"binary"))
            assert websocket.receive() == b"binary"
            websocket.send("x" * 200_000)
            assert "".join(map(str, websocket.receive_chunks())) == "x" * 200_000
            with pytest.raises(TotalTimeout):
                websocket.receive(timeout=0.02)
            websocket.send("after the timeout")
            assert websocket.receive(timeout=10) == "after the timeout"
            assert websocket.ping(timeout=10) >= 0
            assert (websocket.subprotocol, websocket.compressed, websocket.close_code) == ("v1", False, None)
            assert (websocket.failure, websocket.program_closed, websocket.closed_by) == (None, False, None)
            assert websocket.headers["upgrade"].lower() == "websocket"
        assert (websocket.close_code, websocket.program_closed) == (1000, True)
        assert served.left.wait(10)
        assert served.close_codes == [1000]


def test_threads_send_while_one_receives(served: Served) -> None:
    """A WebSocket is duplex: the thread that waits for a message holds up nobody who sends."""
    with SyncClient(served.url) as client, client.websocket("/socket") as websocket, ThreadPoolExecutor(1) as thread:
        received = thread.submit(lambda: [websocket.receive() for _ in range(20)])
        for number in range(20):
            websocket.send(str(number))
        assert received.result(10) == [str(number) for number in range(20)]


def test_a_loop_over_messages_ends_with_the_websocket(served: Served) -> None:
    """A close that is no failure ends the loop, one with a code of an application's is an error."""
    with SyncClient(served.url) as client:
        with client.websocket("/socket") as websocket:
            websocket.send("one")
            for message in websocket:
                assert message == "one"
                break
            websocket.send("leave")
            with pytest.raises(WebSocketClosedError):
                websocket.receive()
            assert (websocket.close_code, websocket.close_reason, websocket.closed_by) == (4000, "asked to", "peer")
        with client.websocket("/socket") as websocket:
            websocket.ignore_messages()
            websocket.close(1001, "going")
            assert list(iter_until_closed(websocket.receive)) == []


def iter_until_closed(receive: Callable[[], object]) -> Iterator[object]:
    try:
        while True:
            yield receive()
    except trio.ClosedResourceError:
        pass


@pytest.mark.parametrize(("exception", "code"), [(ValueError, 1011), (KeyboardInterrupt, None)])
def test_the_server_is_told_why_a_websocket_ends(
    served: Served, exception: type[BaseException], code: int | None
) -> None:
    """A block that failed closes with 1011; one that was interrupted just ends."""
    with SyncClient(served.url) as client:
        with pytest.raises(exception):
            with client.websocket("/socket"):
                raise exception
        assert served.left.wait(10)
        assert code is None or served.close_codes == [code]


def test_a_handshake_that_fails_is_an_error_on_entry(served: Served) -> None:
    """A server that opens no WebSocket says why."""
    with SyncClient(served.url) as client, pytest.raises(HandshakeError) as caught:
        client.websocket("/lines").__enter__()
    assert caught.value.code == 200
