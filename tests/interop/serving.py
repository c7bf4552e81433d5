"""A process that serves as the main function of trio.run: ``python serving.py GRACE``, GRACE in seconds."""

from __future__ import annotations

import sys
from functools import partial

import trio

from triohttp import App, Request, Response, Timeouts, serve

app = App()


@app.get("/hello")
async def hello(request: Request) -> Response:
    return Response.text("hello")


@app.get("/stream")
async def stream(request: Request) -> None:
    async with request.respond() as body:
        for _ in range(20):
            await body.send_all(b"x" * 1000)
            await trio.sleep(0.005)


@app.get("/flood")
async def flood(request: Request) -> None:
    async with request.respond() as body:
        while True:
            await body.send_all(bytes(1_000_000))


if __name__ == "__main__":
    timeouts = Timeouts(drain_seconds=float(sys.argv[1]))
    trio.run(partial(serve, app, "127.0.0.1", 0, timeouts=timeouts))
