"""The floor with a parser: trio, a raw socket and a bare wsproto loop.

No deadlines, limits, heartbeat or checks of the handshake.
"""

from __future__ import annotations

import socket
import sys

import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Request


async def talk(connection: socket.socket) -> None:
    """Send back every binary message of one connection, until the peer leaves."""
    wire = WSConnection(ConnectionType.SERVER)
    parts: list[bytes] = []
    with connection:
        while True:
            await trio.lowlevel.wait_readable(connection)
            try:
                data = connection.recv(65536)
                if not data:
                    return
                wire.receive_data(data)
                for event in wire.events():
                    if isinstance(event, BytesMessage):
                        parts.append(bytes(event.data))
                        if event.message_finished:
                            connection.send(wire.send(BytesMessage(b"".join(parts))))
                            parts.clear()
                    elif isinstance(event, Request):
                        connection.send(wire.send(AcceptConnection()))
                    elif isinstance(event, CloseConnection):
                        connection.send(wire.send(event.response()))
                        return
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
