"""What a wire turns bytes into, and the face that every wire shows to a connection.

Rule 1: no awaiting, no clock, no sockets: bytes in, events out; events in, bytes out.
Rule 2: content is plain ``bytes``; heads are the values of ``_values.message``; the rest are the signals below.
Rule 3: whatever the peer does wrong raises RemoteProtocolError with its slug and suggested status, once; after that
``next_event`` raises the same error again and nothing more is parsed.
"""

from __future__ import annotations

import enum
from typing import Protocol, TypeAlias

from triohttp._values.headers import Headers
from triohttp._values.message import RequestHead, ResponseHead

__all__ = ["EndOfContent", "Event", "FieldLines", "Role", "Signal", "Wire"]

FieldLines: TypeAlias = list[tuple[bytes, bytes]]


class Role(enum.Enum):
    """Which end of a connection we are."""

    CLIENT = "client"
    SERVER = "server"


class Signal(enum.Enum):
    """What ``next_event`` says when there is no event."""

    NEED_DATA = "need data"
    """Feed more bytes (or ``b""`` for the end of the stream)."""
    PAUSED = "paused"
    """Nothing more is parsed before ``start_next_cycle`` (pipelining) or a take-over."""
    ENDED = "ended"
    """The peer ended the stream between two messages."""


class EndOfContent:
    """The end of a message, with its trailer section if it had one."""

    __slots__ = ("trailers",)

    def __init__(self, trailers: Headers | None = None) -> None:
        self.trailers = trailers


Event: TypeAlias = RequestHead | ResponseHead | bytes | EndOfContent | Signal


class Wire(Protocol):
    """One connection's protocol state, for either role."""

    role: Role
    incoming_length: int | None
    """After a head event: bytes of content announced, None for chunked or close-delimited."""
    close_delimited: bool
    """After a response head: its content ends where the stream ends."""
    close_after: bool
    """Set it to have ``Connection: close`` put into the next head that goes out."""

    @property
    def head_started(self) -> bool:
        """Bytes of a head have come in, but not its end; empty lines in front of it count."""
        ...

    @property
    def announced(self) -> int:
        """Bytes of content that the peer has announced so far: its Content-Length, or the sizes of the chunks begun."""
        ...

    @property
    def expects_continue(self) -> bool:
        """The client waits for 100 (Continue) and none of its content has come in."""
        ...

    @property
    def keep_alive(self) -> bool:
        """Both heads, as far as they are known, allow another exchange on this connection."""
        ...

    @property
    def at_cycle_end(self) -> bool:
        """Both messages are complete and ``start_next_cycle`` may be called."""
        ...

    @property
    def buffered(self) -> bytes:
        """Bytes received but not yet made into events."""
        ...

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; ``b""`` is the end of its stream."""
        ...

    def next_event(self) -> Event:
        """Return the next event, or the signal that says why there is none.

        Raises:
            RemoteProtocolError: the peer broke HTTP; raised again by every later call.
        """
        ...

    def take_whole_content(self) -> bytes | None:
        """Return the content that a head has just announced, and end the message, when all of it has come in.

        None otherwise, and whenever there is more to say about it: ``next_event`` tells it then, piece by piece.
        """
        ...

    def start_next_cycle(self) -> None:
        """Begin the next exchange; both messages of this one are complete."""
        ...

    def send_request(self, method: str, target: str, fields: FieldLines, length: int | None) -> bytes:
        """Return the bytes of a request head; ``length`` of the content decides the framing, None means chunked."""
        ...

    def send_response(self, status: int, fields: FieldLines, length: int | None) -> bytes:
        """Return the bytes of a final response head; None means chunked, or closing for an HTTP/1.0 client."""
        ...

    def send_interim(self, status: int, fields: FieldLines) -> bytes:
        """Return the bytes of a 1xx response, 101 included."""
        ...

    def send_content(self, data: bytes) -> bytes:
        """Return the bytes of some content, framed as the head announced it."""
        ...

    def send_end(self, trailers: Headers | None = None) -> bytes:
        """Return the bytes that end a message; trailers go out only where the framing is chunked."""
        ...

    def take_over(self) -> bytes:
        """Stop being HTTP and return what was received after the last message."""
        ...
