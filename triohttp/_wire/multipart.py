"""The bytes of multipart/form-data: boundaries and the heads of parts (RFC 7578), as browsers write them.

    --boundary CRLF head CRLF CRLF content CRLF
    --boundary CRLF head CRLF CRLF content CRLF
    --boundary-- CRLF

Rule 1: names and filenames are UTF-8 with three characters percent-encoded, quote, CR and LF: so do browsers, and
        servers expect it; ``filename*`` is for other kinds of fields (RFC 7578 §4.2).
Rule 2: nothing that a program says about a part can add a line to its head.
Rule 3: contents are not looked at. A boundary is drawn at random after them, so that nobody who made one of them can
        have put it there; 128 bits do not occur in the rest by accident.
"""

from __future__ import annotations

import re
import secrets
from typing import Final

from triohttp.errors import LocalProtocolError, clip

from .events import FieldLines

__all__ = ["check_boundary", "encode_end", "encode_part_head", "make_boundary"]

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def make_boundary() -> str:
    """Return a boundary that nobody can guess: 32 octets, of which 128 bits are random; it needs no quotes."""
    return secrets.token_hex(16)


def check_boundary(boundary: str) -> str:
    """Return a boundary that may stand between parts.

    Raises:
        LocalProtocolError: it is empty, longer than 70 octets, ends with a space, or has others than ``bchars`` in it.
    Source: RFC 2046 §5.1.1.
    """
    if _BOUNDARY.fullmatch(boundary) is None:
        raise LocalProtocolError(
            f"a boundary has 1 to 70 octets of those in RFC 2046 §5.1.1, not {clip(boundary)}", slug="boundary"
        )
    return boundary


def encode_part_head(boundary: str, name: str, filename: str | None, fields: FieldLines) -> bytes:
    """Return what comes before the content of a part; after the content comes CRLF.

    Args:
        boundary: what stands between the parts.
        name: the form field's name.
        filename: the file's name; None for a field that is no file.
        fields: more header fields, such as Content-Type, as ``Headers`` has checked them.
    Source: RFC 7578 §4.2, §4.4; HTML §4.10.21.8, for the escapes.
    """
    lines = [b"--", boundary.encode("ascii"), b'\r\nContent-Disposition: form-data; name="', _escape(name), b'"']
    if filename is not None:
        lines += [b'; filename="', _escape(filename), b'"']
    for field, value in fields:
        lines += [b"\r\n", field, b": ", value]
    lines.append(b"\r\n\r\n")
    return b"".join(lines)


def encode_end(boundary: str) -> bytes:
    """Return what comes after the last part, or instead of any."""
    return b"--" + boundary.encode("ascii") + b"--\r\n"


def _escape(text: str) -> bytes:
    text = text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    # The name of a file that is no UTF-8 comes from the system with surrogates in it, which have no encoding.
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text).encode("utf-8")
