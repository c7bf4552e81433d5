"""The websockets package on trio, with its C extension; no compression, its default heartbeat (a ping each 20 s)."""

from __future__ import annotations

import sys

import trio
from websockets.trio.server import ServerConnection, serve


async def echo(ws: ServerConnection) -> None:
    """Send back every message."""
    async for message in ws:
        await ws.send(message)


async def main(port: int) -> None:
    await serve(echo, port, host="127.0.0.1", compression=None)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
