"""End a server's connection, or the server, anywhere: nothing leaks, nobody else suffers, and a drain cuts nothing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Request, Response
from triohttp.errors import DisconnectedError
from triohttp.testing import RawConnection, SweepRun

if TYPE_CHECKING:
    from conftest import Network, Sweep

pytestmark = [pytest.mark.sweep, pytest.mark.wall_seconds(300)]

PIECE = b"0123456789" * 100

GET = b"GET /plain HTTP/1.1\r\nHost: h\r\n\r\n"
STREAM = b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKS = b"3e8\r\n%b\r\n" % PIECE * 3 + b"0\r\n\r\n"
UPLOAD = b"POST /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS
EXPECTING = b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nabcd"
PIPELINED = GET + STREAM + GET
REFUSED = b"GET /plain HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n"

REQUESTS = {
    "plain": (GET, [200]),
    "stream": (STREAM, [200]),
    "upload": (UPLOAD, [200]),
    "expecting": (EXPECTING, [200]),
    "pipelined": (PIPELINED, [200, 200, 200]),
    "refused": (REFUSED, [400]),
}


class Running:
    """How many handlers are at work, counted where they begin and where they end."""

    def __init__(self) -> None:
        self.handlers = 0

    def __enter__(self) -> None:
        self.handlers += 1

    def __exit__(self, *error: object) -> None:
        self.handlers -= 1


def make_app(running: Running) -> App:
    app = App()

    @app.get("/plain")
    async def plain(request: Request) -> Response:
        with running:
            await trio.lowlevel.checkpoint()
            return Response.text("plain")

    @app.get("/stream")
    async def stream(request: Request) -> None:
        with running:
            async with request.respond(200) as body, trio.open_nursery() as nursery:
                nursery.start_soon(trio.lowlevel.checkpoint)
                for _ in range(3):
                    await body.send_all(PIECE)

    @app.post("/upload")
    async def upload(request: Request) -> Response:
        with running:
            return Response.text(str(len(await request.read())))

    return app


async def converse(raw: RawConnection, data: bytes, answers: int) -> list[int]:
    """Send requests and read their answers, as many as come."""
    await raw.send_all(data)
    return [(await raw.read_response()).status for _ in range(answers)]


async def settle(network: Network) -> None:
    """Wait until the server has noticed everything."""
    while network.server.statistics().open_connections:
        await trio.sleep(0.01)


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("leave", ["reset", "close"])
def test_a_client_may_leave_at_any_moment(sweep: Sweep, name: str, leave: str) -> None:
    """The handler ends, the connection is closed, no error is reported, and the next client is answered."""
    data, expected = REQUESTS[name]

    async def run(point: SweepRun, network: Network) -> None:
        running = Running()
        await network.serve(make_app(running))
        raw = await network.open_raw()
        with point.block(action=raw.reset if leave == "reset" else None, every_task=True):
            try:
                assert await converse(raw, data, len(expected)) == expected
            except (trio.BrokenResourceError, trio.ClosedResourceError, DisconnectedError):
                assert point.reached
        await raw.aclose()
        await settle(network)
        assert running.handlers == 0
        assert await converse(await network.open_raw(), GET, 1) == [200]

    assert sweep(run).points


@pytest.mark.parametrize("name", REQUESTS)
def test_a_drain_cuts_nothing(sweep: Sweep, name: str) -> None:
    """A drain at any moment lets what has been sent be answered, to the last byte, and then the connection ends.

    Only what follows the first request on its connection may go unanswered; that was never begun.
    """
    data, expected = REQUESTS[name]

    async def run(point: SweepRun, network: Network) -> None:
        running = Running()
        await network.serve(make_app(running))
        raw = await network.open_raw()
        statuses: list[int] = []
        async with trio.open_nursery() as nursery:
            with point.block(action=partial(nursery.start_soon, network.server.shutdown, 60), every_task=True):
                try:
                    await raw.send_all(data)
                    while len(statuses) < len(expected):
                        response = await raw.read_response()
                        statuses.append(response.status)
                except DisconnectedError as exc:
                    assert type(exc) is DisconnectedError, "an answer was cut"
                    assert point.reached
            if point.reached:
                assert await raw.read_until_closed() == b""
            await raw.aclose()
        assert statuses == expected[: len(statuses)]
        assert statuses
        assert running.handlers == 0

    assert sweep(run).points


@pytest.mark.parametrize("name", ["stream", "upload", "pipelined"])
def test_a_server_may_be_cancelled_at_any_moment(sweep: Sweep, name: str) -> None:
    """Cancelling everything at once leaves no handler, no task and no descriptor."""
    data, expected = REQUESTS[name]

    async def run(point: SweepRun, network: Network) -> None:
        running = Running()
        with point.block(every_task=True):
            async with network.new_site(make_app(running)) as site, await site.open_raw() as raw:
                assert await converse(raw, data, len(expected)) == expected
        assert running.handlers == 0

    assert len(sweep(run).points) >= 20
