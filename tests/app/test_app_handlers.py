"""What may be a handler, and what becomes of what it returns."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from typing import TypeAlias

import pytest
import trio

from triohttp import App, NotFound, Request, Response, threaded
from triohttp.errors import RoutingError
from triohttp.testing import RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]


async def asynchronous(request: Request) -> Response:
    await trio.lowlevel.checkpoint()
    return Response.text("ok")


def plain(request: Request) -> Response:
    return Response.text("ok")


class Methods:
    async def asynchronous(self, request: Request) -> Response:
        return await asynchronous(request)

    def plain(self, request: Request) -> Response:
        return Response.text("ok")

    @staticmethod
    async def static(request: Request) -> Response:
        return Response.text("ok")


class AsyncCallable:
    async def __call__(self, request: Request) -> Response:
        return Response.text("ok")


class PlainCallable:
    def __call__(self, request: Request) -> Response:
        return Response.text("ok")


async def with_word(word: str, request: Request) -> Response:
    return Response.text(word)


@pytest.mark.parametrize(
    "handler",
    [
        asynchronous,
        plain,
        Methods().asynchronous,
        Methods().plain,
        Methods.static,
        AsyncCallable(),
        PlainCallable(),
        functools.partial(with_word, "ok"),
        lambda request: Response.text("ok"),
        lambda request: asynchronous(request),  # noqa: PLW0108  # a plain function that returns an awaitable
        threaded(plain),
    ],
    ids=lambda handler: getattr(handler, "__qualname__", type(handler).__name__),
)
async def test_every_kind_of_callable_answers(ask: Ask, handler: object) -> None:
    """Async or plain; functions, methods, callables, partials, lambdas; and blocking ones in a thread."""
    app = App()
    app.add_route("/", handler)
    assert (await ask(app, "GET /")).content == b"ok"


async def test_an_object_answers_by_methods_named_after_http_methods(ask: Ask) -> None:
    """As an instance, and as a class that is called once; GET includes HEAD, and 405 lists the others."""

    class Item:
        made = 0

        def __init__(self, name: str = "item") -> None:
            Item.made += 1
            self.name = name

        async def get(self, request: Request) -> Response:
            return Response.text(f"{self.name} {request.path_params.get('id')}")

        def put(self, request: Request) -> Response:
            return Response.text("put")

    app = App()
    app.route("/class/{id}")(Item)
    app.add_route("/instance", Item("mine"))
    assert app.routes[0].methods == ("GET", "PUT")
    assert (await ask(app, "GET /class/5")).content == b"item 5"
    assert (await ask(app, "GET /class/6")).content == b"item 6"
    assert (await ask(app, "HEAD /class/6")).headers["content-length"] == "6"
    assert (await ask(app, "PUT /instance")).content == b"put"
    assert (await ask(app, "GET /instance")).content == b"mine None"
    assert (await ask(app, "POST /instance")).headers["allow"] == "GET, HEAD, OPTIONS, PUT"
    assert Item.made == 2
    with pytest.raises(RoutingError, match="methods="):
        app.add_route("/x", Item, methods="GET")


def generator(request: Request) -> Iterator[bytes]:
    yield b""


async def asynchronous_generator(request: Request) -> AsyncIterator[bytes]:
    yield b""


class Nothing:
    pass


@pytest.mark.parametrize("handler", [None, "text", Nothing, Nothing(), generator, asynchronous_generator, {"get": 1}])
def test_what_cannot_answer_is_refused_when_it_is_added(handler: object) -> None:
    """Not when the first request comes."""
    with pytest.raises(RoutingError):
        App().add_route("/", handler)


async def without_request() -> Response:
    return Response.text("")


async def with_variable(request: Request, number: int) -> Response:
    return Response.text("")


class TakesNothing:
    async def get(self) -> Response:
        return Response.text("")


@pytest.mark.parametrize("handler", [without_request, with_variable, TakesNothing, lambda: None])
def test_a_handler_with_other_arguments_is_refused_when_it_is_added(handler: object) -> None:
    """The message says where the variables are, for those who know frameworks that pass them."""
    with pytest.raises(RoutingError, match=r"must take one argument, the request; .* request\.path_params"):
        App().add_route("/{number:int}", handler)


def test_a_callable_that_does_not_say_what_it_takes_may_be_a_handler() -> None:
    """Some that are written in C have no signature."""
    assert App().add_route("/", max).handler is max


async def returns_nothing(request: Request) -> Response:
    return None  # type: ignore[return-value]


async def returns_text(request: Request) -> Response:
    return "abc"  # type: ignore[return-value]


def returns_number(request: Request) -> Response:
    return 5  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("result", "hint"),
    [({}, r"Response\.json"), ([], r"Response\.json"), ("", r"Response\.text"), (b"", "makes one"), (5, "not int")],
)
async def test_what_is_no_response_is_told_with_what_makes_one(result: object, hint: str) -> None:
    """The error says what was returned, and how a response is made of it."""
    app = App()
    app.add_route("/", lambda request: result)
    with pytest.raises(TypeError, match=hint):
        async with open_in_process(app) as server, await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await raw.read_response()


async def test_middleware_that_does_not_await_is_told_so() -> None:
    """``return handler(request)`` returns what nobody awaits; the error says that an await is missing."""
    unawaited: list[Coroutine[object, object, Response]] = []

    async def hasty(request: Request, handler: Callable[[Request], Coroutine[object, object, Response]]) -> Response:
        unawaited.append(handler(request))
        return unawaited[0]  # type: ignore[return-value]

    app = App(middleware=[hasty])
    app.add_route("/", plain)
    with pytest.raises(TypeError, match="hasty must return a Response, not coroutine; an await is missing"):
        async with open_in_process(app) as server, await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await raw.read_response()
    unawaited[0].close()


@pytest.mark.parametrize("handler", [returns_nothing, returns_text, returns_number])
@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_handler_that_returns_no_response_is_named_in_the_log(
    handler: Callable[[Request], object], wrapped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """500 for the client, who sees nothing of it; the log has the handler's name; the connection goes on."""

    async def through(request: Request, following: Callable[[Request], Awaitable[Response]]) -> Response:
        return await following(request)

    app = App(middleware=[through] if wrapped else [])
    app.add_route("/", handler)
    async with open_in_process(app, raise_handler_errors=False) as server, await server.open_raw() as raw:
        for _ in range(2):
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            response = await raw.read_response()
            assert (response.status, response.content) == (500, b"Internal Server Error\n")
    records = [record for record in caplog.records if record.name == "triohttp.app"]
    assert [record.levelno for record in records] == [logging.ERROR] * 2
    assert handler.__qualname__ in records[0].getMessage()


async def test_returning_an_http_exception_is_raising_it(ask: Ask) -> None:
    """The bytes are the same, but for the date."""
    app = App()

    @app.get("/returned")
    async def returned(request: Request) -> NotFound:
        return NotFound("nobody\n", headers={"X-A": "1"})

    @app.get("/raised")
    async def raised(request: Request) -> Response:
        raise NotFound("nobody\n", headers={"X-A": "1"})

    first, second = await ask(app, "GET /returned"), await ask(app, "GET /raised")
    assert first.status == second.status == 404
    assert first.content == second.content == b"nobody\n"
    del first.headers["date"], second.headers["date"]
    assert first.headers == second.headers


async def test_threaded_handlers_run_beside_each_other_within_their_limit() -> None:
    """A blocking handler does not hold up others; a limiter of its own bounds how many run at once."""
    app = App()
    running, most = 0, 0
    lock, both = threading.Lock(), threading.Barrier(2, timeout=10)

    def block(request: Request) -> Response:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait()
        with lock:
            running -= 1
        return Response.text(trio.from_thread.run(request.text))

    app.add_route("/block", threaded(block, limiter=trio.CapacityLimiter(2)), methods="POST")

    async def visit() -> None:
        async with await server.open_raw() as raw:
            await raw.send_all(b"POST /block HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            assert (await raw.read_response()).content == b"hi"

    async with open_in_process(app) as server, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(visit)
    assert most == 2


def test_an_async_function_needs_no_thread() -> None:
    """``threaded`` says so when it is used."""
    with pytest.raises(TypeError, match="asynchronous"):
        threaded(asynchronous)  # type: ignore[arg-type]


def test_what_cannot_be_called_needs_no_thread_either() -> None:
    """A function is given, not what it returned."""
    with pytest.raises(TypeError, match="blocking function, not None"):
        threaded(None)  # type: ignore[arg-type]
