"""Answers that a handler owns, streams, and the hooks and filters that see every answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeAlias

import pytest
import trio

from triohttp import App, Handler, Headers, HeadHook, Request, Response
from triohttp.errors import BodyStateError, LocalProtocolError
from triohttp.lowlevel import ResponseHead
from triohttp.testing import RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "triohttp.app"]


async def test_an_owned_answer_goes_out_while_its_block_runs() -> None:
    """The head leaves with the first content, each piece when it is sent, the end with the end of the block."""
    app = App()
    sent, go_on = trio.Event(), trio.Event()

    @app.get("/")
    async def owned(request: Request) -> None:
        async with request.respond(201, {"X-A": "1", "Content-Type": "text/plain"}) as body:
            await body.send_all(b"one")
            sent.set()
            await go_on.wait()
            await body.send_all(bytearray(b"two"))
            await body.send_all(memoryview(b"three"))
            body.trailers = Headers({"X-Sum": "3"})

    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await sent.wait()
        assert (await raw.read_until(b"one")).startswith(b"HTTP/1.1 201 ")
        go_on.set()
        assert await raw.read_until(b"X-Sum: 3\r\n\r\n")


async def test_an_owned_answer_with_a_length_is_not_chunked(ask: Ask) -> None:
    """Content-Length among the fields decides the framing."""
    app = App()

    @app.get("/")
    async def owned(request: Request) -> None:
        async with request.respond(headers={"Content-Length": "6"}) as body:
            await body.send_all(b"abc")
            await body.send_all(b"def")

    for line, content in (("GET /", b"abcdef"), ("HEAD /", b"")):
        response = await ask(app, line)
        assert response.content == content
        assert response.headers["content-length"] == "6"
        assert "transfer-encoding" not in response.headers


async def test_an_owned_answer_without_content_is_one_message(ask: Ask) -> None:
    """Nothing sent means nothing chunked: a length of zero, or no content at all where the status allows none."""
    app = App()

    @app.get("/{status:int}")
    async def owned(request: Request) -> None:
        async with request.respond(request.path_params["status"]):
            pass

    assert (await ask(app, "GET /200")).headers["content-length"] == "0"
    response = await ask(app, "GET /204")
    assert (response.status, response.content) == (204, b"")
    assert "content-length" not in response.headers


async def test_flush_sends_the_head_before_there_is_content() -> None:
    """For answers whose first content takes a while."""
    app = App()
    go_on = trio.Event()

    @app.get("/")
    async def owned(request: Request) -> None:
        async with request.respond() as body:
            await body.flush()
            await go_on.wait()
            await body.send_all(b"late")

    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await raw.read_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        go_on.set()
        assert await raw.read_until(b"late")


async def test_tasks_of_one_handler_may_send_at_once(ask: Ask) -> None:
    """What each of them sends stays in one piece, and the answer ends after all of them."""
    app = App()

    @app.get("/")
    async def owned(request: Request) -> None:
        async with request.respond() as body, trio.open_nursery() as nursery:
            for letter in b"abcd":
                nursery.start_soon(body.send_all, bytes([letter]) * 50_000)

    content = (await ask(app, "GET /")).content
    assert sorted(content[i : i + 50_000] for i in range(0, 200_000, 50_000)) == [
        bytes([letter]) * 50_000 for letter in b"abcd"
    ]


async def test_an_error_before_the_head_becomes_an_error_page(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing has gone out, so the client gets a clean 500, or another answer of the handler's."""
    app = App()

    @app.get("/error")
    async def error(request: Request) -> None:
        async with request.respond(200, {"X-A": "1"}):
            raise ValueError("too early")

    @app.get("/second")
    async def second(request: Request) -> Response:
        with pytest.raises(ValueError, match="early"):
            async with request.respond(200):
                raise ValueError("early")
        return Response.text("second thoughts")

    response = await ask(app, "GET /error", faults=True)
    assert (response.status, response.content) == (500, b"Internal Server Error\n")
    assert "x-a" not in response.headers
    assert len(faults(caplog)) == 1
    assert (await ask(app, "GET /second")).content == b"second thoughts"


@pytest.mark.parametrize("fields", [{}, {"Content-Length": "100"}])
async def test_an_error_after_the_head_cuts_the_answer(
    fields: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """No end is written, the connection closes, and the log has the traceback once."""
    app = App()
    read = trio.Event()

    @app.get("/")
    async def owned(request: Request) -> None:
        async with request.respond(200, fields) as body:
            await body.send_all(b"the beginning")
            await read.wait()
            raise ValueError("too late")

    async with open_in_process(app, raise_handler_errors=False) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await raw.read_until(b"the beginning")
        read.set()  # a reset takes with it what has not been read
        with pytest.raises(trio.BrokenResourceError):
            await raw.read_until_closed()
        assert bytes(raw.received).removesuffix(b"\r\n").endswith(b"the beginning")
    assert len(faults(caplog)) == 1
    assert "too late" in faults(caplog)[0]


async def test_a_deadline_of_the_handlers_own_around_a_send_cuts_the_answer(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The block ends normally, yet a send did not finish: no end is written, and later sends are refused."""
    app = App()
    refused: list[BaseException] = []

    @app.get("/")
    async def owned(request: Request) -> None:
        async with request.respond() as body:
            with trio.move_on_after(1):
                while True:
                    await body.send_all(bytes(100_000))
            try:
                await body.send_all(b"more")
            except trio.BrokenResourceError as error:
                refused.append(error)

    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await trio.sleep(2)
        with pytest.raises(trio.BrokenResourceError):
            await raw.read_until_closed()
        assert not bytes(raw.received).endswith(b"0\r\n\r\n")
    assert len(refused) == 1
    assert faults(caplog) == []


async def test_a_request_is_answered_once(ask: Ask) -> None:
    """A second answer, inside the first or after it, is refused; the first one is complete."""
    app = App()

    @app.get("/")
    async def twice(request: Request) -> None:
        async with request.respond() as body:
            await body.send_all(b"one")
            with pytest.raises(BodyStateError):
                async with request.respond():
                    pass
            await body.aclose()
            await body.aclose()
            with pytest.raises(trio.ClosedResourceError):
                await body.send_all(b"x")
        with pytest.raises(BodyStateError):
            async with request.respond():
                pass

    assert (await ask(app, "GET /")).content == b"one"


async def test_returning_a_response_after_owning_the_answer_is_a_fault(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    """The client has its answer; the log says that there were two."""
    app = App()

    @app.get("/")
    async def twice(request: Request) -> Response:
        async with request.respond() as body:
            await body.send_all(b"one")
        return Response.text("two")

    assert (await ask(app, "GET /", faults=True)).content == b"one"
    assert len(faults(caplog)) == 1


async def test_what_cannot_be_sent_is_refused(ask: Ask) -> None:
    """Text, and a status that is no final one; the answer itself is fine."""
    app = App()

    @app.get("/")
    async def owned(request: Request) -> None:
        with pytest.raises(ValueError, match="final status"):
            request.respond(100)
        async with request.respond() as body:
            with pytest.raises(TypeError, match="bytes"):
                await body.send_all("text")  # type: ignore[arg-type]
            await body.send_all(b"")
            await body.wait_send_all_might_not_block()
            await body.send_all(b"fine")

    assert (await ask(app, "GET /")).content == b"fine"


async def test_more_than_the_length_says_is_refused_and_cut(caplog: pytest.LogCaptureFixture) -> None:
    """LocalProtocolError at the send that is too much, and at the end of what is too short."""
    app = App()
    raised: list[str] = []

    @app.get("/{count:int}")
    async def owned(request: Request) -> None:
        try:
            async with request.respond(200, {"Content-Length": "5"}) as body:
                await body.send_all(bytes(request.path_params["count"]))
        except LocalProtocolError:
            raised.append(request.raw_path)
            raise

    for path in ("/4", "/6"):
        async with open_in_process(app, raise_handler_errors=False) as server, await server.open_raw() as raw:
            await raw.send_all(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            with pytest.raises(trio.BrokenResourceError):
                await raw.read_until_closed()
    assert raised == ["/4", "/6"]
    assert len(faults(caplog)) == 2


# -- streams -----------------------------------------------------------------------------------------------------------


class Source:
    """An iterable that can tell whether it was closed, in which task, and how far it got."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.taken = 0
        self.closed_in: list[trio.lowlevel.Task] = []

    async def asynchronous(self) -> AsyncIterator[bytes]:
        try:
            for chunk in self.chunks:
                await trio.lowlevel.checkpoint()
                self.taken += 1
                yield chunk
        finally:
            self.closed_in.append(trio.lowlevel.current_task())

    def synchronous(self) -> Iterator[bytes]:
        try:
            for chunk in self.chunks:
                self.taken += 1
                yield chunk
        finally:
            self.closed_in.append(trio.lowlevel.current_task())


@pytest.mark.parametrize("kind", ["asynchronous", "synchronous"])
async def test_a_stream_is_iterated_and_closed_in_the_task_of_the_request(ask: Ask, kind: str) -> None:
    """Generators of both kinds; trailers may be filled while they run."""
    source = Source(b"one", b"two")
    app = App()
    tasks: list[trio.lowlevel.Task] = []

    @app.get("/")
    async def stream(request: Request) -> Response:
        tasks.append(trio.lowlevel.current_task())
        return Response.stream(getattr(source, kind)(), media_type="text/plain", trailers={"X-End": "1"})

    response = await ask(app, "GET /")
    assert response.content == b"onetwo"
    assert response.headers["content-type"] == "text/plain"
    assert response.trailers is not None
    assert response.trailers["x-end"] == "1"
    assert source.closed_in == tasks


@pytest.mark.parametrize("kind", ["asynchronous", "synchronous"])
async def test_a_stream_that_nobody_wants_is_closed_unread(ask: Ask, kind: str) -> None:
    """For HEAD, and when middleware answers with something else."""
    app = App()
    sources: list[Closable] = []

    class Closable:
        def __init__(self) -> None:
            self.closed = 0

        def close(self) -> None:
            self.closed += 1

    class SyncClosable(Closable):
        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError("nobody asked")

    class AsyncClosable(Closable):
        def __aiter__(self) -> AsyncIterator[bytes]:
            raise AssertionError("nobody asked")

        async def aclose(self) -> None:
            self.close()

    async def instead(request: Request, handler: Handler) -> Response:
        await handler(request)
        return Response.text("instead")

    @app.get("/")
    @app.get("/replaced", middleware=[instead])
    async def stream(request: Request) -> Response:
        sources.append(AsyncClosable() if kind == "asynchronous" else SyncClosable())
        return Response.stream(sources[-1], headers={"Content-Length": "6"})  # type: ignore[arg-type]

    response = await ask(app, "HEAD /")
    assert (response.status, response.content) == (200, b"")
    assert (await ask(app, "GET /replaced")).content == b"instead"
    assert [source.closed for source in sources] == [1, 1]


async def test_a_stream_that_fails_before_its_first_chunk_is_an_error_page(ask: Ask) -> None:
    """The head was not out yet; a chunk that is no bytes counts as a failure too."""
    app = App()

    def fails() -> Iterator[bytes]:
        raise ValueError("nothing")
        yield b""

    app.add_route("/fails", lambda request: Response.stream(fails()))
    app.add_route("/text", lambda request: Response.stream(["text"]))  # type: ignore[list-item]
    assert (await ask(app, "GET /fails", faults=True)).status == 500
    assert (await ask(app, "GET /text", faults=True)).status == 500


async def test_a_client_that_leaves_ends_a_stream(autojump_clock: trio.abc.Clock) -> None:
    """The generator's ``finally`` runs in the request's task, soon after."""
    app = App()
    ended = trio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(1000)
                await trio.sleep(1)
        finally:
            ended.set()

    app.add_route("/", lambda request: Response.stream(endless()))
    async with open_in_process(app) as server:
        async with await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await raw.read_until(b"\r\n\r\n")
        with trio.fail_after(5):
            await ended.wait()


# -- hooks and filters -------------------------------------------------------------------------------------------------


class Shouting:
    """A filter that holds back, and adds at the end."""

    def __init__(self, mark: bytes = b"!") -> None:
        self.mark = mark
        self.held = b""

    def feed(self, data: bytes) -> bytes:
        out, self.held = self.held, data.upper()
        return out

    def flush(self) -> bytes:
        out, self.held = self.held, b""
        return out

    def finish(self) -> bytes:
        return self.flush() + self.mark


def app_with_hooks(*hooks: HeadHook) -> App:
    app = App()

    @app.middleware
    async def register(request: Request, handler: Handler) -> Response:
        for hook in hooks:
            request.on_head(hook)
        return await handler(request)

    @app.get("/plain")
    async def plain(request: Request) -> Response:
        return Response.text("abc")

    @app.get("/streamed")
    async def streamed(request: Request) -> Response:
        return Response.stream([b"a", b"bc"], headers={"Content-Length": "3"})

    @app.get("/owned")
    async def owned(request: Request) -> None:
        async with request.respond(200) as body:
            await body.send_all(b"a")
            await body.flush()
            await body.send_all(b"bc")

    @app.get("/empty")
    async def empty(request: Request) -> None:
        async with request.respond(200):
            pass

    @app.get("/none")
    async def none(request: Request) -> Response:
        return Response(status=204)

    return app


ANSWERS = [
    ("GET /plain", 200, b"ABC!?"),
    ("GET /streamed", 200, b"ABC!?"),
    ("GET /owned", 200, b"ABC!?"),
    ("GET /empty", 200, b"!?"),
    ("GET /none", 204, b""),
    ("GET /nothing", 404, b"NOT FOUND\n!?"),
    ("PUT /plain", 405, b"METHOD NOT ALLOWED\n!?"),
    ("HEAD /plain", 200, b""),
    ("HEAD /streamed", 200, b""),
]


@pytest.mark.parametrize(("line", "status", "content"), ANSWERS)
async def test_hooks_and_filters_see_every_answer(ask: Ask, line: str, status: int, content: bytes) -> None:
    """Plain, streamed and owned answers, refusals and empty ones: each head once, the last hook first."""
    order: list[str] = []

    def first(head: ResponseHead) -> Shouting:
        order.append("first")
        assert head.headers["x-second"] == "here"
        return Shouting(b"?")

    def second(head: ResponseHead) -> Shouting:
        order.append("second")
        head.headers["X-Second"] = "here"
        return Shouting(b"!")

    response = await ask(app_with_hooks(first, second), line)
    assert (response.status, response.content) == (status, content)
    assert response.headers["x-second"] == "here"
    assert order == ["second", "first"]


@pytest.mark.parametrize(("line", "status", "content"), ANSWERS)
async def test_a_hook_that_fails_makes_a_500(
    ask: Ask, line: str, status: int, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing has gone out yet, so the client gets a clean one."""

    def fails(head: ResponseHead) -> None:
        raise ValueError("hook")

    response = await ask(app_with_hooks(fails), line, faults=True)
    assert response.status == 500
    assert len(faults(caplog)) == 1


async def test_a_hook_that_comes_too_late_is_told(ask: Ask) -> None:
    """After the head nothing about it can be changed."""
    app = App()

    @app.get("/")
    async def owned(request: Request) -> None:
        async with request.respond() as body:
            request.on_head(lambda head: head.headers.add("X-In-Time", "1"))
            await body.send_all(b"x")
            with pytest.raises(BodyStateError):
                request.on_head(lambda head: None)

    assert (await ask(app, "GET /")).headers["x-in-time"] == "1"


# -- interim answers and other protocols -------------------------------------------------------------------------------


async def test_hints_go_out_before_the_answer(ask: Ask) -> None:
    """103 with its fields, as often as one likes; not to HTTP/1.0, and nothing that the connection sends by itself."""
    app = App()

    @app.get("/")
    async def hints(request: Request) -> Response:
        for status in (100, 101, 200):
            with pytest.raises(ValueError, match="interim status"):
                await request.inform(status)
        await request.inform(headers={"Link": "</a.css>"})
        await request.inform(103, [("Link", "</b.js>")])
        return Response.text("x")

    response = await ask(app, "GET /")
    assert [(interim.status, interim.headers["link"]) for interim in response.interim] == [
        (103, "</a.css>"),
        (103, "</b.js>"),
    ]
    assert (await ask(app, "GET /", version="1.0")).interim == ()


async def test_another_protocol_takes_the_connection_over() -> None:
    """After 101 the handler has a raw stream, early bytes first; the connection ends with its block."""
    app = App()

    @app.get("/")
    async def echo(request: Request) -> None:
        async with request.take_over("echo", {"X-A": "1"}) as stream:
            await stream.send_all(b"hi " + await stream.receive_some())
        with pytest.raises(BodyStateError):
            async with request.respond():
                pass

    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
        received = await raw.read_until_closed()
    head, _, rest = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"upgrade: echo" in head.lower()
    assert b"connection: upgrade" in head.lower()
    assert b"X-A: 1" in head
    assert rest == b"hi early"


async def test_a_request_that_asks_for_no_upgrade_is_not_taken_over(ask: Ask) -> None:
    """LocalProtocolError in the handler, which may still answer."""
    app = App()

    @app.get("/")
    async def echo(request: Request) -> Response:
        with pytest.raises(ValueError, match="protocol"):
            request.take_over()
        with pytest.raises(LocalProtocolError):
            async with request.take_over("echo"):
                pass
        return Response.text("no")

    assert (await ask(app, "GET /")).content == b"no"


async def test_an_error_in_another_protocol_ends_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    """There is no answer to give any more; the log has the error."""
    app = App()

    @app.get("/")
    async def fails(request: Request) -> None:
        async with request.take_over("echo"):
            raise ValueError("in the tunnel")

    async with open_in_process(app, raise_handler_errors=False) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        await raw.read_until(b"\r\n\r\n")
        with pytest.raises((trio.BrokenResourceError, EOFError)):
            if await raw.receive_some() == b"":
                raise EOFError
    assert len(faults(caplog)) == 1
