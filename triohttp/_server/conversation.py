"""One connection of a server from its first byte to its last: exchange after exchange, and how it ends.

Rule 1: whatever a service raises ends in ``_answer``: an answer of its status if none has begun, else a visible cut.
Rule 2: every request gets a context of its own. It is assigned before the wait for the head, for it takes effect at the
        next real yield; only when a request was in the buffer already does that cost a checkpoint.
Rule 3: an idle connection is woken, never cancelled: a request that came in the same step is still served.
"""

from __future__ import annotations

import logging
import math
import random
from typing import TYPE_CHECKING

import trio

from triohttp._connection.connection import HEAD_READ_BYTES, Connection
from triohttp._connection.server_exchange import ServerExchange
from triohttp._connection.transport import SocketTransport, Woken
from triohttp._values.headers import Headers
from triohttp._values.message import RequestHead, ResponseHead
from triohttp._values.service import AnswerState
from triohttp._values.status import reason_phrase
from triohttp._wire.events import Signal
from triohttp.errors import (
    DisconnectedError,
    InternalError,
    RemoteProtocolError,
    TransportError,
    TrioHTTPError,
    WriteTimeout,
)

from .firewall import leaves, report
from .records import AccessRecord, access_log, as_reject, server_log

if TYPE_CHECKING:
    from .server import Server

__all__ = ["converse"]

FAREWELL_SECONDS = 1.0
DRAINING_HEAD_SECONDS = 1.0  # for a head that was half there when the drain began
LAST_READ_SECONDS = 0.01  # a stream cannot be asked without waiting; a socket can
OUTCOMES = {AnswerState.COMPLETE: "complete", AnswerState.TAKEN: "taken over"}
UNANSWERED = (AnswerState.AWAITED, AnswerState.STAGED)


async def converse(server: Server, connection: Connection) -> None:
    """Serve a connection until it ends, and close it.

    A fault of this code is reported, and answered with 500 where an answer is still possible.
    """
    conversation = Conversation(server, connection)
    try:
        await conversation.run()
    except DisconnectedError:
        pass  # a peer may leave whenever it likes
    except Exception as exc:  # noqa: BLE001  # reported before the farewell, which may take its time
        report(exc, "a connection")
        with trio.move_on_after(FAREWELL_SECONDS):
            await conversation.admit()
    finally:
        connection.abort()


class Conversation:
    """The exchanges of one connection, one after the other."""

    def __init__(self, server: Server, connection: Connection) -> None:
        self._server = server
        self._connection = connection
        self._exchange: ServerExchange | None = None  # the one that is going on, until it is recorded
        self._began = 0.0
        self._waited_from = 0.0  # when the wait for the last head began: the one reading of the clock a request
        self._requests = 0
        self._last_head_until: float | None = None  # how long a half head is waited for once the end has come

    async def run(self) -> None:
        """Serve until one side has had enough."""
        try:
            with self._connection.scope:
                await self._exchanges()
                return
            await self._farewell()
        finally:
            self._record()

    async def _exchanges(self) -> None:
        server, connection = self._server, self._connection
        wire = connection.wire
        limits, timeouts = server.limits, server.timeouts
        most = limits.max_requests_per_connection
        old = trio.current_time() + timeouts.connection_age_seconds * (1 + random.random() / 10)
        task = trio.lowlevel.current_task()
        base = task.context.copy()  # the first request has the task's own context, each later one a copy of this
        while True:
            try:
                head = await self._receive_head(timeouts.keep_alive_seconds if self._requests else None)
            except RemoteProtocolError as exc:
                await self._reject(exc)
                return
            if head is None:
                await connection.aclose()  # no reset: the last answer may still be on its way
                return
            self._requests += 1
            server.requests += 1
            exchange = self._exchange = ServerExchange(connection, head, server, limits, timeouts, self._requests)
            if self._requests >= most or self._waited_from > old:
                wire.close_after = True
            if access_log.isEnabledFor(logging.INFO):
                self._began = trio.current_time()
            await self._answer(exchange)
            self._record()
            if exchange.state is AnswerState.TAKEN:
                await connection.aclose()
                return
            if not await exchange.conclude():
                break
            wire.start_next_cycle()
            task.context = base.copy()
            connection.timeouts = timeouts
            connection.on_disconnect = "cancel"
        await self._end(exchange)

    # -- waiting for a request -----------------------------------------------------------------------------------------

    async def _receive_head(self, idle_seconds: float | None) -> RequestHead | None:
        """Return the next request's head; None when there will be none.

        ``idle_seconds`` bounds the wait for its first byte; None, for a connection's first request, means the time of
        a whole head.
        """
        server, connection = self._server, self._connection
        wire, transport = connection.wire, connection.transport
        timeouts = server.timeouts
        waited = head_began = False
        if not self._requests:
            waited = True  # the context is the task's own already
            data = transport.receive_nowait(HEAD_READ_BYTES)
            if data is not None:  # a newcomer's request is mostly there by now: it need not be waited for
                wire.receive(data)
        while True:
            event = wire.next_event()
            if event.__class__ is RequestHead:
                if not waited:  # pipelined: the new context needs a real yield, and so do the other connections
                    await trio.lowlevel.cancel_shielded_checkpoint()
                return event
            if event is not Signal.NEED_DATA:
                return None
            if server.draining:
                data = await self._last_read()
            else:
                if not head_began:
                    head_began = wire.head_started
                    now = self._waited_from = trio.current_time()
                    until = now + (timeouts.head_seconds if head_began or idle_seconds is None else idle_seconds)
                    connection.read_deadline = until
                    if until < connection.armed:
                        connection.due(until)
                try:
                    data = await transport.receive(HEAD_READ_BYTES)
                    waited = True
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return None
                except Woken as woken:
                    if woken.why == "timeout" and wire.head_started:
                        raise RemoteProtocolError(
                            f"the head did not end within head_seconds={timeouts.head_seconds:g}",
                            slug="header-slow",
                            suggested_status=408,
                        ) from None
                    data = await self._last_read()
            if data is None:
                if wire.head_started:
                    connection.abort()
                    return None
                await self._close_idle()
                return None
            wire.receive(data)

    async def _last_read(self) -> bytes | None:
        """Return what has come in by now for a connection that is about to close; None when there is nothing."""
        connection = self._connection
        connection.wire.close_after = True
        transport = connection.transport
        data = transport.receive_nowait(HEAD_READ_BYTES)
        if data is not None:
            return data or None
        if connection.wire.head_started:
            if self._last_head_until is None:
                self._last_head_until = trio.current_time() + DRAINING_HEAD_SECONDS
            connection.read_deadline = self._last_head_until
        elif isinstance(transport, SocketTransport):
            return None
        else:
            connection.read_deadline = trio.current_time() + LAST_READ_SECONDS
        connection.due(connection.read_deadline)
        try:
            return await transport.receive(HEAD_READ_BYTES) or None
        except (Woken, trio.BrokenResourceError, trio.ClosedResourceError):
            return None

    async def _close_idle(self) -> None:
        """Close a connection that nothing is happening on, without a word."""
        if self._server.draining or not self._requests:
            await self._connection.aclose()
        else:
            await self._connection.linger(self._server.limits.max_linger_bytes, FAREWELL_SECONDS)

    # -- answering -----------------------------------------------------------------------------------------------------

    async def _answer(self, exchange: ServerExchange) -> None:
        """Let the service answer; whatever it raises ends here."""
        connection = self._connection
        connection.begin_handling()
        if exchange.timeouts.handler_seconds != math.inf:
            exchange.deadlines.handler = trio.current_time() + exchange.timeouts.handler_seconds
        try:
            await self._server.service(exchange)
        except (trio.Cancelled, KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseExceptionGroup as group:
            found = leaves(group)
            if all(self._status_of(exchange, leaf) != 500 for leaf in found):
                await self._fault(exchange, found[0])
            else:
                rest = report(group, "the service")
                if rest is not None:
                    raise rest from None
                await self._apologise(exchange, 500)
        except BaseException as exc:  # noqa: BLE001  # whatever else a service raises is answered for here
            await self._fault(exchange, exc)
        finally:
            connection.end_handling()
        if exchange.state in UNANSWERED:
            await self._fault(exchange, InternalError("the service returned without having answered"))
        elif exchange.state is AnswerState.BEGUN:
            server_log.error("the service returned in the middle of its answer; the answer was cut")
            exchange.cut()
        error = exchange.content_error
        reject = None if error is None else as_reject(error, exchange.received_bytes)
        if reject is not None:
            self._server.rejects += 1
            self._server.reject_log.write(reject, exchange.status or None, connection.info, self._requests)

    async def _fault(self, exchange: ServerExchange, error: BaseException) -> None:
        """Answer for a service that raised."""
        status = self._status_of(exchange, error)
        if status is None:
            exchange.cut()
            return
        if status == 500:
            server_log.error("the service failed: %r", error, exc_info=error)
        elif isinstance(error, RemoteProtocolError) and error is not exchange.content_error:
            # The service rejects the request: a path that climbs out of the root, for example.
            exchange.close_after()
            self._server.rejects += 1
            self._server.reject_log.write(error, status, self._connection.info, self._requests)
        await self._apologise(exchange, status)

    def _status_of(self, exchange: ServerExchange, error: BaseException) -> int | None:
        """Return the status that answers an error: 500 for the program's doing, None for a peer that has left.

        A service may have connections of its own: what goes wrong on those is not the doing of this one's peer.
        """
        connection = self._connection
        if isinstance(error, RemoteProtocolError):
            if error is exchange.content_error:
                return error.suggested_status
            return 500 if error.suggested_status is None else error.suggested_status
        if error is exchange.content_error:
            return exchange.content_error.status
        if connection.poisoned:
            if isinstance(error, (DisconnectedError, WriteTimeout)):
                return None
            if isinstance(error, trio.ClosedResourceError) and connection.closed:
                return None  # one task sent, and waited too long for the peer; this one was receiving
            if isinstance(error, trio.BrokenResourceError) and exchange.state is AnswerState.TAKEN:
                return None
        if isinstance(error, TrioHTTPError) and not isinstance(error, TransportError):
            return error.status
        return 500

    async def _apologise(self, exchange: ServerExchange, status: int) -> None:
        """Answer with a bare status if nothing has gone out, else cut."""
        if exchange.state not in UNANSWERED:
            exchange.cut()
            return
        try:
            await exchange.respond(*plain_answer(status))
        except TrioHTTPError:  # the peer is gone, or the service left the wire where no answer can begin
            exchange.cut()

    async def _reject(self, error: RemoteProtocolError) -> None:
        """Answer what is not a request, once, and close so that the answer arrives."""
        server, connection = self._server, self._connection
        status = error.suggested_status
        server.rejects += 1
        server.reject_log.write(error, status, connection.info, self._requests + 1)
        if status is None:
            return
        connection.wire.close_after = True
        try:
            sent = await self._send_plain(status, error.slug)
        except TransportError:
            return
        if access_log.isEnabledFor(logging.INFO):
            access_log.info(
                "%s",
                AccessRecord(
                    peer=connection.info.peer,
                    connection=connection.info.number,
                    request=self._requests + 1,
                    method="-",
                    target="-",
                    version="-",
                    status=status,
                    sent_bytes=sent,
                    received_bytes=error.received,
                    seconds=0.0,
                    outcome="rejected",
                ),
            )
        await connection.linger(server.limits.max_linger_bytes, server.timeouts.linger_seconds)

    # -- the end -------------------------------------------------------------------------------------------------------

    async def _end(self, exchange: ServerExchange) -> None:
        """Close after the last answer: reset what was cut, linger where bytes of the peer may be unread."""
        connection = self._connection
        if connection.poisoned or exchange.state is AnswerState.CUT:
            connection.abort()
        elif exchange.request_complete and not connection.wire.buffered and connection.is_quiet():
            await connection.aclose()
        else:
            await connection.linger(self._server.limits.max_linger_bytes, self._server.timeouts.linger_seconds)

    async def _farewell(self) -> None:
        """After a cancellation: an answer that has not begun becomes 503, and one that is not complete is cut."""
        exchange, connection = self._exchange, self._connection
        if exchange is None or (exchange.state is AnswerState.COMPLETE and not connection.poisoned):
            connection.close()  # no reset: the answer may still be on its way
            return
        if connection.cancel_reason == "handler deadline":
            server_log.warning("a handler passed its deadline")
            if exchange.state in UNANSWERED and not connection.poisoned:
                connection.wire.close_after = True
                with trio.move_on_after(FAREWELL_SECONDS):
                    await self._apologise(exchange, 503)
                    await self._end(exchange)
        connection.abort()

    async def admit(self) -> None:
        """Answer 500 for a fault of this code, if an answer is still possible."""
        connection, exchange = self._connection, self._exchange
        if connection.poisoned or connection.closed or (exchange is not None and exchange.state not in UNANSWERED):
            return
        connection.wire.close_after = True
        try:
            await self._send_plain(500)
            await connection.linger(self._server.limits.max_linger_bytes, FAREWELL_SECONDS)
        except Exception:  # noqa: BLE001  # the wire itself may be what failed; the first fault is the one to report
            connection.poisoned = True

    async def _send_plain(self, status: int, slug: str = "") -> int:
        """Send a constant answer; return its size."""
        connection = self._connection
        head, content = plain_answer(status, slug)
        fields = [*head.headers.raw, *self._server.standing_fields()]
        async with connection.send_turn:
            data = connection.wire.send_response(status, fields, len(content))
            data += connection.wire.send_content(content) + connection.wire.send_end()
            await connection.transmit(data)
        return len(data)

    def _record(self) -> None:
        """Write the access record of the exchange that is going on; the second time nothing."""
        exchange, connection = self._exchange, self._connection
        if exchange is None:
            return
        self._exchange = None
        if not access_log.isEnabledFor(logging.INFO):
            return
        if connection.cancel_reason is not None:
            outcome = connection.cancel_reason
        else:
            outcome = OUTCOMES.get(exchange.state, "cut")
        head = exchange.head
        access_log.info(
            "%s",
            AccessRecord(
                peer=connection.info.peer,
                connection=connection.info.number,
                request=exchange.request_number,
                method=head.method,
                target=head.target,
                version=head.version,
                status=exchange.status,
                sent_bytes=exchange.sent_bytes,
                received_bytes=exchange.received_bytes,
                seconds=trio.current_time() - self._began,
                outcome=outcome,
            ),
        )


def plain_answer(status: int, slug: str = "") -> tuple[ResponseHead, bytes]:
    """Return the constant answer of a status; nothing of the request is in it."""
    text = reason_phrase(status)
    if slug == "tls-on-http":
        text = "Client sent an HTTPS request to an HTTP server"
    fields = [(b"Content-Type", b"text/plain; charset=utf-8"), (b"X-Content-Type-Options", b"nosniff")]
    return ResponseHead(status, Headers.from_wire(fields)), text.encode("ascii") + b"\n"
