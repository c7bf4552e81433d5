"""What the two tasks of a WebSocket share: the stream, the wire, whose turn it is, and how it ended.

The program's task receives and sends in place, with nothing between it and the stream. The keeper does what must happen
while the program is elsewhere. Either finds out how the WebSocket ends; the first to know says it here, and the keeper
acts on it.

Rule 1: one task at a time receives from the stream, and one at a time sends; bytes leave in the order of the wire.
Rule 2: a send that did not finish is the end: nobody knows how much of the frame has left.
Rule 3: of what has come in, one piece of a message is held for the program, and no more is read meanwhile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import trio

from triohttp._turn import SendTurn
from triohttp._values.limits import WebSocketLimits
from triohttp._wire.websocket import NO_CODE, BytesMessage, Close, Ping, Pong, TextMessage, WebSocketWire
from triohttp.errors import WebSocketClosedError, clip

__all__ = ["ABNORMAL", "Ending", "Link", "Piece"]

READ_BYTES: Final = 64 * 1024
FEW_BYTES: Final = 4 * 1024
"""What is read at once where much may come of it: of messages that are dropped, or inflated without a bound."""
ABNORMAL: Final = 1006
"""The connection ended without a close frame (RFC 6455 §7.4.1); never on the wire."""
FINE: Final = frozenset({1000, 1001, NO_CODE})
"""Close codes that say nothing went wrong."""
FLOOD_SECONDS: Final = 10
CALM_SECONDS: Final = 0.005  # moving a deadline costs 4 µs, the wake-up that it saves 45

Piece: TypeAlias = TextMessage | BytesMessage


@dataclass(frozen=True, slots=True)
class Ending:
    """How a WebSocket ended."""

    code: int
    reason: str
    by: Literal["peer", "self"] | None
    reply: int | None = None
    """The code of the close frame that is still to be sent."""
    polite: bool = False
    """The peer is there: it is given the time to take what was sent."""
    cause: Exception | None = None


class Link:
    """The state of one WebSocket after its handshake."""

    __slots__ = (
        "_controls",
        "_controls_since",
        "_limits",
        "_listened",
        "_read_began",
        "_read_bytes",
        "calmed_at",
        "closing",
        "due",
        "ending",
        "failure",
        "heard_at",
        "held",
        "nap",
        "noticed",
        "over",
        "pinged_at",
        "pings",
        "planned",
        "pong",
        "program_closed",
        "reading",
        "receiving",
        "reserved",
        "rung",
        "sending_since",
        "stirred",
        "stream",
        "taken",
        "turn",
        "waiting",
        "wire",
    )

    def __init__(self, stream: trio.abc.Stream, wire: WebSocketWire, limits: WebSocketLimits) -> None:
        self.stream = stream
        self.wire = wire
        self._limits = limits
        self.turn = SendTurn()
        self.ending: Ending | None = None
        self.failure: WebSocketClosedError | None = None
        self.over = trio.Event()
        """The stream is closed."""
        self.noticed = trio.Event()
        """The program has been told of the end."""
        # receiving
        self.receiving = False  # the program is in receive()
        self.reading = False  # somebody is in the stream's receive_some()
        self.pinged_at: float | None = None  # by the keeper, while nothing was heard since
        self._read_began = 0.0  # kept while a pong is awaited, as is how long was listened
        self._listened = 0.0
        # Compressed data becomes a thousand times as long at most, and without a bound on messages all of it comes out.
        self._read_bytes = FEW_BYTES if wire.compressed and limits.max_message_bytes is None else READ_BYTES
        self.heard_at = trio.current_time()
        self.held: Piece | None = None
        self.taken = 0
        self.waiting = trio.lowlevel.ParkingLot()  # the program, while the keeper reads
        # sending
        self.sending_since: float | None = None
        self.pong: bytes | None = None  # only the latest ping is answered (RFC 6455 §5.5.3)
        self.pings: dict[bytes, trio.Event] = {}
        self.due = False  # a control frame waits for the turn
        self.reserved = False  # the turn was not given back, but left to the keeper
        # closing
        self.closing = False  # messages are not wanted any more
        self.program_closed = False
        # the keeper's sleep
        self.nap: trio.CancelScope | None = None
        self.rung = False
        self.planned = math.inf  # when it would wake if the program stayed where it is
        self.stirred = True
        self.calmed_at = -math.inf
        self._controls = 0
        self._controls_since = self.heard_at

    # -- the keeper's sleep --------------------------------------------------------------------------------------------

    def ring(self) -> None:
        """Wake the keeper."""
        self.rung = True
        if self.nap is not None:
            self.nap.cancel(reason="there is something to do")

    def stir(self, seconds: float) -> None:
        """Have the keeper look within so many seconds; costs nothing when it is going to."""
        self.stirred = True
        if self.nap is not None:
            self.nap.deadline = min(self.nap.deadline, trio.current_time() + seconds)

    def calm(self) -> None:
        """Let the keeper sleep on: the program has come back."""
        if self.nap is not None and self.heard_at > self.calmed_at + CALM_SECONDS:
            self.calmed_at = self.heard_at
            self.stirred = False
            self.nap.deadline = self.planned

    # -- receiving -----------------------------------------------------------------------------------------------------

    def advance(self) -> Piece | None:
        """Return the next piece of a message out of what has come in, None when more has to come, or nothing will."""
        if self.ending is not None:
            return None
        while (event := self.wire.next_event()) is not None:
            kind = event.__class__
            if kind is TextMessage or kind is BytesMessage:
                if not self.closing:
                    return event  # type: ignore[return-value]  # compared by class, which is what this path can pay
            elif isinstance(event, Close):
                self._closed(event)
                return None
            elif not self._control(event):  # type: ignore[arg-type]  # nothing else is left
                return None
        return None

    async def fill(self) -> None:
        """Wait for bytes of the peer, and give them to the wire; an end of the stream is the end.

        Cancellation: resumable, where the stream's own receive is.
        """
        self.reading = True
        if self.pinged_at is not None:
            self._read_began = trio.current_time()
        try:
            data = await self.stream.receive_some(FEW_BYTES if self.closing else self._read_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.lose("the connection broke", exc)
            return
        finally:
            self.reading = False
            if self.pinged_at is not None:
                self._listened += trio.current_time() - self._read_began
        if not data:
            self._end(Ending(ABNORMAL, "the connection ended without a close", self._closer(), polite=True))
            return
        self.heard_at = trio.current_time()
        self.wire.receive(bytes(data))

    def expect_pong(self) -> None:
        """Count the time in which somebody listens from now on."""
        self.pinged_at = self._read_began = trio.current_time()
        self._listened = 0.0

    def listened_for(self, now: float) -> float:
        """Return the seconds in which somebody has listened since the ping, and heard nothing."""
        return self._listened + (now - self._read_began if self.reading else 0.0)

    def _control(self, event: Ping | Pong) -> bool:
        """Take a control frame; False when there were too many."""
        self._controls += 1
        bound = self._limits.max_control_frames_per_second
        if self._controls > bound * FLOOD_SECONDS:
            now = trio.current_time()
            if now - self._controls_since < FLOOD_SECONDS:
                self.breach(1008, f"more than max_control_frames_per_second={bound}")
                return False
            self._controls, self._controls_since = 1, now
        if isinstance(event, Ping):
            self.pong = bytes(event.payload)
            self.due = True
            self.ring()
        elif (waiter := self.pings.pop(bytes(event.payload), None)) is not None:
            waiter.set()
        return True

    def _closed(self, event: Close) -> None:
        if event.breach:
            self.breach(event.code, event.reason)
            return
        by: Literal["peer", "self"] = "self" if self.wire.closing else "peer"
        reply = None if self.wire.closing else event.code  # the same code, and none for none (RFC 6455 §5.5.1)
        self._end(Ending(event.code, event.reason, by, reply, polite=True))

    # -- sending -------------------------------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Refuse to send what cannot be sent any more.

        Raises:
            WebSocketClosedError: the peer has closed, or the connection is lost, or is being closed.
            trio.ClosedResourceError: the program has closed.
        """
        if self.program_closed:
            raise trio.ClosedResourceError("this WebSocket was closed before")
        if self.ending is not None or self.wire.closing:
            raise self.error()

    def behind_pong(self, data: bytes) -> bytes:
        """Return data behind the pong that waits, if one does: it was asked for first, and must not wait for it all."""
        if self.pong is not None:
            data, self.pong = self.wire.send_pong(self.pong) + data, None
        return data

    async def transmit(self, data: bytes, given_up: str = "a send did not finish") -> None:
        """Send bytes of the wire; the caller has the turn. ``given_up`` says why, when it is cancelled.

        Cancellation: fatal.
        Raises:
            WebSocketClosedError: the peer is gone.
        """
        self.sending_since = trio.current_time()
        try:
            await self.stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            self.lose("the peer is gone", exc)
            raise self.error() from exc
        except BaseException:
            self.lose(given_up)
            raise
        finally:
            self.sending_since = None

    async def send_close(self, code: int, reason: str = "") -> None:
        """Send the close frame, unless there is one already, when it is its turn.

        Cancellation: fatal when it is its turn.
        Raises:
            WebSocketClosedError: the peer is gone.
        """
        async with self.turn:
            if not self.wire.closing and (self.ending is None or self.ending.reply is not None):
                await self.transmit(self.wire.send_close(code, reason))

    def give_turn_back(self) -> None:
        """Let the next one send: the keeper first, where a control frame waits, or a busy sender would keep it out."""
        if self.due and self.ending is None:
            self.reserved = True
            self.ring()
        else:
            self.turn.give_back()

    def take_turn_for_keeper(self) -> bool:
        """Take the turn if it is free or left to the keeper; else it will be."""
        if self.reserved:
            self.reserved = False
        elif self.turn.taken:
            return False
        else:
            self.turn.taken = True
        return True

    def take_back_turn(self) -> None:
        """Let others send: there is no keeper any more who would."""
        if self.reserved:
            self.reserved = False
            self.turn.give_back()

    # -- the end -------------------------------------------------------------------------------------------------------

    def breach(self, code: int, reason: str) -> None:
        """End for a breach of the peer's, with a close frame of that code."""
        self._end(Ending(code, reason, "self", None if self.wire.closing else code, polite=True))

    def lose(self, reason: str, cause: Exception | None = None, *, reply: int | None = None) -> None:
        """End without a close of the peer's; what ended before stays as it was."""
        self._end(Ending(ABNORMAL, reason, self._closer(), reply, cause=cause))

    def _closer(self) -> Literal["self"] | None:
        """Return whose close frame there is while the peer's has not come."""
        return "self" if self.wire.closing else None

    def _end(self, ending: Ending) -> None:
        if self.ending is None:
            self.ending = ending
            self.ring()
            self.waiting.unpark_all()
            for waiter in self.pings.values():
                waiter.set()

    def error(self) -> WebSocketClosedError:
        """Return the error that says how this ended: always the same one, so that whoever gets it knows whose it is."""
        if self.failure is None:
            # Without an ending this end has said that it goes away, and waits for the answer.
            ending = self.ending or Ending(1001, "", "self")
            who = {"peer": "closed by the peer", "self": "closed by this end", None: "lost"}[ending.by]
            reason = f", {clip(ending.reason)}" if ending.reason else ""  # which may be the peer's
            self.failure = WebSocketClosedError(
                f"this WebSocket is over: {who}, code {ending.code}{reason}",
                code=ending.code,
                reason=ending.reason,
                by=ending.by,
            )
            self.failure.__cause__ = ending.cause
        self.failure.__context__ = None
        return self.failure.with_traceback(None)  # raised again and again, it would keep every frame that it passed

    def no_more(self) -> Exception:
        """Return what a receive raises at the end."""
        self.noticed.set()
        if self.program_closed:
            return trio.ClosedResourceError("this WebSocket was closed before")
        ending = self.ending
        assert ending is not None
        if ending.by is not None and ending.code in FINE:
            return trio.EndOfChannel("this WebSocket was closed")
        return self.error()

    def abort(self) -> None:
        """Break the stream now where it can be broken without awaiting."""
        for name in ("abort", "close"):
            method = getattr(self.stream, name, None)
            if callable(method):
                method()
                return
