"""aiohttp's WebSocket on asyncio's own loop, with its C reader; no compression, no heartbeat (its default)."""

from __future__ import annotations

import sys

from aiohttp import web


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Send back every message."""
    ws = web.WebSocketResponse(compress=False)
    await ws.prepare(request)
    async for message in ws:
        await ws.send_bytes(message.data)
    return ws


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/", echo)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
