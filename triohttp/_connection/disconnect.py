"""Hearing that peers leave, without reading (Linux): one epoll for all connections of a server.

Each TCP connection is registered once, for ``EPOLLRDHUP | EPOLLET`` only: a FIN or a reset wakes the one task that
waits for the epoll itself, under TLS and behind unread bytes too. It costs nothing a request, and hears within half a
millisecond. What is left to read stays where it is. On other systems and streams a late reader does the work
(``Connection._look``).

Rule 1: unregister before the descriptor is closed: numbers are reused, and a forked child keeps registrations alive.
Rule 2: keep it edge-triggered: level-triggered it spins after the first FIN.
"""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["DisconnectWatch"]


class DisconnectWatch:
    """An epoll and the connections it listens for; ``run`` is its task."""

    def __init__(self) -> None:
        self._connections: dict[int, Connection] = {}
        self._epoll: select.epoll | None = None
        if sys.platform == "linux":
            self._epoll = select.epoll()

    def add(self, connection: Connection, descriptor: int) -> None:
        """Listen for the end of a connection's peer, where the system can."""
        epoll = self._epoll
        if epoll is None or descriptor < 0:
            return
        try:
            epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)
        except OSError:
            return  # not a socket that epoll knows; the late reader takes over
        self._connections[descriptor] = connection

        def remove() -> None:
            if self._connections.pop(descriptor, None) is not None and not epoll.closed:
                try:
                    epoll.unregister(descriptor)
                except OSError:
                    pass  # closed by somebody else, and forgotten by the kernel with it

        connection.watched_by(remove)

    async def run(self) -> None:
        """Tell connections that their peers have left, until cancelled."""
        epoll = self._epoll
        if epoll is None:
            await trio.sleep_forever()
        while epoll is not None:
            await trio.lowlevel.wait_readable(epoll.fileno())
            for descriptor, events in epoll.poll(0, 64):
                connection = self._connections.get(descriptor)
                if connection is not None:
                    connection.peer_ended(reset=bool(events & (select.EPOLLHUP | select.EPOLLERR)))

    def close(self) -> None:
        """Close the epoll; nothing is listened for any more."""
        if self._epoll is not None:
            trio.lowlevel.notify_closing(self._epoll.fileno())
            self._epoll.close()
