"""A connection after HTTP: the raw stream that an upgrade or a CONNECT leaves.

Rule 1: what the peer sent after its last message comes first.
Rule 2: a send that did not finish breaks the stream, as it does for HTTP.
"""

from __future__ import annotations

import trio

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
        if self._early:
            await trio.lowlevel.checkpoint()
            size = len(self._early) if max_bytes is None else max_bytes
            data, self._early = self._early[:size], self._early[size:]
            return data
        try:
            return await self._connection.transport.receive(max_bytes or CONTENT_READ_BYTES)
        except Woken as woken:
            raise trio.ClosedResourceError(f"the connection was closed: {woken.why}") from None

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything.

        Cancellation: fatal when it had to wait.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._eof_sent:
            raise trio.ClosedResourceError("send_eof was called before")
        turn = self._connection.send_turn
        if turn.taken:
            raise trio.BusyResourceError("another task is already sending on this stream")
        await turn.take()
        try:
            await self._connection.transmit(bytes(data))
        except DisconnectedError as exc:
            raise trio.BrokenResourceError(str(exc)) from exc
        finally:
            turn.give_back()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until a send could go ahead; a hint only, as everywhere in trio."""
        await trio.lowlevel.checkpoint()

    async def send_eof(self) -> None:
        """Close the sending half."""
        self._eof_sent = True
        await self._connection.transport.send_eof()

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.aclose()
