"""Answers that a handler owns: its frame spans the bytes, from the head to the last of them.

These are classes, not generator-based context managers: half the cost, whole tracebacks, and one that is entered by
hand and dropped does nothing behind anybody's back.

Rule 1: the head goes out with the first content or a flush; until then an error can still become an error page.
Rule 2: the hooks of ``on_head`` run once for every final head, the last registered first, just before it goes out. When
        it cannot go out after all, they run for the head that takes its place; one that raised does not.
Rule 3: filters see every answer's content, whole or piece by piece, and nothing of an answer that cannot have any.
Rule 4: a send that did not finish breaks the answer: the end is not written, so the client sees it cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeAlias

import trio

from triohttp._values.headers import Headers, HeadersInit, check_trailers
from triohttp._values.message import ResponseHead
from triohttp._values.service import AnswerState, Exchange
from triohttp._values.status import content_allowed
from triohttp.errors import TransportError

from .handlers import callable_name

if TYPE_CHECKING:
    from .request import Request

__all__ = [
    "NOT_BEGUN",
    "BodyFilter",
    "HeadHook",
    "OwnedAnswer",
    "ResponseBody",
    "TakenOver",
    "filter_whole",
    "filters_for",
    "run_hook",
]

NOT_BEGUN = (AnswerState.AWAITED, AnswerState.STAGED)
"""Nothing of the answer has gone out."""


class BodyFilter(Protocol):
    """What changes an answer's content on its way out, without I/O; a compressor for example."""

    def feed(self, data: bytes) -> bytes:
        """Take content, and return what can go out already."""
        ...

    def flush(self) -> bytes:
        """Return everything that was fed and has not gone out."""
        ...

    def finish(self) -> bytes:
        """Return what belongs at the end; nothing is fed after it."""
        ...


HeadHook: TypeAlias = Callable[[ResponseHead], BodyFilter | None]
"""What ``request.on_head`` takes: it may change the head, and may return a filter for the content."""


def run_hook(hook: HeadHook, head: ResponseHead) -> BodyFilter | None:
    """Let a hook see the head and return its filter.

    Raises:
        TypeError: it returned something else; a hook that is async, or a lambda whose expression has a value.
    """
    body_filter: object = hook(head)
    if body_filter is None:
        return None
    if not callable(getattr(body_filter, "feed", None)):
        what = type(body_filter).__qualname__
        raise TypeError(f"the on_head hook {callable_name(hook)} must return None or a body filter, not {what}")
    return body_filter  # type: ignore[return-value]  # feed tells a filter from what it may be mistaken for


def filters_for(filters: Sequence[BodyFilter], head: ResponseHead) -> Sequence[BodyFilter]:
    """Return those of ``filters`` that the content of an answer passes: none where it can have no content."""
    if not filters or not content_allowed(head.status):
        return ()
    head.headers.pop("content-length", None)  # it was the length before the filters
    return filters


def filter_whole(filters: Sequence[BodyFilter], content: bytes) -> bytes:
    """Return the whole content as the filters leave it."""
    for body_filter in filters:
        content = body_filter.feed(content) + body_filter.finish()
    return content


class ResponseBody(trio.abc.SendStream):
    """The content of an owned answer, as a trio send stream.

    Any number of tasks may send; what each of them sends stays in one piece.
    """

    def __init__(self, request: Request, exchange: Exchange, head: ResponseHead) -> None:
        self._request = request
        self._exchange = exchange
        self._head = head
        self._filters: Sequence[BodyFilter] = ()
        self._started = False
        self._ended = False
        self._broken = False
        self._lost: TransportError | None = None
        self._trailers: Headers | None = None

    @property
    def trailers(self) -> Headers | None:
        """The fields to send behind the content, None for none; to be set before the end (RFC 9110 §6.5).

        Setting takes what a Headers can be made of, and raises InvalidHeaderError for a field that must not be there.
        """
        return self._trailers

    @trailers.setter
    def trailers(self, trailers: HeadersInit | None) -> None:
        self._trailers = None if trailers is None else check_trailers(trailers)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send some content; the head goes out in front of the first.

        Cancellation: fatal when bytes had begun to leave: the answer ends visibly cut.
        Raises:
            DisconnectedError: the client is gone.
            WriteTimeout: the client took nothing, or too little, for too long.
            LocalProtocolError: more than the Content-Length of the head.
            trio.BrokenResourceError: an earlier send did not finish.
            trio.ClosedResourceError: the answer has ended.
        """
        if not isinstance(data, bytes):
            if not isinstance(data, (bytearray, memoryview)):
                raise TypeError(f"content must be bytes, not {type(data).__qualname__}")
            data = bytes(data)
        self._check_open()
        if not data:
            await trio.lowlevel.checkpoint()
            return
        self._start()
        for body_filter in self._filters:
            data = self._filtered(body_filter.feed, data)
        if data:
            await self._transmit(data)
        else:
            await trio.lowlevel.checkpoint()

    async def flush(self) -> None:
        """Send what is waiting: the head, and what filters hold back.

        Cancellation: fatal when bytes had begun to leave.
        Raises: as ``send_all``.
        """
        await self._send_now(b"")

    async def wait_send_all_might_not_block(self) -> None:
        """Return after a checkpoint: nothing is queued here, so only a send can tell."""
        self._check_open()
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """End the answer; the end of the ``respond`` block does it too.

        Cancellation: fatal.
        Raises: as ``send_all``.
        """
        if self._ended or self._broken:
            await trio.lowlevel.checkpoint()
            return
        await self._end()

    async def _send_now(self, data: bytes) -> None:
        """Send content, and with it, in one piece, everything that filters hold back."""
        self._check_open()
        self._start()
        for body_filter in self._filters:
            fed = self._filtered(body_filter.feed, data) if data else b""
            data = fed + self._filtered(body_filter.flush)
        await self._transmit(data)

    async def _end_without_content(self) -> None:
        """Send the head of an answer that has no content to iterate, with the fields that it would have had."""
        self._start()
        self._filters = ()
        await self._finish(b"")

    def _check_open(self) -> None:
        if self._ended:
            raise trio.ClosedResourceError("this answer has ended")
        if self._broken:
            raise trio.BrokenResourceError("an earlier send of this answer did not finish")

    def _start(self) -> None:
        if not self._started:
            self._filters = self._request._run_head_hooks(self._head)
            self._exchange.begin(self._head)
            self._started = True

    def _filtered(self, method: Callable[..., bytes], *data: bytes) -> bytes:
        """Call a method of a filter; one that fails has lost content, so nothing can follow."""
        try:
            return method(*data)
        except BaseException as exc:
            self._fail(exc)
            raise

    async def _transmit(self, data: bytes) -> None:
        try:
            if data:
                await self._exchange.send(data)
            else:
                await self._exchange.flush()
        except BaseException as exc:
            self._fail(exc)
            raise

    async def _end(self) -> None:
        if not self._started:
            # Nothing has gone out and nothing will but the head: one message of known length. A head that promises
            # content is refused before it goes out.
            content = filter_whole(self._request._run_head_hooks(self._head), b"")
            self._started = self._ended = True
            try:
                await self._exchange.respond(self._head, content, self._trailers)
            except BaseException as exc:
                self._fail(exc)
                raise
            return
        self._start()
        data = b""
        for body_filter in self._filters:
            fed = self._filtered(body_filter.feed, data) if data else b""
            data = fed + self._filtered(body_filter.finish)
        await self._finish(data)

    async def _finish(self, data: bytes) -> None:
        self._ended = True
        try:
            if data:
                await self._exchange.send(data)
            await self._exchange.finish(self._trailers)
        except BaseException as exc:
            self._fail(exc)
            raise

    def _fail(self, exc: BaseException) -> None:
        """Let nothing follow; the caller raises ``exc`` on.

        Raises:
            TransportError: the first one of this answer, where ``exc`` is another. When a client goes, each task that
                is sending gets one of its own; with one for all, any that the handler raises is known as the client's.
        """
        self._broken = True
        if self._exchange.state not in NOT_BEGUN:
            self._exchange.cut()
        if isinstance(exc, TransportError):
            first = self._lost
            if first is None:
                first = self._lost = exc
            self._request._blame(first)
            if first is not exc:
                raise first from first.__cause__


class OwnedAnswer:
    """What ``request.respond`` returns: ``async with`` it and send."""

    __slots__ = ("_exchange", "_head", "_request", "body")

    def __init__(self, request: Request, exchange: Exchange, head: ResponseHead) -> None:
        self._request = request
        self._exchange = exchange
        self._head = head
        self.body = ResponseBody(request, exchange, head)

    async def __aenter__(self) -> ResponseBody:
        self._request._claim(self, self._head)
        return self.body

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        body = self.body
        if exc is None:
            # A deadline of the user's own may have ended a send and been swallowed: then there is no end to write.
            if body._broken:
                self._exchange.cut()
                return
            try:
                await body.aclose()
            except BaseException:
                if self._exchange.state in NOT_BEGUN:
                    self._request._release(self)
                raise
        elif self._exchange.state in NOT_BEGUN:
            self._request._release(self)  # nothing went out: an error page, or another answer, still may
        else:
            self._exchange.cut()  # no awaiting: the real exception passes at once


class TakenOver:
    """What ``request.take_over`` returns: ``async with`` it and speak another protocol."""

    __slots__ = ("_exchange", "_head", "_request", "_stream")

    def __init__(self, request: Request, exchange: Exchange, head: ResponseHead) -> None:
        self._request = request
        self._exchange = exchange
        self._head = head
        self._stream: trio.abc.Stream | None = None

    async def __aenter__(self) -> trio.abc.Stream:
        self._request._claim(self, self._head)
        try:
            self._request._run_head_hooks(self._head)
            self._stream = await self._exchange.take_over(self._head)
        except BaseException as exc:
            if isinstance(exc, TransportError):
                self._request._blame(exc)
            if self._exchange.state in NOT_BEGUN:
                self._request._release(self)
            raise
        return self._stream

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._stream is not None
        if exc is None:
            await self._stream.aclose()
        else:
            await trio.aclose_forcefully(self._stream)
