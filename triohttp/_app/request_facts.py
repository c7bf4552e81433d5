"""What a request says of itself, and where it came from: everything about it that can be told without answering it.

Rule 1: nothing is parsed before it is asked for, and nothing twice.
Rule 2: no ``repr`` shows a query, a cookie or a credential.
"""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import unquote

from triohttp._values.cookies import Cookies, parse_cookies
from triohttp._values.dates import parse_http_date
from triohttp._values.entity_tags import EntityTag, EntityTags
from triohttp._values.headers import Headers
from triohttp._values.media_types import MediaType
from triohttp._values.message import Address, RequestHead, TLSInfo
from triohttp._values.query import Query
from triohttp._values.service import Exchange
from triohttp._values.url import URL
from triohttp._wire.sse import MAX_ID_CHARACTERS, is_event_id
from triohttp.errors import BodyTooLargeError, ContentError, InvalidURLError, TrioHTTPError

__all__ = ["RequestFacts"]



class RequestFacts:
    """The facts of one exchange's request; ``Request`` adds content and answers."""

    __slots__ = ("_cookies", "_exchange", "_fault", "_query")

    _cookies: Cookies
    _query: Query

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._fault: TrioHTTPError | None = None

    # -- the head ------------------------------------------------------------------------------------------------------

    @property
    def head(self) -> RequestHead:
        """The head as the wire had it."""
        return self._exchange.head

    @property
    def method(self) -> str:
        """The method, such as ``GET``."""
        return self._exchange.head.method

    @property
    def version(self) -> str:
        """The version of HTTP, such as ``1.1``."""
        return self._exchange.head.version

    @property
    def headers(self) -> Headers:
        """The header fields."""
        return self._exchange.head.headers

    @property
    def url(self) -> URL:
        """The URL that the request is for, its path and query as they came (RFC 9110 §7.1).

        The authority is what the client says; nobody has checked that it is one of ours.

        Raises:
            ContentError: the authority is none.
        """
        head = self._exchange.head
        authority = head.authority
        if not authority:  # HTTP/1.0 without Host
            local = self._exchange.info.local
            authority = f"{local[0]}:{local[1]}" if isinstance(local, tuple) and ":" not in local[0] else "localhost"
        try:
            return URL.from_request(head.scheme, authority, head.target)
        except InvalidURLError as exc:
            self._refuse(ContentError(str(exc), reason="url"), exc)

    @property
    def target(self) -> str:
        """The request target as it came: path and query, ``*``, or for CONNECT an authority."""
        return self._exchange.head.target

    @property
    def raw_path(self) -> str:
        """The path as it came, percent-encoded; ``*`` or an authority where the request has no path."""
        return self._exchange.head.target.partition("?")[0]

    @property
    def path(self) -> str:
        """The path for people: decoded once, as a whole: ``%2F`` looks like a slash. Routing does not use it."""
        return unquote(self.raw_path)

    @property
    def query(self) -> Query:
        """The fields of the query.

        Raises:
            ContentError: there are more than ``max_query_fields``.
        """
        try:
            return self._query
        except AttributeError:
            pass
        try:
            self._query = Query.parse(
                self._exchange.head.target.partition("?")[2], max_fields=self._exchange.limits.max_query_fields
            )
        except ContentError as exc:
            self._refuse(exc)
        return self._query

    @property
    def cookies(self) -> Cookies:
        """The cookies.

        Raises:
            ContentError: there are more than ``max_cookies``.
        """
        try:
            return self._cookies
        except AttributeError:
            pass
        limits = self._exchange.limits
        try:
            self._cookies = parse_cookies(self.headers.get_all("cookie"), max_pairs=limits.max_cookies)
        except ContentError as exc:
            self._refuse(exc)
        return self._cookies

    @property
    def media_type(self) -> MediaType | None:
        """The type of the content; None when the client names none, or nothing that is one."""
        value = self.headers.get("content-type")
        if value is None:
            return None
        try:
            return MediaType.parse(value)
        except ValueError:
            return None

    @property
    def charset(self) -> str | None:
        """The charset that the client names for its content, in lower case; None without one."""
        media_type = self.media_type
        return None if media_type is None else media_type.charset

    @property
    def content_length(self) -> int | None:
        """Bytes of content announced; 0 without content, None when only its end will tell."""
        return self._exchange.content_length

    @property
    def trailers(self) -> Headers | None:
        """The fields behind the content, once it has been received whole; None when there are none."""
        return self._exchange.content.trailers

    @property
    def if_match(self) -> EntityTags | None:
        """The entity tags of If-Match; None without it."""
        value = self.headers.get("if-match")
        return None if value is None else EntityTags.parse(value)

    @property
    def if_none_match(self) -> EntityTags | None:
        """The entity tags of If-None-Match; None without it."""
        value = self.headers.get("if-none-match")
        return None if value is None else EntityTags.parse(value)

    @property
    def if_range(self) -> EntityTag | float | None:
        """The entity tag, or the date in seconds since 1970, of If-Range; None without it, or when it is neither."""
        value = self.headers.get("if-range")
        if value is None:
            return None
        tag = EntityTag.parse(value)
        return tag if tag is not None else parse_http_date(value)

    @property
    def if_modified_since(self) -> float | None:
        """The date of If-Modified-Since in seconds since 1970; None without one, or one that is no date."""
        return self._date("if-modified-since")

    @property
    def if_unmodified_since(self) -> float | None:
        """The date of If-Unmodified-Since in seconds since 1970; None without one, or one that is no date."""
        return self._date("if-unmodified-since")

    @property
    def last_event_id(self) -> str | None:
        """The id after which a client wants its events to go on (Last-Event-ID).

        None without one, and for what is no id: longer than 256 characters, not UTF-8, or with control characters.
        """
        value = self.headers.get_bytes("last-event-id")
        if not value or len(value) > 4 * MAX_ID_CHARACTERS:
            return None
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return None
        return text if is_event_id(text) else None

    def _date(self, name: str) -> float | None:
        value = self.headers.get(name)
        return None if value is None else parse_http_date(value)

    # -- the connection ------------------------------------------------------------------------------------------------

    @property
    def peer(self) -> Address:
        """Where the client is: (host, port), the path of a Unix socket, or None."""
        return self._exchange.info.peer

    @property
    def tls(self) -> TLSInfo | None:
        """The facts of the TLS session; None without TLS."""
        return self._exchange.info.tls

    # -- blame ---------------------------------------------------------------------------------------------------------

    def _blame(self, error: TrioHTTPError) -> None:
        """Remember that the peer of this request caused ``error``."""
        self._fault = error

    def _refuse(self, error: ContentError | BodyTooLargeError, cause: Exception | None = None) -> NoReturn:
        self._fault = error
        raise error from cause
