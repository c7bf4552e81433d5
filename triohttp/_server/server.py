"""A running server: the nursery tree, what it counts, and how it ends.

    serve()
    ├─ supervisor      holds the services nursery (``app.nursery``), beside the connections
    ├─ timer, watch    one task each for every deadline and every disconnect
    └─ body            the lifespan, and inside it
       └─ connections  never cancelled by a drain; stopped when its grace ends
          └─ accept    one task a listener; cancelled first

Order of ending: listeners → idle connections → connections → services → lifespan.

Rule 1: every task of the tree stores what happened instead of raising it, so that the caller gets the one real error
        and never a group of ours.
Rule 2: a drain is begun once and may only be shortened.
"""

from __future__ import annotations

import os
import resource
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import time

import trio

from triohttp._connection.connection import Connection, address, describe
from triohttp._connection.disconnect import DisconnectWatch
from triohttp._connection.timer import Timer
from triohttp._connection.transport import SocketTransport, Transport, check_closable, transport_for
from triohttp._values.dates import format_http_date
from triohttp._values.headers import Headers
from triohttp._values.limits import Limits, Timeouts
from triohttp._values.message import Address, ConnectionInfo
from triohttp._values.service import Service
from triohttp._wire.events import FieldLines, Role
from triohttp._wire.h1 import H1Wire

from .conversation import converse
from .firewall import contain, first_of, is_cancellation, leaves
from .listeners import ForeignListener, OwnListener
from .records import RejectLog, Seldom, server_log, show

__all__ = ["Server", "ServerStatistics"]

HANDSHAKE_SECONDS = 1.0  # for a TLS handshake that was going on when the drain began
SERVICES_SECONDS = 5.0  # for the services to clean up when everything is cancelled from outside
OVERTIME_SECONDS = 5.0
STUCK_EXIT_STATUS = 70
MOST_CONNECTIONS = 10_000
SPARE_DESCRIPTORS = 128

OpenListeners = Callable[[], Awaitable[Sequence[OwnListener | ForeignListener]]]


@dataclass(frozen=True, slots=True)
class ServerStatistics:
    """What a server has done so far."""

    open_connections: int
    """Connections open now."""
    connections: int
    """Connections accepted."""
    requests: int
    """Requests that came as far as the service; those in progress count."""
    rejects: int
    """Requests refused before any handler saw them, or for what their content turned out to be."""


class Server:
    """A running server; ``serve`` and ``open_server`` hand it out."""

    def __init__(
        self,
        service: Service,
        *,
        limits: Limits,
        timeouts: Timeouts,
        tls: ssl.SSLContext | None,
        server_header: str | None,
        owns_process: bool,
        listeners: Sequence[ForeignListener],
    ) -> None:
        self.service = service
        self.limits = limits
        self.timeouts = timeouts
        self.draining = False
        self.drain_begun = trio.Event()
        self.ready = False
        """Whether new requests are welcome: what a health check should say."""
        self.requests = 0
        self.rejects = 0
        self.reject_log = RejectLog(trio.current_time)
        self._tls = tls
        self._owns_process = owns_process
        self._timer = Timer()
        self._watch = DisconnectWatch()
        self._open: dict[Connection, trio.lowlevel.Task] = {}
        self._handshakes: set[trio.CancelScope] = set()
        self._accepted = 0
        self._most_connections = most_connections(limits)
        self._occupied = 0
        self._room: trio.Event | None = None
        self._full = Seldom(trio.current_time)
        self._listeners: Sequence[OwnListener | ForeignListener] = listeners
        self._root: trio.Nursery | None = None
        self._connections: trio.Nursery | None = None
        self._lifespan = trio.CancelScope()
        self._accepting: trio.CancelScope | None = None
        self._services_ended = trio.Event()
        self._failure: BaseException | None = None
        self._stop_at = float("inf")
        self._stop_moved = trio.Event()
        self._ended = trio.Event()
        self._second = 0
        self._server_line = Headers({"Server": server_header}).raw if server_header else []
        self._standing: FieldLines = []

    def __repr__(self) -> str:
        state = "draining" if self.draining else "ready" if self.ready else "not ready"
        return f"<Server {' '.join(self.urls) or 'in process'} {state}>"

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def addresses(self) -> list[Address]:
        """Where it listens: (host, port) for TCP."""
        return [listener.address for listener in self._listeners if listener.address is not None]

    @property
    def port(self) -> int:
        """The TCP port that it listens on; with several addresses, the first's."""
        for where in self.addresses:
            if isinstance(where, tuple):
                return where[1]
        raise LookupError("this server listens on no TCP port")

    @property
    def urls(self) -> list[str]:
        """Where it can be reached, one URL an address."""
        scheme = "https" if self._tls is not None else "http"
        return [f"{scheme}://{show(where)}" for where in self.addresses if isinstance(where, tuple)]

    def statistics(self) -> ServerStatistics:
        """Return what it has done so far."""
        return ServerStatistics(len(self._open), self._accepted, self.requests, self.rejects)

    @property
    def started(self) -> bool:
        """Whether it has begun to accept."""
        return self._accepting is not None

    def standing_fields(self) -> FieldLines:
        """Return the Date and Server field lines of this second."""
        now = time()
        if int(now) != self._second:
            self._second = int(now)
            self._standing = [(b"Date", format_http_date(self._second).encode("ascii")), *self._server_line]
        return self._standing

    # -- how it ends ---------------------------------------------------------------------------------------------------

    async def shutdown(self, grace: float | None = None) -> None:
        """Stop accepting, let what is going on end, and return when the server has ended.

        Idle connections close at once; answers in flight carry ``Connection: close``. What is left when the grace ends
        is cancelled. Called again it may shorten the grace. From inside a handler it waits for that handler too: start
        it in ``app.nursery`` there.

        Args:
            grace: seconds; None means ``Timeouts.drain_seconds``.
        Cancellation: the drain goes on; only the wait for its end stops.
        """
        self.begin_drain(grace)
        await self._ended.wait()

    def begin_drain(self, grace: float | None = None) -> None:
        """Begin what ``shutdown`` does, without waiting."""
        seconds = self.timeouts.drain_seconds if grace is None else grace
        if seconds < 0:
            raise ValueError(f"grace must be at least 0 seconds, not {grace!r}")
        delay = self.timeouts.drain_delay_seconds
        self._move_stop(trio.current_time() + delay + seconds)
        if not self.ready:
            return  # it has begun already, or the start will notice by itself
        self.ready = False
        if delay > 0 and self._root is not None:
            self._root.start_soon(self._drain_after, delay)
        else:
            self._drain()

    async def _drain_after(self, delay: float) -> None:
        await trio.sleep(delay)
        self._drain()

    def _drain(self) -> None:
        if self.draining:
            return
        self.draining = True
        self.drain_begun.set()
        if self._accepting is not None:
            self._accepting.cancel(reason="draining")
        for connection in self._open:
            if not connection.handling:
                connection.transport.wake_reader("drain")
        latest = trio.current_time() + HANDSHAKE_SECONDS
        for scope in self._handshakes:
            scope.deadline = min(scope.deadline, latest)

    def stop_now(self, why: str) -> None:
        """Cancel everything, connections, services and lifespan; the hard stop of a second signal."""
        self.ready = False
        self._move_stop(trio.current_time())
        self._drain()
        self._cancel_connections()
        self._lifespan.cancel(reason=why)
        server_log.warning("stopping at once: %s", why)

    def stop_because(self, failure: BaseException) -> None:
        """Drain, then have ``serve`` raise ``failure``."""
        if self._failure is None:
            self._failure = failure
        self.begin_drain()
        if not self.started:
            self._lifespan.cancel(reason="the server failed during its start")

    def _move_stop(self, when: float) -> None:
        if when < self._stop_at:
            self._stop_at = when
            self._stop_moved.set()
            self._stop_moved = trio.Event()

    # -- the tree ------------------------------------------------------------------------------------------------------

    async def run(self, open_listeners: OpenListeners | None, started: Callable[[Server], None]) -> None:
        """Be the server, from the services' start to the lifespan's end. Raises the one real error, if any.

        ``open_listeners`` is called when everything else stands; None means that there are some already.
        """
        try:
            async with trio.open_nursery() as root:
                self._root = root
                try:
                    await self._enclosed(root, open_listeners, started)
                except BaseException as exc:
                    if is_cancellation(exc):
                        raise
                    if self._failure is None:  # kept, to be raised outside the nursery
                        self._failure = exc
                    elif exc is not self._failure:
                        server_log.error("the server failed again while it ended: %r", exc, exc_info=exc)
                root.cancel_scope.cancel(reason="the server has ended")
        except BaseException as exc:  # noqa: BLE001  # a cancellation, once for every task that heard of it
            # What went wrong on the way out was stored, and counts for more.
            if self._failure is None or not is_cancellation(exc):
                raise first_of(exc) from None
        finally:
            self.ready = False
            self._root = None
            await self._close_listeners()  # those of a program, when it did not come to accepting
            self._watch.close()
            self._ended.set()
        if self._failure is not None:
            raise self._failure

    async def _enclosed(
        self, root: trio.Nursery, open_listeners: OpenListeners | None, started: Callable[[Server], None]
    ) -> None:
        services: trio.Nursery = await root.start(self._supervise)
        try:
            with self._lifespan:
                async with self.service.lifespan(services):
                    try:
                        if self._failure is None:
                            await self._listen(root, open_listeners, started)
                    finally:
                        services.cancel_scope.cancel(reason="the server is ending")
                        with trio.move_on_after(SERVICES_SECONDS, shield=True):
                            await self._services_ended.wait()
        finally:
            services.cancel_scope.cancel(reason="the server is ending")

    async def _supervise(self, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Hold the services nursery; a crash in it drains the server and is what ``serve`` raises."""
        try:
            async with trio.open_nursery() as services:
                task_status.started(services)
                await trio.sleep_forever()
        except trio.Cancelled:
            raise
        except BaseExceptionGroup as group:
            if is_cancellation(group):
                raise
            faults = [leaf for leaf in leaves(group) if not isinstance(leaf, trio.Cancelled)]
            server_log.error("a service failed, the server drains: %r", faults[0])
            self.stop_because(faults[0] if len(faults) == 1 else group)
        finally:
            self._services_ended.set()

    async def _listen(
        self, root: trio.Nursery, open_listeners: OpenListeners | None, started: Callable[[Server], None]
    ) -> None:
        if open_listeners is not None:
            self._listeners = await open_listeners()
        root.start_soon(self._timer.run)
        root.start_soon(self._watch.run)
        async with trio.open_nursery() as connections:
            self._connections = connections
            root.start_soon(self._stop_when_due, connections)
            try:
                async with trio.open_nursery() as accepting:
                    self._accepting = accepting.cancel_scope
                    for listener in self._listeners:
                        accepting.start_soon(self._accept, listener)
                    self.ready = True
                    if self._stop_at != float("inf"):
                        self.begin_drain()
                    started(self)
                self._take_waiting()
            finally:
                await self._close_listeners()
            if not self.draining:
                server_log.critical("no listener is left, the server drains")
                self.begin_drain()

    def _take_waiting(self) -> None:
        """Serve what was connected before the drain began and has not been accepted; closing would reset it."""
        if trio.current_time() < self._stop_at:
            for listener in self._listeners:
                if isinstance(listener, OwnListener):
                    listener.take_waiting(self._welcome_socket, self._most_connections - self._occupied)

    async def _close_listeners(self) -> None:
        for listener in self._listeners:
            if isinstance(listener, OwnListener):
                listener.close()
            else:
                await listener.aclose()

    async def _stop_when_due(self, connections: trio.Nursery) -> None:
        """Cancel what is left when the grace ends, and name what will not go."""
        while trio.current_time() < self._stop_at:
            moved = self._stop_moved
            with trio.move_on_at(self._stop_at):
                await moved.wait()
        self._cancel_connections()
        connections.cancel_scope.cancel(reason="shutdown")
        while True:
            await trio.sleep(OVERTIME_SECONDS)
            for connection, task in list(self._open.items()):
                server_log.critical("%r ignores its cancellation; it is here:\n%s", connection, "".join(where_is(task)))
            # A lifespan that tidies up may take its time, unless it was told to stop at once.
            if self._owns_process and (self._open or self._lifespan.cancel_called):
                server_log.critical("the process ends: something in it ignores its cancellation")
                os._exit(STUCK_EXIT_STATUS)

    def _cancel_connections(self) -> None:
        for connection in self._open:
            connection.cancel("shutdown")

    # -- connections ---------------------------------------------------------------------------------------------------

    async def _accept(self, listener: OwnListener | ForeignListener) -> None:
        try:
            if isinstance(listener, OwnListener):
                await listener.accept(self._wait_for_room, self._welcome_socket)
            else:
                await listener.accept(self._wait_for_room, self._welcome_stream)
        except Exception as exc:  # noqa: BLE001  # whatever a foreign listener raises is the end of that listener only
            server_log.critical("%r is broken: %r", listener, exc, exc_info=exc)

    async def _wait_for_room(self) -> None:
        while self._occupied >= self._most_connections:
            if self._room is None:
                self._room = trio.Event()
                if self._full.is_due():
                    server_log.warning("max_connections=%d are open; accepting pauses", self._most_connections)
            await self._room.wait()

    def _welcome_socket(self, sock: socket.socket, peer: object) -> None:
        self._occupied += 1
        assert self._connections is not None
        self._connections.start_soon(self._contained, partial(self._serve_socket, sock, peer))

    def _welcome_stream(self, stream: trio.abc.Stream) -> None:
        self._occupied += 1
        assert self._connections is not None
        self._connections.start_soon(self._contained, partial(self._serve_stream, stream))

    async def _contained(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await contain("a connection", work, self.stop_because)
        finally:
            self._occupied -= 1
            if self._room is not None:
                self._room.set()
                self._room = None

    async def _serve_socket(self, sock: socket.socket, peer: object) -> None:
        try:
            if self._tls is not None:
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
                await self._serve_tls(trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True))
                return
            try:
                local = address(sock.getsockname())
            except OSError:
                local = None
            info = ConnectionInfo(self._next_number(), address(peer), local)
            await self._serve_transport(SocketTransport(sock), info, sock.fileno())
        finally:
            sock.close()

    async def _serve_stream(self, stream: trio.abc.Stream) -> None:
        try:
            check_closable(stream)
        except TypeError as exc:
            server_log.critical("%s", exc)
            await trio.aclose_forcefully(stream)
            return
        if self._tls is not None and not isinstance(stream, trio.SSLStream):
            stream = trio.SSLStream(stream, self._tls, server_side=True, https_compatible=True)
        if isinstance(stream, trio.SSLStream):
            await self._serve_tls(stream)
            return
        info = describe(stream, self._next_number())
        transport = transport_for(stream)
        descriptor = transport.sock.fileno() if isinstance(transport, SocketTransport) else -1
        await self._serve_transport(transport, info, descriptor)

    async def _serve_tls(self, stream: trio.SSLStream[trio.abc.Stream]) -> None:
        try:
            if await self._shake_hands(stream):
                below = stream.transport_stream
                descriptor = below.socket.fileno() if isinstance(below, trio.SocketStream) else -1
                info = describe(stream, self._next_number())
                await self._serve_transport(transport_for(stream), info, descriptor)
        finally:
            await trio.aclose_forcefully(stream)

    async def _shake_hands(self, stream: trio.SSLStream[trio.abc.Stream]) -> bool:
        """Do TLS's handshake within its time; True when there is somebody to talk to."""
        seconds = self.timeouts.tls_handshake_seconds
        try:
            with trio.move_on_after(seconds) as scope:
                self._handshakes.add(scope)
                try:
                    await stream.do_handshake()
                finally:
                    self._handshakes.discard(scope)
                return True
        except (trio.BrokenResourceError, trio.ClosedResourceError, ssl.SSLError) as exc:
            server_log.debug("a TLS handshake failed: %r", exc.__cause__ or exc)
        else:
            server_log.debug("a TLS handshake did not end within tls_handshake_seconds=%g", seconds)
        return False

    async def _serve_transport(self, transport: Transport, info: ConnectionInfo, descriptor: int) -> None:
        connection = Connection(
            transport,
            H1Wire(Role.SERVER, self.limits, secure=info.tls is not None),
            info,
            timer=self._timer,
            timeouts=self.timeouts,
            nursery=self._connections,
        )
        self._watch.add(connection, descriptor)
        self._open[connection] = trio.lowlevel.current_task()
        try:
            await converse(self, connection)
        finally:
            del self._open[connection]

    def _next_number(self) -> int:
        self._accepted += 1
        return self._accepted


def most_connections(limits: Limits) -> int:
    """Return how many connections may be open: what was asked for, within the descriptors that there are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard and hard != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    room = max(1, soft - SPARE_DESCRIPTORS) if soft != resource.RLIM_INFINITY else MOST_CONNECTIONS
    if limits.max_connections is None:
        return min(MOST_CONNECTIONS, room)
    if limits.max_connections > room:
        server_log.warning(
            "max_connections=%d passes what %d descriptors allow; it is %d now", limits.max_connections, soft, room
        )
        return room
    return limits.max_connections


def where_is(task: trio.lowlevel.Task) -> list[str]:
    """Return the stack of a task that waits, as text."""
    return traceback.StackSummary.extract((frame, line) for frame, line in task.iter_await_frames()).format()


@asynccontextmanager
async def no_lifespan(nursery: trio.Nursery) -> AsyncIterator[None]:
    """Enclose the serving of a bare handler with nothing."""
    yield
