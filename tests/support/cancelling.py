"""Calls of a client cancelled at every checkpoint, against a server that is slow at first and answers in two pieces."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

import trio

from triohttp import Client
from triohttp.errors import TrioHTTPError
from triohttp.testing import RawConnection, SweepRun, cancel_sweep, open_scripted

__all__ = ["check_cancelling_anywhere"]


def check_cancelling_anywhere(use: Callable[[Client, str], Awaitable[None]], *, every_task: bool) -> None:
    """Check that nothing but Cancelled comes out, that every slot is there afterwards, and that the client goes on."""

    async def scenario(sweep: SweepRun) -> None:
        count = 0

        async def script(raw: RawConnection) -> None:
            nonlocal count
            while True:
                await raw.read_request()
                count += 1
                with contextlib.suppress(trio.BrokenResourceError):
                    await trio.sleep(3 if count == 1 else 0.25)
                    await raw.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
                    await raw.send_all(b"k")

        async with open_scripted(script) as server:
            async with Client(mounts={server.url: server}) as client:
                with sweep.block(every_task=every_task):
                    try:
                        await use(client, server.url)
                    except (BaseExceptionGroup, TrioHTTPError) as exc:
                        raise AssertionError("only Cancelled may come out") from exc
                statistics = client.pool.statistics()
                assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0), statistics
                assert (await client.get(server.url)).content == b"ok"

    report = cancel_sweep(scenario)
    assert report.cancelled > 0
