"""Plain heads of HTTP/1.1, read and written without h11, which takes ten times as long for one.

What is plain: a request head whose fields have nothing to do with framing, and the head of a final response of HTTP/1.1
whose content has a stated length, is chunked, or that has none. docs/decisions/0014 says more.

Rule 1: whatever is not plain, be it good or bad, is None here and left to h11, which then sees all of it; a property
        test holds that both ways make the same of every head.
Rule 2: no state: what has come before is the wire's to know.
Rule 3: the guard of h1_receiving.py comes first: a head that is read here is whole and within its limits, all of its
        lines end in CRLF, and it holds no control characters.
"""

from __future__ import annotations

import re
from typing import Any, Final, TypeAlias

import h11

from triohttp._values.headers import FieldIndex, index_lines

from .events import FieldLines
from .fields import says_close

__all__ = [
    "PlainRequest",
    "PlainResponse",
    "read_response",
    "read_trailers",
    "replay_request",
    "write_fields",
    "write_request_line",
]

PlainRequest: TypeAlias = tuple[str, str, FieldLines]
"""Method, target, and all fields that went out."""
PlainResponse: TypeAlias = tuple[int, FieldLines, FieldIndex, int | None, bool]
"""Status, fields, the fields by name, bytes of content (None when it is chunked), whether the connection goes on."""

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TARGET = re.compile(r"[\x21-\x7e]+")
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_DELICATE: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect", b"te"}
)
"""Request fields that h11 looks into, but for the Host field in its usual place, which is the first."""

# Possessive and bounded: no head makes them try anything twice.
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*+)?+\r\n")
_FIELD_LINE = re.compile(
    rb"(?<=\n)([-!#$%&'*+.^_`|~0-9A-Za-z]{1,256}+):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)(?<![ \t])\r\n"
)
"""One field line without white space at its end; anchored to the line before, so that a line is found whole or not."""


def write_request_line(method: str, target: str) -> bytes | None:
    """Return the first line of a request, None when it is not a plain one."""
    if method not in _METHODS or _TARGET.fullmatch(target) is None:
        return None
    return f"{method} {target} HTTP/1.1\r\n".encode("ascii")


def write_fields(fields: FieldLines) -> bytes | None:
    """Return the field lines of a request, None when they are not plain ones with Host at their head."""
    if not fields or fields[0][0].lower() != b"host":
        return None
    for name, value in fields:
        if _NAME.fullmatch(name) is None or _VALUE.fullmatch(value) is None:
            return None
    if not _DELICATE.isdisjoint([name.lower() for name, _ in fields[1:]]):
        return None
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def replay_request(connection: h11.Connection, request: PlainRequest, content_bytes: int, *, over: bool) -> None:
    """Show h11 a request, or the part of it that has gone out: some content, and its end when it is over."""
    method, target, fields = request
    connection.send(h11.Request(method=method, target=target, headers=fields))
    if content_bytes:
        content: Any = range(content_bytes)  # it only counts: nobody looks at more than the length
        connection.send_with_data_passthrough(h11.Data(data=content))
    if over:
        connection.send(h11.EndOfMessage())


def read_trailers(section: bytes) -> FieldLines:
    """Return the fields of a trailer section with its empty line, which the gate for chunked content has passed."""
    fields: FieldLines = []
    for line in section.split(b"\r\n")[:-2]:
        name, _, value = line.partition(b":")
        fields.append((name, value.strip(b" \t")))
    return fields


def read_response(head: bytes, field_lines: int) -> PlainResponse | None:
    """Return what a response head says, None when it is not a plain one.

    Args:
        head: the whole head, which the guard has passed (Rule 3).
        field_lines: how many lines it has between its first and its empty one.
    Source: RFC 9112 §4, §5, §6.
    """
    start = _STATUS_LINE.match(head)
    if start is None:
        return None
    lines: FieldLines = _FIELD_LINE.findall(head, start.end() - 1)
    if len(lines) != field_lines:
        return None
    index = index_lines(lines)
    status = int(start[1])
    length = index.get(b"content-length")
    coding = index.get(b"transfer-encoding")
    size: int | None = None
    if length is not None:
        if coding is not None or not (isinstance(length, bytes) and length.isdigit() and len(length) <= 18):
            return None
        size = int(length)
    elif coding is not None:
        if coding != b"chunked":
            return None
    elif status != 204 and status != 304:
        return None
    if status == 204 or status == 304:
        size = 0
    connection = index.get(b"connection")
    if connection is None or connection == b"keep-alive":
        return status, lines, index, size, True
    return None if isinstance(connection, list) else (status, lines, index, size, not says_close(connection))
