"""Middleware: ``async def middleware(request, handler) -> Response``, composed once, the outermost first.

A chain is a row of layers, built when a route is added; a request walks through it in its own task, so exceptions are
the real ones and context variables flow both ways.

Rule 1: a layer calls the next one at most once for a request; a second call is an error, it would answer twice.
Rule 2: what a layer gets from the next one is always a ``Response``: what a handler returns is settled here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from triohttp.errors import clip

from .exceptions import HTTPException
from .handlers import Answering, callable_name, takes
from .response import Response

if TYPE_CHECKING:
    from .request import Request

__all__ = ["Handler", "Middleware", "check_middleware", "compose", "settle"]

Handler: TypeAlias = "Callable[[Request], Awaitable[Response]]"
"""What a middleware calls to go on."""
Middleware: TypeAlias = "Callable[[Request, Handler], Awaitable[Response]]"


_HINTS: dict[type, str] = {
    dict: "; Response.json makes one of it",
    list: "; Response.json makes one of it",
    str: "; Response.text makes one of it",
    bytes: "; Response(…) makes one of it",
    Awaitable: "; an await is missing",
}


def check_middleware(middleware: Iterable[Middleware]) -> tuple[Middleware, ...]:
    """Return ``middleware`` as a tuple.

    Raises:
        TypeError: one of them cannot be called with a request and a handler, or it is one function where several are
            expected.
    """
    if callable(middleware):
        raise TypeError(f"middleware= takes a sequence, not {callable_name(middleware)} alone")
    functions = tuple(middleware)
    for function in functions:
        if not callable(function):
            raise TypeError(f"middleware must be callable, not {clip(function)}")
        if not takes(function, 2):
            raise TypeError(f"the middleware {callable_name(function)} must take two arguments: request and handler")
    return functions


def settle(result: object, request: Request, source: object) -> Response:
    """Return what ``source`` answered as a response; returning an HTTP exception is raising it.

    Raises:
        HTTPException: it was returned.
        TypeError: it is nothing that answers, or None without an owned answer.
    """
    if isinstance(result, Response):
        return result
    if isinstance(result, HTTPException):
        raise result
    if result is None:
        owned = request._owned_response
        if owned is not None:
            return owned
        raise TypeError(f"{callable_name(source)} returned None without having owned its answer (request.respond)")
    hint = next((hint for kind, hint in _HINTS.items() if isinstance(result, kind)), "")
    raise TypeError(f"{callable_name(source)} must return a Response, not {type(result).__qualname__}{hint}")


class _Core:
    """The innermost layer: the handler itself."""

    __slots__ = ("_answering", "_depth", "_source")

    def __init__(self, answering: Answering, source: object, depth: int) -> None:
        self._answering = answering
        self._source = source
        self._depth = depth

    async def __call__(self, request: Request) -> Response:
        request._enter_layer(self._depth)
        response = settle(await self._answering(request), request, self._source)
        request._note_stream(response)
        return response


class _Layer:
    """A middleware and what it goes on to."""

    __slots__ = ("_depth", "_middleware", "_next")

    def __init__(self, middleware: Middleware, following: Handler, depth: int) -> None:
        self._middleware = middleware
        self._next = following
        self._depth = depth

    async def __call__(self, request: Request) -> Response:
        request._enter_layer(self._depth)
        response = settle(await self._middleware(request, self._next), request, self._middleware)
        request._note_stream(response)
        return response


def compose(middleware: Sequence[Middleware], answering: Answering, source: object) -> Answering:
    """Return one callable for ``answering`` behind all of ``middleware``; without any it is ``answering`` itself."""
    if not middleware:
        return answering
    chain: Handler = _Core(answering, source, len(middleware) + 1)
    for depth in range(len(middleware), 0, -1):
        chain = _Layer(middleware[depth - 1], chain, depth)
    return chain
