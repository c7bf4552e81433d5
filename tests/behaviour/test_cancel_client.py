"""Cancel a client anywhere: no slot is lost, nothing stays open, and the next request is answered rightly.

Each scenario is cancelled at every step that the request's own task or the server makes meanwhile.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import (
    App,
    Client,
    ClientAnswer,
    ClientLimits,
    ClientRequest,
    DigestAuth,
    Limits,
    Request,
    Response,
    Send,
)
from triohttp.testing import SweepRun

if TYPE_CHECKING:
    from conftest import Network, Sweep

pytestmark = [pytest.mark.sweep, pytest.mark.wall_seconds(300)]

PIECE = b"0123456789" * 100
CODED = gzip.compress(PIECE * 4)


def make_app() -> App:
    app = App()

    @app.get("/plain")
    async def plain(request: Request) -> Response:
        return Response.text("plain " + request.query["token"])

    @app.get("/stream")
    async def stream(request: Request) -> None:
        async with request.respond(200) as body:
            for _ in range(4):
                await body.send_all(PIECE)

    @app.post("/upload", limits={"max_body_bytes": None})
    async def upload(request: Request) -> Response:
        size = 0
        async for chunk in request.body:
            size += len(chunk)
        return Response.text(str(size))

    @app.get("/moved")
    async def moved(request: Request) -> Response:
        fields = [("Location", "/plain?token=moved"), ("Set-Cookie", "from=moved")]
        return Response(b"elsewhere", status=302, headers=fields)

    @app.post("/guarded")
    async def guarded(request: Request) -> Response:
        if "authorization" not in request.headers:
            challenge = 'Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"'
            return Response(b"who?", status=401, headers={"WWW-Authenticate": challenge})
        return Response.text(f"{len(await request.read())} {request.cookies.get('from')}")

    @app.get("/coded")
    async def coded(request: Request) -> None:
        async with request.respond(200, {"Content-Encoding": "gzip"}) as body:
            for start in range(0, len(CODED), 20):
                await body.send_all(CODED[start : start + 20])

    return app


async def get_plain(client: Client) -> None:
    assert (await client.get("/plain", params={"token": "swept"})).text == "plain swept"


async def read_stream(client: Client) -> None:
    async with client.stream("GET", "/stream") as response:
        assert b"".join([chunk async for chunk in response.body]) == PIECE * 4


async def leave_stream_early(client: Client) -> None:
    async with client.stream("GET", "/stream") as response:
        assert await response.body.receive_some(1)


async def upload_bytes(client: Client) -> None:
    assert (await client.post("/upload", content=PIECE * 4)).text == "4000"


async def upload_stream(client: Client) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield PIECE
            await trio.lowlevel.checkpoint()

    assert (await client.post("/upload", content=pieces())).text == "4000"


async def follow_with_cookies(client: Client) -> None:
    reply = await client.get("/moved")
    assert (reply.text, len(reply.history)) == ("plain moved", 1)
    async with client.stream("GET", "/moved") as response:
        assert await response.read() == b"plain moved"


async def answer_a_challenge(client: Client) -> None:
    reply = await client.post("/guarded", content=[PIECE, PIECE], auth=DigestAuth("u", "p"))
    assert reply.text.startswith("2000")


async def read_coded(client: Client) -> None:
    assert (await client.get("/coded")).content == PIECE * 4
    async with client.stream("GET", "/coded") as response:
        assert [line async for line in response.lines()] == [(PIECE * 4).decode()]


async def post_a_form_with_a_file(client: Client) -> None:
    reply = await client.post("/upload", form={"a": "1"}, files={"f": io.BytesIO(PIECE)})
    assert int(reply.text) > len(PIECE)


async def send_through_middleware(client: Client) -> None:
    async def twice(request: ClientRequest, send: Send) -> ClientAnswer:
        await send(request)
        return await send(request)

    async with client.derive(middleware=[twice]).stream("POST", "/upload", content=[PIECE, PIECE]) as response:
        assert await response.text() == "2000"


async def two_at_once(client: Client) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(get_plain, client)
        nursery.start_soon(get_plain, client)


SCENARIOS = [
    get_plain, read_stream, leave_stream_early, upload_bytes, upload_stream, follow_with_cookies, answer_a_challenge,
    read_coded, post_a_form_with_a_file, send_through_middleware, two_at_once,
]  # fmt: skip


@pytest.mark.parametrize("request_kept_alive", [False, True], ids=["new", "kept-alive"])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_cancelled_request_loses_nothing(
    sweep: Sweep, scenario: Callable[[Client], Awaitable[None]], request_kept_alive: bool
) -> None:
    """With one connection to share, a cancelled request leaves it to the next one, used or new, in every state."""

    async def run(point: SweepRun, network: Network) -> None:
        await network.serve(make_app(), limits=Limits(max_body_bytes=None))
        client = await network.client(limits=ClientLimits(connections=1))
        if request_kept_alive:
            await get_plain(client)
        with point.block(every_task=True):
            await scenario(client)
        statistics = client.pool.statistics()
        assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0), statistics
        assert statistics.connections <= 1
        for token in ("a", "b"):
            response = await client.get("/plain", params={"token": token})
            assert (response.status, response.text) == (200, "plain " + token)
        assert client.pool.statistics().connections == 1

    report = sweep(run)
    assert len(report.points) >= 4
    assert report.cancelled >= 2


def test_a_client_that_is_cancelled_closes_everything(sweep: Sweep) -> None:
    """Cancelling the whole block of a client, with requests under way, leaves no connection at the server."""

    async def run(point: SweepRun, network: Network) -> None:
        await network.serve(make_app())
        with point.block(every_task=True):
            async with network.new_client() as client, trio.open_nursery() as nursery:
                for request in (get_plain, read_stream):
                    nursery.start_soon(request, client)
        while network.server.statistics().open_connections:
            await trio.sleep(0.01)

    assert len(sweep(run).points) >= 6
