"""Middleware of a client: what programs put around a call, or around each of its hops.

Rule 1: a middleware is a function; composed, the first is the outermost.
Rule 2: what it returns is checked where it returns: the error names it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from triohttp.errors import clip

from .response import ClientAnswer

if TYPE_CHECKING:
    from .request import ClientRequest

__all__ = ["ClientMiddleware", "Send", "compose"]

Send: TypeAlias = "Callable[[ClientRequest], Awaitable[ClientAnswer]]"
"""What a middleware calls to have a request sent; as often as it likes, but one after the other."""
ClientMiddleware: TypeAlias = "Callable[[ClientRequest, Send], Awaitable[ClientAnswer]]"
"""``async def middleware(request, send)``: it returns an answer, mostly that of ``await send(request)``.

In a one-shot call answers are complete, each a ``ClientResponse``. In ``client.stream`` they are open, each a
``ClientResponseStream``; sending again gives an earlier one up.
"""


def compose(middleware: tuple[ClientMiddleware, ...], send: Send) -> Send:
    """Return ``send`` with ``middleware`` around it."""
    for one in reversed(middleware):
        send = _around(one, send)
    return send


def _around(middleware: ClientMiddleware, send: Send) -> Send:
    async def surrounded(request: ClientRequest) -> ClientAnswer:
        answer: object = await middleware(request, send)  # whatever the annotation says
        if not isinstance(answer, ClientAnswer):
            name = getattr(middleware, "__qualname__", None) or type(middleware).__qualname__
            raise TypeError(f"the middleware {name} must return an answer, not {clip(answer)}")
        return answer

    return surrounded
