"""SIGTERM for a process with open streams: it leaves at once, whatever its clients do, and they hear why."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio
import websockets.asyncio.client

if TYPE_CHECKING:
    from conftest import Beside, Programs

pytestmark = pytest.mark.interop

POLITE_SECONDS = 2.0
"""What the end takes when clients do their part: the interpreter's own on a busy machine included."""
RUDE_SECONDS = POLITE_SECONDS + 3.0
"""What it takes when a client does not answer a close, or does not read."""

UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@asynccontextmanager
async def serving(programs: Programs) -> AsyncIterator[tuple[Beside, int]]:
    """A process that serves streams, and its port."""
    async with programs.beside(sys.executable, programs.beside_tests("serving_streams.py")) as process:
        found = re.fullmatch(r"triohttp is serving on http://127\.0\.0\.1:(\d+)/? .*", process.line)
        assert found is not None, process.line
        yield process, int(found[1])


async def terminate(process: Beside) -> float:
    """Send SIGTERM, wait for a proper end and return the seconds that it took."""
    began = trio.current_time()
    process.process.send_signal(signal.SIGTERM)
    assert await process.wait_end() == 0, process.output
    assert "Traceback" not in process.output
    return trio.current_time() - began


async def test_clients_that_do_their_part(programs: Programs) -> None:
    """WebSockets are closed with 1001 and events end properly; then the process has ended."""
    async with serving(programs) as (process, port):
        ready = [trio.Event(), trio.Event()]
        token = trio.lowlevel.current_trio_token()
        seen: list[int | None] = []

        async def listen() -> None:
            async with websockets.asyncio.client.connect(f"ws://127.0.0.1:{port}/websocket", proxy=None) as ws:
                assert await ws.recv() == "hello"
                token.run_sync_soon(ready[0].set)
                assert [message async for message in ws] == []
                seen.append(ws.close_code)

        async def follow() -> None:
            async with programs.beside("curl", "-qsSN", f"http://127.0.0.1:{port}/events") as curl:
                ready[1].set()
                assert await curl.wait_end() == 0, curl.output  # 18 where the last chunk is missing
                assert curl.output == "data: hello\n\n"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, lambda: asyncio.run(listen()))
            nursery.start_soon(follow)
            for event in ready:
                await event.wait()
            assert await terminate(process) < POLITE_SECONDS
        assert seen == [1001]
        assert "the handler of /websocket has ended" in process.output
        assert "the handler of /events has ended" in process.output


async def test_a_websocket_whose_client_does_not_answer(programs: Programs) -> None:
    """A client that never answers the close holds the process up for three seconds."""
    async with serving(programs) as (process, port), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(UPGRADE % b"/websocket")
        assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 101 ")
        assert await terminate(process) < RUDE_SECONDS


@pytest.mark.parametrize(
    ("request_", "status"),
    [(UPGRADE % b"/websocket-flood", b"101"), (b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n", b"200")],
    ids=["websocket", "events"],
)
async def test_a_client_that_does_not_read(request_: bytes, status: bytes, programs: Programs) -> None:
    """A client that reads nothing of what it is sent does not hold the process up longer than that."""
    async with serving(programs) as (process, port), await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request_)
        assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 " + status)
        assert (await programs.curl(f"http://127.0.0.1:{port}/stuck")).text == "stuck"
        assert await terminate(process) < RUDE_SECONDS
