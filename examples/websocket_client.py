"""A WebSocket on the command line: ``python examples/websocket_client.py ws://127.0.0.1:8080/chat?name=me``.

Each line of standard input is sent, each message printed. At the end of the input, answers that are still on their way
have a second to come.
"""

from __future__ import annotations

import os
import sys

import trio

from triohttp import Client, WebSocket
from triohttp.errors import TrioHTTPError, WebSocketClosedError

LAST_ANSWERS_SECONDS = 1


async def send_lines(ws: WebSocket, scope: trio.CancelScope) -> None:
    rest = b""
    # A thread that waits for the keyboard cannot be ended, so it is left behind when the server closes.
    while data := await trio.to_thread.run_sync(os.read, sys.stdin.fileno(), 65536, abandon_on_cancel=True):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            await ws.send(line.decode(errors="replace"))
    if rest:
        await ws.send(rest.decode(errors="replace"))
    scope.deadline = trio.current_time() + LAST_ANSWERS_SECONDS


def shown(text: str) -> str:
    """Return text of the server's with what could move the terminal's cursor written out."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


async def print_messages(ws: WebSocket) -> None:
    async for message in ws:
        if isinstance(message, bytes):
            message = f"{len(message)} bytes: {message[:24].hex(' ')}"
        print(shown(message), flush=True)


async def talk(url: str) -> WebSocket:
    async with Client() as client, client.websocket(url) as ws:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_lines, ws, nursery.cancel_scope)
                await print_messages(ws)
                nursery.cancel_scope.cancel()
        except* WebSocketClosedError:
            pass  # what it says is in ws, too
    return ws


async def main(url: str) -> str | None:
    try:
        ws = await talk(url)
    except TrioHTTPError as error:
        return f"{url}: {error}"
    print(f"closed with {ws.close_code} {shown(ws.close_reason)}".rstrip(), file=sys.stderr)
    return None


if __name__ == "__main__":
    try:
        sys.exit(trio.run(main, sys.argv[1]) if len(sys.argv) == 2 else __doc__)
    except* KeyboardInterrupt:
        pass
