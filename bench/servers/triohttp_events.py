"""triohttp's event stream and broadcast hub in an App's routes, with default limits, deadlines and heartbeat.

A POST hands its text to every subscriber.
"""

from __future__ import annotations

import sys

import trio

from triohttp import App, Broadcast, Event, Gap, Request, Response, serve

app = App()
hub = Broadcast()


@app.get("/events")
async def events(request: Request) -> None:
    """Subscribe to what is published."""
    async with hub.subscribe("news") as subscription, request.events() as stream:
        async for item in subscription:
            if isinstance(item, Gap):
                await stream.send(Event(item.topic, type="gap"))
            else:
                await stream.send(Event(item.text, id=item.id))


@app.post("/publish")
async def publish(request: Request) -> Response:
    """Publish the content of the request."""
    await hub.publish("news", await request.text())
    return Response(status=204)


async def main(port: int) -> None:
    async with hub:
        await serve(app, "127.0.0.1", port)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
