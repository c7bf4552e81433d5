"""Responses: what a handler returns.

Rule 1: making one allocates a head and nothing more; what is constant about it (field lines) is shared bytes.
Rule 2: what cannot go on the wire is refused where it is set, not where it is sent.
Rule 3: a response answers one request; once its head is out (``sent``), changing the head raises.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import NoReturn, TypeAlias, Unpack
from urllib.parse import quote

from triohttp._values import json
from triohttp._values.cookies import SameSite, format_set_cookie
from triohttp._values.headers import Headers, HeadersInit, check_trailers
from triohttp._values.message import ResponseHead
from triohttp._values.status import check_status
from triohttp.errors import BodyStateError, InvalidHeaderError, clip

from .event_feed import EventFeed, EventOptions, Events, event_head

__all__ = ["Chunks", "Response", "SentHeaders", "Source", "encode_location"]

Chunks: TypeAlias = "Iterable[bytes] | AsyncIterable[bytes]"
"""Content piece by piece."""
Source: TypeAlias = "Chunks | EventFeed"
"""What the content of a response comes from that has not got it whole."""

_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_HTML = (b"Content-Type", b"text/html; charset=utf-8")
_JSON = (b"Content-Type", b"application/json")
_REFERENCE_SAFE = "%!#$&'()*+,/:;=?@[]~"  # RFC 3986 §2.2, and "%": the reference may be encoded already


class SentHeaders(Headers):
    """Header fields that are on the wire: they can be read, and changing them raises BodyStateError."""

    __slots__ = ()

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise BodyStateError("the head of this response has been sent; its fields cannot be changed any more")

    add = __setitem__ = __delitem__ = update = clear = setdefault = pop = popitem = _refuse


class Response:
    """An answer: a status, header fields and content.

    ``Response(b"…")`` is for bytes; ``text``, ``html``, ``json``, ``redirect``, ``stream`` and ``events`` make others.

    Args:
        content: the content.
        status: the status code, from 200 to 599.
        headers: the header fields.
        media_type: the Content-Type, unless ``headers`` has one; ``application/octet-stream`` for content without.
        trailers: fields to send behind the content; it then goes out chunked.
    Raises:
        ValueError: the status is none, or a header field must not go on the wire, or not there.
        TypeError: the content is not bytes.
    """

    __slots__ = ("_content", "_head", "_sent", "_stream", "_trailers")

    def __init__(
        self,
        content: bytes = b"",
        *,
        status: int = 200,
        headers: HeadersInit | None = None,
        media_type: str | None = None,
        trailers: HeadersInit | None = None,
    ) -> None:
        fields = Headers(headers if headers is not None else ())
        if (media_type is not None or content) and "content-type" not in fields:
            fields.add("Content-Type", media_type if media_type is not None else "application/octet-stream")
        self._head = ResponseHead(_final_status(status), fields)
        self._sent = False
        self.content = content
        self._trailers = None if trailers is None else check_trailers(trailers)
        self._stream: Source | None

    @classmethod
    def _of(cls, content: bytes, line: tuple[bytes, bytes], status: int, headers: HeadersInit | None) -> Response:
        """Return a response with ``line`` as its Content-Type, unless ``headers`` has one."""
        self = cls.__new__(cls)
        if headers is None:
            fields = Headers.from_wire([line])
        else:
            fields = Headers(headers)
            if "content-type" not in fields:
                fields.add(*line)
        self._head = ResponseHead(200 if status == 200 else _final_status(status), fields)
        self._content = content
        self._stream = None
        self._sent = False
        self._trailers = None
        return self

    @classmethod
    def text(cls, text: str, *, status: int = 200, headers: HeadersInit | None = None) -> Response:
        """Return ``text`` as ``text/plain`` in UTF-8."""
        return cls._of(_encode(text, "text"), _TEXT, status, headers)

    @classmethod
    def html(cls, html: str, *, status: int = 200, headers: HeadersInit | None = None) -> Response:
        """Return ``html`` as ``text/html`` in UTF-8; escaping is the caller's."""
        return cls._of(_encode(html, "html"), _HTML, status, headers)

    @classmethod
    def json(cls, value: object, *, status: int = 200, headers: HeadersInit | None = None) -> Response:
        """Return ``value`` as JSON.

        Raises:
            TypeError, ValueError: the value has no JSON.
        """
        return cls._of(json.dumps(value), _JSON, status, headers)

    @classmethod
    def redirect(cls, location: str, *, status: int = 303, headers: HeadersInit | None = None) -> Response:
        """Send the client to ``location``, a URL or a reference relative to the request's (RFC 9110 §10.2.2).

        What a URL cannot hold as it is, spaces and non-ASCII, is percent-encoded.

        Args:
            location: where to; a path such as ``/login`` keeps scheme and host whatever the client believes them to be.
            status: 303 (the default) has the client fetch the location; 307 and 308 have it repeat its request.
            headers: other header fields.
        Raises:
            ValueError: the location is empty or holds control characters, or the status is not 3xx.
        """
        if not 300 <= check_status(status) <= 399:
            raise ValueError(f"the status of a redirect must be from 300 to 399, not {status!r}")
        response = cls(status=status, headers=headers)
        response.headers["Location"] = encode_location(location)
        return response

    @classmethod
    def stream(
        cls,
        chunks: Chunks,
        *,
        status: int = 200,
        headers: HeadersInit | None = None,
        media_type: str = "application/octet-stream",
        trailers: HeadersInit | None = None,
    ) -> Response:
        """Return an answer whose content comes from an iterable, synchronous or asynchronous.

        It is iterated and closed (``aclose`` or ``close``) in the task of the request. A Content-Length among
        ``headers`` announces the length; else the content is chunked. A handler that produces its content by itself
        is clearer with ``request.respond``, whose block ends after the last byte.
        """
        if isinstance(chunks, (str, bytes, bytearray, memoryview)) or not isinstance(chunks, (Iterable, AsyncIterable)):
            raise TypeError(f"a stream must be an iterable of bytes, not {clip(chunks)}")
        self = cls(status=status, headers=headers, media_type=media_type, trailers=trailers)
        self._stream = chunks
        return self

    @classmethod
    def events(cls, events: Events, **options: Unpack[EventOptions]) -> Response:
        """Return an answer of server-sent events that come from a channel made elsewhere.

        Events are received and sent in the task of the request, as ``request.events`` would send them. When the channel
        ends, so does the stream; when receiving raises, it is cut. The channel is closed in the end. A handler that
        makes its events itself is clearer with ``request.events``.

        Args:
            events: a ``trio.abc.ReceiveChannel``, or another asynchronous iterable, of ``Event`` and ``str``.
            options: see ``EventOptions``.
        Raises:
            TypeError, ValueError: it is no such thing, or an option has a value that nobody knows.
        """
        self = cls()
        self._stream = EventFeed(events, **options)
        self._head = event_head(options.get("headers"))
        return self

    # -- the head ------------------------------------------------------------------------------------------------------

    @property
    def status(self) -> int:
        """The status code; setting it after the head is out raises BodyStateError."""
        return self._head.status

    @status.setter
    def status(self, status: int) -> None:
        if self._sent:
            raise BodyStateError("the head of this response has been sent; its status cannot be changed any more")
        self._head.status = _final_status(status)

    @property
    def headers(self) -> Headers:
        """The header fields; changing them after the head is out raises BodyStateError."""
        headers = self._head.headers
        if self._sent and type(headers) is Headers:
            headers.__class__ = SentHeaders  # the same layout; whoever kept a reference sees it too
        return headers

    @property
    def head(self) -> ResponseHead:
        """The head as the wire takes it."""
        return self._head

    @property
    def sent(self) -> bool:
        """Whether the head is out, or the response has been handed over to be sent."""
        return self._sent

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | None = None,
        expires: float | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = True,
        http_only: bool = True,
        same_site: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Have the client keep a cookie; one that this response sets under the same name, path and domain is replaced.

        Args:
            max_age: seconds that it is kept; None, without ``expires``, keeps it as long as the browser runs.
            expires: when it ends, in seconds since the epoch.
            path: paths that it is sent for, and all below.
            domain: host, with those below it, that it is sent to; None for the host that set it alone.
            secure: send it over https only, and to localhost.
            http_only: hide it from scripts.
            same_site: ``strict``, ``lax`` or ``none``: whether it is sent with requests that other sites cause.
            partitioned: keep it apart for each site that embeds this one.
        Raises:
            InvalidCookieError: a part of it cannot be in a cookie, or a name's prefix asks for what is not there.
        Source: RFC 6265bis §4.1.
        """
        line = format_set_cookie(
            name,
            value,
            max_age=max_age,
            expires=expires,
            path=path,
            domain=domain,
            secure=secure,
            http_only=http_only,
            same_site=same_site,
            partitioned=partitioned,
        )
        headers = self.headers
        identity = _cookie_identity(line)
        others = [other for other in headers.get_all("Set-Cookie") if _cookie_identity(other) != identity]
        if len(others) != len(headers.get_all("Set-Cookie")):
            del headers["Set-Cookie"]
            for other in others:
                headers.add("Set-Cookie", other)
        headers.add("Set-Cookie", line)

    def delete_cookie(
        self,
        name: str,
        *,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = True,
        same_site: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Have the client forget a cookie; everything must be as it was set, else clients do not take it for the same.

        ``secure`` and ``same_site`` too: what browsers would not let a response set, it cannot delete either.
        """
        self.set_cookie(
            name,
            "",
            max_age=0,
            expires=0.0,
            path=path,
            domain=domain,
            secure=secure,
            same_site=same_site,
            partitioned=partitioned,
        )

    # -- the content ---------------------------------------------------------------------------------------------------

    @property
    def content(self) -> bytes:
        """The content, ``b""`` for a stream, which setting it drops; once it is out, setting raises BodyStateError."""
        return self._content

    @content.setter
    def content(self, content: bytes) -> None:
        if not isinstance(content, bytes):
            raise TypeError(f"content must be bytes, not {type(content).__qualname__}; Response.text is for str")
        if self._sent:
            raise BodyStateError("this response has been sent; its content cannot be changed any more")
        self._content = content
        self._stream = None

    @property
    def trailers(self) -> Headers | None:
        """The fields behind the content, None for none; a stream may set or fill them while it runs.

        Setting takes what a Headers can be made of, and raises InvalidHeaderError for a field that must not be there.
        """
        return self._trailers

    @trailers.setter
    def trailers(self, trailers: HeadersInit | None) -> None:
        self._trailers = None if trailers is None else check_trailers(trailers)

    @property
    def streamed(self) -> bool:
        """Whether the content comes from an iterable or a channel."""
        return self._stream is not None

    def __repr__(self) -> str:
        what = "streamed" if self._stream is not None else f"{len(self._content)} bytes"
        return f"<Response {self.status} {self._head.headers.get('content-type', 'no type')} {what}>"


def _encode(text: str, name: str) -> bytes:
    try:
        return text.encode()
    except AttributeError:
        raise TypeError(f"{name} must be a str, not {type(text).__qualname__}") from None


def take_for_sending(response: Response) -> tuple[ResponseHead, bytes, Source | None]:
    """Mark ``response`` as sent and return what goes out.

    Raises:
        BodyStateError: it has been sent before, for this request or another one.
    """
    if response._sent:
        raise BodyStateError(f"{response!r} has been sent before; a Response answers one request")
    response._sent = True
    return response._head, response._content, response._stream


def sent_response(head: ResponseHead) -> Response:
    """Return the response that stands for an owned answer: a head that is out, no content that anybody could touch."""
    response = Response()
    response._head = head
    response._sent = True
    return response


def stream_of(response: Response) -> Source | None:
    """Return what a response's content comes from, None when it is there."""
    return response._stream


def encode_location(location: str) -> str:
    """Return a URL or relative reference as a Location field can say it.

    Raises:
        InvalidHeaderError: it is empty or holds control characters.
        TypeError: it is not a str.
    """
    if not isinstance(location, str):
        raise TypeError(f"a location must be a str, not {type(location).__qualname__}")
    if not location or any(character < " " or character == "\x7f" for character in location):
        raise InvalidHeaderError(f"a location must hold no control characters, not {clip(location)}", name="Location")
    return quote(location, safe=_REFERENCE_SAFE)  # a backslash too, which browsers would read as a slash


def _final_status(status: int) -> int:
    if check_status(status) < 200:
        raise ValueError(f"a final status must be from 200 to 599, not {status!r}; request.inform sends interim ones")
    return status


def _cookie_identity(line: str) -> tuple[str, Mapping[str, str]]:
    """Return what tells one cookie from another: name, path and domain of a Set-Cookie line that we wrote."""
    pair, *attributes = line.split(";")
    where = {}
    for attribute in attributes:
        name, _, value = attribute.strip().partition("=")
        if name.lower() in ("path", "domain"):
            where[name.lower()] = value
    return pair.partition("=")[0], where
