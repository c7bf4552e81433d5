"""aiohttp as a server: on an asyncio loop in a thread, which ends with a block of trio's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial

import trio
from aiohttp import web

__all__ = ["open_aiohttp"]


@asynccontextmanager
async def open_aiohttp(routes: Iterable[web.RouteDef]) -> AsyncIterator[str]:
    """Serve ``routes`` and return the URL."""
    where: list[str] = []
    ended: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
    listening = trio.Event()
    token = trio.lowlevel.current_trio_token()

    async def main() -> None:
        app = web.Application(client_max_size=100_000_000)
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        where.append(f"http://{host}:{port}")
        end = asyncio.Event()
        ended.append((asyncio.get_running_loop(), end))
        token.run_sync_soon(listening.set)
        await end.wait()
        await runner.cleanup()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.to_thread.run_sync, partial(asyncio.run, main())))
        await listening.wait()
        try:
            yield where[0]
        finally:
            loop, end = ended[0]
            loop.call_soon_threadsafe(end.set)
