"""The query of a URL as names with values, and the form encoding that it shares (WHATWG URL §5).

Rule 1: "&" separates and nothing else does; ";" is data.
Rule 2: the number of fields is bounded before anything is split or decoded.
Rule 3: a name may come several times and none is lost; asked for one value, the first answers.
Rule 4: what is not UTF-8 becomes U+FFFD and malformed percent-encoding stays as it is, unless one asks for strictness.
"""

from __future__ import annotations

import math
import re
from collections.abc import ItemsView, Iterator, Mapping, Sequence
from typing import Self, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from triohttp.errors import ContentError, clip

__all__ = ["Query", "QueryInit", "QueryValue", "encode_query"]

QueryValue: TypeAlias = str | int | float | bool | None
"""One value: True and False become ``true`` and ``false``; None leaves its name out."""
QueryInit: TypeAlias = (
    "Query | Mapping[str, QueryValue | Sequence[QueryValue]] "
    "| Sequence[tuple[str, QueryValue]] | ItemsView[str, QueryValue] | Iterator[tuple[str, QueryValue]]"
)
"""What a query can be made of: a mapping, where a sequence gives a name several values, or pairs.

Any iterable of pairs will do. It is not called Iterable here because a dict is one too, of its keys, and a type checker
that may choose between the two finds no type for ``{"page": 2, "tag": ["a", "b"]}``.
"""

_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Query(Mapping[str, str]):
    """The fields of a query, in order and immutable: a mapping of each name to its first value, and a list of pairs.

    ``len`` counts names, as for any mapping; ``pairs`` has every field.

    Args:
        params: as ``encode_query`` takes them.
    """

    __slots__ = ("_index", "_pairs")

    def __init__(self, params: QueryInit = ()) -> None:
        self._fill(list(_pairs(params)))

    @classmethod
    def parse(cls, raw: str, *, max_fields: int = 1000, strict: bool = False) -> Self:
        """Return the fields of ``raw``, a query without its "?" or form content, decoded.

        Args:
            max_fields: bound on the fields, empty ones between two "&" included.
            strict: refuse malformed percent-encoding and what is not UTF-8.
        Raises:
            ContentError: ``too-many-fields``; ``encoding`` where it is strict.
        """
        if not isinstance(raw, str):
            raise TypeError(f"a query must be a str, not {clip(raw)}")
        if raw and raw.count("&") >= max_fields:
            raise ContentError(f"a query must have at most {max_fields} fields", reason="too-many-fields")
        if strict and (found := _STRAY_PERCENT.search(raw)):
            raise ContentError(f"malformed percent-encoding at {clip(raw[found.start() :][:3])}", reason="encoding")
        pairs: list[tuple[str, str]] = []
        for field in raw.split("&"):
            if field:
                name, _, value = field.partition("=")
                pairs.append((_decoded(name, strict), _decoded(value, strict)))
        self = cls.__new__(cls)
        self._fill(pairs)
        return self

    def _fill(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs
        self._index: dict[str, list[str]] = {}
        for name, value in pairs:
            self._index.setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> str:
        return self._index[name][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)

    def get_all(self, name: str) -> list[str]:
        """Return every value of ``name``, in order; an empty list when there is none."""
        return list(self._index.get(name, ()))

    def pairs(self) -> list[tuple[str, str]]:
        """Return every field as (name, value), in order."""
        return list(self._pairs)

    def encode(self) -> str:
        """Return the query as it stands in a URL."""
        return encode_query(self)

    def __eq__(self, other: object) -> bool:
        """Same values by name, in the same order by name."""
        return self._index == other._index if isinstance(other, Query) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset((name, *values) for name, values in self._index.items()))

    def __repr__(self) -> str:
        return f"Query({self._pairs!r})"


def encode_query(params: QueryInit) -> str:
    """Return ``params`` in the form encoding, without a "?": everything but letters, digits and ``-._~`` encoded.

    A space becomes ``%20``, which readers of queries and of forms understand alike.

    Raises:
        TypeError: a name is not a str, or a value not a str, number, bool, None or a sequence of them.
        ValueError: a number is not finite, or a text holds half a surrogate pair.
    Source: RFC 3986 §3.4, WHATWG URL §5.2.
    """
    return "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in _pairs(params))


def _pairs(params: QueryInit) -> Iterator[tuple[str, str]]:
    """Yield names with values as text, checked."""
    if isinstance(params, Query):
        yield from params._pairs
        return
    _refuse_text(params)
    for name, value in params.items() if isinstance(params, Mapping) else params:
        if not isinstance(name, str):
            raise TypeError(f"the name of a query field must be a str, not {clip(name)}")
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
            for item in value:
                if item is not None:
                    yield name, _text(name, item)
        elif value is not None:
            yield name, _text(name, value)


def _refuse_text(params: object) -> None:
    """Refuse a text, which iterates as characters and would fail with a riddle."""
    if isinstance(params, (str, bytes)):
        raise TypeError(f"query params must be a mapping or (name, value) pairs, not {clip(params)}")


def _text(name: str, value: object) -> str:
    """Return one value of the field ``name`` as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        if not math.isfinite(value):
            raise ValueError(f"the number for query field {clip(name)} must be finite, not {value!r}")
        return str(value)
    raise TypeError(f"the value of query field {clip(name)} must be a str, number, bool or None, not {clip(value)}")


def _encoded(text: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise ValueError(f"a query must not hold half a surrogate pair: {clip(text)}") from None


def _decoded(text: str, strict: bool) -> str:
    text = text.replace("+", " ")
    if "%" not in text:
        return text
    try:
        return unquote_to_bytes(text).decode("utf-8", "strict" if strict else "replace")
    except UnicodeDecodeError:
        raise ContentError(f"the query is not UTF-8 at {clip(text)}", reason="encoding") from None
