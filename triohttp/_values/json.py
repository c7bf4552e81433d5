"""JSON content in and out (RFC 8259), bounded before it is parsed.

Rule 1: UTF-8 and nothing else; a byte order mark, other encodings and halves of surrogate pairs are refused.
Rule 2: nesting is bounded by looking at the bytes, so that the parser never comes near the interpreter's stack.
Rule 3: what JSON does not have is refused in both directions: NaN, Infinity, numbers that become one of them.
Rule 4: a peer's mistake is a ContentError; a value that JSON cannot say is our program's mistake and stays the
        TypeError or ValueError that it is.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final, NoReturn, TypeAlias

from triohttp.errors import ContentError, clip

__all__ = ["JSONValue", "dumps", "loads"]

JSONValue: TypeAlias = object
"""What ``loads`` returns: dict, list, str, int, float, bool or None; callers narrow it."""

_TO_SQUARE: Final = bytes.maketrans(b"{}", b"[]")
_NEITHER_BRACKETS_NOR_QUOTES: Final = bytes(octet for octet in range(256) if octet not in b'[]{}"')
_SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def loads(data: bytes, *, max_depth: int = 64, unique_keys: bool = False) -> JSONValue:
    """Return the value that ``data`` says.

    Args:
        max_depth: bound on arrays and objects inside one another.
        unique_keys: refuse an object that has a name twice; else the last one counts.
    Raises:
        ContentError: ``json``: it is not JSON in UTF-8, too deep, or has a number that Python cannot hold: one that
            overflows, or an integer of more digits than the interpreter's own bound (``sys.int_info``, 4300).
    Source: RFC 8259.
    """
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError as exc:
        raise ContentError(f"JSON content must be UTF-8: {exc.reason} at byte {exc.start}", reason="json") from exc
    if text[:1] == "\ufeff":
        raise ContentError("JSON content must not begin with a byte order mark", reason="json")
    if data.count(b"[") + data.count(b"{") > max_depth and _depth(data, max_depth) > max_depth:
        raise ContentError(f"JSON content must be nested at most {max_depth} deep", reason="json")
    try:
        value: JSONValue = (_UNIQUE_DECODER if unique_keys else _DECODER).decode(text)
    except (ValueError, RecursionError) as exc:
        raise ContentError(f"not JSON: {clip(str(exc))}", reason="json") from exc
    if _SURROGATE_ESCAPE.search(data):
        try:
            _ENCODER.encode(value).encode("utf-8")  # pairs come out as characters, halves cannot
        except UnicodeEncodeError as exc:
            raise ContentError("JSON content must not hold half a surrogate pair", reason="json") from exc
    return value


def dumps(value: object) -> bytes:
    """Return ``value`` as JSON: UTF-8, without spaces.

    Raises:
        TypeError: a part of it is nothing that JSON has.
        ValueError: it holds NaN, an infinity, half a surrogate pair, or itself.
    """
    return _ENCODER.encode(value).encode("utf-8")


def _depth(data: bytes, enough: int) -> int:
    """Return how deep the brackets outside strings are nested, without looking much beyond ``enough``.

    Each step works on all bytes at once; there are at most ``enough`` + 1 rounds of them.
    """
    # Without its escapes a string cannot hold a quote, so every second piece between quotes is inside a string.
    # Pairs of backslashes go first: a run of them always begins with a whole escape.
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    data = data.translate(_TO_SQUARE, _NEITHER_BRACKETS_NOR_QUOTES)
    # Quotes that now stand side by side enclose nothing, or part two strings between which nothing stands.
    brackets = b"".join(data.replace(b'""', b"").split(b'"')[::2])
    depth = 0
    while depth <= enough:  # each round takes the innermost pairs away
        shorter = brackets.replace(b"[]", b"")
        if len(shorter) == len(brackets):
            break
        brackets = shorter
        depth += 1
    return depth + brackets.count(b"[")  # what is never closed, or not within the bound, counts as nested


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"number out of range: {clip(digits)}")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _unique(pairs: list[tuple[str, JSONValue]]) -> dict[str, JSONValue]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("an object has the same name twice")
    return value


_DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)
_UNIQUE_DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant, object_pairs_hook=_unique)
