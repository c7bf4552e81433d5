"""Answers that are received piece by piece: ``client.stream``, and the raw stream after an upgrade.

Rule 1: such an answer exists only inside its ``async with`` block; leaving it decides, without awaiting, whether the
        connection lives on: it does when both messages are complete, be it with content that came in but was not read.
Rule 2: classes, no generators: nothing is left half run when a block is left.
Rule 3: each wait is bounded by a scope of its own; the block of the caller runs under none of ours.
"""

from __future__ import annotations

import math
from types import TracebackType
from typing import TYPE_CHECKING, Self

import trio

from triohttp._values import json
from triohttp._values.headers import Headers
from triohttp._values.media_types import find_codec
from triohttp._values.message import ResponseHead
from triohttp.errors import BodyStateError, BodyTooLargeError, StatusError, TrioHTTPError

from .body import UNSET, Unset
from .call import Call
from .decoded import DecodedStream
from .event_reader import EventReader
from .lines import LineReader
from .phases import CONTENT
from .response import ClientAnswer, ClientResponse, decode_text

if TYPE_CHECKING:
    from .flow import Flow

__all__ = ["ClientResponseStream", "ResponseContent", "StreamContext", "UpgradeContext", "Upgraded"]

DISCARD_SECONDS = 1.0
"""How long content that nobody wants is read for the sake of its connection; 64 KiB of it at most."""
ERROR_BYTES = 64 * 1024
"""Content of an answer that ``raise_for_status`` keeps."""
MADE_BYTES = 64 * 1024
MIB = 1024 * 1024


class ResponseContent(trio.abc.ReceiveStream):
    """The content of an answer as a trio receive stream.

    At its end the connection goes back to the pool, whether or not the block is left yet.

    Attributes:
        at_end: the end was reached.
        idle_seconds: without a byte, until ReadTimeout is raised.
    """

    __slots__ = ("_call", "_closed", "_receiving", "at_end", "idle_seconds")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._closed = False
        self._receiving = False
        self.at_end = False
        self.idle_seconds = call.request.timeouts.read_idle_seconds

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some content, at most ``max_bytes``; ``b""`` at its end.

        Cancellation: resumable.
        Raises:
            BodyTruncatedError: the server ended the connection in the middle.
            ClientClosedError: the client was closed meanwhile.
            DisconnectedError: the server reset the connection.
            ReadTimeout: nothing came for ``read_idle_seconds``.
            RemoteProtocolError: the framing is broken.
            TotalTimeout: the exchange took too long altogether.
            trio.BusyResourceError: another task is receiving.
            trio.ClosedResourceError: the stream was closed, or its block left.
            BaseException: what the iterable of the request's content raised.
        """
        call = self._call
        if self.at_end and not self._closed:
            await trio.lowlevel.checkpoint()
            return b""
        call.check_open()
        if self._closed or call.ended:
            raise trio.ClosedResourceError("this answer's content was closed, or its block was left")
        call.check_upload()
        if self._receiving:  # asked here, since the scope of the receive that goes on is the call's
            raise trio.BusyResourceError("another task is already receiving this content")
        content = call.content
        assert content is not None
        data: bytes | None = None
        self._receiving = True
        try:
            with call.phases.open(CONTENT, self.idle_seconds):
                data = await content.receive_some(max_bytes)
                if not data:
                    await call.end_upload()
        except trio.ClosedResourceError:
            call.check_open()
            raise
        except TrioHTTPError as exc:
            call.explain(exc)
            raise
        except Exception as exc:
            if not isinstance(exc, ValueError):  # of an observer: what it did not hear is lost (ValueError: max_bytes)
                call.close()
            raise
        finally:
            self._receiving = False
        if data is None:
            error = call.failure()
            if isinstance(error, TrioHTTPError):
                call.explain(error)
            call.close()
            raise error
        if not data:
            self.at_end = True
            call.check_upload()
            call.close()
        elif (progress := call.request.on_download) is not None:
            progress(content.received, content.length)
        return data

    async def aclose(self) -> None:
        """Receive nothing more; the connection is closed unless the whole content has come in."""
        self._closed = True
        self._call.close(skip_received=True)
        await trio.lowlevel.checkpoint()


class MadeContent(trio.abc.ReceiveStream):
    """Content that is there already, of an answer that this program made, as a trio receive stream."""

    __slots__ = ("_closed", "_view", "at_end", "idle_seconds")

    def __init__(self, content: bytes) -> None:
        self._view = memoryview(content)
        self._closed = False
        self.at_end = False
        self.idle_seconds = math.inf

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some content, at most ``max_bytes``; ``b""`` at its end.

        Cancellation: atomic.
        Raises:
            trio.ClosedResourceError: the stream was closed.
        """
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError("this answer's content was closed")
        data, self._view = bytes(self._view[: max_bytes or MADE_BYTES]), self._view[max_bytes or MADE_BYTES :]
        self.at_end = not data
        return data

    async def aclose(self) -> None:
        """Receive nothing more."""
        self._closed = True
        await trio.lowlevel.checkpoint()


class ClientResponseStream(ClientAnswer):
    """An answer whose head has come; its content is received inside the ``async with`` block.

    Attributes:
        body: the content, its codings undone, as a ``trio.abc.ReceiveStream``.
    """

    __slots__ = ("_call", "_default_max", "_raw", "_response", "body")

    def __init__(self, call: Call, head: ResponseHead, max_body_bytes: int | None) -> None:
        super().__init__(call.request, head.status, head.headers, call.interim, head.version, call.codings)
        self._call: Call | None = call
        self._response: ClientResponse | None = None
        self._default_max = max_body_bytes
        self._raw: ResponseContent | MadeContent = ResponseContent(call)
        self.body: ResponseContent | MadeContent | DecodedStream = self._raw
        if call.decoder is not None:
            self.body = DecodedStream(self._raw, call.decoder)

    @classmethod
    def of_response(cls, response: ClientResponse) -> Self:
        """Return a complete answer as an open one."""
        answer = cls.__new__(cls)
        ClientAnswer.__init__(
            answer,
            response.request,
            response.status,
            response.headers,
            response.interim,
            response.http_version,
            response.codings,
        )
        answer.history = response.history
        answer.attempts = response.attempts
        answer._call = None
        answer._response = response
        answer._default_max = None
        answer._raw = answer.body = MadeContent(response.content)
        return answer

    @property
    def idle_seconds(self) -> float:
        """Without a byte of content that is awaited, until ``ReadTimeout``; may be set while the content comes."""
        return self._raw.idle_seconds

    @idle_seconds.setter
    def idle_seconds(self, seconds: float) -> None:
        self._raw.idle_seconds = seconds

    @property
    def length(self) -> int | None:
        """Bytes announced, before codings are undone; None when only the end will tell."""
        if self._call is None:
            assert self._response is not None
            return len(self._response.content)
        assert self._call.content is not None
        return self._call.content.length

    @property
    def trailers(self) -> Headers | None:
        """The trailer section, None when there was none.

        Raises:
            BodyStateError: the content has not been received to its end.
        """
        if not self._raw.at_end:
            raise BodyStateError("trailers come after the content, which has not been received to its end")
        if self._call is None:
            assert self._response is not None
            return self._response.trailers
        assert self._call.content is not None
        return self._call.content.trailers

    def take_over(self) -> trio.abc.HalfCloseableStream:
        """Return the connection as a raw stream after 101, for ``Client.upgrade``.

        Raises:
            BodyStateError: no connection is behind this answer.
        """
        if self._call is None:
            raise BodyStateError("this answer was made by the program: there is no connection to take over")
        return self._call.take_over()

    async def read(self, *, max_bytes: int | Unset | None = UNSET) -> bytes:
        """Return what is left of the content.

        Args:
            max_bytes: bound on it, None for none; by default ``ClientLimits.max_body_bytes``.
        Cancellation: fatal (what had been received is lost).
        Raises:
            BodyTooLargeError: the bound was passed.
            TrioHTTPError: as ``body.receive_some``.
        """
        if isinstance(max_bytes, Unset):
            max_bytes = self._default_max
        pieces = []
        size = 0
        while piece := await self.body.receive_some():
            size += len(piece)
            if max_bytes is not None and size > max_bytes:
                raise BodyTooLargeError(
                    f"the content passes max_bytes={max_bytes}", limit="max_body_bytes", bound=max_bytes
                )
            pieces.append(piece)
        return b"".join(pieces)

    async def text(self) -> str:
        """Return what is left of the content as text.

        Raises:
            ContentError: ``charset``: it is unknown, or the content is not in it.
            TrioHTTPError: as ``read``.
        """
        return decode_text(await self.read(), self.headers)

    async def json(self, *, max_depth: int = 64) -> json.JSONValue:
        """Return the value that what is left of the content says.

        Raises:
            ContentError: ``json``: it is not JSON, or nested deeper than ``max_depth``.
            TrioHTTPError: as ``read``.
        """
        return json.loads(await self.read(), max_depth=max_depth)

    def lines(self, *, max_line_bytes: int = MIB) -> LineReader:
        """Return an asynchronous iterator over the lines of text that are left.

        Raises:
            ContentError: ``charset``: it is unknown, or UTF-16.
        """
        media_type = self.media_type
        codec = find_codec(media_type.charset or "utf-8") if media_type is not None else "utf-8"
        return LineReader(self.body, codec, max_line_bytes)

    def events(self, *, max_event_bytes: int = MIB) -> EventReader:
        """Return an asynchronous iterator over the server-sent events that are left, of this one answer.

        ``Client.events`` checks what answers, and connects again.

        Args:
            max_event_bytes: bound on one event.
        Cancellation: the iteration is resumable.
        Raises:
            LimitError: from the iteration: an event passes ``max_event_bytes``.
            TrioHTTPError: from the iteration: as ``body.receive_some``.
            trio.BusyResourceError: from the iteration: another task is receiving the content.
            trio.ClosedResourceError: from the iteration: the content was closed, or the block of this answer was left.
        """
        return EventReader(self.body, max_event_bytes)

    async def raise_for_status(self) -> Self:
        """Return this answer, unless its status is 4xx or 5xx.

        Raises:
            StatusError: it is; the error has the first 64 KiB of the content, as far as they can be had.
        """
        if self.status < 400:
            await trio.lowlevel.checkpoint()
            return self
        raise await self.receive_error()

    async def discard(self) -> None:
        """Let this answer go before its block is left; its connection stays if what is left of the content is short.

        For middleware and credentials that send something else first: until then the answer holds its connection.

        Cancellation: fatal.
        """
        with trio.move_on_after(DISCARD_SECONDS):
            await self.receive_error()
        await self.body.aclose()

    async def receive_error(self) -> StatusError:
        """Return the error that this answer would be, with as much of its content as can be had, up to 64 KiB."""
        content = b""
        try:
            while len(content) < ERROR_BYTES and (piece := await self.body.receive_some(ERROR_BYTES - len(content))):
                content += piece
        except (TrioHTTPError, trio.ClosedResourceError):
            pass  # the status is the news; what was received of its explanation is all there is
        return self.status_error(content)


class StreamContext:
    """The block of ``client.stream``."""

    __slots__ = ("_flow",)

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    async def __aenter__(self) -> ClientResponseStream:
        """Send the request and return the answer when its head has come.

        Cancellation: fatal.
        """
        return await self._flow.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the connection back when both messages are complete, else close it.

        Raises:
            BaseException: what the iterable of the request's content raised.
        """
        self._flow.close()
        await self._flow.join()


class Upgraded(ClientAnswer):
    """The answer 101 and the connection after it.

    Attributes:
        stream: the raw stream; what the server sent after its head comes first.
        protocol: what the server switched to.
    """

    __slots__ = ("protocol", "stream")

    def __init__(self, answer: ClientResponseStream) -> None:
        super().__init__(answer.request, answer.status, answer.headers, answer.interim, answer.http_version)
        self.stream = answer.take_over()
        self.protocol = answer.headers.get("upgrade", "")


class UpgradeContext:
    """The block of ``client.upgrade``."""

    __slots__ = ("_flow", "_stream")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._stream: trio.abc.HalfCloseableStream | None = None

    async def __aenter__(self) -> Upgraded:
        """Send the request and return the stream when the server has switched protocols.

        Cancellation: fatal.
        Raises:
            StatusError: the server answered otherwise; the error has the first 64 KiB of the content.
        """
        answer = await self._flow.open()
        try:
            if answer.status == 101:
                upgraded = Upgraded(answer)
                self._stream = upgraded.stream
                return upgraded
            raise await answer.receive_error()
        except BaseException:
            self._flow.close()
            await self._flow.join()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the stream, politely unless an exception leaves the block."""
        try:
            if exc is None and self._stream is not None:
                await self._stream.aclose()
        finally:
            self._flow.close()
            await self._flow.join()
