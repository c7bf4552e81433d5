"""An app that is served beside a synchronous test: by trio, in a thread of its own, over a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from triohttp import App, serve

__all__ = ["serve_in_thread"]


@contextmanager
def serve_in_thread(app: App) -> Iterator[str]:
    """Serve ``app`` while the block lasts; its value is the URL. What goes on at the end is cancelled."""
    ready = threading.Event()
    found: dict[str, str] = {}
    token: list[trio.lowlevel.TrioToken] = []
    scope = trio.CancelScope()

    async def main() -> None:
        token.append(trio.lowlevel.current_trio_token())
        with scope:
            async with trio.open_nursery() as nursery:
                server = await nursery.start(serve, app, "127.0.0.1", 0)
                found["url"] = server.urls[0]
                ready.set()

    thread = threading.Thread(target=trio.run, args=(main,), name="server of a test")
    thread.start()
    try:
        assert ready.wait(10)
        yield found["url"]
    finally:
        token[0].run_sync_soon(scope.cancel)
        thread.join()
