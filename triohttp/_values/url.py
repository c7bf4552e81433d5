"""URLs of the web: http, https, ws and wss, absolute, with a host (RFC 3986, RFC 9110 §4.2, RFC 6455 §3).

The parser agrees with the one in browsers wherever it accepts something. It refuses what browsers repair and other
programs read as something else (``http:///host``, ``http://127.1``, ``http://a@b@c``, backslashes), because a URL that
two programs read differently is how one of them is tricked into asking the wrong server.

Rule 1: a URL is parsed once; its parts are then passed on as parts, never put together and parsed again.
Rule 2: each part is checked and percent-encoded as that part: nothing in one can become another.
Rule 3: one spelling for one URL: lower-case scheme and host, no default port, no dot segments, no empty userinfo,
        query or fragment; characters that cannot stand where they stand are percent-encoded, a stray "%" included.
Rule 4: no message and no ``repr`` shows the userinfo.
"""

from __future__ import annotations

import re
from typing import Any, Final, NoReturn, TypedDict, Unpack
from urllib.parse import unquote

from triohttp.errors import InvalidURLError, clip

from .authority import bracketed, check_port, encode_host, parse_authority
from .query import QueryInit, encode_query

__all__ = ["DEFAULT_PORTS", "URL", "URLParts"]

DEFAULT_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
"""The schemes that a ``URL`` can have, and the port of each when none is named."""

_ABSOLUTE = re.compile(
    r"([A-Za-z][A-Za-z0-9+.\-]*)://(?:([^/?#@]*)@)?(\[[^/?#@\[\]]*\]|[^/?#@:]+)(?::([0-9]{0,5}))?"
    r"(/[^?#]*)?(?:\?([^#]*))?(?:#(.*))?"
)
_RELATIVE = re.compile(r"(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?")
_SCHEME_FIRST = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

# What has to be percent-encoded in each part: the sets of the WHATWG URL standard, and what no part may hold: a "%"
# that begins no percent-encoded octet, and a backslash where browsers let it stand.
_STRAY = r"|%(?![0-9A-Fa-f]{2})"
_IN_USERINFO = re.compile(r"""[^!$%&'()*+,\-.0-9A-Z_a-z~]+""" + _STRAY)
_IN_PATH = re.compile(r"""[^!$%&'()*+,\-./0-9:;=@A-Z\[\]_a-z|~]+""" + _STRAY)
_IN_QUERY = re.compile(r"""[^!$%&()*+,\-./0-9:;=?@A-Z\[\]^_`a-z{|}~]+""" + _STRAY)
_IN_FRAGMENT = re.compile(r"""[^!#$%&'()*+,\-./0-9:;=?@A-Z\[\]^_a-z{|}~]+""" + _STRAY)

_DOT_SEGMENT = re.compile(r"/(?:\.|%2[eE]){1,2}(?:/|\Z)")
_set = object.__setattr__


class URLParts(TypedDict, total=False):
    """The parts that ``URL.replace`` can exchange."""

    scheme: str
    userinfo: str
    host: str
    port: int | None
    path: str
    query: str
    fragment: str


class URL:
    """An absolute URL, immutable and hashable; ``str()`` is its canonical form.

    Args:
        text: what a person, a configuration or a Location field says. Spaces and characters outside ASCII are
            percent-encoded, an internationalised host becomes A-labels.
    Raises:
        InvalidURLError: it is relative, has another scheme, no host, a control character or a backslash, spaces around
            it, a host or port that is none, or more than one "@" in front of the path.
    Source: RFC 3986, RFC 9110 §4.2.
    """

    __slots__ = ("_text", "explicit_port", "fragment", "host", "path", "query", "scheme", "userinfo")

    scheme: str
    """``http``, ``https``, ``ws`` or ``wss``."""
    userinfo: str
    """What stands in front of ``@``, percent-encoded; empty when there is none."""
    host: str
    """In lower case, ASCII (A-labels), an IPv6 address without its brackets."""
    explicit_port: int | None
    """The port where it is not the scheme's default, else None."""
    path: str
    """Percent-encoded; ``/`` when the URL has none."""
    query: str
    """Percent-encoded, without ``?``; empty when there is none."""
    fragment: str
    """Percent-encoded, without ``#``; empty when there is none. It never goes on the wire."""
    _text: str

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise TypeError(f"a URL must be a str, not {clip(text)}")
        match = _ABSOLUTE.fullmatch(_checked(text))
        if match is None:
            _explain(text)
        scheme, userinfo, host, port, path, query, fragment = match.groups()
        self._fill(
            scheme, userinfo or "", host, int(port) if port else None, path or "/", query or "", fragment or "", text
        )

    @classmethod
    def from_request(cls, scheme: str, authority: str, target: str) -> URL:
        """Return the URL that a request was for, its path and query exactly as they were on the wire.

        Args:
            authority: host and port, as the request's head has them.
            target: a path with or without a query; ``*`` and an authority count as no path.
        Raises:
            InvalidURLError: the scheme or the authority is none.
        Source: RFC 9110 §7.1.
        """
        if scheme not in DEFAULT_PORTS:
            raise InvalidURLError(f"the scheme of a URL must be http, https, ws or wss, not {clip(scheme)}")
        host, port, _ = parse_authority(authority.encode("ascii", "replace"))
        path, _, query = target.partition("?") if target[:1] == "/" else ("/", "", "")
        return _restore(scheme, "", host, None if port == DEFAULT_PORTS[scheme] else port, path, query, "")

    def _fill(
        self, scheme: str, userinfo: str, host: str, port: int | None, path: str, query: str, fragment: str, shown: str
    ) -> None:
        """Check and encode each part; ``shown`` is what an error cites."""
        scheme = scheme.lower()
        default_port = DEFAULT_PORTS.get(scheme)
        if default_port is None:
            raise InvalidURLError(f"the scheme of a URL must be http, https, ws or wss, not in {_masked(shown)}")
        if port is not None and check_port(port) == default_port:
            port = None
        if userinfo:
            user, _, password = userinfo.partition(":")
            userinfo = _encoded(user, _IN_USERINFO)
            if password:
                userinfo += ":" + _encoded(password, _IN_USERINFO)
        if _DOT_SEGMENT.search(path):
            path = _without_dot_segments(path)
        _set(self, "scheme", scheme)
        _set(self, "userinfo", userinfo)
        _set(self, "host", encode_host(host))
        _set(self, "explicit_port", port)
        _set(self, "path", _encoded(path, _IN_PATH))
        _set(self, "query", _encoded(query, _IN_QUERY))
        _set(self, "fragment", _encoded(fragment, _IN_FRAGMENT))

    # -- parts ---------------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """The port to connect to."""
        return DEFAULT_PORTS[self.scheme] if self.explicit_port is None else self.explicit_port

    @property
    def authority(self) -> str:
        """``host`` or ``host:port`` as a Host field has it: no userinfo, no default port, brackets around IPv6."""
        host = bracketed(self.host)
        return host if self.explicit_port is None else f"{host}:{self.explicit_port}"

    @property
    def target(self) -> str:
        """Path and query, as a request line has them (RFC 9112 §3.2.1)."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: what shares a connection and credentials (RFC 6454)."""
        return self.scheme, self.host, self.port

    @property
    def username(self) -> str:
        """The part of the userinfo in front of its first colon, decoded."""
        return unquote(self.userinfo.partition(":")[0])

    @property
    def password(self) -> str:
        """The part of the userinfo behind its first colon, decoded."""
        return unquote(self.userinfo.partition(":")[2])

    # -- other URLs ----------------------------------------------------------------------------------------------------

    def join(self, reference: str) -> URL:
        """Return the URL that ``reference`` means where this one is the base.

        Args:
            reference: an absolute URL, or one relative to this: ``//host/a``, ``/a``, ``a``, ``?a``, ``#a`` or empty.
        Raises:
            InvalidURLError: as for ``URL``; ``http:a`` counts as an absolute URL without a host.
        Source: RFC 3986 §5.2.
        """
        if not isinstance(reference, str):
            raise TypeError(f"a URL reference must be a str, not {clip(reference)}")
        if _SCHEME_FIRST.match(reference):
            return URL(reference)
        match = _RELATIVE.fullmatch(_checked(reference))
        if match is None:
            _explain(reference)
        authority, path, query, fragment = match.groups()
        if authority is not None:
            return URL(f"{self.scheme}:{reference}")
        if not path:
            path = self.path
            query = self.query if query is None else query
        elif path[0] != "/":
            path = self.path[: self.path.rindex("/") + 1] + path
        return self.replace(path=path, query=query or "", fragment=fragment or "")

    def replace(self, **parts: Unpack[URLParts]) -> URL:
        """Return this URL with some parts exchanged, each checked and percent-encoded as that part.

        Args:
            parts: ``scheme``, ``userinfo``, ``host`` (an IPv6 address with or without brackets), ``port`` (None for the
                scheme's default), ``path`` (begins with a slash), ``query`` and ``fragment`` (without their marks).
        Raises:
            InvalidURLError: a part is not what its name says.
        """
        if unknown := parts.keys() - URLParts.__annotations__.keys():
            raise TypeError(f"URL.replace() takes {', '.join(URLParts.__annotations__)}, not {', '.join(unknown)}")
        scheme, userinfo = parts.get("scheme", self.scheme), parts.get("userinfo", self.userinfo)
        path, query = parts.get("path", self.path), parts.get("query", self.query)
        host, fragment = parts.get("host", self.host), parts.get("fragment", self.fragment)
        for name in ("scheme", "userinfo", "host", "path", "query", "fragment"):
            text = parts.get(name, "")
            if not isinstance(text, str):
                raise TypeError(f"the {name} of a URL must be a str, not {clip(text)}")
            if found := _CONTROLS.search(text):
                raise InvalidURLError(f"the {name} of a URL must not hold {clip(found[0])}")
        if path[:1] != "/" or "\\" in path:
            raise InvalidURLError(f"the path of a URL must begin with a slash and hold no backslash, not {clip(path)}")
        url = URL.__new__(URL)
        host = host if host[:1] == "[" else bracketed(host)
        url._fill(scheme, userinfo, host, parts.get("port", self.explicit_port), path, query, fragment, scheme)
        return url

    def with_query(self, params: QueryInit) -> URL:
        """Return this URL with ``params`` behind the query that it has, in order."""
        more = encode_query(params)
        return self.replace(query=f"{self.query}&{more}" if self.query and more else self.query or more)

    # -- as a value ----------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        try:
            return self._text
        except AttributeError:
            userinfo = f"{self.userinfo}@" if self.userinfo else ""
            fragment = f"#{self.fragment}" if self.fragment else ""
            text = f"{self.scheme}://{userinfo}{self.authority}{self.target}{fragment}"
            _set(self, "_text", text)
            return text

    def __repr__(self) -> str:
        return f"URL({_masked(str(self)) if self.userinfo else repr(str(self))})"

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other) if isinstance(other, URL) else NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a URL does not change: use replace({name}=…)")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a URL does not change")

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.scheme, self.userinfo, self.host, self.explicit_port, self.path, self.query, self.fragment)
        return _restore, parts


def _restore(*parts: object) -> URL:
    """Return the URL that was pickled or copied as ``parts``."""
    url = URL.__new__(URL)
    for name, value in zip(
        ("scheme", "userinfo", "host", "explicit_port", "path", "query", "fragment"), parts, strict=True
    ):
        _set(url, name, value)
    return url


def _checked(text: str) -> str:
    """Return ``text`` unless it holds, in front of its query, what programs remove, repair or take for a slash."""
    if found := _CONTROLS.search(text):
        raise InvalidURLError(f"a URL must not hold {clip(found[0])}: {_masked(text)}")
    if text[:1] == " " or text[-1:] == " ":
        raise InvalidURLError(f"a URL must not have spaces around it: {_masked(text)}")
    if "\\" in text and "\\" in re.split("[?#]", text, maxsplit=1)[0]:
        raise InvalidURLError(f"a URL must not hold a backslash: {_masked(text)}")
    return text


def _explain(text: str) -> NoReturn:
    """Raise the error for a text that is not of a URL's shape."""
    scheme, separator, rest = text.partition("://")
    if not separator or not scheme:
        raise InvalidURLError(f"a URL must begin with a scheme and two slashes: {_masked(text)}")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    if authority.count("@") > 1:
        raise InvalidURLError(f"a URL must not have two @ in front of its path: {_masked(text)}")
    if not authority.rpartition("@")[2]:
        raise InvalidURLError(f"a URL must have a host: {_masked(text)}")
    raise InvalidURLError(f"not a host with an optional port up to 65535: {_masked(text)}")


def _masked(text: str) -> str:
    """Return ``text`` for a message; all that might be userinfo is left out, however malformed the text is."""
    front, at, rest = text.rpartition("@")
    if not at:
        return clip(text)
    scheme, slashes, _ = front.partition("://")
    return clip(f"{scheme}://***@{rest}" if slashes and scheme.isalnum() else f"***@{rest}")


def _encoded(text: str, unsafe: re.Pattern[str]) -> str:
    """Return ``text`` with what ``unsafe`` finds percent-encoded as UTF-8."""
    if unsafe.search(text) is None:
        return text
    try:
        return unsafe.sub(lambda match: "".join(f"%{octet:02X}" for octet in match[0].encode("utf-8")), text)
    except UnicodeEncodeError:
        raise InvalidURLError(f"a URL must not hold half a surrogate pair: {clip(text)}") from None


def _without_dot_segments(path: str) -> str:
    """Return ``path`` without "." and ".." segments, percent-encoded ones included, as browsers remove them."""
    kept: list[str] = []
    segments = path[1:].split("/")
    last = len(segments) - 1
    for place, segment in enumerate(segments):
        plain = segment.replace("%2e", ".").replace("%2E", ".")
        if plain == "..":
            if kept:
                kept.pop()
        elif plain != ".":
            kept.append(segment)
            continue
        if place == last:
            kept.append("")
    return "/" + "/".join(kept)
