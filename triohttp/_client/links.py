"""The Link field: where an answer says its neighbours are (RFC 8288).

Rule 1: one pass, linear; what is no link is skipped up to the next comma, for a field of a peer is never an error here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from triohttp._values.grammar import split_parameters
from triohttp._values.url import URL
from triohttp.errors import InvalidURLError

__all__ = ["Link", "parse_links"]


@dataclass(frozen=True, slots=True)
class Link:
    """One link: where to, and what it says about it."""

    url: URL
    parameters: Mapping[str, str]
    """Values by name in lower case; ``rel`` is among them when the link is any use."""


def parse_links(values: list[str], base: URL) -> dict[str, Link]:
    """Return links by relation, in lower case; of several with one relation the first counts.

    Args:
        values: the field's lines.
        base: what relative references are relative to.
    """
    links: dict[str, Link] = {}
    for value in values:
        for reference, rest in _split(value):
            parameters: dict[str, str] = {}
            for name, parameter in split_parameters(rest):
                parameters.setdefault(name, parameter)
            relations = parameters.get("rel", "").lower().split()
            if not relations:
                continue
            try:
                link = Link(base.join(reference), parameters)
            except InvalidURLError:
                continue
            for relation in relations:
                links.setdefault(relation, link)
    return links


def _split(value: str) -> Iterator[tuple[str, str]]:
    """Yield each link's reference and its parameters as text; a comma in either of <> and quotes separates nothing."""
    position = 0
    while (start := value.find("<", position)) >= 0:
        end = value.find(">", start)
        if end < 0:
            return
        position = _end_of_parameters(value, end + 1)
        yield value[start + 1 : end].strip(), value[end + 1 : position]


def _end_of_parameters(value: str, position: int) -> int:
    quoted = escaped = False
    for place in range(position, len(value)):
        character = value[place]
        if escaped:
            escaped = False
        elif quoted:
            escaped = character == "\\"
            quoted = character != '"'
        elif character == '"':
            quoted = True
        elif character == ",":
            return place
    return len(value)
