"""What a synchronous program gives its client to send: iterables that may block, and that are always closed."""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from threaded_server import serve_in_thread

from triohttp import App, FilePart, Request, Response
from triohttp._client.sync_client import SyncClient
from triohttp.errors import ClientClosedError, RedirectError, TotalTimeout


@pytest.fixture
def url() -> Iterator[str]:
    app = App()

    @app.post("/echo")
    async def echo(request: Request) -> Response:
        return Response.text((await request.read()).decode())

    @app.post("/again")
    async def again(request: Request) -> Response:
        await request.read()
        return Response.redirect("/echo", status=307)

    @app.post("/refuse")
    async def refuse(request: Request) -> Response:
        return Response.text("no", status=413)

    with serve_in_thread(app) as url:
        yield url


class Source:
    """An iterable that tells in which threads it was used, and whether it was closed."""

    def __init__(self, *pieces: bytes | BaseException) -> None:
        self.pieces = list(pieces)
        self.threads: set[str] = set()
        self.closed = 0

    def __iter__(self) -> Source:
        return self

    def __next__(self) -> bytes:
        self.threads.add(threading.current_thread().name)
        if not self.pieces:
            raise StopIteration
        piece = self.pieces.pop(0)
        if isinstance(piece, BaseException):
            raise piece
        return piece

    def close(self) -> None:
        self.threads.add(threading.current_thread().name)
        self.closed += 1


class Repeatable:
    """An iterable whose iterators each begin at the beginning."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"one ", b"two"])


async def asynchronous() -> AsyncIterator[bytes]:
    yield b"one "
    yield b"two"


@pytest.mark.parametrize(
    "content",
    [
        "one two",
        b"one two",
        bytearray(b"one two"),
        [b"one ", b"two"],
        (b"one ", memoryview(b"two")),
        (piece for piece in [b"one ", b"", b"two"]),
        iter([b"one ", b"two"]),
        {b"one two": None}.keys(),
        Repeatable(),
        asynchronous(),
        io.BytesIO(b"one two"),
    ],
    ids=lambda content: type(content).__name__,
)
def test_content_of_every_kind_arrives(url: str, content: bytes) -> None:
    """Whatever ``Client`` takes is taken, and it arrives whole and in order."""
    with SyncClient(url) as client:
        assert client.post("/echo", content=content).text == "one two"


def test_an_iterable_is_stepped_and_closed_in_threads(url: str) -> None:
    """The loop never runs a step of the program's iterable, which may block; it is closed once, at the end."""
    source = Source(b"one ", b"two")
    with SyncClient(url) as client:
        assert client.post("/echo", content=source).text == "one two"
    assert source.closed == 1
    assert source.threads
    assert "triohttp SyncClient" not in source.threads


def test_a_generator_may_use_the_client_that_sends_it(url: str) -> None:
    """A step may itself make a call: it gets another connection."""

    def pieces() -> Iterator[bytes]:
        for word in ("one ", "two"):
            yield client.post("/echo", content=word).content

    with SyncClient(url) as client:
        assert client.post("/echo", content=pieces()).text == "one two"


def test_an_exception_of_an_iterable_comes_out(url: str) -> None:
    """What the iterable raises ends the call, unchanged; it is closed, and so is the connection."""
    source = Source(b"one ", LookupError("no more"))
    with SyncClient(url) as client:
        with pytest.raises(LookupError, match="no more"):
            client.post("/echo", content=source)
        assert client.pool_statistics().connections == 0
    assert source.closed == 1


def test_content_that_is_not_wanted_is_closed(url: str) -> None:
    """A server that answers without reading stops a large upload, of which some or nothing may have gone out."""
    source = Source(*[b"x" * 65536] * 1000)
    with SyncClient(url) as client:
        assert client.post("/refuse", content=source).status == 413
    assert source.pieces
    assert source.closed == 1


@pytest.mark.parametrize("how", ["timeout", "close"])
def test_a_step_that_blocks_holds_nobody_up(url: str, how: str) -> None:
    """The call ends without it; the generator is closed when it comes out of its step."""
    inside, may_go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def pieces() -> Iterator[bytes]:
        try:
            yield b"one "
            inside.set()
            may_go_on.wait(10)
            yield b"two"
        finally:
            closed.set()

    with SyncClient(url) as client:
        if how == "timeout":
            with pytest.raises(TotalTimeout):
                client.post("/echo", content=pieces(), timeout=0.1)
            assert inside.is_set()
        else:
            closer = threading.Thread(target=lambda: (inside.wait(10), client.close()))
            closer.start()
            with pytest.raises(ClientClosedError):
                client.post("/echo", content=pieces())
            closer.join()
        assert not closed.is_set()
        may_go_on.set()
        assert closed.wait(10)


def test_a_streamed_answer_may_have_an_upload_beside_it(url: str) -> None:
    """Content goes out while the block is entered, and an error of it comes out of the block."""
    with SyncClient(url) as client:
        with client.stream("POST", "/echo", content=(piece for piece in [b"one ", b"two"])) as answer:
            assert answer.text() == "one two"
        with pytest.raises(LookupError):
            with client.stream("POST", "/echo", content=Source(b"one ", LookupError())) as answer:
                answer.read()


@pytest.mark.parametrize("how", ["bare", "pair", "part", "pairs"])
def test_files_of_a_form_may_be_iterables(url: str, how: str) -> None:
    """Each is stepped in threads and closed, however it is given; the rest of the form stays as it is."""
    source = Source(b"one ", b"two")
    part = FilePart(source, filename="name", media_type="text/plain", headers={"x-part": "7"})
    files = {"bare": {"f": source}, "pair": {"f": ("name", source)}, "part": {"f": part}, "pairs": iter([("f", part)])}
    with SyncClient(url) as client:
        text = client.post("/echo", files=files[how], form={"g": "h"}).text
    assert "one two" in text
    assert ("x-part: 7" in text) == (how in ("part", "pairs"))
    assert part.content is source
    assert source.closed == 1
    assert "triohttp SyncClient" not in source.threads


def test_what_can_be_read_again_is_sent_again(url: str) -> None:
    """After a redirect that asks for the content once more, as far as it begins at the beginning again."""
    with SyncClient(url) as client:
        assert client.post("/again", content=Repeatable()).text == "one two"
        with pytest.raises(RedirectError, match="only once"):
            client.post("/again", content=iter([b"one ", b"two"]))


@pytest.mark.parametrize(
    "options", [{"files": "text"}, {"files": {"f": ("name",)}}, {"files": [1]}, {"auth": str}, {"content": {"a": 1}}]
)
def test_what_is_none_of_these_is_refused_as_by_the_client(url: str, options: dict[str, object]) -> None:
    """Mistakes are told by the same errors."""
    with SyncClient(url) as client, pytest.raises(TypeError):
        client.post("/echo", **options)  # type: ignore[arg-type]  # the mistakes that it is about


def test_progress_is_told(url: str) -> None:
    """Callbacks for progress are called as they are for ``Client``."""
    told: list[tuple[int, int | None]] = []
    with SyncClient(url) as client:
        client.post("/echo", content=b"x" * 1000, on_download=lambda done, total: told.append((done, total)))
    assert told[-1] == (1000, 1000)
