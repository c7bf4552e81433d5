"""Streams in memory that behave as TCP connections do: bounded, half-closable, and able to be reset.

``trio.testing.memory_stream_pair`` buffers without a bound and can only end politely; backpressure, half-closed peers
and resets, which are most of what goes wrong on a network, cannot be tried with it.

Rule 1: a connection is two lanes, one a direction; a lane is a bounded buffer with a state, never a flag of the stream.
Rule 2: what TCP does decides: data that fits is sent at once, closing with unread data resets (RFC 1122 §4.2.2.13).
Rule 3: where systems differ, the worst allowed case is what happens: a reset destroys what its victim had not read yet.
Rule 4: deterministic: nothing depends on the clock, on chance, or on the order in which the scheduler runs tasks.
"""

from __future__ import annotations

import enum
import operator
import socket
import struct
from collections import deque
from types import TracebackType

import trio

__all__ = ["MemoryListener", "MemoryStream", "end_sending", "memory_stream_pair", "reset_stream"]

BUFFER_BYTES = 64 * 1024
"""What one direction of a connection holds by default, about what a kernel gives a new TCP connection."""


class _LaneState(enum.Enum):
    OPEN = enum.auto()
    ENDED = enum.auto()
    """The sender said that no more will come; what is buffered may still be read."""
    ABANDONED = enum.auto()
    """The receiver has closed; whatever is sent from now on is answered with a reset."""
    RESET = enum.auto()
    """Either end reset the connection; nothing more goes in or comes out."""


class _Lane:
    """One direction of a connection."""

    __slots__ = ("data", "max_bytes", "parked", "state")

    def __init__(self, max_bytes: int) -> None:
        self.data = bytearray()
        self.max_bytes = max_bytes
        self.parked = trio.lowlevel.ParkingLot()  # at most one task of either end; both look again when woken
        self.state = _LaneState.OPEN

    def change(self, state: _LaneState) -> None:
        """Enter a state, unless a reset has decided already, and let both ends look again."""
        if self.state is not _LaneState.RESET:
            self.state = state
            if state is _LaneState.RESET:
                self.data.clear()
        self.parked.unpark_all()


class _Turn:
    """Lets one task at a time through; the second gets BusyResourceError, as trio's own streams do."""

    __slots__ = ("_message", "_taken")

    def __init__(self, message: str) -> None:
        self._message = message
        self._taken = False

    def __enter__(self) -> None:
        if self._taken:
            raise trio.BusyResourceError(self._message)
        self._taken = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._taken = False


class MemoryStream(trio.abc.HalfCloseableStream):
    """One end of a connection in memory; ``memory_stream_pair`` and ``MemoryListener`` make them."""

    def __init__(self, incoming: _Lane, outgoing: _Lane) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._receiving = _Turn("another task is already receiving from this stream")
        self._sending = _Turn("another task is already sending on this stream")
        self._closed = False

    @property
    def closed(self) -> bool:
        """True once this end was closed or reset by its own side."""
        return self._closed

    @property
    def unread_bytes(self) -> int:
        """Bytes that the peer has sent and that this end has not received yet."""
        return len(self._incoming.data)

    def is_quiet(self) -> bool:
        """Say, without waiting, that neither bytes nor an end of the stream are there to be received."""
        return not self._closed and not self._incoming.data and self._incoming.state is _LaneState.OPEN

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Put ``data`` into the peer's buffer, waiting for room as often as it takes.

        Cancellation: atomic when all of it fits at once; otherwise some of it may have gone.
        Raises:
            trio.BrokenResourceError: the peer has closed or reset the connection.
            trio.ClosedResourceError: this end is closed, or has sent its end of stream.
            trio.BusyResourceError: another task is sending.
        """
        with self._sending:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._check_sending()
            waited = False
            lane = self._outgoing
            with memoryview(data) as octets:
                at = 0
                while at < len(octets):
                    room = lane.max_bytes - len(lane.data)
                    if room > 0:
                        lane.data += octets[at : at + room]
                        at += room
                        lane.parked.unpark_all()
                    else:
                        await lane.parked.park()
                        waited = True
                        self._check_sending()
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the peer's buffer has room, or the connection can take nothing more."""
        with self._sending:
            await trio.lowlevel.checkpoint()
            self._check_sending()
            lane = self._outgoing
            while len(lane.data) >= lane.max_bytes:
                await lane.parked.park()
                self._check_sending()

    async def send_eof(self) -> None:
        """Tell the peer that nothing more will come, and go on receiving.

        Raises:
            trio.BrokenResourceError: the connection was reset.
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: another task is sending.
        """
        with self._sending:
            await trio.lowlevel.checkpoint()
            if self._closed:
                raise trio.ClosedResourceError("this end of the memory stream is closed")
            if self._outgoing.state is _LaneState.RESET:
                raise trio.BrokenResourceError("the connection was reset")
            self._outgoing.change(_LaneState.ENDED)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what the peer has sent, at most ``max_bytes`` of it, ``b""`` once it has ended its sending.

        Cancellation: atomic.
        Raises:
            trio.BrokenResourceError: the connection was reset; what had not been received is lost.
            trio.ClosedResourceError: this end is closed.
            trio.BusyResourceError: another task is receiving.
        """
        if max_bytes is not None:
            max_bytes = operator.index(max_bytes)
            if max_bytes < 1:
                raise ValueError(f"max_bytes must be at least 1, not {max_bytes!r}")
        with self._receiving:
            await trio.lowlevel.checkpoint_if_cancelled()
            waited = False
            lane = self._incoming
            while True:
                if self._closed:
                    raise trio.ClosedResourceError("this end of the memory stream is closed")
                if lane.state is _LaneState.RESET:
                    raise trio.BrokenResourceError("the connection was reset")
                if lane.data or lane.state is _LaneState.ENDED:
                    break
                await lane.parked.park()
                waited = True
            chunk = bytes(lane.data if max_bytes is None else lane.data[:max_bytes])
            del lane.data[: len(chunk)]
            lane.parked.unpark_all()
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return chunk

    def close(self) -> None:
        """Close this end now; a connection with unread data is reset, as TCP does. Closing twice is fine."""
        if self._closed:
            return
        if self._incoming.data:
            self.abort()
            return
        self._closed = True
        self._incoming.change(_LaneState.ABANDONED)
        self._outgoing.change(_LaneState.ENDED)

    def abort(self) -> None:
        """Close this end now and break the connection: whatever the peer does next raises BrokenResourceError."""
        if self._closed:
            return
        self._closed = True
        self._incoming.change(_LaneState.RESET)
        self._outgoing.change(_LaneState.RESET)

    async def aclose(self) -> None:
        """Close this end. Cancellation: the end is closed all the same."""
        self.close()
        await trio.lowlevel.checkpoint()

    def _check_sending(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this end of the memory stream is closed")
        state = self._outgoing.state
        if state is _LaneState.ENDED:
            raise trio.ClosedResourceError("this end has sent its end of stream")
        if state is not _LaneState.OPEN:
            raise trio.BrokenResourceError("the peer has closed or reset the connection")


def memory_stream_pair(max_buffer_bytes: int = BUFFER_BYTES) -> tuple[MemoryStream, MemoryStream]:
    """Return the two ends of a new connection, each direction of which holds ``max_buffer_bytes`` unread bytes."""
    if max_buffer_bytes < 1:
        raise ValueError(f"max_buffer_bytes must be at least 1, not {max_buffer_bytes!r}")
    there, back = _Lane(max_buffer_bytes), _Lane(max_buffer_bytes)
    return MemoryStream(back, there), MemoryStream(there, back)


class MemoryListener(trio.abc.Listener[MemoryStream]):
    """A listener without a port: whoever calls ``connect`` comes out of ``accept``.

    Args:
        max_buffer_bytes: what each direction of a connection holds.
    """

    def __init__(self, *, max_buffer_bytes: int = BUFFER_BYTES) -> None:
        self._max_buffer_bytes = max_buffer_bytes
        self._backlog: deque[MemoryStream] = deque()
        self._parked = trio.lowlevel.ParkingLot()
        self._closed = False

    async def connect(self) -> MemoryStream:
        """Open a connection and return the connecting end; it need not have been accepted yet.

        Raises:
            ConnectionRefusedError: the listener is closed.
        """
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise ConnectionRefusedError("the memory listener is closed")
        ours, theirs = memory_stream_pair(self._max_buffer_bytes)
        self._backlog.append(theirs)
        self._parked.unpark(count=1)
        return ours

    async def accept(self) -> MemoryStream:
        """Wait for a connection and return the accepting end, in the order of ``connect``.

        Cancellation: atomic.
        Raises:
            trio.ClosedResourceError: the listener is closed.
        """
        await trio.lowlevel.checkpoint()
        while not self._closed:
            if self._backlog:
                return self._backlog.popleft()
            await self._parked.park()
        raise trio.ClosedResourceError("the memory listener is closed")

    def close(self) -> None:
        """Accept nothing more; connections that nobody has accepted are reset. Closing twice is fine."""
        self._closed = True
        while self._backlog:
            self._backlog.popleft().abort()
        self._parked.unpark_all()

    async def aclose(self) -> None:
        """Close the listener. Cancellation: it is closed all the same."""
        self.close()
        await trio.lowlevel.checkpoint()


def reset_stream(stream: trio.abc.Stream) -> None:
    """Break ``stream``'s connection now, so that its peer sees a reset and not an end; the stream is closed after it.

    Args:
        stream: a ``MemoryStream``, a ``trio.SocketStream`` over TCP, a ``trio.SSLStream`` over either, or any stream
            with an ``abort()`` method.
    Raises:
        TypeError: the stream has no way to be reset.
    """
    abort = getattr(stream, "abort", None)
    if callable(abort):
        abort()
    elif isinstance(stream, trio.SSLStream):
        reset_stream(stream.transport_stream)
    elif isinstance(stream, trio.SocketStream):
        if stream.socket.fileno() != -1:
            # Lingering for no time at all is how the sockets API spells a reset.
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.socket.close()
    else:
        raise TypeError(f"a {type(stream).__name__} cannot be reset")


async def end_sending(stream: trio.abc.Stream) -> None:
    """Send the end of stream, and leave the other direction open; under TLS that of TCP, without a close_notify.

    Raises:
        TypeError: the stream has no way to be half-closed.
    """
    if isinstance(stream, trio.SSLStream):
        await end_sending(stream.transport_stream)
    elif isinstance(stream, trio.abc.HalfCloseableStream):
        await stream.send_eof()
    else:
        raise TypeError(f"a {type(stream).__name__} cannot be half-closed")
