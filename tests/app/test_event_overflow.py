"""Clients that do not read: what senders do meanwhile, what is kept, and what is nobody's fault."""

from __future__ import annotations

import logging
import math
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest
import trio

from triohttp import App, Event, EventSender, Request
from triohttp.errors import SlowReaderError, WriteTimeout
from triohttp.testing import RawConnection, open_in_process

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LARGE = "x" * 100_000
"""More than the streams of the tests hold."""


def app_of(handler: Callable[[Request], Awaitable[None]]) -> App:
    app = App()
    app.add_route("/", handler)
    return app


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def read_events(raw: RawConnection) -> list[str]:
    """Return the data of the events of a whole answer, each one line, comments left out."""
    content = (await raw.read_response()).content.decode()
    return [event.removeprefix("data: ") for event in content.split("\n\n")[:-1] if event != ":"]


async def test_senders_wait_for_the_client(autojump_clock: trio.abc.Clock) -> None:
    """By default nothing is queued: a send is over when the connection has the event, and no heartbeat adds to it."""
    sent: list[float] = []

    async def handler(request: Request) -> None:
        async with request.events(heartbeat_seconds=1) as events:
            for _ in range(3):
                await events.send(LARGE)
                sent.append(trio.current_time())

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        began = trio.current_time()
        await trio.sleep(10)
        assert sent == []
        assert await read_events(raw) == [LARGE] * 3
    assert [time - began for time in sent] == [10, 10, 10]


async def test_a_client_that_never_reads_is_given_up(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The bound of every write counts: the sender is told, and nobody is blamed."""
    outcome: list[BaseException] = []

    async def handler(request: Request) -> None:
        try:
            async with request.events() as events:
                await events.send(LARGE)
        except WriteTimeout as exc:
            outcome.append(exc)
            raise

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await trio.sleep(60)
        assert server.server.statistics().open_connections == 0
    assert len(outcome) == 1
    assert told(caplog) == []


@pytest.mark.parametrize("overflow", ["drop_oldest", "close"])
async def test_a_queued_client_that_never_reads_is_given_up_too(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture, overflow: str
) -> None:
    """The task that sends for the handler hears it, and it comes out of the handler's block as the one real error."""
    outcome: list[BaseException] = []

    async def handler(request: Request) -> None:
        try:
            async with request.events(overflow=overflow) as events:  # type: ignore[typeddict-item]  # one of the two
                await events.send(LARGE)
                await trio.sleep_forever()
        except WriteTimeout as exc:
            outcome.append(exc)
            raise

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await trio.sleep(60)
        assert server.server.statistics().open_connections == 0
    assert len(outcome) == 1
    assert told(caplog) == []


async def test_the_oldest_events_are_dropped(autojump_clock: trio.abc.Clock) -> None:
    """Sending never waits for the client; it gets what was under way, and the newest."""
    counts: list[int] = []

    async def handler(request: Request) -> None:
        async with request.events(overflow="drop_oldest", max_pending=3) as events:
            began = trio.current_time()
            await events.send(LARGE)
            await trio.sleep(0)  # it is under way
            await trio.sleep(1)
            for number in range(10):
                await events.send(str(number))
            assert trio.current_time() - began == 1
            counts.append(events.dropped)
            await trio.sleep(5)

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await trio.sleep(3)
        assert await read_events(raw) == [LARGE, "7", "8", "9"]
    assert counts == [7]


async def test_nothing_is_dropped_for_who_reads(autojump_clock: trio.abc.Clock) -> None:
    """What is queued at the end of the block goes out before the stream ends."""
    counts: list[int] = []

    async def handler(request: Request) -> None:
        async with request.events(overflow="drop_oldest", max_pending=100) as events:
            for number in range(100):
                await events.send(str(number))
            counts.append(events.dropped)

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        assert await read_events(raw) == [str(number) for number in range(100)]
    assert counts == [0]


async def test_a_slow_client_is_told_to_come_again(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """With ``close`` the send after the last that fits raises, the stream is cut, and the program is not blamed."""
    outcome: list[SlowReaderError] = []

    async def handler(request: Request) -> None:
        async with request.events(overflow="close", max_pending=2) as events:
            try:
                await events.send(LARGE)
                await trio.sleep(1)
                while True:
                    await events.send("more")
            except SlowReaderError as exc:
                outcome.append(exc)
                raise

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await trio.sleep(2)
        with pytest.raises(trio.BrokenResourceError):
            await raw.read_until_closed()
        assert raw.received.count(b"more") == 0
    [error] = outcome
    assert (error.limit, error.bound) == ("max_pending", 2)
    assert told(caplog) == []


async def test_a_slow_client_ends_the_block_of_its_handler(
    autojump_clock: trio.abc.Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever sends: another task gets the error, and so does the handler, which only waits."""
    senders: list[EventSender] = []
    outcome: list[BaseException] = []

    async def handler(request: Request) -> None:
        try:
            async with request.events(overflow="close", max_pending=2) as events:
                senders.append(events)
                await trio.sleep_forever()
        except SlowReaderError as exc:
            outcome.append(exc)
            raise

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await raw.read_until(b"\r\n\r\n")
        await senders[0].send(LARGE)
        await trio.sleep(1)
        await senders[0].send("one")
        await senders[0].send("two")
        for _ in range(2):
            with pytest.raises(SlowReaderError):
                await senders[0].send("three")
        await trio.sleep(1)
        assert server.server.statistics().open_connections == 0
    assert len(outcome) == 1
    assert told(caplog) == []


@pytest.mark.parametrize("overflow", ["drop_oldest", "block"])
async def test_memory_does_not_grow_with_what_is_sent(autojump_clock: trio.abc.Clock, overflow: str) -> None:
    """100 MB for a client that reads 100 KB a second take the memory of a few events."""
    produced = 0

    async def handler(request: Request) -> None:
        nonlocal produced
        async with request.events(overflow=overflow, max_pending=8) as events:  # type: ignore[typeddict-item]  # as above
            for _ in range(1000):
                await events.send(Event(LARGE))
                produced += 1
                await trio.sleep(0.01)

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await raw.read_until(b"\r\n\r\n")
        tracemalloc.start()
        try:
            while produced < (1000 if overflow == "drop_oldest" else 50):
                await raw.stream.receive_some(10_000)
                await trio.sleep(0.1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 30 * len(LARGE)


async def test_other_clients_do_not_wait(autojump_clock: trio.abc.Clock) -> None:
    """One of a hundred subscribers does not read; the others get each event in the moment in which it is sent."""
    app = App()
    subscribers: set[EventSender] = set()

    @app.get("/")
    async def subscribe(request: Request) -> None:
        async with request.events(overflow="drop_oldest", heartbeat_seconds=math.inf) as events:
            subscribers.add(events)
            await trio.sleep_forever()

    async def publish(count: int) -> None:
        for number in range(count):
            for subscriber in subscribers:
                await subscriber.send(f"{number} {trio.current_time()}" + "x" * 2000)
            await trio.sleep(1)

    async def read(raw: RawConnection) -> None:
        async with raw:
            await raw.send_all(GET)
            await raw.read_until(b"\r\n\r\n")
            for number in range(40):
                event = await raw.read_until(b"\n\n")
                seen, time = event.split(b"data: ")[1].rstrip(b"x\n").split()
                assert (int(seen), float(time)) == (number, trio.current_time())

    async with open_in_process(app) as server, await server.open_raw() as stuck, trio.open_nursery() as nursery:
        await stuck.send_all(GET)
        for _ in range(99):
            nursery.start_soon(read, await server.open_raw())
        while len(subscribers) < 100:
            await trio.sleep(0.01)
        await publish(40)
        await server.server.shutdown(grace=0)


async def test_who_sends_to_many_does_not_wait_for_one_that_ends(autojump_clock: trio.abc.Clock) -> None:
    """A block that is left with events in its queue takes no more: whoever sends is told so at once."""
    senders: list[EventSender] = []

    async def handler(request: Request) -> None:
        async with request.events(overflow="drop_oldest") as events:
            senders.append(events)
            await events.send(LARGE)
            await trio.sleep(1)

    async with open_in_process(app_of(handler)) as server, await server.open_raw() as raw:
        await raw.send_all(GET)
        await raw.read_until(b"\r\n\r\n")
        await trio.sleep(2)
        began = trio.current_time()
        with pytest.raises(trio.ClosedResourceError):
            await senders[0].send("late")
        assert trio.current_time() == began
        assert await raw.read_until(b"\n\n\r\n0\r\n\r\n")
