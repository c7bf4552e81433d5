"""triohttp's WebSocket in an App's route, with its default limits, deadlines and heartbeat; no compression."""

from __future__ import annotations

import sys

import trio

from triohttp import App, Request, serve

app = App()


@app.get("/")
async def echo(request: Request) -> None:
    """Send back every message."""
    async with request.websocket(compression=None) as ws:
        async for message in ws:
            await ws.send(message)


if __name__ == "__main__":
    trio.run(serve, app, "127.0.0.1", int(sys.argv[1]))
