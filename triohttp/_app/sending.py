"""Sending a response that is not plain: with hooks, as a stream, after an owned answer.

Rule 1: whatever content comes from is closed once, in the task of the request, whether it was iterated or not.
Rule 2: a peer that leaves meanwhile is blamed for it; it is no fault of the program's.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING

from triohttp._values.status import content_allowed
from triohttp.errors import BodyStateError, TransportError

from .event_feed import EventFeed
from .events import EventAnswer
from .faults import report
from .owned import ResponseBody, filter_whole
from .response import Response, Source, take_for_sending

if TYPE_CHECKING:
    from .request import Request

__all__ = ["close_streams", "send_response"]


async def send_response(request: Request, response: Response) -> None:
    """Send a response, or find that it has been sent. A stream is closed by ``close_streams`` later.

    Raises:
        BodyStateError: it was sent before, or the handler owned its answer and returned another one.
    """
    exchange = request.exchange
    if not response.sent:
        request._note_stream(response)
    if request._owned_response is not None:
        if not response.sent:
            raise BodyStateError("the handler owned its answer and returned another response")
        return
    head, content, chunks = take_for_sending(response)
    if chunks is None:
        filters = request._run_head_hooks(head)
        try:
            await exchange.respond(head, filter_whole(filters, content), response.trailers)
        except TransportError as exc:
            request._blame(exc)
            raise
        return
    if isinstance(chunks, EventFeed):
        async with EventAnswer(request, head, chunks.settings, claims=False) as events:
            async for event in chunks.source:
                await events.send(event)
        return
    body = ResponseBody(request, exchange, head)
    if exchange.head.method == "HEAD" or not content_allowed(head.status):
        await body._end_without_content()
        return
    if isinstance(chunks, AsyncIterable):
        async for chunk in chunks:
            await body.send_all(chunk)
    else:
        for chunk in chunks:
            await body.send_all(chunk)
    body.trailers = response.trailers
    await body.aclose()


async def close_streams(request: Request) -> None:
    """Close all iterables that answers to a request were made of; an error of one is reported, and the rest closed."""
    streams = request._take_streams()
    try:
        while streams:
            try:
                await _close(streams.pop())
            except Exception as exc:  # noqa: BLE001  # the answer is decided; this is for the program's log
                report(exc, request, "failed to close its stream")
    finally:
        if streams:  # cancelled, or worse
            request._streams = streams
            await close_streams(request)


async def _close(chunks: Source) -> None:
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()
        return
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
