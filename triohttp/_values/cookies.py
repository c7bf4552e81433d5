"""Cookies on the wire: the Cookie field of a request and the Set-Cookie field of an answer (RFC 6265, RFC 6265bis).

Rule 1: reading what a peer sent is linear, bounded, and skips what makes no sense: of the malformed only that is lost.
Rule 2: writing is strict: a cookie that browsers would drop, or read as another, is refused where it is made.
Rule 3: cookies are sent to https, hidden from scripts and kept from other sites' requests unless one says otherwise.
Rule 4: values are octets, seen as latin-1 text like any field; nothing is decoded, quotes around a whole value aside.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from triohttp.errors import ContentError, InvalidCookieError, InvalidURLError, clip

from .authority import check_host
from .dates import format_http_date, parse_cookie_date
from .grammar import is_token

__all__ = [
    "MAX_PAIR_BYTES",
    "Cookies",
    "SameSite",
    "SetCookie",
    "check_cookie_prefix",
    "format_set_cookie",
    "parse_cookies",
    "parse_set_cookie",
]

SameSite: TypeAlias = Literal["strict", "lax", "none"]

_COOKIE_OCTETS: Final = re.compile(r"[!#-+\--:<-\[\]-~]*")
_PATH: Final = re.compile(r"/[ -:<-~]*")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_AGE: Final = re.compile(r"-?[0-9]+")
MAX_PAIR_BYTES: Final = 4096
"""Bound on a name and its value together; what is longer, browsers drop."""
_MAX_ATTRIBUTE_BYTES: Final = 1024
_SAME_SITES: Final[dict[str, SameSite]] = {"strict": "strict", "lax": "lax", "none": "none"}


class Cookies(Mapping[str, str]):
    """The cookies of a request: each name with its first value, which browsers send for the most specific path.

    ``get_all`` and ``pairs`` have the others too. No ``repr`` shows a value.
    """

    __slots__ = ("_first", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = list(pairs)
        self._first: dict[str, str] = {}
        for name, value in self._pairs:
            self._first.setdefault(name, value)

    def __getitem__(self, name: str) -> str:
        return self._first[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._first)

    def __len__(self) -> int:
        return len(self._first)

    def get_all(self, name: str) -> list[str]:
        """Return every value of ``name``, in order; an empty list when there is none."""
        return [value for known, value in self._pairs if known == name]

    def pairs(self) -> list[tuple[str, str]]:
        """Return every cookie as (name, value), in order."""
        return list(self._pairs)

    def __repr__(self) -> str:
        return f"Cookies([{', '.join(f'({name!r}, ***)' for name, _ in self._pairs)}])"


def parse_cookies(values: Iterable[str], *, max_pairs: int = 300, max_bytes: int = 8192) -> Cookies:
    """Return the cookies in the Cookie fields of a request; what has no name or no ``=`` is skipped.

    A semicolon always ends a pair, in quotes too: else one cookie could swallow those behind it and show them to whom
    they are hidden from.

    Args:
        values: the value of each field line.
        max_pairs: bound on the pairs, skipped ones included.
        max_bytes: bound on all values together.
    Raises:
        ContentError: ``cookies``: a bound was passed; nothing was parsed.
    Source: RFC 6265 §5.4, RFC 9113 §8.2.3.
    """
    lines = list(values)
    if (size := sum(map(len, lines))) > max_bytes:
        raise ContentError(f"cookies must have at most {max_bytes} bytes, not {size}", reason="cookies")
    if (count := sum(line.count(";") + 1 for line in lines)) > max_pairs:
        raise ContentError(f"there must be at most {max_pairs} cookies, not {count}", reason="cookies")
    pairs: list[tuple[str, str]] = []
    for line in lines:
        for pair in line.split(";"):
            name, equals, value = pair.partition("=")
            name = name.strip(" \t")
            if equals and name:
                pairs.append((name, _unquoted(value.strip(" \t"))))
    return Cookies(pairs)


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def format_set_cookie(
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
) -> str:
    """Return the value of a Set-Cookie field that browsers will take as it is meant.

    Args:
        value: letters, digits and punctuation other than ``" , ; \\``; encode anything else first, say in base64.
        max_age: seconds to keep it; 0 or less deletes it. None keeps it as long as the browser runs.
        expires: the moment to delete it, in seconds since 1970.
        path: the path that it is sent to, with all below; None means the directory of the request.
        domain: the host that it is sent to, with all below; None means the host that set it, and no other.
        secure: send it over https only.
        http_only: hide it from scripts.
        same_site: None leaves the choice to the browser.
        partitioned: keep one for each site that embeds this one (CHIPS).
    Raises:
        InvalidCookieError: a part cannot be written, or browsers would drop the cookie: SameSite=None or Partitioned
            without Secure, a name that begins with ``__Host-``, ``__Secure-``, ``__Http-`` or ``__Host-Http-``
            without what that promises, more than 4096 bytes.
    Source: RFC 6265 §4.1.1, RFC 6265bis §4.1.
    """
    if not is_token(name):
        raise InvalidCookieError(f"the name of a cookie must be a token, not {clip(name)}")
    if _COOKIE_OCTETS.fullmatch(value) is None:
        raise InvalidCookieError(
            f'the value of cookie {clip(name)} must be ASCII without spaces, controls and any of " , ; \\: encode it'
        )
    if len(name) + len(value) > MAX_PAIR_BYTES:
        raise InvalidCookieError(f"cookie {clip(name)} must have at most {MAX_PAIR_BYTES} bytes with its name")
    parts = [f"{name}={value}"]
    if expires is not None:
        try:
            parts.append(f"Expires={format_http_date(expires)}")
        except ValueError as exc:
            raise InvalidCookieError(f"expires of cookie {clip(name)}: {exc}") from exc
    if max_age is not None:
        if type(max_age) is not int:
            raise InvalidCookieError(f"max_age of cookie {clip(name)} must be whole seconds, not {clip(max_age)}")
        parts.append(f"Max-Age={max_age}")
    if domain is not None:
        try:
            parts.append(f"Domain={check_host(domain.removeprefix('.'))}")
        except InvalidURLError as exc:
            raise InvalidCookieError(f"domain of cookie {clip(name)}: {exc}") from exc
    if path is not None:
        if len(path) > _MAX_ATTRIBUTE_BYTES or _PATH.fullmatch(path) is None:
            raise InvalidCookieError(
                f"path of cookie {clip(name)} must begin with a slash and be ASCII without controls and ;, "
                f"at most {_MAX_ATTRIBUTE_BYTES} bytes, not {clip(path)}"
            )
        parts.append(f"Path={path}")
    if same_site is not None and same_site not in _SAME_SITES:
        raise InvalidCookieError(f'same_site must be "strict", "lax", "none" or None, not {clip(same_site)}')
    if not secure and (same_site == "none" or partitioned):
        raise InvalidCookieError(f"cookie {clip(name)} must be secure to be partitioned or SameSite=None")
    check_cookie_prefix(name, secure=secure, http_only=http_only, for_host=domain is None and path == "/")
    if secure:
        parts.append("Secure")
    if http_only:
        parts.append("HttpOnly")
    if same_site is not None:
        parts.append(f"SameSite={same_site.capitalize()}")
    if partitioned:
        parts.append("Partitioned")
    return "; ".join(parts)


def check_cookie_prefix(name: str, *, secure: bool, http_only: bool, for_host: bool) -> None:
    """Refuse a cookie without the attributes that its name promises; browsers compare the prefix without case.

    Args:
        for_host: its path is said to be ``/``, and no domain is.
    Raises:
        InvalidCookieError: the promise is broken.
    Source: RFC 6265bis §5.4; ``__Http-`` and ``__Host-Http-`` as browsers have them.
    """
    prefix = name.lower()
    if prefix.startswith(("__host-", "__secure-", "__http-")) and not secure:
        raise InvalidCookieError(f"cookie {clip(name)} must be secure, as its name says")
    if prefix.startswith("__host-") and not for_host:
        raise InvalidCookieError(f"cookie {clip(name)} must have path / and no domain, as its name says")
    if prefix.startswith(("__http-", "__host-http-")) and not http_only:
        raise InvalidCookieError(f"cookie {clip(name)} must be HttpOnly, as its name says")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCookie:
    """What a Set-Cookie field says, before anybody decided whether to believe it."""

    name: str
    """Empty for a cookie without a name."""
    value: str
    max_age: int | None = None
    """Seconds; it goes before ``expires``."""
    expires: float | None = None
    """Seconds since 1970."""
    path: str | None = None
    """None when there is none that begins with a slash: the request's own directory counts."""
    domain: str | None = None
    """In lower case, without a leading dot; None when there is none: the request's host counts, and no other."""
    secure: bool = False
    http_only: bool = False
    same_site: SameSite | None = None
    partitioned: bool = False

    def __repr__(self) -> str:
        return f"SetCookie(name={self.name!r}, value=***, path={self.path!r}, domain={self.domain!r})"


def parse_set_cookie(text: str) -> SetCookie | None:
    """Return what one Set-Cookie field says, None where browsers ignore it.

    Of an attribute that comes twice the last one counts. Source: RFC 6265bis §5.6.
    """
    if _CONTROLS.search(text):
        return None
    pair, _, rest = text.partition(";")
    name, equals, value = pair.partition("=")
    if not equals:
        name, value = "", pair
    name, value = name.strip(" \t"), value.strip(" \t")
    if not (name or value) or len(name) + len(value) > MAX_PAIR_BYTES:
        return None
    attributes: dict[str, str] = {}
    for attribute in rest.split(";"):
        key, _, content = attribute.partition("=")
        content = content.strip(" \t")
        if len(content) <= _MAX_ATTRIBUTE_BYTES:
            attributes[key.strip(" \t").lower()] = content
    max_age, path = attributes.get("max-age", ""), attributes.get("path", "")
    domain = attributes.get("domain", "").removeprefix(".").lower()
    return SetCookie(
        name=name,
        value=value,
        # The age is clipped to a thousand years: nobody means more, and more digits cost more than they say.
        max_age=max(-1, min(int(max_age[:12]), 31_622_400_000)) if _MAX_AGE.fullmatch(max_age) else None,
        expires=parse_cookie_date(attributes.get("expires", "")),
        path=path if path[:1] == "/" else None,
        domain=domain or None,
        secure="secure" in attributes,
        http_only="httponly" in attributes,
        same_site=_SAME_SITES.get(attributes.get("samesite", "").lower()),
        partitioned="partitioned" in attributes,
    )
