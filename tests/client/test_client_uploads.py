"""Uploads: streamed content goes out beside the answer, is stopped by it, and its iterable is always closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar

import pytest
import trio
import trio.testing

from triohttp import Client, ClientTimeouts
from triohttp._client.body import SLICE_BYTES, WHOLE_BYTES
from triohttp.errors import DisconnectedError, LocalProtocolError, ReadTimeout, WriteTimeout
from triohttp.testing import RawConnection, RawRequest, open_scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch"


class Recorder:
    """A script that answers every request and keeps it."""

    def __init__(self) -> None:
        self.requests: list[RawRequest] = []

    async def __call__(self, connection: RawConnection) -> None:
        while True:
            self.requests.append(await connection.read_request())
            await connection.send_all(OK)


class Source:
    """An asynchronous iterator of content that notes the task in which it is closed."""

    def __init__(self, pieces: int = 3, size: int = 1, *, fails: BaseException | None = None) -> None:
        self.left = pieces
        self.size = size
        self.fails = fails
        self.tasks: list[trio.lowlevel.Task] = []
        self.closed_by: list[trio.lowlevel.Task] = []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self.tasks.append(trio.lowlevel.current_task())
        await trio.lowlevel.checkpoint()
        if not self.left:
            if self.fails is not None:
                raise self.fails
            raise StopAsyncIteration
        self.left -= 1
        return b"x" * self.size

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()  # where a scope that is cancelled would interrupt a cleanup
        self.closed_by.append(trio.lowlevel.current_task())

    def check_closed(self) -> None:
        """Check that it was closed once, by the task that iterated it."""
        assert len(self.closed_by) == 1
        assert set(self.tasks) <= {self.closed_by[0]}


async def test_an_asynchronous_iterable_is_sent_chunked() -> None:
    """Pieces become chunks as they come, and the connection lives on."""
    recorder, source = Recorder(), Source(3)
    async with open_scripted(recorder) as server, Client(mounts={server.url: server}) as client:
        assert (await client.post(server.url, content=source)).content == b"ok"
        assert client.pool.statistics().idle == 1
    assert recorder.requests[0].content == b"xxx"
    assert recorder.requests[0].headers["transfer-encoding"] == "chunked"
    source.check_closed()


async def test_a_generator_is_sent_and_closed() -> None:
    """Generators of both kinds work, empty pieces are left out, and their cleanup may await."""
    closed: list[str] = []

    def plain() -> Iterator[bytes]:
        try:
            yield from (b"a", b"", b"b")
        finally:
            closed.append("plain")

    async def asynchronous() -> AsyncIterator[bytes]:
        try:
            yield b"c"
            yield b"d"
        finally:
            await trio.lowlevel.checkpoint()
            closed.append("asynchronous")

    recorder = Recorder()
    async with open_scripted(recorder) as server, Client(mounts={server.url: server}) as client:
        await client.post(server.url, content=plain())
        await client.post(server.url, content=asynchronous())
    assert [request.content for request in recorder.requests] == [b"ab", b"cd"]
    assert closed == ["plain", "asynchronous"]


async def test_a_length_that_is_known_is_announced() -> None:
    """With a Content-Length the content goes out as it is."""
    recorder = Recorder()
    async with open_scripted(recorder) as server, Client(mounts={server.url: server}) as client:
        await client.put(server.url, content=Source(3, 5), headers={"Content-Length": "15"})
        assert client.pool.statistics().idle == 1
    assert recorder.requests[0].headers["content-length"] == "15"
    assert "transfer-encoding" not in recorder.requests[0].headers
    assert recorder.requests[0].content == b"x" * 15


@pytest.mark.parametrize("announced", ["14", "16"])
async def test_a_wrong_length_is_an_error(announced: str) -> None:
    """Content that is longer or shorter than was said costs the connection and is the program's mistake."""
    source = Source(3, 5)
    async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(LocalProtocolError) as caught:
            await client.post(server.url, content=source, headers={"Content-Length": announced})
        assert caught.value.slug == "content-length"
        assert client.pool.statistics().connections == 0
    source.check_closed()


@pytest.mark.parametrize("size", [WHOLE_BYTES, WHOLE_BYTES + 1, WHOLE_BYTES + SLICE_BYTES, 10 * WHOLE_BYTES])
async def test_bytes_of_any_size_are_sent(size: int) -> None:
    """However they go out, in one piece or in slices, they arrive, with their length."""
    recorder = Recorder()
    content = bytes(number % 251 for number in range(size))
    async with open_scripted(recorder) as server, Client(mounts={server.url: server}) as client:
        await client.post(server.url, content=content)
        assert client.pool.statistics().idle == 1
    assert recorder.requests[0].content == content
    assert recorder.requests[0].headers["content-length"] == str(size)


async def test_trailers_are_sent_after_the_content() -> None:
    """They may be worked out while the content goes by."""
    recorder = Recorder()
    seen = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal seen
        for piece in (b"one", b"three"):
            seen += len(piece)
            yield piece

    async with open_scripted(recorder) as server, Client(mounts={server.url: server}) as client:
        await client.post(server.url, content=counted(), trailers=lambda: {"X-Length": str(seen)})
        await client.post(server.url, content=[b"x"], trailers={"X-Fixed": "1"})
    assert [request.trailers for request in recorder.requests] == [{"X-Length": "8"}, {"X-Fixed": "1"}]


# -- what the program's iterable does ----------------------------------------------------------------------------------


async def test_an_exception_of_the_iterable_comes_out_unchanged() -> None:
    """It is the same exception, in no group; the request ends visibly cut."""
    error = KeyError("mine")
    source = Source(2, fails=error)
    async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(KeyError) as caught:
            await client.post(server.url, content=source)
        assert caught.value is error
        assert client.pool.statistics().connections == 0
    source.check_closed()


async def test_an_exception_of_ours_from_the_iterable_is_the_iterables() -> None:
    """A proxy's content comes from another exchange; when that ends early, it is not this server that went away."""
    error = DisconnectedError("somebody else went away", phase="content")
    source = Source(2, fails=error)
    async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(DisconnectedError) as caught:
            await client.put(server.url, content=source)
        assert caught.value is error
        assert not hasattr(error, "__notes__")
        assert not error.sent
        assert len(server.connections) == 1
    source.check_closed()


async def test_an_exception_in_the_iterables_cleanup_is_not_lost() -> None:
    """A failing ``finally`` of a generator is the program's business."""

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"x"
        finally:
            raise KeyError("cleanup")

    async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(KeyError, match="cleanup"):
            await client.post(server.url, content=pieces())


async def test_an_iterable_that_yields_something_else_is_an_error() -> None:
    """Text has to be encoded by whoever knows how."""
    async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(TypeError, match="must consist of bytes"):
            await client.post(server.url, content=["text"])  # type: ignore[list-item]  # what is tested


async def test_an_iterable_is_closed_when_no_connection_can_be_opened() -> None:
    """Content that was never begun is closed too."""
    source = Source()
    async with Client(mounts_only=True) as client:
        with pytest.raises(Exception, match="no mount"):
            await client.post("http://nowhere.test/", content=source)
    source = Source()

    class Refuses:
        async def connect(self) -> trio.abc.Stream:
            raise ConnectionRefusedError("nobody is here")

    async with Client(mounts={"http://nowhere.test": Refuses()}) as client:
        with pytest.raises(Exception, match="nobody is here"):
            await client.post("http://nowhere.test/", content=source)
    source.check_closed()


# -- what the server does ----------------------------------------------------------------------------------------------


async def test_an_early_refusal_stops_the_upload() -> None:
    """A 413 in the middle of an endless upload is the answer; what was to be sent is closed."""

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(TOO_LARGE)
        await trio.sleep_forever()  # nothing more is read, so the upload is stuck

    source = Source(10**9, 10_000)
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        response = await client.post(server.url, content=source)
        assert (response.status, response.content) == (413, b"much")
        assert client.pool.statistics().connections == 0
    source.check_closed()


async def test_an_early_refusal_of_whole_content_is_heard() -> None:
    """The same holds for bytes that do not fit into the connection's buffers."""

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(TOO_LARGE)
        await trio.sleep_forever()

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        assert (await client.post(server.url, content=b"x" * 1_000_000)).status == 413


async def test_a_refusal_followed_by_a_close_is_heard() -> None:
    """A server that answers, half-closes and reads no more breaks the upload, not the answer (RFC 9112 §9.5)."""

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(TOO_LARGE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        await connection.send_eof()
        await trio.sleep_forever()

    source = Source(10**9, 10_000)
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        assert (await client.post(server.url, content=source)).status == 413
    source.check_closed()


class OneWay(trio.abc.HalfCloseableStream):
    """A stream whose sending breaks; what the peer has said can still be received."""

    def __init__(self, answer: bytes, *, ends: bool) -> None:
        self._answer = answer
        self._ends = ends
        self._closed = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("the peer takes nothing")

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        answer, self._answer = self._answer, b""
        if not answer and not self._ends:
            await self._closed.wait()
            raise trio.ClosedResourceError
        return answer

    def close(self) -> None:
        self._closed.set()

    async def aclose(self) -> None:
        self.close()
        await trio.lowlevel.checkpoint()

    async def connect(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return self


@pytest.mark.parametrize("content", [b"whole", [b"streamed"]])
async def test_an_answer_is_read_after_sending_failed(content: bytes | list[bytes]) -> None:
    """A server that answered and closed is heard although the request could not be written."""
    async with Client(mounts={"http://h.test": OneWay(TOO_LARGE, ends=True)}) as client:
        assert (await client.post("http://h.test/", content=content)).status == 413


@pytest.mark.parametrize("content", [b"whole", [b"streamed"]])
@pytest.mark.parametrize("ends", [True, False])
async def test_without_an_answer_the_failure_to_send_is_the_error(
    content: bytes | list[bytes], ends: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """It is waited for a second at most."""
    async with Client(mounts={"http://h.test": OneWay(b"", ends=ends)}) as client:
        started = trio.current_time()
        with pytest.raises(DisconnectedError) as caught:
            await client.post("http://h.test/", content=content)
        assert caught.value.phase == "send"
        assert trio.current_time() - started == pytest.approx(0.0 if ends else 1.0)


@pytest.mark.parametrize("content", [b"whole", [b"streamed"]])
async def test_an_answer_that_stops_after_sending_failed_is_late(
    content: bytes | list[bytes], autojump_clock: trio.testing.MockClock
) -> None:
    """That the request could not be written is not why the content of its answer stopped coming."""
    origin = OneWay(TOO_LARGE[:-1], ends=False)
    async with Client(mounts={"http://h.test": origin}, timeouts=ClientTimeouts(read_idle_seconds=3.0)) as client:
        with pytest.raises(ReadTimeout) as caught:
            await client.post("http://h.test/", content=content)
        assert (trio.current_time(), caught.value.phase, caught.value.sent) == (3.0, "content", True)


async def test_a_server_that_takes_nothing_is_left(autojump_clock: trio.testing.MockClock) -> None:
    """WriteTimeout comes ``write_idle_seconds`` after the last progress, the iterable's own time not counted."""

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(3):
            await trio.sleep(100)
            yield b"x" * 100_000

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await trio.sleep_forever()

    timeouts = ClientTimeouts(write_idle_seconds=7.0)
    async with open_scripted(script) as server, Client(mounts={server.url: server}, timeouts=timeouts) as client:
        started = trio.current_time()
        with pytest.raises(WriteTimeout) as caught:
            await client.post(server.url, content=slow())
        assert trio.current_time() - started == pytest.approx(107.0, abs=0.01)
        assert caught.value.seconds == 7.0


# -- asking first ------------------------------------------------------------------------------------------------------


async def test_content_waits_for_100_continue() -> None:
    """With ``expect_continue`` nothing of the content goes out before the server asks for it."""
    before: list[bytes] = []

    async def script(connection: RawConnection) -> None:
        head = await connection.read_until(b"\r\n\r\n")
        assert b"\r\nExpect: 100-continue\r\n" in head
        await trio.testing.wait_all_tasks_blocked()
        before.append(connection.received[len(head) :])
        await connection.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await connection.read_exactly(5) == b"hello"
        await connection.send_all(OK)
        await connection.read_until_closed()

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        response = await client.post(server.url, content=b"hello", expect_continue=True)
        assert [head.status for head in response.interim] == [100]
        assert client.pool.statistics().idle == 1
    assert before == [b""]


async def test_content_is_sent_when_no_100_comes(autojump_clock: trio.testing.MockClock) -> None:
    """A server that ignores the expectation is waited for ``expect_continue_seconds`` (RFC 9110 §10.1.1)."""
    waited: list[float] = []

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        started = trio.current_time()
        await connection.read_exactly(5)
        waited.append(trio.current_time() - started)
        await connection.send_all(OK)
        await connection.read_until_closed()

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        assert (await client.post(server.url, content=b"hello", expect_continue=True)).status == 200
        assert client.pool.statistics().idle == 1
    assert waited == [pytest.approx(1.0)]


@pytest.mark.parametrize("status", [b"200 OK", b"401 Unauthorized"])
async def test_a_final_answer_keeps_the_content_at_home(status: bytes) -> None:
    """Whoever answers instead of asking gets no content; the connection is closed, its message is not complete."""
    after: list[bytes] = []

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
        try:
            after.append(await connection.read_until_closed())
        except trio.BrokenResourceError:
            after.append(b"")

    source = Source()
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        response = await client.post(server.url, content=source, expect_continue=True)
        assert response.status == int(status[:3])
        assert client.pool.statistics().connections == 0
        await trio.testing.wait_all_tasks_blocked()
    assert after == [b""]
    assert not source.tasks
    source.check_closed()


async def test_a_refused_expectation_is_dropped_once() -> None:
    """After a 417 the request goes out again without it, content and all (RFC 9110 §10.1.1)."""
    heads: list[bytes] = []

    async def script(connection: RawConnection) -> None:
        request = await connection.read_until(b"\r\n\r\n")
        heads.append(request)
        if len(heads) == 1:
            await connection.send_all(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        else:
            await connection.read_until(b"0\r\n\r\n")
            await connection.send_all(OK)
        await connection.read_until_closed()

    source = Source(3)
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        response = await client.post(server.url, content=source, headers={"Expect": "100-continue"})
        assert response.status == 200
        assert len(server.connections) == 2
    assert [b"Expect" in head for head in heads] == [True, False]
    source.check_closed()


# -- both directions at once -------------------------------------------------------------------------------------------


async def test_sending_and_receiving_go_on_together() -> None:
    """With a 2xx head the upload goes on: each piece can be made from what came back."""

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while (size := int(await connection.read_until(b"\r\n"), 16)) > 0:
            piece = await connection.read_exactly(size + 2)
            await connection.send_all(b"%x\r\n%s" % (size, piece))
        await connection.read_exactly(2)
        await connection.send_all(b"0\r\n\r\n")
        await connection.read_until_closed()

    to_send, content = trio.open_memory_channel[bytes](0)
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        async with client.stream("POST", server.url, content=content) as response:
            for number in range(5):
                piece = b"piece %d" % number
                await to_send.send(piece)
                assert await response.body.receive_some() == piece
            await to_send.aclose()
            assert await response.body.receive_some() == b""
        assert client.pool.statistics().idle == 1


async def test_an_answer_that_is_complete_stops_the_upload() -> None:
    """A server that has said everything needs no more content, whatever its status."""

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(OK)
        await trio.sleep_forever()

    to_send, content = trio.open_memory_channel[bytes](0)
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        assert (await client.post(server.url, content=content)).status == 200
        assert client.pool.statistics().connections == 0
        with pytest.raises(trio.BrokenResourceError):
            await to_send.send(b"the receiving end was closed")


async def test_an_exception_of_the_iterable_reaches_whoever_reads() -> None:
    """When the upload fails beside a streamed answer, the next receive raises what the iterable raised."""

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        await trio.sleep_forever()

    error = KeyError("mine")
    go_on = trio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"
        await go_on.wait()
        raise error

    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(KeyError) as caught:
            async with client.stream("POST", server.url, content=pieces()) as response:
                go_on.set()
                await response.read()
        assert caught.value is error
        assert client.pool.statistics().connections == 0


async def test_leaving_a_block_stops_the_upload() -> None:
    """An upload that still goes on when its block is left is stopped and its iterable closed."""

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        await connection.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        while await connection.receive_some():
            pass

    source = Source(10**9, 100)
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        async with client.stream("POST", server.url, content=source):
            pass
        assert client.pool.statistics().connections == 0
    source.check_closed()


async def test_an_iterable_in_the_callers_context() -> None:
    """What the iterable sees of context variables is what the caller has."""

    variable: ContextVar[str] = ContextVar("variable")
    variable.set("mine")
    seen: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        seen.append(variable.get())
        yield b"x"

    async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
        await client.post(server.url, content=pieces())
    assert seen == ["mine"]
