"""The server as a process of its own, under load from wrk and from clients that look at every answer."""

from __future__ import annotations

import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import h11
import pytest
import trio

if TYPE_CHECKING:
    from conftest import Beside, Programs

pytestmark = pytest.mark.interop

OVERTIME_SECONDS = 2.0
"""What a process may take to leave beyond its grace: the interpreter's own end on a busy machine included."""

DRAINING = "triohttp is draining after SIGTERM; once more stops it at once"
CLIENTS = 16


@asynccontextmanager
async def serving(programs: Programs, grace: float) -> AsyncIterator[tuple[Beside, int]]:
    """A process that serves, and its port."""
    async with programs.beside(sys.executable, programs.beside_tests("serving.py"), str(grace)) as process:
        found = re.fullmatch(r"triohttp is serving on http://127\.0\.0\.1:(\d+)/? .*", process.line)
        assert found is not None, process.line
        yield process, int(found[1])


async def ask(connection: h11.Connection, stream: trio.SocketStream, path: str) -> str:
    """Make one request and return how its answer ended, as h11 sees it."""
    request = h11.Request(method="GET", target=path, headers=[("Host", "a")])
    data = connection.send(request) + connection.send(h11.EndOfMessage())
    size, head = 0, None
    try:
        await stream.send_all(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some(65536))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                size += len(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                expected = 5 if path == "/hello" else 20_000
                return "complete" if (head.status_code, size) == (200, expected) else f"wrong: {head} {size}"
            elif isinstance(event, h11.ConnectionClosed):
                return "unanswered"
    except (h11.RemoteProtocolError, trio.BrokenResourceError):
        return "cut" if head is not None else "unanswered"


async def keep_asking(port: int, path: str, tally: Counter[str]) -> None:
    """Ask again and again on kept connections, until nobody listens any more."""
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
        except OSError:
            return
        async with stream:
            connection = h11.Connection(h11.CLIENT)
            while True:
                outcome = await ask(connection, stream, path)
                tally[outcome] += 1
                if outcome != "complete" or connection.their_state is not h11.DONE:
                    break
                connection.start_next_cycle()


@pytest.mark.parametrize("path", ["/hello", "/stream"])
async def test_wrk_sees_no_errors(path: str, programs: Programs) -> None:
    """A second of load on 32 connections: no socket error, no timeout, no answer but 200."""
    async with serving(programs, 1) as (process, port):
        done = await programs.run("wrk", "-t1", "-c32", "-d1s", f"http://127.0.0.1:{port}{path}")
        assert "Socket errors" not in done.text
        assert "Non-2xx" not in done.text
        found = re.search(r"(\d+) requests in", done.text)
        assert found is not None
        assert int(found[1]) > 32
        process.process.send_signal(signal.SIGTERM)
        with trio.fail_after(1 + OVERTIME_SECONDS):
            assert await process.wait_end() == 0
        assert process.output.splitlines()[1:] == [DRAINING]


@pytest.mark.parametrize("path", ["/hello", "/stream"])
async def test_sigterm_under_load_cuts_nothing(path: str, programs: Programs) -> None:
    """Every answer that begins is complete; the process ends at once when they have, status 0."""
    tally: Counter[str] = Counter()
    grace = 10.0
    async with serving(programs, grace) as (process, port):
        with trio.fail_after(grace):
            async with trio.open_nursery() as nursery:
                for _ in range(CLIENTS):
                    nursery.start_soon(keep_asking, port, path, tally)
                nursery.start_soon(programs.run, "wrk", "-t1", "-c8", "-d1s", f"http://127.0.0.1:{port}{path}")
                while tally["complete"] < 100:
                    await trio.sleep(0.01)
                process.process.send_signal(signal.SIGTERM)
                assert await process.wait_end() == 0
        assert process.output.splitlines()[1:] == [DRAINING]
        # A request may cross the close of an idle connection, and one of a connection that nobody accepts any more.
        assert set(tally) <= {"complete", "unanswered"}
        assert tally["unanswered"] <= 2 * CLIENTS


async def test_a_reader_that_does_not_read_holds_nothing(programs: Programs) -> None:
    """At the grace's end an answer that nobody takes is cut, visibly, and the process ends."""
    grace = 0.5
    async with serving(programs, grace) as (process, port):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await stream.receive_some(1)) == b"H"
            process.process.send_signal(signal.SIGTERM)
            with trio.fail_after(grace + OVERTIME_SECONDS):
                assert await process.wait_end() == 0
            received = b""
            with pytest.raises(trio.BrokenResourceError):
                while data := await stream.receive_some(1_000_000):
                    received = data
            assert not received.endswith(b"0\r\n\r\n")
