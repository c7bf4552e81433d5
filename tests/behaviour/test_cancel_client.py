"""Cancel a client anywhere: no slot is lost, nothing stays open, and the next request is answered rightly.

Each scenario is cancelled at every step that the request's own task or the server makes meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Client, ClientLimits, Limits, Request, Response
from triohttp.testing import SweepRun

if TYPE_CHECKING:
    from conftest import Network, Sweep

pytestmark = [pytest.mark.sweep, pytest.mark.wall_seconds(300)]

PIECE = b"0123456789" * 100


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


async def two_at_once(client: Client) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(get_plain, client)
        nursery.start_soon(get_plain, client)


SCENARIOS = [get_plain, read_stream, leave_stream_early, upload_bytes, upload_stream, two_at_once]


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
