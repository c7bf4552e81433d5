"""From an exception to what becomes of the request.

Rule 1: cancellations and requests to exit are never answered and never swallowed, alone or in a group. A ``Cancelled``
        that outlived its scope is no cancellation: it would take the whole server with it.
Rule 2: an error's own status counts only when this request's peer caused it (``Request._fault``); anything else that is
        no HTTP exception is the program's, a 500, and is reported once.
Rule 3: where the peer broke the message, the connection closes after the answer.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, NamedTuple

import trio

from triohttp._values.service import AnswerState
from triohttp.errors import BodyStateError, ContentError, RemoteProtocolError, SlowReaderError, TransportError

from .exceptions import HTTPException
from .handlers import callable_name

if TYPE_CHECKING:
    from .request import Request

__all__ = ["breaks_message", "is_expected", "mention", "report", "split", "status_of"]

app_log = logging.getLogger("triohttp.app")

EXITS = (KeyboardInterrupt, SystemExit)
"""What ends the program."""
CONSEQUENCES = (TransportError, trio.BrokenResourceError)
"""What several tasks of a handler may get when their one peer goes away."""


class Split(NamedTuple):
    """An exception as this room sees it."""

    passing: BaseException | None
    """What has to pass."""
    error: BaseException | None
    """What is to be answered: a group around one error is taken off."""
    raised: BaseException | None
    """What ``error`` came in, with the traceback of the whole; a log wants it."""


def split(error: BaseException, request: Request) -> Split:
    """Tell what passes and what is answered.

    A group whose leaves are HTTP exceptions of one status counts as the first of them: children of a handler's nursery
    may agree. One that holds what this request's peer caused, and what else follows from that, counts as that.
    """
    if isinstance(error, GeneratorExit) and not trio.lowlevel.in_trio_task():
        return Split(error, None, None)  # trio has crashed, and this coroutine is being thrown away
    if isinstance(error, Exception) and not isinstance(error, ExceptionGroup):
        return Split(None, error, error)
    cancelled = trio.current_effective_deadline() == -math.inf
    passes: tuple[type[BaseException], ...] = (trio.Cancelled, *EXITS) if cancelled else EXITS
    if not isinstance(error, BaseExceptionGroup):
        return Split(error, None, None) if isinstance(error, passes) else Split(None, error, error)
    passing, rest = error.split(passes)
    if rest is None:
        return Split(error, None, None)
    if passing is None:
        rest = error  # and not the copy of it that split() makes
    leaves = _leaves(rest)
    statuses = {leaf.status if isinstance(leaf, HTTPException) else 0 for leaf in leaves}
    if len(leaves) == 1 or (len(statuses) == 1 and statuses != {0}):
        return Split(passing, leaves[0], rest)
    fault = request._fault
    if any(leaf is fault for leaf in leaves) and all(isinstance(leaf, CONSEQUENCES) for leaf in leaves):
        return Split(passing, fault, rest)
    return Split(passing, rest, rest)


def status_of(error: BaseException, request: Request) -> int | None:
    """Return the status that answers an error; None for no answer, because there is nobody to read it."""
    if isinstance(error, HTTPException):
        return error.status
    fault = request._fault
    if fault is None or error is not fault:
        return 500
    if isinstance(fault, RemoteProtocolError):
        return fault.suggested_status
    return fault.status


def breaks_message(error: BaseException, request: Request) -> bool:
    """Tell whether nothing more can be read from the connection after an error."""
    return error is request._fault and not isinstance(error, ContentError)


def is_expected(error: BaseException, request: Request) -> bool:
    """Tell whether an error is an answer, or the peer's doing, and so nothing to report: being too slow is.

    Once the peer is gone, so is trying to answer it again: middleware that answers for any error does.
    """
    fault = request._fault
    if isinstance(error, HTTPException) or error is fault:
        return True
    if isinstance(error, SlowReaderError) and request.exchange.state not in (AnswerState.AWAITED, AnswerState.STAGED):
        return True  # the client of a stream that was too slow for what feeds it
    gone = fault is not None and fault.status is None
    return gone and isinstance(error, (BodyStateError, trio.BrokenResourceError))


def report(error: BaseException, request: Request, what: str) -> None:
    """Log an error of the program's with its traceback; whoever wants to know of it listens to the logger."""
    handler = "routing" if request.route is None else callable_name(request.route.handler)
    app_log.error("%s %s (%s) %s: %r", request.method, ascii(request.raw_path), handler, what, error, exc_info=error)


def mention(error: HTTPException, request: Request, what: str) -> None:
    """Log an HTTP exception that could not become an answer."""
    app_log.warning("%s %s: %r %s", request.method, ascii(request.raw_path), error, what)


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for inner in group.exceptions:
        found.extend(_leaves(inner) if isinstance(inner, BaseExceptionGroup) else [inner])
    return found
