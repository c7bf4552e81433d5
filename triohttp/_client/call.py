"""One call: a request on its way to its answer, with the slot, the exchange, the upload and the deadlines it needs.

Rule 1: between ``begin`` and ``close`` the call owns its slot; ``close`` never awaits, so no cancellation can lose it.
Rule 2: a request is sent a second time only when the server cannot have acted on it, or acting twice means acting once:
        a reused connection, not a byte of an answer, an idempotent method or nothing sent (RFC 9110 §9.2.2), and
        content that is still there; and only once.
Rule 3: a nursery is opened only for streamed content, outside every scope of a phase, and nothing is ever raised in it.
Rule 4: an answer of 300 and above stops the upload at its head, one below at its end: until then both go on.
"""

from __future__ import annotations

import logging
import math
from contextlib import AbstractAsyncContextManager

import trio

from triohttp._connection.client_exchange import ClientExchange
from triohttp._connection.connection import Connection
from triohttp._connection.content import IncomingContent
from triohttp._values.limits import ClientLimits
from triohttp._values.message import RequestHead, ResponseHead
from triohttp._wire.coding import Decoder, find_decoder
from triohttp.errors import (
    BodyTooLargeError,
    ClientClosedError,
    DisconnectedError,
    RemoteProtocolError,
    TransportError,
    TrioHTTPError,
)

from .body import WHOLE_BYTES, StreamedContent, in_pieces
from .decoded import DecodedCollector
from .dial import Dialer, DialProgress
from .groups import only_one
from .observers import Observers
from .phases import CONNECT, CONTENT, HEAD, LATE_HEAD, POOL, SEND, UPLOAD, Phases
from .pool import Destination, Lease, Pool
from .request import ClientRequest
from .upload import Upload

__all__ = ["Call", "leave_nursery", "needs_task"]

LOGGER = logging.getLogger("triohttp.client")

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
NO_CONTENT = frozenset({101, 204, 304})
SKIP_BYTES = 64 * 1024
SKIP_SECONDS = 1.0
"""How much content that nobody wants is read for the sake of the connection, and for how long."""
LATE_HEAD_SECONDS = 1.0
"""How long an answer is waited for after the server stopped taking the request (RFC 9112 §9.5)."""
ENDING_SECONDS = 0.1
"""How long the last bytes of an upload may take after the answer was complete; else the connection is given up."""


class Call:
    """A request on its way.

    Used in this order: ``start``, ``begin`` around ``receive_head`` and perhaps ``read``, ``close``, ``join``.

    Attributes:
        interim: the interim responses that came before the final one.
        content: the content of the answer as it is sent, once there is a head.
        decoder: what undoes its codings, None when nothing does.
        codings: those that stay on it.
        ended: the exchange is over and its slot given back.
        sent_before: bytes of the request, or of one that led to it, went out in an exchange before this one.
    """

    __slots__ = (
        "_client_closed",
        "_destination",
        "_dialer",
        "_exchange",
        "_lease",
        "_limits",
        "_manager",
        "_nursery",
        "_observers",
        "_pool",
        "_progress",
        "_send_error",
        "_told_sent",
        "_upload",
        "codings",
        "content",
        "decoder",
        "ended",
        "interim",
        "phases",
        "request",
        "sent_before",
    )

    def __init__(
        self,
        pool: Pool,
        dialer: Dialer,
        destination: Destination,
        request: ClientRequest,
        limits: ClientLimits,
        total_deadline: float,
        observers: Observers | None,
    ) -> None:
        self._pool = pool
        self._dialer = dialer
        self._destination = destination
        self._limits = limits
        self._observers = observers
        self.request = request
        self.phases = Phases(request.timeouts, total_deadline)
        self.interim: list[ResponseHead] = []
        self.content: IncomingContent | None = None
        self.decoder: Decoder | None = None
        self.codings: tuple[str, ...] = ()
        self.ended = False
        self._lease: Lease | None = None
        self._progress: DialProgress | None = None
        self._exchange: ClientExchange | None = None
        self._upload: Upload | None = None
        self._manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._nursery: trio.Nursery | None = None
        self._send_error: DisconnectedError | None = None
        self.sent_before = False  # in an exchange that was given up for another
        self._client_closed = False
        self._told_sent = False

    def __str__(self) -> str:
        return str(self.request)

    # -- the frame: opening and closing --------------------------------------------------------------------------------

    async def start(self, nursery: trio.Nursery | None) -> None:
        """Open the nursery that streamed content needs; nothing for other calls.

        Args:
            nursery: one that is open already, because it has to span the block of ``client.stream``.
        """
        if not needs_task(self.request):
            return
        if nursery is None:
            self._manager = trio.open_nursery()
            nursery = await self._manager.__aenter__()
        self._nursery = nursery
        await self._prepare_content()  # here, where no slot and no connection waits for a disk

    async def _prepare_content(self) -> None:
        """Begin at the beginning of streamed content, and find out how long it is."""
        content = self.request.content
        if isinstance(content, StreamedContent):
            if content.started:
                content.rewind()
            await content.measure()

    def begin(self) -> trio.CancelScope:
        """Take what can be had at once; return the scope of what comes first, to be entered at once.

        Raises:
            ClientClosedError: the client is not open.
        """
        timeouts = self.phases.timeouts
        lease = self._lease = self._pool.acquire_nowait(self._destination, self)
        if lease is None:
            return self.phases.open(POOL, timeouts.pool_seconds)
        if lease.connection is None:
            return self.phases.open(CONNECT, timeouts.connect_seconds)
        return self.phases.open(SEND, timeouts.write_idle_seconds)

    def close(self, *, skip_received: bool = False) -> None:
        """Stop what still goes on and give the slot back, with the connection if both messages are complete.

        Args:
            skip_received: what is left of the answer is not wanted: throw it away if it has come in already.
        """
        if self.ended:
            return
        if skip_received and self._exchange is not None:
            self._exchange.skip_received()
        self.ended = True
        if self._upload is not None and not self._upload.done:
            self._upload.stop()
        if self._exchange is not None:
            self._check_step(self._exchange)
            self._exchange.close()
        lease, self._lease = self._lease, None  # forgotten, since it knows its holder: no cycle is left behind
        if lease is not None:
            connection = lease.connection
            lease.release()
            if self._observers is not None and connection is not None:
                self._observers.tell_released(self.request, connection.reusable and not connection.closed)

    def _check_step(self, exchange: ClientExchange) -> None:
        """Log that a server is out of step: bytes after an answer would have been the answer to somebody else."""
        connection = self._lease.connection if self._lease is not None else None
        if isinstance(connection, Connection) and exchange.complete and (rest := connection.wire.buffered):
            LOGGER.warning("desync: %d bytes came after the answer to %s; the connection is closed", len(rest), self)

    async def join(self) -> None:
        """Wait for the end of the upload's task.

        Raises:
            BaseException: what the content's iterable raised, be it only now, in its cleanup: as from a ``finally``.
        """
        manager, self._manager = self._manager, None
        self._nursery = None
        if manager is not None:
            await leave_nursery(manager)
        elif self._upload is not None and not self._upload.done:
            await self._upload.wait_done()
        self.check_upload()

    async def wait_upload(self) -> None:
        """Wait until the upload's task has let go of the content; never raises what it met with."""
        if self._upload is not None and not self._upload.done:
            await self._upload.wait_done()

    def client_closed(self) -> None:
        """End at once: the client is being closed; whoever waits here is told."""
        self._client_closed = True
        if self._upload is not None:
            self._upload.stop()
        if self.phases.scope is not None:
            self.phases.scope.cancel(reason="the client was closed")

    # -- errors --------------------------------------------------------------------------------------------------------

    @property
    def sent(self) -> bool:
        """Bytes of the request may have reached the server."""
        return self.sent_before or (self._exchange is not None and self._exchange.sent)

    def check_open(self) -> None:
        """Raise ClientClosedError if the client was closed meanwhile."""
        if self._client_closed:
            raise ClientClosedError("the client was closed before the exchange was over", sent=self.sent)

    def check_upload(self) -> None:
        """Raise what the caller's iterable raised; what the server did to the upload is no error once it answered."""
        if self._upload is not None and self._upload.error is not None:
            raise self._upload.error

    def failure(self) -> BaseException:
        """Return why the scope of the phase, which has just ended early, was cancelled."""
        if self._client_closed:
            return ClientClosedError("the client was closed before the exchange was over", sent=self.sent)
        upload = self._upload
        if upload is not None and upload.error is not None:
            return upload.error
        if self.phases.phase == LATE_HEAD and (error := self._send_error or (upload and upload.send_error)):
            return error
        if self.phases.phase == POOL:
            self.phases.detail = self._pool.describe_wait(self._destination)
        elif self.phases.phase == CONNECT and self._progress is not None:
            self.phases.detail = self._progress.describe()
        return self.phases.expired(sent=self.sent)

    def explain(self, exc: TrioHTTPError) -> None:
        """Add to an error of ours what only the call knows."""
        if self._upload is not None and exc is self._upload.error:
            return  # perhaps of another exchange, which the content comes from: it stays as it is
        if isinstance(exc, TransportError):
            exc.sent = exc.sent or self.sent
            exc.safe_to_retry = not exc.sent
        if not hasattr(exc, "__notes__"):  # content raises the same error again and again
            exc.add_note(f"while requesting {self.request}")

    # -- the head ------------------------------------------------------------------------------------------------------

    async def receive_head(self) -> ResponseHead:
        """Send the request and return the final response head; inside the scope of ``begin``.

        Cancellation: fatal.
        Raises:
            ConnectError: no connection could be opened.
            DisconnectedError: the server went away without an answer.
            RemoteProtocolError: the answer is not HTTP.
            BaseException: what the content's iterable raised.
        """
        timeouts = self.request.timeouts
        lease = self._lease
        if lease is None:
            lease = self._lease = await self._pool.wait(self._destination, self)
            if lease.connection is None:
                self.phases.enter(CONNECT, timeouts.connect_seconds)
            else:
                self.phases.enter(SEND, timeouts.write_idle_seconds)
        if lease.connection is None:
            await self._connect(lease)
        try:
            head = await self._converse(lease)
            while head is None:
                # Not counted as a reuse any more, so the server's next refusal is final (Rule 2).
                await self._start_again(lease)
                head = await self._converse(lease)
        except trio.ClosedResourceError:
            self.check_open()
            raise
        assert self._exchange is not None
        self.content = self._exchange.content
        if "content-encoding" in head.headers and self.request.method != "HEAD" and head.status not in NO_CONTENT:
            self._find_decoder(head)
        if self._observers is not None:
            self._tell_sent()  # the upload's task may not have had its turn yet
            for told in self._observers.head_received:
                told(self.request, head.status, head.headers)
        return head

    def _find_decoder(self, head: ResponseHead) -> None:
        values, limits = head.headers.get_all("content-encoding"), self._limits
        self.decoder, self.codings = find_decoder(
            values, max_codings=limits.max_codings, max_ratio=limits.max_decode_ratio
        )
        # A range is one of the content as it was sent (RFC 9110 §14.2): a piece out of its middle cannot be decoded.
        if self.decoder is not None and (head.status == 206 or not self.request.decode):
            self.codings, self.decoder = self.decoder.codings, None

    async def _connect(self, lease: Lease) -> None:
        observers = self._observers
        if observers is not None:
            for starting in observers.dial_started:
                starting(self.request, str(self._destination))
        progress = self._progress = DialProgress()
        connection = await self._dialer.dial(self._destination, progress)
        lease.opened(connection)
        if observers is not None:
            for connected in observers.connected:
                connected(self.request, connection.info)
        self.check_open()  # in the step in which the dial was over, cancelling it came too late
        self.phases.enter(SEND, self.phases.timeouts.write_idle_seconds)

    async def _start_again(self, lease: Lease) -> None:
        if self._upload is not None:
            self._upload.stop()
            await self._upload.wait_done()
            self.check_upload()  # its cleanup may have failed
            self._upload = None
        await self._prepare_content()
        self.sent_before = self.sent
        self._exchange = self._send_error = None
        self.interim.clear()
        lease.discard()
        self.phases.enter(CONNECT, self.phases.timeouts.connect_seconds)
        await self._connect(lease)

    async def _converse(self, lease: Lease) -> ResponseHead | None:
        """Send and receive once; None when it is to be done again on a new connection."""
        connection = lease.connection
        assert isinstance(connection, Connection)
        exchange = self._exchange = ClientExchange(connection, self._limits)
        if self._observers is not None:
            self._told_sent = False
            exchange.on_bytes = self._tell_bytes if self._observers.bytes_received else None
            exchange.on_content = self._tell_content if self._observers.content_received else None
        try:
            if self._nursery is None:
                return await self._send_whole(exchange)
            head = await self._send_streamed(exchange, self._nursery)
        except DisconnectedError:
            if lease.reused and self._may_repeat(exchange):
                return None
            raise
        if head.status == 417 and self.request.expect_continue and not self._content_started():
            # The server does not know the expectation, so the request is repeated without it (RFC 9110 §10.1.1).
            self.request.expect_continue = False
            self.request.headers.pop("expect", None)
            return None
        return head

    def _may_repeat(self, exchange: ClientExchange) -> bool:
        if self._client_closed or exchange.response_started:
            return False
        if self._upload is not None and self._upload.error is not None:
            return False  # it was the content that failed
        if exchange.sent and self.request.method not in IDEMPOTENT:
            return False
        content = self.request.content
        return not (isinstance(content, StreamedContent) and content.started and not content.replayable)

    def _content_started(self) -> bool:
        content = self.request.content
        return isinstance(content, StreamedContent) and content.started

    def _head(self) -> RequestHead:
        """Return the head for the wire; a proxy that forwards gets the whole URL, and what is meant for it alone."""
        head = self.request.head()
        destination = self._destination
        if destination.forwards:
            assert destination.proxy is not None
            head.target = f"{head.scheme}://{head.authority}{head.target}"
            head.headers = head.headers.copy()  # the request's own stay as they are: the proxy's are nobody else's
            head.headers.update(destination.proxy.fields)
        return head

    async def _send_whole(self, exchange: ClientExchange) -> ResponseHead:
        content = self.request.content
        assert isinstance(content, bytes)
        try:
            await exchange.request(self._head(), content)
        except DisconnectedError as exc:
            return await self._late_head(exchange, exc)
        self._tell_sent()
        if content and self.request.on_upload is not None:
            self.request.on_upload(len(content), len(content))
        self.phases.enter(HEAD, self.phases.timeouts.head_seconds)
        return await exchange.receive_head(self.interim.append)

    def _tell_sent(self) -> None:
        """Tell observers once that all of the request has gone out, if it has."""
        if self._observers is None or self._told_sent or self._exchange is None:
            return
        if self._exchange.request_complete:
            self._told_sent = True
            for told in self._observers.request_sent:
                told(self.request)

    def _tell_bytes(self, data: bytes) -> None:
        assert self._observers is not None
        for told in self._observers.bytes_received:
            told(self.request, data)

    def _tell_content(self, data: bytes) -> None:
        assert self._observers is not None
        for told in self._observers.content_received:
            told(self.request, data)

    async def _late_head(self, exchange: ClientExchange, error: DisconnectedError) -> ResponseHead:
        """Return the answer that a server gave before it stopped listening, or raise ``error``."""
        self._send_error = error
        self.phases.enter(LATE_HEAD, LATE_HEAD_SECONDS)
        try:
            return await exchange.receive_head(self.interim.append)
        except (DisconnectedError, RemoteProtocolError):
            raise error from error.__cause__

    async def _send_streamed(self, exchange: ClientExchange, nursery: trio.Nursery) -> ResponseHead:
        request = self.request
        content = request.content if isinstance(request.content, StreamedContent) else in_pieces(request.content)
        try:
            # Trailers need chunks, even for a file whose length is known.
            await exchange.begin(self._head(), None if request.trailers is not None else content.length)
        except DisconnectedError as exc:
            return await self._late_head(exchange, exc)
        self.phases.enter(UPLOAD, math.inf)
        upload = self._upload = Upload(
            exchange,
            content,
            request.trailers,
            self.phases.timeouts,
            expect=request.expect_continue,
            on_end=self._upload_ended,
            on_upload=request.on_upload,
        )
        nursery.start_soon(upload.run)
        try:
            head = await exchange.receive_head(self._hear_interim)
        except DisconnectedError:
            if (error := upload.error or upload.send_error) is not None:
                raise error from error.__cause__
            raise
        if request.expect_continue and not content.started:
            upload.stop()
        elif head.status >= 300:
            await upload.settle(0.0)
        return head

    def _hear_interim(self, head: ResponseHead) -> None:
        self.interim.append(head)
        if head.status == 100 and self._upload is not None:
            self._upload.may_send.set()

    def _upload_ended(self, upload: Upload) -> None:
        """Hear from the upload's task that it is over: the wait for the head gets its deadline, or ends."""
        if upload is not self._upload or self.ended:
            return
        try:
            self._tell_sent()
        except Exception as exc:  # noqa: BLE001  # nothing may be raised in the upload's task
            upload.error = exc
        if upload.error is not None:
            assert self.phases.scope is not None
            self.phases.scope.cancel(reason="the content of the request failed")
        elif self.phases.phase == UPLOAD and upload.send_error is None:
            self.phases.enter(HEAD, self.phases.timeouts.head_seconds)
        elif self.phases.phase == UPLOAD:
            self.phases.enter(LATE_HEAD, LATE_HEAD_SECONDS)

    # -- the content ---------------------------------------------------------------------------------------------------

    async def read(self, max_bytes: int | None) -> bytes:
        """Return the whole content of the answer and end the exchange; inside the scope of ``begin``.

        Raises:
            BodyTooLargeError: there is more than ``max_bytes`` of it, or it is announced, or codings hide too much.
            ContentError: ``coding``: a coding of it is broken.
            BodyTruncatedError, DisconnectedError: the server went away.
            RemoteProtocolError: the framing is broken.
        """
        content = self.content
        assert content is not None
        if max_bytes is not None:
            if content.length is not None and content.length > max_bytes:
                raise BodyTooLargeError(
                    f"the content has {content.length} bytes, which passes max_body_bytes={max_bytes}",
                    limit="max_body_bytes",
                    bound=max_bytes,
                )
            content.max_bytes = max_bytes
        collector = None if self.decoder is None else DecodedCollector(self.decoder, max_bytes)
        seconds = self.request.timeouts.read_idle_seconds
        progress = self.request.on_download
        pieces = []
        try:
            self.phases.enter(CONTENT, seconds)
            while piece := await content.receive_some():
                if collector is None:
                    pieces.append(piece)
                else:
                    await collector.add(piece)
                if progress is not None:
                    progress(content.received, content.length)
                self.phases.enter(CONTENT, seconds)
        except trio.ClosedResourceError:
            self.check_open()
            raise
        await self.end_upload()
        if collector is not None:
            return collector.finish()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def skip(self) -> None:
        """End the exchange without its content, which nobody wants: what is short is thrown away, else the connection.

        Never raises what the server does to it.
        """
        content = self.content
        assert content is not None
        try:
            with self.phases.open(CONTENT, SKIP_SECONDS):
                if await content.discard(SKIP_BYTES):
                    await self.end_upload()
        except (TransportError, RemoteProtocolError, BodyTooLargeError):
            pass  # the connection ends with the exchange
        except trio.ClosedResourceError:
            self.check_open()

    async def end_upload(self) -> None:
        """The answer is complete: let an upload end that is ending, stop any other."""
        if self._upload is not None:
            await self._upload.settle(ENDING_SECONDS)

    def take_over(self) -> trio.abc.HalfCloseableStream:
        """Return the connection as a raw stream, after 101; the call still owns the slot."""
        assert self._exchange is not None
        return self._exchange.take_over()


def needs_task(request: ClientRequest) -> bool:
    """Tell whether the content of a request goes out in a task of its own, beside the one that waits for the answer."""
    content = request.content
    return request.expect_continue or isinstance(content, StreamedContent) or len(content) > WHOLE_BYTES


async def leave_nursery(manager: AbstractAsyncContextManager[trio.Nursery]) -> None:
    """Wait for the tasks of a nursery that was entered by hand; nothing is ever raised in there, but Ctrl-C may come.

    By hand, because it may have to span a block of the caller's: whose exceptions are no business of the nursery's.
    """
    try:
        await manager.__aexit__(None, None, None)
    except BaseExceptionGroup as group:
        raise only_one(group) from None
