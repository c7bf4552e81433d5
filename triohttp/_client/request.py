"""Requests as the client makes them: what a call says, merged with what its client says by default.

Rule 1: everything is checked here, before a connection is asked for: nothing of a bad request reaches a wire.
Rule 2: framing is the wire's: Transfer-Encoding, Upgrade and a wrong Content-Length are refused.
Rule 3: with a base URL a call stays at its origin; a reference that leads elsewhere is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from triohttp._values.grammar import check_method, is_token
from triohttp._values.headers import Headers
from triohttp._values.limits import ClientTimeouts
from triohttp._values.message import RequestHead
from triohttp._values.query import Query, QueryInit
from triohttp._values.url import URL
from triohttp._wire.coding import accept_encoding
from triohttp.errors import InvalidCookieError, InvalidURLError, LocalProtocolError, clip

from .auth import Auth, AuthInit, BasicAuth, make_auth
from .body import UNSET, StreamedContent, Unset
from .content import encode_content
from .cookie_jar import CookieJar
from .options import DerivedOptions, Progress, RequestOptions, TrailersInit, check_options, check_type
from .proxies import Proxy, make_proxy
from .redirects import RedirectPolicy, make_policy

if TYPE_CHECKING:
    from .chain import ClientMiddleware

__all__ = ["DEFAULT_HEADERS", "ClientRequest", "Defaults", "build_request", "derive_defaults", "parse_url"]

DEFAULT_TIMEOUTS: Final = ClientTimeouts()
DEFAULT_HEADERS: Final = Headers({"User-Agent": "triohttp", "Accept": "*/*"})
"""What every request says unless told otherwise, beside the codings that can be undone."""

_STANDARD_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_COOKIE_VALUE = re.compile(r"(?:[!-:<-~](?:[ !-:<-~]*[!-:<-~])?)?")
_LENGTH = re.compile(r"[0-9]{1,18}")
_REFUSED = {
    "transfer-encoding": "the client frames its content by itself",
    "upgrade": "an upgrade is asked for by Client.upgrade",
    "te": "the client takes no other transfer codings",
    "proxy-authorization": "the credentials of a proxy are no header field of a request",
}


@dataclass(slots=True, eq=False)
class ClientRequest:
    """A request as it goes out: what a call says, and what its client says by default.

    Middleware may change it, or send another one; ``copy`` makes one that can be changed. Beside these attributes it
    has those of ``RequestOptions`` that say how it is sent.

    Attributes:
        method: as it goes on the wire.
        url: absolute; without credentials.
        headers: the header fields; ``Host`` is added on the wire, unless it is here.
        content: bytes, or what is read piece by piece.
        upgrade: it asks for another protocol.
    """

    method: str
    url: URL
    headers: Headers
    content: bytes | StreamedContent
    timeouts: ClientTimeouts
    trailers: TrailersInit | None = None
    expect_continue: bool = False
    upgrade: bool = False
    decode: bool = True
    redirects: RedirectPolicy | None = None
    auth: Auth | None = None
    cookies: Mapping[str, str] | None = None
    on_upload: Progress | None = None
    on_download: Progress | None = None
    proxy: Proxy | Unset | None = UNSET
    crossed: bool = False  # a redirect has led to another origin: no credentials go out any more

    def __str__(self) -> str:
        return f"{self.method} {self.url!r}"

    def __repr__(self) -> str:
        return f"<ClientRequest {self}>"

    def copy(self) -> ClientRequest:
        """Return the same request with header fields of its own."""
        return replace(self, headers=self.headers.copy())

    def head(self) -> RequestHead:
        """Return the head for the wire."""
        url = self.url
        return RequestHead(self.method, url.target, self.headers, url.scheme, url.authority)


@dataclass(slots=True, eq=False)
class Defaults:
    """What a client's requests have in common; ``auth`` is by origin."""

    base_url: URL | None
    headers: Headers
    params: QueryInit | None = None
    timeouts: ClientTimeouts = DEFAULT_TIMEOUTS
    auth: Mapping[tuple[str, str, int], Auth] | None = None
    redirects: RedirectPolicy | None = None
    decode: bool = True
    cookies: CookieJar | None = None
    middleware: tuple[ClientMiddleware, ...] = ()
    hop_middleware: tuple[ClientMiddleware, ...] = ()

    def __post_init__(self) -> None:
        if self.base_url is not None and self.base_url.scheme not in ("http", "https"):
            raise InvalidURLError(f"a client speaks http and https, not {self.base_url.scheme!r}")
        if self.base_url is not None and self.base_url.userinfo:
            raise InvalidURLError(f"credentials do not go into a base URL, auth= is for them: {self.base_url!r}")
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
        check_options(options, _OPTIONS, "a request")
    if method not in _STANDARD_METHODS:
        check_method(method)
        if method.upper() in _STANDARD_METHODS:
            method = method.upper()
        elif method.upper() == "CONNECT":
            raise LocalProtocolError("CONNECT opens a tunnel, it is no request of a client", slug="method")
    headers, params, trailers = options.get("headers"), options.get("params"), options.get("trailers")
    content, json, form = options.get("content"), options.get("json", UNSET), options.get("form")
    files = options.get("files")
    expect_continue = options.get("expect_continue", False)
    target = _resolve(defaults, url)
    auth = defaults.auth.get(target.origin) if defaults.auth is not None else None
    if target.userinfo:
        auth = BasicAuth(target.username, target.password)
        target = target.replace(userinfo="")
    if "auth" in options:
        given = options["auth"]
        auth = None if given is None else make_auth(given)
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
    if (
        content is not None
        or form is not None
        or files is not None
        or not isinstance(json, Unset)
        or length is not None
    ):
        data, media_type = encode_content(
            content=content,
            json_value=json,
            form=form,
            files=files,
            length=length,
            content_type=merged.get("content-type"),
        )
        if media_type is not None:
            merged["Content-Type"] = media_type
    streamed = isinstance(data, StreamedContent)
    if trailers is not None and not (isinstance(data, StreamedContent) and data.length is None):
        raise LocalProtocolError(
            "trailers need content that is streamed, without a Content-Length (RFC 9112 §7.1.2)", slug="trailers"
        )
    if expect_continue and (streamed or data):
        merged["Expect"] = "100-continue"
    else:
        expect_continue = False
    if upgrade is not None:
        merged["Connection"] = "Upgrade"
        merged["Upgrade"] = upgrade
    timeouts = defaults.timeouts
    if "timeouts" in options:
        timeouts = options["timeouts"]
        check_type("timeouts", timeouts, ClientTimeouts)
    redirects = defaults.redirects
    if upgrade is not None:
        redirects = None
    elif "redirects" in options:
        redirects = make_policy(options["redirects"], redirects)
    return ClientRequest(
        method,
        target,
        merged,
        data,
        timeouts,
        trailers,
        expect_continue,
        upgrade is not None,
        options.get("decode", defaults.decode),
        redirects,
        auth,
        _check_cookies(options["cookies"]) if "cookies" in options else None,
        options.get("on_upload"),
        options.get("on_download"),
        make_proxy(options["proxy"]) if "proxy" in options else UNSET,
    )


def _resolve(defaults: Defaults, url: str | URL) -> URL:
    base = defaults.base_url
    if isinstance(url, URL):
        target = url
    elif not isinstance(url, str):
        raise TypeError(f"a URL must be a str or a URL, not {clip(url)}")
    elif base is not None:
        target = base.join(url)
    elif url.startswith("/"):
        raise InvalidURLError(f"{clip(url.rpartition('@')[2])} is a relative URL, which needs a client with a base_url")
    else:
        target = parse_url(url)
    if base is not None and target.origin != base.origin:
        raise InvalidURLError(
            f"{target!r} leads away from the base URL's origin {base!r}; derive(base_url=None) has none"
        )
    if target.scheme not in ("http", "https"):
        raise InvalidURLError(f"a client speaks http and https, not {target.scheme!r}")
    return target


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


def _check_cookies(cookies: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in cookies.items():
        if not is_token(name) or not _COOKIE_VALUE.fullmatch(value):
            raise InvalidCookieError(f"the cookie {clip(name)} cannot be sent: a name is a token, a value has no ';'")
    return cookies


def derive_defaults(own: Defaults, base_url: str | URL | Unset | None, options: DerivedOptions) -> Defaults:
    """Return defaults with some of them exchanged.

    Raises:
        InvalidURLError, LocalProtocolError, TypeError, ValueError: an option makes no sense.
    """
    if isinstance(base_url, Unset):
        base_url = own.base_url
    elif base_url is not None and not isinstance(base_url, URL):
        base_url = own.base_url.join(base_url) if own.base_url is not None else URL(base_url)
    headers, params, auth = own.headers.copy(), own.params, own.auth
    if "decode" in options and headers.get("accept-encoding") in (None, _asked(own.decode)):
        headers["Accept-Encoding"] = _asked(options["decode"])
    if (fields := options.get("headers")) is not None:
        headers.update(fields)
    if (added := options.get("params")) is not None:
        # Pairs may come from an iterator, which would be empty the second time.
        params = Query(added) if params is None else [*Query(params).pairs(), *Query(added).pairs()]
    if "auth" in options:
        auth = _by_origin(options["auth"], base_url)
    changed = replace(own, base_url=base_url, headers=headers, params=params, auth=auth)
    if (timeouts := options.get("timeouts")) is not None:
        check_type("timeouts", timeouts, ClientTimeouts)
        changed.timeouts = timeouts
    if "redirects" in options:
        changed.redirects = make_policy(options["redirects"], own.redirects)
    if "decode" in options:
        check_type("decode", options["decode"], bool)
        changed.decode = options["decode"]
    if "cookies" in options:
        changed.cookies = options["cookies"]
        if changed.cookies is not None:
            check_type("cookies", changed.cookies, CookieJar)
    changed.middleware += _check_middleware("middleware", options.get("middleware", ()))
    changed.hop_middleware += _check_middleware("hop_middleware", options.get("hop_middleware", ()))
    return changed


def _asked(decode: bool) -> str:
    """Return the Accept-Encoding of a client that undoes codings, or of one that does not."""
    return accept_encoding() if decode else "identity"


def _by_origin(
    auth: AuthInit | Mapping[str, AuthInit] | None, base_url: URL | None
) -> dict[tuple[str, str, int], Auth] | None:
    """Return credentials by the origin that they belong to."""
    if auth is None:
        return None
    if isinstance(auth, Mapping):
        found: dict[tuple[str, str, int], Auth] = {}
        for key, one in auth.items():
            url = URL(key)
            if url.target != "/" or url.fragment or url.userinfo:
                raise ValueError(f"credentials belong to an origin such as https://host, not to {url!r}")
            found[url.origin] = make_auth(one)
        return found
    if base_url is None:
        raise TypeError("auth belongs to an origin: give a base_url, or a mapping from origins to credentials")
    return {base_url.origin: make_auth(auth)}


def _check_middleware(name: str, middleware: Sequence[ClientMiddleware]) -> tuple[ClientMiddleware, ...]:
    for one in middleware:
        if not callable(one):
            raise TypeError(f"{name} must be functions of a request and send, not {clip(one)}")
    return tuple(middleware)
