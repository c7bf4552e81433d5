"""triohttp's client, allowed to keep as many connections as it has workers, with its default deadlines."""

from __future__ import annotations

import trio
from loop import Run

from triohttp import Client, ClientLimits


async def main(run: Run) -> None:
    n = run.connections
    limits = ClientLimits(connections=n, connections_per_origin=n, idle_connections=n)
    async with Client(limits=limits) as client:

        async def fetch() -> bytes:
            return (await client.get(run.url)).content

        await run.measure_on_trio(fetch)


if __name__ == "__main__":
    trio.run(main, Run.from_arguments())
