"""Fetch some URLs at the same time and say what came back: ``python examples/client.py URL …``."""

from __future__ import annotations

import sys

import trio

from triohttp import Client
from triohttp.errors import TrioHTTPError

SECONDS = 20


async def fetch(client: Client, url: str) -> None:
    started = trio.current_time()
    size = 0
    try:
        with trio.fail_after(SECONDS):
            async with client.stream("GET", url) as response:
                async for chunk in response.body:
                    size += len(chunk)
    except trio.TooSlowError:
        print(f"{url}: not done in {SECONDS} s")
    except TrioHTTPError as error:
        print(f"{url}: {error}")
    else:
        print(f"{url}: {response.status}, {size} bytes, {trio.current_time() - started:.2f} s")


async def main(*urls: str) -> None:
    async with Client() as client, trio.open_nursery() as nursery:
        for url in urls:
            nursery.start_soon(fetch, client, url)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
