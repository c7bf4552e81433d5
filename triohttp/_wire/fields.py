"""What the fields of a head must say for a message to be framed and routed without doubt, and the names of the faults.

``h1.py`` checks ordinary heads in its own loop; when something is out of the ordinary it calls ``examine_request`` or
``examine_response``, which go over the whole head again, slowly, and raise the error that says what is wrong.

Rule 1: a message that two recipients could frame differently is refused, even where the RFC lets a recipient repair it.
Rule 2: these functions accept exactly what the loop in ``h1.py`` accepts; a test holds the two together.
"""

from __future__ import annotations

import re
from typing import Final, NoReturn

from triohttp._values.authority import parse_authority
from triohttp._values.limits import WireLimits
from triohttp.errors import InvalidURLError

from .events import FieldLines
from .strict import RequestScanner, ResponseScanner, refuse

__all__ = ["MAX_LENGTH", "SINGLETONS", "examine_request", "examine_response", "parse_length", "says_close"]

MAX_LENGTH: Final = 2**63 - 1
"""The largest length that a message may announce, in bytes; what counts in 64 bits wraps above it."""

SINGLETONS: Final = frozenset({b"authorization", b"content-range", b"content-type", b"max-forwards", b"user-agent"})
"""Request fields of one value, besides Host and the framing fields: of two lines somebody will use the wrong one."""

_LENGTH = re.compile(rb"[0-9]{1,19}")
_LINE_END = re.compile(rb"\r?\n")


def parse_length(value: bytes) -> int | None:
    """Return the number of a Content-Length value, None unless it is 1 to 19 digits and at most ``MAX_LENGTH``."""
    if _LENGTH.fullmatch(value) is None:
        return None
    length = int(value)
    return length if length <= MAX_LENGTH else None


def says_close(value: bytes) -> bool:
    """Return whether a Connection value holds the ``close`` option (RFC 9112 §9.6)."""
    return any(option.strip(b" \t") == b"close" for option in value.lower().split(b","))


def examine_request(head: bytes, limits: WireLimits) -> None:
    """Raise the error that a request head deserves; return if it deserves none.

    Raises:
        RemoteProtocolError: with the cause as its slug.
    Source: RFC 9112 §3.2, §6; RFC 9110 §5.3, §7.2, §8.6, §10.1.1.
    """
    RequestScanner(limits).scan(head)
    start_line, fields = _parse_head(head)
    version = start_line[-8:]
    hosts = _values(fields, b"host")
    if not hosts and version == b"HTTP/1.1":
        _refuse("host-missing", "an HTTP/1.1 request without Host", head, start_line)
    if len(hosts) > 1:
        _refuse("host-dup", "more than one Host field", head, hosts[1])
    if hosts:
        try:
            parse_authority(hosts[0])
        except InvalidURLError as exc:
            _refuse("host-invalid", f"a Host field that is {exc}", head, hosts[0])
    lengths = _values(fields, b"content-length")
    _check_codings(head, _values(fields, b"transfer-encoding"), lengths, version)
    if len(lengths) > 1:
        _refuse("cl-dup", "more than one Content-Length field", head, lengths[1])
    if lengths and parse_length(lengths[0]) is None:
        _refuse("cl-invalid", "a Content-Length that is no length", head, lengths[0])
    for name in sorted(SINGLETONS):
        values = _values(fields, name)
        if len(values) > 1:
            _refuse("dup-singleton", f"more than one {name.decode('ascii')} field", head, values[1])
    if version == b"HTTP/1.1":  # RFC 9110 §10.1.1: a server ignores the expectations of HTTP/1.0
        for value in _values(fields, b"expect"):
            if value.lower() != b"100-continue":
                _refuse("expect", "an expectation other than 100-continue", head, value, 417)


def examine_response(head: bytes, limits: WireLimits) -> None:
    """Raise the error that a response head deserves; return if it deserves none.

    Raises:
        RemoteProtocolError: with the cause as its slug.
    Source: RFC 9112 §4, §6.
    """
    ResponseScanner(limits).scan(head)
    start_line, fields = _parse_head(head)
    lengths = [part for value in _values(fields, b"content-length") for part in value.split(b",")]
    _check_codings(head, _values(fields, b"transfer-encoding"), lengths, start_line[:8])
    if lengths:
        # RFC 9110 §8.6 lets a recipient take equal values for one.
        different = {length.strip(b" \t") for length in lengths}
        if len(different) > 1 or parse_length(different.pop()) is None:
            _refuse("cl-invalid", "a Content-Length that is no length, or several", head, b",".join(lengths))


def _check_codings(head: bytes, codings: list[bytes], lengths: list[bytes], version: bytes) -> None:
    """Refuse every Transfer-Encoding but a single ``chunked`` in HTTP/1.1 without Content-Length (RFC 9112 §6.1)."""
    if not codings:
        return
    value = codings[0].lower()
    if len(codings) > 1:
        _refuse("te-dup", "more than one Transfer-Encoding field", head, codings[1])
    if lengths:
        _refuse("te-and-cl", "both Transfer-Encoding and Content-Length", head, value)
    if version == b"HTTP/1.0":
        _refuse("te-in-1.0", "Transfer-Encoding in HTTP/1.0", head, value)
    if value == b"chunked":
        return
    elements = [element.strip(b" \t") for element in value.split(b",")]
    if not value or (b"chunked" in elements[:-1] and elements[-1]):
        _refuse("te-invalid", "a Transfer-Encoding in which chunked is not once and last", head, value)
    _refuse("te-unsupported", "a Transfer-Encoding other than chunked", head, value, 501)


def _parse_head(head: bytes) -> tuple[bytes, FieldLines]:
    """Return the start line and the fields of a head that a scanner passed: names in lower case, folds joined."""
    start_line, *lines = _LINE_END.split(head)
    fields: FieldLines = []
    for line in lines[:-2]:
        if line[0] in b" \t":
            name, value = fields.pop()
            fields.append((name, value + b" " + line.strip(b" \t")))
        else:
            name, _, value = line.partition(b":")
            fields.append((name.lower(), value.strip(b" \t")))
    return start_line, fields


def _values(fields: FieldLines, wanted: bytes) -> list[bytes]:
    return [value for name, value in fields if name == wanted]


def _refuse(slug: str, message: str, head: bytes, detail: bytes, status: int = 400) -> NoReturn:
    refuse(slug, message, status=status, received=len(head), detail=detail)
