"""What becomes of what handlers raise: statuses, error handlers, pages, and one record in the log."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio

from triohttp import (
    App,
    Conflict,
    Forbidden,
    HTTPException,
    InternalServerError,
    NotFound,
    Request,
    Response,
    open_server,
)
from triohttp._app.pages import is_loopback
from triohttp.errors import (
    BodyTooLargeError,
    ContentError,
    DisconnectedError,
    LocalProtocolError,
    ReadTimeout,
    RemoteProtocolError,
    TrioHTTPError,
)
from triohttp.testing import RawConnection, RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]

# Up here, since the page shows the lines around the one that raised.
TELLING_REQUEST = b"GET /%3Ci%3E HTTP/1.1\r\nHost: localhost:8080\r\nCookie: token=swordfish\r\nX-A: <u>\r\n\r\n"


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "triohttp.app"]


def app_that_raises(error: BaseException, **options: object) -> App:
    app = App(**options)  # type: ignore[arg-type]

    async def fails(request: Request) -> Response:
        raise error

    app.add_route("/{rest:path}", fails)
    return app


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("secret detail"),
        BaseException("secret detail"),
        RecursionError("secret detail"),
        MemoryError("secret detail"),
        ExceptionGroup("secret detail", [ValueError("a"), KeyError("b")]),
        ExceptionGroup("secret detail", [Forbidden(), ValueError("a")]),
        ExceptionGroup("secret detail", [Forbidden(), NotFound()]),
        DisconnectedError("secret detail: of a client call inside the handler"),
        ReadTimeout("secret detail: of a client call inside the handler"),
        ContentError("secret detail: of an answer that a client call got"),
        BodyTooLargeError("secret detail: of an answer that a client call got"),
        RemoteProtocolError("secret detail: of an answer that a client call got", slug="x"),
        LocalProtocolError("secret detail"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_any_other_exception_is_a_500(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    """The client sees nothing of it, the log has it once with its traceback, the connection goes on.

    Errors of calls that the handler itself makes are among them: they are no fault of its client.
    """
    async with open_in_process(app_that_raises(error), raise_handler_errors=False) as server:
        async with await server.open_raw() as raw:
            for _ in range(2):
                await raw.send_all(b"GET /secret-path HTTP/1.1\r\nHost: a\r\n\r\n")
                response = await raw.read_response()
                assert (response.status, response.content) == (500, b"Internal Server Error\n")
                assert response.headers["x-content-type-options"] == "nosniff"
    assert len(records(caplog)) == 2
    record = records(caplog)[0]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize(
    "error",
    [
        Forbidden("no\n"),
        ExceptionGroup("", [Forbidden("no\n")]),
        ExceptionGroup("", [ExceptionGroup("", [Forbidden("no\n")])]),
        ExceptionGroup("", [Forbidden("no\n"), Forbidden("never\n")]),
    ],
)
async def test_a_group_of_one_http_exception_is_that_exception(
    ask: Ask, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever nurseries it went through; several of one status count as the first. None of it is logged."""
    response = await ask(app_that_raises(error), "GET /")
    assert (response.status, response.content) == (403, b"no\n")
    assert records(caplog) == []


async def test_an_exception_in_a_nursery_of_the_handler(ask: Ask) -> None:
    """The common case of the group: a child raises the answer."""
    app = App()

    async def child() -> None:
        raise Conflict("taken\n")

    @app.get("/")
    async def parent(request: Request) -> Response:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await trio.sleep_forever()
        return Response.text("never")

    assert (await ask(app, "GET /")).content == b"taken\n"


async def test_one_exception_object_may_answer_many_requests() -> None:
    """Also at the same time; what it keeps of each of them does not add up."""
    constant = NotFound("constant\n")
    app = App()
    both = trio.Event()
    waiting = 0

    @app.get("/")
    async def fails(request: Request) -> Response:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            both.set()
        await both.wait()
        raise constant

    async def visit() -> None:
        async with await server.open_raw() as raw:
            for _ in range(10):
                await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await raw.read_response()).content == b"constant\n"

    async with open_in_process(app) as server, trio.open_nursery() as nursery:
        nursery.start_soon(visit)
        nursery.start_soon(visit)
    assert constant.__traceback__ is None
    assert constant.__context__ is None


async def test_cancelled_code_that_fails_is_reported(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """An error in the cleanup of a handler whose client has gone is in the log, not lost."""
    app = App()
    begun = trio.Event()

    async def cleanup_fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("in the cleanup")

    @app.get("/")
    async def handler(request: Request) -> Response:
        begun.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cleanup_fails)
            nursery.start_soon(trio.sleep_forever)
        return Response.text("never")

    async with open_in_process(app, raise_handler_errors=False) as server:
        async with await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await begun.wait()
        await trio.sleep(2)
    assert "in the cleanup" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_a_request_to_exit_is_no_answer(error: type[BaseException]) -> None:
    """It ends the server, which raises it."""
    with pytest.raises(error):
        async with open_in_process(app_that_raises(error()), raise_handler_errors=False) as server:
            async with await server.open_raw() as raw:
                await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await trio.sleep_forever()


# -- error handlers ----------------------------------------------------------------------------------------------------


class Missing(LookupError):
    pass


async def test_error_handlers_by_class_and_by_status(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """The closest class, then the status, then ``Exception``; async or plain; they may raise or return exceptions."""
    app = App()

    def handler(name: str, *targets: int | type[Exception]) -> None:
        @app.error_handler(*targets)
        async def answer(request: Request, error: Exception) -> Response:
            return Response.text(f"{name}: {error!r}", status=getattr(error, "status", 500))

    handler("lookup", LookupError)
    handler("404 or 405", 404, 405)
    handler("conflict", Conflict)
    handler("exception", Exception)

    @app.error_handler(Missing)
    def missing(request: Request, error: Missing) -> Response:
        return NotFound(f"missing {error}")  # type: ignore[return-value]

    @app.get("/{what}")
    async def fails(request: Request) -> Response:
        raise {
            "missing": Missing("x"),
            "key": KeyError("k"),
            "conflict": Conflict(),
            "not-found": NotFound("it"),
            "value": ValueError("v"),
            "forbidden": Forbidden(),
            "group": ExceptionGroup("", [KeyError("g")]),
        }[request.path_params["what"]]

    expected = {
        "GET /missing": b"missing x",
        "GET /key": b"lookup: KeyError('k')",
        "GET /conflict": b"conflict: Conflict('Conflict')",
        "GET /not-found": b"404 or 405: NotFound('it')",
        "GET /a/b": b"404 or 405: NotFound('Not Found')",
        "PUT /key": b"404 or 405: MethodNotAllowed('Method Not Allowed')",
        "GET /forbidden": b"exception: Forbidden('Forbidden')",
        "GET /group": b"lookup: KeyError('g')",
    }
    for line, content in expected.items():
        assert (await ask(app, line)).content == content
    assert records(caplog) == []
    assert (await ask(app, "GET /value", faults=True)).content == b"exception: ValueError('v')"
    assert len(records(caplog)) == 1


async def test_an_error_handler_for_what_the_client_does_wrong(ask: Ask) -> None:
    """The library's own errors can be answered too, by class or by the status they have."""
    app = App(limits={"max_body_bytes": 3})

    @app.error_handler(413)
    def too_large(request: Request, error: BodyTooLargeError) -> Response:
        return Response.text(f"at most {error.bound}", status=413)

    @app.error_handler(ContentError)
    def nonsense(request: Request, error: ContentError) -> Response:
        return Response.text(error.reason, status=422)

    @app.post("/")
    async def read(request: Request) -> Response:
        return Response.json(await request.json(any_type=True))

    response = await ask(app, "POST /", content=b"1234")
    assert (response.status, response.content, response.headers["connection"]) == (413, b"at most 3", "close")
    response = await ask(app, "POST /", content=b"{")
    assert (response.status, response.content) == (422, b"json")


async def test_an_error_handler_that_fails_falls_back(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """One plain 500, both errors in the log, no recursion."""
    app = app_that_raises(KeyError("first"))

    @app.error_handler(500)
    async def fails(request: Request, error: Exception) -> Response:
        raise ValueError("second")

    response = await ask(app, "GET /", faults=True)
    assert (response.status, response.content) == (500, b"Internal Server Error\n")
    assert len(records(caplog)) == 2
    assert "first" in caplog.text
    assert "second" in caplog.text


async def test_an_error_handler_must_answer(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """One that returns nothing is named in the log."""
    app = app_that_raises(NotFound())

    @app.error_handler(404)
    async def forgetful(request: Request, error: Exception) -> Response:
        return None  # type: ignore[return-value]

    assert (await ask(app, "GET /", faults=True)).status == 500
    assert "forgetful returned None" in caplog.text


@pytest.mark.parametrize("target", [200, 99, "404", 404.0, BaseException, KeyboardInterrupt, None, object])
def test_what_no_handler_could_answer_is_refused(target: object) -> None:
    """Error handlers are for statuses from 300 and classes of exceptions."""
    with pytest.raises(ValueError, match="statuses from 300 and exception classes, not"):
        App().error_handler(target)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="callable"):
        App().error_handler(404)(None)
    with pytest.raises(ValueError, match="a status or an exception class"):
        App().error_handler()


async def test_a_mounted_app_answers_for_its_own_errors(ask: Ask) -> None:
    """Its error handlers count for its routes; what it has none for is the outer app's."""
    app, inner = App(), App()
    app.add_route("/nothing/here", app_that_raises(KeyError("outer")).routes[0].handler)
    inner.add_route("/key", app_that_raises(KeyError("k")).routes[0].handler)
    inner.add_route("/conflict", app_that_raises(Conflict()).routes[0].handler)
    app.mount("/inner", inner)

    @inner.error_handler(KeyError, 404)
    async def of_inner(request: Request, error: Exception) -> Response:
        return Response.text("inner", status=418)

    @app.error_handler(KeyError, 404, Conflict)
    async def of_outer(request: Request, error: Exception) -> Response:
        return Response.text("outer", status=418)

    lines = ["GET /inner/key", "GET /inner/conflict", "GET /inner/nothing", "GET /nothing/here", "GET /nothing"]
    assert [(await ask(app, line)).content for line in lines] == [b"inner", b"outer", b"inner", b"outer", b"outer"]


# -- the client is gone ------------------------------------------------------------------------------------------------


async def test_a_client_that_resets_its_upload_gets_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """DisconnectedError in the handler, nothing in the log, and the server goes on."""
    app = App()
    seen: list[Exception] = []
    begun, ended = trio.Event(), trio.Event()

    @app.post("/")
    async def read(request: Request) -> Response:
        begun.set()
        try:
            await request.read()
        except DisconnectedError as error:
            seen.append(error)
            raise
        finally:
            ended.set()
        return Response.text("never")

    @app.error_handler(Exception)
    async def never(request: Request, error: Exception) -> Response:
        raise AssertionError("nobody is there")

    async with open_in_process(app) as server:
        async with await server.open_raw() as raw:
            await raw.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
            await begun.wait()
            raw.reset()
        with trio.fail_after(5):
            await ended.wait()
        async with await server.open_raw() as raw:
            await raw.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            assert (await raw.read_response()).status == 200
    assert len(seen) == 1
    assert records(caplog) == []


async def test_broken_framing_is_400_and_closes() -> None:
    """A bad chunk is found while the handler reads; uncaught it is answered with its status."""
    app = App()

    @app.post("/")
    async def read(request: Request) -> Response:
        return Response.text(str(len(await request.read())))

    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        response = await raw.read_response()
        assert (response.status, response.headers["connection"]) == (400, "close")


async def test_an_http_exception_that_comes_too_late_is_mentioned(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is cut, since it cannot become another one, and the log has a line about it without a traceback."""
    app = App()

    @app.get("/")
    async def late(request: Request) -> None:
        async with request.respond() as body:
            await body.send_all(b"x")
            raise InternalServerError("late")

    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await raw.read_until_closed()
    assert [(record.levelno, record.exc_info) for record in records(caplog)] == [(logging.WARNING, None)]


# -- the debug page ----------------------------------------------------------------------------------------------------


async def over_tcp(app: App, request: bytes) -> RawResponse:
    """Ask over a socket of this machine: a client in memory has no address."""
    async with open_server(app) as server, RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) as raw:
        await raw.send_all(request)
        return await raw.read_response()


async def test_a_developer_sees_the_traceback() -> None:
    """With source lines, the cause, and the request; everything escaped, secrets masked, no local variable."""
    app = App(debug=True)

    @app.get("/{name}")
    async def fails(request: Request) -> Response:
        password = "hunter2"  # noqa: F841
        try:
            raise KeyError("<b>first</b>")
        except KeyError as error:
            raise ExceptionGroup("<script>alert(1)</script>", [ValueError("leaf")]) from error

    response = await over_tcp(app, TELLING_REQUEST)
    assert response.status == 500
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["content-security-policy"]
    page = response.content.decode()
    assert "raise KeyError(" in page
    assert "&lt;b&gt;first" in page
    assert "leaf" in page
    assert "&lt;u&gt;" in page
    for secret in ("<script>", "<b>", "<u>", "swordfish"):
        assert secret not in page
    assert "test_app_errors.py" in page


async def test_nobody_else_does(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """Not without ``debug``, and not from anywhere but this machine; HTTP exceptions are no bugs."""
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert (await over_tcp(app_that_raises(ValueError("x")), request)).content == b"Internal Server Error\n"
    assert (await over_tcp(app_that_raises(NotFound(), debug=True), request)).content == b"Not Found\n"
    response = await ask(app_that_raises(ValueError("x"), debug=True), "GET /", faults=True)
    assert response.content == b"Internal Server Error\n"


@pytest.mark.parametrize(
    ("peer", "expected"),
    [
        (("127.0.0.1", 1), True),
        (("127.8.8.8", 1), True),
        (("::1", 1), True),
        (("::ffff:127.0.0.1", 1), True),
        (("::ffff:10.0.0.1", 1), False),
        (("10.0.0.1", 1), False),
        (("fe80::1%eth0", 1), False),
        (("nonsense", 1), False),
        ("/run/app.sock", False),
        (None, False),
    ],
)
def test_who_is_on_this_machine(peer: tuple[str, int] | str | None, expected: bool) -> None:
    """Loopback TCP peers; behind a Unix socket there may be a proxy for everybody."""
    assert is_loopback(peer) is expected


def test_http_exceptions_are_not_errors_of_the_library() -> None:
    """``except TrioHTTPError`` around a client call does not catch a handler's answer."""
    assert not issubclass(HTTPException, TrioHTTPError)
