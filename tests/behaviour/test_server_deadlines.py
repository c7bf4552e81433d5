"""Each phase of a server's waiting has its deadline and its one outcome, to the moment, on the virtual clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Request, Response, Timeouts
from triohttp.errors import BodyTruncatedError, ReadTimeout
from triohttp.testing import RawConnection, RawResponse

if TYPE_CHECKING:
    from conftest import Network

pytestmark = pytest.mark.parametrize("network", ["memory", "tls-memory"], indirect=True)

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
BIG = b"x" * 1_000_000


def make_app() -> App:
    app = App()

    @app.get("/")
    async def index(request: Request) -> Response:
        return Response.text("here")

    @app.post("/")
    async def upload(request: Request) -> Response:
        return Response.text(str(len(await request.read())))

    @app.get("/big")
    async def big(request: Request) -> Response:
        return Response(BIG)

    @app.get("/slow")
    async def slow(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    @app.get("/stuck")
    async def stuck(request: Request) -> None:
        async with request.respond(200) as body:
            await body.send_all(b"begun")
            await trio.sleep_forever()

    return app


@asynccontextmanager
async def taking(seconds: float) -> AsyncIterator[None]:
    """The block takes that many seconds; a fiftieth more, where a stream is asked a last time."""
    start = trio.current_time()
    yield
    assert seconds <= trio.current_time() - start <= seconds + 0.02


async def ends(raw: RawConnection) -> bytes:
    """What comes before the end, be it an end of stream or a reset."""
    try:
        return await raw.read_until_closed()
    except trio.BrokenResourceError:
        return b"reset"


async def answer_at_end(raw: RawConnection) -> RawResponse:
    """The one answer that a connection still gives before it ends."""
    response = await raw.read_response()
    assert response.headers["connection"] == "close"
    await raw.send_eof()
    assert await ends(raw) == b""
    return response


async def test_a_silent_connection_is_dropped(network: Network) -> None:
    """Without a byte, a connection ends after the time of a head, without a word."""
    await network.serve(make_app(), timeouts=Timeouts(head_seconds=7))
    raw = await network.open_raw()
    async with taking(7):
        assert await ends(raw) == b""


async def test_a_head_that_does_not_end_is_a_408(network: Network) -> None:
    """The time of a head runs from its first byte and is not moved by the following ones."""
    await network.serve(make_app(), timeouts=Timeouts(head_seconds=7))
    raw = await network.open_raw()
    await trio.sleep(3)
    statuses: list[int] = []

    async def read() -> None:
        statuses.append((await answer_at_end(raw)).status)

    async with taking(7), trio.open_nursery() as nursery:
        nursery.start_soon(read)
        for octet in b"GET / H":
            await raw.send_all(bytes([octet]))
            await trio.sleep(0.9)
    assert statuses == [408]


async def test_an_idle_connection_is_closed_without_a_word(network: Network) -> None:
    """After an answer the next request has its own, longer time to begin; then the connection just ends."""
    await network.serve(make_app(), timeouts=Timeouts(head_seconds=2, keep_alive_seconds=30))
    raw = await network.open_raw()
    for _ in range(2):
        await raw.send_all(GET)
        assert (await raw.read_response()).status == 200
        await trio.sleep(29)
    await raw.send_all(GET)
    assert (await raw.read_response()).status == 200
    async with taking(30):
        assert await raw.read_until_closed() == b""


async def test_content_that_stops_is_a_408(network: Network) -> None:
    """A handler that waits for content and does not catch the timeout answers 408; every byte begins the wait anew."""
    await network.serve(make_app(), timeouts=Timeouts(body_idle_seconds=20))
    raw = await network.open_raw()
    await raw.send_all(POST + b"a" * 50_000)
    await trio.sleep(15)
    await raw.send_all(b"b" * 40_000)
    async with taking(20):
        assert (await raw.read_response()).status == 408


async def test_a_handler_may_catch_content_that_stops(network: Network) -> None:
    """The timeout is raised where the handler waits, with the phase's bound, and the handler may answer itself."""
    caught: list[ReadTimeout] = []
    app = App()

    @app.post("/")
    async def upload(request: Request) -> Response:
        try:
            await request.read()
        except ReadTimeout as exc:
            caught.append(exc)
        return Response.text("partly", status=202)

    await network.serve(app, timeouts=Timeouts(body_idle_seconds=20, body_min_rate=0))
    raw = await network.open_raw()
    await raw.send_all(POST)
    async with taking(20):
        assert (await raw.read_response()).status == 202
    assert isinstance(caught[0], trio.TooSlowError)
    assert caught[0].seconds == 20


async def test_a_trickle_of_content_is_a_408(network: Network) -> None:
    """Content that never stops but comes too slowly is given up once its grace is over."""
    await network.serve(make_app(), timeouts=Timeouts(body_min_rate=500, rate_grace_seconds=10))
    raw = await network.open_raw()
    statuses: list[int] = []

    async def read() -> None:
        statuses.append((await raw.read_response()).status)
        nursery.cancel_scope.cancel()

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await raw.send_all(POST)
        while True:
            await trio.sleep(1)
            await raw.send_all(b"x")
    assert statuses == [408]
    assert 10 <= trio.current_time() - start <= 30


async def test_content_at_a_fair_rate_may_take_long(network: Network) -> None:
    """There is no total time: content that keeps the rate is read to its end, minutes later."""
    await network.serve(make_app(), timeouts=Timeouts(body_min_rate=500, rate_grace_seconds=10))
    raw = await network.open_raw()
    await raw.send_all(POST)
    async with taking(100):
        for _ in range(100):
            await trio.sleep(1)
            await raw.send_all(b"x" * 1000)
        response = await raw.read_response()
    assert (response.status, response.content) == (200, b"100000")


async def test_a_peer_that_does_not_read_is_reset(network: Network) -> None:
    """A peer that takes nothing is reset, so that it cannot take what it has for the whole."""
    site = await network.serve(make_app(), timeouts=Timeouts(write_stall_seconds=30))
    raw = await network.open_raw()
    await raw.send_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
    async with taking(30):
        while site.server.statistics().open_connections:
            await trio.sleep(0.01)
    with pytest.raises((trio.BrokenResourceError, BodyTruncatedError)):
        await raw.read_response()


async def test_a_peer_that_reads_too_slowly_is_reset(network: Network) -> None:
    """A peer that takes a little now and then does not hold a connection for ever."""
    timeouts = Timeouts(write_stall_seconds=5, write_min_rate=500, rate_grace_seconds=10)
    site = await network.serve(make_app(), timeouts=timeouts)
    raw = await network.open_raw()
    await raw.send_all(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
    start = trio.current_time()
    while site.server.statistics().open_connections:
        await trio.sleep(4)
        try:
            await raw.stream.receive_some(10)
        except trio.BrokenResourceError:
            break
    assert trio.current_time() - start < 300


async def test_a_handler_that_takes_too_long_is_a_503(network: Network) -> None:
    """A handler is cancelled at its deadline, and the answer that it has not begun is a 503."""
    await network.serve(make_app(), timeouts=Timeouts(handler_seconds=12))
    raw = await network.open_raw()
    await raw.send_all(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    async with taking(12):
        assert (await answer_at_end(raw)).status == 503


async def test_a_handler_that_hangs_in_its_answer_is_cut(network: Network) -> None:
    """Past its deadline an answer that has begun ends, and visibly not as it should."""
    await network.serve(make_app(), timeouts=Timeouts(handler_seconds=12))
    raw = await network.open_raw()
    await raw.send_all(b"GET /stuck HTTP/1.1\r\nHost: h\r\n\r\n")
    async with taking(12):
        with pytest.raises((trio.BrokenResourceError, BodyTruncatedError)):
            await raw.read_response()
    assert b"begun" in raw.received


async def test_deadlines_move_while_a_request_runs(network: Network) -> None:
    """A handler moves its own deadline, and the moved one is what counts."""
    app = App()

    @app.get("/")
    async def longer(request: Request) -> Response:
        request.deadlines.handler = trio.current_time() + 40
        await trio.sleep_forever()
        raise AssertionError

    await network.serve(app, timeouts=Timeouts(handler_seconds=12))
    raw = await network.open_raw()
    await raw.send_all(GET)
    async with taking(40):
        assert (await raw.read_response()).status == 503


async def test_routes_have_deadlines_of_their_own(network: Network) -> None:
    """What a route says about its handler's time holds for it and for no other."""
    app = App()

    @app.get("/", timeouts={"handler_seconds": 3})
    async def quick(request: Request) -> Response:
        await trio.sleep(5)
        return Response.text("late")

    @app.get("/other")
    async def other(request: Request) -> Response:
        await trio.sleep(5)
        return Response.text("in time")

    await network.serve(app)
    for path, status in (("/", 503), ("/other", 200)):
        raw = await network.open_raw()
        await raw.send_all(b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n" % path.encode())
        assert (await raw.read_response()).status == status


async def test_an_old_connection_is_closed_politely(network: Network) -> None:
    """A connection past its age answers once more, says that it closes, and closes."""
    await network.serve(make_app(), timeouts=Timeouts(connection_age_seconds=100, keep_alive_seconds=60))
    raw = await network.open_raw()
    answers = []
    while "close" not in answers:
        await raw.send_all(GET)
        answers.append((await raw.read_response()).headers.get("connection"))
        await trio.sleep(50)
    assert answers == [None, None, None, None, "close"]
    assert await ends(raw) == b""


async def test_users_scopes_compose_with_the_servers_deadlines(network: Network) -> None:
    """A handler's own cancel scope around a wait for content is just that, and content can be read after it."""
    app = App()

    @app.post("/")
    async def upload(request: Request) -> Response:
        with trio.move_on_after(3) as scope:
            await request.body.receive_some()
        assert scope.cancelled_caught
        return Response.text(str(len(await request.read())))

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n")
    await trio.sleep(5)
    await raw.send_all(b"abcd")
    assert (await raw.read_response()).content == b"4"
