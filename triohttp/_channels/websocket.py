"""WebSockets as trio channels of messages, for both ends, over any trio stream (RFC 6455).

Rule 1: the program's own task receives and sends in place: a message costs no hand-over between tasks.
Rule 2: a message is sent whole or the WebSocket is over; two never mix, whoever sends and whatever is cancelled.
Rule 3: what came in before the end is delivered before the end is told.
Rule 4: the block is left with the stream closed, and the peer told why: 1000, 1001 when it is cancelled, 1011 when it
        failed. Its own nursery and its own scope are never seen.
"""

from __future__ import annotations

import io
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from time import perf_counter
from types import TracebackType
from typing import Final, Self, TypeAlias

import trio

from triohttp._values.headers import Headers
from triohttp._values.limits import WebSocketLimits, WebSocketTimeouts
from triohttp._wire.websocket import FRAGMENT_BYTES, Role, WebSocketWire, check_close
from triohttp._wire.websocket_deflate import Agreement, PerMessageDeflate
from triohttp.errors import SlowReaderError, WebSocketClosedError, clip

from .websocket_keeper import GOODBYE_SECONDS, LOOK_SECONDS, Keeper
from .websocket_link import Link, Piece

__all__ = [
    "DEFAULT_COMPRESSION",
    "DEFAULT_LIMITS",
    "DEFAULT_TIMEOUTS",
    "Message",
    "MessageChunks",
    "WebSocket",
    "check_options",
]

Message: TypeAlias = str | bytes
"""What a WebSocket carries: text or binary."""

YIELD_SECONDS: Final = 0.001  # of real time: what is there already is handed out without waiting, but not for ever
DEFAULT_LIMITS: Final = WebSocketLimits()
DEFAULT_TIMEOUTS: Final = WebSocketTimeouts()
DEFAULT_COMPRESSION: Final = PerMessageDeflate()


def check_options(
    limits: WebSocketLimits, timeouts: WebSocketTimeouts, compression: PerMessageDeflate | None
) -> tuple[WebSocketLimits, WebSocketTimeouts]:
    """Return the bounds of a WebSocket; refuse what is of another type before anything goes out.

    Raises:
        TypeError: one of the three is.
    """
    for name, value, kind in (
        ("limits", limits, WebSocketLimits),
        ("timeouts", timeouts, WebSocketTimeouts),
        ("compression", compression, PerMessageDeflate | None),
    ):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be of type {getattr(kind, '__name__', kind)}, not {clip(value)}")
    return limits, timeouts


class WebSocket(trio.abc.Channel[Message]):
    """A WebSocket after its handshake: a channel of ``str`` and ``bytes``, to be used inside its ``async with`` block.

    ``request.websocket`` and ``client.websocket`` make the handshake and this; made by hand it speaks over any stream
    whose handshake has been done. A task answers pings, sends them and finds dead peers meanwhile.

    Args:
        stream: carries the frames; it belongs to the WebSocket from now on.
        role: which end this is.
        limits: how much is taken from the peer.
        timeouts: how long the peer may take.
        agreement: what the handshake agreed on about compression; None for none.
        compression: how this end compresses.
        subprotocol: what the handshake chose.
        headers: the fields of the peer's half of the handshake.
        wait_going_away: awaited meanwhile; when it returns, the WebSocket is closed with 1001.
        cancel_on_leave: cancel the block when the peer has left and nobody receives or sends for ``close_seconds``.
    Attributes:
        subprotocol: the subprotocol that both ends agreed on, None for none.
        headers: the header fields of the peer's half of the handshake.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        role: Role,
        *,
        limits: WebSocketLimits = DEFAULT_LIMITS,
        timeouts: WebSocketTimeouts = DEFAULT_TIMEOUTS,
        agreement: Agreement | None = None,
        compression: PerMessageDeflate | None = None,
        subprotocol: str | None = None,
        headers: Headers | None = None,
        wait_going_away: Callable[[], Awaitable[None]] | None = None,
        cancel_on_leave: bool = False,
    ) -> None:
        self.subprotocol = subprotocol
        self.headers = Headers() if headers is None else headers
        self._link = Link(stream, WebSocketWire(role, limits, agreement, compression), limits)
        self._timeouts = timeouts
        self._wait_going_away = wait_going_away
        self._scope = trio.CancelScope()
        # A cancelled block still says goodbye, for which it needs its keeper; __aexit__ cancels it, in a second then.
        self._keeping = trio.CancelScope(shield=True)
        self._keeper = Keeper(self._link, timeouts, self._scope if cancel_on_leave else None)
        self._manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._nursery: trio.Nursery | None = None
        self._parts: io.StringIO | bytearray | None = None  # of a message that receive() has begun
        self._midway = False  # the pieces of a message are being handed out
        self._chunks: MessageChunks | None = None  # to whom
        self._last_yield = 0.0

    def __repr__(self) -> str:
        link = self._link
        state = "new" if self._manager is None else "closed" if link.over.is_set() else "ending"
        if link.ending is None and self._nursery is not None and not link.wire.closing:
            state = "open"
        return f"<WebSocket {link.wire.role.value} {state}>"

    # -- what it is ----------------------------------------------------------------------------------------------------

    @property
    def compressed(self) -> bool:
        """Whether the handshake agreed on compression."""
        return self._link.wire.compressed

    @property
    def failure(self) -> WebSocketClosedError | None:
        """The error that ``receive`` and ``send`` raise at the end; None while there is none."""
        return self._link.failure

    @property
    def program_closed(self) -> bool:
        """Whether this program has closed it, or left its block."""
        return self._link.program_closed

    @property
    def close_code(self) -> int | None:
        """The code that it ended with: the peer's where there was one; 1005 for a close without one, 1006 for none.

        None while it is open.
        """
        return None if self._link.ending is None else self._link.ending.code

    @property
    def close_reason(self) -> str:
        """What the close frame said, or what went wrong."""
        return "" if self._link.ending is None else self._link.ending.reason

    @property
    def closed_by(self) -> str | None:
        """``peer`` or ``self``: whose close frame came first; None while it is open, or without any."""
        return None if self._link.ending is None else self._link.ending.by

    # -- receiving -----------------------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        """Return the next message, text as ``str`` and binary as ``bytes``.

        Cancellation: resumable.
        Raises:
            WebSocketClosedError: the connection was lost, the peer broke the protocol or a bound, or it closed with
                a code that says that something went wrong.
            trio.EndOfChannel: the WebSocket was closed well (1000, 1001 or no code); a loop over it ends.
            trio.ClosedResourceError: this program has closed it.
            trio.BusyResourceError: another task is receiving.
        Source: RFC 6455 §5.4, §5.6, §7.1.
        """
        self._begin_receiving()
        link = self._link
        try:
            while self._midway:  # what is left of a message whose chunks were not all wanted
                self._midway = not (await self._next_piece()).message_finished
            piece = await self._next_piece()
            if piece.message_finished and self._parts is None:
                link.taken += 1
                return piece.data if isinstance(piece.data, str) else bytes(piece.data)  # bytearray before wsproto 1.3
            return await self._collect(piece)
        finally:
            self._end_receiving()

    async def _collect(self, piece: Piece) -> Message:
        """Return the message that begins with, or goes on with, ``piece``."""
        while True:
            parts = self._parts
            data = piece.data
            if isinstance(data, str):
                if parts is None:
                    parts = self._parts = io.StringIO()
                assert isinstance(parts, io.StringIO)
                parts.write(data)
            else:
                if parts is None:
                    parts = self._parts = bytearray()
                assert isinstance(parts, bytearray)
                parts += data
            if piece.message_finished:
                self._parts = None
                self._link.taken += 1
                return parts.getvalue() if isinstance(parts, io.StringIO) else bytes(parts)
            piece = await self._next_piece()

    def receive_chunks(self) -> MessageChunks:
        """Return an asynchronous iterator over the pieces of the next message, as they come in.

        Leaving the loop early skips what is left of the message. With ``max_message_bytes=None`` a message may then be
        larger than memory; a chunk has 64 KiB at most, 4 MiB or so where it was compressed.
        """
        return MessageChunks(self)

    async def _next_chunk(self, chunks: MessageChunks, *, first: bool) -> Piece | None:
        """Return the next piece of the message that ``chunks`` is for, None once somebody has gone on to another."""
        self._begin_receiving()
        try:
            if self._parts is not None:
                raise RuntimeError("a cancelled receive() has begun this message; receive() it")
            if first:
                while self._midway:
                    self._midway = not (await self._next_piece()).message_finished
                self._chunks = chunks
            elif self._chunks is not chunks or not self._midway:
                return None
            piece = await self._next_piece()
            self._midway = not piece.message_finished
            self._link.taken += 1
            return piece
        finally:
            self._end_receiving()

    def _begin_receiving(self) -> None:
        if self._manager is None:
            raise RuntimeError("a WebSocket is used inside its `async with` block")
        if self._link.receiving:
            raise trio.BusyResourceError("another task is already receiving from this WebSocket")
        self._link.receiving = True

    def _end_receiving(self) -> None:
        """Leave it to the keeper to look whether the program comes back."""
        link = self._link
        link.receiving = False
        if not link.stirred:
            link.stir(LOOK_SECONDS)

    async def _next_piece(self) -> Piece:
        """Return the next piece of a message; raise when there will be none."""
        link = self._link
        if link.held is not None or link.wire.unread:  # else it is waited for, which is a checkpoint
            await trio.lowlevel.checkpoint_if_cancelled()
            if perf_counter() - self._last_yield > YIELD_SECONDS:
                await trio.lowlevel.checkpoint()
                self._last_yield = perf_counter()
        while True:
            piece = link.held
            if piece is not None:
                link.held = None
                link.stirred = False
                return piece
            if not link.reading:
                piece = link.advance()
                if piece is not None:
                    return piece
            if link.ending is not None:
                await trio.lowlevel.checkpoint()
                raise link.no_more()
            if link.reading:
                await link.waiting.park()
            else:
                if link.stirred:
                    link.calm()
                await link.fill()
                self._last_yield = perf_counter()

    def ignore_messages(self) -> None:
        """Drop what the peer sends from now on; for a program that only sends, and would not hear of the end else.

        Without it a message that nobody receives holds up what follows it: the peer's close for example.
        """
        link = self._link
        link.closing = True
        link.held = None
        link.stir(0)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def send(self, value: Message | bytearray | memoryview) -> None:
        """Send a message: ``str`` as text, ``bytes`` as binary; large ones in frames of 64 KiB.

        Any number of tasks may send; each message stays in one piece.

        Cancellation: atomic while it waits for its turn, fatal from then on.
        Raises:
            WebSocketClosedError: the peer has closed or is gone, or took nothing for ``write_stall_seconds``.
            TypeError: it is neither.
            UnicodeEncodeError: the text holds half of a surrogate pair; nothing was sent.
            trio.ClosedResourceError: this program has closed it.
        Source: RFC 6455 §5.4, §5.6.
        """
        if not isinstance(value, (str, bytes)):
            if not isinstance(value, (bytearray, memoryview)):
                raise TypeError(f"a message must be str or bytes, not {clip(value)}; json.dumps makes a str of values")
            value = bytes(value)
        await trio.lowlevel.checkpoint_if_cancelled()  # the stream's send yields where it waits, or once a millisecond
        if self._manager is None:
            raise RuntimeError("a WebSocket is used inside its `async with` block")
        link = self._link
        turn = link.turn
        if turn.taken:
            await turn.take()
        else:
            turn.taken = True
        try:
            link.check_open()
            if len(value) * (1 if isinstance(value, bytes) else 4) <= FRAGMENT_BYTES:
                await link.transmit(link.behind_pong(link.wire.send_message(value)))
            else:
                await self._send_pieces(value)
        except WebSocketClosedError:
            link.noticed.set()
            raise
        finally:
            link.give_turn_back()

    async def _send_pieces(self, value: Message) -> None:
        link = self._link
        if isinstance(value, str):
            value.encode()  # refused as a whole, or not at all
        for piece, last in _pieces(value):
            await link.transmit(link.behind_pong(link.wire.send_message(piece, finished=last)))
            if not last:
                link.check_open()

    async def ping(self) -> float:
        """Send a ping and return the seconds until its pong came.

        The peer is pinged without it too: this is for measuring. Messages that wait to be received hold it up.

        Cancellation: fatal while the ping is being sent; after that nothing is lost.
        Raises: as ``send``.
        Source: RFC 6455 §5.5.2.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._manager is None:
            raise RuntimeError("a WebSocket is used inside its `async with` block")
        link = self._link
        payload = os.urandom(8)
        answered = link.pings[payload] = trio.Event()
        began = trio.current_time()
        try:
            await link.turn.take()
            try:
                link.check_open()
                await link.transmit(link.wire.send_ping(payload))
            finally:
                link.give_turn_back()
            link.stir(0)
            await answered.wait()
            if payload in link.pings:  # it was the end that came, not the pong
                link.check_open()
        except WebSocketClosedError:
            link.noticed.set()
            raise
        finally:
            link.pings.pop(payload, None)
        return trio.current_time() - began

    # -- the end -------------------------------------------------------------------------------------------------------

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close: send a close frame, wait for the peer's, drop the messages that still come; again does nothing.

        When the peer does not answer within ``close_seconds``, the connection is dropped.

        Args:
            code: 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 §7.4).
            reason: at most 123 bytes of UTF-8, for the peer's log.
        Cancellation: the connection is dropped.
        Raises:
            ValueError: the code or the reason must not be sent.
        Source: RFC 6455 §7.1.
        """
        check_close(code, reason)
        if self._nursery is None:
            self._link.program_closed = True
            await trio.aclose_forcefully(self._link.stream)
            return
        await self._close(code, reason, self._timeouts.close_seconds)

    async def _close(self, code: int, reason: str, seconds: float) -> None:
        link = self._link
        link.program_closed = link.closing = True
        link.noticed.set()
        link.held = None
        try:
            with trio.move_on_after(seconds):
                if link.ending is None:
                    await link.send_close(code, reason)
                link.ring()
                await link.over.wait()
        except WebSocketClosedError:
            pass  # it is closed, if not by us
        finally:
            link.lose(f"the peer did not answer the close within {seconds:g} s")
            if not link.over.is_set():
                link.abort()

    async def __aenter__(self) -> Self:
        if self._manager is not None:
            raise RuntimeError("a WebSocket is entered once")
        await trio.lowlevel.checkpoint_if_cancelled()
        self._scope.__enter__()
        # Entered by hand, and left in __aexit__ alone: what is raised in the block never passes through it.
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self._nursery.start_soon(self._keep)
        if self._wait_going_away is not None:
            self._nursery.start_soon(self._go_away)
        return self

    async def _keep(self) -> None:
        with self._keeping:
            await self._keeper.run()

    async def _go_away(self) -> None:
        assert self._wait_going_away is not None
        await self._wait_going_away()
        self._keeper.go_away()

    async def __aexit__(  # type: ignore[override]  # it swallows the cancellation that cancel_on_leave asked for
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Close, with 1000, with 1001 when the block is cancelled, with 1013 or 1011 when it failed.

        Cancellation: the connection is dropped.
        """
        try:
            await self._say_goodbye(exc)
        except BaseException as second:
            if self._scope.__exit__(type(second), second, second.__traceback__):
                return True
            raise
        return self._scope.__exit__(kind, exc, traceback)

    async def _say_goodbye(self, exc: BaseException | None) -> None:
        link = self._link
        try:
            if exc is None:
                await self.aclose()
            elif exc is link.failure and link.ending is None:
                await self._close(1001, "", self._timeouts.close_seconds)  # going away: the keeper has its time for it
            elif isinstance(exc, (Exception, BaseExceptionGroup, trio.Cancelled)) and not link.over.is_set():
                code = 1013 if isinstance(exc, SlowReaderError) else 1011
                if trio.current_effective_deadline() <= trio.current_time():
                    code = 1001
                with trio.CancelScope(shield=True):  # bounded by what it does
                    await self._close(code, "", GOODBYE_SECONDS)
        finally:
            link.program_closed = True
            link.noticed.set()
            manager, nursery = self._manager, self._nursery
            assert manager is not None
            assert nursery is not None
            self._nursery = None
            nursery.cancel_scope.cancel(reason="the block of a WebSocket was left")
            self._keeping.cancel(reason="the block of a WebSocket was left")
            self._scope.shield = True  # its tasks have been cancelled, and never wait after that
            try:
                await manager.__aexit__(None, None, None)
            except BaseExceptionGroup as group:  # the keeper raises nothing, but Ctrl-C may meet this wait
                raise group.exceptions[0] from None
            finally:
                self._scope.shield = False


class MessageChunks:
    """The pieces of one message, as they come in; ``WebSocket.receive_chunks`` makes it."""

    __slots__ = ("_begun", "_ended", "_websocket")

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket
        self._begun = False
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Return the next piece: all are ``str``, or all are ``bytes``; text is cut between characters.

        Cancellation: resumable.
        Raises: as ``WebSocket.receive``; for the end of the channel too, which is no message without chunks.
        """
        if self._ended:
            raise StopAsyncIteration
        piece = await self._websocket._next_chunk(self, first=not self._begun)
        if piece is None:
            self._ended = True
            raise StopAsyncIteration
        self._begun = True
        self._ended = piece.message_finished
        return piece.data if isinstance(piece.data, str) else bytes(piece.data)


def _pieces(value: Message) -> Iterator[tuple[Message, bool]]:
    """Yield a large message in pieces of at most 64 KiB, each with whether it is the last."""
    size = FRAGMENT_BYTES if isinstance(value, bytes) or value.isascii() else FRAGMENT_BYTES // 4
    for start in range(0, len(value), size):
        yield value[start : start + size], start + size >= len(value)
