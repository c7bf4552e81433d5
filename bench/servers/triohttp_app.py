"""triohttp as its users write it: App, one route with a parameter, one Response.text, default limits and deadlines."""

from __future__ import annotations

import sys

import trio

from triohttp import App, Request, Response, serve

app = App()


@app.get("/hello/{name}")
async def hello(request: Request) -> Response:
    """Greet whoever the path names."""
    return Response.text(f"Hello, {request.path_params['name']}!")


if __name__ == "__main__":
    trio.run(serve, app, "127.0.0.1", int(sys.argv[1]))
