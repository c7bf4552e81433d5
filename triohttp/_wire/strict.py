"""What h11 accepts and we refuse: the lines of heads and trailer sections, read as they come in.

A section is judged byte by byte in the order of its bytes, whatever the reads it came in, so that the verdict never
depends on how the network cut it. The hot path (h1.py) recognises an ordinary head with a few C calls and comes here
only when it is not sure: to name what is wrong, or to find that nothing is.

Rule 1: linear in the bytes: what has been looked at is not looked at again.
Rule 2: the first offending byte decides; a line that is complete is judged whole, before the next one is looked at.
Rule 3: nothing in here knows what a field means; that is fields.py.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from triohttp._values.headers import FORBIDDEN_TRAILERS
from triohttp._values.limits import WireLimits
from triohttp.errors import HeadTooLargeError, InvalidURLError, RemoteProtocolError, TooManyFieldsError

from .target import split_target

__all__ = [
    "MAX_BLANK_LINES",
    "MAX_METHOD_BYTES",
    "MAX_NAME_BYTES",
    "TEXT",
    "LineScanner",
    "RequestScanner",
    "ResponseScanner",
    "TrailerScanner",
    "refuse",
]

TEXT: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""Every byte that a line of a head may hold (RFC 9110 §5.5)."""
MAX_METHOD_BYTES: Final = 32
MAX_NAME_BYTES: Final = 256
MAX_BLANK_LINES: Final = 4
"""Empty lines in front of a start line that are skipped (RFC 9112 §2.2)."""

_BREAK = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
_STATUS_LINE = re.compile(rb"HTTP/([0-9])\.[0-9] ([0-9]{3})(?: .*)?", re.DOTALL)
_VERSION = re.compile(rb"HTTP/[0-9]\.[0-9] ")


def refuse(
    slug: str, message: str, *, status: int = 400, at: str = "head", received: int = 0, detail: bytes = b""
) -> NoReturn:
    """Raise the RemoteProtocolError of that name."""
    raise RemoteProtocolError(
        message, slug=slug, suggested_status=status, at=at, received=received, detail=bytes(detail)
    )


class LineScanner:
    """Reads the lines of one section from the front of a growing buffer.

    Attributes:
        lenient: a bare LF ends a line and folded lines are let through (RFC 9112 §2.2, §5.2).
    """

    at = "head"
    lenient = False
    limit_name = "max_head_bytes"
    limit_slug = "head-too-large"
    fields_limit_name = "max_fields"

    __slots__ = ("_line_start", "_lines", "_max_bytes", "_max_fields", "_max_line", "_seen")

    def __init__(self, limits: WireLimits) -> None:
        self._max_line = limits.max_line_bytes
        self._max_bytes = limits.max_head_bytes
        self._max_fields = limits.max_fields
        self._line_start = 0
        self._lines = 0
        self._seen = 0

    def scan(self, data: bytes | bytearray) -> int:
        """Look at what is new in ``data`` and return the section's length once its empty line has come, else 0.

        Raises:
            RemoteProtocolError: the section can no longer become a good one.
        """
        while True:
            start = self._line_start
            match = _BREAK.search(data, self._seen)
            stop = len(data) if match is None else match.start()
            if not self._lines:
                self._check_beginning(bytes(data[: min(stop + 1, self._max_line, self._max_bytes, 64)]), stop)
            if stop - start > self._max_line and start + self._max_line < self._max_bytes:
                self._refuse_line(start + self._max_line + 1, data[start : start + self._max_line + 1])
            if stop + (match is not None) > self._max_bytes:
                self._refuse_size()
            if match is None:
                self._seen = stop
                return 0
            end = stop + 1
            if data[stop] == 0x0D:
                if end == len(data):
                    self._seen = stop
                    return 0
                if end >= self._max_bytes:
                    self._refuse_size()
                if data[end] != 0x0A:
                    self._refuse("bare-cr", "a CR without LF in a line", end + 1, data[start : end + 1])
                end += 1
            elif data[stop] != 0x0A:
                self._refuse("ctl-in-head", "a control character in a line", end, data[start:end])
            elif not self.lenient:
                self._refuse("bare-lf", "a line that ends in LF alone", end, data[start:end])
            if stop == start and self._lines:
                return end
            self._check_line(bytes(data[start:stop]), end)
            self._lines += 1
            self._line_start = self._seen = end

    def _check_beginning(self, beginning: bytes, stop: int) -> None:
        """Judge the first bytes of the first line, whose text ends at ``stop`` or goes on."""

    def _check_start_line(self, line: bytes, end: int) -> None:
        """Judge the first line, where the section begins with one that is no field line."""

    def _check_line(self, line: bytes, end: int) -> None:
        if self._lines == 0:
            self._check_start_line(line, end)
        else:
            self._check_field_line(line, end)

    def _check_field_line(self, line: bytes, end: int) -> None:
        if self._lines > self._max_fields:
            raise TooManyFieldsError(
                f"more than {self._max_fields} field lines",
                limit=self.fields_limit_name,
                bound=self._max_fields,
                slug="too-many-fields",
                at=self.at,
                received=end,
                detail=line,
            )
        if line[0] in b" \t":
            if not self.lenient or self._lines == 1:
                self._refuse("obs-fold", "a folded field line", end, line)
            return
        name, colon, _ = line.partition(b":")
        if not colon:
            self._refuse("header-name", "a field line without a colon", end, line)
        if not _NAME.fullmatch(name):
            if name[-1:] in (b" ", b"\t") and _NAME.fullmatch(name.rstrip(b" \t")):
                self._refuse("ws-before-colon", "white space between a field's name and its colon", end, line)
            self._refuse("header-name", "a field name that is not a token", end, line)
        if len(name) > MAX_NAME_BYTES:
            self._refuse_line(end, line)
        self._check_name(name, line, end)

    def _check_name(self, name: bytes, line: bytes, end: int) -> None:
        """Judge a field's name in its section."""

    def _refuse(self, slug: str, message: str, received: int, detail: bytes | bytearray, status: int = 400) -> NoReturn:
        refuse(slug, message, status=status, at=self.at, received=received, detail=bytes(detail[-80:]))

    def _refuse_line(self, received: int, detail: bytes | bytearray) -> NoReturn:
        raise HeadTooLargeError(
            f"a field line of more than {self._max_line} bytes, or a name of more than {MAX_NAME_BYTES}",
            limit="max_line_bytes",
            bound=self._max_line,
            slug="field-too-large",
            at=self.at,
            received=received,
            detail=bytes(detail[:80]),
        )

    def _refuse_size(self) -> NoReturn:
        raise HeadTooLargeError(
            f"a section of more than {self._max_bytes} bytes",
            limit=self.limit_name,
            bound=self._max_bytes,
            slug=self.limit_slug,
            at=self.at,
            received=self._max_bytes + 1,
        )


class RequestScanner(LineScanner):
    """The head of a request (RFC 9112 §3)."""

    __slots__ = ()

    def _check_beginning(self, beginning: bytes, stop: int) -> None:
        first = beginning[:1]
        if first == b"\x16":  # the content type of a TLS handshake record
            self._refuse("tls-on-http", "a TLS handshake where HTTP was expected", 1, first)
        if first and first not in b"\r\n" and not _NAME.match(first):
            self._refuse("request-line", "a request line must begin with a method", 1, first)
        method = beginning[: min(stop, MAX_METHOD_BYTES + 1)]
        if len(method) > MAX_METHOD_BYTES and b" " not in method:
            if not _NAME.fullmatch(method):
                self._refuse("request-line", "a request line must begin with a method", len(method), method)
            message = f"a method of more than {MAX_METHOD_BYTES} bytes"
            self._refuse("method-too-long", message, len(method), method, 501)

    def _check_start_line(self, line: bytes, end: int) -> None:
        match = _REQUEST_LINE.fullmatch(line)
        if match is None:
            self._refuse("request-line", "not a request line", end, line[:80])
        method, target, version = match.groups()
        if version not in (b"1.1", b"1.0"):
            if method == b"PRI" and target == b"*":
                self._refuse("h2-preface", "an HTTP/2 preface where HTTP/1.1 was expected", end, line[:80], 505)
            self._refuse("http-version", "neither HTTP/1.1 nor HTTP/1.0", end, line[-80:], 505)
        try:
            split_target(method, target)
        except InvalidURLError as exc:
            self._refuse("target", str(exc), end, line[:80])

    def _refuse_line(self, received: int, detail: bytes | bytearray) -> NoReturn:
        if self._lines:
            super()._refuse_line(received, detail)
        raise HeadTooLargeError(
            f"a request line of more than {self._max_line} bytes",
            limit="max_line_bytes",
            bound=self._max_line,
            slug="uri-too-long",
            suggested_status=414,
            received=received,
            detail=bytes(detail[:80]),
        )


class ResponseScanner(LineScanner):
    """The head of a response (RFC 9112 §4); old servers' line ends and folds are let through."""

    lenient = True

    __slots__ = ()

    def _check_beginning(self, beginning: bytes, stop: int) -> None:
        name = b"HTTP/"
        for count in range(1, min(len(beginning), len(name)) + 1):
            if beginning[count - 1] != name[count - 1]:
                self._refuse("status-line", "not the beginning of a status line", count, beginning[:count])

    def _check_start_line(self, line: bytes, end: int) -> None:
        match = _STATUS_LINE.fullmatch(line)
        if match is None:
            if _VERSION.match(line):
                self._refuse("status", "not a status code of three digits", end, line[:80])
            self._refuse("status-line", "not a status line", end, line[:80])
        if match[1] != b"1":
            self._refuse("http-version", "not a response of HTTP/1", end, line[:80])
        if match[2] < b"100":
            self._refuse("status", "a status code below 100", end, line[:80])


class TrailerScanner(LineScanner):
    """A trailer section, from after the last chunk's line to its own empty line (RFC 9112 §7.1.2)."""

    at = "trailers"
    limit_name = "max_trailer_bytes"
    limit_slug = "trailers-too-large"
    fields_limit_name = "max_trailer_fields"

    __slots__ = ()

    def __init__(self, limits: WireLimits) -> None:
        super().__init__(limits)
        self._max_bytes = limits.max_trailer_bytes
        self._max_fields = limits.max_trailer_fields
        self._lines = 1  # there is no start line, and an empty line may come at once

    def _check_name(self, name: bytes, line: bytes, end: int) -> None:
        if name.lower() in FORBIDDEN_TRAILERS:
            self._refuse("trailer-forbidden", "a field that must not be a trailer", end, line)
