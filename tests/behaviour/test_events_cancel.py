"""End a stream of events anywhere, at either end: nothing leaks, nobody is blamed, no event is lost or comes twice."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Client, ClientLimits, Event, Request, Response
from triohttp.errors import DisconnectedError
from triohttp.testing import SweepRun

if TYPE_CHECKING:
    from conftest import Network, Sweep

pytestmark = [pytest.mark.sweep, pytest.mark.wall_seconds(300)]

GET = b"GET /events HTTP/1.1\r\nHost: h\r\n\r\n"
LAST = 4


class Running:
    """How many handlers are at work, counted where they begin and where they end."""

    def __init__(self) -> None:
        self.handlers = 0

    def __enter__(self) -> None:
        self.handlers += 1

    def __exit__(self, *error: object) -> None:
        self.handlers -= 1


def make_app(running: Running, overflow: str = "block") -> App:
    """Return an app whose events are numbers, two a connection, up to the last."""
    app = App()

    @app.get("/events")
    async def events(request: Request) -> Response | None:
        with running:
            begin = int(request.last_event_id or 0)
            if begin == LAST:
                return Response(status=204)
            async with request.events(retry_ms=100, overflow=overflow) as events:  # type: ignore[typeddict-item]
                for number in (begin + 1, begin + 2):
                    await events.send(Event(str(number), id=str(number)))
                    await trio.lowlevel.checkpoint()
            return None

    @app.post("/events")
    async def count(request: Request) -> None:
        async with request.events() as events:
            await events.send(str(len(await request.read())))

    @app.get("/plain")
    async def plain(request: Request) -> Response:
        return Response.text("plain")

    return app


def numbers(network: Network) -> list[str]:
    """What a client gets: all events, or those of one connection where waiting for the next takes real time."""
    return [str(number) for number in range(1, (LAST if network.in_memory else 2) + 1)]


async def check(client: Client) -> None:
    """Everything is back in the pool, and the next request is answered."""
    statistics = client.pool.statistics()
    assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0), statistics
    assert (await client.get("/plain")).text == "plain"


def test_a_client_may_be_cancelled_anywhere(sweep: Sweep) -> None:
    """With one connection to share, a cancelled stream leaves it to the next request."""

    async def run(point: SweepRun, network: Network) -> None:
        await network.serve(make_app(Running()))
        client = await network.client(limits=ClientLimits(connections=1))
        with point.block(every_task=True):
            async with client.events("/events", reconnect=network.in_memory) as events:
                assert [event.data async for event in events] == numbers(network)
        await check(client)

    report = sweep(run)
    assert len(report.points) >= 4
    assert report.cancelled >= 2


def test_a_receive_may_be_cancelled_anywhere(sweep: Sweep) -> None:
    """And called again: every event comes once, over as many connections as it takes."""

    async def run(point: SweepRun, network: Network) -> None:
        await network.serve(make_app(Running()))
        client = await network.client(limits=ClientLimits(connections=1))
        seen = []
        async with client.events("/events", reconnect=network.in_memory) as events:
            with point.block(every_task=True):
                async for event in events:
                    seen.append(event.data)  # noqa: PERF401  # a comprehension would lose them
            if point.reached:
                seen += [event.data async for event in events]
        assert seen == numbers(network)
        await check(client)

    assert sweep(run).points


def test_a_large_request_may_be_cancelled_anywhere(sweep: Sweep) -> None:
    """Its content goes out in a task that has ended before the block begins, whatever happens."""

    async def run(point: SweepRun, network: Network) -> None:
        await network.serve(make_app(Running()))
        client = await network.client(limits=ClientLimits(connections=1))
        with point.block(every_task=True):
            async with client.events("/events", method="POST", content=bytes(70_000)) as events:
                assert [event.data async for event in events] == ["70000"]
        await check(client)

    report = sweep(run)
    assert len(report.points) >= 4
    assert report.cancelled >= 2


@pytest.mark.parametrize("overflow", ["block", "drop_oldest"])
@pytest.mark.parametrize("leave", ["reset", "close"])
def test_a_client_may_leave_at_any_moment(sweep: Sweep, leave: str, overflow: str) -> None:
    """The handler ends, the connection is closed, no error is reported, and the next client is answered."""

    async def run(point: SweepRun, network: Network) -> None:
        running = Running()
        await network.serve(make_app(running, overflow))
        raw = await network.open_raw()
        with point.block(action=raw.reset if leave == "reset" else None, every_task=True):
            try:
                await raw.send_all(GET)
                assert (await raw.read_response()).content.endswith(b"data: 2\n\n")
            except (trio.BrokenResourceError, trio.ClosedResourceError, DisconnectedError):
                assert point.reached
        await raw.aclose()
        while network.server.statistics().open_connections:
            await trio.sleep(0.01)
        assert running.handlers == 0
        await check(await network.client())

    assert sweep(run).points


@pytest.mark.parametrize("overflow", ["block", "drop_oldest"])
def test_a_drain_cuts_no_stream(sweep: Sweep, overflow: str) -> None:
    """At any moment: what a client gets is whole events and a proper end."""

    async def run(point: SweepRun, network: Network) -> None:
        running = Running()
        await network.serve(make_app(running, overflow))
        raw = await network.open_raw()
        async with trio.open_nursery() as nursery:
            with point.block(action=partial(nursery.start_soon, network.server.shutdown, 60), every_task=True):
                try:
                    await raw.send_all(GET)
                    content = (await raw.read_response()).content
                except DisconnectedError as exc:
                    assert type(exc) is DisconnectedError, "an answer was cut"
                    assert point.reached
                else:
                    whole = b"retry: 100\n\nid: 1\ndata: 1\n\nid: 2\ndata: 2\n\n"
                    assert whole.startswith(content)
                    assert content.endswith(b"\n\n")
            await raw.aclose()
        while running.handlers:
            await trio.sleep(0.01)

    assert sweep(run).points


@pytest.mark.parametrize("overflow", ["block", "drop_oldest"])
def test_a_server_may_be_cancelled_at_any_moment(sweep: Sweep, overflow: str) -> None:
    """Cancelling everything at once leaves no handler, no task and no descriptor."""

    async def run(point: SweepRun, network: Network) -> None:
        running = Running()
        with point.block(every_task=True):
            async with network.new_site(make_app(running, overflow)) as site, await site.open_raw() as raw:
                await raw.send_all(GET)
                assert (await raw.read_response()).content.endswith(b"data: 2\n\n")
        assert running.handlers == 0

    assert len(sweep(run).points) >= 20
