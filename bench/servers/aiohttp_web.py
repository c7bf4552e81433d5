"""aiohttp's own server and router, with its C parser on asyncio's own loop; no access log."""

from __future__ import annotations

import sys

from aiohttp import web


async def hello(request: web.Request) -> web.Response:
    """Greet whoever the path names."""
    return web.Response(text=f"Hello, {request.match_info['name']}!")


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/hello/{name}", hello)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
