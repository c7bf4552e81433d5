"""``request.events``: what goes out and when, how a stream ends, and what becomes of what goes wrong in it."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
import trio

from triohttp import App, Event, EventSender, Handler, Request, Response
from triohttp.errors import BodyStateError, InvalidHeaderError
from triohttp.testing import RawConnection, RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def app_of(handler: Callable[[Request], Awaitable[None]]) -> App:
    app = App()
    app.add_route("/", handler)
    return app


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


async def read_chunk(raw: RawConnection) -> bytes:
    """Return the next chunk's content, ``b""`` at the end."""
    size = int(await raw.read_until(b"\r\n"), 16)
    return (await raw.read_exactly(size + 2))[:-2]


async def test_each_event_is_a_chunk_of_exactly_these_bytes(ask: Ask) -> None:
    """Id, event, retry, data; a str is data alone; a comment is one; then the stream ends."""

    async def handler(request: Request) -> None:
        async with request.events() as events:
            await events.send(Event("Message 1", type="update"))
            await events.send("a\nb\r\nc")
            await events.send(Event("hello", type="x", id="7"))
            await events.send(Event("", type="", id=""))
            await events.send(Event())
            await events.comment("still\nhere")
            await events.comment()

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await raw.read_until(b"\r\n\r\n")
        chunks = []
        while chunk := await read_chunk(raw):
            chunks.append(chunk)
    assert chunks == [
        b"event: update\ndata: Message 1\n\n",
        b"data: a\ndata: b\ndata: c\n\n",
        b"id: 7\nevent: x\ndata: hello\n\n",
        b"id\nevent\ndata\n\n",
        b"data\n\n",
        b": still\n: here\n\n",
        b":\n\n",
    ]


async def test_the_head_goes_out_at_once() -> None:
    """A client knows that it is connected before there is an event; no cache keeps the stream and no proxy holds it."""

    async def handler(request: Request) -> None:
        async with request.events():
            await trio.sleep_forever()

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        head = await raw.read_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: text/event-stream\r\n" in head
    assert b"Cache-Control: no-store\r\n" in head
    assert b"X-Accel-Buffering: no\r\n" in head
    assert b"Transfer-Encoding: chunked\r\n" in head


async def test_fields_of_the_program_count(ask: Ask) -> None:
    """Each name that the program gives replaces what would be sent under it."""

    async def handler(request: Request) -> None:
        async with request.events(headers={"cache-control": "no-cache", "X-Own": "1"}, retry_ms=250) as events:
            await events.send("a")

    response = await ask(app_of(handler), "GET /")
    assert response.headers.get_all("Cache-Control") == ["no-cache"]
    assert response.headers["X-Own"] == "1"
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.content == b"retry: 250\n\ndata: a\n\n"


async def test_http_1_0_gets_its_events_too(ask: Ask) -> None:
    """Without chunks, up to the end of the connection."""

    async def handler(request: Request) -> None:
        async with request.events() as events:
            await events.send("a")

    response = await ask(app_of(handler), "GET /", version="1.0")
    assert (response.content, response.headers.get("Transfer-Encoding")) == (b"data: a\n\n", None)


async def test_head_ends_after_the_head(ask: Ask) -> None:
    """The block is cancelled where it first waits, and nothing of it is left."""
    ended = []

    async def handler(request: Request) -> None:
        try:
            async with request.events(retry_ms=1) as events:
                await events.send("never")
                raise AssertionError
        finally:
            ended.append(trio.current_time())

    response = await ask(app_of(handler), "HEAD /")
    assert (response.status, response.content) == (200, b"")
    assert response.headers["Content-Type"] == "text/event-stream"
    assert len(ended) == 1


# -- heartbeats --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "expected"), [(None, [15, 30, 45]), (20, [20, 40]), (0.5, None), (math.inf, [])])
async def test_a_silent_stream_is_kept_alive(
    autojump_clock: trio.abc.Clock, seconds: float | None, expected: list[float] | None
) -> None:
    """A comment goes out whenever nothing else did for so long; never, if the program says so."""

    async def handler(request: Request) -> None:
        async with request.events(**({} if seconds is None else {"heartbeat_seconds": seconds})):
            await trio.sleep(50)

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await raw.read_until(b"\r\n\r\n")
        began = trio.current_time()
        times = []
        while chunk := await read_chunk(raw):
            assert chunk == b":\n\n"
            times.append(round(trio.current_time() - began, 3))
    if expected is None:
        expected = [number / 2 for number in range(1, 101)]
        times.append(50.0) if len(times) == 99 else None  # the last is in the step in which the block ends
    assert times == expected


async def test_events_are_heartbeats_too(autojump_clock: trio.abc.Clock, ask: Ask) -> None:
    """While something is sent often enough, no comment is."""

    async def handler(request: Request) -> None:
        async with request.events() as events:
            for _ in range(5):
                await events.send("a")
                await trio.sleep(14)
            await trio.sleep(2)

    assert (await ask(app_of(handler), "GET /")).content == b"data: a\n\n" * 5 + b":\n\n"


# -- filters -----------------------------------------------------------------------------------------------------------


class Compressor:
    """What a middleware for compression would attach."""

    def __init__(self) -> None:
        self._object = zlib.compressobj(wbits=31)

    def feed(self, data: bytes) -> bytes:
        return self._object.compress(data)

    def flush(self) -> bytes:
        return self._object.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._object.flush()


async def test_a_filter_holds_no_event_back() -> None:
    """Behind two of them each event can be read as soon as it was sent, in one piece."""
    app = App()
    go_on = trio.Event()

    @app.middleware
    async def compress(request: Request, handler: Handler) -> Response:
        request.on_head(lambda head: Compressor())
        request.on_head(lambda head: Compressor())
        return await handler(request)

    async def handler(request: Request) -> None:
        nonlocal go_on
        async with request.events() as events:
            for number in range(5):
                await events.send(str(number))
                await go_on.wait()
                go_on = trio.Event()

    app.add_route("/", handler)
    inner, outer = zlib.decompressobj(wbits=31), zlib.decompressobj(wbits=31)
    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await raw.read_until(b"\r\n\r\n")
        assert inner.decompress(outer.decompress(await read_chunk(raw))) == b""
        for number in range(5):
            assert inner.decompress(outer.decompress(await read_chunk(raw))) == b"data: %d\n\n" % number
            go_on.set()
        assert inner.decompress(outer.decompress(await read_chunk(raw))) == b""
        assert await read_chunk(raw) == b""
        assert inner.eof
        assert outer.eof


# -- ends --------------------------------------------------------------------------------------------------------------


async def test_an_exception_cuts_the_stream(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """The client sees that it is not over; the one real error is reported, once."""

    async def handler(request: Request) -> None:
        async with request.events() as events:
            await events.send("a")
            raise KeyError("mine")

    with pytest.raises(trio.BrokenResourceError):
        await ask(app_of(handler), "GET /", faults=True)
    [fault] = faults(caplog)
    assert "KeyError('mine')" in fault
    assert "Group" not in fault


async def test_the_block_leaves_exceptions_alone(ask: Ask) -> None:
    """One error comes out as it is, a group of the program's own as that group."""
    caught: list[Exception] = []
    one, own = LookupError(), ExceptionGroup("mine", [KeyError(1), ValueError(2)])

    async def fail(error: Exception) -> None:
        raise error

    async def handler(request: Request) -> None:
        try:
            async with request.events(overflow="drop_oldest") as events:
                await events.send("a")
                if request.query["kind"] == "nursery":
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(fail, KeyError(3))
                        await trio.sleep_forever()
                raise one if request.query["kind"] == "one" else own
        except Exception as exc:
            caught.append(exc)

    for kind in ("one", "group", "nursery"):
        with pytest.raises(trio.BrokenResourceError):
            await ask(app_of(handler), f"GET /?kind={kind}")
    assert caught[:2] == [one, own]
    nursery = caught[2]
    assert isinstance(nursery, ExceptionGroup)
    assert [type(inner) for inner in nursery.exceptions] == [KeyError]


async def test_a_send_that_was_given_up_cuts_the_stream(autojump_clock: trio.abc.Clock) -> None:
    """A deadline of the program's own may end a send; what is half sent has no proper end."""
    outcome: list[object] = []

    async def handler(request: Request) -> None:
        async with request.events() as events:
            with trio.move_on_after(1):
                await events.send("x" * 1_000_000)
            try:
                await events.send("more")
            except trio.BrokenResourceError:
                outcome.append("broken")
            await trio.sleep(20)  # and no heartbeat is tried

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await trio.sleep(30)
        with pytest.raises(trio.BrokenResourceError):
            await raw.read_until_closed()
    assert outcome == ["broken"]


async def test_a_stream_may_be_ended_inside_its_block(ask: Ask) -> None:
    """``aclose`` ends it; sending is an error from then on, and the block goes on."""
    outcome: list[object] = []

    async def handler(request: Request) -> None:
        async with request.events() as events:
            async with events:
                await events.send("a")
            await events.aclose()
            for send in (events.send, events.comment):
                try:
                    await send("b")
                except trio.ClosedResourceError:
                    outcome.append("closed")
            outcome.append("went on")

    assert (await ask(app_of(handler), "GET /")).content == b"data: a\n\n"
    assert outcome == ["closed", "closed", "went on"]


async def test_who_sends_after_the_end_is_told(ask: Ask) -> None:
    """A task that outlives the block finds the stream closed."""
    kept: list[EventSender] = []

    async def handler(request: Request) -> None:
        async with request.events() as events:
            kept.append(events)

    await ask(app_of(handler), "GET /")
    with pytest.raises(trio.ClosedResourceError):
        await kept[0].send("late")


async def test_many_tasks_may_send(autojump_clock: trio.abc.Clock) -> None:
    """To a reader who is slower than all of them; each event stays in one piece, each sender's in order."""

    async def sender(events: EventSender, name: str) -> None:
        for number in range(20):
            await events.send(Event(f"{number}\n" + name * 5000, type=name))

    async def handler(request: Request) -> None:
        async with request.events() as events, trio.open_nursery() as nursery:
            for name in "abcde":
                nursery.start_soon(sender, events, name)

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await raw.read_until(b"\r\n\r\n")
        seen: dict[str, list[int]] = {}
        while chunk := await read_chunk(raw):
            kind, number, rest, *end = chunk.decode().split("\n")
            name = kind.removeprefix("event: ")
            seen.setdefault(name, []).append(int(number.removeprefix("data: ")))
            assert rest == "data: " + name * 5000
            assert end == ["", ""]
            await trio.sleep(0.01)
    assert seen == {name: list(range(20)) for name in "abcde"}


# -- before the head ---------------------------------------------------------------------------------------------------


async def test_an_error_before_the_head_is_an_error_page(ask: Ask) -> None:
    """Nothing has gone out when a hook fails, so the answer is a whole one."""

    async def handler(request: Request) -> None:
        def refuse(head: object) -> None:
            raise LookupError

        request.on_head(refuse)
        async with request.events():
            raise AssertionError

    assert (await ask(app_of(handler), "GET /", faults=True)).status == 500


async def test_an_answer_is_owned_once(ask: Ask) -> None:
    """A second stream of the same request is refused, and the first goes on."""

    async def handler(request: Request) -> None:
        async with request.events() as events:
            try:
                async with request.events():
                    raise AssertionError
            except BodyStateError:
                await events.send("refused")

    assert (await ask(app_of(handler), "GET /")).content == b"data: refused\n\n"


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"heartbeat": 3}, TypeError, "unknown option 'heartbeat'"),
    ({"heartbeat_seconds": 0}, ValueError, "heartbeat_seconds must be above 0"),
    ({"heartbeat_seconds": math.nan}, ValueError, "heartbeat_seconds must be above 0"),
    ({"heartbeat_seconds": "1"}, ValueError, "heartbeat_seconds must be above 0"),
    ({"max_pending": 0}, ValueError, "max_pending must be a whole number of at least 1"),
    ({"max_pending": 1.5}, ValueError, "max_pending must be a whole number of at least 1"),
    ({"overflow": "drop"}, ValueError, "overflow must be one of block, drop_oldest, close"),
    ({"on_drain": "stop"}, ValueError, "on_drain must be one of end, continue"),
    ({"retry_ms": -1}, ValueError, "retry_ms must be at least 0"),
    ({"retry_ms": "500"}, TypeError, "retry_ms must be an int"),
    ({"headers": {"a": "b\n"}}, InvalidHeaderError, "must not hold"),
]


@pytest.mark.parametrize(("options", "error", "message"), WRONG)
async def test_options_that_make_no_sense_are_refused(
    ask: Ask, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Where they are given, before anything goes out."""
    with pytest.raises(error, match=message):
        Response.events(trio.open_memory_channel[Event](0)[1], **options)

    async def handler(request: Request) -> None:
        with pytest.raises(error, match=message):
            request.events(**options)
        async with request.respond(204):
            pass

    assert (await ask(app_of(handler), "GET /")).status == 204


# -- where to go on ----------------------------------------------------------------------------------------------------

IDS = [
    (None, None),
    (b"7", "7"),
    (b"", None),
    ("日本 é".encode(), "日本 é"),
    (b"x" * 256, "x" * 256),
    (b"x" * 257, None),
    ("é".encode() * 256, "é" * 256),
    ("é".encode() * 257, None),
    (b"x" * 8000, None),
    (b"\xff", None),
    (b"a\tb", None),
    ("a\x85b".encode(), None),
    (b"99999999999999999999999999", "99999999999999999999999999"),
]


@pytest.mark.parametrize(("value", "expected"), IDS)
async def test_the_id_of_a_client_is_checked(value: bytes | None, expected: str | None) -> None:
    """UTF-8 without control characters, 256 of them at most; anything else counts as none."""
    seen: list[str | None] = []

    async def handler(request: Request) -> None:
        seen.append(request.last_event_id)
        async with request.events():
            pass

    field = b"" if value is None else b"Last-Event-ID: " + value + b"\r\n"
    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n" + field + b"\r\n")
        assert (await raw.read_response()).status == 200
    assert seen == [expected]
