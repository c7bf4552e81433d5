"""Converters: what the variable of a path pattern may stand for, and how its value is written back into a path.

Rule 1: a converter sees one segment, percent-decoded once; ``path`` alone sees several.
Rule 2: ``parse(format(value)) == value``: what ``url_for`` writes routes back.
Rule 3: a match costs linear time in the text, whatever the peer sends: the expressions are bounded character classes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from typing import ClassVar, Protocol

from triohttp.errors import RoutingError, clip

__all__ = ["BOUNDED_CONVERTERS", "BUILTIN_CONVERTERS", "Converter", "PathConverter", "PlainConverter", "RegexConverter"]


class Converter(Protocol):
    """What a ``{name:converter}`` of a path pattern uses; own ones are given to ``Router(converters=…)``."""

    @property
    def regex(self) -> str:
        """A regular expression that every acceptable text matches, and that never matches ``/``.

        It decides where a variable ends in a segment that holds more than that variable.
        """
        ...

    def parse(self, text: str) -> object:
        """Return the value of ``text``; ValueError means that this route does not match."""
        ...

    def format(self, value: object) -> str:
        """Return the text of ``value``; ValueError means that no text stands for it."""
        ...


class PlainConverter:
    """Any text of at least one character: ``{name}`` and ``{name:str}``."""

    regex: ClassVar[str] = "(?s:.+)"

    def parse(self, text: str) -> str:
        if not text:
            raise ValueError("an empty segment is no value")
        return text

    def format(self, value: object) -> str:
        return _text(value)


class PathConverter:
    """The rest of the path, slashes included, possibly empty: ``{name:path}``."""

    regex: ClassVar[str] = "(?s:.*)"

    def parse(self, text: str) -> str:
        return text

    def format(self, value: object) -> str:
        return _text(value)


class IntConverter:
    """A whole number of at most 18 digits: ``{name:int}``."""

    regex: ClassVar[str] = "-?[0-9]{1,18}"
    _fullmatch = re.compile(regex).fullmatch

    def parse(self, text: str) -> int:
        if self._fullmatch(text) is None:
            raise ValueError(f"not a whole number: {clip(text)}")
        return int(text)

    def format(self, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError(f"not a whole number: {clip(value)}")
        return str(self.parse(str(value)))


class FloatConverter:
    """A decimal number without an exponent, of at most 18 digits on each side of the point: ``{name:float}``."""

    regex: ClassVar[str] = r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?"
    _fullmatch = re.compile(regex).fullmatch

    def parse(self, text: str) -> float:
        if self._fullmatch(text) is None:
            raise ValueError(f"not a decimal number: {clip(text)}")
        return float(text)

    def format(self, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError(f"not a decimal number: {clip(value)}")
        number = float(value)
        text = repr(number)
        if self._fullmatch(text) is None:  # an exponent, an infinity or a NaN
            text = f"{number:.18f}".rstrip("0").rstrip(".")
            if self.parse(text) != number:
                raise ValueError(f"{value!r} has too many digits for a path")
        return text


class UUIDConverter:
    """A UUID in its canonical form, 8-4-4-4-12 hexadecimal digits: ``{name:uuid}``."""

    regex: ClassVar[str] = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
    _fullmatch = re.compile(regex).fullmatch

    def parse(self, text: str) -> uuid.UUID:
        if self._fullmatch(text) is None:
            raise ValueError(f"not a UUID: {clip(text)}")
        return uuid.UUID(text)

    def format(self, value: object) -> str:
        return str(value if isinstance(value, uuid.UUID) else self.parse(str(value)))


class RegexConverter:
    """Text that an inline regular expression matches whole: ``{name:[a-z]+}``."""

    def __init__(self, regex: str) -> None:
        try:
            self._fullmatch = re.compile(regex).fullmatch
        except re.error as exc:
            raise RoutingError(f"bad regular expression {clip(regex)}: {exc}") from None
        if re.compile(regex).groupindex:
            raise RoutingError(f"the regular expression {clip(regex)} must not name groups of its own")
        self.regex = regex

    def parse(self, text: str) -> str:
        if self._fullmatch(text) is None:
            raise ValueError("the expression does not match")
        return text

    def format(self, value: object) -> str:
        return self.parse(_text(value))


def _text(value: object) -> str:
    """Return the text of a value, but not of those whose text nobody means: ``None``, ``b'…'``."""
    if value is None or isinstance(value, (bytes, bytearray, memoryview)):
        raise ValueError(f"not a text: {clip(value)}")
    return str(value)


BUILTIN_CONVERTERS: dict[str, Converter] = {
    # The order is the order in which they are tried at one place: whole numbers are decimal numbers too.
    "int": IntConverter(),
    "uuid": UUIDConverter(),
    "float": FloatConverter(),
    "str": PlainConverter(),
    "path": PathConverter(),
}
BOUNDED_CONVERTERS: Sequence[Converter] = [BUILTIN_CONVERTERS[name] for name in ("int", "uuid", "float")]
"""Those whose texts are short, so that looking for their end costs constant time."""
