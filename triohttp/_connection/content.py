"""The content of a message as it comes in, for either role.

Rule 1: nothing is read ahead: whoever receives pulls; backpressure is the absence of a pull.
Rule 2: after an error the rest of the content is lost; every later receive raises the same error again.
Rule 3: content that is over knows no longer where it came from: no reference cycle outlives its exchange.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from triohttp._values.headers import Headers
from triohttp._wire.events import EndOfContent, Event
from triohttp.errors import BodyTooLargeError, BodyTruncatedError, DisconnectedError, TrioHTTPError

__all__ = ["IncomingContent"]


class IncomingContent(trio.abc.ReceiveStream):
    """A message's content as a trio receive stream.

    Attributes:
        length: bytes announced, 0 for a message without content, None when only the end will tell.
        max_bytes: bound on what may be received, None for none; it may be moved until it is passed.
        received: bytes handed out or held so far.
        at_end: the end was seen.
        trailers: the trailer section, once ``at_end``; None when there was none.
        error: what made the rest unreceivable, None while nothing did.
    """

    __slots__ = ("_closed", "_pull", "_rest", "at_end", "error", "length", "max_bytes", "received", "trailers")

    def __init__(self, pull: Callable[[], Awaitable[Event]], length: int | None, max_bytes: int | None = None) -> None:
        self._pull: Callable[[], Awaitable[Event]] | None = pull
        self._rest = b""
        self._closed = False
        self.error: TrioHTTPError | None = None
        self.length = length
        self.max_bytes = max_bytes
        self.received = 0
        self.at_end = False
        self.trailers: Headers | None = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some content, at most ``max_bytes``; ``b""`` at its end.

        Cancellation: resumable.
        Raises:
            BodyTooLargeError: the content passed ``max_bytes`` of this object.
            BodyTruncatedError: the peer ended the stream in the middle.
            DisconnectedError: the peer reset the connection.
            ReadTimeout: content did not come, or came too slowly (server; a client's waits are its own scopes).
            RemoteProtocolError: the framing is broken.
            trio.ClosedResourceError: ``aclose`` was called before.
        Source: RFC 9112 §6, §7.
        """
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes!r}")
        await trio.lowlevel.checkpoint_if_cancelled()  # the pull checkpoints fully when it has to wait
        if self._closed:
            raise trio.ClosedResourceError("this content was closed before")
        if not self._rest:
            if self.at_end:
                return b""
            await self._fill()
        data = self._rest
        if max_bytes is not None and len(data) > max_bytes:
            data, self._rest = data[:max_bytes], data[max_bytes:]
        else:
            self._rest = b""
        return data

    async def _fill(self) -> None:
        if self.error is not None:
            raise self.error
        assert self._pull is not None
        try:
            event = await self._pull()
            if isinstance(event, bytes):
                self.received += len(event)
                if self.max_bytes is not None and self.received > self.max_bytes:
                    raise BodyTooLargeError(
                        f"the content passes max_body_bytes={self.max_bytes}",
                        limit="max_body_bytes",
                        bound=self.max_bytes,
                    )
                self._rest = event
            elif isinstance(event, EndOfContent):
                self.end(event.trailers)
            else:
                raise DisconnectedError("the connection ended inside the content", phase="content")
        except TrioHTTPError as exc:
            if isinstance(exc, BodyTruncatedError):
                exc.received, exc.expected = self.received, self.length
            self.error = exc
            self._pull = None
            raise

    def fill(self, content: bytes) -> None:
        """Take all of the content at once, which has come in already."""
        self._rest = content
        self.received = len(content)
        self.end()

    @property
    def exhausted(self) -> bool:
        """The end was seen and all of it handed out."""
        return self.at_end and not self._rest

    def drop(self) -> None:
        """Throw away what has come in and was not handed out."""
        self._rest = b""

    def end(self, trailers: Headers | None = None) -> None:
        """Note that all of it has come; what was not handed out yet still is."""
        self.at_end = True
        self.trailers = trailers
        self._pull = None

    async def ended(self) -> bool:
        """Return whether all of the content has been handed out; what comes meanwhile is kept for the next receive."""
        if self._rest or (self.length is not None and self.received < self.length):
            return False
        if not self.at_end:
            await self._fill()
        return self.at_end

    async def discard(self, max_bytes: int) -> bool:
        """Receive and throw away what is left, at most ``max_bytes``; True when the end was reached."""
        if self.length is not None and self.length - self.received > max_bytes:
            return False
        self.max_bytes = self.received + max_bytes
        self._rest = b""
        while not self.at_end:
            await self._fill()
            self._rest = b""
        return True

    def refuse(self, error: TrioHTTPError) -> None:
        """Receive nothing more: ``error`` says why, and is what every later receive raises."""
        self._rest = b""
        self.error = error

    async def aclose(self) -> None:
        """Receive nothing more; the connection deals with what is left when the exchange ends."""
        self._closed = True
        await trio.lowlevel.checkpoint()
