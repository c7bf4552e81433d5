"""httpx on trio, with its default limits.

By default it opens up to 100 connections and keeps 20 of them. Allowed to keep 50, it costs three times as
much at 50 at once, so the default is its best side.
"""

from __future__ import annotations

import httpx
import trio
from loop import Run


async def main(run: Run) -> None:
    async with httpx.AsyncClient() as client:

        async def fetch() -> bytes:
            return (await client.get(run.url)).content

        await run.measure_on_trio(fetch)


if __name__ == "__main__":
    trio.run(main, Run.from_arguments())
