"""The receiving half of the HTTP/1.1 wire: bytes in, events out, for either role (RFC 9112).

Bytes received wait in ``_pending``. h11 gets exactly one head at a time, after the guard has passed it, and content in
pieces of at most 64 KiB, chunked content through a gate of its own; so h11 never holds a byte that belongs to the next
message, and never sees what it reads differently from us. A client's plain exchanges go past it (h1_short.py).

Rule 1: what h11 accepts and we refuse lives in strict.py, fields.py, target.py and chunked.py. The two head readers
below only recognise ordinary heads, in one loop over the fields; a doubt is settled by ``fields.examine_…``.
Rule 2: the outcome does not depend on how the bytes were cut into reads.
Rule 3: this is the hot path: a plain head is passed by a handful of C calls, and pays for nothing that it does not use.
"""

from __future__ import annotations

import enum
import re
import sys
from typing import Final

import h11

from triohttp._values.authority import parse_authority
from triohttp._values.headers import Headers
from triohttp._values.limits import WireLimits
from triohttp._values.message import RequestHead, ResponseHead
from triohttp.errors import BodyTruncatedError, InvalidURLError, RemoteProtocolError

from .chunked import ChunkedGate
from .events import EndOfContent, Event, FieldLines, Role, Signal
from .fields import SINGLETONS, examine_request, examine_response, says_close
from .h1_short import PlainRequest, PlainResponse, read_response, read_trailers, replay_request
from .strict import (
    MAX_BLANK_LINES,
    MAX_METHOD_BYTES,
    MAX_NAME_BYTES,
    TEXT,
    RequestScanner,
    ResponseScanner,
    refuse,
)
from .target import split_target

__all__ = ["H1Receiver", "Incoming", "Outgoing"]


class Incoming(enum.Enum):
    """Where the peer's message is."""

    HEAD = "head"
    COUNTED = "content of a known length"
    CHUNKED = "chunked content"
    UNTIL_END = "content until the end of the stream"
    COMPLETE = "complete"
    SWITCHED = "no longer HTTP"
    FAILED = "wrong"


class Outgoing(enum.Enum):
    """Where our message is."""

    HEAD = "head"
    CONTENT = "content"
    NO_CONTENT = "content that is thrown away"
    COMPLETE = "complete"
    SWITCHED = "no longer HTTP"


# Members by a short name: a look-up through the class is dear enough to count, a dozen times a message.
_HEAD, _COUNTED, _CHUNKED, _UNTIL_END = Incoming.HEAD, Incoming.COUNTED, Incoming.CHUNKED, Incoming.UNTIL_END
_COMPLETE, _SWITCHED = Incoming.COMPLETE, Incoming.SWITCHED
_NEED_DATA, _PAUSED, _ENDED = Signal.NEED_DATA, Signal.PAUSED, Signal.ENDED
_SERVER, _CLIENT = Role.SERVER, Role.CLIENT
_OUTGOING_HEAD, _OUTGOING_COMPLETE = Outgoing.HEAD, Outgoing.COMPLETE

_PIECE_BYTES: Final = 64 * 1024
_END_OF_CONTENT: Final = EndOfContent()

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
_RESPONSE_FIELDS: Final = {
    b"content-length": _LENGTH,
    b"transfer-encoding": _CODING,
    b"connection": _CONNECTION,
}
_PLAIN_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*[0-9]{1,18}[ \t]*\r\n", re.IGNORECASE)
"""What h11 may have made a Content-Length out of must be one number on one line."""


class H1Receiver:
    """The state of a connection and the receiving half of its protocol; ``H1Wire`` adds the sending half."""

    __slots__ = (
        "_blank_lines",
        "_content_left",
        "_content_received",
        "_end",
        "_error",
        "_expectation",
        "_gate",
        "_h11",
        "_heads",
        "_incoming",
        "_limits",
        "_max_lines",
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
        "_unseen",
        "_unseen_content",
        "_usual_fields",
        "_usual_lines",
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
        self._max_lines = limits.max_fields + 2
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
        self._outgoing = _OUTGOING_HEAD
        self._outgoing_left: int | None = 0
        self._persistent = True
        self._switch_offered = False
        self._expectation = False
        self._method = ""
        self._version = "1.1"
        self._heads = 0
        self._unseen: PlainRequest | None = None
        self._unseen_content = 0
        self._usual_fields: FieldLines = []
        self._usual_lines: bytes | None = None

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
        """The client waits for 100 (Continue) and none of its content has come in.

        h11 has a word of its own for it, which takes any interim response for the awaited one.
        """
        return self._expectation and not self._pending and self.incoming_length != 0

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
        if self._incoming is not _COMPLETE or self._outgoing is not _OUTGOING_COMPLETE or not self._persistent:
            return False
        return self.keep_alive if self.role is _CLIENT else not self.close_after

    @property
    def buffered(self) -> bytes:
        """Bytes received but not yet made into events."""
        return bytes(self._pending)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer; ``b""`` is the end of its stream. After an error they are thrown away."""
        if not data:
            self._peer_ended = True
        elif not self._pending:
            if self._error is None:
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

    def take_whole_content(self) -> bytes | None:
        """Return the content that a plain head has just announced, and end the message, when all of it has come in."""
        left = self._content_left
        if self._unseen is None or self._incoming is not _COUNTED or len(self._pending) < left:
            return None
        self._incoming = _COMPLETE
        self._content_left = 0
        self._content_received += left
        return self._take(left) if left else b""

    def _fail(self, exc: RemoteProtocolError | BodyTruncatedError) -> None:
        if self.role is _CLIENT and isinstance(exc, RemoteProtocolError):
            exc.suggested_status = None
        if self._incoming is _HEAD and self.role is _SERVER and self._outgoing is _OUTGOING_HEAD:
            # h11 may or may not have seen this head, depending on how early it was refused. The answer is the same.
            self._h11 = self._new_h11()
            self._method, self._version = "", "1.1"
        self._error = exc
        self._incoming = Incoming.FAILED
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
        if self._outgoing is _OUTGOING_HEAD and self.role is _CLIENT:
            refuse("unsolicited", "bytes from a server that was not asked for anything")
        # An ordinary head came in one read. Three passes in C tell that it is short, that every line ends in CRLF, and
        # that it holds no control characters, so that h11 reads it in linear time.
        if self._scanner is None and pending[0] > 0x20:
            end = pending.find(b"\r\n\r\n") + 4
            if 4 < end <= self._plain_head_bytes:
                head = bytes(pending) if end == len(pending) else bytes(pending[:end])
                crlfs = head.count(b"\r\n")
                if crlfs <= self._max_lines and len(head.translate(None, TEXT)) == 2 * crlfs:
                    if end == len(pending):
                        self._pending = b""
                    else:
                        self._take(end)
                    if self.role is _SERVER:
                        return self._read_request(head, crlfs)
                    if self._unseen is not None and (plain := read_response(head, crlfs - 2)) is not None:
                        return self._take_plain_response(plain)
                    return self._read_response(head, crlfs)
        end = self._scan()
        if not end:
            if not self._peer_ended:
                return _NEED_DATA
            if not self._pending:
                return _ENDED
            refuse("head-truncated", "the stream ended inside a head", received=len(self._pending))
        head = self._take(end)
        crlfs = head.count(b"\r\n")
        return self._read_request(head, crlfs) if self.role is _SERVER else self._read_response(head, crlfs)

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

    def _read_request(self, head: bytes, crlfs: int) -> RequestHead:
        self._h11.receive_data(head)
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as exc:
            self._doubt(head, exc)
            raise
        assert type(event) is h11.Request
        lines = event.headers.raw_items()
        method, target, version = event.method, event.target, event.http_version
        persistent = version == b"1.1"
        # h11 joins folded lines, drops equal Content-Lengths and skips its check for Host unless the version is 1.1.
        doubtful = len(lines) != crlfs - 2 or len(method) > MAX_METHOD_BYTES or not (persistent or version == b"1.0")
        found = 0
        host = length = b""
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
            self._expectation = found & _EXPECT > 0 and version == b"1.1"
        if doubtful:
            self._doubt(head)
        try:
            authority = parse_authority(host).text if found & _HOST else ""
            if target[0] == 0x2F and b"#" not in target and method != b"CONNECT":
                path = target.decode("ascii")
            else:
                path, named = split_target(method, target)
                if named is not None:
                    # RFC 9112 §3.2.2: the Host field is ignored then; nobody shall find another host in it.
                    authority = named.text
                    host = authority.encode("ascii")
                    lines = [(name, host if name.lower() == b"host" else value) for name, value in lines]
        except InvalidURLError as exc:
            self._doubt(head, exc)
            raise
        self._method = method_text = method.decode("ascii")
        self._version = version_text = "1.1" if version == b"1.1" else "1.0"
        # After a refused CONNECT the client's bytes are for somebody else: they must not be read as requests.
        if not persistent or method == b"CONNECT":
            self._persistent = False
        self._blank_lines = 0
        if found & _CODING:
            self._begin_content(_CHUNKED, None)
        elif length:
            self._begin_content(_COUNTED, int(length))
        else:
            self._incoming = _COUNTED  # the rest is as start_next_cycle left it
        return RequestHead(method_text, path, Headers.from_wire(lines), self._scheme, authority, version_text)

    def _read_response(self, head: bytes, crlfs: int) -> ResponseHead:
        if head[9:12] == b"101" and not (self._switch_offered and self._outgoing is _OUTGOING_COMPLETE):
            refuse("unexpected-101", "101 without an upgrade that was asked for", received=len(head), detail=head[:80])
        if self._unseen is not None:
            self._catch_up()
        self._h11.receive_data(head)
        try:
            event = self._h11.next_event()
        except h11.RemoteProtocolError as exc:
            self._doubt(head, exc)
            raise
        assert isinstance(event, (h11.Response, h11.InformationalResponse))
        status, version = event.status_code, event.http_version
        lines = event.headers.raw_items()
        # Bare LF, folds and repeated lengths are met by taking the response and giving up the connection after it.
        doubtful = len(lines) != crlfs - 2 or not version.startswith(b"1.")
        found = 0
        length = b""
        persistent = version != b"1.0"
        for name, value in lines:
            field = _RESPONSE_FIELDS.get(name.lower())
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
        self._heads += 1
        if doubtful or not persistent or self._blank_lines:
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

    def _take_plain_response(self, plain: PlainResponse) -> ResponseHead:
        """Take what was read by the short way; h11 has not seen this cycle's request, nor will it see the response."""
        status, lines, index, length, keep = plain
        self._heads += 1
        if not keep or self._blank_lines:
            self._persistent = False
        if self._method == "HEAD":
            length = 0
        self._begin_content(_CHUNKED if length is None else _COUNTED, length)
        return ResponseHead(status, Headers.from_wire(lines, index))

    def _catch_up(self) -> None:
        """Show h11 the part of this cycle that went past it; from here on it sees everything."""
        unseen, self._unseen = self._unseen, None
        if unseen is not None:
            replay_request(self._h11, unseen, self._unseen_content, over=self._outgoing is _OUTGOING_COMPLETE)

    def _begin_content(self, incoming: Incoming, length: int | None) -> None:
        self._incoming = incoming
        self.incoming_length = length
        self._content_left = length or 0
        self._content_received = 0
        self._gate = ChunkedGate(self._limits) if incoming is _CHUNKED else None
        self.close_delimited = incoming is _UNTIL_END

    def _next_counted(self) -> Event:
        left = self._content_left
        if not left:
            if self._unseen is None:
                self._h11.next_event()
            self._incoming = _COMPLETE
            return _END_OF_CONTENT
        pending = self._pending
        if not pending:
            return self._content_missing()
        self._expectation = False
        if self._unseen is not None:
            piece = self._take(min(left, len(pending)))
        else:
            piece = self._take(min(left, len(pending), _PIECE_BYTES))
            self._h11.receive_data(piece)
            self._h11.next_event()
        self._content_left = left - len(piece)
        self._content_received += len(piece)
        return piece

    def _next_chunked(self) -> Event:
        gate = self._gate
        assert gate is not None
        if self._unseen is not None:
            return self._next_chunked_past_h11(gate)
        pieces: list[bytes] = []
        while self._end is None:
            count = gate.admit(self._pending)
            if not count:
                return self._content_missing()
            self._expectation = False
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

    def _next_chunked_past_h11(self, gate: ChunkedGate) -> Event:
        while count := gate.admit(self._pending):
            taken = self._take(count)
            if gate.over:
                self._incoming = _COMPLETE
                trailers = read_trailers(taken)
                return EndOfContent(Headers.from_wire(trailers)) if trailers else _END_OF_CONTENT
            if gate.spans:
                data = b"".join([taken[start:stop] for start, stop in gate.spans])
                self._content_received += len(data)
                return data
        return self._content_missing()

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
