"""The HTTP/1.1 wire, for either role: one h11.Connection with a guard in front of it (RFC 9112).

What is received goes through h1_receiving.py. What is sent goes through h11 as it is, but for chunks of an answer and
for plain requests (h1_short.py): h11 keeps the states of both ends and refuses what is out of order; this file decides
the framing.

Rule 1: no awaiting, no clock, no sockets; bytes in, events out.
Rule 2: framing fields, ``Connection: close`` and the reason phrase are ours, never a caller's.
Rule 3: a LocalProtocolError says that nothing of the refused call may go out.
"""

from __future__ import annotations

import functools
from typing import Final

import h11

from triohttp._values.headers import FORBIDDEN_TRAILERS, Headers
from triohttp._values.status import reason_phrase
from triohttp.errors import LocalProtocolError

from .events import FieldLines, Role
from .fields import parse_length
from .h1_receiving import H1Receiver, Incoming, Outgoing
from .h1_short import write_fields, write_request_line

__all__ = ["H1Wire"]

# As in h1_receiving.py, for the same reason.
_HEAD, _CONTENT, _NO_CONTENT = Outgoing.HEAD, Outgoing.CONTENT, Outgoing.NO_CONTENT
_COMPLETE, _SWITCHED = Outgoing.COMPLETE, Outgoing.SWITCHED
_INCOMING_HEAD, _INCOMING_COMPLETE = Incoming.HEAD, Incoming.COMPLETE
_SERVER, _CLIENT = Role.SERVER, Role.CLIENT

_CLOSE: Final = (b"Connection", b"close")
_END_OF_MESSAGE: Final = h11.EndOfMessage()
_FRAMING_FIELDS: Final = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_SPECIAL_FIELDS: Final = _FRAMING_FIELDS | {b"set-cookie"}
_METHODS_WITH_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})


class H1Wire(H1Receiver):
    """One HTTP/1.1 connection's protocol state; the ``Wire`` of both roles."""

    __slots__ = ()

    def start_next_cycle(self) -> None:
        """Make ready for the next request and its answer.

        Raises:
            LocalProtocolError: a message is not complete, or the connection must close.
        """
        if not self.at_cycle_end:
            raise LocalProtocolError("the connection is not ready for another exchange", slug="not-reusable")
        if self._unseen is None:
            self._h11.start_next_cycle()
        else:
            self._unseen = None  # nor will h11 see the rest of that cycle
        self._incoming = _INCOMING_HEAD
        self._outgoing = _HEAD
        self._end = self._gate = None
        self._switch_offered = self._expectation = self.close_delimited = False
        self.incoming_length = 0
        self._content_left = self._content_received = 0

    # -- sending -------------------------------------------------------------------------------------------------------

    def send_request(self, method: str, target: str, fields: FieldLines, length: int | None) -> bytes:
        """Return the bytes of a request head; ``length`` of the content decides the framing, None means chunked.

        A Content-Length among ``fields`` must be equal to ``length``, or takes its place when that is None.

        Raises:
            LocalProtocolError: it is not the time for it, or method, target or fields are no good.
        """
        if self.role is not _CLIENT or self._outgoing is not _HEAD or self._incoming is not _INCOMING_HEAD:
            raise LocalProtocolError("a request cannot begin now", slug="out-of-order")
        if length is not None and (plain := self._write_plain_request(method, target, fields, length)) is not None:
            return plain
        headers, keep, stated = _split_fields(fields)
        length = _agreed(length, stated)
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
        self._outgoing = _CONTENT
        self._outgoing_left = length
        return data

    def _write_plain_request(self, method: str, target: str, fields: FieldLines, length: int) -> bytes | None:
        """Return the bytes of a request head by the short way, past h11; None when it is not a plain one."""
        line = write_request_line(method, target)
        if fields != self._usual_fields:  # those of one connection's requests are mostly the same ones
            self._usual_fields = fields.copy()
            self._usual_lines = write_fields(fields)
        lines = self._usual_lines
        if line is None or lines is None:
            return None
        headers = self._usual_fields
        if length or method in _METHODS_WITH_CONTENT:
            headers = [*headers, (b"Content-Length", b"%d" % length)]
            lines += b"Content-Length: %d\r\n" % length
        if self.close_after:
            headers = [*headers, _CLOSE]
            lines += b"Connection: close\r\n"
            self._persistent = False
        self._unseen = method, target, headers
        self._unseen_content = 0
        self._method = method
        self._outgoing = _CONTENT
        self._outgoing_left = length
        return line + lines + b"\r\n"

    def send_response(self, status: int, fields: FieldLines, length: int | None) -> bytes:
        """Return the bytes of a final response head; None means chunked, or closing for an HTTP/1.0 client.

        A Content-Length among ``fields`` must be equal to ``length``, or takes its place when that is None; in answers
        to HEAD and in 304 it may be any. The call may come before a request has come in, or after one was refused: the
        connection then ends with it.

        Raises:
            LocalProtocolError: a response has begun, or status or fields are no good.
        """
        if self.role is not _SERVER or self._outgoing is not _HEAD:
            raise LocalProtocolError("a response cannot begin now", slug="out-of-order")
        if not 200 <= status <= 599:
            raise LocalProtocolError(f"a final status must be from 200 to 599, not {status!r}", slug="status")
        method = self._method
        switches = method == "CONNECT" and status < 300
        if switches and self._incoming is not _INCOMING_COMPLETE:
            raise LocalProtocolError("the content of CONNECT must be read before it is accepted", slug="out-of-order")
        headers, keep, stated = [field for field in fields if field[0].lower() not in _SPECIAL_FIELDS], True, None
        plain = True
        if len(headers) != len(fields):
            headers, keep, stated = _split_fields(fields)
            plain = False
        outgoing = _CONTENT
        if status == 204 or status == 304 or switches:
            outgoing = _NO_CONTENT
            length = stated if status == 304 else None
        elif status == 205:  # RFC 9110 §15.3.6
            outgoing, length = _NO_CONTENT, 0
        elif method == "HEAD":
            # RFC 9110 §8.6: a stated length is that of the answer to GET, not of the content that is thrown away here.
            outgoing, length = _NO_CONTENT, length if stated is None else stated
        else:
            length = _agreed(length, stated)
        if length is not None:
            headers.append((b"Content-Length", b"%d" % length))
        if (
            self.close_after
            or not self._persistent
            or not keep
            or self._incoming is _INCOMING_HEAD
            # RFC 9110 §10.1.1: nobody knows whether the content that the client holds back will follow.
            or (self._expectation and self.expects_continue)
        ):
            self._persistent = False
            if not switches:
                headers.append(_CLOSE)
        try:
            event = (_usual_response if plain else _new_response)(status, tuple(headers))
            data = self._h11.send(event)
        except h11.LocalProtocolError as exc:
            raise LocalProtocolError(str(exc), slug="response-head") from exc
        self._expectation = False
        if self._incoming is _INCOMING_HEAD:
            self._incoming = _INCOMING_COMPLETE  # the request that has not come is not waited for any more
        self._outgoing = outgoing
        self._outgoing_left = length
        if switches:
            self._outgoing, self._incoming = _SWITCHED, Incoming.SWITCHED
        return data

    def send_interim(self, status: int, fields: FieldLines) -> bytes:
        """Return the bytes of a 1xx response, 101 included; nothing for an HTTP/1.0 client (RFC 9110 §15.2).

        Raises:
            LocalProtocolError: no request awaits an answer; for 101 also: its content is not read, or it asked for no
                upgrade.
        """
        if self.role is not _SERVER or self._outgoing is not _HEAD or self._incoming is _INCOMING_HEAD:
            raise LocalProtocolError("an interim response cannot be sent now", slug="out-of-order")
        if not 100 <= status <= 199:
            raise LocalProtocolError(f"an interim status must be from 100 to 199, not {status!r}", slug="status")
        if status == 101 and (self._incoming is not _INCOMING_COMPLETE or self._version == "1.0"):
            raise LocalProtocolError("101 must follow a whole request of HTTP/1.1", slug="out-of-order")
        if self._version == "1.0":
            return b""
        if any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in fields):
            raise LocalProtocolError("an interim response has no content to be framed", slug="framing")
        try:
            data = self._h11.send(h11.InformationalResponse(status_code=status, headers=fields, reason=_reason(status)))
        except h11.LocalProtocolError as exc:
            raise LocalProtocolError(str(exc), slug="response-head") from exc
        if status == 100:
            self._expectation = False
        elif status == 101:
            self._outgoing, self._incoming = _SWITCHED, Incoming.SWITCHED
        return data

    def send_content(self, data: bytes) -> bytes:
        """Return the bytes that carry some content: none where the message goes without (HEAD, 204, 304).

        Raises:
            LocalProtocolError: no content is due, or it is more than was announced; nothing of it may go out.
        """
        if self._outgoing is not _CONTENT:
            if self._outgoing is _NO_CONTENT:
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
            if self._unseen is not None:
                self._unseen_content += len(data)
                return data
        elif self.role is _SERVER and self._h11.our_state is h11.SEND_BODY and self._h11.their_http_version == b"1.1":
            # What h11 would make of it, in an eighth of the time: a chunk of an answer changes nothing in its states.
            # Content of a known length does, which it counts, and a client's, which ends a wait for 100 (Continue).
            return b"%x\r\n%b\r\n" % (len(data), data)
        try:
            return self._h11.send(h11.Data(data=data))
        except h11.LocalProtocolError as exc:  # the peer's state forbids it; ours has been looked at
            raise LocalProtocolError(str(exc), slug="out-of-order") from exc

    def send_end(self, trailers: Headers | None = None) -> bytes:
        """Return the bytes that end a message.

        Trailers go out with chunked content only; where there is none (HEAD, an HTTP/1.0 client) they are left out.

        Raises:
            LocalProtocolError: the content is shorter than announced, or trailers cannot follow it.
        """
        outgoing = self._outgoing
        left = self._outgoing_left
        event = _END_OF_MESSAGE
        if outgoing is _CONTENT:
            if left:
                raise LocalProtocolError(f"{left} bytes of the announced content are missing", slug="content-too-short")
            if trailers and (self.role is _CLIENT or self._version != "1.0"):
                if left is not None:
                    raise LocalProtocolError("trailers can only follow chunked content", slug="trailers")
                for name, _ in trailers.raw:
                    if name.lower() in FORBIDDEN_TRAILERS:
                        raise LocalProtocolError(f"{name!r} must not be a trailer", slug="trailers")
                event = h11.EndOfMessage(headers=trailers.raw)
        elif outgoing is not _NO_CONTENT:
            raise LocalProtocolError("no message is open", slug="out-of-order")
        if self._unseen is not None:
            self._outgoing = _COMPLETE
            return b""
        try:
            data = self._h11.send(event)
        except h11.LocalProtocolError as exc:
            raise LocalProtocolError(str(exc), slug="out-of-order") from exc
        self._outgoing = _COMPLETE
        return data

    def take_over(self) -> bytes:
        """Stop being HTTP and return what was received after the last message.

        Raises:
            LocalProtocolError: no 101, and no 2xx to CONNECT, has gone by.
        """
        if self._incoming is not Incoming.SWITCHED:
            raise LocalProtocolError("the connection has not changed its protocol", slug="out-of-order")
        return self._take(len(self._pending))


def _split_fields(fields: FieldLines) -> tuple[FieldLines, bool, int | None]:
    """Separate what a caller may say from what the wire says.

    Returns:
        the caller's fields without Content-Length and without the connection options that are ours; whether the caller
        lets the connection live; and the Content-Length that it stated.
    Raises:
        LocalProtocolError: it stated a Transfer-Encoding, no good Content-Length, or several.
    """
    headers = [field for field in fields if field[0].lower() not in _FRAMING_FIELDS]
    if len(headers) == len(fields):
        return headers, True, None
    keep = True
    stated = None
    options: list[bytes] = []
    for name, value in fields:
        field = name.lower()
        if field == b"transfer-encoding":
            raise LocalProtocolError("Transfer-Encoding is chosen by the connection, not by its user", slug="framing")
        if field == b"content-length":
            length = parse_length(value)
            if length is None or stated is not None:
                raise LocalProtocolError(f"Content-Length must be one number, not {value[:20]!r}", slug="framing")
            stated = length
        elif field == b"connection":
            for option in value.split(b","):
                word = option.strip(b" \t")
                if word.lower() == b"close":
                    keep = False
                elif word and word.lower() != b"keep-alive":
                    options.append(word)
    if options:
        headers.append((b"Connection", b", ".join(options)))
    return headers, keep, stated


def _agreed(length: int | None, stated: int | None) -> int | None:
    """Return the length of the content, which a caller may have stated in a field; the two must not differ."""
    if stated is None or stated == length:
        return length
    if length is not None:
        raise LocalProtocolError(f"Content-Length is {stated}, but the content is {length} bytes long", slug="framing")
    return stated


def _new_response(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> h11.Response:
    """Return the event of a response head; making one checks every byte of it."""
    return h11.Response(status_code=status, headers=list(headers), reason=_reason(status))


_usual_response = functools.lru_cache(maxsize=128)(_new_response)
"""The same for heads that may be kept: most go out again within the second. Cookies are nobody else's, and not kept."""


@functools.cache
def _reason(status: int) -> bytes:
    return reason_phrase(status).encode("ascii")
