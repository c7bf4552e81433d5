"""The keeper of a WebSocket: a task that does what must happen while the program is elsewhere.

It answers pings, sends them, finds dead peers, notices a peer that takes nothing, reads for a program that is busy, and
closes. While the program receives, all of that costs it a wake-up now and then, and a message nothing.

Rule 1: it sleeps in one place, until the earliest thing that it has to do, and is woken by ``Link.ring``.
Rule 2: it reads only when the program has not for a while, and stops at the first piece of a message.
Rule 3: time in which nobody reads is not held against the peer, nor is time in which the whole loop stood still.
Rule 4: it raises nothing: how the WebSocket ended is in the link.
"""

from __future__ import annotations

import math
from typing import Final

import trio

from triohttp._values.limits import WebSocketTimeouts
from triohttp._wire.events import Role
from triohttp.errors import WebSocketClosedError

from .websocket_link import READ_BYTES, Ending, Link

__all__ = ["GOODBYE_SECONDS", "LOOK_SECONDS", "Keeper"]

LOOK_SECONDS: Final = 0.1
"""How long a program may be away before the keeper reads for it."""
GOODBYE_SECONDS: Final = 1.0
"""How long a last frame may take, and the peer to end its stream after it."""
GOING_AWAY: Final = 1001
GOING_AWAY_SECONDS: Final = 3.0
"""How long a peer may take to answer the close of a server that shuts down."""
TOOK_NOTHING: Final = "the peer took nothing for write_stall_seconds"
STALL_SECONDS: Final = 1.0
"""A wake-up that is later than this was held up by the loop."""


class Keeper:
    """The second task of a WebSocket.

    Args:
        link: what it shares with the program's task.
        timeouts: how long the peer may take.
        leaving: cancelled when the peer has left and the program does not come to hear of it; None for never.
    """

    def __init__(self, link: Link, timeouts: WebSocketTimeouts, leaving: trio.CancelScope | None) -> None:
        self._link = link
        self._timeouts = timeouts
        self._leaving = leaving
        self._going_away = False
        self._close_until = math.inf
        self._unanswered = ""
        self._ping_due = False
        self._sending: trio.CancelScope | None = None
        self._ticks = -1

    def go_away(self) -> None:
        """Close with 1001: this end shuts down."""
        self._going_away = True
        seconds = min(GOING_AWAY_SECONDS, self._timeouts.close_seconds)
        self._close_until = trio.current_time() + seconds
        self._unanswered = f"the peer did not answer the close within {seconds:g} s"
        if self._sending is not None:
            self._sending.deadline = min(self._sending.deadline, self._close_until)
        self._link.due = True
        self._link.ring()

    async def run(self) -> None:
        """Keep the WebSocket until it is over and its stream closed."""
        link = self._link
        try:
            while link.ending is None:
                await self._send_due()
                if link.ending is None:
                    await self._sleep()
            link.take_back_turn()
            await self._finish(link.ending)
        finally:
            link.abort()
            link.over.set()
            link.take_back_turn()
            link.waiting.unpark_all()
            await trio.aclose_forcefully(link.stream)  # never waits
        if self._leaving is not None:
            until = self._close_until if self._going_away else trio.current_time() + self._timeouts.close_seconds
            with trio.move_on_at(until):
                await link.noticed.wait()
            if not link.noticed.is_set():
                self._leaving.cancel(reason="the peer of a WebSocket left")

    # -- sleeping and reading ------------------------------------------------------------------------------------------

    async def _sleep(self) -> None:
        """Sleep until something is to be done, or read for the program meanwhile."""
        link = self._link
        now = trio.current_time()
        reads = not link.receiving and link.held is None and (link.closing or link.taken == self._ticks)
        wake = self._next_deadline(now, listens=reads or link.reading)
        if link.ending is not None or (self._ping_due and (link.reserved or not link.turn.taken)):
            return
        link.planned = wake
        if link.receiving:
            link.stirred = False
        elif link.held is None and not reads:
            self._ticks = link.taken
            link.stirred = True
            wake = min(wake, now + LOOK_SECONDS)
        if link.rung:
            link.rung = False
            return
        with trio.CancelScope(deadline=wake) as nap:
            link.nap = nap
            if reads:
                await self._read()
            else:
                await trio.sleep_forever()
        link.nap = None
        link.rung = False
        if trio.current_time() > nap.deadline + STALL_SECONDS:  # which may have been moved meanwhile
            self._start_anew()

    def _start_anew(self) -> None:
        """Give the peer its time again: the loop stood still, and nobody was heard because nobody listened."""
        link = self._link
        link.pinged_at = None  # it was silent for long enough to be pinged again at once
        if link.sending_since is not None:
            link.sending_since = trio.current_time()

    async def _read(self) -> None:
        """Read up to the next piece of a message, and hold it for the program."""
        link = self._link
        piece = link.advance()
        try:
            while piece is None and link.ending is None:
                await link.fill()
                piece = link.advance()
        finally:
            link.held = piece
            link.waiting.unpark_all()

    def _next_deadline(self, now: float, *, listens: bool) -> float:
        """Return when the keeper has to look again; what is late now is acted on.

        ``listens`` says that somebody reads, or is going to: only then does the time of a pong pass.
        """
        link = self._link
        timeouts = self._timeouts
        if now >= self._close_until:
            link.lose(self._unanswered)
        stall = timeouts.write_stall_seconds
        wake = min(self._close_until, now + stall)
        if link.sending_since is not None:
            if now >= link.sending_since + stall:
                link.lose(f"{TOOK_NOTHING}={stall:g}")
            wake = min(wake, link.sending_since + stall)
        if link.wire.closing:  # nothing may be said any more, and whoever closes waits for so long and no longer
            return wake
        if link.pinged_at is not None and link.heard_at >= link.pinged_at:
            link.pinged_at = None
        if link.pinged_at is None:
            due = link.heard_at + timeouts.ping_seconds
            if now >= due:
                self._ping_due = link.due = True  # whoever has the turn leaves it to the keeper then
                return wake
            return min(wake, due)
        seconds = timeouts.pong_seconds
        left = seconds - link.listened_for(now)
        if left <= 0:
            link.lose(f"the peer was not heard of for pong_seconds={seconds:g} after a ping", reply=1011)
        return min(wake, now + (left if listens else seconds))

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _send_due(self) -> None:
        """Send the control frames that wait, unless somebody else is sending: he leaves the turn to this task then."""
        link = self._link
        if not link.due or not link.take_turn_for_keeper():
            return
        try:
            link.due = False
            if link.wire.closing or link.ending is not None:
                self._ping_due = False
                return
            data = b""
            if link.pong is not None:
                data, link.pong = link.wire.send_pong(link.pong), None
            if self._ping_due:
                self._ping_due = False
                link.expect_pong()
                data += link.wire.send_ping(b"")
            if self._going_away:
                data += link.wire.send_close(GOING_AWAY)
            if data:  # under a deadline of its own: nobody else looks at one while this task waits
                stall = self._timeouts.write_stall_seconds
                until = min(self._close_until, trio.current_time() + stall)
                with trio.CancelScope(deadline=until) as self._sending:
                    await link.transmit(data, self._unanswered if self._going_away else f"{TOOK_NOTHING}={stall:g}")
        except WebSocketClosedError:
            pass  # the link knows
        finally:
            self._sending = None
            link.turn.give_back()

    async def _finish(self, ending: Ending) -> None:
        """Say the last word, and close the stream in a way that lets the peer read it."""
        link = self._link
        stream = link.stream
        with trio.move_on_after(GOODBYE_SECONDS):
            try:
                if ending.reply is not None:
                    await link.send_close(ending.reply, ending.reason if ending.by == "self" else "")
                if ending.polite:
                    if link.wire.role is Role.SERVER and isinstance(stream, trio.abc.HalfCloseableStream):
                        async with link.turn:
                            await stream.send_eof()
                    # Closing with something unread resets the connection, and takes the close frame with it.
                    while await stream.receive_some(READ_BYTES):
                        pass
                    await stream.aclose()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # nobody reads it any more
