"""What may answer a request, and how it is made into one kind of callable.

An async function is called as it is. A plain function is called in the connection's task, so it must be quick; one that
blocks is wrapped in ``threaded``. An object with methods named after HTTP methods answers those.

Rule 1: what a handler is gets decided when its route is added, never while a request waits.
Rule 2: nothing runs in a thread that does not say so.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias, TypeGuard

import trio

from triohttp.errors import RoutingError, clip

if TYPE_CHECKING:
    from .exceptions import HTTPException
    from .request import Request
    from .response import Response

__all__ = ["Answer", "Answering", "RouteHandler", "callable_name", "methods_of", "prepare_handler", "takes", "threaded"]

Answer: TypeAlias = "Response | HTTPException | None"
"""What a handler returns: a response, an exception that it could have raised, or None after owning its answer."""
Answering: TypeAlias = "Callable[[Request], Awaitable[Answer]]"
RouteHandler: TypeAlias = "Callable[[Request], Awaitable[Answer] | Answer]"
"""A handler as a function, a bound method or another callable; async, or plain and quick."""

VIEW_METHODS = ("get", "head", "post", "put", "patch", "delete", "options")


def callable_name(target: object) -> str:
    """Return the name by which a log can tell whose fault something is."""
    while isinstance(target, functools.partial):
        target = target.func
    name = getattr(target, "__qualname__", None) or type(target).__qualname__
    module = getattr(target, "__module__", None) or type(target).__module__
    return f"{module}.{name}"


def takes(function: object, count: int) -> bool:
    """Tell whether something can be called with ``count`` arguments, as far as it says what it takes."""
    if not callable(function):
        return False
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some that are written in C say nothing
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def methods_of(handler: object) -> tuple[str, ...]:
    """Return the HTTP methods that an object, or the instances of a class, answer by methods of that name."""
    if isinstance(handler, Mapping) or (callable(handler) and not inspect.isclass(handler)):
        return ()  # a mapping's get is no answer to GET
    return tuple(name.upper() for name in VIEW_METHODS if callable(getattr(handler, name, None)))


def prepare_handler(handler: object) -> Answering:
    """Return ``handler`` as something that is called with a request and awaited.

    Raises:
        RoutingError: it is neither callable nor an object with methods named after HTTP methods, or it cannot be
            called with a request alone.
    """
    if inspect.isclass(handler):
        if not methods_of(handler):
            raise RoutingError(f"the class {callable_name(handler)} has no method named after an HTTP method")
        handler = handler()
    if not callable(handler):
        return _view(handler)
    if not takes(handler, 1):
        raise RoutingError(
            f"the handler {callable_name(handler)} must take one argument, the request; "
            "variables of the path are in request.path_params"
        )
    if _is_async(handler):
        return handler
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise RoutingError(f"the handler {callable_name(handler)} is a generator; return Response.stream(…) instead")
    return _plain(handler)


def _is_async(function: Callable[..., object]) -> TypeGuard[Callable[..., Awaitable[Answer]]]:
    """Tell whether calling a function, or an object with ``__call__``, surely gives something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _plain(function: Callable[[Request], Awaitable[Answer] | Answer]) -> Answering:
    @functools.wraps(function)
    async def answer(request: Request) -> Answer:
        result = function(request)
        if inspect.isawaitable(result):  # a partial, a lambda or a decorator around an async function
            return await result
        return result

    return answer


def _view(view: object) -> Answering:
    methods = {name: prepare_handler(getattr(view, name.lower())) for name in methods_of(view)}
    if not methods:
        raise RoutingError(f"{clip(view)} is not callable and has no method named after an HTTP method")
    if "GET" in methods:
        methods.setdefault("HEAD", methods["GET"])

    async def answer(request: Request) -> Answer:
        return await methods[request.method](request)

    return answer


def threaded(
    function: Callable[[Request], Answer], *, limiter: trio.CapacityLimiter | None = None
) -> Callable[[Request], Awaitable[Answer]]:
    """Return a handler that calls the blocking ``function`` in a worker thread.

    The thread may call back, ``trio.from_thread.run(request.read)`` for example. A client that goes away does not end
    the thread: the function runs to its end, and its answer is dropped.

    Args:
        function: called with the request, in a thread of its own.
        limiter: how many run at once; None means trio's default limiter.
    """
    if not callable(function):
        raise TypeError(f"threaded() takes a blocking function, not {clip(function)}")
    if _is_async(function):
        raise TypeError(f"threaded() is for blocking functions; {callable_name(function)} is async")

    @functools.wraps(function)
    async def answer(request: Request) -> Answer:
        return await trio.to_thread.run_sync(function, request, limiter=limiter)

    return answer
