"""Routing from outside: what a client gets for each path and method."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio

from triohttp import App, Handler, Request, Response, Router
from triohttp.testing import RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]


def make_app(**options: object) -> App:
    app = App(**options)  # type: ignore[arg-type]

    @app.get("/items")
    async def items(request: Request) -> Response:
        return Response.text("items")

    @app.post("/items")
    async def add(request: Request) -> Response:
        return Response.text("added", status=201)

    @app.delete("/items/{id:int}")
    async def delete(request: Request) -> Response:
        return Response.text(f"deleted {request.path_params['id']}")

    @app.route("/any")
    async def any_method(request: Request) -> Response:
        return Response.text(request.method)

    @app.get("/with/slash/")
    async def slash(request: Request) -> Response:
        return Response.text("slash")

    @app.get("/echo/{value}")
    async def echo(request: Request) -> Response:
        return Response.json(dict(request.path_params))

    return app


@pytest.mark.parametrize(
    ("line", "status", "content"),
    [
        ("GET /items", 200, b"items"),
        ("GET /items?a=1", 200, b"items"),
        ("GET /items?", 200, b"items"),
        ("GET http://app.test/items", 200, b"items"),
        ("POST /items", 201, b"added"),
        ("DELETE /items/7", 200, b"deleted 7"),
        ("DELETE /items/x", 404, b"Not Found\n"),
        ("PROPFIND /any", 200, b"PROPFIND"),
        ("GET /nothing", 404, b"Not Found\n"),
        ("FOO /nothing", 404, b"Not Found\n"),
        ("GET /items/", 404, b"Not Found\n"),
        ("GET //items", 404, b"Not Found\n"),
        ("GET /echo/a%2Fb", 200, b'{"value":"a/b"}'),
        ("GET /echo/%2520", 200, b'{"value":"%20"}'),
        ("GET /echo/%0d%0a", 200, b'{"value":"\\r\\n"}'),
        ("GET /echo/%ff", 404, b"Not Found\n"),
        ("GET /echo/a/../b", 404, b"Not Found\n"),
        ("GET /echo/%252e%252e", 200, b'{"value":"%2e%2e"}'),
        ("GET /echo/a%zz", 400, b"Bad Request\n"),
        ("GET /echo/a%2", 400, b"Bad Request\n"),
        ("GET /%", 400, b"Bad Request\n"),
    ],
)
async def test_the_answer_to_a_path(ask: Ask, line: str, status: int, content: bytes) -> None:
    """Literal paths, variables, queries, absolute targets; wrong paths; and the connection is kept in each case."""
    response = await ask(make_app(), line)
    assert (response.status, response.content) == (status, content)
    assert "connection" not in response.headers


@pytest.mark.parametrize(
    ("line", "allow"),
    [
        ("PUT /items", "GET, HEAD, OPTIONS, POST"),
        ("GET /items/7", "DELETE, OPTIONS"),
        ("TRACE /items", "GET, HEAD, OPTIONS, POST"),
        ("TRACE /any", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("get /items", "GET, HEAD, OPTIONS, POST"),
        ("FOO /items", "GET, HEAD, OPTIONS, POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(ask: Ask, line: str, allow: str) -> None:
    """405 with the union of what every matching route takes, HEAD and OPTIONS included (RFC 9110 §15.5.6)."""
    response = await ask(make_app(), line)
    assert response.status == 405
    assert response.headers["allow"] == allow
    assert response.content == b"Method Not Allowed\n"


async def test_head_is_get_without_content(ask: Ask) -> None:
    """Every GET route answers HEAD with the same fields, its length included (RFC 9110 §9.3.2)."""
    response = await ask(make_app(), "HEAD /items")
    assert (response.status, response.content) == (200, b"")
    assert response.headers["content-length"] == "5"
    app = make_app()

    @app.head("/items")
    async def head(request: Request) -> Response:
        return Response(status=204)

    assert (await ask(app, "HEAD /items")).status == 204


@pytest.mark.parametrize(
    ("line", "allow"),
    [
        ("OPTIONS /items", "GET, HEAD, OPTIONS, POST"),
        ("OPTIONS /items/7", "DELETE, OPTIONS"),
        ("OPTIONS *", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
    ],
)
async def test_options_come_for_free(ask: Ask, line: str, allow: str) -> None:
    """204 with the methods of a path, or 200 with those of the whole server (RFC 9110 §9.3.7)."""
    response = await ask(make_app(), line)
    assert (response.status, response.content) == (200 if line.endswith("*") else 204, b"")
    assert response.headers["allow"] == allow


async def test_options_may_be_answered_by_a_route(ask: Ask) -> None:
    """For a path and for the server."""
    app = make_app()

    @app.options("/items")
    @app.options("*")
    async def options(request: Request) -> Response:
        return Response.text(f"mine {request.raw_path}")

    assert (await ask(app, "OPTIONS /items")).content == b"mine /items"
    assert (await ask(app, "OPTIONS *")).content == b"mine *"
    assert (await ask(app, "OPTIONS /nothing")).status == 404


async def test_connect_is_refused_and_closes(ask: Ask) -> None:
    """What follows a CONNECT is meant for somebody else."""
    response = await ask(make_app(), "CONNECT example.org:443", headers={"Host": "example.org:443"})
    assert response.status == 405
    assert response.headers["connection"] == "close"


async def test_connect_and_trace_can_be_named(ask: Ask) -> None:
    """A route that names the method answers it; CONNECT has no path but ``*``."""
    app = make_app()

    @app.route("/items", methods="TRACE")
    async def trace(request: Request) -> Response:
        return Response.text("traced")

    @app.route("*", methods="CONNECT")
    async def connect(request: Request) -> None:
        async with request.take_over() as stream:
            await stream.send_all(b"tunnel to " + request.target.encode())

    assert (await ask(app, "TRACE /items")).content == b"traced"
    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
        received = await raw.read_until_closed()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"\r\n\r\ntunnel to example.org:443")


@pytest.mark.parametrize("path", ["/../x", "/a/../../x", "/%2e%2e/x", "/.%2E/", "/a/%2e%2e/..", "/a%00b", "/x%00.txt"])
async def test_a_hostile_path_is_rejected_and_closes(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """Climbing above the root, and NUL: 400, one reject record, and nothing of it in the answer."""
    caplog.set_level(logging.INFO, logger="triohttp.reject")
    async with open_in_process(make_app()) as server, await server.open_raw() as raw:
        await raw.send_all(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        response = await raw.read_response()
        assert response.status == 400
        assert response.content == b"Bad Request\n"
        assert await raw.receive_some() == b""
    records = [record.getMessage() for record in caplog.records if record.name == "triohttp.reject"]
    slug = "path-nul" if "%00" in path else "path-traversal"
    assert len(records) == 1
    assert f"slug={slug} status=400" in records[0]


# -- trailing slashes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status", "location"),
    [
        ("GET /items/", 308, "/items"),
        ("GET /items/?a=1", 308, "/items?a=1"),
        ("GET /with/slash?a=1", 308, "/with/slash/?a=1"),
        ("POST /with/slash", 308, "/with/slash/"),
        ("GET /nothing/", 404, None),
        ("GET //evil.example/", 404, None),
        ("GET //items/", 404, None),
        ("GET /", 404, None),
    ],
)
async def test_slashes_may_be_redirected(ask: Ask, line: str, status: int, location: str | None) -> None:
    """With the policy on, 308 to a relative reference that keeps the query, and never to another host."""
    response = await ask(make_app(trailing_slash="redirect"), line)
    assert response.status == status
    assert response.headers.get("location") == location


def test_an_unknown_slash_policy_is_refused() -> None:
    """The error says what there is."""
    with pytest.raises(ValueError, match="'strict' or 'redirect'"):
        App(trailing_slash="both")  # type: ignore[arg-type]


# -- mounts ------------------------------------------------------------------------------------------------------------


async def test_a_mounted_router_answers_and_builds_urls_of_its_own(ask: Ask) -> None:
    """Handlers name their neighbours without knowing where they are mounted, and others with their full name."""
    app, users = App(), Router()
    app.add_route("/about", lambda request: Response.text(""), name="about")

    @users.get("/{name}", name="show")
    async def show(request: Request) -> Response:
        return Response.text(" ".join([request.url_for("show", {"name": "bob"}), request.url_for("about")]))

    app.mount("/users", users, name="users")
    app.mount("/people", users, name="people")
    assert (await ask(app, "GET /users/ada")).content == b"/users/bob /about"
    assert (await ask(app, "GET /people/ada")).content == b"/people/bob /about"


async def test_misses_go_through_the_middleware_of_the_mount_that_they_lie_in(ask: Ask) -> None:
    """404 and 405 under a prefix are seen by its router's middleware, and by what is around it."""
    seen: list[str] = []

    def record(name: str) -> object:
        async def middleware(request: Request, handler: Handler) -> Response:
            seen.append(name)
            return await handler(request)

        return middleware

    app = App(middleware=[record("app")])  # type: ignore[list-item]
    outer, inner = Router(middleware=[record("outer")]), Router(middleware=[record("inner")])  # type: ignore[list-item]
    outer.mount("/{x}/in", inner)
    app.mount("/out", outer)
    inner.add_route("/y", lambda request: Response.text(""), methods="PUT")
    for line, status, names in [
        ("GET /out/a/in/z", 404, ["app", "outer", "inner"]),
        ("GET /out/a/in/y", 405, ["app", "outer", "inner"]),
        ("GET /out/a", 404, ["app", "outer"]),
        ("GET /outer", 404, ["app"]),
        ("GET /out/%ff/in/z", 404, ["app", "outer", "inner"]),
    ]:
        seen.clear()
        assert (await ask(app, line)).status == status
        assert seen == names


@pytest.mark.parametrize("order", [1, -1])
async def test_misses_lie_in_the_most_specific_mount(ask: Ask, order: int) -> None:
    """Whichever of two mounts that a path lies under was added first."""
    seen: list[str] = []

    def recording(name: str) -> Router:
        async def middleware(request: Request, handler: Handler) -> Response:
            seen.append(name)
            return await handler(request)

        return Router(middleware=[middleware])

    app = App()
    for prefix in ["/{tenant}", "/api", "/api/v1"][::order]:
        app.mount(prefix, recording(prefix))
    for path in ("/api/x", "/api/v1/x", "/acme/x"):
        assert (await ask(app, f"GET {path}")).status == 404
    assert seen == ["/api", "/api/v1", "/{tenant}"]


async def test_a_slash_is_not_redirected_to_no_path_at_all(ask: Ask) -> None:
    """``""`` is where a router is mounted; an app that is served lies nowhere."""
    app = App(trailing_slash="redirect")
    app.add_route("", lambda request: Response.text(""))
    assert (await ask(app, "GET /")).status == 404


async def test_a_converter_that_fails_is_an_error_like_another(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """It passes the app's middleware and error handlers, and is reported once."""

    class Broken:
        regex = ".+"

        def parse(self, text: str) -> object:
            raise KeyError(text)

        def format(self, value: object) -> str:
            return str(value)

    app = App(converters={"broken": Broken()})
    app.add_route("/{a:broken}", lambda request: Response.text(""))

    @app.error_handler(500)
    def sorry(request: Request, error: Exception) -> Response:
        return Response.text(f"sorry: {error!r}", status=500)

    assert (await ask(app, "GET /x", faults=True)).content == b"sorry: KeyError('x')"
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["triohttp.app"]


async def test_routes_come_and_go_while_requests_are_served() -> None:
    """A request that is being answered goes on; the next one sees the new table."""
    app = App()
    begun, go_on = trio.Event(), trio.Event()

    async def slow(request: Request) -> Response:
        begun.set()
        await go_on.wait()
        return Response.text("slow")

    async def ask_raw(path: bytes) -> int:
        async with await server.open_raw() as raw:
            await raw.send_all(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            statuses.append((path, (await raw.read_response()).status))
            return statuses[-1][1]

    statuses: list[tuple[bytes, int]] = []
    route = app.add_route("/slow", slow)
    async with open_in_process(app) as server, trio.open_nursery() as nursery:
        nursery.start_soon(ask_raw, b"/slow")
        await begun.wait()
        app.remove_route(route)
        app.add_route("/new", lambda request: Response.text("new"))
        assert await ask_raw(b"/slow") == 404
        assert await ask_raw(b"/new") == 200
        go_on.set()
    assert statuses[-1] == (b"/slow", 200)


# -- what a route says about limits ------------------------------------------------------------------------------------


async def test_too_much_content_is_refused_at_the_head() -> None:
    """413 and close, before the handler runs and before any 100 (Continue)."""
    app = App(limits={"max_body_bytes": 10})
    calls: list[str] = []

    @app.post("/small")
    async def small(request: Request) -> Response:
        calls.append("small")
        return Response.text("")

    @app.post("/large", limits={"max_body_bytes": None})
    async def large(request: Request) -> Response:
        return Response.text(str(len(await request.read())))

    async with open_in_process(app) as server:
        async with await server.open_raw() as raw:
            await raw.send_all(b"POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n")
            response = await raw.read_response()
            assert (response.status, response.interim) == (413, ())
            assert response.headers["connection"] == "close"
            assert await raw.receive_some() == b""
        async with await server.open_raw() as raw:
            await raw.send_all(b"POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + bytes(3_000_000))
            assert (await raw.read_response()).content == b"3000000"
    assert calls == []


async def test_the_innermost_word_about_limits_counts(ask: Ask) -> None:
    """Server, app, router, route: each may say otherwise, and the rest stays."""
    app, router = App(limits={"max_body_bytes": 5, "max_query_fields": 2}), Router(limits={"max_body_bytes": 6})

    async def show(request: Request) -> Response:
        limits, timeouts = request.exchange.limits, request.exchange.timeouts
        return Response.json(
            [limits.max_body_bytes, limits.max_query_fields, timeouts.handler_seconds, request.exchange.on_disconnect]
        )

    app.add_route("/app", show)
    router.add_route("/router", show, timeouts={"handler_seconds": 3.0})
    router.add_route(
        "/route", show, limits={"max_body_bytes": 7}, on_disconnect="finish", timeouts={"handler_seconds": 4.0}
    )
    app.mount("", router)
    assert (await ask(app, "GET /router")).content == b'[6,2,3.0,"cancel"]'
    assert (await ask(app, "GET /route")).content == b'[7,2,4.0,"finish"]'


async def test_overrides_end_with_their_request() -> None:
    """The next request on the same connection has the server's own limits and policy again."""
    app = App()

    async def show(request: Request) -> Response:
        return Response.json([request.exchange.limits.max_body_bytes, request.exchange.on_disconnect])

    app.add_route("/special", show, limits={"max_body_bytes": 7}, on_disconnect="finish")
    app.add_route("/plain", show)
    async with open_in_process(app) as server, await server.open_raw() as raw:
        for path, content in [(b"/special", b'[7,"finish"]'), (b"/plain", b'[1048576,"cancel"]')] * 2:
            await raw.send_all(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await raw.read_response()).content == content


async def test_a_handler_deadline_of_a_route(autojump_clock: trio.abc.Clock) -> None:
    """``handler_seconds`` of a route ends its handler with 503, at that second."""
    app = App()

    @app.get("/slow", timeouts={"handler_seconds": 2})
    async def slow(request: Request) -> Response:
        await trio.sleep_forever()
        return Response.text("never")

    async with open_in_process(app) as server, await server.open_raw() as raw:
        began = trio.current_time()
        await raw.send_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await raw.read_response()).status == 503
        assert trio.current_time() - began == pytest.approx(2)
