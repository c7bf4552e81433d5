"""triohttp without its web framework: a bare service that is given exchanges. What the app costs is the difference."""

from __future__ import annotations

import sys

import trio

from triohttp import Headers, serve
from triohttp.lowlevel import Exchange, ResponseHead


async def service(exchange: Exchange) -> None:
    """Answer every request with one short text."""
    await exchange.respond(ResponseHead(200, Headers({"content-type": "text/plain; charset=utf-8"})), b"Hello, world!")


if __name__ == "__main__":
    trio.run(serve, service, "127.0.0.1", int(sys.argv[1]))
