"""Server-sent events of a client: a stream that is kept up over as many connections as it takes.

Rule 1: entering tells whether it works: the first connection raises. From then on what may pass is waited for.
Rule 2: no task of its own: whoever receives waits, connects again and receives. Each wait can be cancelled and loses
        nothing; between two connections no slot of the pool is held.
Rule 3: a request is sent again only where the program, or its method, says that sending it twice does no harm.
Rule 4: nothing of a connection spans the caller's block: large content has gone out before an event is received.
"""

from __future__ import annotations

import logging
import math
import random
import time
from dataclasses import dataclass
from types import TracebackType

import trio

from triohttp._values.dates import parse_retry_after
from triohttp._values.headers import Headers, HeadersInit
from triohttp._wire.sse import MEDIA_TYPE, Event, EventDecoder
from triohttp.errors import (
    ContentError,
    InvalidHeaderError,
    StatusError,
    TransportError,
    TrioHTTPError,
    clip,
)

from .body import StreamedContent
from .flow import Flow
from .retry import may_pass
from .stream import ClientResponseStream

__all__ = ["EventReceiver", "EventsContext", "EventsSettings", "event_fields"]

LOGGER = logging.getLogger("triohttp.client")

LEAST_SECONDS = 0.1
MOST_SECONDS = 60.0
"""Between these is what a server may ask for, and where waiting longer each time ends."""
MOST_RETRY_AFTER_SECONDS = 3600.0
ERROR_SECONDS = 5.0
"""How long the content of an answer that is an error is waited for."""


@dataclass(frozen=True, slots=True)
class EventsSettings:
    """How a stream of events is kept up; see ``Client.events``."""

    reconnect: bool
    reconnect_seconds: float
    max_event_bytes: int
    idle_seconds: float

    def __post_init__(self) -> None:
        if not LEAST_SECONDS <= self.reconnect_seconds <= MOST_SECONDS:
            raise ValueError(
                f"reconnect_seconds must be from {LEAST_SECONDS:g} to {MOST_SECONDS:g}, "
                f"not {clip(self.reconnect_seconds)}"
            )
        if not self.idle_seconds > 0:
            raise ValueError(f"idle_seconds must be above 0, not {clip(self.idle_seconds)}")
        if self.max_event_bytes < 1:
            raise ValueError(f"max_event_bytes must be at least 1, not {clip(self.max_event_bytes)}")


class EventReceiver(trio.abc.ReceiveChannel[Event]):
    """The events of a server, as a trio receive channel.

    ``async for event in events`` ends when the server says that there are no more (204), and without ``reconnect`` when
    the stream does.

    Attributes:
        reconnects: how often it has connected again.
    """

    __slots__ = (
        "_closed",
        "_connected",
        "_connecting",
        "_decoder",
        "_failures",
        "_flow",
        "_over",
        "_receiving",
        "_response",
        "_retry_at",
        "_settings",
        "_timeouts",
        "_wait_seconds",
        "reconnects",
    )

    def __init__(self, flow: Flow, settings: EventsSettings, last_event_id: str | None) -> None:
        if isinstance(flow.request.content, StreamedContent):
            raise TypeError("the content of a request for events must be bytes, text, json or a form, not an iterable")
        self._flow = flow
        self._settings = settings
        self._timeouts = flow.request.timeouts
        self._decoder = EventDecoder(settings.max_event_bytes, last_event_id)
        self._response: ClientResponseStream | None = None
        self._connected = False
        self._connecting: trio.CancelScope | None = None
        self._wait_seconds = settings.reconnect_seconds
        self._failures = 0  # attempts since the last event
        self._retry_at = -math.inf
        self._receiving = False
        self._over = False
        self._closed = False
        self.reconnects = 0

    @property
    def last_event_id(self) -> str | None:
        """The id that was said last, which the next connection will go on from; None before any."""
        return self._decoder.last_event_id

    @property
    def response(self) -> ClientResponseStream:
        """The answer that events come from, or came from last."""
        assert self._response is not None, "there is an answer once the block is entered"
        return self._response

    async def receive(self) -> Event:
        """Return the next event, connecting again as often as it takes.

        Cancellation: resumable: no event is lost. A new connection that was not open yet is given up and counts as one
            that failed: a later call begins it anew, after the wait, so one with less time than the server takes to
            answer never gets there.
        Raises:
            ClientClosedError: the client was closed meanwhile.
            ContentError: ``media-type``: what answered is no stream of events any more.
            LimitError: an event passes ``max_event_bytes``.
            RemoteProtocolError: the answer is not HTTP.
            StatusError: the server answered a new connection with 3xx or 4xx, but for 429.
            TLSError: the server's certificate is not to be trusted any more.
            TransportError: without ``reconnect``: the connection broke.
            trio.BusyResourceError: another task is receiving.
            trio.ClosedResourceError: the channel was closed, its block left, or it failed before.
            trio.EndOfChannel: there are no more events.
        """
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving these events")
        self._receiving = True
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            waited = False
            while True:
                if self._closed:
                    raise trio.ClosedResourceError("this channel of events was closed, or failed before")
                event = self._decoder.next_event()
                if event is not None:
                    self._failures = 0
                    if not waited:
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    return event
                if self._over:
                    raise trio.EndOfChannel
                waited = True
                if self._connected:
                    await self._receive()
                else:
                    await self._connect_again()
        except TrioHTTPError:
            self._close()
            raise
        finally:
            self._receiving = False

    async def aclose(self) -> None:
        """Receive nothing more; a task that is receiving gets ClosedResourceError."""
        self._close()
        await trio.lowlevel.checkpoint()

    def _close(self) -> None:
        self._closed = True
        self._connected = False
        self._flow.close()
        if self._connecting is not None:
            self._connecting.cancel(reason="the channel of events was closed")

    # -- one connection ------------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        """Receive something of the stream, or find that it has ended."""
        try:
            data = await self.response.body.receive_some()
        except TransportError as exc:
            if not self._may_pass(exc):
                raise
            self._lose(exc)
            return
        if data:
            self._decoder.feed(data)
        elif self._settings.reconnect:
            self._lose("the stream ended")
        else:
            self._over = True

    def _may_pass(self, exc: TransportError) -> bool:
        """Tell whether an error is reason to try again, and not to give up."""
        return self._settings.reconnect and may_pass(exc)

    def _lose(self, why: TrioHTTPError | str, retry_after: float = 0.0) -> None:
        """Decide when to connect again, and forget what was unfinished."""
        self._connected = False
        self._flow.close()
        decoder = self._decoder
        if decoder.retry_ms is not None:
            self._wait_seconds = min(max(decoder.retry_ms / 1000, LEAST_SECONDS), MOST_SECONDS)
        self._decoder = EventDecoder(self._settings.max_event_bytes, decoder.last_event_id)
        seconds = self._back_off(retry_after)
        LOGGER.info("events of %s: %s; connecting again in %.1f s", self._flow, why, seconds)

    def _back_off(self, least: float = 0.0) -> float:
        """Decide when to connect again: after longer each time. Return the seconds until then."""
        seconds = min(self._wait_seconds * 2.0 ** min(self._failures, 20), MOST_SECONDS) * random.uniform(0.5, 1.5)
        seconds = max(seconds, least)
        self._failures += 1
        self._retry_at = trio.current_time() + seconds
        return seconds

    async def _connect_again(self) -> None:
        """Wait as long as it was decided, then connect."""
        with trio.CancelScope() as self._connecting:
            await trio.sleep_until(self._retry_at)
            flow = self._flow = self._flow.again(self._timeouts)
            _go_on_from(flow.request.headers, self._decoder.last_event_id)
            try:
                response = await self._open(flow)
                if response.status == 429 or response.status >= 500:
                    self._lose(f"{response.status} {response.reason}", _retry_after(response.headers))
                    return
                await self._accept(response)
            except TransportError as exc:
                if not self._may_pass(exc):
                    raise
                self._lose(exc)
                return
            except trio.Cancelled:
                self._back_off()  # else a program that polls would ask again at each poll, at once
                raise
            self.reconnects += 1

    async def _open(self, flow: Flow) -> ClientResponseStream:
        """Return the answer to a call, whose content has gone out.

        Raises:
            TransportError: as ``client.stream``.
        """
        response = await flow.open()
        try:
            await flow.join()
            await trio.lowlevel.checkpoint_if_cancelled()  # the wait for the upload may have swallowed it
        except BaseException:
            flow.close()
            raise
        return response

    async def _accept(self, response: ClientResponseStream) -> None:
        """Take events from an answer from now on, if it is a stream of them.

        Raises:
            ContentError: it is something else.
            StatusError: it is an error, or leads elsewhere.
        """
        flow = self._flow
        try:
            if response.status == 204:
                self._over = True
                flow.close()
            elif not response.is_success:
                raise await _error(response)
            else:
                media_type = response.media_type
                if media_type is None or media_type.essence != MEDIA_TYPE:
                    given = clip(response.headers.get("content-type"))
                    raise ContentError(f"{flow} was answered with {given}, not {MEDIA_TYPE}", reason="media-type")
                if response.codings:
                    given = clip(", ".join(response.codings))
                    raise ContentError(f"{flow} was answered in {given}, which is not read here", reason="coding")
                response.idle_seconds = self._settings.idle_seconds
                self._connected = True
        except BaseException:
            flow.close()
            raise
        self._response = response

    async def _connect(self) -> None:
        """Connect for the first time."""
        await self._accept(await self._open(self._flow))


class EventsContext:
    """The block of ``client.events``."""

    __slots__ = ("_entered", "_receiver")

    def __init__(self, receiver: EventReceiver) -> None:
        self._receiver = receiver
        self._entered = False

    async def __aenter__(self) -> EventReceiver:
        """Connect, and return the events when the server has agreed to send them.

        Cancellation: fatal.
        Raises:
            ContentError: ``media-type``: the answer is no stream of events.
            StatusError: the server answered otherwise than with 2xx.
            TrioHTTPError: as ``client.stream``.
        """
        if self._entered:
            raise RuntimeError("this block has been entered before: make a new one for each stream of events")
        self._entered = True
        await self._receiver._connect()
        return self._receiver

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection."""
        await self._receiver.aclose()


def event_fields(headers: HeadersInit | None, last_event_id: str | None) -> Headers:
    """Return the header fields of a request for events.

    Raises:
        InvalidHeaderError: the id holds control characters.
    """
    fields = Headers(headers if headers is not None else ())
    fields.setdefault("Accept", MEDIA_TYPE)
    fields.setdefault("Cache-Control", "no-store")
    if last_event_id:
        fields["Last-Event-ID"] = last_event_id.encode()
    return fields


async def _error(response: ClientResponseStream) -> StatusError:
    with trio.move_on_after(ERROR_SECONDS):
        return await response.receive_error()
    return response.status_error(b"")


def _go_on_from(headers: Headers, last_event_id: str | None) -> None:
    """Say where to go on from; an id that no header field can say is left out."""
    headers.pop("Last-Event-ID", None)
    if last_event_id:
        try:
            headers["Last-Event-ID"] = last_event_id.encode()
        except InvalidHeaderError:
            pass


def _retry_after(headers: Headers) -> float:
    """Return the seconds that Retry-After asks for, an hour at most (RFC 9110 §10.2.3)."""
    seconds = parse_retry_after(headers.get("retry-after", ""), time.time())
    return min(seconds or 0.0, MOST_RETRY_AFTER_SECONDS)
