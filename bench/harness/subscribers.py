"""Many clients of an event stream, and the one that publishes: raw sockets, in this process.

Rule 1: one event is on its way at a time; the next is published once everybody has the last one.
Rule 2: every subscriber's copy is looked for in what arrived, up to the empty line that ends an event. One that does
        not come ends the bench. Framing, identifiers and pings around it are passed over.
Rule 3: nothing but events happens while it is measured: connections are open before, and closed after.
"""

from __future__ import annotations

import select
import socket
import time
from types import TracebackType
from typing import Self

__all__ = ["Subscribers"]

_GIVE_UP_SECONDS = 30.0
_OPENED_AT_ONCE = 50
_TEXT_BYTES = 64
_HEAD_END = b"\r\n\r\n"


class Subscribers:
    """Some subscribers of ``/events``, and a connection for ``/publish``; ``with`` them, or close them."""

    def __init__(self, port: int, *, count: int) -> None:
        """Open the streams and read their heads.

        Raises:
            RuntimeError: a stream was not answered with 200 and ``text/event-stream``.
        """
        self._port = port
        self._published = 0
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._received: dict[int, bytes] = {}
        self._publisher = _connect(port)
        try:
            while len(self._sockets) < count:  # not all at once: some servers have a short backlog
                self._open(min(_OPENED_AT_ONCE, count - len(self._sockets)))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def publish(self) -> float:
        """Publish one event, wait until every subscriber has it, and return how long the last one waited, in seconds.

        Raises:
            RuntimeError: the server refused it, or somebody did not get it.
        """
        self._published += 1
        text = f"{self._published:0{_TEXT_BYTES}}"
        wanted = text.encode()
        request = f"POST /publish HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: text/plain\r\n"
        request += f"Content-Length: {_TEXT_BYTES}\r\n\r\n{text}"
        received, sockets, poll = self._received, self._sockets, self._epoll.poll
        missing = set(sockets)
        started = time.perf_counter()
        self._publisher.sendall(request.encode())
        while missing:
            ready = poll(_GIVE_UP_SECONDS)
            if not ready:
                raise RuntimeError(
                    f"{len(missing)} subscribers on port {self._port} did not get an event; "
                    f"what was published was answered with {self._answer_nowait()!r}"
                )
            for descriptor, _ in ready:
                data = sockets[descriptor].recv(65536)
                if not data:
                    raise RuntimeError("the server ended a stream")
                if received[descriptor]:
                    data = received[descriptor] + data
                _, found, rest = data.partition(wanted)
                if found and (b"\r\n\r\n" in rest or b"\n\n" in rest):
                    missing.remove(descriptor)
                    data = b""  # framing that may still come is passed over with the next event
                received[descriptor] = data
        waited = time.perf_counter() - started
        self._read_answer()
        return waited

    def close(self) -> None:
        """Leave, as a client does: close the sockets."""
        self._epoll.close()
        self._publisher.close()
        for subscriber in self._sockets.values():
            subscriber.close()

    def _open(self, count: int) -> None:
        opened = []
        for _ in range(count):
            subscriber = _connect(self._port)
            opened.append(subscriber)
            self._sockets[subscriber.fileno()] = subscriber
            subscriber.sendall(
                f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nAccept: text/event-stream\r\n\r\n".encode()
            )
        for subscriber in opened:
            head = _read_head(subscriber)
            if not head.startswith(b"HTTP/1.1 200 ") or b"text/event-stream" not in head.lower():
                raise RuntimeError(f"a subscriber was answered with {head!r}")
            subscriber.setblocking(False)
            self._received[subscriber.fileno()] = b""
            self._epoll.register(subscriber, select.EPOLLIN)

    def _answer_nowait(self) -> bytes:
        self._publisher.setblocking(False)
        try:
            return self._publisher.recv(4096)
        except BlockingIOError:
            return b""

    def _read_answer(self) -> None:
        head = _read_head(self._publisher)
        if not head.startswith(b"HTTP/1.1 204 ") or not head.endswith(_HEAD_END):
            raise RuntimeError(f"what was published was answered with {head!r}")


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=_GIVE_UP_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _read_head(connection: socket.socket) -> bytes:
    """Return the head, and what came with it."""
    head = b""
    while _HEAD_END not in head:
        data = connection.recv(65536)
        if not data:
            break
        head += data
    return head
