"""The floor with a parser: trio, a raw socket and a bare h11 loop. No deadlines, limits, routes or error answers."""

from __future__ import annotations

import socket
import sys

import h11
import trio

CONTENT = b"Hello, world!"
FIELDS = [
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"date", b"Fri, 20 Nov 2026 12:00:00 GMT"),
    (b"content-length", b"13"),
]


async def talk(connection: socket.socket) -> None:
    """Answer every request of one connection, until the peer leaves."""
    wire = h11.Connection(h11.SERVER)
    with connection:
        while True:
            event = wire.next_event()
            if event is h11.NEED_DATA:
                await trio.lowlevel.wait_readable(connection)
                try:
                    wire.receive_data(connection.recv(65536))
                except ConnectionError:
                    return
            elif isinstance(event, h11.EndOfMessage):
                answer = [
                    wire.send(h11.Response(status_code=200, headers=FIELDS, reason=b"OK")),
                    wire.send(h11.Data(data=CONTENT)),
                    wire.send(h11.EndOfMessage()),
                ]
                connection.send(b"".join(data for data in answer if data))
                wire.start_next_cycle()
            elif not isinstance(event, h11.Request):
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
