"""What a service raises is answered by whose doing it was: this request's peer, or the program."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from triohttp import Headers, Timeouts
from triohttp.errors import (
    ContentError,
    DisconnectedError,
    PoolTimeout,
    ReadTimeout,
    RemoteProtocolError,
    TrioHTTPError,
)
from triohttp.lowlevel import Exchange, ResponseHead
from triohttp.testing import open_in_process

POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf"
OK = ResponseHead(200, Headers())

Service = Callable[[Exchange], Awaitable[None]]


def faults(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    "error",
    [
        DisconnectedError("an upstream went away"),
        PoolTimeout("an upstream had no room"),
        ReadTimeout("an upstream was silent"),
        RemoteProtocolError("an upstream spoke no HTTP", slug="head", suggested_status=None),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "in a group"])
async def test_another_peers_failure_is_the_programs_to_report(
    error: TrioHTTPError, grouped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What happened on a connection of the service's own is a 500 with a log record, and no blame for the client."""

    async def service(exchange: Exchange) -> None:
        raise ExceptionGroup("from a nursery", [error]) if grouped else error

    async with open_in_process(service, raise_handler_errors=False) as site, await site.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await raw.read_response()).status == 500
    [record] = faults(caplog)
    assert record.exc_info is not None
    assert record.exc_info[1] is error


async def test_a_clients_error_in_a_nursery_is_the_clients(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """Content that stops is a 408 also when a child of the service was receiving it."""

    async def service(exchange: Exchange) -> None:
        async def receive() -> None:
            while await exchange.content.receive_some():
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)

    async with open_in_process(service) as site, await site.open_raw() as raw:
        await raw.send_all(POST)
        assert (await raw.read_response("POST")).status == 408
    assert not faults(caplog)


async def test_bad_content_is_answered_with_its_status(caplog: pytest.LogCaptureFixture) -> None:
    """An error about what the content says has its own status, alone or from a child."""

    async def service(exchange: Exchange) -> None:
        async with trio.open_nursery():
            raise ContentError("no good", reason="json")

    async with open_in_process(service) as site, await site.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await raw.read_response()).status == 400
    assert not faults(caplog)


async def receive_until_the_end(exchange: Exchange) -> None:
    while await exchange.content.receive_some():
        pass


async def send_without_end(exchange: Exchange) -> None:
    exchange.begin(OK)
    while True:
        await exchange.send(b"x" * 100_000)


async def both(exchange: Exchange) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive_until_the_end, exchange)
        nursery.start_soon(send_without_end, exchange)


@pytest.mark.parametrize("service", [receive_until_the_end, send_without_end, both])
async def test_a_client_that_leaves_is_no_fault(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """Whichever side of the exchange hears of it, in one task or two, nothing is logged."""
    async with open_in_process(service) as site:
        async with await site.open_raw() as raw:
            await raw.send_all(POST)
            await trio.testing.wait_all_tasks_blocked()
            raw.reset()
        while site.server.statistics().open_connections:
            await trio.testing.wait_all_tasks_blocked()
    assert not faults(caplog)


async def test_a_client_that_does_not_read_is_no_fault(
    caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    """A send that waits too long ends the connection for both tasks of a service, without a record of a fault."""
    timeouts = Timeouts(write_stall_seconds=5, body_idle_seconds=60, body_min_rate=0)
    async with open_in_process(both, timeouts=timeouts) as site, await site.open_raw() as raw:
        await raw.send_all(POST)
        await trio.sleep(10)
        assert not site.server.statistics().open_connections
    assert not faults(caplog)
