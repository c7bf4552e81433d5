"""Every exception that triohttp raises on its own account: one tree, data first, text second.

Rule 1: this file imports nothing of ours; every room may import it.
Rule 2: a class exists where a caller would want to act differently, not for every cause; causes are ``slug``.
Rule 3: where a builtin or a trio class already means the same, the class inherits from it too.
Rule 4: blame is part of the type: ``Local…`` is our program's mistake, ``Remote…`` is the peer's.
Rule 5: ``status`` is what a server answers when nobody catches the error; None means there is nobody to answer.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import trio

__all__ = [
    "AuthError",
    "BodyStateError",
    "BodyTooLargeError",
    "BodyTruncatedError",
    "ClientClosedError",
    "ConnectError",
    "ConnectTimeout",
    "ContentError",
    "DisconnectedError",
    "HandshakeError",
    "HeadTimeout",
    "HeadTooLargeError",
    "InactivityError",
    "InternalError",
    "InvalidCookieError",
    "InvalidHeaderError",
    "InvalidURLError",
    "LimitError",
    "LocalProtocolError",
    "PoolTimeout",
    "ProtocolError",
    "ProxyError",
    "ReadTimeout",
    "RedirectError",
    "RemoteProtocolError",
    "RoutingError",
    "SlowReaderError",
    "StatusError",
    "TLSError",
    "TooManyFieldsError",
    "TooManyRedirectsError",
    "TotalTimeout",
    "TransportError",
    "TrioHTTPError",
    "WebSocketClosedError",
    "WebSocketError",
    "WriteTimeout",
    "check_count",
    "clip",
]


def clip(value: object, length: int = 80) -> str:
    """Return ``repr(value)`` cut to ``length`` characters, control characters escaped, for use in a message."""
    text = ascii(value)
    return text if len(text) <= length else text[: length - 1] + "…"


def check_count(name: str, value: object, least: int) -> None:
    """Raise ValueError for an option that is no whole number of at least ``least``; True is none."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, not {clip(value)}")


class TrioHTTPError(Exception):
    """The root of every error that triohttp raises on its own account."""

    status: ClassVar[int | None] = 500


# -- values that a program gave us -------------------------------------------------------------------------------------


class InvalidHeaderError(TrioHTTPError, ValueError):
    """A header field name or value that must not go on the wire (RFC 9110 §5.1, §5.5).

    Attributes:
        name: the field's name as given.
    """

    def __init__(self, message: str, *, name: str | bytes = "") -> None:
        super().__init__(message)
        self.name = name


class InvalidCookieError(TrioHTTPError, ValueError):
    """A cookie that browsers would drop, or that must not go on the wire (RFC 6265 §4.1, RFC 6265bis §4.1.3)."""


class InvalidURLError(TrioHTTPError, ValueError):
    """A URL that is malformed, or that browsers and servers would read differently (RFC 3986)."""


# -- the protocol ------------------------------------------------------------------------------------------------------


class ProtocolError(TrioHTTPError):
    """Somebody broke HTTP; the subclass says who.

    Attributes:
        slug: a short stable word for the cause, the one that the reject log uses, such as ``te-and-cl``.
    """

    def __init__(self, message: str, *, slug: str = "protocol") -> None:
        super().__init__(message)
        self.slug = slug


class LocalProtocolError(ProtocolError):
    """This program asked for something that HTTP does not allow at this point; nothing went out."""


class RemoteProtocolError(ProtocolError):
    """The peer broke HTTP; the connection is of no further use.

    Attributes:
        slug: the cause.
        suggested_status: what a server answers before it closes, None for closing without an answer.
        at: the place in the message: ``head``, ``content`` or ``trailers``.
        received: bytes of that part received so far.
        detail: the offending bytes, at most 80.
    """

    status: ClassVar[int | None] = 400

    def __init__(
        self,
        message: str,
        *,
        slug: str,
        suggested_status: int | None = 400,
        at: str = "head",
        received: int = 0,
        detail: bytes = b"",
    ) -> None:
        super().__init__(message, slug=slug)
        self.suggested_status = suggested_status
        self.at = at
        self.received = received
        self.detail = bytes(detail[:80])


# -- the transport -----------------------------------------------------------------------------------------------------


class TransportError(TrioHTTPError):
    """The bytes could not be moved.

    Attributes:
        phase: what was going on: ``pool``, ``connect``, ``tls``, ``send``, ``head``, ``content``, …
        sent: True when bytes of the request may have reached the peer.
        safe_to_retry: True when the peer has certainly not acted on the request.
    """

    status: ClassVar[int | None] = None

    def __init__(self, message: str, *, phase: str = "", sent: bool = False, safe_to_retry: bool = False) -> None:
        super().__init__(message)
        self.phase = phase
        self.sent = sent
        self.safe_to_retry = safe_to_retry


class ConnectError(TransportError):
    """No connection could be opened: name resolution, TCP or a proxy failed."""


class TLSError(ConnectError):
    """The TLS handshake failed: an unknown authority, a wrong name, an expired certificate, or no common version."""


class ProxyError(ConnectError):
    """A proxy could not be used: nobody was there, it refused the tunnel, or it did not speak its protocol.

    Attributes:
        code: the status that an HTTP proxy refused the tunnel with, None when it gave none.
        content: what it said about that, at most 64 KiB.
    """

    def __init__(
        self, message: str, *, code: int | None = None, content: bytes = b"", safe_to_retry: bool = True
    ) -> None:
        super().__init__(message, phase="proxy", safe_to_retry=safe_to_retry)
        self.code = code
        self.content = content


class DisconnectedError(TransportError):
    """The peer went away before the exchange was over.

    Attributes:
        received: bytes of content that had come in by then.
        expected: bytes that the peer had announced, None when it had not.
    """

    def __init__(
        self,
        message: str,
        *,
        phase: str = "",
        sent: bool = False,
        safe_to_retry: bool = False,
        received: int = 0,
        expected: int | None = None,
    ) -> None:
        super().__init__(message, phase=phase, sent=sent, safe_to_retry=safe_to_retry)
        self.received = received
        self.expected = expected


class BodyTruncatedError(DisconnectedError):
    """The peer ended the connection in the middle of a message's content (RFC 9112 §8)."""

    status: ClassVar[int | None] = 400


class ClientClosedError(TransportError):
    """The client was not open, or was closed before the exchange was over."""


class InactivityError(TransportError, trio.TooSlowError):
    """A deadline of a phase passed; a ``trio.TooSlowError`` with the phase's name and its bound.

    Attributes:
        seconds: the bound that passed, in seconds.
    """

    status: ClassVar[int | None] = 408

    def __init__(
        self,
        message: str,
        *,
        phase: str = "",
        seconds: float | None = None,
        sent: bool = False,
        safe_to_retry: bool = False,
    ) -> None:
        super().__init__(message, phase=phase, sent=sent, safe_to_retry=safe_to_retry)
        self.seconds = seconds


class PoolTimeout(InactivityError):
    """No connection became free in ``ClientTimeouts.pool_seconds``."""


class ConnectTimeout(InactivityError):
    """DNS, TCP, proxy and TLS together took longer than ``ClientTimeouts.connect_seconds``."""


class HeadTimeout(InactivityError):
    """The final response head had not come ``ClientTimeouts.head_seconds`` after the request."""


class ReadTimeout(InactivityError):
    """No content came for ``read_idle_seconds`` (client) or ``body_idle_seconds`` (server), or it came too slowly."""


class WriteTimeout(InactivityError):
    """The peer took nothing for ``write_idle_seconds`` (client) or ``write_stall_seconds`` (server)."""


class TotalTimeout(InactivityError):
    """The whole exchange took longer than ``ClientTimeouts.total_seconds``, or a call than its ``timeout``."""


# -- limits ------------------------------------------------------------------------------------------------------------


class LimitError(TrioHTTPError):
    """A bound of ``Limits`` or ``ClientLimits`` was passed.

    Attributes:
        limit: the bound's field name, such as ``max_body_bytes``.
        bound: its value, in that field's unit.
    """

    def __init__(self, message: str, *, limit: str = "", bound: int | None = None) -> None:
        super().__init__(message)
        self.limit = limit
        self.bound = bound


class HeadTooLargeError(LimitError, RemoteProtocolError):
    """The peer's head passed ``max_head_bytes`` or one of its lines ``max_line_bytes``."""

    status: ClassVar[int | None] = 431

    def __init__(
        self,
        message: str,
        *,
        limit: str,
        bound: int,
        slug: str = "head-too-large",
        suggested_status: int | None = 431,
        at: str = "head",
        received: int = 0,
        detail: bytes = b"",
    ) -> None:
        RemoteProtocolError.__init__(
            self, message, slug=slug, suggested_status=suggested_status, at=at, received=received, detail=detail
        )
        self.limit = limit
        self.bound = bound


class TooManyFieldsError(HeadTooLargeError):
    """The peer's head or trailers passed ``max_fields`` or ``max_trailer_fields``."""


class BodyTooLargeError(LimitError):
    """The content passed ``max_body_bytes``, after content decoding where decoding applies."""

    status: ClassVar[int | None] = 413


class TooManyRedirectsError(LimitError):
    """A request was redirected more than ``ClientLimits.max_redirects`` times.

    Attributes:
        history: the answers that redirected, the oldest first.
    """

    def __init__(self, message: str, *, bound: int, history: tuple[object, ...] = ()) -> None:
        super().__init__(message, limit="max_redirects", bound=bound)
        self.history = history


class SlowReaderError(LimitError):
    """A reader did not keep up: a bounded buffer whose policy is ``close`` was full."""


# -- content, state, routing -------------------------------------------------------------------------------------------


class ContentError(TrioHTTPError, ValueError):
    """Content, query or cookies that cannot be read as what they claim to be: JSON, text in a charset, a form.

    Attributes:
        reason: the cause in one word, such as ``json``, ``charset`` or ``too-many-fields``.
    """

    status: ClassVar[int | None] = 400

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class BodyStateError(TrioHTTPError, RuntimeError):
    """The program read, wrote or changed a message at a point where that is no longer possible."""


class RedirectError(TrioHTTPError):
    """A redirect that must not be followed, or cannot be; its target was not asked.

    Attributes:
        reason: the cause in one word: ``location`` (it is no http URL), ``downgrade`` (from https to http), ``content``
            (the request's content would go to another origin) or ``replay`` (its content can be sent only once).
        code: the status that redirected.
        location: where to, as the server said it.
    """

    def __init__(self, message: str, *, reason: str, code: int, location: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = code
        self.location = location


class AuthError(TrioHTTPError):
    """Credentials could not be had, or a challenge cannot be answered; the request was not sent with them.

    Attributes:
        reason: the cause in one word, such as ``token``, ``challenge`` or ``file``.
    """

    def __init__(self, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class StatusError(TrioHTTPError):
    """``raise_for_status`` met a 4xx or 5xx answer, or an upgrade or a request for events was answered otherwise.

    Attributes:
        code: the status code of the answer.
        content: the answer's content; its first 64 KiB when it was streamed.
    """

    def __init__(self, message: str, *, code: int, content: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.content = content


class WebSocketError(TrioHTTPError):
    """Something about a WebSocket went wrong; the subclass says what."""


class HandshakeError(WebSocketError):
    """The server did not open the WebSocket that a client asked for (RFC 6455 §4.1).

    Attributes:
        code: the status code of the server's answer; 101 when it said yes in a way that does not count.
        content: the first 64 KiB of an answer that said no.
    """

    def __init__(self, message: str, *, code: int, content: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.content = content


class WebSocketClosedError(WebSocketError, trio.BrokenResourceError):
    """The WebSocket is over, and not by a close of this program's that went well.

    Attributes:
        code: the close code: the peer's, the one that this end closed with after the peer broke the protocol or a
            bound, 1005 for a close without one, 1006 for a connection that ended without a close (RFC 6455 §7.4.1).
        reason: what the close frame said, or what went wrong.
        by: ``peer`` or ``self``: whose close frame came first; None without any.
    """

    status: ClassVar[int | None] = None

    def __init__(
        self, message: str, *, code: int, reason: str = "", by: Literal["peer", "self"] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.by = by


class RoutingError(TrioHTTPError, ValueError):
    """A route that cannot be added, or a name that cannot be reversed."""


class InternalError(TrioHTTPError):
    """A bug of triohttp itself; please report it with its traceback."""
