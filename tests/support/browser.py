"""Chromium, and what the pages in it tell of themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from triohttp import App, Request, Response

if TYPE_CHECKING:
    from conftest import Programs

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
    *("--disable-dev-shm-usage", "--ignore-certificate-errors", "--remote-debugging-port=0"),
    *("--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"),
)


class Report:
    """What a page tells of itself when it has come to its end, by a POST to /seen."""

    def __init__(self, app: App) -> None:
        self._told = trio.Event()
        self._content: object = None

        @app.post("/seen")
        async def seen(request: Request) -> Response:
            self._content = await request.json(any_type=True)
            self._told.set()
            return Response(status=204)

    async def of(self, url: str, programs: Programs) -> object:
        """Open a page in a new browser and return what it tells."""
        profile = f"--user-data-dir={programs.directory / 'profile'}"
        async with programs.beside("chromium", *FLAGS, profile, url):
            await self._told.wait()
        return self._content
