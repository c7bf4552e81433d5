"""A process that serves streams as the main function of trio.run; its grace is longer than any test may take."""

from __future__ import annotations

from functools import partial

import trio

from triohttp import App, Request, Response, Timeouts, serve

app = App()
sent = {"messages": 0}


@app.get("/websocket")
async def websocket(request: Request) -> None:
    async with request.websocket() as ws:
        await ws.send("hello")
        async for _message in ws:
            pass
    print("the handler of /websocket has ended", flush=True)


@app.get("/events")
async def events(request: Request) -> None:
    async with request.events() as channel:
        await channel.send("hello")
        await trio.sleep_forever()
    print("the handler of /events has ended", flush=True)


@app.get("/flood")
async def flood(request: Request) -> None:
    async with request.events() as channel:
        await send_for_ever(channel)


@app.get("/websocket-flood")
async def websocket_flood(request: Request) -> None:
    async with request.websocket() as ws:
        await send_for_ever(ws)


async def send_for_ever(channel: trio.abc.SendChannel[str]) -> None:
    while True:
        await channel.send("x" * 100_000)
        sent["messages"] += 1


@app.get("/stuck")
async def stuck(request: Request) -> Response:
    """Answer when nothing more can be sent to who does not read."""
    before = 0
    while sent["messages"] == 0 or sent["messages"] != before:
        before = sent["messages"]
        await trio.sleep(0.2)
    return Response.text("stuck")


if __name__ == "__main__":
    trio.run(partial(serve, app, "127.0.0.1", 0, timeouts=Timeouts(drain_seconds=60)))
