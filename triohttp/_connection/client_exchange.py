"""The client's side of one request and its answer.

Sending and receiving may go on in two tasks at once: a server may answer before it has read everything.

Rule 1: no time is measured here; a client puts its own scopes around these awaits.
Rule 2: ``close`` never awaits: accounting of the pool depends on it.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from triohttp._values.headers import Headers
from triohttp._values.limits import ClientLimits
from triohttp._values.message import RequestHead, ResponseHead
from triohttp._wire.events import EndOfContent, Event, FieldLines
from triohttp.errors import DisconnectedError, RemoteProtocolError, TrioHTTPError

from .connection import Connection
from .content import IncomingContent
from .tunnel import Tunnel

__all__ = ["ClientExchange"]


class ClientExchange:
    """One request and its answer on a connection that is at the start of a cycle.

    Attributes:
        sent: bytes of the request may have left this machine.
        on_content: called with each piece of content as it comes, None for nobody.
        continue_received: the server said 100 (Continue).
    """

    __slots__ = (
        "_connection",
        "_content",
        "_heard",
        "_limits",
        "_request_over",
        "continue_received",
        "on_content",
        "sent",
    )

    def __init__(self, connection: Connection, limits: ClientLimits) -> None:
        if connection.wire.at_cycle_end:
            connection.wire.start_next_cycle()
        self._connection = connection
        self._limits = limits
        self._content: IncomingContent | None = None
        self._request_over = False
        self._heard = False
        self.sent = False
        self.continue_received = False
        self.on_content: Callable[[bytes], None] | None = None

    @property
    def on_bytes(self) -> Callable[[bytes], None] | None:
        """Called with bytes as they come off the connection, until ``close``; None for nobody."""
        return self._connection.on_bytes

    @on_bytes.setter
    def on_bytes(self, function: Callable[[bytes], None] | None) -> None:
        self._connection.on_bytes = function

    def __repr__(self) -> str:
        return f"<ClientExchange of {self._connection!r}>"

    # -- sending -------------------------------------------------------------------------------------------------------

    async def request(self, head: RequestHead, content: bytes = b"") -> None:
        """Send a whole request in one piece.

        Cancellation: fatal when bytes had begun to leave (``sent``).
        Raises:
            DisconnectedError: the server is gone.
            LocalProtocolError: the head cannot go on the wire.
        """
        connection = self._connection
        wire = connection.wire
        turn = connection.send_turn
        if turn.taken:  # by hand: a block costs 0.5 µs
            await turn.take()
        else:
            turn.taken = True
        try:
            data = wire.send_request(head.method, head.target, self._fields(head), len(content))
            if content:
                data += wire.send_content(content)
            data += wire.send_end()
            self._request_over = True
            await self._transmit(data)
        finally:
            turn.give_back()

    async def begin(self, head: RequestHead, length: int | None) -> None:
        """Send the head of a request whose content follows; a ``length`` of None sends it chunked."""
        async with self._connection.send_turn:
            await self._transmit(
                self._connection.wire.send_request(head.method, head.target, self._fields(head), length)
            )

    async def send(self, data: bytes) -> None:
        """Send some content.

        Cancellation: fatal when it had to wait.
        Raises:
            DisconnectedError: the server is gone; an answer may still be there to be received.
            LocalProtocolError: more content than was announced.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        async with self._connection.send_turn:
            await self._transmit(self._connection.wire.send_content(data))

    async def finish(self, trailers: Headers | None = None) -> None:
        """End the request's content; trailers need chunked content.

        Raises:
            LocalProtocolError: less content than was announced.
        """
        async with self._connection.send_turn:
            data = self._connection.wire.send_end(trailers)
            self._request_over = True
            await self._transmit(data)

    def _fields(self, head: RequestHead) -> FieldLines:
        fields = head.headers.raw
        for name, _ in fields:  # an index of the fields would cost more than this one question
            if len(name) == 4 and name.lower() == b"host":
                return fields
        return [(b"Host", head.authority.encode("ascii")), *fields]

    async def _transmit(self, data: bytes) -> None:
        if not data:
            await trio.lowlevel.checkpoint()
            return
        self.sent = True
        try:
            await self._connection.transmit(data)
        except DisconnectedError as exc:
            exc.sent = True
            raise

    # -- receiving -----------------------------------------------------------------------------------------------------

    async def receive_head(self, on_interim: Callable[[ResponseHead], object] | None = None) -> ResponseHead:
        """Return the final response head; interim ones are counted and shown to ``on_interim``.

        Cancellation: resumable.
        Raises:
            DisconnectedError: the connection ended before.
            RemoteProtocolError: the answer is not HTTP/1.x, or there are too many interim responses.
        Source: RFC 9110 §15.2.
        """
        interim = interim_bytes = 0
        while True:
            event = await self._event()
            if not isinstance(event, ResponseHead):
                raise DisconnectedError(
                    "the server closed the connection without an answer",
                    phase="head",
                    sent=self.sent,
                    safe_to_retry=not self.sent,
                )
            self._heard = True
            if event.status >= 200 or event.status == 101:
                self._content = self._begin_content()
                return event
            interim += 1
            interim_bytes += sum(len(name) + len(value) + 4 for name, value in event.headers.raw)
            if interim > self._limits.max_interim_responses or interim_bytes > self._limits.max_head_bytes:
                raise RemoteProtocolError(
                    f"more than max_interim_responses={self._limits.max_interim_responses} interim responses, "
                    f"or more than max_head_bytes={self._limits.max_head_bytes} of them",
                    slug="too-many-1xx",
                    suggested_status=None,
                )
            if event.status == 100:
                self.continue_received = True
            if on_interim is not None:
                on_interim(event)

    def _begin_content(self) -> IncomingContent:
        wire = self._connection.wire
        content = IncomingContent(self._event, wire.incoming_length)
        # When it came with the head nobody has to ask for it piece by piece; who looks on sees it when it is asked for.
        if self.on_content is None and (whole := wire.take_whole_content()) is not None:
            content.fill(whole)
        return content

    async def _event(self) -> Event:
        try:
            event = await self._connection.next_event()
            if self.on_content is not None and isinstance(event, bytes):
                self.on_content(event)
            return event
        except DisconnectedError as exc:
            exc.phase = "head" if self._content is None else "content"
            exc.sent = self.sent
            exc.safe_to_retry = not self.sent
            raise

    @property
    def response_started(self) -> bool:
        """A byte of an answer, be it an interim one, has come in."""
        return self._heard or self._connection.wire.head_started

    @property
    def content(self) -> IncomingContent:
        """The answer's content; there once ``receive_head`` has returned, until ``close``."""
        if self._content is None:
            raise RuntimeError("there is no content before receive_head has returned, or after close")
        return self._content

    def take_over(self) -> trio.abc.HalfCloseableStream:
        """Return the connection as a raw stream, after 101 or after 2xx to CONNECT."""
        return Tunnel(self._connection, self._connection.wire.take_over())

    # -- the end -------------------------------------------------------------------------------------------------------

    def skip_received(self) -> None:
        """Throw away what is left of the answer, as far as it has come in already; never waits.

        When that is all of it, the connection may be used again although nobody wanted to read so far.
        """
        content = self._content
        if content is None or content.error is not None:
            return
        content.drop()
        if content.at_end:
            return
        try:
            while isinstance(event := self._connection.wire.next_event(), bytes):
                pass
        except TrioHTTPError:
            return  # broken, or cut: the connection is of no use, and the error of no interest
        content.at_end = isinstance(event, EndOfContent)

    @property
    def request_complete(self) -> bool:
        """The whole request has gone out, or is on its way."""
        return self._request_over

    @property
    def complete(self) -> bool:
        """Both messages are over, and the answer's content was taken by whoever wanted it."""
        return self._request_over and self._content is not None and self._content.exhausted

    def close(self) -> None:
        """End this exchange now: the connection stays open only if it is reusable."""
        connection = self._connection
        connection.on_bytes = None
        complete = self.complete
        if not (complete and connection.reusable):
            if complete and not connection.poisoned:
                connection.close()
            else:
                connection.abort()
        self._content = None  # it knows where to pull from: no cycle is left behind
