"""The small pieces of syntax that HTTP's fields share: tokens, quoted strings, parameters (RFC 9110 §5.6).

Rule 1: one pass over the text, no regular expression that can look at a character twice.
Rule 2: lenient towards what a peer sends (a malformed parameter is skipped), strict towards what a program writes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from triohttp.errors import clip

__all__ = ["check_method", "is_token", "quote_string", "split_list", "split_parameters"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MAX_METHOD_LENGTH = 32  # what the wire of a server takes; no registered method comes near


def is_token(text: str) -> bool:
    """Tell whether ``text`` is a token (RFC 9110 §5.6.2)."""
    return _TOKEN.fullmatch(text) is not None


def check_method(method: str) -> str:
    """Return ``method`` as it is (methods are case-sensitive) when it is a token of at most 32 characters.

    Raises:
        TypeError: it is not a str.
        ValueError: it is not such a token.
    Source: RFC 9110 §9.1.
    """
    if not isinstance(method, str):
        raise TypeError(f"method must be a str, not {clip(method)}")
    if len(method) > _MAX_METHOD_LENGTH or _TOKEN.fullmatch(method) is None:
        raise ValueError(f"method must be a token of at most {_MAX_METHOD_LENGTH} characters, not {clip(method)}")
    return method


def quote_string(text: str) -> str:
    """Return ``text`` as a token when it is one, else as a quoted-string.

    Raises:
        ValueError: it holds a control character other than HTAB, or one outside latin-1.
    Source: RFC 9110 §5.6.4.
    """
    if _TOKEN.fullmatch(text):
        return text
    for character in text:
        if character > "\xff" or (character < " " and character != "\t") or character == "\x7f":
            raise ValueError(f"a quoted string cannot hold {clip(character)} (in {clip(text)})")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def split_list(text: str, separator: str = ",") -> Iterator[str]:
    """Yield the elements between separators that are not inside quotes, outer whitespace and empty ones left out.

    A quote that is never closed takes the rest of the text. Source: RFC 9110 §5.6.1.
    """
    if '"' not in text:
        for piece in text.split(separator):
            if piece := piece.strip(" \t"):
                yield piece
        return
    start = position = 0
    end = text.find(separator)
    while True:
        if 0 <= end < position:  # kept as long as it lies ahead: looking again after every quote would be quadratic
            end = text.find(separator, position)
        quote = text.find('"', position, end if end >= 0 else len(text))
        if quote >= 0:
            position = _after_quotes(text, quote)[1]
            continue
        piece = text[start:] if end < 0 else text[start:end]
        if piece := piece.strip(" \t"):
            yield piece
        if end < 0:
            return
        start = position = end + 1


def split_parameters(text: str) -> Iterator[tuple[str, str]]:
    """Yield the ``name=value`` parameters of ``;a=1; b="x"``: names in lower case, values without their quotes.

    What is not a parameter is skipped. Source: RFC 9110 §5.6.6.
    """
    for piece in split_list(text, ";"):
        name, equals, value = piece.partition("=")
        if not equals or not _TOKEN.fullmatch(name):
            continue
        if value[:1] == '"':
            value = _after_quotes(value, 0)[0]
        yield name.lower(), value


def _after_quotes(text: str, start: int) -> tuple[str, int]:
    """Read the quoted-string at ``start``; return what it says and the place behind it."""
    pieces: list[str] = []
    position = start + 1
    end = text.find('"', position)
    while position < len(text):
        if 0 <= end < position:  # it was escaped
            end = text.find('"', position)
        stop = end if end >= 0 else len(text)
        backslash = text.find("\\", position, stop)
        if backslash < 0:
            pieces.append(text[position:stop])
            return "".join(pieces), min(stop + 1, len(text))
        pieces.append(text[position:backslash])
        pieces.append(text[backslash + 1 : backslash + 2])
        position = backslash + 2
    return "".join(pieces), len(text)
