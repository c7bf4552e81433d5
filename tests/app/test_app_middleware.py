"""Middleware: order, levels, and what each layer may do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TypeAlias

import pytest
import trio

from triohttp import App, Handler, HTTPException, MethodNotAllowed, Middleware, NotFound, Request, Response, Router
from triohttp.errors import BodyStateError
from triohttp.testing import RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]


def adding(name: str) -> Middleware:
    """Return a middleware that puts its name behind the content."""

    async def middleware(request: Request, handler: Handler) -> Response:
        response = await handler(request)
        response.content += f"[{name}]".encode()
        return response

    return middleware


async def ok(request: Request) -> Response:
    return Response.text("OK")


async def test_layers_lie_from_app_to_router_to_route(ask: Ask) -> None:
    """The first one given is the outermost, at each level; only what a route lies in is around it."""
    app = App(middleware=[adding("app1"), adding("app2")])
    outer, inner = Router(middleware=[adding("outer")]), Router(middleware=[adding("inner")])
    inner.add_route("/x", ok, middleware=[adding("route1"), adding("route2")])
    outer.mount("/inner", inner)
    outer.add_route("/x", ok)
    app.mount("/outer", outer)
    app.add_route("/x", ok)
    assert (await ask(app, "GET /outer/inner/x")).content == b"OK[route2][route1][inner][outer][app2][app1]"
    assert (await ask(app, "GET /outer/x")).content == b"OK[outer][app2][app1]"
    assert (await ask(app, "GET /x")).content == b"OK[app2][app1]"


async def test_middleware_may_be_added_by_decorator_at_any_time(ask: Ask) -> None:
    """It lies inside what is there, around routes that exist already, in routers that are mounted already."""
    app, router = App(middleware=[adding("first")]), Router()
    router.add_route("/x", ok)
    app.mount("", router)
    assert (await ask(app, "GET /nothing")).content == b"Not Found\n"
    function = adding("second")
    assert app.middleware(function) is function
    router.middleware(adding("router"))
    assert (await ask(app, "GET /x")).content == b"OK[router][second][first]"
    with pytest.raises(TypeError, match="callable"):
        app.middleware("no function")  # type: ignore[type-var]


async def test_middleware_may_answer_by_itself(ask: Ask) -> None:
    """By returning, by raising, or by returning an exception: the handler is not called."""
    called: list[str] = []

    async def guard(request: Request, handler: Handler) -> Response:
        match request.raw_path:
            case "/returned":
                return Response.text("no", status=403)
            case "/raised":
                raise NotFound("no")
            case "/exception":
                return NotFound("no")  # type: ignore[return-value]
        return await handler(request)

    @(app := App(middleware=[guard])).get("/{path}")
    async def handler(request: Request) -> Response:
        called.append(request.raw_path)
        return Response.text("yes")

    statuses = [(await ask(app, f"GET {path}")).status for path in ("/returned", "/raised", "/exception", "/other")]
    assert statuses == [403, 404, 404, 200]
    assert called == ["/other"]


async def test_middleware_catches_refusals_and_errors(ask: Ask) -> None:
    """404 and 405 are exceptions with their data; so is whatever a handler raises, the object itself."""
    boom = RuntimeError("boom")

    async def catch(request: Request, handler: Handler) -> Response:
        try:
            return await handler(request)
        except MethodNotAllowed as error:
            return Response.text(f"use {error.allowed}", status=405, headers=error.headers)
        except NotFound:
            return Response.text(f"nothing for {request.method} here", status=404)
        except RuntimeError as error:
            assert error is boom
            return Response.text(f"{error}[MIDDLEWARE]", status=501)

    app = App(middleware=[catch])

    @app.get("/boom")
    async def fails(request: Request) -> Response:
        raise boom

    assert (await ask(app, "PUT /boom")).content == b"use ('GET', 'HEAD', 'OPTIONS')"
    assert (await ask(app, "GET /nothing")).content == b"nothing for GET here"
    response = await ask(app, "GET /boom")
    assert (response.status, response.content) == (501, b"boom[MIDDLEWARE]")


async def test_middleware_rewrites_answers_and_refusals(ask: Ask) -> None:
    """Header fields, status and content of a response that has not been sent."""

    async def rewrite(request: Request, handler: Handler) -> Response:
        try:
            response = await handler(request)
        except HTTPException as error:
            response = error.to_response()
        response.headers["Server"] = "mine"
        response.status += 1
        return response

    app = App(middleware=[rewrite])
    app.add_route("/", ok)
    for path, status in (("/", 201), ("/nothing", 405)):
        response = await ask(app, f"GET {path}")
        assert (response.status, response.headers.get_all("server")) == (status, ["mine"])


async def test_an_owned_answer_is_a_response_that_was_sent(ask: Ask) -> None:
    """Middleware sees its status and fields, cannot change them, and does not answer a second time."""
    seen: list[tuple[int, str | None, bool]] = []

    async def look(request: Request, handler: Handler) -> Response:
        response = await handler(request)
        seen.append((response.status, response.headers.get("x-a"), response.sent))
        with pytest.raises(BodyStateError):
            response.headers["X-B"] = "2"
        return response

    app = App(middleware=[look, look])

    @app.get("/")
    async def owned(request: Request) -> None:
        async with request.respond(202, {"X-A": "1"}) as body:
            await body.send_all(b"owned")

    response = await ask(app, "GET /")
    assert (response.status, response.content) == (202, b"owned")
    assert seen == [(202, "1", True)] * 2


@pytest.mark.parametrize("position", [0, 1])
async def test_a_handler_is_called_once(ask: Ask, position: int, caplog: pytest.LogCaptureFixture) -> None:
    """A second call would answer twice: it is an error, and the handler has run once."""
    calls: list[str] = []

    async def twice(request: Request, handler: Handler) -> Response:
        await handler(request)
        return await handler(request)

    layers: list[Middleware] = [adding("other")]
    layers.insert(position, twice)
    app = App(middleware=layers)

    @app.get("/")
    async def count(request: Request) -> Response:
        calls.append("called")
        return Response.text("")

    assert (await ask(app, "GET /", faults=True)).status == 500
    assert calls == ["called"]
    assert "called its handler twice" in caplog.text


async def test_middleware_that_forgets_to_return_is_named(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """500, and the log says which function it was."""

    async def forgetful(request: Request, handler: Handler) -> Response:
        await handler(request)
        return None  # type: ignore[return-value]

    app = App(middleware=[adding("outer"), forgetful])
    app.add_route("/", ok)
    assert (await ask(app, "GET /", faults=True)).status == 500
    assert "forgetful returned None" in caplog.text


word: ContextVar[str] = ContextVar("word", default="nothing")


async def test_context_variables_flow_both_ways_and_end_with_the_request() -> None:
    """One task from the outermost layer to the handler; the next request on the connection starts afresh."""
    heard: list[str] = []

    async def tell(request: Request, handler: Handler) -> Response:
        heard.append(word.get())
        word.set("from middleware")
        response = await handler(request)
        heard.append(word.get())
        return response

    app = App(middleware=[tell])

    @app.get("/")
    async def handler(request: Request) -> Response:
        heard.append(word.get())
        word.set("from handler")
        return Response.text("")

    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 2)
        for _ in range(2):
            await raw.read_response()
    assert heard == ["nothing", "from middleware", "from handler"] * 2


async def test_cancellation_passes_through_from_the_inside_out(autojump_clock: trio.abc.Clock) -> None:
    """A client that goes away runs each layer's ``finally``, innermost first, and no ``except Exception``."""
    order: list[str] = []

    def layer(name: str) -> Middleware:
        async def middleware(request: Request, handler: Handler) -> Response:
            try:
                return await handler(request)
            except Exception:
                order.append("swallowed")
                raise
            finally:
                order.append(name)

        return middleware

    app = App(middleware=[layer("outer"), layer("middle"), layer("inner")])
    begun = trio.Event()

    @app.get("/")
    async def sleep(request: Request) -> Response:
        begun.set()
        await trio.sleep(60)
        return Response.text("never")

    async with open_in_process(app) as server:
        async with await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await begun.wait()
        await trio.sleep(1)
        assert order == ["inner", "middle", "outer"]


async def test_on_disconnect_finish_lets_the_handler_end(autojump_clock: trio.abc.Clock) -> None:
    """A route may say that its handler goes on without its client."""
    ended: list[float] = []
    app = App()
    begun = trio.Event()

    @app.get("/", on_disconnect="finish")
    async def sleep(request: Request) -> Response:
        begun.set()
        await trio.sleep(5)
        ended.append(trio.current_time())
        return Response.text("nobody reads this")

    async with open_in_process(app) as server:
        async with await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await begun.wait()
        await trio.sleep(10)
    assert len(ended) == 1
