"""What is secret in a recording, and what stands there in its place.

A recording travels: into a repository, to a colleague, into a bug report. So what lets somebody act as the recorded
program is masked unless its author says otherwise.

Rule 1: masks work on names: of header fields, of query and form fields, of members of JSON. What is secret under
        another name has to be named.
Rule 2: a mask keeps the shape: a masked cookie is a cookie, a masked URL a URL, so that a recording can be replayed.
Rule 3: every pass over content is linear.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from triohttp.errors import clip

__all__ = ["MASK", "SECRET_HEADERS", "SECRET_PARAMS", "Masks"]

MASK: Final = "***"
SECRET_HEADERS: Final = frozenset(
    {"authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key", "x-auth-token"}
)
SECRET_PARAMS: Final = frozenset(
    {
        "access_token", "api_key", "apikey", "assertion", "client_assertion", "client_secret", "id_token", "password",
        "refresh_token",
    }
)  # fmt: skip
_OF_URLS: Final = frozenset({"content-location", "location", "referer"})
_USERINFO: Final = re.compile(r"//[^/?#@]*@")


class Masks:
    """Masks what is secret.

    Args:
        secret_headers: names of header fields, beside ``SECRET_HEADERS``.
        secret_params: names of query fields, form fields and members of JSON, beside ``SECRET_PARAMS``.
        enabled: false leaves everything as it is.
    """

    __slots__ = ("_enabled", "_headers", "_json", "_params")

    def __init__(
        self, secret_headers: Collection[str] = (), secret_params: Collection[str] = (), *, enabled: bool = True
    ) -> None:
        for name, names in (("secret_headers", secret_headers), ("secret_params", secret_params)):
            if isinstance(names, str):
                raise TypeError(f"{name} must be a collection of names, not one text: {clip(names)}")
        self._enabled = enabled
        self._headers = SECRET_HEADERS | {name.lower() for name in secret_headers}
        names = "|".join(map(re.escape, sorted(SECRET_PARAMS | set(secret_params), key=len, reverse=True)))
        self._params = re.compile(rf"((?:^|[?&#])(?:{names})=)[^&#]*", re.IGNORECASE)
        # Nothing is given back, or a long string without an end would be looked at again and again. Content that was
        # cut off may end inside of a string, behind a backslash even.
        value = r'(?:"(?:[^"\\]|\\.)*+\\?"?|-?[0-9][^\s,}\]]*)'
        self._json = re.compile(rf'("(?:{names})"\s*+:\s*+){value}', re.IGNORECASE | re.DOTALL)

    def url(self, text: str) -> str:
        """Return a URL, or form content, with its secret fields masked, and who it names in front of its host."""
        return self._params.sub(rf"\g<1>{MASK}", _USERINFO.sub(f"//{MASK}@", text)) if self._enabled else text

    def json(self, text: str) -> str:
        """Return JSON with the secret strings and numbers in it masked."""
        return self._json.sub(rf'\g<1>"{MASK}"', text) if self._enabled else text

    def field(self, name: str, value: str) -> str:
        """Return the value of a header field, masked if it is a secret or holds one."""
        name = name.lower()
        if not self._enabled:
            return value
        if name not in self._headers:
            return self.url(value) if name in _OF_URLS else value
        if name == "cookie":
            return "; ".join(self._pair(pair.strip()) for pair in value.split(";"))
        if name == "set-cookie":
            pair, semicolon, attributes = value.partition(";")
            return f"{self._pair(pair)}{semicolon}{attributes}"
        return MASK

    def cookie(self, value: str) -> str:
        """Return the value of a cookie, masked."""
        return MASK if self._enabled else value

    def _pair(self, pair: str) -> str:
        name, equals, _ = pair.partition("=")
        return f"{name}={MASK}" if equals else MASK
