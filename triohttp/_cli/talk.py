"""``triohttp ws``: a WebSocket on standard input and output, a line a message.

Rule 1: messages go to standard output, one a line; everything about them goes to standard error.
Rule 2: the end of the input closes the WebSocket, after the answers that still come within ``--linger``.
"""

from __future__ import annotations

import argparse
import sys

import trio

from triohttp import Client, WebSocket
from triohttp.errors import WebSocketClosedError

from .exchange import run_safely
from .options import client_options

__all__ = ["run_talk"]


def run_talk(arguments: argparse.Namespace) -> int:
    """Open a WebSocket and talk; return the exit status."""
    return run_safely(_talk, arguments)


async def _talk(arguments: argparse.Namespace) -> int:
    url = arguments.url if "://" in arguments.url else f"ws://{arguments.url}"
    status = 0
    async with (
        Client(**client_options(arguments)) as client,
        client.websocket(
            url, headers=arguments.header, params=arguments.param, subprotocols=arguments.subprotocol
        ) as websocket,
        trio.open_nursery() as nursery,
    ):
        print(f"* open{f', {websocket.subprotocol}' if websocket.subprotocol else ''}", file=sys.stderr)
        nursery.start_soon(_send_lines, websocket, arguments.linger, nursery.cancel_scope)
        try:
            async for message in websocket:
                if isinstance(message, str):
                    print(message, flush=True)
                else:
                    print(f"* {len(message)} bytes: {message[:32].hex(' ')}", file=sys.stderr)
        except WebSocketClosedError as exc:
            print(f"* {exc}", file=sys.stderr)
            status = 1
        nursery.cancel_scope.cancel()
    return status


async def _send_lines(websocket: WebSocket, linger_seconds: float, scope: trio.CancelScope) -> None:
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        await websocket.send(line.rstrip("\n"))
    await trio.sleep(linger_seconds)
    scope.cancel(reason="the input has ended")
