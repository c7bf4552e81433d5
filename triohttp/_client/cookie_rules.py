"""Which cookies a client believes, and which requests one goes with (RFC 6265bis §5.1, §5.4, §5.5, §5.7).

Rule 1: no store, no clock: a decision about one cookie, from what was said, who said it, and when.
Rule 2: a cookie never leaves the site that set it: a Domain must be the host's own or one above it that belongs to
        somebody. Addresses and hosts of a single label have nothing below them, so theirs are for the host only.
Rule 3: "secure" is https and wss, nothing else. RFC 6265bis leaves it to the client whether http://localhost is; here
        it is not, since whatever listens there may have been started by anybody with an account on the machine.
Rule 4: SameSite is kept and decides nothing: a client that is no browser has no pages from which a site could ask
        another one. For the same reason SameSite=None without Secure is no fault here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from triohttp._values.authority import bracketed, check_host
from triohttp._values.cookies import MAX_PAIR_BYTES, SameSite, SetCookie, check_cookie_prefix
from triohttp._values.url import URL
from triohttp.errors import InvalidCookieError, InvalidURLError, clip

__all__ = [
    "MAX_AGE_SECONDS",
    "StoredCookie",
    "accept_cookie",
    "check_stored_cookie",
    "check_text",
    "domain_matches",
    "is_secure",
    "path_matches",
]

MAX_AGE_SECONDS: Final = 400 * 24 * 3600
"""How long a cookie is kept at most, whatever it says (RFC 6265bis §5.5)."""

_MAX_PATH_BYTES: Final = 8192  # one that is said has at most 1024, the directory of a request may be longer
_NAME: Final = re.compile(r"[\t -:<>-~\x80-\xff]*")
_VALUE: Final = re.compile(r"[\t -:<-~\x80-\xff]*")
_PATH: Final = re.compile(r"/[\t -~\x80-\xff]*")
_PREFIXES: Final = ("__host-", "__secure-", "__http-")
_IPV4: Final = re.compile(r"[0-9.]+")  # of what is known to be a host: names do not end with a number


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCookie:
    """A cookie as a jar keeps it; ``repr`` does not show its value."""

    name: str
    """Empty for a cookie without a name."""
    value: str
    domain: str
    """The host that it goes to, in lower case."""
    host_only: bool
    """It goes to that host; else to all below it too."""
    path: str
    """It goes to this path and all below it."""
    secure: bool
    """It goes over https only."""
    http_only: bool = False
    """Scripts in a page must not see it; a fact that a client without scripts has no use for."""
    same_site: SameSite | None = None
    """Which sites may have it sent; a fact that a client without pages has no use for."""
    created: float
    """When it was first set, in seconds since 1970."""
    expires: float | None = None
    """When it ends, in seconds since 1970; None for a session cookie, which ends with the jar."""

    def __repr__(self) -> str:
        return f"StoredCookie(name={self.name!r}, value=***, domain={self.domain!r}, path={self.path!r})"


def is_secure(url: URL) -> bool:
    """Tell whether what goes to ``url`` is encrypted (rule 3)."""
    return url.scheme in ("https", "wss")


def domain_matches(host: str, domain: str) -> bool:
    """Tell whether ``host`` is ``domain`` or lies below it. Source: RFC 6265bis §5.1.3."""
    return host == domain or (host.endswith(domain) and host[-len(domain) - 1] == "." and not _is_address(host))


def path_matches(request_path: str, path: str) -> bool:
    """Tell whether ``request_path`` is ``path`` or lies below it. Source: RFC 6265bis §5.1.4."""
    return request_path == path or request_path.startswith(path if path[-1:] == "/" else path + "/")


def accept_cookie(said: SetCookie, url: URL, now: float, is_public_suffix: Callable[[str], bool]) -> StoredCookie:
    """Return the cookie that a Set-Cookie field from ``url`` makes; one that is over by ``now`` deletes another.

    Args:
        now: seconds since 1970.
        is_public_suffix: tells whether a domain belongs to nobody in particular.
    Raises:
        InvalidCookieError: it is none that this host may set, or that may be set this way.
    Source: RFC 6265bis §5.5 and §5.7, steps 6 to 22, those about scripts and sites aside.
    """
    host, domain, host_only = url.host, url.host, True
    if said.domain is not None and said.domain != host:
        if not domain_matches(host, said.domain):
            raise InvalidCookieError(f"{host} must not set a cookie for {clip(said.domain)}")
        domain, host_only = said.domain, False
    elif said.domain is not None:
        host_only = _has_none_below(host)
    if not host_only and _is_public(domain, is_public_suffix):
        if domain != host:
            raise InvalidCookieError(f"{domain} is a public suffix: no cookie can be set for it")
        host_only = True
    if said.secure and not is_secure(url):
        raise InvalidCookieError(f"cookie {clip(said.name)} is secure and must be set over https")
    path = _default_path(url.path) if said.path is None else said.path
    _check_path(path)
    _check_nameless(said.name, said.value)
    # Step 21 wants the path to be said: one without a Path attribute does not count, whatever the directory is.
    for_host = said.domain is None and said.path == "/"
    check_cookie_prefix(said.name, secure=said.secure, http_only=said.http_only, for_host=for_host)
    expires = said.expires
    if said.max_age is not None:
        expires = now + said.max_age if said.max_age > 0 else -math.inf
    return StoredCookie(
        name=said.name,
        value=said.value,
        domain=domain,
        host_only=host_only,
        path=path,
        secure=said.secure,
        http_only=said.http_only,
        same_site=said.same_site,
        created=now,
        expires=None if expires is None else min(expires, now + MAX_AGE_SECONDS),
    )


def check_stored_cookie(cookie: StoredCookie, is_public_suffix: Callable[[str], bool]) -> bool:
    """Check a cookie that comes out of a file; False when its domain has become a public suffix since.

    Raises:
        InvalidCookieError: no server can have set it.
    """
    check_text(cookie.name, cookie.value)
    _check_nameless(cookie.name, cookie.value)
    try:
        canonical = check_host(bracketed(cookie.domain))
    except InvalidURLError as exc:
        raise InvalidCookieError(f"the domain is {exc}") from exc
    if canonical != cookie.domain:
        raise InvalidCookieError(f"the domain must be {clip(canonical)}, not {clip(cookie.domain)}")
    _check_path(cookie.path)
    if not cookie.host_only and _has_none_below(cookie.domain):
        raise InvalidCookieError(f"there is nothing below {clip(cookie.domain)}: its cookies are for the host only")
    for_host = cookie.host_only and cookie.path == "/"
    check_cookie_prefix(cookie.name, secure=cookie.secure, http_only=cookie.http_only, for_host=for_host)
    return cookie.host_only or not is_public_suffix(cookie.domain)


def check_text(name: str, value: str) -> None:
    """Refuse a name or a value that would not be read back as it is.

    Raises:
        InvalidCookieError: it has controls, a semicolon or spaces around it, is not latin-1, or both are too long.
    Source: RFC 6265bis §5.6.
    """
    if _NAME.fullmatch(name) is None or name != name.strip(" \t"):
        raise InvalidCookieError(
            f"the name of a cookie must be latin-1 without controls, =, ; and spaces around it, not {clip(name)}"
        )
    if _VALUE.fullmatch(value) is None or value != value.strip(" \t"):
        raise InvalidCookieError(
            f"the value of cookie {clip(name)} must be latin-1 without controls, ; and spaces around it: encode it"
        )
    if len(name) + len(value) > MAX_PAIR_BYTES:
        raise InvalidCookieError(f"cookie {clip(name)} must have at most {MAX_PAIR_BYTES} bytes with its name")


def _check_path(path: str) -> None:
    if len(path) > _MAX_PATH_BYTES or _PATH.fullmatch(path) is None:
        raise InvalidCookieError(
            f"the path of a cookie must begin with a slash, without controls, at most {_MAX_PATH_BYTES} bytes, "
            f"not {clip(path)}"
        )


def _check_nameless(name: str, value: str) -> None:
    """Refuse a cookie without a name that servers would take for one with a name, or for one that keeps a promise.

    Only the value goes out: ``=a=b`` would arrive as a cookie ``a``, and could take the place of a secure one. RFC
    6265bis refuses the prefixes alone (§5.7, step 22).
    """
    if name:
        return
    if not value or "=" in value or value.lower().startswith(_PREFIXES):
        raise InvalidCookieError("a cookie without a name must have a value, without = and without a prefix of names")


def _default_path(request_path: str) -> str:
    """Return the directory of a request. Source: RFC 6265bis §5.1.4."""
    return request_path[: request_path.rindex("/")] or "/"


def _is_address(host: str) -> bool:
    return ":" in host or _IPV4.fullmatch(host) is not None


def _has_none_below(host: str) -> bool:
    return "." not in host or _is_address(host)


def _is_public(domain: str, is_public_suffix: Callable[[str], bool]) -> bool:
    return "." not in domain or is_public_suffix(domain)
