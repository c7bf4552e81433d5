"""WebSocket connections that load an echo server: raw sockets, one masked binary message in flight on each.

Rule 1: frames are made before anything is measured; each connection has a mask and a content of its own, both random.
Rule 2: every echo is compared whole with what was sent. Anything else that arrives ends the bench: a ping, a fragment,
        a compressed or a masked frame, an end of the stream.
Rule 3: nothing but echoes happens while it is measured: connections are open before, and closed after.
"""

from __future__ import annotations

import base64
import hashlib
import os
import select
import socket
import struct
import time
from types import TracebackType
from typing import Self

__all__ = ["Echoes", "message_and_echo"]

_GIVE_UP_SECONDS = 30.0
_SEND_BUFFER_BYTES = 256 * 1024
_ACCEPT_SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_BINARY = 0x82  # the whole message in one frame, no extension's bit set
_CLOSE_1000 = b"\x88\x82" + bytes(4) + struct.pack("!H", 1000)


class _Connection:
    """One connection: the frame that it sends again and again, and room for exactly the frame that answers it."""

    __slots__ = ("answer", "filled", "frame", "room", "socket", "view")

    def __init__(self, connection: socket.socket, size: int) -> None:
        self.socket = connection
        self.frame, self.answer = message_and_echo(size)
        self.room = bytearray(len(self.answer))
        self.view = memoryview(self.room)
        self.filled = 0

    def send(self) -> None:
        # One message is in flight, so the kernel's buffer is empty and takes the frame whole.
        if self.socket.send(self.frame) != len(self.frame):
            raise RuntimeError("the kernel's send buffer does not hold one message")


def message_and_echo(size: int) -> tuple[bytes, bytes]:
    """Return a client's frame with random content and a random mask, and the frame that a server sends back."""
    content = os.urandom(size)
    mask = os.urandom(4)
    whole_mask = (mask * (size // 4 + 1))[:size]
    masked = (int.from_bytes(content) ^ int.from_bytes(whole_mask)).to_bytes(size)
    return _frame_head(size, 0x80) + mask + masked, _frame_head(size, 0) + content


def _frame_head(size: int, mask_bit: int) -> bytes:
    if size < 126:
        return bytes([_BINARY, mask_bit | size])
    if size < 65_536:
        return struct.pack("!BBH", _BINARY, mask_bit | 126, size)
    return struct.pack("!BBQ", _BINARY, mask_bit | 127, size)


class Echoes:
    """Some open connections to an echo server; ``with`` them, or close them."""

    def __init__(self, port: int, *, connections: int, size: int) -> None:
        """Open the connections, and see one message of ``size`` bytes come back on each.

        Raises:
            RuntimeError: the server did not accept the upgrade, or did not send back what it got.
        """
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        try:
            for _ in range(connections):
                connection = _Connection(_open_websocket(port), size)
                self._connections[connection.socket.fileno()] = connection
                self._epoll.register(connection.socket, select.EPOLLIN)
            self.run(0)
        except BaseException:
            self._drop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def run(self, seconds: float) -> int:
        """Keep one message in flight on every connection for that long, at least one; return how many came back.

        Nothing is in flight any more when it returns.
        Raises:
            RuntimeError: something else came back, or nothing.
        """
        connections = self._connections
        poll = self._epoll.poll
        clock = time.perf_counter
        end = clock() + seconds
        for connection in connections.values():
            connection.send()
        messages = 0
        in_flight = len(connections)
        while in_flight:
            ready = poll(_GIVE_UP_SECONDS)
            if not ready:
                raise RuntimeError(f"{in_flight} messages were not sent back")
            again = clock() < end
            for descriptor, _ in ready:
                connection = connections[descriptor]
                filled = connection.filled
                room = connection.view[filled:] if filled else connection.view
                received = connection.socket.recv_into(room)
                if not received:
                    raise RuntimeError("the server ended a connection")
                filled += received
                if filled < len(connection.room):
                    connection.filled = filled
                    continue
                if connection.room != connection.answer:
                    raise RuntimeError(f"not what was sent came back: {bytes(connection.room[:80])!r}")
                connection.filled = 0
                messages += 1
                if again:
                    connection.send()
                else:
                    in_flight -= 1
        return messages

    def close(self) -> None:
        """Close every connection the way the protocol wants it."""
        try:
            for connection in self._connections.values():
                connection.socket.send(_CLOSE_1000)
            for connection in self._connections.values():
                connection.socket.settimeout(_GIVE_UP_SECONDS)
                try:
                    while connection.socket.recv(4096):
                        pass
                except ConnectionError:
                    pass  # a server may have given up waiting until it was this one's turn
                connection.socket.close()
        finally:
            self._drop()

    def _drop(self) -> None:
        self._epoll.close()
        for connection in self._connections.values():
            connection.socket.close()


def _open_websocket(port: int) -> socket.socket:
    key = base64.b64encode(os.urandom(16))
    request = (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    connection = socket.socket()
    try:
        connection.settimeout(_GIVE_UP_SECONDS)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect(("127.0.0.1", port))
        connection.sendall(request.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            received = connection.recv(65536)
            if not received:
                break
            head += received
        accept = base64.b64encode(hashlib.sha1(key + _ACCEPT_SALT).digest())
        if not head.startswith(b"HTTP/1.1 101 ") or accept not in head or b"sec-websocket-extensions" in head.lower():
            raise RuntimeError(f"the upgrade was answered with {head!r}")
        connection.setblocking(False)
    except BaseException:
        connection.close()
        raise
    return connection
