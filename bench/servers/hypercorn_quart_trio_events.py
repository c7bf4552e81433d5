"""Server-sent events with Quart-Trio on hypercorn: a memory channel for each client; a POST hands its text to all.

Quart has no event type of its own: the event is formatted as its documentation does it. No ping; no access log.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import AsyncIterator

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, make_response, request
from quart_trio import QuartTrio

app = QuartTrio(__name__)
subscribers: set[trio.MemorySendChannel[bytes]] = set()
numbers = itertools.count(1)


@app.get("/events")
async def events() -> Response:
    """Subscribe to what is published."""
    sending, receiving = trio.open_memory_channel[bytes](64)

    async def stream() -> AsyncIterator[bytes]:
        subscribers.add(sending)
        try:
            async for event in receiving:
                yield event
        finally:
            subscribers.discard(sending)

    response = await make_response(stream(), {"content-type": "text/event-stream", "cache-control": "no-cache"})
    response.timeout = None
    return response


@app.post("/publish")
async def publish() -> tuple[str, int]:
    """Publish the content of the request."""
    event = f"data: {(await request.get_data()).decode()}\r\nid: {next(numbers)}\r\n\r\n".encode()
    for subscriber in subscribers:
        subscriber.send_nowait(event)
    return "", 204


if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    config.loglevel = "WARNING"
    config.backlog = 1024
    trio.run(serve, app, config)
