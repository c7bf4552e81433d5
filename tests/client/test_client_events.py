"""``client.events``: a stream of events that is kept up, against servers that do what a script says."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import pytest
import trio

from triohttp import Client, ClientTimeouts, Event
from triohttp.errors import (
    ClientClosedError,
    ConnectError,
    ContentError,
    DisconnectedError,
    InvalidHeaderError,
    LimitError,
    ReadTimeout,
    RedirectError,
    RemoteProtocolError,
    StatusError,
)
from triohttp.testing import RawConnection, RawRequest, ScriptedServer, open_scripted

Act: TypeAlias = Callable[[RawConnection], Awaitable[object]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(*events: bytes, end: bytes = END) -> bytes:
    return HEAD + b"".join(map(chunk, events)) + end


def status(line: str, *fields: str, content: bytes = b"") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {line}", *fields, f"Content-Length: {len(content)}", "", ""])
    return head.encode() + content


class Acts:
    """A script of one act a request, the last of which is repeated; it remembers requests and when they came.

    Bytes are a whole answer, after which the connection is used again; a function has the connection to itself.
    """

    def __init__(self, *acts: bytes | Act) -> None:
        self.acts = list(acts)
        self.requests: list[RawRequest] = []
        self.times: list[float] = []

    async def __call__(self, raw: RawConnection) -> None:
        while True:
            self.requests.append(await raw.read_request())
            self.times.append(trio.current_time())
            act = self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]
            if not isinstance(act, bytes):
                await act(raw)
                return
            await raw.send_all(act)

    @property
    def waits(self) -> list[float]:
        """Seconds between the requests."""
        return [after - before for before, after in zip(self.times, self.times[1:], strict=False)]

    @property
    def ids(self) -> list[str | None]:
        """Where each request asked to go on from."""
        return [request.headers.get("last-event-id") for request in self.requests]


def client_of(server: ScriptedServer, **options: Any) -> Client:
    return Client(mounts={server.url: server}, **options)


async def wait(raw: RawConnection) -> None:
    """Keep the stream open, silently, until the client leaves."""
    await raw.send_all(HEAD)
    await raw.read_until_closed()


# -- a stream ----------------------------------------------------------------------------------------------------------


async def test_events_are_received(autojump_clock: trio.abc.Clock) -> None:
    """As they come; the request says what it wants, and the answer is there to be looked at."""
    acts = Acts(
        stream(b"id: 1\ndata: a\n\n", b": hello\n\nevent: x\ndata: b\n\ndata:", b" c\n\n"), status("204 No Content")
    )
    async with open_scripted(acts) as server, client_of(server) as client:
        async with client.events(server.url) as events:
            assert events.response.status == 200
            assert [event async for event in events] == [
                Event("a", type="message", id="1"),
                Event("b", type="x", id="1"),
                Event("c", type="message", id="1"),
            ]
            assert events.last_event_id == "1"
    first = acts.requests[0]
    assert first.method == "GET"
    assert first.headers["Accept"] == "text/event-stream"
    assert first.headers["Cache-Control"] == "no-store"
    assert acts.ids == [None, "1"]


async def test_fields_of_the_program_count() -> None:
    """Those that it gives replace what would be sent under their names, in the first request and in later ones."""
    acts = Acts(status("204 No Content"))
    async with open_scripted(acts) as server, client_of(server) as client:
        async with client.events(
            server.url, headers={"accept": "*/*", "x-own": "1"}, params={"a": "b"}, last_event_id="é"
        ) as events:
            with pytest.raises(trio.EndOfChannel):
                await events.receive()
            assert events.last_event_id == "é"
    [request] = acts.requests
    assert (request.target, request.headers["Accept"], request.headers["X-Own"]) == ("/?a=b", "*/*", "1")
    assert request.headers.get_bytes("Last-Event-ID") == "é".encode()


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_pieces_of_any_size_will_do(size: int) -> None:
    """Whatever the network makes of them."""
    data = b"\xef\xbb\xbfid: 1\r\ndata: a\r\ndata: \xc3\xa9\r\n\r\nretry: 100\r\n\r\ndata: b\r\n\r\n"
    acts = Acts(stream(*[data[start : start + size] for start in range(0, len(data), size)]))
    async with open_scripted(acts) as server, client_of(server) as client:
        async with client.events(server.url, reconnect=False) as events:
            assert [event.data async for event in events] == ["a\né", "b"]


# -- connecting again --------------------------------------------------------------------------------------------------


async def break_off(raw: RawConnection) -> None:
    await raw.send_all(HEAD + chunk(b"id: 2\ndata: b\n\ndata: unfin"))


async def reset(raw: RawConnection) -> None:
    await raw.send_all(HEAD + chunk(b"id: 3\ndata: c\n\nid: 4\n"))
    await trio.sleep(0)
    raw.reset()


async def vanish(raw: RawConnection) -> None:
    raw.reset()


async def test_a_stream_goes_on_over_many_connections(autojump_clock: trio.abc.Clock) -> None:
    """An end, a connection that breaks, one that is reset, errors that pass: each time after the last whole event."""
    acts = Acts(
        stream(b"id: 1\ndata: a\n\n"),
        break_off,
        reset,
        vanish,
        status("503 Service Unavailable"),
        status("429 Too Many Requests"),
        status("500 Internal Server Error"),
        stream(b"data: d\n\n", b"id\ndata: e\n\n"),
        status("204 No Content"),
    )
    async with open_scripted(acts) as server, client_of(server) as client:
        async with client.events(server.url) as events:
            seen = [(event.data, event.id) async for event in events]
            assert events.reconnects == 4
            assert events.response.status == 204
        statistics = client.pool.statistics()
    assert seen == [("a", "1"), ("b", "2"), ("c", "3"), ("d", "3"), ("e", "")]
    assert acts.ids == [None, "1", "2", "3", "3", "3", "3", "3", None]
    assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0)


async def test_waits_grow_up_to_a_minute(autojump_clock: trio.abc.Clock) -> None:
    """A second first, then twice as long each time, give or take half of it; an event starts all over."""
    acts = Acts(
        stream(b"data: a\n\n"),
        *[status("503 Service Unavailable")] * 8,
        stream(b"data: b\n\n"),
        stream(),
        status("204 No Content"),
    )
    async with open_scripted(acts) as server, client_of(server) as client, client.events(server.url) as events:
        assert [event.data async for event in events] == ["a", "b"]
    for seconds, expected in zip(acts.waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 1, 2], strict=True):
        assert expected / 2 <= seconds <= expected * 1.5


@pytest.mark.parametrize(("retry", "expected"), [(b"3000", 3), (b"0", 0.1), (b"1000000000", 60), (b"x", 5)])
async def test_a_server_sets_the_wait(autojump_clock: trio.abc.Clock, retry: bytes, expected: float) -> None:
    """From a tenth of a second to a minute; what is no number is not heard."""
    acts = Acts(stream(b"retry: " + retry + b"\ndata: a\n\n"), stream(b"data: b\n\n"), status("204 No Content"))
    async with open_scripted(acts) as server, client_of(server) as client:
        async with client.events(server.url, reconnect_seconds=5) as events:
            assert [event.data async for event in events] == ["a", "b"]
    for seconds in acts.waits:
        assert expected / 2 <= seconds <= expected * 1.5


@pytest.mark.parametrize(
    ("field", "least", "most"), [("120", 120, 121), ("99999999999999", 3600, 3601), ("soon", 0.5, 1.5)]
)
async def test_a_server_may_ask_for_more_time(
    autojump_clock: trio.abc.Clock, field: str, least: float, most: float
) -> None:
    """Retry-After counts, up to an hour."""
    acts = Acts(
        stream(b"data: a\n\n"), status("503 Service Unavailable", f"Retry-After: {field}"), status("204 No Content")
    )
    async with open_scripted(acts) as server, client_of(server) as client, client.events(server.url) as events:
        assert [event.data async for event in events] == ["a"]
    assert least <= acts.waits[1] <= max(most, 3)


async def test_a_date_to_wait_for_will_do(autojump_clock: trio.abc.Clock) -> None:
    """One in the past is no wait."""
    acts = Acts(
        stream(b"data: a\n\n"),
        status("503 Service Unavailable", "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"),
        status("503 Service Unavailable", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"),
        status("204 No Content"),
    )
    async with open_scripted(acts) as server, client_of(server) as client, client.events(server.url) as events:
        assert [event.data async for event in events] == ["a"]
    assert acts.waits[1] <= 3
    assert acts.waits[2] == 3600


async def test_silence_may_count_as_broken(autojump_clock: trio.abc.Clock) -> None:
    """``idle_seconds`` without a byte; comments are bytes."""

    async def murmur(raw: RawConnection) -> None:
        await raw.send_all(HEAD)
        for _ in range(5):
            await trio.sleep(9)
            await raw.send_all(chunk(b":\n\n"))
        await raw.send_all(chunk(b"data: a\n\n"))
        await raw.read_until_closed()

    acts = Acts(murmur, status("204 No Content"))
    async with open_scripted(acts) as server, client_of(server) as client:
        async with client.events(server.url, idle_seconds=10) as events:
            assert [event.data async for event in events] == ["a"]
    assert 45 + 10.5 <= acts.waits[0] <= 45 + 11.5


async def test_silence_counts_as_nothing_by_default(autojump_clock: trio.abc.Clock) -> None:
    """Neither the idle time of other answers nor a total time ends a stream."""

    async def late(raw: RawConnection) -> None:
        await raw.send_all(HEAD)
        await trio.sleep(10_000)
        await raw.send_all(chunk(b"data: a\n\n"))

    timeouts = ClientTimeouts(read_idle_seconds=5, total_seconds=20)
    async with open_scripted(Acts(late)) as server, client_of(server, timeouts=timeouts) as client:
        async with client.events(server.url) as events:
            assert (await events.receive()).data == "a"
            assert events.reconnects == 0


async def test_a_reconnect_is_logged(autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture) -> None:
    """With the reason and the wait, for who listens."""
    caplog.set_level(logging.INFO, "triohttp.client")
    acts = Acts(stream(), status("503 Service Unavailable", "Retry-After: 9"), status("204 No Content"))
    async with open_scripted(acts) as server, client_of(server) as client, client.events(server.url) as events:
        assert [event async for event in events] == []
    [first, second] = [record.getMessage() for record in caplog.records if record.name == "triohttp.client"]
    assert "the stream ended; connecting again in" in first
    assert "503 Service Unavailable; connecting again in 9.0 s" in second


# -- not connecting again ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["301 Moved Permanently", "400 Bad Request", "404 Not Found", "500 Oops", "503 Oops"])
async def test_the_first_answer_must_be_a_stream(line: str) -> None:
    """Whatever else it is, entering the block raises it, with its content; nothing is tried again."""
    acts = Acts(status(line, content=b"because"))
    async with open_scripted(acts) as server, client_of(server) as client:
        with pytest.raises(StatusError) as caught:
            async with client.events(server.url):
                raise AssertionError
        assert client.pool.statistics().in_use == 0
    assert (caught.value.code, caught.value.content) == (int(line[:3]), b"because")
    assert len(acts.requests) == 1


@pytest.mark.parametrize(
    "field", ["Content-Type: text/html", "Content-Type: text/event-stream2", "Content-Type: ?", "X: y"]
)
async def test_the_answer_must_say_that_it_is_one(field: str) -> None:
    """By its Content-Type."""
    async with open_scripted(Acts(status("200 OK", field))) as server, client_of(server) as client:
        with pytest.raises(ContentError, match="not text/event-stream") as caught:
            async with client.events(server.url):
                raise AssertionError
    assert caught.value.reason == "media-type"


async def test_parameters_of_the_type_do_not_matter() -> None:
    """It is UTF-8, whatever they say."""
    answer = status("200 OK", "Content-Type: Text/Event-Stream; charset=latin-1", content="data: é\n\n".encode())
    async with open_scripted(Acts(answer)) as server, client_of(server) as client:
        async with client.events(server.url, reconnect=False) as events:
            assert [event.data async for event in events] == ["é"]


async def test_the_first_connection_must_come_about() -> None:
    """No server, no stream: entering says so, as ``client.stream`` does."""
    async with Client() as client:
        with pytest.raises(ConnectError):
            async with client.events("http://127.0.0.1:1/"):
                raise AssertionError


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (status("404 Not Found"), StatusError),
        (status("302 Found", "Location: file:///"), RedirectError),
        (status("200 OK", "Content-Type: text/html"), ContentError),
        (b"nonsense\r\n\r\n", RemoteProtocolError),
    ],
)
async def test_what_does_not_pass_ends_it_later_too(
    autojump_clock: trio.abc.Clock, act: bytes, error: type[Exception]
) -> None:
    """An answer that waiting will not mend comes out of ``receive``; the channel is closed then."""
    acts = Acts(stream(b"data: a\n\n"), act)
    async with open_scripted(acts) as server, client_of(server) as client, client.events(server.url) as events:
        assert (await events.receive()).data == "a"
        with pytest.raises(error):
            await events.receive()
        with pytest.raises(trio.ClosedResourceError):
            await events.receive()
        assert client.pool.statistics().in_use == 0
    assert len(acts.requests) == 2


async def test_an_event_is_bounded(autojump_clock: trio.abc.Clock) -> None:
    """Those before it arrive; the one that is too large ends the channel, and is not asked for again."""
    acts = Acts(stream(b"data: a\n\n", b"data: " + b"x" * 100_000))
    async with open_scripted(acts) as server, client_of(server) as client:
        async with client.events(server.url, max_event_bytes=50_000) as events:
            assert (await events.receive()).data == "a"
            with pytest.raises(LimitError) as caught:
                await events.receive()
            assert client.pool.statistics().in_use == 0
    assert (caught.value.limit, caught.value.bound) == ("max_event_bytes", 50_000)
    assert len(acts.requests) == 1


async def test_a_stream_may_be_left_to_end() -> None:
    """With ``reconnect=False`` the iteration ends with the stream, and goes on ending."""
    acts = Acts(stream(b"data: a\n\n"))
    async with open_scripted(acts) as server, client_of(server) as client:
        async with client.events(server.url, reconnect=False) as events:
            assert [event.data async for event in events] == ["a"]
            with pytest.raises(trio.EndOfChannel):
                await events.receive()
            assert client.pool.statistics().idle == 1
    assert len(acts.requests) == 1


@pytest.mark.parametrize(("act", "error"), [(break_off, DisconnectedError), (wait, ReadTimeout)])
async def test_without_reconnect_errors_come_out(
    autojump_clock: trio.abc.Clock, act: Act, error: type[Exception]
) -> None:
    """Of the connection, and of silence."""
    async with open_scripted(Acts(act)) as server, client_of(server) as client:
        async with client.events(server.url, reconnect=False, idle_seconds=3) as events:
            with pytest.raises(error) as caught:
                while True:
                    await events.receive()
            assert "while requesting GET" in caught.value.__notes__[0]


@pytest.mark.parametrize(("options", "requests"), [({}, 1), ({"reconnect": True}, 2)])
async def test_a_post_is_sent_again_only_when_asked(
    autojump_clock: trio.abc.Clock, options: dict[str, Any], requests: int
) -> None:
    """Its work may be done again, so that is for the program to say; with the same content, then."""
    acts = Acts(stream(b"data: a\n\n"), status("204 No Content"))
    async with open_scripted(acts) as server, client_of(server) as client:
        async with client.events(server.url, method="post", json={"ask": "why"}, **options) as events:
            assert [event.data async for event in events] == ["a"]
    assert [request.method for request in acts.requests] == ["POST"] * requests
    assert {request.content for request in acts.requests} == {b'{"ask":"why"}'}


async def test_content_that_cannot_be_sent_again_is_refused() -> None:
    """An iterable is used up by the first request."""
    async with Client() as client:
        with pytest.raises(TypeError, match="must be bytes, text, json or a form, not an iterable"):
            client.events("http://a.test/", method="POST", content=[b"a"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"reconnect_seconds": 0}, ValueError, "reconnect_seconds must be from 0.1 to 60"),
        ({"reconnect_seconds": 61}, ValueError, "reconnect_seconds must be from 0.1 to 60"),
        ({"reconnect_seconds": math.nan}, ValueError, "reconnect_seconds must be from 0.1 to 60"),
        ({"idle_seconds": 0}, ValueError, "idle_seconds must be above 0"),
        ({"max_event_bytes": 0}, ValueError, "max_event_bytes must be at least 1"),
        ({"last_event_id": "a\nb"}, InvalidHeaderError, "must not hold"),
        ({"timeouts": 3}, TypeError, "timeouts must be of type ClientTimeouts"),
        ({"retries": 3}, TypeError, "unknown option 'retries'"),
    ],
)
async def test_arguments_that_make_no_sense_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Where they are given, before anything is sent."""
    async with Client() as client:
        with pytest.raises(error, match=message):
            client.events("http://a.test/", **options)


async def test_a_block_is_entered_once() -> None:
    """Each stream has one of its own."""
    async with open_scripted(Acts(stream(b"data: a\n\n"))) as server, client_of(server) as client:
        block = client.events(server.url)
        async with block:
            pass
        with pytest.raises(RuntimeError, match="entered before"):
            async with block:
                raise AssertionError


# -- who receives, and when it ends ------------------------------------------------------------------------------------


async def test_a_deadline_holds_everywhere(autojump_clock: trio.abc.Clock) -> None:
    """While an event is awaited, while a new connection is, and between two; nothing is lost, no slot is held."""

    async def slow_head(raw: RawConnection) -> None:
        await trio.sleep(20)
        await raw.send_all(stream(b"data: b\n\n"))

    acts = Acts(stream(b"retry: 10000\ndata: a\n\n"), slow_head)
    async with open_scripted(acts) as server, client_of(server) as client, client.events(server.url) as events:
        assert (await events.receive()).data == "a"
        for _ in range(20):  # the stream ends, and then there are 5 to 15 seconds to wait
            with trio.move_on_after(0.1) as scope:
                await events.receive()
            assert scope.cancelled_caught
            assert client.pool.statistics().in_use == 0
        for _ in range(3):  # a connection is being opened, or its head awaited
            with trio.move_on_after(15) as scope:
                await events.receive()
            assert scope.cancelled_caught
            statistics = client.pool.statistics()
            assert (statistics.in_use, statistics.connecting) == (0, 0)
        with trio.fail_after(90 + 21):  # by now the wait is a minute, give or take half of it
            assert (await events.receive()).data == "b"
        assert events.reconnects == 1


async def test_polling_asks_a_slow_server_no_more_often_than_waiting(autojump_clock: trio.abc.Clock) -> None:
    """A connect that the deadline of a poll ends counts as one that failed, whatever it had come to."""

    async def slow_head(raw: RawConnection) -> None:
        await trio.sleep(2)

    async def slow_explanation(raw: RawConnection) -> None:
        await raw.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n")
        await raw.read_until_closed()

    acts = Acts(stream(b"data: a\n\n"), slow_head, slow_explanation, slow_head, stream(b"data: b\n\n"))
    async with open_scripted(acts) as server, client_of(server) as client, client.events(server.url) as events:
        seen = []
        while len(seen) < 2:
            with trio.move_on_after(0.3):
                seen.append((await events.receive()).data)
        assert events.reconnects == 1
    assert seen == ["a", "b"]
    for seconds, expected in zip(acts.waits, [1, 2, 4, 8], strict=True):
        assert expected / 2 <= seconds <= expected * 1.5 + 0.3


async def test_a_cancelled_receive_loses_no_event(autojump_clock: trio.abc.Clock) -> None:
    """Whatever it had received by then is still there."""

    async def dribble(raw: RawConnection) -> None:
        await raw.send_all(HEAD)
        for piece in stream(*[b"data: %d\n\n" % number for number in range(30)])[len(HEAD) :].split(b"\n"):
            await raw.send_all(piece + b"\n")
            await trio.sleep(0.01)

    async with open_scripted(Acts(dribble)) as server, client_of(server) as client:
        async with client.events(server.url, reconnect=False) as events:
            seen = []
            while len(seen) < 30:
                with trio.move_on_after(0.004):
                    seen.append((await events.receive()).data)
    assert seen == [str(number) for number in range(30)]


async def test_one_task_receives_at_a_time(autojump_clock: trio.abc.Clock) -> None:
    """A second one is told."""
    async with open_scripted(Acts(wait)) as server, client_of(server) as client:
        async with client.events(server.url) as events, trio.open_nursery() as nursery:
            nursery.start_soon(events.receive)
            await trio.sleep(1)
            with pytest.raises(trio.BusyResourceError):
                await events.receive()
            nursery.cancel_scope.cancel()


def waiting_for_an_event() -> Acts:
    return Acts(wait)


def waiting_to_connect() -> Acts:
    return Acts(stream())


def waiting_for_a_head() -> Acts:
    async def silent(raw: RawConnection) -> None:
        await raw.read_until_closed()

    return Acts(stream(), silent)


@pytest.mark.parametrize("make", [waiting_for_an_event, waiting_to_connect, waiting_for_a_head])
@pytest.mark.parametrize("how", ["aclose", "leave", "client"])
async def test_who_receives_hears_of_the_end(
    autojump_clock: trio.abc.Clock, make: Callable[[], Acts], how: str
) -> None:
    """When the channel, its block or its client is closed meanwhile, in whatever it waits for."""
    outcome: list[BaseException] = []

    async def receive() -> None:
        try:
            await events.receive()
        except Exception as exc:
            outcome.append(exc)

    async with open_scripted(make()) as server, trio.open_nursery() as nursery, client_of(server) as client:
        async with client.events(server.url, reconnect_seconds=60 if make is waiting_to_connect else 0.1) as events:
            nursery.start_soon(receive)
            await trio.sleep(5)
            if how == "client":
                await client.aclose()
                await trio.sleep(200)
            elif how == "aclose":
                await events.aclose()
                await trio.sleep(0.1)
                with pytest.raises(trio.ClosedResourceError):
                    await events.receive()
        await trio.sleep(0.1)
    [error] = outcome
    assert isinstance(error, ClientClosedError if how == "client" else trio.ClosedResourceError)


async def test_large_content_goes_out_first(autojump_clock: trio.abc.Clock) -> None:
    """It needs a task while it does; that has ended when the block begins, which any exception may leave."""

    async def script(raw: RawConnection) -> None:
        await raw.read_until(b"\r\n\r\n")
        await raw.send_all(HEAD + chunk(b"data: a\n\n"))
        await raw.read_exactly(1_000_000)
        await raw.read_until_closed()

    async with open_scripted(script) as server, client_of(server) as client:
        task = trio.lowlevel.current_task()
        nurseries = list(task.child_nurseries)
        with pytest.raises(KeyError):
            async with client.events(server.url, method="POST", content=bytes(1_000_000)) as events:
                assert task.child_nurseries == nurseries
                assert (await events.receive()).data == "a"
                raise KeyError
        assert client.pool.statistics().in_use == 0
