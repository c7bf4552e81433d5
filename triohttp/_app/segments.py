"""The segments of path patterns: what each kind matches, how specific it is, and how it is written back.

A segment is compared with one segment of a request's path, percent-decoded once; so ``%2F`` stays inside its segment.
Two kinds match all of the rest: the tail, and expressions that reach across slashes.

Rule 1: at one place literal > mixed > converter > regex > plain > tail; ``rank`` sorts, ``key`` tells equals.
Rule 2: what ``build`` writes, ``match`` reads as the same values; else ``build`` raises ValueError.
Rule 3: a match costs linear time in the text, as long as the program's own expressions do.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Protocol, TypeAlias
from urllib.parse import quote, unquote

from triohttp.errors import RoutingError, clip

from .converters import BOUNDED_CONVERTERS, BUILTIN_CONVERTERS, Converter, RegexConverter

__all__ = ["Literal", "Mixed", "Parts", "Rank", "Segment", "Spanning", "Tail", "Variable"]

_SEGMENT_SAFE = "!$&'()*+,;=:@~"  # RFC 3986 §3.3: pchar without what must be encoded
_PLAIN, _PATH = BUILTIN_CONVERTERS["str"], BUILTIN_CONVERTERS["path"]
_BUILTIN_ORDER = {id(converter): number for number, converter in enumerate(BUILTIN_CONVERTERS.values())}
_OWN_ORDER = len(BUILTIN_CONVERTERS)


class Rank(enum.IntEnum):
    """How specific a segment is; the lower is tried first."""

    LITERAL = 0
    MIXED = 1
    CONVERTER = 2
    REGEX = 3
    PLAIN = 4
    SPANNING = 5
    TAIL = 6


class Segment(Protocol):
    """One segment of a pattern, or all of its rest (``spans``)."""

    @property
    def rank(self) -> tuple[int, int, str]:
        """What it is tried by; equals are tried in the order of their addition."""
        ...

    @property
    def key(self) -> Hashable:
        """Equal for segments that match the same texts."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The variables in it."""
        ...

    @property
    def spans(self) -> bool:
        """It matches the whole rest of a path, not one segment."""
        ...

    def match(self, texts: Sequence[str], index: int) -> tuple[object, ...] | None:
        """Return the variables' values, None when it does not match.

        Args:
            texts: the segments of a path, decoded.
            index: the one to match; for a segment that ``spans``, the first of the rest.
        """
        ...

    def build(self, values: Mapping[str, object]) -> str:
        """Return the raw text of the segment with these values; ValueError when it would not match."""
        ...


class Literal:
    """A segment without variables."""

    __slots__ = ("text",)

    names = ()
    spans = False
    rank = (Rank.LITERAL, 0, "")

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def key(self) -> str:
        return self.text

    def match(self, texts: Sequence[str], index: int) -> tuple[object, ...] | None:
        return () if texts[index] == self.text else None

    def build(self, values: Mapping[str, object]) -> str:
        return quote(self.text, safe=_SEGMENT_SAFE)


class Variable:
    """A variable that fills its segment."""

    __slots__ = ("converter", "key", "names", "rank")

    spans = False

    def __init__(self, name: str, converter: Converter) -> None:
        self.names = (name,)
        self.converter = converter
        self.key: Hashable
        if isinstance(converter, RegexConverter):
            self.rank = (Rank.REGEX, 0, "")
            self.key = (Rank.REGEX, converter.regex)
        elif converter is _PLAIN:
            self.rank = (Rank.PLAIN, 0, "")
            self.key = Rank.PLAIN
        else:
            self.rank = (Rank.CONVERTER, _BUILTIN_ORDER.get(id(converter), _OWN_ORDER), "")
            self.key = (Rank.CONVERTER, id(converter))  # the pattern keeps it alive, so the id stays its own

    def match(self, texts: Sequence[str], index: int) -> tuple[object, ...] | None:
        try:
            return (self.converter.parse(texts[index]),)
        except ValueError:
            return None

    def build(self, values: Mapping[str, object]) -> str:
        text = self.converter.format(values[self.names[0]])
        self.converter.parse(text)
        return quote(text, safe=_SEGMENT_SAFE)


Parts: TypeAlias = Sequence["str | Variable"]


class Mixed:
    """Variables and literal text that share a segment: ``{name}.{ext}``, ``v{major:int}``.

    A plain variable takes as much as it can, unless a plain one, an expression or an own converter stands before it:
    then it does not hold the literal in front of it, so that there are not two places for the border between them, and
    a match costs linear time.
    """

    __slots__ = ("_fullmatch", "_parts", "_variables", "key", "names", "rank")

    spans = False

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._variables = [part for part in parts if isinstance(part, Variable)]
        self.names = tuple(variable.names[0] for variable in self._variables)
        literals = sum(len(part) for part in parts if isinstance(part, str))
        # Of two with as much text the alphabet decides, so that the order of addition does not; "{" stands behind all
        # that is usual in paths, and a variable's own rank in front of the rest about it.
        shape = [p if isinstance(p, str) else f"{{{p.rank[0]:d}{p.rank[1]}{p.converter.regex}" for p in parts]
        self.rank = (Rank.MIXED, -literals, "".join(shape))
        self.key = (Rank.MIXED, tuple(part if isinstance(part, str) else part.key for part in parts))
        self._fullmatch = _compile(_mixed_regex(parts))

    def match(self, texts: Sequence[str], index: int) -> tuple[object, ...] | None:
        found = self._fullmatch(texts[index])
        if found is None:
            return None
        try:
            return tuple(
                variable.converter.parse(found[f"_{number}"]) for number, variable in enumerate(self._variables)
            )
        except ValueError:
            return None

    def build(self, values: Mapping[str, object]) -> str:
        texts = [
            part if isinstance(part, str) else part.converter.format(values[part.names[0]]) for part in self._parts
        ]
        text = "".join(texts)
        wanted = [text for text, part in zip(texts, self._parts, strict=True) if not isinstance(part, str)]
        found = self._fullmatch(text)
        if found is None or [found[f"_{number}"] for number in range(len(wanted))] != wanted:
            raise ValueError(f"{clip(text)} would not be read back as {clip(wanted)}")
        return quote(text, safe=_SEGMENT_SAFE)


class Tail:
    """The rest of a path, as one value: ``{rest:path}``."""

    __slots__ = ("names",)

    spans = True
    rank = (Rank.TAIL, 0, "")
    key = Rank.TAIL

    def __init__(self, name: str) -> None:
        self.names = (name,)

    def match(self, texts: Sequence[str], index: int) -> tuple[object, ...] | None:
        return ("/".join(texts[index:]),)

    def build(self, values: Mapping[str, object]) -> str:
        return quote(_PATH.format(values[self.names[0]]), safe=_SEGMENT_SAFE + "/")


class Spanning:
    """The rest of a pattern in which an inline regular expression reaches across slashes: ``{day:[0-9]+/[0-9]+}``.

    It is matched on the path in its one canonical encoding, since a decoded one could not tell ``%2F`` from ``/``;
    values are decoded after.
    """

    __slots__ = ("_fullmatch", "_segments", "_variables", "key", "names")

    spans = True
    rank = (Rank.SPANNING, 0, "")

    def __init__(self, segments: Sequence[Parts]) -> None:
        self._segments = segments
        self._variables = [part for parts in segments for part in parts if isinstance(part, Variable)]
        self.names = tuple(variable.names[0] for variable in self._variables)
        number = 0
        expressions: list[str] = []
        for parts in segments:
            expression = ""
            for part in parts:
                if isinstance(part, str):
                    expression += re.escape(quote(part, safe=_SEGMENT_SAFE))
                else:
                    inner = "[^/]+" if part.converter is _PLAIN else part.converter.regex
                    expression += f"(?P<_{number}>{inner})"
                    number += 1
            expressions.append(expression)
        regex = "/".join(expressions)
        self.key = (Rank.SPANNING, regex)
        self._fullmatch = _compile(regex)

    def match(self, texts: Sequence[str], index: int) -> tuple[object, ...] | None:
        found = self._fullmatch("/".join([quote(text, safe=_SEGMENT_SAFE) for text in texts[index:]]))
        if found is None:
            return None
        values: list[object] = []
        for number, variable in enumerate(self._variables):
            value = unquote(found[f"_{number}"], errors="strict")
            if isinstance(variable.converter, RegexConverter):
                values.append(value)  # it has matched already, in the canonical encoding
                continue
            try:
                values.append(variable.converter.parse(value))
            except ValueError:
                return None
        return tuple(values)

    def build(self, values: Mapping[str, object]) -> str:
        built: list[str] = []
        wanted: list[str] = []
        for parts in self._segments:
            text = ""
            for part in parts:
                if isinstance(part, str):
                    text += quote(part, safe=_SEGMENT_SAFE)
                    continue
                value = values[part.names[0]]
                if isinstance(part.converter, RegexConverter):
                    wanted.append(quote(_PLAIN.format(value), safe=_SEGMENT_SAFE + "/"))
                else:
                    wanted.append(quote(part.converter.format(value), safe=_SEGMENT_SAFE))
                text += wanted[-1]
            built.append(text)
        path = "/".join(built)
        found = self._fullmatch(path)
        if found is None or [found[f"_{number}"] for number in range(len(wanted))] != wanted:
            raise ValueError(f"{clip(path)} would not be read back as {clip(wanted)}")
        return path


def _compile(regex: str) -> Callable[[str], re.Match[str] | None]:
    """Return the matcher of an expression that was put together of those of converters.

    Raises:
        RoutingError: one of those cannot be a part: it has flags for all of it, or refers back to groups by number.
    """
    try:
        return re.compile(regex).fullmatch
    except re.error as exc:
        raise RoutingError(f"an expression cannot stand beside other text as {clip(regex)}: {exc}") from None


def _mixed_regex(parts: Parts) -> str:
    """Return the expression of a mixed segment; ``Mixed`` says which plain variables are free of the literal before."""
    expression = ""
    number = 0
    before = ""
    bounded = True
    for part in parts:
        if isinstance(part, str):
            expression += re.escape(part)
            before = part
            continue
        inner = part.converter.regex
        if part.converter is _PLAIN and not bounded:
            inner = f"(?s:(?!{re.escape(before)}).)+"
        bounded = bounded and part.converter in BOUNDED_CONVERTERS
        expression += f"(?P<_{number}>{inner})"
        number += 1
    return expression
