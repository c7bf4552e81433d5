"""Sending a response that is not plain: with hooks, as a stream, after an owned answer.

Rule 1: whatever the content comes from is closed in the task of the request, whether it was iterated or not.
Rule 2: a peer that leaves meanwhile is blamed for it; it is no fault of the program's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from triohttp._values.status import content_allowed
from triohttp.errors import BodyStateError, TransportError

from .owned import ResponseBody, filter_whole
from .response import Chunks, Response, take_for_sending

if TYPE_CHECKING:
    from .request import Request

__all__ = ["close_chunks", "send_response"]


async def send_response(request: Request, response: Response) -> None:
    """Send a response, or find that it has been sent.

    Raises:
        BodyStateError: it was sent before, or the handler owned its answer and returned another one.
    """
    exchange = request.exchange
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
    body = ResponseBody(request, exchange, head)
    try:
        if exchange.head.method == "HEAD" or not content_allowed(head.status):
            await body._end_without_content()
            return
        if hasattr(chunks, "__aiter__"):
            async for chunk in chunks:
                await body.send_all(chunk)
        else:
            for chunk in chunks:
                await body.send_all(chunk)
        body.trailers = response.trailers
        await body.aclose()
    finally:
        await close_chunks(chunks)


async def close_chunks(chunks: Chunks) -> None:
    """Close an iterable that owns something."""
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()
        return
    close = getattr(chunks, "close", None)
    if close is not None:
        close()
