"""One HTTP connection, for either role: a transport, a wire, and the rules about when bytes may still move.

Server and client drive this same class; what differs by role is in ``server_exchange`` and ``client_exchange``.

Two levers, kept apart:
  wake    ends a wait of this library's own, in place; nobody is cancelled and the task goes on (timeouts, drain);
  cancel  the connection's one long-lived scope; only for user code that must stop (peer gone, handler deadline,
          hard stop). The connection always ends after it; a farewell is written outside the scope.

Rule 1: every write goes through ``transmit`` under ``send_turn``: the order in which the wire made bytes is the order
        in which they leave.
Rule 2: a write poisons before it awaits and heals when it is done; whatever interrupts it leaves the poison behind.
Rule 3: deadlines are numbers here; the server's one timer looks at the earliest (a client's connection has no timer).
Rule 4: translation happens here: trio's BrokenResourceError becomes DisconnectedError, wakes become timeouts.
"""

from __future__ import annotations

import math
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from triohttp._turn import SendTurn
from triohttp._values.limits import Timeouts, WireLimits
from triohttp._values.message import Address, ConnectionInfo, TLSInfo
from triohttp._values.service import OnDisconnect
from triohttp._wire.events import Event, Role, Signal, Wire
from triohttp._wire.h1 import H1Wire
from triohttp.errors import DisconnectedError, WriteTimeout

from .transport import SocketTransport, StreamTransport, Transport, Woken, transport_for

if TYPE_CHECKING:
    from .timer import Entry, Timer

__all__ = ["Connection", "describe"]

HEAD_READ_BYTES = 16 * 1024
CONTENT_READ_BYTES = 64 * 1024
BULK_READ_BYTES = 256 * 1024
"""What is received at a time once there was more than CONTENT_READ_BYTES at a time; a large buffer costs a few µs."""
LOOK_SECONDS = 0.05  # how long a handler runs before a stream without a watch is read ahead of time
GOODBYE_SECONDS = 1.0


class Connection:
    """A stream that speaks HTTP.

    It is made for a stream that it owns from then on. The public face is in ``triohttp.lowlevel``.
    """

    __slots__ = (
        "_bulk",
        "_left",
        "_unregister",
        "armed",
        "cancel_reason",
        "ended_at",
        "entry",
        "gone_deadline",
        "handler_deadline",
        "handling",
        "info",
        "last_write",
        "look_deadline",
        "nursery",
        "on_bytes",
        "on_disconnect",
        "poisoned",
        "read_deadline",
        "scope",
        "send_turn",
        "timeouts",
        "timer",
        "transport",
        "watched",
        "wire",
        "write_deadline",
        "write_moved",
        "write_sent",
        "write_waited",
        "write_waiting_since",
    )

    def __init__(
        self,
        transport: Transport,
        wire: Wire,
        info: ConnectionInfo,
        *,
        timer: Timer | None = None,
        timeouts: Timeouts | None = None,
        nursery: trio.Nursery | None = None,
    ) -> None:
        self.transport = transport
        self.wire = wire
        self.info = info
        self.timer = timer
        self.timeouts = timeouts
        self.nursery = nursery
        self.send_turn = SendTurn()
        self.on_bytes: Callable[[bytes], None] | None = None  # who looks on as they come
        self.scope = trio.CancelScope()
        self.cancel_reason: str | None = None
        self.poisoned = False
        self._bulk = False  # the last receive was a full one
        self.watched = False
        self._unregister: Callable[[], None] | None = None
        self._left: trio.Event | None = None  # what a lingering close waits for once it reads no more
        # deadlines: absolute trio times, math.inf for none
        self.read_deadline = math.inf
        self.write_deadline = math.inf
        self.write_moved: float | None = None  # what a handler wants the write deadline to be
        self.handler_deadline = math.inf
        self.gone_deadline = math.inf
        self.look_deadline = math.inf
        self.armed = math.inf
        self.entry: Entry | None = None
        # the peer's end, as far as it was heard of without reading
        self.handling = False
        self.on_disconnect: OnDisconnect = "cancel"
        self.ended_at: float | None = None
        self.last_write = -math.inf
        # the pace at which the peer takes what we write, an exchange at a time
        self.write_waited = 0.0
        self.write_waiting_since: float | None = None
        self.write_sent = 0

    @classmethod
    def over_stream(cls, stream: trio.abc.Stream, role: Role, limits: WireLimits, info: ConnectionInfo) -> Connection:
        """Return a connection over a stream, which it owns; a plain ``trio.SocketStream`` gives up its socket."""
        wire = H1Wire(role, limits, secure=info.tls is not None)
        return cls(transport_for(stream), wire, info)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "poisoned" if self.poisoned else "open"
        return f"<Connection {self.info.number} {self.wire.role.value} {state} peer={self.info.peer!r}>"

    # -- receiving -----------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """True once the stream has been closed by this end."""
        return self.transport.closed

    async def next_event(self) -> Event:
        """Return the next event of the wire, receiving for it where needed.

        Cancellation: resumable; what was received stays in the wire.
        Raises:
            RemoteProtocolError: the peer broke HTTP.
            DisconnectedError: the peer reset the connection.
        """
        wire = self.wire
        while (event := wire.next_event()) is Signal.NEED_DATA:
            try:
                data = await self.transport.receive(BULK_READ_BYTES if self._bulk else CONTENT_READ_BYTES)
            except trio.BrokenResourceError as exc:
                raise DisconnectedError("the peer reset the connection", phase="receive") from exc
            except Woken as woken:
                raise trio.ClosedResourceError(f"this connection was closed: {woken.why}") from None
            if self.on_bytes is not None and data:
                self.on_bytes(data)
            self._bulk = len(data) >= CONTENT_READ_BYTES
            wire.receive(data)
        return event

    # -- sending -------------------------------------------------------------------------------------------------------

    async def transmit(self, data: bytes) -> None:
        """Send bytes that the wire made; the caller holds ``send_turn``.

        Cancellation: fatal when the bytes had begun to leave.
        Raises:
            DisconnectedError: the peer is gone, or an earlier write did not finish.
            WriteTimeout: the peer took nothing, or too little, for too long.
        """
        if self.poisoned:
            raise DisconnectedError("an earlier write on this connection did not finish", phase="send")
        self.poisoned = True
        taken_before = self.write_sent
        ended_before = self.ended_at is not None
        try:
            await self.transport.send_all(data, None if self.timer is None else self)
        except trio.BrokenResourceError as exc:
            raise DisconnectedError("the peer is gone", phase="send") from exc
        except Woken as woken:
            if woken.why != "timeout":
                raise trio.ClosedResourceError(f"this connection was closed: {woken.why}") from None
            self.abort()
            assert self.timeouts is not None
            seconds = self.timeouts.write_stall_seconds
            raise WriteTimeout(
                f"the peer took nothing for {seconds:g} s, or too little", phase="send", seconds=seconds, sent=True
            ) from None
        self.poisoned = False
        waited = self.write_waiting_since is not None
        if waited:
            self._write_went_on()
            self.write_sent = taken_before + len(data)
        # An end that was only heard in the yield after a send came after the bytes, and no answer to them will tell of
        # it. Only a socket that had to wait is known to have taken its last bytes after everything that was heard.
        if self.ended_at is not None and (ended_before or (waited and self.transport.watchable)):
            self.last_write = trio.current_time()

    def write_waits(self, progress: int) -> None:
        """Move the write deadline: the send in progress has to wait for the peer (see ``transport.Pace``)."""
        timeouts = self.timeouts
        if timeouts is None:
            return
        now = trio.current_time()
        if self.write_waiting_since is not None:
            self._write_went_on(now)
        self.write_sent += progress
        self.write_waiting_since = now
        if self.write_moved is not None:
            self.write_deadline = self.write_moved
        else:
            allowed = timeouts.write_stall_seconds
            if timeouts.write_min_rate:
                earned = self.write_sent / timeouts.write_min_rate
                allowed = min(allowed, max(0.0, timeouts.rate_grace_seconds + earned - self.write_waited))
            self.write_deadline = now + allowed
        self.due(self.write_deadline)

    def _write_went_on(self, now: float | None = None) -> None:
        assert self.write_waiting_since is not None
        self.write_waited += (trio.current_time() if now is None else now) - self.write_waiting_since
        self.write_waiting_since = None
        self.write_deadline = math.inf

    # -- deadlines, looked at by the timer -----------------------------------------------------------------------------

    def due(self, when: float) -> None:
        """See to it that the timer looks at ``when``, or earlier."""
        if when < self.armed and self.timer is not None:
            self.timer.arm(self, when)

    def next_deadline(self) -> float:
        """Return the earliest deadline."""
        return min(
            self.read_deadline, self.write_deadline, self.handler_deadline, self.gone_deadline, self.look_deadline
        )

    def late(self, now: float) -> None:
        """Wake or cancel whoever is late; called by the timer."""
        if self.read_deadline <= now:
            self.read_deadline = math.inf
            self.transport.wake_reader("timeout")
        if self.write_deadline <= now:
            self.write_deadline = math.inf
            self.transport.wake_writer("timeout")
        if self.handler_deadline <= now:
            self.handler_deadline = math.inf
            self.cancel("handler deadline")
        if self.gone_deadline <= now:
            self.gone_deadline = math.inf
            assert self.ended_at is not None
            if self.last_write < self.ended_at:  # else it has only closed its sending half, or the write will tell
                self._peer_gone()
        if self.look_deadline <= now:
            self.look_deadline = math.inf
            if self.handling and not self.closed and self.nursery is not None:
                self.nursery.start_soon(self._look)

    def cancel(self, reason: str) -> None:
        """Cancel the user code that runs on this connection; the connection ends after it."""
        if self.cancel_reason is None:
            self.cancel_reason = reason
        self.scope.cancel(reason=reason)

    # -- hearing that the peer has gone --------------------------------------------------------------------------------

    def begin_handling(self) -> None:
        """From here on user code runs: the peer's leaving concerns it."""
        self.handling = True
        self.read_deadline = math.inf  # the head's
        self.write_moved = None
        self.write_waited = 0.0
        self.write_sent = 0
        if self.ended_at is not None:
            self._weigh_end(trio.current_time())
        elif not self.watched and self.timer is not None:
            self.look_deadline = trio.current_time() + LOOK_SECONDS
            self.due(self.look_deadline)

    def end_handling(self) -> None:
        """User code has ended."""
        self.handling = False
        self.handler_deadline = self.gone_deadline = self.look_deadline = math.inf

    def peer_ended(self, *, reset: bool) -> None:
        """Hear, without having read it, that the peer closed its sending half (FIN) or everything (RST)."""
        now = trio.current_time()
        if self.ended_at is None:
            self.ended_at = now
        if self._left is not None:
            self._left.set()
        if not self.handling:
            return  # whoever reads next sees it by itself
        if reset:
            self._peer_gone()
        else:
            self._weigh_end(now)

    def _weigh_end(self, now: float) -> None:
        if self.timeouts is None:
            return  # taken over: a half-closed tunnel is the business of whoever reads it
        self.gone_deadline = now + self.timeouts.half_close_seconds
        self.due(self.gone_deadline)

    def _peer_gone(self) -> None:
        # a task that waits on the peer itself hears it as DisconnectedError there; any other wait is cancelled
        if self.transport.reading or self.transport.writing or not self.handling:
            return
        if self.on_disconnect == "cancel":
            self.cancel("client disconnected")

    async def _look(self) -> None:
        assert isinstance(self.transport, StreamTransport)
        seen = await self.transport.look()
        if seen is None:
            self.peer_ended(reset=True)
        elif seen == b"":
            self.peer_ended(reset=False)

    # -- the end -------------------------------------------------------------------------------------------------------

    def watched_by(self, unregister: Callable[[], None]) -> None:
        """Note that a watch hears of the peer's end; ``unregister`` is called before the descriptor is closed."""
        self.watched = True
        self._unregister = unregister

    def _forget(self) -> None:
        if self._unregister is not None:
            self._unregister()
            self._unregister = None
        if self.timer is not None:
            self.timer.forget(self)

    @property
    def reusable(self) -> bool:
        """Both messages are complete, both ends agree to go on, and nothing is broken."""
        return not self.poisoned and not self.closed and self.wire.at_cycle_end and self.wire.keep_alive

    def is_quiet(self) -> bool:
        """Say, without waiting, that neither bytes nor the end of the stream are waiting to be read."""
        return self.transport.is_quiet()

    def abort(self) -> None:
        """Close now, so that the peer cannot take what it has for a whole message."""
        self._forget()
        self.poisoned = True
        self.transport.abort()

    def close(self) -> None:
        """Close now; what was sent is still delivered."""
        self._forget()
        self.transport.close()

    async def aclose(self) -> None:
        """Close politely, within a second; a TLS peer is told first.

        Cancellation: the connection is closed all the same.
        """
        self._forget()
        if self.poisoned:
            self.transport.abort()
        if isinstance(self.transport, SocketTransport):
            await self.transport.aclose()  # never waits
            return
        with trio.move_on_after(GOODBYE_SECONDS), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.transport.aclose()

    async def linger(self, max_bytes: int, seconds: float) -> None:
        """Say that nothing more will come, throw away what still arrives, then close.

        An answer followed at once by a close is lost to a reset when bytes of the peer are still unread
        (RFC 9112 §9.6). What passes ``max_bytes`` stays unread, but its sender gets the rest of the time to notice the
        answer: nginx and others that send before they read give up at the first write that fails, and never read.
        """
        try:
            with trio.move_on_after(seconds):
                await self.transport.send_eof()
                while max_bytes > 0:
                    data = await self.transport.receive(CONTENT_READ_BYTES)
                    if not data:
                        break
                    max_bytes -= len(data)
                else:
                    if self.ended_at is None:
                        self._left = trio.Event()  # set where a watch hears the peer leave; elsewhere time runs out
                        await self._left.wait()
        except (Woken, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        await self.aclose()


def describe(stream: trio.abc.Stream, number: int) -> ConnectionInfo:
    """Return what can be known of a stream: both addresses and the facts of TLS."""
    tls: TLSInfo | None = None
    below = stream
    if isinstance(below, trio.SSLStream):
        cipher = below.cipher()
        tls = TLSInfo(
            version=below.version(),
            cipher=cipher[0] if cipher else None,
            alpn=below.selected_alpn_protocol(),
            server_name=below.server_hostname,
            peer_certificate=below.getpeercert(binary_form=True),
        )
        below = below.transport_stream
    peer: Address = None
    local: Address = None
    if isinstance(below, trio.SocketStream):
        try:
            peer = address(below.socket.getpeername())
            local = address(below.socket.getsockname())
        except OSError:
            pass  # the peer has gone already; the first read will tell
    return ConnectionInfo(number, peer, local, tls)


def address(name: object) -> Address:
    """Return a socket's name as (host, port), a path, or None for an unnamed one."""
    if isinstance(name, tuple):
        return str(name[0]), int(name[1])
    if isinstance(name, bytes):
        return name.decode(sys.getfilesystemencoding(), "surrogateescape") or None
    return str(name) or None if name else None


def tune(sock: socket.socket) -> None:
    """Set what every TCP connection of ours has; a listener's setting is inherited by what it accepts on Linux."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 5)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
