"""Path patterns: from ``/users/{id:int}/{file}.{ext}`` to segments, and back to paths.

Patterns are written decoded: ``/café au lait``, not ``/caf%C3%A9%20au%20lait``.

Rule 1: a pattern is refused as a whole, with the reason, before anything has changed.
Rule 2: what ``build`` writes is matched again before it is returned: this pattern reads the same values from it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from triohttp.errors import RoutingError, clip

from .converters import Converter, PathConverter, RegexConverter
from .segments import Literal, Mixed, Segment, Spanning, Tail, Variable

__all__ = ["Pattern", "parse_pattern"]

_TRIPLET = re.compile("%[0-9A-Fa-f]{2}")
_OTHER_SYNTAX = re.compile(r"<[A-Za-z_][\w:]*>|^:[A-Za-z_]\w*$")
"""Variables as other frameworks write them; nobody means these characters."""
_NEGATED_SLASH = re.compile(r"\[\^[^\]]*/[^\]]*\]")


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

    def __str__(self) -> str:
        return self.text

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
            if _OTHER_SYNTAX.search(literal):
                raise RoutingError(f"variables are written {{name}} or {{name:int}}, not {clip(piece)}: {clip(text)}")
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
    if spec.strip().isidentifier():
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
