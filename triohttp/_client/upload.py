"""Sending streamed content, in a task beside the one that receives the answer.

Rule 1: ``run`` never raises: its nursery is a detail of ours, so what happened is kept for the receiver.
Rule 2: the deadline is about the server: it runs while bytes go out, never while the caller's iterable is asked.
Rule 3: the iterable is closed by this task, outside the scope that stops the sending, so that its cleanup may await.
Rule 4: an upload is one pass over its content; the next one, after a redirect or a challenge, has an upload of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

from triohttp._connection.client_exchange import ClientExchange
from triohttp._values.headers import Headers
from triohttp._values.limits import ClientTimeouts
from triohttp.errors import DisconnectedError, WriteTimeout

from .body import SLICE_BYTES, StreamedContent
from .groups import is_cancelled
from .options import Progress, TrailersInit

__all__ = ["Upload"]

LAST_STEPS = 4
"""How often an upload gets another turn after the answer: a few small pieces go out in that, an endless one is left."""


class Upload:
    """The sending half of an exchange whose head has gone out.

    Args:
        exchange: where to send.
        content: what to send.
        trailers: what to send after chunked content.
        timeouts: the bounds.
        expect: wait for ``may_send`` first, but not for longer than ``expect_continue_seconds``.
        on_end: called once, when it is over.
        on_upload: told how many bytes have been handed to the connection, and how many there are: 0 before the first,
            then after every ``SLICE_BYTES`` and every piece, and at last all of them as ``(n, n)``, also when it took
            the end to know how many there are. What it raises ends the request, as what the content raises.
    Attributes:
        may_send: set by the receiver when the server said 100 (Continue).
        done: it is over.
        error: what the iterable raised, or a timeout; the exchange has failed.
        send_error: the server, or the way there, took no more; an answer may be there all the same.
    """

    __slots__ = (
        "_content",
        "_ending",
        "_exchange",
        "_expect",
        "_finished",
        "_on_end",
        "_on_upload",
        "_scope",
        "_sending",
        "_stopped",
        "_timeouts",
        "_trailers",
        "done",
        "error",
        "may_send",
        "send_error",
    )

    def __init__(
        self,
        exchange: ClientExchange,
        content: StreamedContent,
        trailers: TrailersInit | None,
        timeouts: ClientTimeouts,
        *,
        expect: bool,
        on_end: Callable[[Upload], None],
        on_upload: Progress | None = None,
    ) -> None:
        self._exchange = exchange
        self._content = content
        self._trailers = trailers
        self._timeouts = timeouts
        self._expect = expect
        self._on_end: Callable[[Upload], None] | None = on_end
        self._on_upload = on_upload
        self._scope = trio.CancelScope()
        self._stopped = False
        self._finished = trio.Event()
        self.may_send = trio.Event()
        self._ending = False  # the last bytes are going out: an answer now is no early one
        self.done = False
        self._sending = False  # the exchange is at work, and not the iterable: whose error it is depends on that
        self.error: BaseException | None = None
        self.send_error: DisconnectedError | None = None

    def stop(self) -> None:
        """Send nothing more; a part of the content may stay half sent, which ends the connection."""
        self._stopped = True
        self._scope.cancel(reason="the rest of the content is not wanted")

    async def wait_done(self) -> None:
        """Wait until it is over."""
        await self._finished.wait()

    async def settle(self, patience_seconds: float) -> None:
        """Let an upload end that is about to, which keeps the connection; stop any other.

        A server may answer before it has read what had gone out already, or was going out in the same moment.

        Args:
            patience_seconds: how long the last bytes may take.
        """
        for _ in range(LAST_STEPS):
            if self.done or self._ending:
                break
            await trio.lowlevel.checkpoint()
        if self._ending and patience_seconds:
            with trio.move_on_after(patience_seconds):
                await self.wait_done()
        if not self.done:
            self.stop()

    async def run(self) -> None:
        """Send everything, then close the iterable if it was begun."""
        try:
            with self._scope:
                await self._send()
            if self._scope.cancelled_caught and not self._stopped:
                seconds = self._timeouts.write_idle_seconds
                self.error = WriteTimeout(
                    f"the server took nothing in {seconds:g} s", phase="send", seconds=seconds, sent=True
                )
        except BaseException as exc:  # noqa: BLE001  # kept
            self._keep(exc)
        self._sending = False
        try:
            if self._content.started:
                await self._content.aclose()
        except BaseException as exc:  # noqa: BLE001  # kept
            self._keep(exc)
        self.done = True
        self._finished.set()
        on_end, self._on_end = self._on_end, None  # forgotten, since it knows this: no cycle is left behind
        assert on_end is not None
        on_end(self)

    def _keep(self, exc: BaseException) -> None:
        if is_cancelled(exc):
            return  # the receiver is in the same scopes and raises its own
        if self._sending and isinstance(exc, DisconnectedError):
            self.send_error = exc
        elif self._sending and isinstance(exc, trio.ClosedResourceError):
            return  # the connection was closed by this end, on purpose; the receiver hears why
        else:
            if self.error is not None and exc.__context__ is None:
                exc.__context__ = self.error  # as if the cleanup had been a `finally` around the rest
            self.error = exc

    async def _send(self) -> None:
        if self._expect:
            with trio.move_on_after(self._timeouts.expect_continue_seconds):
                await self.may_send.wait()
        await trio.lowlevel.checkpoint_if_cancelled()  # when stopped by now, the content stays whole
        content = self._content
        length = content.length
        told = self._on_upload
        sent = 0
        self._ending = length == 0  # the head was all: the server may answer by now
        if told is not None:
            told(0, length)
        while (piece := await content.next_piece()) is not None:
            for start in range(0, len(piece), SLICE_BYTES):
                part = piece[start : start + SLICE_BYTES]
                sent += len(part)
                self._ending = sent == length
                self._arm()
                self._sending = True
                await self._exchange.send(part)
                self._sending = False
                if told is not None:
                    told(sent, length)
            if content.blocks or not piece:
                self._scope.deadline = math.inf
            if not piece:  # nothing was sent, so nothing has yielded
                await trio.lowlevel.checkpoint()
        trailers = self._trailers
        if callable(trailers):
            trailers = trailers()
        self._ending = self._sending = True
        self._arm()
        await self._exchange.finish(None if trailers is None else Headers(trailers))
        self._sending = False
        if told is not None and length is None:
            told(sent, sent)

    def _arm(self) -> None:
        seconds = self._timeouts.write_idle_seconds
        deadline = trio.current_time() + seconds
        if not 0.0 <= deadline - self._scope.deadline < seconds / 1000:  # as in phases.py: near enough is not moved
            self._scope.deadline = deadline
