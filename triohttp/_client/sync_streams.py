"""Answers that a synchronous program receives piece by piece.

Rule 1: one wait is one call into the loop: a piece that comes in, or the rest of the content; lines and events are
        taken out of pieces in the program's own thread.
Rule 2: an answer exists inside its ``with`` block, as that of ``Client.stream`` does.
Rule 3: iterators are objects, not generators: leaving a loop early leaves nothing open.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Generic, NoReturn, Protocol, Self, TypeVar

import trio

from triohttp._values import json
from triohttp._values.headers import Headers
from triohttp._values.media_types import find_codec
from triohttp._wire.sse import Event
from triohttp.errors import StatusError

from .body import UNSET, Unset
from .event_reader import EventReader
from .lines import LineReader
from .response import ClientAnswer, decode_text
from .stream import MIB, ClientResponseStream
from .sync_portal import Portal

__all__ = ["SyncClientResponseStream", "SyncContent", "SyncEventReader", "SyncLineReader"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class SyncContent:
    """The content of an answer: an iterator over its pieces, as they come in."""

    __slots__ = ("_portal", "_stream")

    def __init__(self, portal: Portal, stream: trio.abc.ReceiveStream) -> None:
        self._portal = portal
        self._stream = stream

    def receive_some(self, max_bytes: int | None = None, *, timeout: float | None = None) -> bytes:
        """Return some content, at most ``max_bytes``; ``b""`` at its end.

        Args:
            timeout: seconds to wait for it; nothing is lost when they are over.
        Raises:
            TotalTimeout: the timeout is over.
            TrioHTTPError: as ``ClientResponseStream.body.receive_some``.
            trio.BusyResourceError: another thread is receiving.
            trio.ClosedResourceError: the content was closed, or its block left.
        """
        return bytes(self._portal.call(lambda: self._stream.receive_some(max_bytes), timeout))

    def close(self) -> None:
        """Receive nothing more."""
        self._portal.call(self._stream.aclose)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        """Return the next piece; see ``receive_some``."""
        data = self.receive_some()
        if not data:
            raise StopIteration
        return data


class _Reader(Protocol[T_co]):
    """What takes something out of a stream, asynchronously."""

    def __anext__(self) -> Coroutine[object, object, T_co]: ...


class _Waiting(trio.abc.ReceiveStream):
    """A stream that waits in place, for readers that await nothing else: they run in the program's thread."""

    __slots__ = ("_content", "_timeout")

    def __init__(self, content: SyncContent, timeout: float | None) -> None:
        self._content = content
        self._timeout = timeout

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return self._content.receive_some(max_bytes, timeout=self._timeout)

    async def aclose(self) -> NoReturn:
        raise AssertionError("a reader does not close what it reads")


class _Steps(Generic[T]):
    """An iterator that steps a reader whose stream waits in place."""

    __slots__ = ("_reader",)

    def __init__(self, reader: _Reader[T]) -> None:
        self._reader = reader

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        """Return the next one.

        Raises:
            BaseException: as ``SyncContent.receive_some``, and what is wrong with the content.
        """
        try:
            self._reader.__anext__().send(None)
        except StopIteration as stop:
            value: T = stop.value
            return value
        except StopAsyncIteration:
            raise StopIteration from None
        raise AssertionError("a reader awaited something else than its stream")


class SyncLineReader(_Steps[str]):
    """An iterator over the lines that are left; see ``ClientResponseStream.lines``."""

    __slots__ = ()


class SyncEventReader(_Steps[Event]):
    """An iterator over the server-sent events that are left; see ``ClientResponseStream.events``."""

    __slots__ = ("_events",)

    def __init__(self, reader: EventReader) -> None:
        super().__init__(reader)
        self._events = reader

    @property
    def last_event_id(self) -> str | None:
        """The id that was said last; None before any."""
        return self._events.last_event_id

    @property
    def retry_ms(self) -> int | None:
        """How long to wait before connecting again, as the server said last; None before it did."""
        return self._events.retry_ms


class SyncClientResponseStream(ClientAnswer):
    """An answer whose content is received inside the ``with`` block of ``SyncClient.stream``.

    Attributes:
        body: the content, its codings undone; an iterator over its pieces.
    """

    __slots__ = ("_answer", "_portal", "body")

    def __init__(self, portal: Portal, answer: ClientResponseStream) -> None:
        super().__init__(
            answer.request, answer.status, answer.headers, answer.interim, answer.http_version, answer.codings
        )
        self.history = answer.history
        self._portal = portal
        self._answer = answer
        self.body = SyncContent(portal, answer.body)

    @property
    def idle_seconds(self) -> float:
        """Without a byte of content that is awaited, until ``ReadTimeout``; may be set while the content comes."""
        return self._answer.idle_seconds

    @idle_seconds.setter
    def idle_seconds(self, seconds: float) -> None:
        self._answer.idle_seconds = seconds

    @property
    def length(self) -> int | None:
        """Bytes announced, before codings are undone; None when only the end will tell."""
        return self._answer.length

    @property
    def trailers(self) -> Headers | None:
        """The trailer section, None when there was none.

        Raises:
            BodyStateError: the content has not been received to its end.
        """
        return self._answer.trailers

    def read(self, *, max_bytes: int | Unset | None = UNSET, timeout: float | None = None) -> bytes:
        """Return what is left of the content.

        Args:
            max_bytes: bound on it, None for none; by default ``ClientLimits.max_body_bytes``.
            timeout: seconds that it may take; what has come in is lost when they are over.
        Raises:
            BodyTooLargeError: ``max_bytes`` was passed.
            TrioHTTPError: as ``body.receive_some``.
        """
        return self._portal.call(lambda: self._answer.read(max_bytes=max_bytes), timeout)

    def text(self, *, timeout: float | None = None) -> str:
        """Return what is left of the content as text.

        Raises:
            ContentError: ``charset``: it is unknown, or the content is not in it.
            TrioHTTPError: as ``read``.
        """
        return decode_text(self.read(timeout=timeout), self.headers)

    def json(self, *, max_depth: int = 64, timeout: float | None = None) -> json.JSONValue:
        """Return the value that what is left of the content says.

        Raises:
            ContentError: ``json``: it is not JSON, or nested deeper than ``max_depth``.
            TrioHTTPError: as ``read``.
        """
        return json.loads(self.read(timeout=timeout), max_depth=max_depth)

    def lines(self, *, max_line_bytes: int = MIB, timeout: float | None = None) -> SyncLineReader:
        """Return an iterator over the lines of text that are left.

        Args:
            max_line_bytes: bound on one line.
            timeout: seconds that each wait may take.
        Raises:
            ContentError: ``charset``: it is unknown, or UTF-16.
        """
        media_type = self.media_type
        codec = find_codec(media_type.charset or "utf-8") if media_type is not None else "utf-8"
        return SyncLineReader(LineReader(_Waiting(self.body, timeout), codec, max_line_bytes))

    def events(self, *, max_event_bytes: int = MIB, timeout: float | None = None) -> SyncEventReader:
        """Return an iterator over the server-sent events that are left, of this one answer.

        Args:
            max_event_bytes: bound on one event.
            timeout: seconds that each wait may take.
        """
        return SyncEventReader(EventReader(_Waiting(self.body, timeout), max_event_bytes))

    def raise_for_status(self) -> Self:
        """Return this answer, unless its status is 4xx or 5xx.

        Raises:
            StatusError: it is; the error has the first 64 KiB of the content, as far as they can be had.
        """
        if self.is_error:
            raise self.receive_error()
        return self

    def receive_error(self) -> StatusError:
        """Return the error that this answer would be, with as much of its content as can be had, up to 64 KiB."""
        return self._portal.call(self._answer.receive_error)
