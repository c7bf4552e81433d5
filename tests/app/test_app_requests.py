"""What a request tells its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio

from triohttp import App, EntityTag, Request, Response, State, StateKey
from triohttp.errors import BodyStateError, BodyTooLargeError, BodyTruncatedError, ContentError, ReadTimeout
from triohttp.testing import RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]


def app_that(report: Callable[[Request], object]) -> App:
    """Return an app that answers every request with what ``report`` says, as JSON."""
    app = App()

    async def answer(request: Request) -> Response:
        return Response.json(report(request))

    app.add_route("/{rest:path}", answer)
    app.add_route("*", answer, methods="OPTIONS")
    return app


@pytest.mark.parametrize(
    ("target", "raw_path", "path", "pairs"),
    [
        ("/my%2Fpath?a=1%20b", "/my%2Fpath", "/my/path", [["a", "1 b"]]),
        ("/", "/", "/", []),
        ("//x", "//x", "//x", []),
        ("http://h/x?y", "/x", "/x", [["y", ""]]),
        ("/?", "/", "/", []),
        ("/?a=1&a=2&b=&c&d=x+y%26", "/", "/", [["a", "1"], ["a", "2"], ["b", ""], ["c", ""], ["d", "x y&"]]),
        ("/?a=1;b=2", "/", "/", [["a", "1;b=2"]]),
    ],
)
async def test_the_parts_of_a_target(ask: Ask, target: str, raw_path: str, path: str, pairs: list[list[str]]) -> None:
    """The path as it came and decoded, and the query as fields."""
    app = app_that(lambda r: [r.raw_path, r.path, [list(pair) for pair in r.query.pairs()], r.query is r.query])
    response = await ask(app, f"GET {target}", headers={"Host": "h"})
    assert response.content == Response.json([raw_path, path, pairs, True]).content


async def test_the_head(ask: Ask) -> None:
    """Method, version, header fields and URL."""
    app = app_that(
        lambda r: [r.method, r.version, r.headers["accept"], str(r.url), r.target, r.head is r.head, r.tls, repr(r)]
    )
    response = await ask(app, "GET /a?b=secret", headers={"Host": "h:8080", "Accept": "x"})
    assert response.content == (
        b'["GET","1.1","x","http://h:8080/a?b=secret","/a?b=secret",true,null,"<Request GET \'/a\'>"]'
    )
    response = await ask(app, "OPTIONS *", headers={"Host": "h", "Accept": ""})
    assert response.content == b'["OPTIONS","1.1","","http://h/","*",true,null,"<Request OPTIONS \'*\'>"]'


async def test_a_request_without_host_has_a_url(ask: Ask) -> None:
    """HTTP/1.0 need not say it."""
    response = await ask(app_that(lambda r: str(r.url)), "GET /a", version="1.0")
    assert response.content == b'"http://app.test/a"'


@pytest.mark.parametrize(
    ("header", "cookies"),
    [('a=1; b="x y"; bad; c=3', {"a": "1", "b": "x y", "c": "3"}), ("a=1; a=2", {"a": "1"}), ("", {})],
)
async def test_cookies(ask: Ask, header: str, cookies: dict[str, str]) -> None:
    """Malformed ones are skipped; the first of a name counts."""
    response = await ask(
        app_that(lambda r: [dict(r.cookies), r.cookies is r.cookies]), "GET /", headers={"Cookie": header}
    )
    assert response.content == Response.json([cookies, True]).content


async def test_what_the_content_is(ask: Ask) -> None:
    """Type, charset and length; None for what nobody said, or what makes no sense."""
    app = app_that(lambda r: [str(r.media_type) if r.media_type else None, r.charset, r.content_length])
    cases: list[tuple[dict[str, str], bytes, object]] = [
        ({}, b"", [None, None, 0]),
        ({"Content-Type": "text/html; Charset=UTF-8"}, b"x", ["text/html; charset=UTF-8", "utf-8", 1]),
        ({"Content-Type": "nonsense"}, b"", [None, None, 0]),
        ({"Transfer-Encoding": "chunked", "Content-Length": ""}, b"", None),
    ]
    for headers, content, expected in cases[:3]:
        response = await ask(app, "POST /", headers=headers, content=content)
        assert response.content == Response.json(expected).content
    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert (await raw.read_response()).content == b"[null,null,null]"


async def test_dates_of_conditions(ask: Ask) -> None:
    """Seconds since 1970, and None for what is no date."""
    app = app_that(lambda r: [r.if_modified_since, r.if_unmodified_since])
    headers = {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT", "If-Unmodified-Since": "yesterday"}
    assert (await ask(app, "GET /", headers=headers)).content == b"[784111777.0,null]"
    assert (await ask(app, "GET /")).content == b"[null,null]"


async def test_entity_tags_of_conditions(ask: Ask) -> None:
    """Parsed for comparison; If-Range is a tag or a date."""
    tag = EntityTag("x")
    app = app_that(
        lambda r: [
            r.if_match and r.if_match.matches_strong(tag),
            r.if_none_match and r.if_none_match.matches_weak(tag),
            str(r.if_range),
        ]
    )
    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    cases: list[tuple[dict[str, str], object]] = [
        ({"If-Match": '"x"', "If-None-Match": 'W/"x"', "If-Range": '"y"'}, [True, True, '"y"']),
        ({"If-Match": 'W/"x"', "If-None-Match": "*", "If-Range": date}, [False, True, "784111777.0"]),
        ({"If-Range": "nonsense"}, [None, None, "None"]),
    ]
    for headers, expected in cases:
        assert (await ask(app, "GET /", headers=headers)).content == Response.json(expected).content


async def test_limits_on_query_and_cookies_are_the_clients_mistake() -> None:
    """More than is taken: 400, and the connection is kept."""
    app = App(limits={"max_query_fields": 2, "max_cookies": 2})
    app.add_route("/query", lambda request: Response.json(len(request.query)))
    app.add_route("/cookies", lambda request: Response.json(len(request.cookies)))
    async with open_in_process(app) as server, await server.open_raw() as raw:
        for target, cookie, status in [
            ("/query?a&b", "", 200),
            ("/query?a&b&c", "", 400),
            ("/cookies", "a=1; b=2", 200),
            ("/cookies", "a=1; b=2; c=3", 400),
            ("/cookies?a&b&c", "", 200),
        ]:
            await raw.send_all(f"GET {target} HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\n\r\n".encode())
            response = await raw.read_response()
            assert response.status == status
            assert "connection" not in response.headers


# -- content -----------------------------------------------------------------------------------------------------------


async def test_text_and_json_are_read_once_and_kept(ask: Ask) -> None:
    """A second call has the same value, in the charset that the client named."""
    app = App()

    @app.post("/text")
    async def text(request: Request) -> Response:
        return Response.text(await request.text() + await request.text())

    @app.post("/json")
    async def read_json(request: Request) -> Response:
        return Response.json([await request.json(), await request.json(), (await request.read()).decode()])

    assert (await ask(app, "POST /text", content="русский".encode())).content == "русскийрусский".encode()
    latin = {"Content-Type": "text/plain; charset=ISO-8859-1"}
    assert (await ask(app, "POST /text", headers=latin, content=b"\xfc")).content == "üü".encode()
    headers = {"Content-Type": "application/problem+json"}
    response = await ask(app, "POST /json", headers=headers, content='{"key":"текст"}'.encode())
    assert response.content == '[{"key":"текст"},{"key":"текст"},"{\\"key\\":\\"текст\\"}"]'.encode()


@pytest.mark.parametrize(
    ("path", "media_type", "content", "status"),
    [
        ("/text", "text/plain", b"\xff", 400),
        ("/text", "text/plain; charset=klingon", b"x", 400),
        ("/json", "application/json", b"{", 400),
        ("/json", "application/json", b"", 400),
        ("/json", "application/json", b"[" * 100_000, 400),
        ("/json", "application/json", b"NaN", 400),
        ("/json", "application/json", "\ufeff1".encode(), 400),
        ("/json", "text/plain", b"1", 415),
        ("/json", None, b"1", 415),
        ("/any", "text/plain", b"1", 200),
    ],
)
async def test_content_that_is_not_what_it_claims(
    path: str, media_type: str | None, content: bytes, status: int
) -> None:
    """400, or 415 for JSON that does not say it is JSON; the connection is kept and nothing is logged as a fault."""
    app = App()

    @app.post("/text")
    async def text(request: Request) -> Response:
        return Response.text(await request.text())

    @app.post("/json")
    async def read_json(request: Request) -> Response:
        return Response.json(await request.json())

    @app.post("/any")
    async def read_any(request: Request) -> Response:
        return Response.json(await request.json(any_type=True))

    field = f"Content-Type: {media_type}\r\n" if media_type else ""
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\n{field}Content-Length: {len(content)}\r\n\r\n"
    async with open_in_process(app) as server, await server.open_raw() as raw:
        for _ in range(2):
            await raw.send_all(head.encode() + content)
            assert (await raw.read_response()).status == status


async def test_content_errors_can_be_caught(ask: Ask) -> None:
    """A handler that catches one answers as it likes."""
    app = App()

    @app.post("/")
    async def lenient(request: Request) -> Response:
        try:
            await request.json()
        except ContentError as error:
            return Response.text(error.reason)
        return Response.text("fine")

    headers = {"Content-Type": "application/json"}
    assert (await ask(app, "POST /", headers=headers, content=b"{")).content == b"json"


async def test_the_body_is_a_receive_stream(ask: Ask) -> None:
    """Iterated, or received in pieces of a size; with its length, its progress, and trailers at the end."""
    app = App()

    @app.post("/")
    async def receive(request: Request) -> Response:
        body = request.body
        assert body is request.body
        before = [body.length, body.received, body.at_end, request.trailers]
        first = await body.receive_some(3)
        rest = b"".join([chunk async for chunk in body])
        trailers = request.trailers
        assert trailers is body.trailers
        after = [first.decode(), rest.decode(), body.received, body.at_end, trailers and trailers["x-sum"]]
        return Response.json([before, after])

    assert (await ask(app, "POST /", content=b"hello")).content == b'[[5,0,false,null],["hel","lo",5,true,null]]'
    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"
        )
        assert (await raw.read_response()).content == b'[[null,0,false,null],["hel","lo",5,true,"5"]]'


async def test_content_is_read_whole_or_piece_by_piece(ask: Ask) -> None:
    """``read`` after part of the content is gone is the program's mistake."""
    app = App()

    @app.post("/")
    async def both(request: Request) -> Response:
        await request.body.receive_some(1)
        with pytest.raises(BodyStateError):
            await request.read()
        return Response.text("told")

    assert (await ask(app, "POST /", content=b"hello")).content == b"told"


async def test_a_bound_counts_for_content_that_was_read_before(ask: Ask) -> None:
    """Middleware may have read all of it; the handler's bound is still its bound."""
    app = App()

    @app.post("/")
    async def twice(request: Request) -> Response:
        assert await request.read() == b"hello"
        assert await request.read(max_bytes=5) == b"hello"
        return Response(await request.read(max_bytes=4))

    assert (await ask(app, "POST /", content=b"hello")).status == 413


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("caught", [False, True])
async def test_a_bound_on_one_read(framing: str, caught: bool) -> None:
    """``read(max_bytes=…)`` raises BodyTooLargeError; uncaught it is 413, and the connection closes."""
    app = App()

    @app.post("/")
    async def bounded(request: Request) -> Response:
        if not caught:
            await request.read(max_bytes=4)
        with pytest.raises(BodyTooLargeError) as info:
            await request.read(max_bytes=4)
        assert (info.value.limit, info.value.bound) == ("max_body_bytes", 4)
        return Response.text("caught")

    head = (
        "Content-Length: 5\r\n\r\nhello"
        if framing == "length"
        else "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    )
    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"POST / HTTP/1.1\r\nHost: a\r\n" + head.encode())
        response = await raw.read_response()
        if caught:
            assert response.content == b"caught"
        else:
            assert response.status == 413
            assert response.headers["connection"] == "close"


async def test_content_that_never_comes_is_408(autojump_clock: trio.abc.Clock) -> None:
    """The handler gets ReadTimeout; uncaught it becomes 408, and the connection closes."""
    app = App(timeouts={"body_idle_seconds": 3})
    seen: list[Exception] = []

    @app.post("/")
    async def read(request: Request) -> Response:
        try:
            await request.read()
        except ReadTimeout as error:
            seen.append(error)
            raise
        return Response.text("never")

    async with open_in_process(app) as server, await server.open_raw() as raw:
        began = trio.current_time()
        await raw.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
        response = await raw.read_response()
        assert response.status == 408
        assert response.headers["connection"] == "close"
        assert trio.current_time() - began == pytest.approx(3)
    assert len(seen) == 1


async def test_content_that_ends_early_is_400(caplog: pytest.LogCaptureFixture) -> None:
    """The handler gets BodyTruncatedError; uncaught it is answered, in case the client still listens."""
    app = App()
    seen: list[BodyTruncatedError] = []

    @app.post("/")
    async def read(request: Request) -> Response:
        try:
            await request.read()
        except BodyTruncatedError as error:
            seen.append(error)
            raise
        return Response.text("never")

    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
        await raw.send_eof()
        assert (await raw.read_response()).status == 400
    assert [(error.received, error.expected) for error in seen] == [(2, 5)]
    assert [record for record in caplog.records if record.name == "triohttp.app"] == []


# -- the connection, and what the program adds -------------------------------------------------------------------------


async def test_deadlines_can_be_moved(autojump_clock: trio.abc.Clock) -> None:
    """A handler that needs longer moves its own deadline while it runs."""
    app = App(timeouts={"handler_seconds": 1})

    @app.get("/")
    async def slow(request: Request) -> Response:
        request.deadlines.handler = trio.current_time() + 10
        await trio.sleep(5)
        return Response.text("done")

    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await raw.read_response()).content == b"done"


async def test_a_handler_hears_that_the_server_drains(autojump_clock: trio.abc.Clock) -> None:
    """``wait_draining`` returns, and ``draining`` is true, when the shutdown begins."""
    app = App()
    begun = trio.Event()

    @app.get("/")
    async def wait(request: Request) -> Response:
        assert not request.draining
        begun.set()
        await request.wait_draining()
        return Response.json(request.draining)

    async with open_in_process(app) as server, await server.open_raw() as raw, trio.open_nursery() as nursery:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        nursery.start_soon(server.server.shutdown)
        response = await raw.read_response()
        assert (response.content, response.headers["connection"]) == (b"true", "close")


USER: StateKey[str] = StateKey("user")
COUNT: StateKey[int] = StateKey("user")


async def test_state_belongs_to_one_request_or_to_the_app() -> None:
    """What one request keeps the next one does not see; what the app keeps both do."""
    app = App()
    app.state[COUNT] = 0

    @app.get("/")
    async def count(request: Request) -> Response:
        assert USER not in request.state
        request.state[USER] = "ada"
        assert request.app is app
        request.app.state[COUNT] += 1
        return Response.text(f"{request.state[USER]} {request.app.state[COUNT]}")

    async with open_in_process(app) as server, await server.open_raw() as raw:
        for expected in (b"ada 1", b"ada 2"):
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await raw.read_response()).content == expected


def test_state_is_kept_under_keys_of_its_own_kind() -> None:
    """Keys are objects: two with one name are two; no representation shows a value."""
    state = State()
    state[USER] = "secret"
    assert state.get(COUNT) is None
    assert state.get(COUNT, 5) == 5
    assert state.get(USER) == "secret"
    assert (USER in state, COUNT in state, len(state)) == (True, False, 1)
    assert "secret" not in repr(state)
    del state[USER]
    with pytest.raises(KeyError):
        state[USER]
    with pytest.raises(TypeError, match="StateKey"):
        state["user"] = "x"  # type: ignore[index]
