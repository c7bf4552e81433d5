"""Server-sent events with aiohttp and aiohttp-sse: a queue for each client; a POST hands its text to all of them.

On is what is on by default (a ping each 15 s, a bound of 120 s for each send), and handler_cancellation, without which
the handler of a client that left waits for the next event.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from aiohttp import web
from aiohttp_sse import EventSourceResponse, sse_response

subscribers: set[asyncio.Queue[tuple[str, str]]] = set()
numbers = itertools.count(1)


async def events(request: web.Request) -> EventSourceResponse:
    """Subscribe to what is published."""
    queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue(64)
    subscribers.add(queue)
    try:
        async with sse_response(request) as response:
            while True:
                number, text = await queue.get()
                await response.send(text, id=number)
    finally:
        subscribers.discard(queue)
    return response


async def publish(request: web.Request) -> web.Response:
    """Publish the content of the request."""
    event = str(next(numbers)), await request.text()
    for queue in subscribers:
        queue.put_nowait(event)
    return web.Response(status=204)


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/events", events)
    app.router.add_post("/publish", publish)
    web.run_app(
        app, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None, handler_cancellation=True
    )
