"""Stand-in until the jar comes."""
from __future__ import annotations

from triohttp._values.url import URL


class CookieJar:
    def field_for(self, url: URL) -> str | None:
        return None

    def store(self, url: URL, values: list[str]) -> None:
        return
