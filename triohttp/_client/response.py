"""Answers as the client shows them: what every answer has, and the complete one.

Rule 1: header fields are the peer's, untouched; text and JSON are read from the content when asked for.
Rule 2: an answer that came is not an error, whatever its status; ``raise_for_status`` makes one of it.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import Self

from triohttp._values import json, status
from triohttp._values.cookies import SetCookie, parse_set_cookie
from triohttp._values.headers import Headers, HeadersInit
from triohttp._values.media_types import MediaType, find_codec
from triohttp._values.message import ResponseHead
from triohttp._values.url import URL
from triohttp.errors import ContentError, StatusError

from .links import Link, parse_links
from .request import ClientRequest

__all__ = ["ClientAnswer", "ClientResponse", "decode_text"]

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


def decode_text(content: bytes, headers: Headers, charset: str | None = None) -> str:
    """Return content as text, in ``charset``, else what a byte order mark, else what Content-Type says, else UTF-8.

    Raises:
        ContentError: ``charset``: it is unknown, or the content is not in it.
    Source: RFC 9110 §8.3.2; WHATWG Encoding §6 for the mark.
    """
    if charset is None:
        for mark, name in MARKS:
            if content.startswith(mark):
                content, charset = content[len(mark) :], name
                break
    if charset is None and (field := headers.get("content-type")) is not None:
        try:
            charset = MediaType.parse(field).charset
        except ContentError:
            charset = None
    codec = find_codec(charset or "utf-8")
    try:
        return content.decode(codec)
    except UnicodeDecodeError as exc:
        raise ContentError(f"the content is not {codec}: {exc.reason} at byte {exc.start}", reason="charset") from exc


class ClientAnswer:
    """What every answer of a server has.

    Attributes:
        request: what was asked, as it went out last.
        status: the status code.
        headers: the header fields.
        http_version: ``1.1`` or ``1.0``.
        interim: the interim (1xx) responses that came first, in order.
        codings: the content codings that are still on the content: nobody here knows one of them, it is a part of
            something (206), or the request said ``decode=False``.
        history: the answers that redirected here, the oldest first; nobody reads their content, so they have none.
        attempts: how often ``retry`` has sent the request; 1 where there is none.
    """

    __slots__ = ("attempts", "codings", "headers", "history", "http_version", "interim", "request", "status")

    def __init__(
        self,
        request: ClientRequest,
        status: int,
        headers: Headers,
        interim: Sequence[ResponseHead] = (),
        http_version: str = "1.1",
        codings: tuple[str, ...] = (),
    ) -> None:
        self.request = request
        self.codings = codings
        self.status = status
        self.headers = headers
        self.http_version = http_version
        self.interim = interim
        self.history: tuple[ClientResponse, ...] = ()
        self.attempts = 1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status} {self.reason} to {self.request}>"

    @property
    def url(self) -> URL:
        """The URL that answered."""
        return self.request.url

    @property
    def reason(self) -> str:
        """The registered phrase of the status; what the server wrote in its place means nothing (RFC 9112 §4)."""
        return status.reason_phrase(self.status)

    @property
    def is_success(self) -> bool:
        """The status is 2xx."""
        return status.is_success(self.status)

    @property
    def is_redirection(self) -> bool:
        """The status is 3xx."""
        return status.is_redirection(self.status)

    @property
    def is_client_error(self) -> bool:
        """The status is 4xx."""
        return status.is_client_error(self.status)

    @property
    def is_server_error(self) -> bool:
        """The status is 5xx."""
        return status.is_server_error(self.status)

    @property
    def is_error(self) -> bool:
        """The status is 4xx or 5xx."""
        return self.status >= 400

    @property
    def media_type(self) -> MediaType | None:
        """What Content-Type says, None when it says nothing or nonsense."""
        field = self.headers.get("content-type")
        try:
            return None if field is None else MediaType.parse(field)
        except ContentError:
            return None

    @property
    def cookies(self) -> dict[str, SetCookie]:
        """The cookies that this answer sets, by name; of several with one name the last counts."""
        found: dict[str, SetCookie] = {}
        for value in self.headers.get_all("set-cookie"):
            cookie = parse_set_cookie(value)
            if cookie is not None:
                found[cookie.name] = cookie
        return found

    @property
    def links(self) -> dict[str, Link]:
        """The links of the Link fields by relation, such as ``next``; of several with one relation the first counts."""
        return parse_links(self.headers.get_all("link"), self.url)

    def status_error(self, content: bytes) -> StatusError:
        """Return the error that this answer would be."""
        return StatusError(
            f"{self.status} {self.reason} in answer to {self.request}", code=self.status, content=content
        )


class ClientResponse(ClientAnswer):
    """A complete answer; the connection it came on is long with somebody else.

    Programs make one where they stand in for a server: in middleware, in tests.

    Args:
        request: what was asked.
        status: the status code.
        headers: the header fields.
        content: the whole content, decoded.
        trailers: the trailer section, None when there was none.
        interim, http_version, codings: as in ``ClientAnswer``.
        elapsed: seconds from the call to the last byte.
    """

    __slots__ = ("content", "elapsed", "trailers")

    def __init__(
        self,
        request: ClientRequest,
        status: int = 200,
        headers: HeadersInit = (),
        content: bytes = b"",
        *,
        trailers: Headers | None = None,
        interim: Sequence[ResponseHead] = (),
        http_version: str = "1.1",
        codings: tuple[str, ...] = (),
        elapsed: float = 0.0,
    ) -> None:
        fields = headers if isinstance(headers, Headers) else Headers(headers)
        super().__init__(request, status, fields, interim, http_version, codings)
        self.content = content
        self.trailers = trailers
        self.elapsed = elapsed

    @property
    def text(self) -> str:
        """The content as text (see ``decode_text``); ``content.decode(...)`` for anything more lenient.

        Raises:
            ContentError: ``charset``: it is unknown, or the content is not in it.
        """
        return decode_text(self.content, self.headers)

    def json(self, *, max_depth: int = 64) -> json.JSONValue:
        """Return the value that the content says, whatever its media type.

        Raises:
            ContentError: ``json``: it is not JSON, or nested deeper than ``max_depth``.
        """
        return json.loads(self.content, max_depth=max_depth)

    def raise_for_status(self) -> Self:
        """Return this answer, unless its status is 4xx or 5xx.

        Raises:
            StatusError: it is; the error has the content.
        """
        if self.status >= 400:
            raise self.status_error(self.content)
        return self
