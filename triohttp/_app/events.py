"""Server-sent events from a handler: ``request.events``.

Rule 1: each event is one send: whole, and flushed through whatever filters the answer passes.
Rule 2: the block is the stream: it is left after the last byte went out. What ends the stream from outside (a drain, a
        client that is gone or too slow) ends the block, through a scope of the block's own.
Rule 3: one child task a block, a second one where events are queued. They keep what happens to them, so that the caller
        gets the one real error and never a group of ours.
Rule 4: an event that has begun to leave is given a moment before its stream is ended; one that is cut cuts the stream.
"""

from __future__ import annotations

import math
from collections import deque
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING

import trio

from triohttp._values.message import ResponseHead
from triohttp._values.status import content_allowed
from triohttp._wire.sse import HEARTBEAT, Event, encode_comment, encode_event
from triohttp.errors import SlowReaderError, TransportError

from .event_feed import EventSettings
from .owned import NOT_BEGUN, ResponseBody

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .request import Request

__all__ = ["EventAnswer", "EventSender"]

FLUSH_SECONDS = 1.0
"""How long a drain waits for events that are on their way."""


class EventSender(trio.abc.SendChannel[Event | str]):
    """The events of an answer, as a trio send channel.

    Any number of tasks may send; each event stays in one piece.

    Attributes:
        dropped: events that were dropped because the client did not keep up, with ``overflow="drop_oldest"``.
    """

    __slots__ = (
        "_body",
        "_busy",
        "_ending",
        "_error",
        "_held",
        "_last_sent",
        "_max_pending",
        "_overflow",
        "_queue",
        "_request",
        "_scope",
        "_settled",
        "_wake",
        "dropped",
    )

    def __init__(self, request: Request, body: ResponseBody, settings: EventSettings, scope: trio.CancelScope) -> None:
        self._request = request
        self._body = body
        self._overflow = settings.overflow
        self._max_pending = settings.max_pending
        self._scope = scope
        self._queue: deque[bytes] | None = None if settings.overflow == "block" else deque()
        self._wake = trio.lowlevel.ParkingLot()
        self._busy = 0  # sends that are going on
        self._settled = trio.lowlevel.ParkingLot()
        self._last_sent = trio.current_time()
        self._ending = False  # no new event is taken
        self._held: trio.Event | None = None  # until the end is decided, new events wait for this
        self._error: BaseException | None = None
        self.dropped = 0

    async def send(self, value: Event | str) -> None:
        """Send an event; a str is the data of one.

        With ``overflow="block"`` it waits until the connection has taken the event, so for a client that does not read.
        With the others it only waits for its turn to run. When the server begins to drain, a task in the block is
        cancelled here.

        Cancellation: fatal when it had to wait for the client: the stream ends visibly cut. With the other policies
            atomic.
        Raises:
            DisconnectedError: the client is gone.
            SlowReaderError: ``max_pending`` events are waiting for the client, with ``overflow="close"``.
            TypeError, ValueError: it is no event; see ``Event``.
            WriteTimeout: the client took nothing, or too little, for too long.
            trio.BrokenResourceError: an earlier send did not finish.
            trio.ClosedResourceError: the stream has ended.
        """
        await self._put(encode_event(value if isinstance(value, Event) else Event(value)))

    async def comment(self, text: str = "") -> None:
        """Send a comment, which clients ignore.

        Cancellation and Raises: as ``send``.
        """
        await self._put(encode_comment(text))

    async def aclose(self) -> None:
        """End the stream, after what is queued; the end of the block does it too.

        Cancellation: fatal.
        Raises: as ``send``.
        """
        self._ending = True
        await self._settle()
        if self._error is not None:
            raise self._error
        await self._body.aclose()

    async def _put(self, data: bytes) -> None:
        queue = self._queue
        if self._held is not None:
            await self._held.wait()
        if queue is not None or self._ending:
            await trio.lowlevel.checkpoint()  # where a block that has been ended hears of it
        if self._error is not None:
            raise self._error
        if self._ending:
            raise trio.ClosedResourceError("this stream of events has ended")
        if queue is None:
            await self._send_now(data)
            return
        if len(queue) >= self._max_pending:
            if self._overflow == "close":
                error = SlowReaderError(
                    f"max_pending={self._max_pending} events wait for the client to read",
                    limit="max_pending",
                    bound=self._max_pending,
                )
                self._body._exchange.cut()
                self._give_up(error)
                raise error
            queue.popleft()
            self.dropped += 1
        queue.append(data)
        self._wake.unpark()

    async def _send_now(self, data: bytes) -> None:
        self._busy += 1
        try:
            await self._body._send_now(data)
            self._last_sent = trio.current_time()
        finally:
            self._busy -= 1
            if self._settled and not self._busy and not self._queue:
                self._settled.unpark_all()

    async def _write(self) -> None:
        """Send what is queued, in a task of the block."""
        queue = self._queue
        assert queue is not None
        while True:
            while queue:
                await self._send_now(queue.popleft())
            await self._wake.park()

    async def _settle(self) -> None:
        """Wait until everything that was taken has gone out, or cannot any more."""
        while (self._busy or self._queue) and self._error is None and not self._body._broken:
            await self._settled.park()

    def _close(self) -> None:
        """Take no more events, and tell so whoever was held up."""
        self._ending = True
        if self._held is not None:
            self._held.set()

    def _give_up(self, error: BaseException) -> None:
        """End the stream, and its block: this error is what every send raises from now on.

        A route that finishes what it began when its client leaves is told at its next send.
        """
        if self._error is not None:
            return
        self._error = error
        if self._queue is not None:
            self._queue.clear()
        self._settled.unpark_all()
        if not isinstance(error, TransportError) or self._body._exchange.on_disconnect == "cancel":
            self._scope.cancel(reason="the stream of events has ended")


class EventAnswer:
    """What ``request.events`` returns: ``async with`` it and send events."""

    __slots__ = (
        "_claims",
        "_exchange",
        "_flushing",
        "_head",
        "_manager",
        "_nursery",
        "_request",
        "_scope",
        "_sender",
        "_settings",
    )

    def __init__(self, request: Request, head: ResponseHead, settings: EventSettings, *, claims: bool = True) -> None:
        self._request = request
        self._exchange = request.exchange
        self._head = head
        self._settings = settings
        self._claims = claims
        self._scope = trio.CancelScope()
        self._flushing = trio.CancelScope()
        self._manager: AbstractAsyncContextManager[trio.Nursery]
        self._nursery: trio.Nursery
        self._sender: EventSender

    async def __aenter__(self) -> EventSender:
        """Send the head; the client knows that it is connected.

        Cancellation: fatal.
        Raises:
            BodyStateError: the request has been answered, or is being answered.
            DisconnectedError, WriteTimeout: as ``EventSender.send``.
        """
        request, head = self._request, self._head
        if self._claims:
            request._claim(self, head)
        body = ResponseBody(request, self._exchange, head)
        sender = self._sender = EventSender(request, body, self._settings, self._scope)
        has_content = request.method != "HEAD" and content_allowed(head.status)
        try:
            if has_content:
                await body._send_now(self._settings.first)
            else:
                await body._end_without_content()
        except BaseException:
            if self._claims and self._exchange.state in NOT_BEGUN:
                request._release(self)
            raise
        # By hand, since it spans the block. Nothing awaits from here on, so nothing can come between.
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        self._scope.__enter__()
        if not has_content:
            sender._ending = True
            self._scope.cancel(reason="this answer has no content")
        else:
            if self._settings.heartbeat_seconds != math.inf or self._settings.on_drain == "end":
                self._nursery.start_soon(self._guarded, self._attend)
            if self._settings.overflow != "block":
                self._nursery.start_soon(self._guarded, sender._write)
        return sender

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the stream: properly after a block that ended by itself or by a drain, visibly cut after an exception."""
        sender = self._sender
        try:
            absorbed = self._scope.__exit__(exc_type, exc, traceback)
            if exc is not None and not absorbed:
                return False
            if sender._error is None:
                await self._finish()
        finally:
            self._exchange.cut()  # unless it is complete
            sender._close()
            await self._end_tasks()
            if isinstance(sender._error, (SlowReaderError, TransportError)):
                self._request._blame(sender._error)
        if sender._error is not None:
            raise sender._error from sender._error.__cause__
        return True

    async def _finish(self) -> None:
        """Send what is queued, then the end."""
        sender = self._sender
        sender._ending = True
        with self._flushing:
            await sender._settle()
        if sender._busy or sender._queue or sender._body._broken or sender._error is not None:
            return
        await sender._body.aclose()

    async def _end_tasks(self) -> None:
        """Leave the nursery; its tasks end at once."""
        self._nursery.cancel_scope.cancel()
        try:
            await self._manager.__aexit__(None, None, None)
        except BaseExceptionGroup as group:  # nothing is raised in there, but Ctrl-C may meet this wait
            raise group.exceptions[0] from None

    # -- its tasks -----------------------------------------------------------------------------------------------------

    async def _guarded(self, task: Callable[[], Awaitable[None]]) -> None:
        """Be a task of the block: what happens to it is what happens to the stream."""
        try:
            await task()
        except trio.Cancelled:
            return  # the block is in the same scopes, and raises its own
        except BaseException as exc:  # noqa: BLE001  # kept
            self._sender._give_up(exc)

    async def _attend(self) -> None:
        """Send heartbeats, and bring the stream to its end when the server begins to drain."""
        sender, seconds = self._sender, self._settings.heartbeat_seconds
        while True:
            with trio.move_on_at(sender._last_sent + seconds):
                if self._settings.on_drain == "end":
                    await self._exchange.wait_draining()
                    break
                await trio.sleep_forever()
            if sender._ending or sender._body._broken:
                seconds = math.inf
            elif sender._busy or sender._queue:
                sender._last_sent = trio.current_time()  # something is on its way, as fast as the client takes it
            elif trio.current_time() >= sender._last_sent + seconds:
                await sender._send_now(HEARTBEAT)
        if sender._body._ended:
            return  # by the program, whose block goes on
        reason = "the server is shutting down"
        if sender._queue is None:
            sender._held = trio.Event()
        else:
            sender._ending = True
            self._scope.cancel(reason=reason)
        with trio.move_on_after(FLUSH_SECONDS):
            await sender._settle()
        self._scope.cancel(reason=reason)  # first, so that of those who are held up the ones in the block hear this
        self._flushing.cancel(reason=reason)
        sender._close()
