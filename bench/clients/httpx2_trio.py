"""httpx2 on trio, with its default limits.

By default it opens up to 100 connections and keeps 20 of them. Allowed to keep 50, it costs the same.
"""

from __future__ import annotations

import httpx2
import trio
from loop import Run


async def main(run: Run) -> None:
    async with httpx2.AsyncClient() as client:

        async def fetch() -> bytes:
            return (await client.get(run.url)).content

        await run.measure_on_trio(fetch)


if __name__ == "__main__":
    trio.run(main, Run.from_arguments())
