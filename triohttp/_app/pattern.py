"""Path patterns: from ``/users/{id:int}/{file}.{ext}`` to segments that match texts and write them back.

Patterns are written decoded: ``/café au lait``, not ``/caf%C3%A9%20au%20lait``. A request's path is split at its raw
slashes, each segment is percent-decoded once, and a segment of the pattern is compared with the result; so ``%2F``
stays inside its segment.

Rule 1: a pattern is refused as a whole, with the reason, before anything has changed.
Rule 2: at one place literal > mixed > converter > regex > plain > tail; ``rank`` sorts, ``key`` tells equals.
Rule 3: what ``build`` writes is matched again before it is returned: this pattern reads the same values from it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Protocol, TypeAlias
from urllib.parse import quote, unquote

from triohttp.errors import RoutingError, clip

from .converters import (
    BOUNDED_CONVERTERS,
    BUILTIN_CONVERTERS,
    Converter,
    PathConverter,
    RegexConverter,
)

__all__ = ["Literal", "Pattern", "Rank", "Segment", "parse_pattern"]

_SEGMENT_SAFE = "!$&'()*+,;=:@~"  # RFC 3986 §3.3: pchar without what must be encoded
_TRIPLET = re.compile("%[0-9A-Fa-f]{2}")
_NEGATED_SLASH = re.compile(r"\[\^[^\]]*/[^\]]*\]")
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


class Pattern:
    """A parsed path pattern.

    Attributes:
        text: the pattern as it was written, with the prefixes of mounts in front.
        segments: what it consists of; ``/a/`` has two, the second one empty; ``*`` and the empty pattern have none.
        names: its variables, in order.
    """

    __slots__ = ("names", "segments", "text")

    def __init__(self, text: str, segments: tuple[Segment, ...]) -> None:
        self.text = text
        self.segments = segments
        self.names = tuple(name for segment in segments for name in segment.names)
        if len(set(self.names)) != len(self.names):
            raise RoutingError(f"the path pattern {clip(text)} uses a variable twice")

    def __repr__(self) -> str:
        return f"<Pattern {self.text}>"

    @property
    def literal(self) -> str | None:
        """The raw path that the pattern matches, when it has no variables; None for the empty pattern too."""
        if self.text and all(isinstance(segment, Literal) for segment in self.segments):
            return self.build({})
        return None

    def leads_to(self, texts: Sequence[str]) -> bool:
        """Tell whether a path, as its decoded segments, begins as this pattern says."""
        return len(texts) >= len(self.segments) and all(
            segment.match(texts, index) is not None for index, segment in enumerate(self.segments)
        )

    def under(self, prefix: Pattern) -> Pattern:
        """Return this pattern with ``prefix`` in front."""
        if self.text == "*":
            return self
        return Pattern(prefix.text + self.text, prefix.segments + self.segments)

    def build(self, values: Mapping[str, object]) -> str:
        """Return the raw path with these values.

        Raises:
            RoutingError: a variable is missing, unknown, or has a value that would not route back.
        """
        if values.keys() != set(self.names):
            missing = [name for name in self.names if name not in values]
            unknown = [name for name in values if name not in self.names]
            what = f"needs {missing!r}" if missing else f"has no variable {unknown[0]!r}"
            raise RoutingError(f"the path pattern {clip(self.text)} {what}")
        if not self.segments:
            if not self.text:
                raise RoutingError("the empty pattern has a path where its router is mounted only")
            return self.text
        built: list[str] = []
        for segment in self.segments:
            try:
                built.append(segment.build(values))
            except (ValueError, OverflowError) as exc:
                raise RoutingError(f"no path for {clip(self.text)} with {segment.names}: {exc}") from exc
        path = "/" + "/".join(built)
        if path.startswith("//"):  # a reference that starts so names another host (RFC 3986 §4.2)
            raise RoutingError(f"the path {clip(path)} for {clip(self.text)} would be read as a host")
        if not {".", ".."}.isdisjoint(path.split("/")):  # clients take them out, encoded or not (RFC 3986 §5.2.4)
            raise RoutingError(f"the path {clip(path)} for {clip(self.text)} holds a dot segment")
        if "%00" in path:
            raise RoutingError(f"the path {clip(path)} for {clip(self.text)} holds a NUL, which no request may")
        return path


def parse_pattern(text: str, converters: Mapping[str, Converter]) -> Pattern:
    """Parse a path pattern: ``/…`` with variables, ``*`` for requests without a path, or ``""`` for a mount itself.

    Raises:
        RoutingError: it is malformed; the message says where.
    """
    if not isinstance(text, str):
        raise RoutingError(f"a path pattern must be a str, not {clip(text)}")
    if text in ("", "*"):
        return Pattern(text, ())
    if not text.startswith("/"):
        raise RoutingError(f"a path pattern must start with '/', not {clip(text)}")
    all_parts = [_parse_parts(piece, text, converters) for piece in _split(text)]
    segments: list[Segment] = []
    for index, parts in enumerate(all_parts):
        rest = all_parts[index:]
        if any(isinstance(part, Variable) and _spans(part.converter) for part in parts):
            variables = [part for later in rest for part in later if isinstance(part, Variable)]
            if any(isinstance(variable.converter, PathConverter) for variable in variables):
                raise RoutingError(f"a path variable cannot follow an expression with '/' in {clip(text)}")
            segments.append(Spanning(rest))
            break
        segments.append(_segment(parts, text, last=index == len(all_parts) - 1))
    return Pattern(text, tuple(segments))


def _split(text: str) -> list[str]:
    """Split a pattern at the slashes outside braces."""
    pieces: list[str] = []
    start, depth = 1, 0
    for position in range(1, len(text)):
        character = text[position]
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth < 0:
                raise RoutingError(f"'}}' without '{{' in the path pattern {clip(text)}")
        elif character == "/" and not depth:
            pieces.append(text[start:position])
            start = position + 1
    if depth:
        raise RoutingError(f"'{{' without '}}' in the path pattern {clip(text)}")
    pieces.append(text[start:])
    if "" in pieces[:-1]:
        raise RoutingError(f"an empty segment in the path pattern {clip(text)}")
    return pieces


def _parse_parts(piece: str, text: str, converters: Mapping[str, Converter]) -> list[str | Variable]:
    """Return the literal texts and the variables of one segment."""
    parts: list[str | Variable] = []
    position = 0
    while position < len(piece):
        if piece[position] != "{":
            end = piece.find("{", position)
            end = len(piece) if end < 0 else end
            literal = piece[position:end]
            if _TRIPLET.search(literal) or not literal.isprintable():
                raise RoutingError(f"write {clip(literal)} decoded in the path pattern {clip(text)}")
            if "?" in literal or "#" in literal:
                raise RoutingError(f"a path pattern holds no query and no fragment: {clip(text)}")
            parts.append(literal)
            position = end
            continue
        depth, end = 1, position + 1
        while depth:
            depth += {"{": 1, "}": -1}.get(piece[end], 0)
            end += 1
        name, colon, spec = piece[position + 1 : end - 1].partition(":")
        if not (name.isidentifier() and name.isascii()):
            raise RoutingError(f"a variable needs a name, not {clip(name)}, in the path pattern {clip(text)}")
        if colon and not spec:
            raise RoutingError(f"{{{name}:}} in the path pattern {clip(text)} names no converter")
        if parts and isinstance(parts[-1], Variable):
            raise RoutingError(f"two variables need text between them in the path pattern {clip(text)}")
        parts.append(Variable(name, _converter(spec or "str", text, converters)))
        position = end
    return parts


def _converter(spec: str, text: str, converters: Mapping[str, Converter]) -> Converter:
    known = converters.get(spec)
    if known is not None:
        return known
    if spec.isidentifier():
        # As a regular expression it would match one word only, which is what literals are for: a typing error.
        raise RoutingError(f"no converter {spec!r} for the path pattern {clip(text)}; there are {sorted(converters)}")
    return RegexConverter(spec)


def _spans(converter: Converter) -> bool:
    """Whether an inline expression can match a slash that somebody wrote into it."""
    return isinstance(converter, RegexConverter) and "/" in _NEGATED_SLASH.sub("", converter.regex)


def _segment(parts: list[str | Variable], text: str, *, last: bool) -> Segment:
    if not parts:
        return Literal("")
    if len(parts) == 1:
        part = parts[0]
        if isinstance(part, str):
            if part in (".", ".."):
                raise RoutingError(f"a dot segment in the path pattern {clip(text)}")
            return Literal(part)
        if not isinstance(part.converter, PathConverter):
            return part
        if not last:
            raise RoutingError(f"a path variable must be the last segment of {clip(text)}")
        return Tail(part.names[0])
    if any(isinstance(part, Variable) and isinstance(part.converter, PathConverter) for part in parts):
        raise RoutingError(f"a path variable needs a segment of its own in {clip(text)}")
    return Mixed(parts)


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
