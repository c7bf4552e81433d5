"""How a server ends: nothing that was asked is lost, nothing that was answered is cut, and nobody holds it up."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing

from triohttp import Headers, Server, Timeouts, open_server, serve
from triohttp.lowlevel import Exchange, ResponseHead
from triohttp.testing import CertificateAuthority, MemoryListener, RawConnection, open_in_process

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = ResponseHead(200, Headers())


async def hello(exchange: Exchange) -> None:
    await exchange.respond(OK, b"hello")


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


# -- what was asked and answered ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("yields", range(4))
async def test_a_request_in_the_same_step_as_the_drain_is_answered(yields: int) -> None:
    """What is in the socket when the drain begins is served, however close together the two are."""
    tries, connections = 20, 4
    for _ in range(tries):
        async with open_server(hello) as server:
            raws = [RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) for _ in range(connections)]
            for raw in raws:
                await raw.send_all(GET)
                await raw.read_response()
            for raw in raws:
                await raw.send_all(GET)
            for _ in range(yields):
                await trio.lowlevel.checkpoint()
            server.begin_drain()
            for raw in raws:
                assert (await raw.read_response()).content == b"hello"
                await raw.aclose()


async def test_a_drain_while_unread_content_is_thrown_away_keeps_the_answer(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that was to be kept for a next request closes as politely as any other."""
    async with open_in_process(hello) as site, await site.open_raw() as raw:
        await raw.send_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nnot all of it")
        await trio.testing.wait_all_tasks_blocked()
        site.server.begin_drain(60)
        assert (await raw.read_response()).content == b"hello"
        assert await raw.read_until_closed() == b""
    assert not faults(caplog)


@pytest.mark.parametrize("seconds", [1, 1.5])
async def test_a_handler_that_ends_with_its_deadline_has_answered(
    seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    """An answer that is complete is not cut, although its handler was late or had more to do."""

    async def service(exchange: Exchange) -> None:
        exchange.deadlines.handler = trio.current_time() + 1
        with trio.CancelScope(shield=True):
            await trio.sleep(seconds)
            await exchange.respond(OK, b"just in time")
        await trio.lowlevel.checkpoint()

    async with open_in_process(service) as site, await site.open_raw() as raw:
        await raw.send_all(GET)
        await trio.sleep(5)
        assert (await raw.read_response()).content == b"just in time"
        assert await raw.read_until_closed() == b""


# -- who might hold it up ----------------------------------------------------------------------------------------------


async def test_a_head_that_trickles_does_not_hold_the_drain(autojump_clock: trio.testing.MockClock) -> None:
    """Half a head has a moment to be completed, all in all, and not one more for every byte."""
    async with open_in_process(hello) as site, await site.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\n")
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()

        async def trickle() -> None:
            with suppress(trio.BrokenResourceError):
                for _ in range(50):
                    await raw.send_all(b"a: b\r\n")
                    await trio.sleep(0.5)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trickle)
            await site.server.shutdown(60)
        assert trio.current_time() - start < 2


async def test_a_handshake_that_does_not_end_does_not_hold_the_drain(
    autojump_clock: trio.testing.MockClock, authority: CertificateAuthority
) -> None:
    """Whoever is still shaking hands has a moment too."""
    async with open_in_process(hello, tls=authority) as site:
        stream = await site.connect()
        await trio.testing.wait_all_tasks_blocked()
        start = trio.current_time()
        await site.server.shutdown(60)
        assert trio.current_time() - start < 2
        await stream.aclose()


# -- services and the lifespan -----------------------------------------------------------------------------------------


class Enclosed:
    """A service with a lifespan of the test's own."""

    def __init__(self, lifespan: Callable[[trio.Nursery], AsyncIterator[None]]) -> None:
        self.lifespan = asynccontextmanager(lifespan)

    async def __call__(self, exchange: Exchange) -> None:
        await hello(exchange)


async def crash() -> None:
    await trio.sleep(1)
    raise LookupError("a service")


async def test_a_service_that_crashes_during_the_start_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    """A lifespan that waits for a service that will never be ready is cancelled, and the crash is what is raised."""

    async def lifespan(nursery: trio.Nursery) -> AsyncIterator[None]:
        nursery.start_soon(crash)
        await trio.Event().wait()
        yield

    with pytest.raises(LookupError, match="a service"):
        await serve(Enclosed(lifespan), listeners=[MemoryListener()])


def test_a_lifespan_may_take_its_time_to_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The process is not ended under a lifespan that tidies up, however long ago the grace was over."""

    def exit_at_once(status: int) -> None:
        raise AssertionError(f"the process was ended with status {status}")

    async def lifespan(nursery: trio.Nursery) -> AsyncIterator[None]:
        nursery.start_soon(crash)
        yield
        await trio.sleep(600)
        tidied.append(True)

    tidied: list[bool] = []
    monkeypatch.setattr(os, "_exit", exit_at_once)
    main = partial(serve, Enclosed(lifespan), listeners=[MemoryListener()], signals=False)
    with pytest.raises(LookupError, match="a service"):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert tidied == [True]


# -- signals -----------------------------------------------------------------------------------------------------------


async def started_with_signals(nursery: trio.Nursery, service: object, timeouts: Timeouts) -> list[BaseException]:
    """Start a server that obeys signals; the list gets what it ends with."""
    raised: list[BaseException] = []

    async def run(task_status: trio.TaskStatus[Server]) -> None:
        try:
            await serve(
                service,  # type: ignore[arg-type]  # either kind
                listeners=[MemoryListener()],
                signals=True,
                timeouts=timeouts,
                task_status=task_status,
            )
        except SystemExit as exc:
            raised.append(exc)

    await nursery.start(run)
    return raised


async def test_a_second_signal_is_one_also_during_the_delay_of_a_drain(autojump_clock: trio.testing.MockClock) -> None:
    """While the server still accepts for slow load balancers, the second signal ends it as it would later."""
    async with trio.open_nursery() as nursery:
        raised = await started_with_signals(nursery, hello, Timeouts(drain_delay_seconds=60))
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep(1)
        signal.raise_signal(signal.SIGTERM)
    assert [str(error) for error in raised] == ["1"]
    assert trio.current_time() < 5


async def test_a_second_signal_ends_a_lifespan_that_hangs(autojump_clock: trio.testing.MockClock) -> None:
    """The hard stop is one for everything that the server encloses."""

    async def lifespan(nursery: trio.Nursery) -> AsyncIterator[None]:
        yield
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        raised = await started_with_signals(nursery, Enclosed(lifespan), Timeouts())
        signal.raise_signal(signal.SIGTERM)
        await trio.sleep(100)
        assert not raised
        signal.raise_signal(signal.SIGTERM)
    assert [str(error) for error in raised] == ["1"]
    assert trio.current_time() < 110


async def test_the_first_signal_is_no_second_one_because_the_server_drains_already(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A server that was told to drain by its program, and then by a signal, drains."""
    done = trio.Event()

    async def service(exchange: Exchange) -> None:
        await trio.sleep(5)
        await hello(exchange)
        done.set()

    async with trio.open_nursery() as nursery:
        listener = MemoryListener()
        server = await nursery.start(partial(serve, service, listeners=[listener], signals=True))
        async with RawConnection(await listener.connect()) as raw:
            await raw.send_all(GET)
            await trio.testing.wait_all_tasks_blocked()
            server.begin_drain(60)
            signal.raise_signal(signal.SIGTERM)
            assert (await raw.read_response()).content == b"hello"
    assert done.is_set()


async def test_a_signal_during_the_start_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    """A start that takes its time is cancelled, and nothing is raised."""
    undone: list[str] = []

    async def lifespan(nursery: trio.Nursery) -> AsyncIterator[None]:
        nursery.start_soon(trio.sleep_forever)
        signal.raise_signal(signal.SIGTERM)
        try:
            await trio.Event().wait()
            yield
        finally:
            undone.append("lifespan")

    await serve(Enclosed(lifespan), listeners=[MemoryListener()], signals=True)
    assert undone == ["lifespan"]


# -- cancelled from outside --------------------------------------------------------------------------------------------


async def test_a_cancelled_server_raises_a_plain_cancellation() -> None:
    """How many tasks of its own heard of it is the server's secret."""
    caught: list[type[BaseException]] = []

    async def watch(task_status: trio.TaskStatus[Server]) -> None:
        try:
            await serve(hello, listeners=[MemoryListener()], task_status=task_status)
        except BaseException as exc:
            caught.append(type(exc))
            raise

    async with trio.open_nursery() as nursery:
        await nursery.start(watch)
        nursery.cancel_scope.cancel()
    assert caught == [trio.Cancelled]


async def test_what_goes_wrong_while_a_cancelled_server_ends_is_raised() -> None:
    """An error of the lifespan's end is not lost in the cancellation."""

    async def lifespan(nursery: trio.Nursery) -> AsyncIterator[None]:
        try:
            yield
        finally:
            raise LookupError("while it ended")

    with trio.CancelScope() as scope, pytest.raises(LookupError, match="while it ended"):
        async with open_server(Enclosed(lifespan), listeners=[MemoryListener()]):
            scope.cancel()
            await trio.lowlevel.checkpoint()
