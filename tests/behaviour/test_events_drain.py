"""A drain and its streams of events, on every network: they end properly, at once, and go on somewhere else."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Event, EventSender, Request, Response, Timeouts

if TYPE_CHECKING:
    from conftest import Network

MEMORY = ["memory", "tls-memory"]
GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("overflow", ["block", "drop_oldest", "close"])
async def test_a_stream_ends_with_the_drain(network: Network, caplog: pytest.LogCaptureFixture, overflow: str) -> None:
    """Its block is cancelled, what was sent arrives, the end is a proper one, and the server is gone in no time."""
    after: list[str] = []
    app = App()

    @app.get("/")
    async def index(request: Request) -> None:
        async with request.events(overflow=overflow) as events:  # type: ignore[typeddict-item]  # one of the three
            await events.send("a")
            try:
                await trio.sleep_forever()
            finally:
                after.append("cleaned up")
        after.append("went on")

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await raw.read_until(b"data: a\n\n\r\n")
    with trio.fail_after(0.9 if network.in_memory else 5):
        await network.server.shutdown(grace=10)
    assert await raw.read_until_closed() == b"0\r\n\r\n"
    assert after == ["cleaned up", "went on"]
    assert faults(caplog) == []


async def test_a_stream_that_sends_without_a_pause_ends_too(network: Network) -> None:
    """After a whole event: what has begun to leave is given a moment."""
    app = App()

    @app.get("/")
    async def index(request: Request) -> None:
        async with request.events() as events:
            while True:
                await events.send(Event("x" * 50_000, type="t"))

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await raw.read_until(b"\n\n\r\n")
    network.server.begin_drain()
    rest = await raw.read_until_closed()
    assert rest.endswith(b"\n\n\r\n0\r\n\r\n")


async def test_what_is_queued_still_goes_out(network: Network) -> None:
    """A client that reads gets the events that were sent before the drain."""
    app = App()

    @app.get("/")
    async def index(request: Request) -> None:
        async with request.events(overflow="close") as events:
            for number in range(50):
                await events.send(str(number) + "x" * 10_000)
            request.app.nursery.start_soon(network.server.shutdown, 10)
            await trio.sleep_forever()

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    content = (await raw.read_response()).content
    assert [event.strip(b"x") for event in content.split(b"\n\n")] == [*(b"data: %d" % n for n in range(50)), b""]


@pytest.mark.parametrize("network", MEMORY, indirect=True)
@pytest.mark.parametrize("overflow", ["block", "drop_oldest"])
async def test_a_client_that_does_not_read_holds_nothing_up(
    network: Network, caplog: pytest.LogCaptureFixture, overflow: str
) -> None:
    """Its stream is cut after a second."""
    app = App()

    @app.get("/")
    async def index(request: Request) -> None:
        async with request.events(overflow=overflow) as events:  # type: ignore[typeddict-item]  # one of the two
            while True:
                await events.send("x" * 100_000)
                await trio.sleep(0.01)

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await trio.sleep(3)
    began = trio.current_time()
    await network.server.shutdown(grace=10)
    assert 1 <= trio.current_time() - began < 1.5
    with pytest.raises(trio.BrokenResourceError):
        await raw.read_until_closed()
    assert faults(caplog) == []


@pytest.mark.parametrize("network", MEMORY, indirect=True)
async def test_a_program_may_end_its_streams_itself(network: Network) -> None:
    """With ``on_drain="continue"`` nothing is cancelled before the grace ends: it says good-bye in its own way."""
    app = App()

    @app.get("/")
    async def index(request: Request) -> None:
        async with request.events(on_drain="continue") as events:
            await events.send("a")
            await request.wait_draining()
            await trio.sleep(2)
            await events.send("bye")

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await raw.read_until(b"data: a\n\n\r\n")
    await network.server.shutdown(grace=10)
    assert b"data: bye\n\n\r\n0\r\n\r\n" in await raw.read_until_closed()


@pytest.mark.parametrize("network", MEMORY, indirect=True)
async def test_a_program_that_goes_on_is_cut_at_the_end_of_the_grace(network: Network) -> None:
    """The grace is for all."""
    app = App()

    @app.get("/")
    async def index(request: Request) -> None:
        async with request.events(on_drain="continue"):
            await trio.sleep_forever()

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await raw.read_until(b"\r\n\r\n")
    began = trio.current_time()
    await network.server.shutdown(grace=5)
    assert 5 <= trio.current_time() - began < 5.5
    with pytest.raises(trio.BrokenResourceError):
        await raw.read_until_closed()


async def test_a_stream_that_begins_in_a_drain_ends_at_once(network: Network) -> None:
    """It is answered all the same, so that the client asks again; somebody else, by then."""
    app = App()
    asked = trio.Event()

    @app.get("/")
    async def index(request: Request) -> None:
        asked.set()
        await request.wait_draining()
        async with request.events():
            await trio.sleep_forever()

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await asked.wait()
    network.server.begin_drain()
    response = await raw.read_response()
    assert (response.status, response.content, response.headers["Connection"]) == (200, b"", "close")


async def test_clients_go_on_at_the_successor(network: Network) -> None:
    """A restart loses no event and repeats none."""
    restarted = trio.Event()

    async def index(request: Request) -> Response | None:
        begin = int(request.last_event_id or 0)
        if begin >= 6:
            return Response(status=204)
        async with request.events(retry_ms=100) as events:
            for number in range(begin + 1, begin + 4):
                await events.send(Event(str(number), id=str(number)))
            if begin == 0:
                restarted.set()
                await trio.sleep_forever()
        return None

    def make_app() -> App:
        app = App()
        app.add_route("/", index)
        return app

    class Either:
        """Where the client connects: the server that there is."""

        async def connect(self) -> trio.abc.Stream:
            return await network.site.connect()

    old = await network.serve(make_app(), timeouts=Timeouts(drain_seconds=5))
    client = await network.client(through=Either())

    async def restart() -> None:
        await restarted.wait()
        await network.serve(make_app())
        await old.server.shutdown()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(restart)
        async with client.events("/") as events:
            seen = [event.data async for event in events]
    assert seen == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize("network", MEMORY, indirect=True)
async def test_who_is_held_up_by_a_drain_is_let_go(network: Network) -> None:
    """By a block that ends by itself meanwhile, too; a client that does not read is what it was waiting for."""
    app = App()
    senders: list[EventSender] = []

    @app.get("/")
    async def index(request: Request) -> None:
        async with request.events() as events, trio.open_nursery() as nursery:
            senders.append(events)
            nursery.start_soon(events.send, "x" * 100_000)
            await request.wait_draining()
            await trio.sleep(0.5)
            raise LookupError

    await network.serve(app, raise_handler_errors=False)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await raw.read_until(b"\r\n\r\n")
    network.server.begin_drain()
    await trio.sleep(0.1)
    began = trio.current_time()
    with pytest.raises(trio.ClosedResourceError):
        await senders[0].send("late")
    assert trio.current_time() - began == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize("network", MEMORY, indirect=True)
@pytest.mark.parametrize("overflow", ["block", "drop_oldest"])
async def test_who_sends_from_outside_finds_the_stream_closed(network: Network, overflow: str) -> None:
    """A task beside the handlers is not cancelled with them; it is told, when the stream ends at the latest."""
    app = App()
    senders: list[EventSender] = []
    outcome: list[BaseException | str] = []

    @app.get("/")
    async def index(request: Request) -> None:
        async with request.events(overflow=overflow) as events:  # type: ignore[typeddict-item]  # one of the two
            senders.append(events)
            await trio.sleep_forever()

    @app.service
    async def broadcast() -> None:
        while not senders:
            await trio.sleep(0.1)
        try:
            while True:
                await senders[0].send("x" * 10_000)
        except trio.ClosedResourceError as exc:
            outcome.append(exc)
        outcome.append("went on")

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(GET)
    await raw.read_until(b"\n\n\r\n")
    network.server.begin_drain()
    assert (await raw.read_until_closed()).endswith(b"\n\n\r\n0\r\n\r\n")
    assert isinstance(outcome[0], trio.ClosedResourceError)
    assert outcome[1] == "went on"
