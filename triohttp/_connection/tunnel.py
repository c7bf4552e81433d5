"""A connection after HTTP: the raw stream that an upgrade or a CONNECT leaves.

Rule 1: what the peer sent after its last message comes first.
Rule 2: a send that did not finish breaks the stream, as it does for HTTP.
"""

from __future__ import annotations

from operator import index

import trio

from triohttp._turn import SendTurn
from triohttp.errors import DisconnectedError

from .connection import CONTENT_READ_BYTES, Connection
from .transport import Woken

__all__ = ["Tunnel"]


class Tunnel(trio.abc.HalfCloseableStream):
    """A raw bidirectional stream over a connection that has stopped speaking HTTP.

    It raises what trio's own streams raise: BrokenResourceError when the peer is gone, ClosedResourceError after
    ``aclose``. Closing it closes the connection.
    """

    def __init__(self, connection: Connection, early: bytes) -> None:
        self._connection = connection
        self._early = early
        self._eof_sent = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some bytes, ``b""`` at the end of the peer's stream.

        Cancellation: resumable.
        """
        size = CONTENT_READ_BYTES if max_bytes is None else index(max_bytes)
        if size < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes!r}")
        self._check_open()
        if self._early:
            await trio.lowlevel.checkpoint()
            data, self._early = self._early[:size], self._early[size:]
            return data
        try:
            return await self._connection.transport.receive(size)
        except trio.BrokenResourceError:
            self._connection.poisoned = True
            raise
        except Woken as woken:
            raise trio.ClosedResourceError(f"the connection was closed: {woken.why}") from None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything.

        Cancellation: fatal when it had to wait.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # the transport yields fully when it waits, or once a millisecond
        turn = self._take_turn()
        try:
            await self._connection.transmit(data if data.__class__ is bytes else bytes(memoryview(data)))
        except DisconnectedError as exc:
            raise trio.BrokenResourceError(str(exc)) from exc
        finally:
            turn.give_back()

    async def wait_send_all_might_not_block(self) -> None:
        """Return after a checkpoint: what the kernel would take is only known by sending."""
        await trio.lowlevel.checkpoint()
        self._take_turn().give_back()

    async def send_eof(self) -> None:
        """Close the sending half; again is harmless."""
        await trio.lowlevel.checkpoint()
        if self._eof_sent:
            self._check_open()
            return
        turn = self._take_turn()
        try:
            self._eof_sent = True
            await self._connection.transport.send_eof()
        finally:
            turn.give_back()

    def _take_turn(self) -> SendTurn:
        """Take the turn to send, which is to be given back; a stream has one sender at a time, who does not wait."""
        self._check_open()
        if self._connection.send_turn.taken:
            raise trio.BusyResourceError("another task is already sending on this stream")
        if self._eof_sent:
            raise trio.ClosedResourceError("send_eof was called before")
        turn = self._connection.send_turn
        turn.taken = True
        return turn

    def _check_open(self) -> None:
        if self._connection.closed:
            raise trio.ClosedResourceError("this stream was closed before")

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()

    def is_quiet(self) -> bool:
        """Say whether neither bytes nor an end are known to wait: asked before a connection over this one is reused."""
        return not self._early and self._connection.transport.is_quiet()

    def abort(self) -> None:
        """Close the connection now, without awaiting: what lets another connection be carried over this one."""
        self._connection.abort()
