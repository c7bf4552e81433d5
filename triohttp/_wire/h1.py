"""The HTTP/1.1 wire, for either role: one h11.Connection with a guard in front of it (RFC 9112).

Bytes received wait in ``_pending``. h11 gets exactly one head at a time, after the guard has passed it, and content in
pieces of at most 64 KiB, chunked content through a gate of its own; so h11 never holds a byte that belongs to the next
message, and never sees what it reads differently from us. What we send goes through h11 too, which keeps both ends'
states and refuses what is out of order.

Rule 1: no awaiting, no clock, no sockets; bytes in, events out.
Rule 2: what h11 accepts and we refuse lives in strict.py, fields.py, target.py and chunked.py. The two head readers
below only recognise ordinary heads, in one loop over the fields; a doubt is settled by ``fields.examine_…``.
Rule 3: framing fields, ``Connection: close`` and the reason phrase are ours, never a caller's.
Rule 4: the outcome does not depend on how the bytes were cut into reads.
"""

from __future__ import annotations

import enum
import functools
import re
import sys
from typing import Final

import h11

from triohttp._values.authority import parse_authority
from triohttp._values.headers import Headers
from triohttp._values.limits import WireLimits
from triohttp._values.message import RequestHead, ResponseHead
from triohttp._values.status import reason_phrase
from triohttp.errors import BodyTruncatedError, InvalidURLError, LocalProtocolError, RemoteProtocolError

from .chunked import ChunkedGate
from .events import EndOfContent, Event, FieldLines, Role, Signal
from .fields import SINGLETONS, examine_request, examine_response, parse_length, says_close
from .strict import (
    FORBIDDEN_TRAILERS,
    MAX_BLANK_LINES,
    MAX_METHOD_BYTES,
    MAX_NAME_BYTES,
    TEXT,
    RequestScanner,
    ResponseScanner,
    refuse,
)
from .target import split_target

__all__ = ["H1Wire"]


class _Incoming(enum.Enum):
    """Where the peer's message is."""

    HEAD = "head"
    COUNTED = "content of a known length"
    CHUNKED = "chunked content"
    UNTIL_END = "content until the end of the stream"
    COMPLETE = "complete"
    SWITCHED = "no longer HTTP"
    FAILED = "wrong"


class _Outgoing(enum.Enum):
    """Where our message is."""

    HEAD = "head"
    CONTENT = "content"
    NO_CONTENT = "content that is thrown away"
    COMPLETE = "complete"
    SWITCHED = "no longer HTTP"


# Members by a short name: the hot path looks at them a dozen times a message.
_HEAD, _COUNTED, _CHUNKED, _UNTIL_END = _Incoming.HEAD, _Incoming.COUNTED, _Incoming.CHUNKED, _Incoming.UNTIL_END
_COMPLETE, _SWITCHED, _FAILED = _Incoming.COMPLETE, _Incoming.SWITCHED, _Incoming.FAILED
_NEED_DATA, _PAUSED, _ENDED = Signal.NEED_DATA, Signal.PAUSED, Signal.ENDED
_SERVER, _CLIENT = Role.SERVER, Role.CLIENT

_PIECE_BYTES: Final = 64 * 1024
_END_OF_CONTENT: Final = EndOfContent()
_END_OF_MESSAGE: Final = h11.EndOfMessage()

# What the readers' loops look for; each is a bit, so that a second line of the same name is seen by one operation.
_HOST, _LENGTH, _CODING, _CONNECTION, _EXPECT, _SINGLE = 1, 2, 4, 8, 16, 32
_DELICATE: Final = _LENGTH | _CODING | _EXPECT
_REQUEST_FIELDS: Final = {
    b"host": _HOST,
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
    b"expect": _EXPECT,
    **{name: _SINGLE << number for number, name in enumerate(sorted(SINGLETONS))},
}
_FRAMING_FIELDS: Final = {
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
}
_PLAIN_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*[0-9]{1,18}[ \t]*\r\n", re.IGNORECASE)
"""What h11 may have made a Content-Length out of must be one number on one line."""
_METHODS_WITH_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
_CLOSE: Final = (b"Connection", b"close")


class H1Wire:
    """One HTTP/1.1 connection's protocol state; the ``Wire`` of both roles."""

    __slots__ = (
        "_blank_lines",
        "_content_left",
        "_content_received",
        "_end",
        "_error",
        "_gate",
        "_h11",
        "_heads",
        "_incoming",
        "_limits",
        "_max_fields",
        "_method",
        "_outgoing",
        "_outgoing_left",
        "_peer_ended",
        "_pending",
        "_persistent",
        "_plain_head_bytes",
        "_scanner",
        "_scheme",
        "_switch_offered",
        "_version",
        "close_after",
        "close_delimited",
        "incoming_length",
        "role",
    )

    def __init__(self, role: Role, limits: WireLimits, *, secure: bool = False) -> None:
        """Make the state of a fresh connection.

        Args:
            role: which end we are.
            limits: what we take from the peer.
            secure: the connection is encrypted: requests on it are for https.
        """
        self.role = role
        self.incoming_length: int | None = 0
        self.close_delimited = False
        self.close_after = False
        self._limits = limits
        self._max_fields = limits.max_fields
        self._plain_head_bytes = min(limits.max_line_bytes, limits.max_head_bytes)
        self._scheme = "https" if secure else "http"
        self._h11 = self._new_h11()
        self._pending: bytes | bytearray = b""
        self._peer_ended = False
        self._incoming = _HEAD
        self._scanner: RequestScanner | ResponseScanner | None = None
        self._blank_lines = 0
        self._gate: ChunkedGate | None = None
        self._content_left = 0
        self._content_received = 0
        self._end: EndOfContent | None = None
        self._error: RemoteProtocolError | BodyTruncatedError | None = None
        self._outgoing = _Outgoing.HEAD
        self._outgoing_left: int | None = 0
        self._persistent = True
        self._switch_offered = False
        self._method = ""
        self._version = "1.1"
        self._heads = 0

    def _new_h11(self) -> h11.Connection:
        # Its own bound is of no use: it is only looked at when it wants more data. Ours come first.
        return h11.Connection(h11.SERVER if self.role is _SERVER else h11.CLIENT, max_incomplete_event_size=sys.maxsize)

    # -- what a connection wants to know -------------------------------------------------------------------------------

    @property
    def head_started(self) -> bool:
        """Bytes of a head have come in, but not its end; empty lines in front of it count."""
        return self._incoming is _HEAD and (bool(self._pending) or self._blank_lines > 0)

    @property
    def announced(self) -> int:
        """Bytes of content that the peer has announced so far: its Content-Length, or the chunks begun."""
        return self._gate.announced if self._gate is not None else self.incoming_length or 0

    @property
    def expects_continue(self) -> bool:
        """The client waits for 100 (Continue) and none of its content has come in."""
        return self._h11.they_are_waiting_for_100_continue and not self._pending and self.incoming_length != 0

    @property
    def keep_alive(self) -> bool:
        """Both heads, as far as they are known, allow another exchange on this connection."""
        if not self._persistent or self.close_after:
            return False
        # A server that sends more than its response is out of step with us; the next answer would not be ours.
        return self.role is _SERVER or not (self._peer_ended or (self._pending and self._incoming is _COMPLETE))

    @property
    def at_cycle_end(self) -> bool:
        """Both messages are complete and ``start_next_cycle`` may be called."""
        return self._incoming is _COMPLETE and self._outgoing is _Outgoing.COMPLETE and self.keep_alive

    @property
    def buffered(self) -> bytes:
        """Bytes received but not yet made into events."""
        return bytes(self._pending)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; ``b""`` is the end of its stream."""
        if not data:
            self._peer_ended = True
        elif not self._pending:
            self._pending = data
        else:
            if type(self._pending) is bytes:
                self._pending = bytearray(self._pending)
            self._pending += data

    def next_event(self) -> Event:
        """Return what the bytes received so far make next.

        Raises:
            RemoteProtocolError: the peer broke HTTP; raised again at every further call.
            BodyTruncatedError: the peer ended its stream inside content; likewise.
        """
        incoming = self._incoming
        try:
            if incoming is _HEAD:
                return self._next_head()
            if incoming is _COUNTED:
                return self._next_counted()
            if incoming is _CHUNKED:
                return self._next_chunked()
            if incoming is _COMPLETE:
                return _ENDED if self._peer_ended and not self._pending else _PAUSED
            if incoming is _UNTIL_END:
                return self._next_until_end()
        except (RemoteProtocolError, BodyTruncatedError) as exc:
            self._fail(exc)
            raise
        if self._error is not None:
            raise self._error.with_traceback(None)
        return _PAUSED

    def _fail(self, exc: RemoteProtocolError | BodyTruncatedError) -> None:
        if self.role is _CLIENT and isinstance(exc, RemoteProtocolError):
            exc.suggested_status = None
        if self._incoming is _HEAD and self.role is _SERVER and self._outgoing is _Outgoing.HEAD:
            # h11 may or may not have seen this head, depending on how early it was refused. The answer is the same.
            self._h11 = self._new_h11()
            self._method, self._version = "", "1.1"
        self._error = exc
        self._incoming = _FAILED
        self._persistent = False
        self._pending = b""

    def _take(self, count: int) -> bytes:
        """Remove and return the first bytes of what is pending."""
        pending = self._pending
        if count == len(pending):
            self._pending = b""
            return bytes(pending)
        taken = bytes(pending[:count])
        if type(pending) is bytes:
            self._pending = pending = bytearray(pending)
        assert type(pending) is bytearray
        del pending[:count]  # cheap: CPython only moves where the bytes begin
        return taken

    def _next_head(self) -> Event:
        pending = self._pending
        if not pending:
            return _ENDED if self._peer_ended else _NEED_DATA
        if self.role is _CLIENT and self._outgoing is _Outgoing.HEAD:
            refuse("unsolicited", "bytes from a server that was not asked for anything")
        # An ordinary head came in one read. Four passes in C tell that its lines are short, that each ends in CRLF, and
        # that it holds no control characters, so that h11 reads it in linear time.
        end = 0
        if self._scanner is None and pending[0] > 0x20:
            end = pending.find(b"\r\n\r\n") + 4
        head = bytes(pending[:end])
        lines = head.count(b"\r\n")
        if (
            end < 5
            or end > self._plain_head_bytes
            or lines > self._max_fields + 2
            or head.translate(None, TEXT) != b"\r\n" * lines
        ):
            end = self._scan()
            if not end:
                if self._peer_ended:
                    refuse("head-truncated", "the stream ended inside a head", received=len(pending))
                return _NEED_DATA
            head = bytes(self._pending[:end])
            lines = head.count(b"\r\n")
        self._take(end)
        self._blank_lines = 0
        return self._read_request(head, lines - 2) if self.role is _SERVER else self._read_response(head, lines - 2)

    def _scan(self) -> int:
        """Look line by line at a head that is unfinished or not plain; return its length, or 0 before its end."""
        if self._scanner is None:
            if not self._skip_blank_lines():
                return 0
            self._scanner = RequestScanner(self._limits) if self.role is _SERVER else ResponseScanner(self._limits)
        end = self._scanner.scan(self._pending)
        if end:
            self._scanner = None
        return end

    def _skip_blank_lines(self) -> bool:
        """Drop the empty lines that may stand in front of a start line; return whether something else has come.

        Source: RFC 9112 §2.2. A server's, for a client only before its first response: later they would be the rest of
        the last one.
        """
        while self._pending[:1] == b"\r":
            if len(self._pending) == 1:
                return False
            if self._pending[1:2] != b"\n":
                refuse("bare-cr", "a CR without LF", received=2 + 2 * self._blank_lines)
            self._blank_lines += 1
            if self._blank_lines > MAX_BLANK_LINES or (self.role is _CLIENT and self._heads):
                refuse("lead-crlf", "empty lines in front of a message", received=2 * self._blank_lines)
            self._take(2)
        return bool(self._pending)

    def _doubt(self, head: bytes, cause: Exception | None = None) -> None:
        """Settle a doubt about a head: return if it is good after all, else raise the error that it deserves."""
        if self.role is _SERVER:
            examine_request(head, self._limits)
        else:
            examine_response(head, self._limits)
        if cause is not None:
            raise RemoteProtocolError("a head that cannot be read", slug="head", received=len(head)) from cause

    def _parse(self, head: bytes) -> h11.Event:
        self._h11.receive_data(head)
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as exc:
            self._doubt(head, exc)
            raise
        assert isinstance(event, h11.Event)
        return event

    def _read_request(self, head: bytes, count: int) -> RequestHead:
        event = self._parse(head)
        assert type(event) is h11.Request
        method, target, version = event.method, event.target, event.http_version
        lines = event.headers.raw_items()
        # h11 joins folded lines, drops equal Content-Lengths and skips its check for Host unless the version is 1.1.
        doubtful = len(lines) != count or len(method) > MAX_METHOD_BYTES or (version != b"1.1" and version != b"1.0")
        found = 0
        host = length = b""
        persistent = version == b"1.1"
        for name, value in lines:
            field = _REQUEST_FIELDS.get(name.lower())
            if field is None:
                if len(name) > MAX_NAME_BYTES:
                    doubtful = True
                continue
            if found & field:
                doubtful = True
            found |= field
            if field == _HOST:
                host = value
            elif field == _CONNECTION:
                if value != b"keep-alive" and says_close(value):
                    persistent = False
            elif field == _LENGTH:
                length = value
        if found & _DELICATE and (found & _DELICATE != _LENGTH or _PLAIN_LENGTH.search(head) is None):
            doubtful = True
        if doubtful:
            self._doubt(head)
        try:
            if method != b"CONNECT" and target.startswith(b"/") and b"#" not in target:
                path, authority = target.decode("ascii"), None
            else:
                path, authority = split_target(method, target)
            host_authority = parse_authority(host).text if found & _HOST else ""
        except InvalidURLError as exc:
            self._doubt(head, exc)
            raise
        if authority is not None:
            # RFC 9112 §3.2.2: the Host field is ignored then; nobody shall find another host in it.
            host_authority = authority.text
            own = authority.text.encode("ascii")
            lines = [(name, own if name.lower() == b"host" else value) for name, value in lines]
        self._method = method.decode("ascii")
        self._version = version.decode("ascii")
        # After a refused CONNECT the client's bytes are for somebody else: they must not be read as requests.
        self._persistent = persistent and method != b"CONNECT"
        if found & _CODING:
            self._begin_content(_CHUNKED, None)
        else:
            self._begin_content(_COUNTED, int(length) if length else 0)
        return RequestHead(self._method, path, Headers.from_wire(lines), self._scheme, host_authority, self._version)

    def _read_response(self, head: bytes, count: int) -> ResponseHead:
        if head[9:12] == b"101" and not (self._switch_offered and self._outgoing is _Outgoing.COMPLETE):
            refuse("unexpected-101", "101 without an upgrade that was asked for", received=len(head), detail=head[:80])
        event = self._parse(head)
        assert isinstance(event, (h11.Response, h11.InformationalResponse))
        status, version = event.status_code, event.http_version
        lines = event.headers.raw_items()
        # Bare LF, folds and repeated lengths are met by taking the response and giving up the connection after it.
        doubtful = len(lines) != count or not version.startswith(b"1.")
        found = 0
        length = b""
        persistent = version != b"1.0"
        for name, value in lines:
            field = _FRAMING_FIELDS.get(name.lower())
            if field is None:
                if len(name) > MAX_NAME_BYTES:
                    doubtful = True
                continue
            found |= field
            if field == _CONNECTION:
                if value != b"keep-alive" and says_close(value):
                    persistent = False
            elif field == _LENGTH:
                length = value
        if found & _CODING and (found & _LENGTH or version == b"1.0"):
            doubtful = True
        if found & _LENGTH and _PLAIN_LENGTH.search(head) is None:
            doubtful = True
        if doubtful:
            self._doubt(head)
            persistent = False
        self._heads += 1
        if not persistent:
            self._persistent = False
        if status == 101 or (self._method == "CONNECT" and 200 <= status < 300):
            self._incoming = _SWITCHED
        elif status >= 200:
            if status in (204, 304) or self._method == "HEAD":
                self._begin_content(_COUNTED, 0)
            elif found & _CODING:
                self._begin_content(_CHUNKED, None)
            elif found & _LENGTH:
                self._begin_content(_COUNTED, int(length))
            else:
                self._begin_content(_UNTIL_END, None)
                self._persistent = False
        return ResponseHead(status, Headers.from_wire(lines), version.decode("ascii"))

    def _begin_content(self, incoming: _Incoming, length: int | None) -> None:
        self._incoming = incoming
        self.incoming_length = length
        self._content_left = length or 0
        self._content_received = 0
        self._gate = ChunkedGate(self._limits) if incoming is _CHUNKED else None
        self.close_delimited = incoming is _UNTIL_END

    def _next_counted(self) -> Event:
        left = self._content_left
        if not left:
            self._h11.next_event()
            self._incoming = _COMPLETE
            return _END_OF_CONTENT
        pending = self._pending
        if not pending:
            return self._content_missing()
        piece = self._take(min(left, len(pending), _PIECE_BYTES))
        self._h11.receive_data(piece)
        self._h11.next_event()
        self._content_left = left - len(piece)
        self._content_received += len(piece)
        return piece

    def _next_chunked(self) -> Event:
        gate = self._gate
        assert gate is not None
        pieces: list[bytes] = []
        while self._end is None:
            count = gate.admit(self._pending)
            if not count:
                return self._content_missing()
            self._h11.receive_data(self._take(count))
            while (event := self._h11.next_event()) is not h11.NEED_DATA:
                if type(event) is h11.Data:
                    pieces.append(event.data)
                else:
                    assert type(event) is h11.EndOfMessage
                    trailers = event.headers.raw_items()
                    self._end = EndOfContent(Headers.from_wire(trailers)) if trailers else _END_OF_CONTENT
                    break
            if pieces:
                data = b"".join(pieces)
                self._content_received += len(data)
                return data
        self._incoming = _COMPLETE
        return self._end

    def _next_until_end(self) -> Event:
        pending = self._pending
        if pending:
            piece = self._take(min(len(pending), _PIECE_BYTES))
            self._h11.receive_data(piece)
            self._h11.next_event()
            self._content_received += len(piece)
            return piece
        if not self._peer_ended:
            return _NEED_DATA
        self._h11.receive_data(b"")
        self._h11.next_event()
        self._incoming = _COMPLETE
        return _END_OF_CONTENT

    def _content_missing(self) -> Event:
        """Wait for content, unless no more can come (RFC 9112 §8)."""
        if not self._peer_ended:
            return _NEED_DATA
        expected = self.incoming_length
        raise BodyTruncatedError(
            f"the stream ended after {self._content_received} bytes of content"
            + ("" if expected is None else f" of {expected}"),
            phase="content",
            received=self._content_received,
            expected=expected,
        )

    def start_next_cycle(self) -> None:
        """Make ready for the next request and its answer.

        Raises:
            LocalProtocolError: a message is not complete, or the connection must close.
        """
        if not self.at_cycle_end:
            raise LocalProtocolError("the connection is not ready for another exchange", slug="not-reusable")
        self._h11.start_next_cycle()
        self._incoming = _HEAD
        self._outgoing = _Outgoing.HEAD
        self._end = None
        self._gate = None
        self._switch_offered = False
        self.incoming_length = 0
        self.close_delimited = False

    # -- sending -------------------------------------------------------------------------------------------------------

    def send_request(self, method: str, target: str, fields: FieldLines, length: int | None) -> bytes:
        """Return the bytes of a request head; ``length`` of the content decides the framing, None means chunked.

        Raises:
            LocalProtocolError: it is not the time for it, or method, target or fields are no good.
        """
        if self.role is not _CLIENT or self._outgoing is not _Outgoing.HEAD or self._incoming is not _HEAD:
            raise LocalProtocolError("a request cannot begin now", slug="out-of-order")
        headers, keep, _ = _split_fields(fields, length)
        if length is None:
            headers.append((b"Transfer-Encoding", b"chunked"))
        elif length or method in _METHODS_WITH_CONTENT:  # RFC 9110 §8.6
            headers.append((b"Content-Length", b"%d" % length))
        if self.close_after or not keep:
            headers.append(_CLOSE)
            self._persistent = False
        try:
            data = self._h11.send(h11.Request(method=method, target=target, headers=headers))
        except (h11.LocalProtocolError, UnicodeEncodeError) as exc:
            raise LocalProtocolError(str(exc), slug="request-head") from exc
        self._method = method
        self._switch_offered = any(name.lower() == b"upgrade" for name, _ in fields)
        self._outgoing = _Outgoing.CONTENT
        self._outgoing_left = length
        return data

    def send_response(self, status: int, fields: FieldLines, length: int | None) -> bytes:
        """Return the bytes of a final response head; None means chunked, or closing for an HTTP/1.0 client.

        It may be called before a request has come in, or after one was refused: the connection then ends with it.

        Raises:
            LocalProtocolError: a response has begun, or status or fields are no good.
        """
        if self.role is not _SERVER or self._outgoing is not _Outgoing.HEAD:
            raise LocalProtocolError("a response cannot begin now", slug="out-of-order")
        if not 200 <= status <= 599:
            raise LocalProtocolError(f"a final status must be from 200 to 599, not {status!r}", slug="status")
        method = self._method
        switches = method == "CONNECT" and status < 300
        if switches and self._incoming is not _COMPLETE:
            raise LocalProtocolError("the content of CONNECT must be read before it is accepted", slug="out-of-order")
        # RFC 9110 §8.6, §9.3.2: these go without content; their Content-Length, if any, speaks of another message.
        headers, keep, stated = _split_fields(fields, length, about_another=method == "HEAD" or status == 304)
        outgoing = _Outgoing.CONTENT
        if status == 204 or status == 304 or switches:
            outgoing = _Outgoing.NO_CONTENT
            if status == 304 and stated is not None:
                headers.append((b"Content-Length", stated))
        else:
            if status == 205:  # RFC 9110 §15.3.6
                outgoing, length = _Outgoing.NO_CONTENT, 0
            elif method == "HEAD":
                outgoing = _Outgoing.NO_CONTENT
            if stated is not None:
                headers.append((b"Content-Length", stated))
            elif length is not None:
                headers.append((b"Content-Length", b"%d" % length))
        if (
            self.close_after
            or not self._persistent
            or not keep
            or self._incoming is _HEAD
            # RFC 9110 §10.1.1: nobody knows whether the content that the client holds back will follow.
            or (self._h11.they_are_waiting_for_100_continue and self.expects_continue)
        ):
            self._persistent = False
            if not switches:
                headers.append(_CLOSE)
        data = self._send(h11.Response(status_code=status, headers=headers, reason=_reason(status)))
        self._outgoing = outgoing
        self._outgoing_left = length
        if switches:
            self._outgoing, self._incoming = _Outgoing.SWITCHED, _SWITCHED
        return data

    def send_interim(self, status: int, fields: FieldLines) -> bytes:
        """Return the bytes of a 1xx response, 101 included; nothing for an HTTP/1.0 client (RFC 9110 §15.2).

        Raises:
            LocalProtocolError: no request awaits an answer; for 101 also: its content is not read, or it asked for no
                upgrade.
        """
        if self.role is not _SERVER or self._outgoing is not _Outgoing.HEAD or self._incoming is _HEAD:
            raise LocalProtocolError("an interim response cannot be sent now", slug="out-of-order")
        if not 100 <= status <= 199:
            raise LocalProtocolError(f"an interim status must be from 100 to 199, not {status!r}", slug="status")
        if status == 101 and (self._incoming is not _COMPLETE or self._version == "1.0"):
            raise LocalProtocolError("101 must follow a whole request of HTTP/1.1", slug="out-of-order")
        if self._version == "1.0":
            return b""
        _split_fields(fields, None)
        data = self._send(h11.InformationalResponse(status_code=status, headers=fields, reason=_reason(status)))
        if status == 101:
            self._outgoing, self._incoming = _Outgoing.SWITCHED, _SWITCHED
        return data

    def send_content(self, data: bytes) -> bytes:
        """Return the bytes that carry some content: none where the message goes without (HEAD, 204, 304).

        Raises:
            LocalProtocolError: no content is due, or it is more than was announced; nothing of it may go out.
        """
        if self._outgoing is not _Outgoing.CONTENT:
            if self._outgoing is _Outgoing.NO_CONTENT:
                return b""
            raise LocalProtocolError("content cannot be sent now", slug="out-of-order")
        if not data:
            return b""
        left = self._outgoing_left
        if left is not None:
            if len(data) > left:
                message = f"{len(data)} bytes of content where {left} are left of what was announced"
                raise LocalProtocolError(message, slug="content-too-long")
            self._outgoing_left = left - len(data)
        return self._send(h11.Data(data=data))

    def send_end(self, trailers: Headers | None = None) -> bytes:
        """Return the bytes that end a message.

        Trailers go out with chunked content only; where there is none (HEAD, an HTTP/1.0 client) they are left out.

        Raises:
            LocalProtocolError: the content is shorter than announced, or trailers cannot follow it.
        """
        outgoing = self._outgoing
        left = self._outgoing_left
        event = _END_OF_MESSAGE
        if outgoing is _Outgoing.CONTENT:
            if left:
                raise LocalProtocolError(f"{left} bytes of the announced content are missing", slug="content-too-short")
            if trailers and (self.role is _CLIENT or self._version != "1.0"):
                if left is not None:
                    raise LocalProtocolError("trailers can only follow chunked content", slug="trailers")
                for name, _ in trailers.raw:
                    if name.lower() in FORBIDDEN_TRAILERS:
                        raise LocalProtocolError(f"{name!r} must not be a trailer", slug="trailers")
                event = h11.EndOfMessage(headers=trailers.raw)
        elif outgoing is not _Outgoing.NO_CONTENT:
            raise LocalProtocolError("no message is open", slug="out-of-order")
        data = self._send(event)
        self._outgoing = _Outgoing.COMPLETE
        return data

    def _send(self, event: h11.Response | h11.InformationalResponse | h11.Data | h11.EndOfMessage) -> bytes:
        try:
            return self._h11.send(event)
        except h11.LocalProtocolError as exc:
            raise LocalProtocolError(str(exc), slug="out-of-order") from exc

    def take_over(self) -> bytes:
        """Stop being HTTP and return what was received after the last message.

        Raises:
            LocalProtocolError: no 101, and no 2xx to CONNECT, has gone by.
        """
        if self._incoming is not _SWITCHED:
            raise LocalProtocolError("the connection has not changed its protocol", slug="out-of-order")
        return self._take(len(self._pending))


def _split_fields(
    fields: FieldLines, length: int | None, *, about_another: bool = False
) -> tuple[FieldLines, bool, bytes | None]:
    """Separate what a caller may say from what the wire says.

    Returns:
        the caller's fields without framing and without the connection options that are ours; whether the caller lets
        the connection live; and the Content-Length that it stated about a message that is not this one.
    """
    headers = [field for field in fields if field[0].lower() not in _FRAMING_FIELDS]
    if len(headers) == len(fields):
        return headers, True, None
    keep = True
    stated = None
    options: list[bytes] = []
    for name, value in fields:
        field = _FRAMING_FIELDS.get(name.lower())
        if field == _CODING:
            raise LocalProtocolError("Transfer-Encoding is chosen by the connection, not by its user", slug="framing")
        if field == _LENGTH:
            if about_another and parse_length(value) is not None:
                stated = value
            elif parse_length(value) != length:
                message = f"Content-Length is {value[:20]!r}, but the content is {length} bytes long"
                raise LocalProtocolError(message, slug="framing")
        elif field == _CONNECTION:
            for option in value.split(b","):
                word = option.strip(b" \t")
                if word.lower() == b"close":
                    keep = False
                elif word and word.lower() != b"keep-alive":
                    options.append(word)
    if options:
        headers.append((b"Connection", b", ".join(options)))
    return headers, keep, stated


@functools.cache
def _reason(status: int) -> bytes:
    return reason_phrase(status).encode("ascii")
