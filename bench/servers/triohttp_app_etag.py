"""As triohttp_app, but no two answers have the same head: an ETag counts them."""

from __future__ import annotations

import itertools
import sys

import trio

from triohttp import App, Request, Response, serve

app = App()
number = itertools.count()


@app.get("/hello/{name}")
async def hello(request: Request) -> Response:
    """Greet whoever the path names."""
    return Response.text(f"Hello, {request.path_params['name']}!", headers={"etag": f'"{next(number)}"'})


if __name__ == "__main__":
    trio.run(serve, app, "127.0.0.1", int(sys.argv[1]))
