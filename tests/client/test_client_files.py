"""Files as content: paths, open files and trio's, read in threads, and sent whole or not at all."""

from __future__ import annotations

import errno
import gzip
import io
import mmap
import os
import tempfile
import threading
import tracemalloc
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import trio
import trio.testing
from recorder import OK, Recorder

from triohttp import Client
from triohttp._client.body import StreamedContent
from triohttp._client.file_content import PIECE_BYTES, FileSource, PathSource, file_source
from triohttp.errors import BodyStateError, LocalProtocolError
from triohttp.testing import RawConnection, open_scripted

DATA = bytes(number * 7 % 251 for number in range(3 * PIECE_BYTES + 17))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data.bin"
    path.write_bytes(DATA)
    return path


def opened(path: Path, cleanup: ExitStack) -> BinaryIO:
    return cleanup.enter_context(path.open("rb"))


def unbuffered(path: Path, cleanup: ExitStack) -> Any:
    return cleanup.enter_context(open(path, "rb", buffering=0))


def of_trio(path: Path, cleanup: ExitStack) -> Any:
    return trio.wrap_file(opened(path, cleanup))


def in_memory(path: Path, cleanup: ExitStack) -> Any:
    return cleanup.enter_context(io.BytesIO(path.read_bytes()))


def in_memory_of_trio(path: Path, cleanup: ExitStack) -> Any:
    return trio.wrap_file(io.BytesIO(path.read_bytes()))


def mapped(path: Path, cleanup: ExitStack) -> Any:
    return cleanup.enter_context(mmap.mmap(opened(path, cleanup).fileno(), 0, prot=mmap.PROT_READ))


def spooled(path: Path, cleanup: ExitStack) -> Any:
    file = cleanup.enter_context(tempfile.SpooledTemporaryFile())  # noqa: SIM115  # closed by the stack
    file.write(path.read_bytes())
    file.seek(0)
    return file


def compressed(path: Path, cleanup: ExitStack) -> Any:
    packed = path.with_suffix(".gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    return cleanup.enter_context(gzip.open(packed))


OPEN = [opened, unbuffered, of_trio, in_memory, in_memory_of_trio, mapped, spooled, compressed]


@pytest.mark.parametrize("make", [lambda path, _: path, *OPEN])
async def test_a_file_is_sent_with_its_length_and_again(make: Callable[..., Any], path: Path) -> None:
    """Every kind of file announces its length, arrives as it is, and is sent again after a redirect."""
    with ExitStack() as cleanup:
        site = Recorder()
        async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
            response = await client.put(f"{server.url}/first", content=make(path, cleanup))
            assert (response.status, client.pool.statistics().idle) == (200, 1)
        assert [request.content for request in site.requests] == [DATA, DATA]
        assert [request.headers["content-length"] for request in site.requests] == [str(len(DATA))] * 2
        assert "content-type" not in site.requests[0].headers


@pytest.mark.parametrize("make", OPEN)
async def test_an_open_file_is_sent_from_where_it_stands(make: Callable[..., Any], path: Path) -> None:
    """What was read before stays at home, in the second pass as well; the file is left open."""
    with ExitStack() as cleanup:
        file, site = make(path, cleanup), Recorder()
        plain = getattr(file, "wrapped", file)
        plain.seek(100_000)
        async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
            await client.put(f"{server.url}/first", content=file)
        assert [request.content for request in site.requests] == [DATA[100_000:]] * 2
        plain.seek(0)
        assert plain.read(10) == DATA[:10]


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1])
async def test_files_of_any_size(size: int, path: Path) -> None:
    """An empty one too."""
    path.write_bytes(DATA[:size])
    site = Recorder()
    async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
        await client.put(server.url, content=path)
        assert client.pool.statistics().idle == 1
    assert site.requests[0].content == DATA[:size]
    assert site.requests[0].headers["content-length"] == str(size)


async def test_a_file_is_read_in_a_thread(path: Path) -> None:
    """The event loop waits for no disk; what lies in memory needs no thread."""
    threads = []

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            threads.append(threading.current_thread())
            return super().read(size)

    class Elsewhere:
        """The same bytes, in a file that may lie anywhere."""

        def __init__(self) -> None:
            self.file = Watched(DATA)

        def read(self, size: int, /) -> bytes:
            return self.file.read(size)

    async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
        await client.put(server.url, content=Watched(DATA))
        assert set(threads) == {threading.main_thread()}
        threads.clear()
        await client.put(server.url, content=Elsewhere())
    assert threads
    assert threading.main_thread() not in threads


async def test_a_path_is_open_only_while_it_is_sent(path: Path) -> None:
    """A request that waits for a connection holds no file, and none is left when a request ends."""
    content = StreamedContent(PathSource(path))
    before = set(os.listdir("/dev/fd"))
    await content.measure()
    assert content.length == len(DATA)
    assert len(os.listdir("/dev/fd")) == len(before)
    await content.next_piece()
    assert len(os.listdir("/dev/fd")) == len(before) + 1
    await content.aclose()
    assert len(os.listdir("/dev/fd")) == len(before)


async def test_trailers_put_a_file_into_chunks(path: Path) -> None:
    """A checksum after the content needs chunks, although the length is known."""
    site = Recorder()
    async with open_scripted(site) as server, Client(mounts={server.url: server}) as client:
        await client.put(server.url, content=path, trailers={"X-Sum": "1"})
    assert site.requests[0].content == DATA
    assert site.requests[0].headers["transfer-encoding"] == "chunked"
    assert site.requests[0].trailers == {"X-Sum": "1"}


async def test_a_pipe_is_sent_as_it_comes() -> None:
    """What cannot seek has no length; it goes out without waiting until a buffer is full, and once only."""
    with ExitStack() as cleanup:
        reading, writing = os.pipe()
        reader = cleanup.enter_context(open(reading, "rb"))  # closed by the stack
        writer = cleanup.enter_context(open(writing, "wb", buffering=0))  # closed by the stack
        chunks: list[bytes] = []

        async def script(connection: RawConnection) -> None:
            await connection.read_until(b"\r\n\r\n")
            chunks.append(await connection.read_until(b"first\r\n"))
            writer.write(b"second")
            writer.close()
            chunks.append(await connection.read_until(b"0\r\n\r\n"))
            await connection.send_all(OK)
            await connection.read_until_closed()

        writer.write(b"first")
        async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
            await client.put(server.url, content=reader)
        assert chunks == [b"5\r\nfirst\r\n", b"6\r\nsecond\r\n0\r\n\r\n"]
        assert not reader.closed


# -- files that are none, or change ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [lambda path: path.open(), lambda path: io.StringIO("x"), lambda path: path.open("r+")]
)
@pytest.mark.parametrize("wrap", [lambda file: file, trio.wrap_file])
def test_a_file_of_text_is_refused(make: Callable[[Path], Any], wrap: Callable[[Any], Any], path: Path) -> None:
    """Text in some encoding, with other line ends, is not what lies on the disk: the error says how to open it."""
    with make(path) as file, pytest.raises(TypeError, match='open it with "rb"'):
        file_source(wrap(file))


async def test_a_file_that_gives_text_all_the_same_is_refused() -> None:
    """An object with a ``read`` of its own kind is found out by what it gives."""

    class Text:
        def read(self, size: int, /) -> str:
            return "text"

    with pytest.raises(TypeError, match='open files with "rb"'):
        await StreamedContent(FileSource(Text())).next_piece()  # type: ignore[arg-type]  # what is tested


async def test_a_file_that_does_not_wait_is_refused() -> None:
    """A pipe in non-blocking mode has nothing to give now: its end is somewhere else."""
    with ExitStack() as cleanup:
        reading, writing = os.pipe()
        cleanup.callback(os.close, writing)
        os.set_blocking(reading, False)
        file = cleanup.enter_context(open(reading, "rb", buffering=0))  # closed by the stack
        with pytest.raises(BlockingIOError):
            await StreamedContent(FileSource(file)).next_piece()


def test_a_closed_file_is_refused_at_once(path: Path) -> None:
    """Before anything is asked of a server."""
    with path.open("rb") as file:
        pass
    with pytest.raises(ValueError, match="closed file"):
        file_source(file)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda path: path.with_name("missing"), FileNotFoundError),
        (lambda path: path.parent, IsADirectoryError),
        (lambda path: Path("/dev/null"), ValueError),
    ],
)
async def test_a_path_without_a_file_is_an_error_before_anything_is_sent(
    make: Callable[[Path], Path], error: type[Exception], path: Path
) -> None:
    """The system's error, unchanged; no connection was opened."""
    async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(error) as caught:
            await client.put(server.url, content=make(path))
        assert not isinstance(caught.value, OSError) or caught.value.errno in (errno.ENOENT, errno.EISDIR)
        assert not server.connections


async def test_another_length_than_announced_is_an_error_before_anything_is_sent(path: Path) -> None:
    """A Content-Length that the file does not have."""
    async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
        with pytest.raises(LocalProtocolError) as caught:
            await client.put(server.url, content=path, headers={"Content-Length": "5"})
        assert caught.value.slug == "content-length"
        assert not server.connections


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def shrink(path: Path) -> None:
    os.truncate(path, PIECE_BYTES * 2)


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize("change", [grow, shrink])
@pytest.mark.parametrize("make", [lambda path, _: path, opened, of_trio, unbuffered])
async def test_a_file_that_changes_while_it_is_sent_is_an_error(
    make: Callable[..., Any], change: Callable[[Path], None], form: bool, path: Path
) -> None:
    """The request ends visibly cut: never does a server take a part for the whole, or the next bytes for content."""
    with ExitStack() as cleanup:

        async def script(connection: RawConnection) -> None:
            await connection.read_until(DATA[:1000])
            change(path)
            with suppress(trio.BrokenResourceError):
                await connection.read_until_closed()

        file, wrong = make(path, cleanup), r"data\.bin' was to have .* and has (more|only \d+) by now"
        async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
            with pytest.raises(LocalProtocolError, match=wrong) as caught:
                await (client.post(server.url, files={"f": file}) if form else client.put(server.url, content=file))
            assert caught.value.slug == "content-length"
            assert client.pool.statistics().connections == 0
        head, _, content = server.connections[0].received.partition(b"\r\n\r\n")
        announced = int(head.lower().partition(b"content-length: ")[2].split()[0])
        assert 1000 <= len(content) < announced


@pytest.mark.parametrize("change", [grow, shrink])
async def test_a_file_that_changes_before_it_is_opened_is_an_error(change: Callable[[Path], None], path: Path) -> None:
    """Its length went out with the head, since then it is another file."""
    content = StreamedContent(PathSource(path))
    await content.measure()
    change(path)
    with pytest.raises(LocalProtocolError, match="by now"):
        await content.next_piece()
    await content.aclose()
    content.rewind()
    await content.measure()
    assert content.length == path.stat().st_size


async def test_an_error_of_the_disk_comes_out_unchanged(path: Path) -> None:
    """In the middle of a request, which ends visibly cut."""

    class Broken(io.RawIOBase):
        at = 0

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any, /) -> int:
            self.at += 1
            if self.at == 3:
                raise OSError(errno.EIO, "the disk is broken")
            buffer[:5] = b"bytes"
            return 5

    with Broken() as file:
        async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
            with pytest.raises(OSError, match="the disk is broken"):
                await client.put(server.url, content=file)
            assert client.pool.statistics().connections == 0


# -- cancelling --------------------------------------------------------------------------------------------------------


class Slow(io.BytesIO):
    """A file with positions whose second read takes until it is let go."""

    def __init__(self) -> None:
        super().__init__(DATA)
        self.reads = 0
        self.inside = threading.Event()
        self.go_on = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads == 2:
            self.inside.set()
            assert self.go_on.wait(10)
        return super().read(size)


class SlowElsewhere:
    """The same, as a file that does not lie in memory."""

    def __init__(self, file: Slow) -> None:
        self.file = file
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


async def test_a_cancelled_read_is_waited_for() -> None:
    """When a cancelled request is over, no thread moves the file any more: a second pass gives all of it."""
    file = Slow()
    content = StreamedContent(FileSource(SlowElsewhere(file)))
    await content.measure()
    assert await content.next_piece() == DATA[:PIECE_BYTES]
    over = trio.Event()

    async def read() -> None:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            await content.next_piece()
        await content.aclose()
        over.set()

    scopes: list[trio.CancelScope] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.to_thread.run_sync(file.inside.wait)
        scopes[0].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert not over.is_set()
        file.go_on.set()
    content.rewind()
    await content.measure()
    pieces = [piece async for piece in Pieces(content)]
    assert b"".join(pieces) == DATA


class Pieces:
    """The pieces of content as an iterable."""

    def __init__(self, content: StreamedContent) -> None:
        self.content = content

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        if (piece := await self.content.next_piece()) is None:
            raise StopAsyncIteration
        return piece


async def test_a_pipe_holds_no_cancelled_request() -> None:
    """A read that may never end is left to its thread; the content cannot be sent again."""
    with ExitStack() as cleanup:
        reading, writing = os.pipe()
        reader = cleanup.enter_context(open(reading, "rb"))  # closed by the stack
        async with open_scripted(Recorder()) as server, Client(mounts={server.url: server}) as client:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(client.put, server.url, content=reader))
                await trio.testing.wait_all_tasks_blocked(0.01)
                nursery.cancel_scope.cancel()
            assert client.pool.statistics().connections == 0
        os.close(writing)  # ends the thread
        source = FileSource(reader)
        content = StreamedContent(source)
        await content.aclose()
        with pytest.raises(BodyStateError):
            content.rewind()


async def test_a_cancelled_upload_closes_the_path(path: Path) -> None:
    """The file that was opened for a request is closed when the request is cancelled in the middle."""

    async def script(connection: RawConnection) -> None:
        await connection.read_until(b"\r\n\r\n")
        scope.cancel()
        await connection.read_until_closed()

    before = len(os.listdir("/dev/fd"))
    async with open_scripted(script) as server, Client(mounts={server.url: server}) as client:
        with trio.CancelScope() as scope:
            await client.put(server.url, content=path)
        assert scope.cancelled_caught
        assert client.pool.statistics().connections == 0
        assert len(os.listdir("/dev/fd")) == before


# -- much --------------------------------------------------------------------------------------------------------------


async def test_a_large_file_takes_no_memory(tmp_path: Path) -> None:
    """A file of 64 MB goes over TCP in pieces: what is held at a time does not depend on its size."""
    path = tmp_path / "sparse"
    size = 64 * 1024 * 1024
    with path.open("wb") as file:
        file.truncate(size)
    received = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal received
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some(65536)
        received = len(head.partition(b"\r\n\r\n")[2])
        buffer = bytearray(1024 * 1024)
        while received < size:
            received += await stream.socket.recv_into(buffer)
        await stream.send_all(OK)

    async with trio.open_nursery() as nursery:
        listeners: list[trio.SocketListener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with Client(f"http://127.0.0.1:{port}") as client:
            tracemalloc.start()
            try:
                assert (await client.put("/", content=path)).content == b"ok"
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        nursery.cancel_scope.cancel()
    assert received == size
    assert peak < 2 * 1024 * 1024
