"""``Response.events``: a stream of events that is fed from a channel made elsewhere."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import pytest
import trio

from triohttp import App, Event, Handler, Request, Response
from triohttp.testing import RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Channel(trio.abc.ReceiveChannel[Event]):
    """Gives its events, then ends, or fails; counts how often it was closed."""

    def __init__(self, *events: Event, error: BaseException | None = None, seconds: float = 0) -> None:
        self.events = list(events)
        self.error = error
        self.seconds = seconds
        self.closed = 0

    async def receive(self) -> Event:
        await trio.sleep(self.seconds)
        if self.events:
            return self.events.pop(0)
        raise self.error or trio.EndOfChannel

    async def aclose(self) -> None:
        self.closed += 1
        await trio.lowlevel.checkpoint()


def app_of(*channels: Channel, status: int = 200) -> App:
    """Return an app that answers each request from the next channel."""
    app = App()
    waiting = list(channels)

    async def handler(request: Request) -> Response:
        response = Response.events(waiting.pop(0), retry_ms=9, headers={"X-Own": "1"})
        response.status = status
        return response

    app.add_route("/", handler)
    return app


async def test_events_come_from_the_channel(ask: Ask) -> None:
    """The stream ends when the channel does, and the channel is closed, once."""
    channel = Channel(Event("a", id="1"), Event("b", type="x"))
    response = await ask(app_of(channel), "GET /")
    assert response.content == b"retry: 9\n\nid: 1\ndata: a\n\nevent: x\ndata: b\n\n"
    assert (response.headers["Content-Type"], response.headers["X-Own"]) == ("text/event-stream", "1")
    assert response.headers["Cache-Control"] == "no-store"
    assert channel.closed == 1


async def test_a_memory_channel_will_do(ask: Ask) -> None:
    """What another task sends goes out; text is the data of an event."""
    app = App()

    @app.get("/")
    async def handler(request: Request) -> Response:
        send, receive = trio.open_memory_channel[Event | str](4)
        send.send_nowait("a")
        send.send_nowait(Event("b"))
        send.close()
        return Response.events(receive)

    assert (await ask(app, "GET /")).content == b"data: a\n\ndata: b\n\n"


async def test_a_generator_will_do(ask: Ask) -> None:
    """It is finished, in the task of the request, when the client leaves early."""
    ended = trio.Event()
    app = App()

    async def numbers() -> AsyncIterator[str]:
        try:
            for number in range(1_000_000):
                yield str(number)
                await trio.sleep(0.01)
        finally:
            ended.set()

    @app.get("/")
    async def handler(request: Request) -> Response:
        return Response.events(numbers())

    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await raw.read_until(b"data: 3\n\n")
        raw.reset()
        await ended.wait()


async def test_an_error_of_the_channel_cuts_the_stream(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """The client sees that it is not over, the error is reported, the channel closed."""
    channel = Channel(Event("a"), error=LookupError("mine"))
    with pytest.raises(trio.BrokenResourceError):
        await ask(app_of(channel), "GET /", faults=True)
    [fault] = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert "LookupError('mine')" in fault
    assert channel.closed == 1


async def test_head_takes_nothing_from_the_channel(ask: Ask) -> None:
    """And so does a status that has no content; the channel is closed all the same."""
    for line, status in (("HEAD /", 200), ("GET /", 204)):
        channel = Channel(Event("a"))
        response = await ask(app_of(channel, status=status), line)
        assert (response.status, response.content) == (status, b"")
        assert (len(channel.events), channel.closed) == (1, 1)


async def test_middleware_sees_a_response(ask: Ask) -> None:
    """It may change the head, or answer with something else; then the channel is closed unread."""
    first, second = Channel(Event("a")), Channel(Event("b"))
    app = app_of(first, second)

    @app.middleware
    async def change(request: Request, handler: Handler) -> Response:
        response = await handler(request)
        assert response.streamed
        assert response.content == b""
        response.headers["X-Seen"] = "yes"
        return response if response.headers["X-Own"] == "1" and first.events else Response.text("other")

    response = await ask(app, "GET /")
    assert (response.content, response.headers["X-Seen"]) == (b"retry: 9\n\ndata: a\n\n", "yes")
    assert (await ask(app, "GET /")).content == b"other"
    assert (first.closed, second.closed, len(second.events)) == (1, 1, 1)


async def test_a_drain_ends_it(autojump_clock: trio.abc.Clock) -> None:
    """Properly, at once, although the channel would go on; and the channel is closed."""
    channel = Channel(*[Event(str(number)) for number in range(100)], seconds=1)
    async with open_in_process(app_of(channel)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await raw.read_until(b"data: 3\n\n\r\n")
        began = trio.current_time()
        server.server.begin_drain()
        assert await raw.read_until_closed() == b"0\r\n\r\n"
        assert trio.current_time() - began < 0.1
    assert channel.closed == 1


async def test_a_silent_channel_is_kept_alive(autojump_clock: trio.abc.Clock, ask: Ask) -> None:
    """With the heartbeat of any stream of events."""
    content = (await ask(app_of(Channel(Event("a"), seconds=20)), "GET /")).content
    assert content == b"retry: 9\n\n:\n\ndata: a\n\n:\n\n"


async def test_something_else_is_refused() -> None:
    """A list, or a generator that is not asynchronous, is no channel; bytes have ``Response.stream``."""
    for source in (["a"], "a", None, iter("a")):
        with pytest.raises(TypeError, match="events must come from a channel"):
            Response.events(source)  # type: ignore[arg-type]  # the subject of the test


async def test_what_is_no_event_is_an_error(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """A channel of something else is a mistake of the program; nothing is guessed."""
    app = App()

    async def wrong() -> AsyncIterator[Event]:
        yield {"a": 1}  # type: ignore[misc]  # the subject of the test

    @app.get("/")
    async def handler(request: Request) -> Response:
        return Response.events(wrong())

    with pytest.raises(trio.BrokenResourceError):
        await ask(app, "GET /", faults=True)
    assert "the data of an event must be a str, not dict" in caplog.text
