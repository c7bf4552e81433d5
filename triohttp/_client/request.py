"""Requests as the client makes them: what a call says, merged with what its client says by default.

Rule 1: everything is checked here, before a connection is asked for: nothing of a bad request reaches a wire.
Rule 2: framing is the wire's: Transfer-Encoding, Upgrade and a wrong Content-Length are refused.
Rule 3: with a base URL a call stays at its origin; a reference that leads elsewhere is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias, TypedDict

from triohttp._values.grammar import check_method
from triohttp._values.headers import Headers, HeadersInit
from triohttp._values.limits import ClientTimeouts
from triohttp._values.message import RequestHead
from triohttp._values.query import QueryInit
from triohttp._values.url import URL
from triohttp.errors import InvalidURLError, LocalProtocolError, clip

from .body import UNSET, ContentInit, StreamedContent, Unset, encode_content

__all__ = ["DEFAULT_HEADERS", "ClientRequest", "Defaults", "RequestOptions", "TrailersInit", "build_request"]

TrailersInit: TypeAlias = "HeadersInit | Callable[[], HeadersInit]"
"""Trailer fields, or what is called for them once all content has gone out."""

DEFAULT_HEADERS: Final = Headers({"User-Agent": "triohttp", "Accept": "*/*", "Accept-Encoding": "identity"})
"""What every request says unless told otherwise; ``identity`` because nothing is decoded here."""

_STANDARD_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_LENGTH = re.compile(r"[0-9]{1,18}")
_REFUSED = {
    "transfer-encoding": "the client frames its content by itself",
    "upgrade": "an upgrade is asked for by Client.upgrade",
    "te": "the client takes no other transfer codings",
    "proxy-authorization": "the credentials of a proxy are no header field of a request",
}


class RequestOptions(TypedDict, total=False):
    """What every call of a client takes beside its method and URL."""

    params: QueryInit
    """Query fields, put after those of the URL and of the client."""
    headers: HeadersInit
    """Header fields; each name replaces what the client would send under it."""
    content: ContentInit
    """Bytes, text, or an iterable of bytes, which is closed in the end."""
    json: object
    """A value to send as JSON; None, False, 0 and empty ones are values too."""
    form: QueryInit
    """Fields to send as an urlencoded form."""
    trailers: TrailersInit
    """Trailer fields for content from an iterable without a Content-Length."""
    timeouts: ClientTimeouts
    """Bounds that hold for this call instead of the client's."""
    expect_continue: bool
    """Ask the server before the content is sent (``Expect: 100-continue``)."""


@dataclass(slots=True, eq=False)
class ClientRequest:
    """A request as it goes out."""

    method: str
    url: URL
    headers: Headers
    content: bytes | StreamedContent
    trailers: TrailersInit | None = None
    expect_continue: bool = False
    upgrade: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.url!r}"

    def __repr__(self) -> str:
        return f"<ClientRequest {self}>"

    def head(self) -> RequestHead:
        """Return the head for the wire."""
        url = self.url
        return RequestHead(self.method, url.target, self.headers, url.scheme, url.authority)


@dataclass(slots=True, eq=False)
class Defaults:
    """What a client's requests have in common."""

    base_url: URL | None
    headers: Headers
    params: QueryInit | None

    def __post_init__(self) -> None:
        if self.base_url is not None:
            _check_url(self.base_url)
        for name in ("content-length", "host", "expect", *_REFUSED):
            if name in self.headers:
                raise LocalProtocolError(f"{name} cannot be a default header field", slug=name)


_SPECIAL = frozenset(name.encode() for name in ("host", "content-length", "expect", *_REFUSED))
_OPTIONS = frozenset(RequestOptions.__annotations__)

parse_url = lru_cache(maxsize=256)(URL)


def build_request(
    defaults: Defaults, method: str, url: str | URL, options: RequestOptions, *, upgrade: str | None = None
) -> ClientRequest:
    """Return a checked request.

    Args:
        method: a token; the usual ones are put in upper case.
        url: absolute, or relative to the base URL.
        upgrade: the protocol to switch to.
    Raises:
        ContentError: ``json`` is no JSON.
        InvalidHeaderError: a header field must not go on the wire.
        InvalidURLError: the URL is malformed, not http(s), has credentials in it, or leaves the base URL's origin.
        LocalProtocolError: the framing is not for a client's user to decide.
        TypeError: more than one content was given, an unknown option, or something of another type.
        ValueError: the method is not a token.
    """
    if not _OPTIONS.issuperset(options):
        unknown = sorted(set(options) - _OPTIONS)
        raise TypeError(f"unknown option {unknown[0]!r}; a request has {', '.join(sorted(_OPTIONS))}")
    if method not in _STANDARD_METHODS:
        check_method(method)
        if method.upper() in _STANDARD_METHODS:
            method = method.upper()
        elif method.upper() == "CONNECT":
            raise LocalProtocolError("CONNECT opens a tunnel, it is no request of a client", slug="method")
    headers, params, trailers = options.get("headers"), options.get("params"), options.get("trailers")
    content, json, form = options.get("content"), options.get("json", UNSET), options.get("form")
    expect_continue = options.get("expect_continue", False)
    target = _resolve(defaults, url)
    if defaults.params is not None:
        target = target.with_query(defaults.params)
    if params is not None:
        target = target.with_query(params)
    merged = defaults.headers.copy()
    length: int | None = None
    if headers is not None:
        merged.update(headers)
        if not _SPECIAL.isdisjoint(name.lower() for name, _ in merged.raw):
            length, expects = _check_fields(merged)
            expect_continue = expect_continue or expects
    data: bytes | StreamedContent = b""
    if content is not None or form is not None or not isinstance(json, Unset) or length is not None:
        data, media_type = encode_content(content=content, json_value=json, form=form, length=length)
        if media_type is not None and "content-type" not in merged:
            merged["Content-Type"] = media_type
    streamed = isinstance(data, StreamedContent)
    if trailers is not None and not (isinstance(data, StreamedContent) and data.length is None):
        raise LocalProtocolError(
            "trailers need content from an iterable, without a Content-Length (RFC 9112 §7.1.2)", slug="trailers"
        )
    if expect_continue and (streamed or data):
        merged["Expect"] = "100-continue"
    else:
        expect_continue = False
    if upgrade is not None:
        merged["Connection"] = "Upgrade"
        merged["Upgrade"] = upgrade
    return ClientRequest(method, target, merged, data, trailers, expect_continue, upgrade is not None)


def _resolve(defaults: Defaults, url: str | URL) -> URL:
    base = defaults.base_url
    if isinstance(url, URL):
        target = url
    elif not isinstance(url, str):
        raise TypeError(f"a URL must be a str or a URL, not {clip(url)}")
    elif base is not None:
        target = base.join(url)
    elif url.startswith("/"):
        raise InvalidURLError(f"{clip(url)} is a relative URL, which needs a client with a base_url")
    else:
        target = parse_url(url)
    if base is not None and target.origin != base.origin:
        raise InvalidURLError(
            f"{target!r} leads away from the base URL's origin {base!r}; derive(base_url=None) has none"
        )
    _check_url(target)
    return target


def _check_url(url: URL) -> None:
    if url.scheme not in ("http", "https"):
        raise InvalidURLError(f"a client speaks http and https, not {url.scheme!r}")
    if url.userinfo:
        raise InvalidURLError(f"credentials in a URL are not sent: {url!r}")


def _check_fields(headers: Headers) -> tuple[int | None, bool]:
    """Take the fields out that decide on framing; return the length and whether 100 (Continue) is asked for."""
    for name, why in _REFUSED.items():
        if name in headers:
            raise LocalProtocolError(f"{name} cannot be set by hand: {why}", slug=name)
    if hosts := headers.get_all("host"):
        url = URL(f"http://{hosts[0]}")
        if len(hosts) > 1 or url.userinfo or url.target != "/" or url.fragment:
            raise LocalProtocolError(f"Host must be one host with or without a port, not {clip(hosts)}", slug="host")
    length: int | None = None
    if (text := headers.get("content-length")) is not None:
        if _LENGTH.fullmatch(text) is None:
            raise LocalProtocolError(f"Content-Length must be one number, not {clip(text)}", slug="content-length")
        length = int(text)
        del headers["content-length"]
    expects = False
    if (text := headers.get("expect")) is not None:
        if text.lower() != "100-continue":
            raise LocalProtocolError(f"Expect can only be 100-continue, not {clip(text)}", slug="expect")
        expects = True
        del headers["expect"]
    return length, expects
