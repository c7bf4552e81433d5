"""Proxies: which one a request goes through, and what it wants to know.

Rule 1: the credentials of a proxy go to the proxy and nowhere else; no ``repr`` shows them.
Rule 2: the environment counts only for a program that asks for it (``Proxies.from_environment``).
Rule 3: two proxies are equal when a connection through one is as good as through the other.
"""

from __future__ import annotations

import base64
import logging
import re
import ssl
from collections.abc import Mapping
from typing import Final, TypeAlias

from triohttp._values.authority import bracketed, encode_authority
from triohttp._values.headers import Headers, HeadersInit
from triohttp._values.url import URL
from triohttp.errors import InvalidURLError, clip

from .no_proxy import NoProxy
from .options import check_type
from .socks import load_socks

__all__ = ["Proxies", "ProxiesInit", "Proxy", "make_proxies", "make_proxy"]

LOGGER = logging.getLogger("triohttp.client")

_DEFAULT_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_PATTERN = re.compile(r"(all|http|https)(?:://(?:(\*\.)?([^/?#*]+)|\*))?/?")


class Proxy:
    """A proxy.

    Args:
        url: ``http``, ``https`` (TLS to the proxy itself), ``socks5`` (names are resolved here) or ``socks5h`` (by the
            proxy), with the credentials in it or not. Without a port 80, 443 or 1080 is meant.
        credentials: user name and password, instead of those in the URL.
        headers: header fields for an HTTP proxy alone: of CONNECT, and of each request that it forwards.
        tls: whom to trust for an ``https`` proxy, used as it is; by default the authorities that the client trusts,
            without its certificate. ``verify=False`` of a client is not for proxies.
    Raises:
        ImportError: SOCKS needs the extra ``socks``.
        InvalidURLError: the URL is none, or has a path or another scheme.
        TypeError, ValueError: the credentials are no pair of texts.
    """

    __slots__ = ("_key", "fields", "host", "password", "port", "scheme", "tls", "username")

    def __init__(
        self,
        url: str,
        *,
        credentials: tuple[str, str] | None = None,
        headers: HeadersInit | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        if not isinstance(url, str):
            raise TypeError(f"the URL of a proxy must be a str, not {clip(url)}")
        scheme, separator, rest = url.partition("://")
        scheme = scheme.lower()
        if not separator or scheme not in _DEFAULT_PORTS:
            raise InvalidURLError(f"the URL of a proxy begins with {'://, '.join(_DEFAULT_PORTS)}://: {_masked(url)}")
        parsed = URL(f"{'https' if scheme == 'https' else 'http'}://{rest}")
        if parsed.target != "/" or parsed.fragment:
            raise InvalidURLError(f"the URL of a proxy has no path, query or fragment: {parsed!r}")
        self.scheme = scheme
        self.host = parsed.host
        written = encode_authority(rest.partition("/")[0].rpartition("@")[2]).port
        self.port = _DEFAULT_PORTS[scheme] if written is None else written
        self.username, self.password = parsed.username, parsed.password
        if credentials is not None:
            self.username, self.password = _checked_credentials(credentials)
        if tls is not None:
            check_type("tls", tls, ssl.SSLContext)
            if scheme != "https":
                raise ValueError(f"only an https proxy is spoken to over TLS, not {self}")
        self.tls = tls
        fields = Headers(headers if headers is not None else ())
        for name in ("host", "connection", "content-length", "transfer-encoding", "upgrade"):
            if name in fields:
                raise ValueError(f"{name} is no header field for a proxy")
        if self.is_socks:
            if fields:
                raise ValueError("a SOCKS proxy knows no header fields")
            load_socks()
            if max(len(self.username.encode()), len(self.password.encode())) > 255:
                raise ValueError("a SOCKS proxy takes names and passwords of at most 255 bytes")
        elif self.username or self.password:
            if ":" in self.username:
                raise ValueError("the user name of a proxy must not hold a colon (RFC 7617 §2)")
            token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")
            fields["Proxy-Authorization"] = f"Basic {token}"
        self.fields: list[tuple[bytes, bytes]] = list(fields.raw)
        """What the header of a request to the proxy has beside the request's own."""
        self._key = (scheme, self.host, self.port, self.username, self.password, tuple(self.fields), tls)

    @property
    def is_socks(self) -> bool:
        """It speaks SOCKS5, and not HTTP."""
        return self.scheme.startswith("socks")

    @property
    def resolves(self) -> bool:
        """Names are resolved by the proxy."""
        return self.scheme != "socks5"

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Proxy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __str__(self) -> str:
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"

    def __repr__(self) -> str:
        return f"<Proxy {self}{' with credentials' if self.username or self.password else ''}>"


ProxiesInit: TypeAlias = "str | Proxy | Mapping[str, str | Proxy | None] | Proxies"
"""One proxy for everything, or a proxy (None for none) a pattern: ``all``, ``http``, ``https``, ``https://host``,
``https://host:port``, ``http://*.example.org``. The most precise pattern counts."""


class Proxies:
    """Which proxy a request goes through.

    Args:
        rules: one proxy for everything, or proxies by pattern; see ``ProxiesInit``.
        no_proxy: hosts that are reached without one, as in the variable of that name: ``example.org`` (with everything
            below), ``*.example.org`` (below alone), ``10.0.0.0/8``, ``[::1]:8080``, ``*``; separated by commas.
    Raises:
        InvalidURLError, TypeError, ValueError: a pattern or a proxy is none.
    """

    __slots__ = ("_no_proxy", "_rules")

    def __init__(self, rules: str | Proxy | Mapping[str, str | Proxy | None], *, no_proxy: str = "") -> None:
        if isinstance(rules, (str, Proxy)):
            rules = {"all": rules}
        self._no_proxy = NoProxy(no_proxy)
        found = [(*_parse_pattern(pattern), make_proxy(proxy)) for pattern, proxy in rules.items()]
        self._rules = sorted(found, key=lambda rule: rule[0], reverse=True)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Proxies:
        """Return the proxies that the environment names; nothing of it is ever an error.

        ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy`` count, in upper case too. ``HTTP_PROXY`` does
        not where ``REQUEST_METHOD`` is set: in a CGI program it is what a request's Proxy field says (CVE-2016-5385). A
        value that is no proxy is skipped, with a warning in the log; what it was for is then reached without one.
        """
        environ = dict(environ)  # on Windows the names of ``os.environ`` are in upper case, and found in either
        rules: dict[str, str | Proxy | None] = {}
        for name in ("all", "http", "https"):
            value = environ.get(f"{name}_proxy")
            if value is None and not (name == "http" and "REQUEST_METHOD" in environ):
                value = environ.get(f"{name.upper()}_PROXY")
            if not value:
                continue
            try:
                rules[name] = Proxy(value if "://" in value else f"http://{value}")
            except (InvalidURLError, ValueError, ImportError) as exc:
                LOGGER.warning("the environment's %s_proxy is no proxy and is skipped: %s", name, exc)
        return cls(rules, no_proxy=environ.get("no_proxy") or environ.get("NO_PROXY") or "")

    def find(self, url: URL) -> Proxy | None:
        """Return the proxy for ``url``, None for none."""
        if not self._rules or self._no_proxy.covers(url.host, url.port):
            return None
        for _, scheme, host, below, port, proxy in self._rules:
            if scheme not in ("all", url.scheme) or (port is not None and port != url.port):
                continue
            if host and not (url.host == host if not below else url.host.endswith(f".{host}")):
                continue
            return proxy
        return None

    def __repr__(self) -> str:
        return f"<Proxies {[proxy for *_, proxy in self._rules]}>"


def make_proxy(init: str | Proxy | None) -> Proxy | None:
    """Return what a pattern's or a request's proxy is.

    Raises:
        ImportError, InvalidURLError, TypeError, ValueError: it is no proxy.
    """
    if isinstance(init, str):
        return Proxy(init)
    if init is not None:
        check_type("a proxy", init, Proxy)
    return init


def make_proxies(init: ProxiesInit | None) -> Proxies | None:
    """Return what a client's ``proxies`` says."""
    if init is None or isinstance(init, Proxies):
        return init
    if isinstance(init, (str, Proxy, Mapping)):
        return Proxies(init)
    raise TypeError(f"proxies must be a URL, a Proxy, a mapping or Proxies, not {clip(init)}")


_Rule: TypeAlias = "tuple[tuple[bool, int, bool, bool], str, str, bool, int | None]"


def _parse_pattern(pattern: str) -> _Rule:
    """Return a pattern's rank, scheme, host, whether what is below the host is meant, and port."""
    match = _PATTERN.fullmatch(pattern)
    if match is None:
        raise ValueError(f"a pattern of proxies is all, http, https, or one of these with ://host, not {pattern!r}")
    scheme, below, authority = match[1], match[2] is not None, match[3]
    host, port = "", None
    if authority is not None:
        host, port, _ = encode_authority(authority)
    rank = (bool(host) and not below, len(host), port is not None, scheme != "all")
    return rank, scheme, host, below, port


def _masked(url: str) -> str:
    front, at, rest = url.rpartition("@")
    scheme, slashes, _ = front.partition("://")
    return clip(f"{scheme if slashes else ''}{slashes}***@{rest}" if at else url)


def _checked_credentials(credentials: object) -> tuple[str, str]:
    match credentials:
        case (str(username), str(password)):
            return username, password
    raise TypeError("the credentials of a proxy are a pair of texts: a user name and a password")
