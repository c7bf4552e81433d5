"""Server-sent events with Starlette and sse-starlette: a queue for each client; a POST hands its text to all of them.

On is what is on by default: a ping each 15 s.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

subscribers: set[asyncio.Queue[tuple[str, str]]] = set()
numbers = itertools.count(1)


async def events(request: Request) -> EventSourceResponse:
    """Subscribe to what is published."""
    queue: asyncio.Queue[tuple[str, str]] = asyncio.Queue(64)

    async def stream() -> AsyncIterator[ServerSentEvent]:
        subscribers.add(queue)
        try:
            while True:
                number, text = await queue.get()
                yield ServerSentEvent(text, id=number)
        finally:
            subscribers.discard(queue)

    return EventSourceResponse(stream())


async def publish(request: Request) -> Response:
    """Publish the content of the request."""
    event = str(next(numbers)), (await request.body()).decode()
    for queue in subscribers:
        queue.put_nowait(event)
    return Response(status_code=204)


app = Starlette(routes=[Route("/events", events), Route("/publish", publish, methods=["POST"])])
