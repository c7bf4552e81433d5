"""Server-sent events: ``text/event-stream`` as bytes and as events, for both ends (HTML §9.2).

Rule 1: no awaiting, no clock, no sockets; bytes in, events out.
Rule 2: only CR, LF and CRLF end a line. Whatever else Unicode calls a line break is text, in both directions.
Rule 3: nothing that a program sends as one event can become two, or another field: what would is refused.
Rule 4: linear whatever the pieces: each byte is looked at once, and bounded: by what one event may take.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass

from triohttp.errors import LimitError, clip

__all__ = [
    "HEARTBEAT",
    "MAX_ID_CHARACTERS",
    "MEDIA_TYPE",
    "Event",
    "EventDecoder",
    "encode_comment",
    "encode_event",
    "encode_retry",
    "is_event_id",
]

MEDIA_TYPE = "text/event-stream"
HEARTBEAT = b":\n\n"
"""The shortest comment: it keeps what lies between from thinking that nobody is there any more."""

MAX_ID_CHARACTERS = 256
_RETRY_DIGITS = 18
"""Digits that count: more would be longer than the universe, and slow to read as a number."""


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event.

    Attributes:
        data: the text; lines of it travel as lines of their own, and arrive joined by LF.
        type: what it is about; None is sent as nothing, and arrives as ``message``.
        id: where a client goes on after an interruption. On arrival it is the last one that was said, by this event or
            an earlier one; None before any.
        retry_ms: how long a client should wait before it connects again, in milliseconds.
    """

    data: str = ""
    _: KW_ONLY
    type: str | None = None
    id: str | None = None
    retry_ms: int | None = None


# -- to bytes ----------------------------------------------------------------------------------------------------------


def encode_event(event: Event) -> bytes:
    """Return an event as it travels: id, event, retry, data, then an empty line.

    Raises:
        TypeError: the data is not text, or another part of another type.
        ValueError: a line end or a NUL in the type, an id that would not come back as Last-Event-ID, a negative time,
            or text that UTF-8 does not have.
    """
    lines = []
    if event.id is not None:
        lines.append(_field("id", event.id))
        if not is_event_id(event.id):
            raise ValueError(
                f"an id must have at most {MAX_ID_CHARACTERS} characters and none that controls, "
                f"or it would not come back as Last-Event-ID: {clip(event.id)}"
            )
    if event.type is not None:
        lines.append(_field("event", event.type))
    if event.retry_ms is not None:
        lines.append(_retry(event.retry_ms))
    data = event.data
    if not isinstance(data, str):
        raise TypeError(f"the data of an event must be a str, not {type(data).__qualname__}; json.dumps() makes one")
    lines.extend(f"data: {line}" if line else "data" for line in _lines(data))
    lines.append("\n")
    return "\n".join(lines).encode()


def is_event_id(text: str) -> bool:
    """Tell whether an id comes back: as Last-Event-ID, in a header field that a server of ours reads."""
    return len(text) <= MAX_ID_CHARACTERS and not any(sign < " " or "\x7f" <= sign <= "\x9f" for sign in text)


def encode_comment(text: str = "") -> bytes:
    """Return a comment, which readers ignore; a line of it a line.

    Raises:
        ValueError: text that UTF-8 does not have.
    """
    return "".join(f": {line}\n" if line else ":\n" for line in _lines(text)).encode() + b"\n"


def encode_retry(milliseconds: int) -> bytes:
    """Return what sets a reader's time to wait before it connects again, and is no event.

    Raises:
        TypeError, ValueError: it is no whole number of at least 0.
    """
    return f"{_retry(milliseconds)}\n\n".encode()


def _lines(text: str) -> list[str]:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.split("\n")


def _field(name: str, value: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"the {name} of an event must be a str, not {type(value).__qualname__}")
    if "\n" in value or "\r" in value or "\0" in value:
        raise ValueError(f"the {name} of an event must be one line without NUL, not {clip(value)}")
    return f"{name}: {value}" if value else name


def _retry(milliseconds: int) -> str:
    if type(milliseconds) is not int:  # True is one, to isinstance
        raise TypeError(f"retry_ms must be an int, not {clip(milliseconds)}")
    if milliseconds < 0:
        raise ValueError(f"retry_ms must be at least 0, not {milliseconds}")
    return f"retry: {milliseconds}"


# -- from bytes --------------------------------------------------------------------------------------------------------


class EventDecoder:
    """Events out of the bytes of one stream.

    ``feed`` it what has come, then call ``next_event`` until it returns None. What is unfinished when the stream ends
    is no event.

    Args:
        max_event_bytes: bound on one line, and on the data lines of one event together, as they travel.
        last_event_id: where an earlier stream stopped, which this one goes on from.
    Attributes:
        last_event_id: the id that was said last, in a block that is complete; None before any.
        retry_ms: how long to wait before connecting again, as the server said last; None before it did.
    """

    __slots__ = (
        "_after_cr",
        "_begun",
        "_begun_line",
        "_data",
        "_data_bytes",
        "_id",
        "_lines",
        "_max",
        "_retry_ms",
        "_too_large",
        "_type",
        "last_event_id",
        "retry_ms",
    )

    def __init__(self, max_event_bytes: int, last_event_id: str | None = None) -> None:
        self._max = max_event_bytes
        self.last_event_id = self._id = last_event_id
        self.retry_ms: int | None = None
        self._lines: Iterator[bytes] = iter(())
        self._begun_line = bytearray()
        self._after_cr = False
        self._begun = False
        self._too_large = False
        self._type = ""
        self._data: bytearray | None = None
        self._data_bytes = 0
        self._retry_ms: int | None = None

    def feed(self, data: bytes) -> None:
        """Take what has come next, once ``next_event`` has returned None."""
        if not data:
            return
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]  # the second half of a CRLF whose line has ended already
        self._after_cr = data.endswith(b"\r")
        lines = data.splitlines()  # of bytes: at CR, LF and CRLF alone
        unfinished = lines.pop() if data and not data.endswith((b"\n", b"\r")) else b""
        if lines and self._begun_line:
            lines[0] = bytes(self._begun_line + lines[0])
            self._begun_line.clear()
        self._begun_line += unfinished
        self._lines = iter(lines)

    def next_event(self) -> Event | None:
        """Return the next event, None when more has to come first.

        Raises:
            LimitError: ``max_event_bytes``: a line, or the data of an event, passes it; nothing comes after that.
        """
        if self._too_large:
            raise self._limit_error()
        for line in self._lines:
            if line:
                self._take(line)
            elif (event := self._finish()) is not None:
                return event
        if len(self._begun_line) > self._max:
            raise self._limit_error()
        return None

    def _take(self, line: bytes) -> None:
        """Take a line that is not empty."""
        if len(line) > self._max:
            raise self._limit_error()
        if not self._begun:
            self._begun = True
            line = line.removeprefix(codecs.BOM_UTF8)
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data_bytes += len(line) + 1  # as it travelled: a million empty lines are no small event
            if self._data_bytes > self._max + 1:
                raise self._limit_error()
            if self._data is None:
                self._data = bytearray(value)
            else:
                self._data += b"\n"
                self._data += value
        elif name == b"event":
            self._type = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) <= _RETRY_DIGITS:  # of bytes: ASCII digits alone
            self.retry_ms = self._retry_ms = int(value)

    def _finish(self) -> Event | None:
        """Take an empty line: what came before it is complete, and is an event if it had data."""
        self._begun = True
        self.last_event_id = self._id
        data, self._data, self._data_bytes = self._data, None, 0
        kind, self._type = self._type, ""
        retry_ms, self._retry_ms = self._retry_ms, None
        if data is None:
            return None
        return Event(data.decode("utf-8", "replace"), type=kind or "message", id=self._id, retry_ms=retry_ms)

    def _limit_error(self) -> LimitError:
        self._too_large = True
        return LimitError(f"an event passes max_event_bytes={self._max}", limit="max_event_bytes", bound=self._max)
