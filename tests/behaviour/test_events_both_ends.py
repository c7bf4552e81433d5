"""Server-sent events from one end to the other, on every network: pushed, resumed, and ended by whoever leaves."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Event, Handler, Request, Response
from triohttp.errors import BodyTruncatedError, DisconnectedError

if TYPE_CHECKING:
    from conftest import Network

MEMORY = ["memory", "tls-memory"]


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_events_are_pushed(network: Network) -> None:
    """Each arrives before the next is sent, through middleware too, with types, ids, lines and any text."""
    app = App()
    arrived = trio.Event()

    @app.middleware
    async def passes(request: Request, handler: Handler) -> Response:
        return await handler(request)

    @app.get("/")
    async def index(request: Request) -> None:
        nonlocal arrived
        async with request.events() as events:
            for number in range(5):
                await events.send(Event(f"{number}\nü\u2028\n", type="count", id=str(number)))
                await arrived.wait()
                arrived = trio.Event()

    await network.serve(app)
    client = await network.client()
    seen = []
    async with client.events("/", reconnect=False) as events:
        async for event in events:
            seen.append(event)
            arrived.set()
    assert seen == [Event(f"{number}\nü\u2028\n", type="count", id=str(number)) for number in range(5)]


async def test_a_stream_goes_on_where_it_stopped(network: Network) -> None:
    """Whether the server ends it, gives a send up or cuts it: nothing is missed and nothing comes twice."""
    app = App()
    outcomes = ["end", "cut", "send", "end", "cut", "send"]

    @app.get("/")
    async def index(request: Request) -> Response | None:
        begin = int(request.last_event_id or 0)
        if begin == 12:
            return Response(status=204)
        async with request.events(retry_ms=100) as events:
            for number in (begin + 1, begin + 2):
                await events.send(Event(str(number), id=str(number)))
            outcome = outcomes.pop(0)
            if outcome == "cut":
                request.exchange.cut()
            elif outcome == "send":
                with trio.move_on_after(0):
                    await events.send("never")
        return None

    await network.serve(app)
    client = await network.client()
    async with client.events("/") as events:
        seen = [event.data async for event in events]
        assert events.reconnects == 6
    assert seen == [str(number) for number in range(1, 13)]


async def test_a_client_that_leaves_ends_what_waits(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """A handler between two events is cancelled within a second; that is nobody's fault."""
    ended = trio.Event()
    outcome: list[BaseException] = []
    app = App()

    @app.get("/")
    async def index(request: Request) -> None:
        try:
            async with request.events() as events:
                await events.send("a")
                await trio.sleep(60)
        except BaseException as exc:
            outcome.append(exc)
            raise
        finally:
            ended.set()

    await network.serve(app)
    client = await network.client()
    async with client.events("/") as events:
        assert (await events.receive()).data == "a"
    with trio.fail_after(1 if network.in_memory else 5):
        await ended.wait()
    assert isinstance(outcome[0], trio.Cancelled)
    assert faults(caplog) == []


async def test_who_sends_hears_that_the_client_left(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """As an error where it waits for the client, else as a cancellation; there is no page and no record of a fault."""
    ended = trio.Event()
    outcome: list[BaseException] = []
    app = App()

    @app.get("/")
    async def index(request: Request) -> None:
        try:
            async with request.events() as events:
                while True:
                    await events.send("x" * 100_000)
        except BaseException as exc:
            outcome.append(exc)
            raise
        finally:
            ended.set()

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await raw.receive_some()
    raw.reset()
    await ended.wait()
    assert isinstance(outcome[0], DisconnectedError if network.in_memory else (DisconnectedError, trio.Cancelled))
    assert faults(caplog) == []


@pytest.mark.parametrize("overflow", ["block", "drop_oldest"])
@pytest.mark.parametrize("policy", ["cancel", "finish"])
async def test_a_task_of_the_stream_hears_it_for_the_handler(
    network: Network, caplog: pytest.LogCaptureFixture, overflow: str, policy: str
) -> None:
    """A heartbeat or a queued event may be what meets the end: the handler stops, or finishes, as its route says."""
    ended = trio.Event()
    outcome: list[BaseException | str] = []
    app = App()

    @app.get("/", on_disconnect=policy)  # type: ignore[arg-type]  # one of the two
    async def index(request: Request) -> None:
        try:
            async with request.events(
                heartbeat_seconds=0.005,
                overflow=overflow,  # type: ignore[typeddict-item]  # as above
                max_pending=4,
            ) as events:
                with trio.move_on_after(0.5):
                    while overflow != "block":
                        await events.send("x" * 100_000)
                        await trio.sleep(0.001)
                    await trio.sleep_forever()
                outcome.append("finished")
                await events.send("x")
        except BaseException as exc:
            outcome.append(exc)
            raise
        finally:
            ended.set()

    await network.serve(app)
    raw = await network.open_raw()
    await raw.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    await raw.receive_some()
    await trio.sleep(0.1)
    raw.reset()
    await ended.wait()
    if policy == "cancel":
        assert isinstance(outcome[0], (DisconnectedError, trio.Cancelled))
    elif overflow == "block":
        assert outcome[0] == "finished"
        assert isinstance(outcome[1], DisconnectedError)
    else:
        assert isinstance(outcome[-1], DisconnectedError)
    assert faults(caplog) == []


async def test_head_is_answered(network: Network) -> None:
    """And the connection is used for the stream that comes next."""
    app = App()

    @app.get("/")
    async def index(request: Request) -> None:
        async with request.events() as events:
            await events.send("a")

    await network.serve(app)
    client = await network.client()
    reply = await client.head("/")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/event-stream")
    async with client.events("/", reconnect=False) as events:
        assert [event.data async for event in events] == ["a"]
    assert client.pool.statistics().opened == 1


async def test_a_cut_stream_is_no_ended_one(network: Network) -> None:
    """Without ``reconnect`` a client can tell an error of the server from the end of the stream."""
    app = App()

    @app.get("/")
    async def index(request: Request) -> None:
        async with request.events() as events:
            await events.send("a")
            raise LookupError("mine")

    await network.serve(app, raise_handler_errors=False)
    client = await network.client()
    async with client.events("/", reconnect=False) as events:
        with pytest.raises((BodyTruncatedError, DisconnectedError)):
            while True:
                await events.receive()


@pytest.mark.parametrize("network", MEMORY, indirect=True)
async def test_a_silent_stream_lives_on(network: Network) -> None:
    """For hours, with heartbeats alone; a client that expects them hears when they stop."""
    app = App()
    handlers = 0

    @app.get("/")
    async def index(request: Request) -> None:
        nonlocal handlers
        handlers += 1
        async with request.events(heartbeat_seconds=15 if handlers == 1 else 3600) as events:
            await trio.sleep(10_000)
            await events.send("hours later")

    await network.serve(app)
    client = await network.client()
    began = trio.current_time()
    async with client.events("/", idle_seconds=30) as events:
        assert (await events.receive()).data == "hours later"
        assert events.reconnects == 0
        assert 10_000 <= trio.current_time() - began < 10_001
        with trio.move_on_after(120):
            await events.receive()
        assert handlers >= 3


async def test_a_handler_relays_another_stream(network: Network) -> None:
    """What a client receives can be sent on as it is, one block inside the other."""
    app = App()

    @app.get("/source")
    async def source(request: Request) -> None:
        async with request.events() as events:
            for number in range(3):
                await events.send(Event(str(number), type="t", id=str(number)))

    @app.get("/relay")
    async def relay(request: Request) -> None:
        async with client.events("/source", reconnect=False) as incoming, request.events() as outgoing:
            async for event in incoming:
                await outgoing.send(event)

    await network.serve(app)
    client = await network.client()
    async with client.events("/relay", reconnect=False) as events:
        assert [event async for event in events] == [Event(str(n), type="t", id=str(n)) for n in range(3)]
