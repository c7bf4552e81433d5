"""WebSockets and event streams of a synchronous program.

Rule 1: each method is one call into the loop, and does there what the asynchronous one of that name does.
Rule 2: threads may send while another one receives.
"""

from __future__ import annotations

from typing import Self

import trio

from triohttp._channels.websocket import Message, WebSocket
from triohttp._values.headers import Headers
from triohttp._wire.sse import Event
from triohttp.errors import WebSocketClosedError

from .events import EventReceiver
from .response import ClientAnswer
from .sync_portal import Portal

__all__ = ["SyncEventReceiver", "SyncMessageChunks", "SyncWebSocket"]


class SyncEventReceiver:
    """The events of a server, inside the ``with`` block of ``SyncClient.events``: an iterator over them.

    It ends as that of ``Client.events`` does.
    """

    __slots__ = ("_portal", "_receiver")

    def __init__(self, portal: Portal, receiver: EventReceiver) -> None:
        self._portal = portal
        self._receiver = receiver

    @property
    def last_event_id(self) -> str | None:
        """The id that was said last, which the next connection will go on from; None before any."""
        return self._receiver.last_event_id

    @property
    def reconnects(self) -> int:
        """How often it has connected again."""
        return self._receiver.reconnects

    @property
    def response(self) -> ClientAnswer:
        """The answer that events come from, or came from last."""
        return self._receiver.response

    def receive(self, *, timeout: float | None = None) -> Event:
        """Return the next event, connecting again as often as it takes.

        Args:
            timeout: seconds to wait for it; no event is lost when they are over.
        Raises:
            TotalTimeout: the timeout is over.
            TrioHTTPError: as ``EventReceiver.receive``.
            trio.BusyResourceError: another thread is receiving.
            trio.ClosedResourceError: this was closed, its block left, or it failed before.
            trio.EndOfChannel: there are no more events.
        """
        return self._portal.call(self._receiver.receive, timeout)

    def close(self) -> None:
        """Receive nothing more; a thread that is receiving gets ClosedResourceError."""
        self._portal.call(self._receiver.aclose)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        """Return the next event; see ``receive``."""
        try:
            return self.receive()
        except trio.EndOfChannel:
            raise StopIteration from None


class SyncWebSocket:
    """A WebSocket inside the ``with`` block of ``SyncClient.websocket``: an iterator over the messages that come.

    Any number of threads may send, and one may receive meanwhile.
    """

    __slots__ = ("_portal", "_websocket")

    def __init__(self, portal: Portal, websocket: WebSocket) -> None:
        self._portal = portal
        self._websocket = websocket

    def __repr__(self) -> str:
        return f"<SyncWebSocket {self._websocket!r}>"

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that both ends agreed on, None for none."""
        return self._websocket.subprotocol

    @property
    def headers(self) -> Headers:
        """The header fields of the server's answer to the handshake."""
        return self._websocket.headers

    @property
    def compressed(self) -> bool:
        """Whether the handshake agreed on compression."""
        return self._websocket.compressed

    @property
    def failure(self) -> WebSocketClosedError | None:
        """The error that ``receive`` and ``send`` raise at the end; None while there is none."""
        return self._websocket.failure

    @property
    def program_closed(self) -> bool:
        """Whether this program has closed it, or left its block."""
        return self._websocket.program_closed

    @property
    def close_code(self) -> int | None:
        """The code that it ended with; None while it is open. See ``WebSocket.close_code``."""
        return self._websocket.close_code

    @property
    def close_reason(self) -> str:
        """What the close frame said, or what went wrong."""
        return self._websocket.close_reason

    @property
    def closed_by(self) -> str | None:
        """``peer`` or ``self``: whose close frame came first; None while it is open, or without any."""
        return self._websocket.closed_by

    def receive(self, *, timeout: float | None = None) -> Message:
        """Return the next message, text as ``str`` and binary as ``bytes``.

        Args:
            timeout: seconds to wait for it; nothing is lost when they are over.
        Raises:
            TotalTimeout: the timeout is over.
            WebSocketClosedError: it ended, and not well; see ``WebSocket.receive``.
            trio.BusyResourceError: another thread is receiving.
            trio.ClosedResourceError: this program has closed it.
            trio.EndOfChannel: it was closed well; a loop over it ends.
        """
        return self._portal.call(self._websocket.receive, timeout)

    def receive_chunks(self, *, timeout: float | None = None) -> SyncMessageChunks:
        """Return an iterator over the pieces of the next message, as they come in.

        Args:
            timeout: seconds that each wait may take.
        """
        return SyncMessageChunks(self._portal, self._websocket, timeout)

    def ignore_messages(self) -> None:
        """Drop what the server sends from now on; for a program that only sends."""

        async def ignore() -> None:  # it has to happen in the loop, not to wait there
            self._websocket.ignore_messages()

        self._portal.call(ignore)

    def send(self, value: Message | bytearray | memoryview, *, timeout: float | None = None) -> None:
        """Send a message: ``str`` as text, ``bytes`` as binary.

        Args:
            timeout: seconds that it may take; when they are over in the middle of it, the WebSocket is over too.
        Raises:
            TotalTimeout: the timeout is over.
            TypeError: it is neither.
            WebSocketClosedError: the server has closed or is gone, or took nothing for ``write_stall_seconds``.
            trio.ClosedResourceError: this program has closed it.
        """
        self._portal.call(lambda: self._websocket.send(value), timeout)

    def ping(self, *, timeout: float | None = None) -> float:
        """Send a ping and return the seconds until its pong came; see ``WebSocket.ping``."""
        return self._portal.call(self._websocket.ping, timeout)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close: send a close frame, wait for the server's, drop the messages that still come; again does nothing.

        Args:
            code: 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 §7.4).
            reason: at most 123 bytes of UTF-8, for the server's log.
        Raises:
            ValueError: the code or the reason must not be sent.
        """
        self._portal.call(lambda: self._websocket.aclose(code, reason))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        """Return the next message; see ``receive``."""
        try:
            return self.receive()
        except trio.EndOfChannel:
            raise StopIteration from None


class SyncMessageChunks:
    """The pieces of one message, as they come in; ``SyncWebSocket.receive_chunks`` makes it."""

    __slots__ = ("_chunks", "_portal", "_timeout")

    def __init__(self, portal: Portal, websocket: WebSocket, timeout: float | None) -> None:
        self._portal = portal
        self._chunks = websocket.receive_chunks()
        self._timeout = timeout

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message:
        """Return the next piece: all are ``str``, or all are ``bytes``; text is cut between characters.

        Raises: as ``SyncWebSocket.receive``; for the end of the channel too, which is no message without chunks.
        """
        try:
            return self._portal.call(self._chunks.__anext__, self._timeout)
        except StopAsyncIteration:
            raise StopIteration from None
