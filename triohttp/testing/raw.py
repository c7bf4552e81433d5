"""A connection seen as bytes: for sending what no client would send, and for seeing exactly what came back.

Rule 1: what is sent is what was given, unchecked.
Rule 2: what is received is read by h11 alone, never by the code under test, so that both cannot be wrong together.
Rule 3: nothing received is lost: ``received`` has all of it, whatever was made of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import h11
import trio

from triohttp import Headers
from triohttp.errors import BodyTruncatedError, DisconnectedError, RemoteProtocolError

from .streams import end_sending, reset_stream

__all__ = ["RawConnection", "RawInterim", "RawRequest", "RawResponse"]

MAX_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class RawInterim:
    """A 1xx response that came before the final one."""

    status: int
    headers: Headers


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A response as it was on the wire; ``content`` has no transfer coding any more, but every content coding."""

    status: int
    reason: str
    version: str
    headers: Headers
    content: bytes
    trailers: Headers | None
    interim: tuple[RawInterim, ...]


@dataclass(frozen=True, slots=True)
class RawRequest:
    """A request as it was on the wire."""

    method: str
    target: str
    version: str
    headers: Headers
    content: bytes
    trailers: Headers | None


class RawConnection:
    """One end of a connection, in bytes; an async context manager that closes it.

    Args:
        stream: what carries the bytes; it belongs to the connection from now on.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self._received = bytearray()
        self._read = 0  # how much of it has been handed out or made into messages
        self._ended = False

    @property
    def received(self) -> bytes:
        """Every byte that has been received so far."""
        return bytes(self._received)

    async def send_all(self, data: bytes) -> None:
        """Send bytes as they are."""
        await self.stream.send_all(data)

    async def send_eof(self) -> None:
        """Say that no more will come, and go on receiving; under TLS without a word of TLS's own."""
        await end_sending(self.stream)

    def reset(self) -> None:
        """Break the connection: the peer sees an error and not an end."""
        reset_stream(self.stream)

    async def aclose(self) -> None:
        """Close the connection."""
        await self.stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await trio.aclose_forcefully(self.stream)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next bytes, ``b""`` at the end of the stream."""
        if self._read == len(self._received):
            await self._receive()
        else:
            await trio.lowlevel.checkpoint()
        end = len(self._received) if max_bytes is None else self._read + max_bytes
        chunk = bytes(self._received[self._read : end])
        self._read += len(chunk)
        return chunk

    async def read_exactly(self, count: int) -> bytes:
        """Return the next ``count`` bytes.

        Raises:
            DisconnectedError: the stream ended first.
        """
        while len(self._received) - self._read < count:
            if not await self._receive():
                got = len(self._received) - self._read
                raise DisconnectedError("the peer ended the connection", received=got, expected=count)
        return await self.receive_some(count)

    async def read_until(self, mark: bytes) -> bytes:
        r"""Return the bytes up to the next ``mark``, and the mark: ``b"\r\n\r\n"`` ends a head.

        Raises:
            DisconnectedError: the stream ended first.
        """
        while (at := self._received.find(mark, self._read)) < 0:
            if not await self._receive():
                got = len(self._received) - self._read
                raise DisconnectedError(f"the peer ended the connection before {mark!r}", received=got)
        return await self.receive_some(at + len(mark) - self._read)

    async def read_until_closed(self) -> bytes:
        """Return everything up to the end of the stream that has not been read yet.

        Raises:
            trio.BrokenResourceError: the peer reset the connection.
        """
        while await self._receive():
            pass
        rest = bytes(self._received[self._read :])
        self._read = len(self._received)
        return rest

    async def read_response(self, method: str = "GET") -> RawResponse:
        """Return the next response, whatever interim ones come before it.

        Args:
            method: the method that is answered: an answer to HEAD has no content, whatever its fields say.
        Raises:
            DisconnectedError: the stream ended where a response should have begun.
            BodyTruncatedError: the stream ended inside of the response.
            RemoteProtocolError: what came is no response.
        Source: RFC 9112 §6.3.
        """
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        # Never sent: it tells h11 what the response belongs to, with an upgrade so that it lets a 101 pass.
        fields = [("Host", "raw"), ("Connection", "upgrade"), ("Upgrade", "raw")]
        parser.send(h11.Request(method=method, target="/", headers=fields))
        parser.send(h11.EndOfMessage())
        interim: list[RawInterim] = []
        async for event in _Events(self, parser):
            if isinstance(event, h11.InformationalResponse) and event.status_code != 101:
                interim.append(RawInterim(event.status_code, _headers(event.headers)))
            elif isinstance(event, (h11.InformationalResponse, h11.Response)):
                switches = event.status_code == 101 or (method == "CONNECT" and event.status_code < 300)
                content, trailers = (b"", None) if switches else await self._read_content(parser)
                self._read = len(self._received) - len(parser.trailing_data[0])
                return RawResponse(
                    status=event.status_code,
                    reason=event.reason.decode("latin-1"),
                    version=event.http_version.decode("ascii"),
                    headers=_headers(event.headers),
                    content=content,
                    trailers=trailers,
                    interim=tuple(interim),
                )
        raise DisconnectedError("the peer ended the connection instead of answering")

    async def read_request(self) -> RawRequest:
        """Return the next request.

        Raises:
            DisconnectedError: the stream ended where a request should have begun.
            BodyTruncatedError: the stream ended inside of the request.
            RemoteProtocolError: what came is no request.
        """
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
        async for event in _Events(self, parser):
            if isinstance(event, h11.Request):
                content, trailers = await self._read_content(parser)
                self._read = len(self._received) - len(parser.trailing_data[0])
                return RawRequest(
                    method=event.method.decode("ascii"),
                    target=event.target.decode("latin-1"),
                    version=event.http_version.decode("ascii"),
                    headers=_headers(event.headers),
                    content=content,
                    trailers=trailers,
                )
        raise DisconnectedError("the peer ended the connection instead of asking")

    async def _read_content(self, parser: h11.Connection) -> tuple[bytes, Headers | None]:
        content = bytearray()
        async for event in _Events(self, parser, inside=True):
            if isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                trailers = _headers(event.headers)
                return bytes(content), trailers if len(trailers) else None
        raise BodyTruncatedError("the peer ended the connection inside of a message", received=len(content))

    async def _receive(self) -> bytes:
        if self._ended:  # asking a TLS stream again is an error where it ended without a close_notify
            await trio.lowlevel.checkpoint()
            return b""
        data = bytes(await self.stream.receive_some(65536))
        self._ended = not data
        self._received += data
        return data


class _Events:
    """What h11 makes of a connection's bytes; ends where the stream ends."""

    def __init__(self, connection: RawConnection, parser: h11.Connection, *, inside: bool = False) -> None:
        self._connection = connection
        self._parser = parser
        self._ended = False
        if not inside and (unread := bytes(connection._received[connection._read :])):
            parser.receive_data(unread)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> h11.Event:
        connection, parser = self._connection, self._parser
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as exc:
                if parser.their_state is h11.ERROR and self._ended:
                    got = len(connection._received) - connection._read
                    raise BodyTruncatedError("the peer ended the connection inside of a message", received=got) from exc
                raise RemoteProtocolError(
                    f"the peer's message cannot be read: {exc}", slug="unreadable", detail=connection.received[-80:]
                ) from exc
            if event is h11.NEED_DATA:
                data = await connection._receive()
                self._ended = not data
                if self._ended and len(connection._received) == connection._read:
                    raise StopAsyncIteration  # the stream ended between two messages
                parser.receive_data(data)
            elif isinstance(event, h11.Event) and not isinstance(event, h11.ConnectionClosed):
                return event
            else:
                raise StopAsyncIteration


def _headers(fields: Iterable[tuple[bytes, bytes]]) -> Headers:
    raw = getattr(fields, "raw_items", None)
    return Headers(raw() if callable(raw) else fields)
