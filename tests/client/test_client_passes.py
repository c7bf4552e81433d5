"""Content that is sent in passes: what can be sent again, what cannot, and what each pass leaves behind."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import trio
import trio.testing

from triohttp import Client
from triohttp._client.body import StreamedContent, in_pieces
from triohttp.errors import BodyStateError, DisconnectedError, LocalProtocolError, RedirectError
from triohttp.testing import RawConnection, RawRequest, open_scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
AGAIN = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"


class Again:
    """An iterable that can be iterated again; its iterators note that they were closed."""

    def __init__(self) -> None:
        self.closed = 0

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from (b"one", b"two")
        finally:
            self.closed += 1


class AsyncAgain(Again):
    """The same, asynchronous."""

    async def __aiter__(self) -> AsyncIterator[bytes]:  # type: ignore[override]  # a generator function
        try:
            yield b"one"
            yield b"two"
        finally:
            await trio.lowlevel.checkpoint()
            self.closed += 1


async def read_pass(content: StreamedContent) -> bytes:
    """Read a whole pass and end it."""
    pieces = []
    while (piece := await content.next_piece()) is not None:
        pieces.append(piece)
    await content.aclose()
    return b"".join(pieces)


@pytest.mark.parametrize(
    "make",
    [
        lambda: [b"one", b"two"],
        lambda: (b"one", bytearray(b"two")),
        lambda: deque([b"one", memoryview(b"two")]),
        {"a": b"one", "b": b"two"}.values,
        Again,
        AsyncAgain,
    ],
)
async def test_what_is_read_again(make: Callable[[], Any]) -> None:
    """Whatever gives a new iterator each time can be sent any number of times."""
    content = StreamedContent(make())
    assert content.replayable
    for _ in range(3):
        assert not content.started
        assert await read_pass(content) == b"onetwo"
        assert content.started
        content.rewind()


async def once() -> AsyncIterator[bytes]:
    yield b"one"
    yield b"two"


class Closable(Again):
    """An iterable that is a resource: it has a close of its own."""

    def close(self) -> None:
        self.closed += 10


def stream() -> trio.abc.ReceiveStream:
    return trio.testing.memory_stream_one_way_pair()[1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: iter([b"one"]),
        lambda: (b"x" for _ in "12"),
        once,
        Closable,
        stream,
        lambda: trio.open_memory_channel(1)[1],
    ],
)
async def test_what_is_read_once(make: Callable[[], Any]) -> None:
    """Iterators, generators, streams, channels and whatever can be closed are closed after their only pass."""
    content = StreamedContent(make())
    assert not content.replayable
    content.rewind()  # nothing has been read: there is nothing to go back over
    await content.aclose()
    with pytest.raises(BodyStateError, match=r"only once.*give bytes, a path"):
        content.rewind()
    with pytest.raises(BodyStateError, match="pass over the content has ended"):
        await content.next_piece()


async def test_a_resource_is_closed_with_its_iterator() -> None:
    """First what iterates, then what it iterates over; once each."""
    source = Closable()
    content = StreamedContent(source)
    await content.next_piece()
    await content.aclose()
    await content.aclose()
    assert source.closed == 11


@pytest.mark.parametrize("make", [Again, AsyncAgain])
async def test_a_pass_that_was_stopped_is_closed_and_begins_anew(make: Callable[[], Again]) -> None:
    """The iterator of the pass is closed, the next pass gives everything."""
    source = make()
    content = StreamedContent(source)
    assert await content.next_piece() == b"one"
    with pytest.raises(BodyStateError, match="still going on"):
        content.rewind()
    await content.aclose()
    assert source.closed == 1
    content.rewind()
    assert await read_pass(content) == b"onetwo"
    assert source.closed == 2


async def test_an_iterable_that_only_looks_as_if_it_began_anew() -> None:
    """One that hands out the same iterator twice would send nothing the second time: that is an error instead."""

    class Wrapped:
        def __init__(self) -> None:
            self.inner = iter([b"one"])

        def __iter__(self) -> Iterator[bytes]:
            return self.inner

    content = StreamedContent(Wrapped())
    assert await read_pass(content) == b"one"
    content.rewind()
    with pytest.raises(BodyStateError, match="same iterator a second time"):
        await content.next_piece()


@pytest.mark.parametrize(("announced", "has"), [(5, "more"), (7, "only 6")])
async def test_a_length_holds_for_every_pass(announced: int, has: str) -> None:
    """Too much and too little are errors of the content itself."""
    content = StreamedContent([b"one", b"two"], announced)
    for _ in range(2):
        with pytest.raises(LocalProtocolError, match=f"was to have {announced} bytes and has {has}"):
            await read_pass(content)
        await content.aclose()
        content.rewind()
        assert content.length == announced


async def test_slices_of_bytes_can_be_sent_again() -> None:
    """Long bytes are content like any other."""
    data = bytes(range(256)) * 1000
    content = in_pieces(data)
    assert await read_pass(content) == data
    content.rewind()
    assert await read_pass(content) == data


async def nothing() -> bytes:
    return b""


@pytest.mark.parametrize(
    ("piece", "advice"), [(nothing, "await"), (lambda: "text", "encode text"), (lambda: 3, "not of int: 3$")]
)
async def test_what_is_no_bytes_is_refused_by_name(piece: Callable[[], Any], advice: str) -> None:
    """A piece that is no bytes is named, with what to do instead; a coroutine does not complain on top of it."""
    with pytest.raises(TypeError, match=f"content must consist of bytes.*{advice}"):
        await StreamedContent([piece()]).next_piece()


# -- in a client -------------------------------------------------------------------------------------------------------


class Redirecting:
    """A server that sends every first request to another place; keeps both."""

    def __init__(self, *, early: bool = False) -> None:
        self.early = early
        self.requests: list[RawRequest] = []

    async def __call__(self, connection: RawConnection) -> None:
        if self.early:
            self.early = False
            await connection.read_until(b"one")
            await connection.send_all(AGAIN)
            await connection.read_until_closed()
            return
        while True:
            request = await connection.read_request()
            self.requests.append(request)
            await connection.send_all(OK if request.target == "/again" else AGAIN)


@pytest.mark.parametrize("make", [Again, AsyncAgain, lambda: b"onetwo" * 20_000])
async def test_content_is_sent_again_after_a_redirect(make: Callable[[], Any]) -> None:
    """A 307 asks for the same content; each pass is closed."""
    source, site = make(), Redirecting()
    async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
        response = await client.post(f"{server.url}/first", content=source)
        assert (response.status, len(response.history)) == (200, 1)
        assert client.pool.statistics().idle == 1
    first, second = site.requests
    assert first.content == second.content == (source if isinstance(source, bytes) else b"onetwo")
    assert not isinstance(source, Again) or source.closed == 2


async def test_content_that_was_stopped_by_a_redirect_is_sent_again() -> None:
    """A server that redirects in the middle of an upload gets all of it at the other place."""

    class Stuck:
        passes = 0

        async def __aiter__(self) -> AsyncIterator[bytes]:
            self.passes += 1
            yield b"one"
            if self.passes == 1:
                await trio.sleep_forever()
            yield b"two"

    site = Redirecting(early=True)
    async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
        response = await client.post(f"{server.url}/first", content=Stuck())
        assert response.status == 200
    assert [request.content for request in site.requests] == [b"onetwo"]


@pytest.mark.parametrize("early", [True, False])
async def test_content_that_can_be_read_once_is_not_sent_again(early: bool) -> None:
    """The redirect is refused by reason; its target hears nothing, and the generator has been closed."""
    site, closed = Redirecting(early=early), []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"one"
            yield b"two"
        finally:
            closed.append(True)

    async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(RedirectError) as caught:
            await client.post(f"{server.url}/first", content=pieces())
        assert caught.value.reason == "replay"
    assert [request.target for request in site.requests] == ([] if early else ["/first"])
    assert closed == [True]


async def test_content_that_was_not_begun_goes_to_the_next_place() -> None:
    """A server that redirects instead of saying 100 leaves a generator whole for whoever wants it."""

    async def script(connection: RawConnection) -> None:
        head = await connection.read_until(b"\r\n\r\n")
        if b" /first " in head:
            await connection.send_all(AGAIN)
        else:
            await connection.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert await connection.read_until(b"0\r\n\r\n") == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
            await connection.send_all(OK)
        await connection.read_until_closed()

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        response = await client.post(f"{server.url}/first", content=once(), expect_continue=True)
        assert response.content == b"ok"


class Leaving:
    """A server that leaves in the middle of the second request on its first connection."""

    def __init__(self, *, stays: bool = False) -> None:
        self.first = True
        self.stays = stays
        self.requests: list[RawRequest] = []

    async def __call__(self, connection: RawConnection) -> None:
        if self.first:
            self.first = False
            await connection.read_request()
            await connection.send_all(OK)
            await connection.read_until(b"one")
            if self.stays:
                await connection.read_until_closed()
            return
        self.requests.append(await connection.read_request())
        await connection.send_all(OK)
        await connection.read_until_closed()


@pytest.mark.parametrize("make", [Again, AsyncAgain, lambda: io.BytesIO(b"onetwo")])
async def test_content_is_sent_again_when_a_reused_connection_ends(make: Callable[[], Any]) -> None:
    """A server that closes a connection just then gets an idempotent request on another one, with all its content."""
    site = Leaving()
    async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
        await client.get(server.url)
        assert (await client.put(server.url, content=make())).status == 200
        assert client.pool.statistics().opened == 2
    assert [request.content for request in site.requests] == [b"onetwo"]


@pytest.mark.parametrize("error", [DisconnectedError("somebody else went away"), ValueError("mine")])
@pytest.mark.parametrize("late", [False, True])
async def test_content_that_fails_is_not_sent_again(error: Exception, late: bool) -> None:
    """Its error comes out, from the reading or from the cleanup, although the connection was a reused one."""
    passes = 0

    class Failing:
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal passes
            passes += 1
            try:
                yield b"one"
                await trio.testing.wait_all_tasks_blocked()
                if not late:
                    raise error
                await trio.sleep_forever()
            finally:
                if late:
                    raise error

    async with open_scripted(Leaving(stays=not late)) as server, Client(mounts={server.url: server}) as client:
        await client.get(server.url)
        with pytest.raises(type(error)) as caught:
            await client.put(server.url, content=Failing())
        assert caught.value is error
    assert passes == 1
