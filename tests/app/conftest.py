"""Ways to put one request to an app, through the real server over streams in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from triohttp import App
from triohttp.testing import RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]


@pytest.fixture
def ask() -> Ask:
    """Send one request to an app and return the answer: ``await ask(app, "GET /a", content=b"", headers={…})``."""

    async def send(
        app: App,
        line: str,
        *,
        headers: dict[str, str] | None = None,
        content: bytes = b"",
        faults: bool = False,
        version: str = "1.1",
    ) -> RawResponse:
        method, _, target = line.partition(" ")
        fields = {"Host": "app.test", **(headers or {})}
        if content:
            fields["Content-Length"] = str(len(content))
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        async with open_in_process(app, raise_handler_errors=not faults) as server, await server.open_raw() as raw:
            await raw.send_all(f"{method} {target} HTTP/{version}\r\n{head}\r\n".encode("latin-1") + content)
            return await raw.read_response(method)

    return send
