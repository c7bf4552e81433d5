"""aiohttp's client, with its C parser on asyncio's own loop."""

from __future__ import annotations

import asyncio

import aiohttp
from loop import Run


async def main(run: Run) -> None:
    connector = aiohttp.TCPConnector(limit=run.connections)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def fetch() -> bytes:
            async with session.get(run.url) as response:
                return await response.read()

        await run.measure_on_asyncio(fetch)


if __name__ == "__main__":
    asyncio.run(main(Run.from_arguments()))
