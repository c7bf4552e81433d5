"""The cookie jar: what servers have set, and what goes with a request (RFC 6265bis §5.7 and §5.8).

Rule 1: what a peer sends never raises and never grows without a bound; what it may not set is not kept.
Rule 2: cookies lie by the domain that they go to. A request looks at its host and the names above it, at nothing else:
        what a jar holds for others costs it nothing.
Rule 3: an expired cookie is gone: before anything is looked at, the jar drops what has ended, once a moment at which
        something may end is past.
Rule 4: over a bound the cookies go that were used least recently; in one domain those that are not secure go first, so
        that plain http cannot push a secure one out (§5.7).
"""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Self, TypedDict, Unpack

from triohttp._values.authority import bracketed, encode_host
from triohttp._values.cookies import SameSite, SetCookie, parse_set_cookie
from triohttp._values.url import URL
from triohttp.errors import InvalidCookieError, check_count, clip

from .cookie_file import load_file, parse_cookies_txt, parse_saved, save_file
from .cookie_rules import (
    StoredCookie,
    accept_cookie,
    check_stored_cookie,
    check_text,
    domain_matches,
    is_secure,
    path_matches,
)
from .public_suffixes import find_public_suffixes

__all__ = ["CookieJar", "CookieJarOptions"]

_FILE_BYTES_PER_COOKIE = 32 * 1024  # a name, a value, and a path of the largest size, each octet written as two


class CookieJarOptions(TypedDict, total=False):
    """The options of a ``CookieJar``."""

    max_cookies: int
    max_cookies_per_domain: int
    max_cookies_per_answer: int
    max_field_bytes: int
    clock: Callable[[], float]
    public_suffix: Callable[[str], bool] | None


class _Kept:
    """A cookie in a jar, with what a request needs to know of it made ready."""

    __slots__ = ("below", "cookie", "host_only", "pair", "path", "rank", "secure", "used")

    def __init__(self, cookie: StoredCookie, number: int) -> None:
        self.cookie = cookie
        self.host_only = cookie.host_only
        self.secure = cookie.secure
        self.path = cookie.path
        self.below = cookie.path if cookie.path[-1] == "/" else cookie.path + "/"
        self.pair = f"{cookie.name}={cookie.value}" if cookie.name else cookie.value
        self.rank = (-len(cookie.path), number)
        self.used = 0


_RANK = attrgetter("rank")


class CookieJar:
    """Keeps the cookies that servers set, and tells which of them a request takes along.

    Cookies belong to hosts: neither port nor scheme keeps one from another server of the host (RFC 6265bis §8.5).
    ``Secure`` does: such a cookie goes over https only, and what comes over http neither sets one nor takes the place
    of one. ``http://localhost`` does not count as secure. SameSite is kept and decides nothing, since there are no
    pages here from which one site could ask another.

    A cookie for more than the host needs a Domain that belongs to somebody: neither ``com`` nor ``co.uk``. With the
    extra ``publicsuffix`` the public list decides that, without it rules for the best known suffixes do.

    A jar may be shared by several clients of one thread; it has no task, no file and no lock.

    Args:
        max_cookies: bound on all cookies; beyond it those go that were used least recently.
        max_cookies_per_domain: bound on those of one domain.
        max_cookies_per_answer: how many Set-Cookie fields of one answer are looked at.
        max_field_bytes: bound on the Cookie field of a request; what does not fit is left out, the most specific paths
            are first.
        clock: tells the seconds since 1970.
        public_suffix: tells whether a domain (lower case, A-labels) belongs to nobody in particular; None means the
            public list where it is installed, else the best known suffixes. Single labels are refused in any case.
    Raises:
        ValueError: a bound is less than 1.
    Source: RFC 6265bis §5.5 to §5.8.
    """

    __slots__ = (
        "_clock",
        "_domains",
        "_max_cookies",
        "_max_field_bytes",
        "_max_per_answer",
        "_max_per_domain",
        "_next_end",
        "_number",
        "_public_suffix",
        "_recent",
        "_uses",
    )

    def __init__(
        self,
        *,
        max_cookies: int = 3000,
        max_cookies_per_domain: int = 180,
        max_cookies_per_answer: int = 50,
        max_field_bytes: int = 8192,
        clock: Callable[[], float] = time.time,
        public_suffix: Callable[[str], bool] | None = None,
    ) -> None:
        check_count("max_cookies", max_cookies, 1)
        check_count("max_cookies_per_domain", max_cookies_per_domain, 1)
        check_count("max_cookies_per_answer", max_cookies_per_answer, 1)
        check_count("max_field_bytes", max_field_bytes, 1)
        self._max_cookies = max_cookies
        self._max_per_domain = max_cookies_per_domain
        self._max_per_answer = max_cookies_per_answer
        self._max_field_bytes = max_field_bytes
        self._clock = clock
        self._public_suffix = public_suffix
        self._domains: dict[str, dict[tuple[str, str, bool], _Kept]] = {}
        self._recent: OrderedDict[_Kept, None] = OrderedDict()  # all, those used least recently first
        self._next_end = math.inf  # nothing ends before this moment
        self._number = 0  # of the cookie made last
        self._uses = 0  # how many requests took cookies along

    # -- for a client --------------------------------------------------------------------------------------------------

    def field_for(self, url: URL, now: float | None = None) -> str | None:
        """Return the value of the Cookie field of a request for ``url``, None for no field.

        Args:
            now: seconds since 1970; None asks the clock.
        Source: RFC 6265bis §5.8.3.
        """
        if not self._domains:
            return None
        found = self._find(url, self._clock() if now is None else now)
        if not found:
            return None
        self._uses += 1
        uses, touch = self._uses, self._recent.move_to_end
        pairs, room = [], self._max_field_bytes + 2
        for kept in found:
            size = len(kept.pair) + 2
            if size <= room:
                room -= size
                pairs.append(kept.pair)
                kept.used = uses
                touch(kept)
        return "; ".join(pairs) or None

    def store(self, url: URL, set_cookie_values: Sequence[str], now: float | None = None) -> None:
        """Keep what the Set-Cookie fields of an answer from ``url`` say; what it may not say is ignored.

        Args:
            set_cookie_values: the value of each field line.
            now: seconds since 1970; None asks the clock.
        Source: RFC 6265bis §5.6 and §5.7.
        """
        if now is None:
            now = self._clock()
        for text in set_cookie_values[: self._max_per_answer]:
            said = parse_set_cookie(text)
            if said is not None:
                try:
                    self._accept(said, url, now)
                except InvalidCookieError:
                    pass

    # -- for people ----------------------------------------------------------------------------------------------------

    def set(
        self,
        name: str,
        value: str,
        url: str | URL,
        *,
        domain: str | None = None,
        path: str = "/",
        max_age: int | None = None,
        expires: float | None = None,
        secure: bool | None = None,
        http_only: bool = False,
        same_site: SameSite | None = None,
    ) -> None:
        """Set a cookie as if an answer from ``url`` had.

        Args:
            value: latin-1; without controls, semicolons, and spaces around it.
            domain: a domain that the host of the URL is or lies below, to send it there and to all hosts below; None
                for the host alone.
            path: the path that it is sent to, with all below.
            max_age: seconds to keep it, at most 400 days; 0 or less deletes it.
            expires: the moment to delete it, in seconds since 1970; with neither it is a session cookie.
            secure: send it over https only; None means for a URL of https.
        Raises:
            InvalidCookieError: it would not be read back as it is, or a server at that URL could not set it.
            InvalidURLError: the URL or the domain is none.
            TypeError: max_age is no whole number, or an argument that is text is none.
        """
        if isinstance(url, str):
            url = URL(url)
        for argument, given in (("name", name), ("value", value), ("path", path)):
            if not isinstance(given, str):
                raise TypeError(f"the {argument} of a cookie must be a str, not {type(given).__name__}")
        if max_age is not None and type(max_age) is not int:
            raise TypeError(f"max_age must be whole seconds, not {clip(max_age)}")
        if expires is not None and math.isnan(expires):
            raise InvalidCookieError(f"cookie {clip(name)} must expire at a moment, not at {expires}")
        if same_site not in ("strict", "lax", "none", None):
            raise InvalidCookieError(f'same_site must be "strict", "lax", "none" or None, not {clip(same_site)}')
        if not name:
            raise InvalidCookieError("a cookie must have a name")
        check_text(name, value)
        said = SetCookie(
            name=name,
            value=value,
            max_age=max_age,
            expires=expires,
            path=path,
            domain=None if domain is None else _canonical(domain),
            secure=is_secure(url) if secure is None else secure,
            http_only=http_only,
            same_site=same_site,
        )
        self._accept(said, url, self._clock())

    def get(self, name: str, url: str | URL) -> str | None:
        """Return the value of the cookie ``name`` that a request for ``url`` takes along; of several the first."""
        url = URL(url) if isinstance(url, str) else url
        for kept in self._find(url, self._clock()):
            if kept.cookie.name == name:
                return kept.cookie.value
        return None

    def delete(self, name: str, *, domain: str | None = None, path: str | None = None) -> int:
        """Delete the cookies called ``name``, and return how many there were.

        Args:
            domain: only those that go to exactly this domain.
            path: only those of exactly this path.
        """
        domain = None if domain is None else _canonical(domain)
        doomed = [
            kept
            for kept in self._recent
            if kept.cookie.name == name and domain in (None, kept.cookie.domain) and path in (None, kept.path)
        ]
        for kept in doomed:
            self._remove(kept)
        return len(doomed)

    def clear(self, domain: str | None = None) -> None:
        """Delete all cookies.

        Args:
            domain: only those of this domain and of the hosts below it.
        """
        if domain is None:
            self._domains.clear()
            self._recent.clear()
            self._next_end = math.inf
            return
        domain = _canonical(domain)
        for kept in [kept for kept in self._recent if domain_matches(kept.cookie.domain, domain)]:
            self._remove(kept)

    def __iter__(self) -> Iterator[StoredCookie]:
        """Iterate over the cookies that there are now, the oldest first."""
        self._drop_expired(self._clock())
        return iter([kept.cookie for kept in sorted(self._recent, key=lambda kept: kept.rank[1])])

    def __len__(self) -> int:
        self._drop_expired(self._clock())
        return len(self._recent)

    def __contains__(self, cookie: object) -> bool:
        """Tell whether there is this ``StoredCookie``, or any cookie of this name."""
        if isinstance(cookie, str):
            return any(one.name == cookie for one in self)
        return any(one == cookie for one in self)

    def __repr__(self) -> str:
        return f"<CookieJar {len(self._recent)} cookies for {len(self._domains)} domains>"

    # -- files ---------------------------------------------------------------------------------------------------------

    async def save(self, path: str | os.PathLike[str], *, session_cookies: bool = False) -> None:
        """Write the cookies of this moment to a file that only its owner can read, in place of the one that was there.

        It is written beside its place and then renamed: at any moment there is the old file or the new one, whole.

        Args:
            path: where to; not followed where it is a symbolic link.
            session_cookies: write those without an end too.
        Cancellation: atomic, but for the moment of renaming; nothing is left beside the file.
        Raises:
            OSError: it cannot be written; the old file is untouched.
        """
        await save_file(path, [cookie for cookie in self if session_cookies or cookie.expires is not None])

    @classmethod
    async def load(cls, path: str | os.PathLike[str], **options: Unpack[CookieJarOptions]) -> Self:
        """Return a jar with the cookies that ``save`` wrote; all that they say is checked again.

        Cookies that have ended are left out, and those whose domain has become a public suffix. A file that others than
        its owner can read gives a warning in the log.

        Args:
            options: see ``CookieJar``; over its bounds the newest cookies are kept.
        Cancellation: atomic.
        Raises:
            ContentError: ``cookies``: the file is none of ours, or was changed; the message says where.
            OSError: it cannot be read.
        """
        return await cls._load(path, parse_saved, options)

    @classmethod
    async def load_netscape(cls, path: str | os.PathLike[str], **options: Unpack[CookieJarOptions]) -> Self:
        """Return a jar with the cookies of a ``cookies.txt``, which curl and the export tools of browsers write.

        As ``load`` otherwise. The moments when cookies were first set are not in such a file: the order of its lines
        stands for them.
        """
        return await cls._load(path, parse_cookies_txt, options)

    @classmethod
    async def _load(
        cls,
        path: str | os.PathLike[str],
        parse: Callable[[bytes, float], Iterator[tuple[str, StoredCookie]]],
        options: CookieJarOptions,
    ) -> Self:
        jar = cls(**options)
        now = jar._clock()

        def read(data: bytes) -> list[StoredCookie]:
            cookies: list[StoredCookie] = []
            for where, cookie in parse(data, now):
                try:
                    usable = check_stored_cookie(cookie, jar._is_public_suffix)
                except InvalidCookieError as exc:
                    raise InvalidCookieError(f"{where}: {exc}") from exc
                if usable:
                    cookies.append(cookie)
            return cookies

        for cookie in await load_file(path, read, max_bytes=jar._max_cookies * _FILE_BYTES_PER_COOKIE):
            jar._put(cookie, now)
        return jar

    # -- the store -----------------------------------------------------------------------------------------------------

    def _is_public_suffix(self, domain: str) -> bool:
        return (self._public_suffix or find_public_suffixes())(domain)

    def _find(self, url: URL, now: float) -> list[_Kept]:
        """Return what a request for ``url`` takes along, in order."""
        if now >= self._next_end:
            self._drop_expired(now)
        found: list[_Kept] = []
        secure, host, path = is_secure(url), url.host, url.path
        domain = host
        while True:
            some = self._domains.get(domain)
            if some is not None:
                found += [
                    kept
                    for kept in some.values()
                    if (kept.path == "/" or kept.path == path or path.startswith(kept.below))
                    and (secure or not kept.secure)
                    and (domain is host or not kept.host_only)
                ]
            dot = domain.find(".")
            if dot < 0:
                break
            domain = domain[dot + 1 :]
        if len(found) > 1:
            found.sort(key=_RANK)
        return found

    def _accept(self, said: SetCookie, url: URL, now: float) -> None:
        cookie = accept_cookie(said, url, now, self._is_public_suffix)
        if not is_secure(url) and self._has_secure_like(cookie):
            raise InvalidCookieError(f"cookie {clip(cookie.name)} is secure, and not to be replaced over http")
        self._put(cookie, now)

    def _has_secure_like(self, cookie: StoredCookie) -> bool:
        """Tell whether a cookie from http would go where a secure one of its name goes. Source: §5.7, step 15."""
        for domain, some in self._domains.items():
            if domain_matches(domain, cookie.domain) or domain_matches(cookie.domain, domain):
                for kept in some.values():
                    if kept.secure and kept.cookie.name == cookie.name and path_matches(cookie.path, kept.path):
                        return True
        return False

    def _put(self, cookie: StoredCookie, now: float) -> None:
        """Keep a cookie in place of the one that it replaces; one that is over only takes that one away."""
        self._drop_expired(now)
        key = cookie.name, cookie.path, cookie.host_only
        old = self._domains.get(cookie.domain, {}).get(key)
        if old is not None:
            self._remove(old)
            cookie = replace(cookie, created=old.cookie.created)
        if cookie.expires is not None:
            if cookie.expires <= now:
                return
            self._next_end = min(self._next_end, cookie.expires)
        if old is None:
            self._number += 1
        kept = _Kept(cookie, self._number if old is None else old.rank[1])
        self._uses += 1
        kept.used = self._uses
        some = self._domains.setdefault(cookie.domain, {})
        some[key] = kept
        self._recent[kept] = None
        if len(some) > self._max_per_domain:
            self._remove(min(some.values(), key=attrgetter("secure", "used")))
        if len(self._recent) > self._max_cookies:
            self._remove(next(iter(self._recent)))

    def _remove(self, kept: _Kept) -> None:
        cookie = kept.cookie
        some = self._domains[cookie.domain]
        del some[cookie.name, cookie.path, cookie.host_only]
        if not some:
            del self._domains[cookie.domain]
        del self._recent[kept]

    def _drop_expired(self, now: float) -> None:
        if now < self._next_end:
            return
        ended = [kept for kept in self._recent if kept.cookie.expires is not None and kept.cookie.expires <= now]
        for kept in ended:
            self._remove(kept)
        ends = [kept.cookie.expires for kept in self._recent if kept.cookie.expires is not None]
        self._next_end = min(ends, default=math.inf)


def _canonical(domain: str) -> str:
    """Return a domain that a person gave as a jar has it."""
    return encode_host(bracketed(domain.removeprefix(".")))
