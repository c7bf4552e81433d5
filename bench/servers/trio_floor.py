"""The floor: trio, a raw socket and an answer that never changes. Nothing is parsed: nothing real can be cheaper."""

from __future__ import annotations

import socket
import sys

import trio

ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"date: Fri, 20 Nov 2026 12:00:00 GMT\r\ncontent-length: 13\r\n\r\nHello, world!"
)


async def talk(connection: socket.socket) -> None:
    """Answer whatever comes in one read, until the peer leaves."""
    with connection:
        while True:
            await trio.lowlevel.wait_readable(connection)
            try:
                if not connection.recv(65536):
                    return
                connection.send(ANSWER)
            except ConnectionError:
                return


async def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(listener)
                while True:
                    try:
                        connection, _ = listener.accept()
                    except BlockingIOError:
                        break
                    connection.setblocking(False)
                    nursery.start_soon(talk, connection)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
