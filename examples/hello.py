"""The smallest server: ``python examples/hello.py``, then ``curl http://127.0.0.1:8080/hello/world``."""

from __future__ import annotations

import trio

from triohttp import App, Request, Response, serve

app = App()


@app.get("/")
async def index(request: Request) -> Response:
    return Response.html('<p>Try <a href="/hello/world">/hello/world</a>.</p>')


@app.get("/hello/{name}")
async def hello(request: Request) -> Response:
    return Response.text(f"Hello, {request.path_params['name']}!\n")


if __name__ == "__main__":
    trio.run(serve, app)
