"""Listening sockets of our own, and the loop that accepts from them.

Rule 1: standard-library sockets: trio has no public way to the raw one, and the raw path needs it.
Rule 2: accept until the backlog is empty, at most 64 a round: one a scheduling round makes the 64th newcomer under load
        wait a third of a second.
Rule 3: running out of descriptors pauses accepting for a tenth of a second; it ends nothing.
Rule 4: the protocol's socket options are set on the listener; what it accepts inherits them.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Awaitable, Callable, Sequence

import trio

from triohttp._connection.connection import address, tune
from triohttp._values.message import Address
from triohttp.errors import clip

from .records import Seldom, server_log

__all__ = ["ForeignListener", "OwnListener", "open_tcp"]

BACKLOG = 1024
ROUND = 64
PAUSE_SECONDS = 0.1
CAPACITY = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
CLOSED = frozenset({errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP})


class _Patience:
    """Pauses when the system is out of something, and says so now and then."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._complaint = Seldom(trio.current_time)

    async def wait(self, error: OSError) -> None:
        if self._complaint.is_due():
            server_log.warning(
                "accepting on %s pauses: %s; raise the descriptor limit or lower max_connections", self._where, error
            )
        await trio.sleep(PAUSE_SECONDS)


class OwnListener:
    """A listening socket that we accept from directly."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.address: Address = address(sock.getsockname())

    def __repr__(self) -> str:
        return f"<OwnListener {self.address}>"

    async def accept(
        self, room: Callable[[], Awaitable[None]], welcome: Callable[[socket.socket, object], None]
    ) -> None:
        """Accept for ever; ``room`` waits for a place, ``welcome`` takes a socket over without awaiting.

        Raises:
            OSError: the listener has been closed under us.
        """
        patience = _Patience(str(self.address))
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            for _ in range(ROUND):
                await room()
                try:
                    sock, peer = self._sock.accept()
                except (BlockingIOError, InterruptedError):
                    break
                except OSError as exc:
                    if exc.errno in CLOSED:
                        raise
                    if exc.errno in CAPACITY:
                        await patience.wait(exc)
                        break
                    continue  # that one connection failed before we had it: ECONNABORTED, EPROTO and the like
                sock.setblocking(False)
                welcome(sock, peer)

    def take_waiting(self, welcome: Callable[[socket.socket, object], None], most: int) -> None:
        """Take over what waits in the backlog, at most ``most``: it would be reset when the listener closes."""
        for _ in range(most):
            try:
                sock, peer = self._sock.accept()
            except OSError:
                return
            sock.setblocking(False)
            welcome(sock, peer)

    def close(self) -> None:
        """Stop listening; what waits in the backlog is refused."""
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


class ForeignListener:
    """Any ``trio.abc.Listener`` that a program brings."""

    def __init__(self, listener: trio.abc.Listener[trio.abc.Stream]) -> None:
        self._listener = listener
        self.address: Address = None
        if isinstance(listener, trio.SocketListener) and listener.socket.fileno() >= 0:
            self.address = address(listener.socket.getsockname())

    def __repr__(self) -> str:
        return repr(self._listener)

    async def accept(self, room: Callable[[], Awaitable[None]], welcome: Callable[[trio.abc.Stream], None]) -> None:
        """Accept for ever; ``room`` waits for a place, ``welcome`` takes a stream over without awaiting.

        Raises:
            trio.ClosedResourceError: the listener has been closed under us.
        """
        patience = _Patience(repr(self))
        while True:
            await room()
            try:
                stream = await self._listener.accept()
            except OSError as exc:
                if exc.errno in CLOSED:
                    raise
                await patience.wait(exc)
                continue
            welcome(stream)

    async def aclose(self) -> None:
        """Close the listener, without waiting; a cancellation is for after it."""
        try:
            with trio.CancelScope(shield=True):  # bounded: the closing itself is cancelled
                await trio.aclose_forcefully(self._listener)
        except Exception as exc:  # noqa: BLE001  # whatever a foreign listener raises, the others are to be closed too
            server_log.error("%r failed while it was closed: %r", self, exc, exc_info=exc)


async def open_tcp(host: str | None, port: int) -> Sequence[OwnListener]:
    """Bind and listen on every address that ``host`` has; None means every address of this machine.

    Raises:
        OSError: an address cannot be bound, or ``host`` has none; the message names it.
        TypeError, ValueError: there is no such port, or ``host`` is no name.
    """
    if not isinstance(host, str | None):
        raise TypeError(f"host must be a name or an address, or None for every address, not {clip(host)}")
    if not isinstance(port, int):
        raise TypeError(f"port must be a whole number, not {clip(port)}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be from 0 to 65535, not {port}")
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as exc:
        raise socket.gaierror(exc.errno, f"cannot listen on {clip(host)}: {exc.strerror}") from exc
    bound: list[OwnListener] = []
    try:
        for family, kind, protocol, _, name in sorted(set(found), key=lambda entry: entry[0]):
            where = (name[0], port, *name[2:])
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                tune(sock)
                sock.bind(where)
                sock.listen(BACKLOG)
            except OSError as exc:
                sock.close()
                hint = "; is another server running there?" if exc.errno == errno.EADDRINUSE else ""
                raise OSError(exc.errno, f"cannot listen on {name[0]} port {port}: {exc.strerror}{hint}") from exc
            listener = OwnListener(sock)
            bound.append(listener)
            if port == 0 and isinstance(listener.address, tuple):
                port = listener.address[1]  # the other addresses of the host share it
    except BaseException:
        for listener in bound:
            listener.close()
        raise
    return bound
