"""Two ways to move bytes behind one face: a raw non-blocking socket, and any trio stream.

The raw path exists because ``wait_readable`` + ``recv`` costs half of what ``trio.SocketStream`` does; the stream path
is for TLS, memory streams and whatever else a program brings.

Rule 1: a wait of ours can be woken in place: ``wake_reader``/``wake_writer`` make it raise ``Woken``; nothing is
        cancelled, the transport stays usable. A wake that meets nobody, or whose waiter got its bytes, is forgotten.
Rule 2: ``notify_closing`` wakes reader and writer together, so each has its own reason and goes on waiting without one.
Rule 3: a peer that is gone is ``trio.BrokenResourceError``, a socket we closed ``trio.ClosedResourceError``.
Rule 4: sending first and waiting later never yields to a fast reader: yield once a millisecond of real time, or the
        program's own deadlines are not looked at (``checkpoint_if_cancelled`` does not look at them either).
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Protocol, TypeAlias

import trio
from trio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    notify_closing,
    wait_readable,
    wait_writable,
)

__all__ = ["Pace", "SocketTransport", "StreamTransport", "Transport", "Woken", "transport_for"]

YIELD_SECONDS = 0.001
STREAM_SLICE_BYTES = 16 * 1024  # what a stall deadline on a stream sees as progress; one TLS record
LOOK_BYTES = 64 * 1024
ABORTIVE = struct.pack("ii", 1, 0)


class _Yielded(threading.local):
    """When a task of this thread last yielded here, whichever it was: while one does not, none other can either."""

    at = 0.0


_yielded = _Yielded()


class Woken(Exception):  # control flow inside this room, never seen outside
    """A wait was woken; ``why`` says what for."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Pace(Protocol):
    """Who is told that a send has to wait, and how many bytes the peer has taken since it was last told."""

    def write_waits(self, progress: int) -> None: ...


class SocketTransport:
    """A connected, non-blocking standard-library socket, used directly."""

    __slots__ = ("_read_why", "_write_why", "closed", "reading", "sock", "writing")

    watchable = True

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.closed = False
        self.reading = False
        self.writing = False
        self._read_why: str | None = None
        self._write_why: str | None = None

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes and return them; ``b""`` is the end of the peer's stream."""
        if self.closed:  # asked about a closed descriptor, trio raises ValueError and takes it for busy from then on
            raise trio.ClosedResourceError("this connection was already closed")
        if self.reading:
            raise trio.BusyResourceError("another task is already receiving from this connection")
        self.reading = True
        self._read_why = None
        try:
            while True:
                try:
                    await wait_readable(self.sock)
                except trio.ClosedResourceError:
                    if self.closed:
                        raise
                    why = self._read_why
                    if why is not None:
                        raise Woken(why) from None
                    continue
                try:
                    return self.sock.recv(max_bytes)
                except (BlockingIOError, InterruptedError):
                    continue
                except OSError as exc:
                    raise trio.BrokenResourceError(f"the peer is gone: {exc}") from exc
        finally:
            self.reading = False
            self._read_why = None
            _yielded.at = perf_counter()

    def receive_nowait(self, max_bytes: int) -> bytes | None:
        """Return what is there now, ``b""`` at the end of the stream, None when nothing is."""
        if self.closed:
            return b""
        try:
            return self.sock.recv(max_bytes)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return b""

    async def send_all(self, data: bytes, pace: Pace | None) -> None:
        """Send everything; atomic when it need not wait, else a cancel leaves an unknown part sent."""
        if self.closed:
            raise trio.ClosedResourceError("this connection was already closed")
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as exc:
            raise trio.BrokenResourceError(f"the peer is gone: {exc}") from exc
        if sent != len(data):
            await self._send_rest(memoryview(data)[sent:], sent, pace)
        elif perf_counter() - _yielded.at > YIELD_SECONDS:
            await cancel_shielded_checkpoint()  # everything is sent: a cancellation is for whatever comes next
            _yielded.at = perf_counter()

    async def _send_rest(self, rest: memoryview, progress: int, pace: Pace | None) -> None:
        self.writing = True
        self._write_why = None
        try:
            while rest:
                if pace is not None:
                    pace.write_waits(progress)
                try:
                    await wait_writable(self.sock)
                except trio.ClosedResourceError:
                    if self.closed:
                        raise
                    if self._write_why is not None:
                        raise Woken(self._write_why) from None
                    progress = 0
                    continue
                try:
                    progress = self.sock.send(rest)
                except (BlockingIOError, InterruptedError):
                    progress = 0
                except OSError as exc:
                    raise trio.BrokenResourceError(f"the peer is gone: {exc}") from exc
                rest = rest[progress:]
        finally:
            self.writing = False
            self._write_why = None
            _yielded.at = perf_counter()

    def wake_reader(self, why: str) -> None:
        """Make a receive that waits raise ``Woken(why)``."""
        if self.reading and not self.closed:
            self._read_why = why
            notify_closing(self.sock)

    def wake_writer(self, why: str) -> None:
        """Make a send that waits raise ``Woken(why)``."""
        if self.writing and not self.closed:
            self._write_why = why
            notify_closing(self.sock)

    def is_quiet(self) -> bool:
        """Say whether neither bytes nor the end of the stream are waiting to be read."""
        if self.closed:
            return False
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return True
        except OSError:
            return False
        return False

    async def send_eof(self) -> bool:
        """Close the sending half; True when the receiving half goes on."""
        await checkpoint_if_cancelled()
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close now; what the kernel has taken is still delivered."""
        if not self.closed:
            self.closed = True
            notify_closing(self.sock)
            self.sock.close()

    def abort(self) -> None:
        """Close now with a reset, so that the peer cannot take what it has for the whole."""
        if not self.closed:
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORTIVE)
            except OSError:
                pass  # the peer was quicker: the socket is dead already
            self.close()

    async def aclose(self) -> None:
        """Close; never waits for the peer."""
        self.close()
        await checkpoint()


class StreamTransport:
    """Any ``trio.abc.Stream``: TLS, memory, tunnels."""

    __slots__ = ("_kept", "_look_done", "_read_scope", "_write_scope", "closed", "reading", "stream", "writing")

    watchable = False

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.closed = False
        self.reading = False
        self.writing = False
        self._read_scope: tuple[trio.CancelScope, list[str]] | None = None
        self._write_scope: tuple[trio.CancelScope, list[str]] | None = None
        self._kept: list[bytes | trio.BrokenResourceError] = []  # what a look brought in, at most one
        self._look_done: trio.Event | None = None

    async def receive(self, max_bytes: int) -> bytes:
        """Wait for bytes and return them; ``b""`` is the end of the peer's stream."""
        if self.reading:
            raise trio.BusyResourceError("another task is already receiving from this connection")
        self.reading = True
        why: list[str] = []
        data: bytes | None = None
        try:
            with trio.CancelScope() as scope:
                self._read_scope = (scope, why)
                if self._look_done is not None:
                    await self._look_done.wait()
                if self._kept:
                    await checkpoint()  # its callers rely on it: a request that came this way needs a real yield too
                    return self._take_kept(max_bytes)
                data = bytes(await self.stream.receive_some(max_bytes))
        finally:
            self.reading = False
            self._read_scope = None
        if data is not None:
            return data
        raise Woken(why[0] if why else "closed")

    def receive_nowait(self, max_bytes: int) -> bytes | None:
        """Return what a look has already brought in; a stream cannot be asked without waiting."""
        if self._kept and isinstance(self._kept[0], bytes):
            return self._take_kept(max_bytes)
        return None

    def _take_kept(self, max_bytes: int) -> bytes:
        kept = self._kept.pop()
        if not isinstance(kept, bytes):
            raise kept
        if kept == b"":
            self._kept.append(kept)  # the end of a stream stays its end
        elif len(kept) > max_bytes:
            self._kept.append(kept[max_bytes:])
        return kept[:max_bytes]

    async def look(self) -> bytes | None:
        """Do one receive now and keep its result for the next reader; None when the peer is gone.

        Only closing the stream ends it early, so that nothing that came in is lost.
        """
        if self.reading or self._kept or self._look_done is not None or self.closed:
            return b"unknown"
        done = self._look_done = trio.Event()
        try:
            data = bytes(await self.stream.receive_some(LOOK_BYTES))
        except trio.ClosedResourceError:
            return b"closed"
        except Exception as exc:  # noqa: BLE001  # whatever a foreign stream raises is for its reader, not for this task
            broken = trio.BrokenResourceError(f"the peer is gone: {exc}")
            broken.__cause__ = exc
            self._kept.append(broken)
            return None
        else:
            self._kept.append(data)
            return data
        finally:
            self._look_done = None
            done.set()

    async def send_all(self, data: bytes, pace: Pace | None) -> None:
        """Send everything in slices; a cancel leaves an unknown part sent."""
        if self.closed:
            raise trio.ClosedResourceError("this connection was already closed")
        why: list[str] = []
        self.writing = True
        try:
            with trio.CancelScope() as scope:
                self._write_scope = (scope, why)
                progress = 0
                for start in range(0, len(data), STREAM_SLICE_BYTES):
                    piece = data if len(data) <= STREAM_SLICE_BYTES else data[start : start + STREAM_SLICE_BYTES]
                    if pace is not None:
                        pace.write_waits(progress)
                    await self.stream.send_all(piece)
                    progress = len(piece)
                return
        finally:
            self.writing = False
            self._write_scope = None
        raise Woken(why[0] if why else "closed")

    def wake_reader(self, why: str) -> None:
        """Make a receive that waits raise ``Woken(why)``."""
        if self._read_scope is not None:
            self._read_scope[1].append(why)
            self._read_scope[0].cancel(reason=why)

    def wake_writer(self, why: str) -> None:
        """Make a send that waits raise ``Woken(why)``."""
        if self._write_scope is not None:
            self._write_scope[1].append(why)
            self._write_scope[0].cancel(reason=why)

    def is_quiet(self) -> bool:
        """Say whether nothing is known to be waiting; the socket below TLS is asked where there is one."""
        if self.closed or self._kept:
            return False
        below: object = self.stream
        while isinstance(below, trio.SSLStream):
            below = below.transport_stream
        if isinstance(below, trio.SocketStream):
            try:
                probe = socket.socket(fileno=below.socket.fileno())
            except OSError:
                return False
            try:
                probe.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                return False
            finally:
                probe.detach()  # the descriptor stays the stream's
            return False
        ask = getattr(below, "is_quiet", None)
        return bool(ask()) if ask is not None else True

    async def send_eof(self) -> bool:
        """Close the sending half where the stream can; True when the receiving half goes on.

        Under TLS it is the stream below that ends: our TLS never says close_notify (``https_compatible``), so its peer
        sees the same end as when the connection is closed, only without the risk of a reset.
        """
        below = self.stream
        while isinstance(below, trio.SSLStream):
            below = below.transport_stream
        if isinstance(below, trio.abc.HalfCloseableStream):
            await below.send_eof()
            return True
        await checkpoint_if_cancelled()
        return False

    def close(self) -> None:
        """Close now, without a farewell; what was sent is still delivered."""
        self._close(reset=False)

    def abort(self) -> None:
        """Close now, synchronously, with a reset; a TLS peer sees the missing close_notify."""
        self._close(reset=True)

    def _close(self, *, reset: bool) -> None:
        if self.closed:
            return
        self.closed = True
        self.wake_reader("closed")
        self.wake_writer("closed")
        close_now(self.stream, reset=reset)

    async def aclose(self) -> None:
        """Close politely (TLS says goodbye); the caller bounds it. Whatever interrupts it, the stream is closed."""
        if self.closed:
            await checkpoint()
            return
        self.closed = True
        try:
            await self.stream.aclose()
        except BaseException:
            close_now(self.stream, reset=True)
            raise


Transport: TypeAlias = SocketTransport | StreamTransport


def close_now(stream: trio.abc.Stream | trio.abc.AsyncResource, *, reset: bool) -> None:
    """Close a stream without awaiting anything: the socket or the in-memory pipe at the bottom of it.

    trio's interface has no synchronous close, but accounting that must not await (Rule 2 of the room) needs one: a
    stream is closed by its own ``abort()`` or ``close()``; sockets below TLS and the halves of a stapled stream count.
    """
    if isinstance(stream, trio.SSLStream):
        close_now(stream.transport_stream, reset=reset)
    elif isinstance(stream, trio.SocketStream):
        if reset:
            try:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORTIVE)
            except OSError:
                pass  # the peer was quicker: the socket is dead already
        stream.socket.close()
    elif isinstance(stream, trio.StapledStream):
        close_now(stream.send_stream, reset=reset)
        close_now(stream.receive_stream, reset=reset)
    else:
        _closer(stream, reset=reset)()


def _closer(stream: object, *, reset: bool) -> Callable[[], object]:
    for name in ("abort", "close") if reset else ("close", "abort"):
        method = getattr(stream, name, None)
        if callable(method):
            return method  # type: ignore[no-any-return]  # found by name
    raise TypeError(f"a {type(stream).__name__} cannot carry HTTP here: it needs a synchronous close() or abort()")


def check_closable(stream: trio.abc.Stream | trio.abc.AsyncResource) -> None:
    """Refuse, before it is used, a stream that ``close_now`` could not close."""
    if isinstance(stream, trio.SSLStream):
        check_closable(stream.transport_stream)
    elif isinstance(stream, trio.StapledStream):
        check_closable(stream.send_stream)
        check_closable(stream.receive_stream)
    elif not isinstance(stream, trio.SocketStream):
        _closer(stream, reset=True)


def transport_for(stream: trio.abc.Stream) -> Transport:
    """Return the transport for a stream that is handed over; a plain ``trio.SocketStream`` gives up its socket."""
    if type(stream) is trio.SocketStream:
        sock = socket.socket(fileno=stream.socket.detach())
        sock.setblocking(False)
        return SocketTransport(sock)
    check_closable(stream)
    return StreamTransport(stream)
