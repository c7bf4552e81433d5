"""The server's side of one request and its answer over HTTP/1.1: the ``Exchange`` of ``_values.service``.

Rule 1: the answer's first bytes carry its head; head and short content leave in one send (two segments are misread by
        clients that read once, and cost 40 ms to delayed acknowledgements).
Rule 2: whether the connection goes on is decided when the head is made, for the head must say so.
Rule 3: 100 (Continue) goes out when the content is first waited for, never for an answer that does not read it.
Rule 4: after ``cut`` or a failed write nothing more goes out, whatever the handler does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import trio

from triohttp._values.limits import Limits, Timeouts
from triohttp._values.message import ConnectionInfo, RequestHead, ResponseHead
from triohttp._values.service import AnswerState, OnDisconnect
from triohttp._wire.events import EndOfContent, Event, FieldLines, Signal
from triohttp.errors import (
    BodyStateError,
    BodyTooLargeError,
    DisconnectedError,
    LocalProtocolError,
    ReadTimeout,
    TrioHTTPError,
)

from .connection import CONTENT_READ_BYTES, Connection
from .content import IncomingContent
from .transport import Woken
from .tunnel import Tunnel

if TYPE_CHECKING:
    from triohttp._values.headers import Headers

__all__ = ["House", "ServerDeadlines", "ServerExchange"]

AWAITED, STAGED, BEGUN = AnswerState.AWAITED, AnswerState.STAGED, AnswerState.BEGUN
COMPLETE, TAKEN, CUT = AnswerState.COMPLETE, AnswerState.TAKEN, AnswerState.CUT
STANDING_NAMES = frozenset({b"date", b"server"})


class House(Protocol):
    """What the server that a connection belongs to tells its exchanges."""

    draining: bool
    drain_begun: trio.Event

    def standing_fields(self) -> FieldLines:
        """Return the Date and Server field lines of this second; the list is not to be changed."""
        ...


class ServerDeadlines:
    """The deadlines of one exchange, as absolute trio times; see ``_values.service.Deadlines``."""

    __slots__ = ("_connection", "body_moved")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.body_moved: float | None = None

    @property
    def handler(self) -> float:
        """When the handler is cancelled."""
        return self._connection.handler_deadline

    @handler.setter
    def handler(self, when: float) -> None:
        self._connection.handler_deadline = when
        self._connection.due(when)

    @property
    def body(self) -> float:
        """When the wait for content that is going on, or the next one, ends in a ReadTimeout."""
        return self._connection.read_deadline if self.body_moved is None else self.body_moved

    @body.setter
    def body(self, when: float) -> None:
        self.body_moved = when
        self._connection.read_deadline = when
        self._connection.due(when)

    @property
    def write(self) -> float:
        """When the wait for the peer to take bytes that is going on, or the next one, ends the connection."""
        moved = self._connection.write_moved
        return self._connection.write_deadline if moved is None else moved

    @write.setter
    def write(self, when: float) -> None:
        self._connection.write_moved = when
        if self._connection.transport.writing:
            self._connection.write_deadline = when
            self._connection.due(when)


class ServerExchange:
    """One request and its answer; used by one task at a time for receiving and by any number for sending."""

    __slots__ = (
        "_connection",
        "_content",
        "_deadlines",
        "_end_seen",
        "_house",
        "_length",
        "_staged",
        "_timeouts",
        "_waited",
        "head",
        "limits",
        "request_number",
        "sent_bytes",
        "state",
        "status",
    )

    def __init__(
        self,
        connection: Connection,
        head: RequestHead,
        house: House,
        limits: Limits,
        timeouts: Timeouts,
        request_number: int,
    ) -> None:
        self._connection = connection
        self._house = house
        self.head = head
        self.limits = limits
        self._timeouts = timeouts
        self.request_number = request_number
        self.state = AWAITED
        self.status = 0
        self.sent_bytes = 0
        self._content: IncomingContent | None = None
        self._deadlines: ServerDeadlines | None = None
        self._staged: ResponseHead | None = None
        self._length: int | None = None
        self._waited = 0.0
        self._end_seen = False

    def __repr__(self) -> str:
        return f"<ServerExchange {self.head.method} {self.state.value} of {self._connection!r}>"

    @property
    def info(self) -> ConnectionInfo:
        """The facts of the connection."""
        return self._connection.info

    @property
    def timeouts(self) -> Timeouts:
        """What holds for this exchange; assigning starts the handler's time anew, and counts for every wait from then.

        A wait that is going on keeps its deadline; ``deadlines`` moves that.
        """
        return self._timeouts

    @timeouts.setter
    def timeouts(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._connection.timeouts = timeouts
        if timeouts.handler_seconds != math.inf or self._connection.handler_deadline != math.inf:
            self.deadlines.handler = trio.current_time() + timeouts.handler_seconds

    @property
    def on_disconnect(self) -> OnDisconnect:
        """What the peer's leaving does to the handler: ``cancel`` or ``finish``."""
        return self._connection.on_disconnect

    @on_disconnect.setter
    def on_disconnect(self, policy: OnDisconnect) -> None:
        self._connection.on_disconnect = policy

    @property
    def received_bytes(self) -> int:
        """Content received so far."""
        return self._content.received if self._content is not None else 0

    @property
    def content_length(self) -> int | None:
        """Bytes of content announced, 0 without content, None when only its end will tell."""
        return self._connection.wire.incoming_length

    @property
    def content_error(self) -> TrioHTTPError | None:
        """What made the rest of the content unreceivable, None while nothing did."""
        return self._content.error if self._content is not None else None

    @property
    def deadlines(self) -> ServerDeadlines:
        """Absolute times that may be moved while the exchange runs."""
        if self._deadlines is None:
            self._deadlines = ServerDeadlines(self._connection)
        return self._deadlines

    @property
    def draining(self) -> bool:
        """True once the server has begun to shut down."""
        return self._house.draining

    async def wait_draining(self) -> None:
        """Wait until the server begins to shut down."""
        await self._house.drain_begun.wait()

    # -- the request's content -----------------------------------------------------------------------------------------

    @property
    def content(self) -> IncomingContent:
        """The request's content."""
        if self._content is None:
            length = self._connection.wire.incoming_length
            self._content = IncomingContent(self._pull, length, self.limits.max_body_bytes)
            if length == 0:
                self._content.end()
        return self._content

    async def _pull(self) -> Event:
        connection = self._connection
        wire = connection.wire
        while True:
            event = wire.next_event()
            bound = self.content.max_bytes
            if bound is not None and wire.announced > bound:  # before it is asked for, and before it has come
                raise BodyTooLargeError(
                    f"the content of {wire.announced} bytes or more passes max_body_bytes={bound}",
                    limit="max_body_bytes",
                    bound=bound,
                )
            if event is not Signal.NEED_DATA:
                return event
            if wire.expects_continue and self.state in (AWAITED, STAGED):
                await self._send_interim(100, [])
            try:
                data = await self._receive(connection)
            except trio.BrokenResourceError as exc:
                raise DisconnectedError("the client reset the connection", phase="content") from exc
            wire.receive(data)

    async def _receive(self, connection: Connection) -> bytes:
        timeouts = self._timeouts
        began = trio.current_time()
        moved = self._deadlines.body_moved if self._deadlines is not None else None
        if moved is None and timeouts.body_min_rate:
            # Judged when something has come: silence has a bound of its own, which an honest pause may use up.
            earned = self.content.received / timeouts.body_min_rate
            if self._waited > timeouts.rate_grace_seconds + earned:
                connection.wire.close_after = True
                rate = f"content came at less than {timeouts.body_min_rate:g} bytes a second"
                raise ReadTimeout(rate, phase="content")
        connection.read_deadline = began + timeouts.body_idle_seconds if moved is None else moved
        connection.due(connection.read_deadline)
        try:
            return await connection.transport.receive(CONTENT_READ_BYTES)
        except Woken as woken:
            if woken.why != "timeout":
                raise trio.ClosedResourceError(f"this connection was closed: {woken.why}") from None
            connection.wire.close_after = True
            idle = timeouts.body_idle_seconds
            message = f"no content came for {idle:g} s" if moved is None else "no content came by its deadline"
            raise ReadTimeout(message, phase="content", seconds=idle) from None
        finally:
            connection.read_deadline = math.inf
            self._waited += trio.current_time() - began

    # -- the answer ----------------------------------------------------------------------------------------------------

    async def inform(self, head: ResponseHead) -> None:
        """Send an interim response other than 100 and 101; nothing is sent to an HTTP/1.0 client.

        Raises:
            BodyStateError: the final head is on its way already.
            LocalProtocolError: the status is not an interim one that a handler may send.
        Source: RFC 9110 §15.2, RFC 8297.
        """
        if not 102 <= head.status <= 199:
            raise LocalProtocolError(f"an interim response has a status of 102 to 199, not {head.status}")
        if self.state not in (AWAITED, STAGED):
            raise BodyStateError("an interim response cannot follow the final head")
        if self.head.version == "1.0":
            await trio.lowlevel.checkpoint()
            return
        await self._send_interim(head.status, head.headers.raw)

    async def _send_interim(self, status: int, fields: FieldLines) -> None:
        async with self._connection.send_turn:
            if self.state is AWAITED or self.state is STAGED:  # else the final head has gone out meanwhile
                await self._connection.transmit(self._connection.wire.send_interim(status, fields))

    async def respond(self, head: ResponseHead, content: bytes = b"", trailers: Headers | None = None) -> None:
        """Send a whole answer in one piece.

        It does not checkpoint when the kernel takes everything at once: the connection's wait for the next request,
        or the yield between two pipelined ones, does.

        Cancellation: fatal when bytes had begun to leave.
        Raises:
            BodyStateError: an answer was begun before.
            DisconnectedError: the client is gone.
        """
        if self.state is not AWAITED and self.state is not STAGED:
            raise BodyStateError(f"the answer to {self.head.method} {self.head.target!r} was begun before")
        connection = self._connection
        turn = connection.send_turn
        if turn.taken:
            await turn.take()
            if self.state is not AWAITED and self.state is not STAGED:
                turn.give_back()
                raise BodyStateError(f"the answer to {self.head.method} {self.head.target!r} was begun meanwhile")
        else:
            turn.taken = True
        try:
            wire = connection.wire
            length = len(content) if trailers is None else None
            data = wire.send_response(head.status, self._fields(head), length)
            self.state = BEGUN
            if content:
                data += wire.send_content(content)
            data += wire.send_end(trailers)
            self.status = head.status
            self.sent_bytes += len(data)
            await connection.transmit(data)
            self.state = COMPLETE
        finally:
            turn.give_back()
            if self.state is BEGUN:
                self.state = CUT

    def begin(self, head: ResponseHead) -> None:
        """Stage the head of an answer whose content follows; a Content-Length among its fields decides the framing."""
        if self.state is not AWAITED and self.state is not STAGED:
            raise BodyStateError(f"the answer to {self.head.method} {self.head.target!r} was begun before")
        self._length = None
        declared = head.headers.get("content-length")
        if declared is not None:
            if not (declared.isascii() and declared.isdigit()):
                raise LocalProtocolError(f"content-length must be a number, not {declared!r}")
            self._length = int(declared)
        if "transfer-encoding" in head.headers:
            raise LocalProtocolError("transfer-encoding belongs to the connection; leave it out")
        self._staged = head
        self.state = STAGED

    async def send(self, data: bytes) -> None:
        """Send some content; the staged head goes out with the first.

        Cancellation: fatal when it had to wait: the answer ends visibly cut.
        Raises:
            BodyStateError: no answer was begun, or it is over.
            LocalProtocolError: more content than the head announced.
            DisconnectedError: the client is gone, or an earlier send did not finish.
            WriteTimeout: the client took nothing, or too little, for too long.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        turn = self._connection.send_turn
        if turn.taken:  # by hand, as in respond: a block costs 0.5 µs, and each event of each stream comes by here
            await turn.take()
        else:
            turn.taken = True
        try:
            out = self._head_bytes()
            if data:
                try:
                    out += self._connection.wire.send_content(data)
                except TrioHTTPError:
                    if out:  # the head has not gone out, and the wire cannot make it again
                        self.cut()
                    raise
            await self._transmit(out)
        finally:
            turn.give_back()

    async def flush(self) -> None:
        """Send the staged head now, if it has not gone out."""
        async with self._connection.send_turn:
            await self._transmit(self._head_bytes())

    async def finish(self, trailers: Headers | None = None) -> None:
        """End the answer's content.

        Raises:
            BodyStateError: no answer was begun, or it is over.
            LocalProtocolError: less content than the head announced; the answer ends visibly cut.
        """
        async with self._connection.send_turn:
            head = self._head_bytes()
            try:
                end = self._connection.wire.send_end(trailers)
            except TrioHTTPError:
                self.cut()
                raise
            data = head + end
            if not data:
                self.state = COMPLETE  # already: a cancellation has nothing left to cut
            await self._transmit(data)
            self.state = COMPLETE

    def _head_bytes(self) -> bytes:
        if self.state is STAGED:
            head = self._staged
            assert head is not None
            data = self._connection.wire.send_response(head.status, self._fields(head), self._length)
            self._staged = None
            self.state = BEGUN
            self.status = head.status
            return data
        if self.state is BEGUN:
            return b""
        if self.state is CUT:
            raise DisconnectedError("this answer was cut: an earlier send did not finish", phase="send")
        raise BodyStateError("this answer is over" if self.state is not AWAITED else "no answer was begun")

    async def _transmit(self, data: bytes) -> None:
        if not data:
            await trio.lowlevel.checkpoint()
            return
        self.sent_bytes += len(data)
        try:
            await self._connection.transmit(data)
        except BaseException:
            self.cut()
            raise

    def _fields(self, head: ResponseHead) -> FieldLines:
        connection = self._connection
        wire = connection.wire
        if not wire.close_after and (self._house.draining or not self._can_go_on(wire.incoming_length)):
            wire.close_after = True
        fields = head.headers.raw
        standing = self._house.standing_fields()
        for line in fields:
            if line[0].lower() in STANDING_NAMES:
                given = {line[0].lower() for line in fields}
                standing = [line for line in standing if line[0].lower() not in given]
                break
        return fields + standing

    def _can_go_on(self, announced: int | None) -> bool:
        """Say whether the connection will be usable after this answer, as far as the request's content goes."""
        if announced == 0:
            return True
        content = self._content
        if self._connection.wire.expects_continue:
            return False  # the client may or may not send its content now: nobody can tell where the next request is
        if content is None:
            return announced is None or announced <= self.limits.max_unread_bytes
        if content.error is not None:
            return False
        return content.length is None or content.length - content.received <= self.limits.max_unread_bytes

    async def take_over(self, head: ResponseHead) -> trio.abc.Stream:
        """Answer 101, or 2xx to CONNECT, and return the connection as a raw stream.

        The request's content must have been received whole (RFC 9110 §7.8). The stream starts with what came in after
        it. No deadline of this connection holds any more; when the handler ends, the stream is closed.

        Raises:
            BodyStateError: an answer was begun, or content is unread.
            LocalProtocolError: the request asked for no upgrade, or the status does not take over.
        """
        if self.state not in (AWAITED, STAGED):
            raise BodyStateError("an answer was begun before; the connection cannot be taken over")
        connect = self.head.method == "CONNECT"
        if connect and not 200 <= head.status <= 299:
            raise LocalProtocolError(f"a CONNECT is taken over with a 2xx status, not {head.status}")
        if not connect:
            if head.status != 101:
                raise LocalProtocolError(f"an upgrade is answered with 101, not {head.status}")
            if "upgrade" not in self.head.headers or self.head.version == "1.0":
                raise LocalProtocolError("the request asked for no upgrade")
        connection = self._connection
        if connection.wire.incoming_length == 0:
            self._see_end()
        elif not await self.content.ended():
            raise BodyStateError("the request's content must be received before the connection is taken over")
        wire = connection.wire
        async with connection.send_turn:
            if self.state is not AWAITED and self.state is not STAGED:
                raise BodyStateError("an answer was begun meanwhile; the connection cannot be taken over")
            if connect:
                data = wire.send_response(head.status, list(head.headers.raw), 0)
            else:
                data = wire.send_interim(101, list(head.headers.raw))
            self.state = TAKEN
            self.status = head.status
            self.sent_bytes += len(data)
            await connection.transmit(data)
        connection.handler_deadline = connection.gone_deadline = math.inf
        connection.timeouts = None
        return Tunnel(connection, wire.take_over())

    def cut(self) -> None:
        """Make sure that the answer ends visibly incomplete."""
        if self.state is not COMPLETE and self.state is not TAKEN:
            self.state = CUT
            self._connection.poisoned = True

    def close_after(self) -> None:
        """Let the connection close after this answer."""
        self._connection.wire.close_after = True

    # -- the end -------------------------------------------------------------------------------------------------------

    def _see_end(self) -> bool:
        """Take the end of a request that has no content from the wire; True when it was there."""
        if not self._end_seen:
            self._end_seen = isinstance(self._connection.wire.next_event(), EndOfContent)
        return self._end_seen

    @property
    def request_complete(self) -> bool:
        """The whole request has been received; what a well-behaved client sends next, it sends after the answer."""
        if self._connection.wire.incoming_length == 0:
            return self._see_end()
        return self.content.at_end

    async def conclude(self) -> bool:
        """Bring the request's content to its end where that is cheap; True when another request may follow."""
        wire = self._connection.wire
        if self.state is not COMPLETE or not wire.keep_alive or self._connection.poisoned:
            return False
        if wire.incoming_length == 0:
            return self._see_end() and wire.at_cycle_end
        content = self.content
        if content.at_end:
            return wire.at_cycle_end
        if wire.expects_continue or content.error is not None:
            return False
        try:
            with trio.move_on_after(self._timeouts.unread_seconds):
                return await content.discard(self.limits.max_unread_bytes) and wire.at_cycle_end
        except (TrioHTTPError, trio.ClosedResourceError):
            pass  # the answer is out; what is left of the request ends with the connection, in a drain for example
        return False
