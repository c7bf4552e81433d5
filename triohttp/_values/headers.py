"""Header fields: an ordered list of field lines that is read and written like a mapping (RFC 9110 §5).

A ``Headers`` keeps the lines as the wire has them, bytes in the case they came or were given in, and builds an index
by lower-case name the first time somebody looks one up. A head that nobody looks at costs nothing.

Rule 1: what a program sets is checked when it is set: a line that got in can be written to the wire as it is.
Rule 2: what a wire hands over (``from_wire``) has been checked by the wire and is not checked again.
Rule 3: text is latin-1 in both directions, so no byte of a peer is lost and none is guessed to be UTF-8.
Rule 4: a lookup never depends on case; what goes out and ``iter`` keep the case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Self, TypeAlias, TypeVar, overload

from triohttp.errors import InvalidHeaderError, clip

__all__ = [
    "FORBIDDEN_TRAILERS",
    "SECRET_FIELDS",
    "FieldIndex",
    "Headers",
    "HeadersInit",
    "check_trailers",
    "encode_name",
    "encode_value",
    "index_lines",
]

HeadersInit: TypeAlias = (
    "Headers | Mapping[str, str] | Mapping[bytes, bytes] | Mapping[str | bytes, str | bytes] "
    "| Iterable[tuple[str | bytes, str | bytes]]"
)
"""What a ``Headers`` can be made of."""

FieldIndex: TypeAlias = "dict[bytes, bytes | list[bytes]]"
"""Values by lower-case name, a list where there is more than one."""

SECRET_FIELDS = frozenset(
    {
        b"authorization",
        b"proxy-authorization",
        b"cookie",
        b"set-cookie",
        b"x-api-key",
        b"x-auth-token",
        b"x-csrf-token",
    }
)
"""Names, in lower case, of fields whose values no ``repr`` shows."""

FORBIDDEN_TRAILERS = frozenset(
    # RFC 9110 §6.5.1: framing, routing, authentication, request modifiers, response control, content processing.
    b"""transfer-encoding content-length trailer host connection keep-alive te upgrade expect max-forwards range
    if-match if-none-match if-modified-since if-unmodified-since if-range authorization proxy-authorization
    proxy-authenticate www-authenticate cookie set-cookie age cache-control expires date location retry-after vary
    warning content-encoding content-type content-range content-location""".split()
)
"""Names, in lower case, of fields that must not stand behind the content."""

_D = TypeVar("_D")

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROLS = bytes(c for c in (*range(0x20), 0x7F) if c != 0x09)

# Programs set and look up the same few names for ever, so what was worked out once is kept. Both are bounded: names may
# come from a peer after all (a proxy), and what does not fit is worked out each time.
_CACHED_NAMES = 1024
_CACHED_NAME_LENGTH = 64
_wire_names: dict[str, bytes] = {}


def encode_name(name: str | bytes) -> bytes:
    """Return a field name as bytes, its case kept.

    Raises:
        InvalidHeaderError: it is not a token.
        TypeError: it is neither str nor bytes.
    Source: RFC 9110 §5.1.
    """
    if isinstance(name, str):
        known = _wire_names.get(name)
        if known is not None:
            return known
        data = name.encode("ascii", "replace")  # "?" is no token character
    elif isinstance(name, bytes):
        data = name
    else:
        raise TypeError(f"a header field name must be str or bytes, not {clip(name)}")
    if _NAME.fullmatch(data) is None:
        raise InvalidHeaderError(f"a header field name must be a token, not {clip(name)}", name=name)
    if isinstance(name, str) and len(name) <= _CACHED_NAME_LENGTH and len(_wire_names) < _CACHED_NAMES:
        _wire_names[name] = data
    return data


def encode_value(value: str | bytes, name: str | bytes = "") -> bytes:
    """Return a field value as bytes, without the spaces and tabs around it.

    Args:
        value: text is encoded as latin-1.
        name: the field it is for, for the error only.
    Raises:
        InvalidHeaderError: it holds a control character other than HTAB, or one that latin-1 does not have.
        TypeError: it is neither str nor bytes.
    Source: RFC 9110 §5.5.
    """
    if isinstance(value, str):
        if value.isascii() and value.isprintable():  # nearly always; two passes in C, cheaper than anything below
            return value.strip(" ").encode("ascii")
        try:
            data = value.encode("latin-1")
        except UnicodeEncodeError:
            raise InvalidHeaderError(
                f"the value of {clip(name)} must consist of latin-1 characters, not {clip(value)}", name=name
            ) from None
    elif isinstance(value, bytes):
        data = value
    else:
        raise TypeError(f"the value of header field {clip(name)} must be str or bytes, not {clip(value)}")
    if len(data.translate(None, _CONTROLS)) != len(data):
        # The value may be a secret that got a line end by accident, so only the offending characters are shown.
        found = bytes(dict.fromkeys(c for c in data if c in _CONTROLS))
        raise InvalidHeaderError(f"the value of {clip(name)} must not hold {clip(found.decode('latin-1'))}", name=name)
    return data.strip(b" \t")


class _Keys(dict[str, bytes]):
    """The index key of each name that somebody asked for; a name that is no field's name gets one that matches none."""

    def __missing__(self, name: str) -> bytes:
        if not isinstance(name, str):
            raise TypeError(f"a header field name must be str or bytes, not {clip(name)}")
        key = name.encode("ascii", "replace").lower()
        if len(name) <= _CACHED_NAME_LENGTH and len(self) < _CACHED_NAMES:
            self[name] = key
        return key


_keys = _Keys()


class Headers(MutableMapping[str, str]):
    """Header fields, in order: a mapping from names, whatever their case, to combined values, and a list of lines.

    ``headers["Accept"]`` is the value of all Accept lines together, joined by ``", "`` (RFC 9110 §5.3; ``"; "`` for
    Cookie, RFC 9113 §8.2.3; only the first line of Set-Cookie, which cannot be joined). Assigning replaces all lines of
    that name by one; ``add`` adds one. ``len`` counts lines; iterating yields each name once.

    Args:
        init: another ``Headers``, a mapping, or (name, value) pairs, of str or bytes.
    Raises:
        InvalidHeaderError: a name or value must not go on the wire.
        TypeError: a name or value is neither str nor bytes.
    """

    __slots__ = ("_index", "_lines")

    _lines: list[tuple[bytes, bytes]]
    _index: FieldIndex | None
    """None until the first lookup."""

    def __init__(self, init: HeadersInit = ()) -> None:
        self._lines = _encode_lines(init)
        self._index = None

    @classmethod
    def from_wire(cls, fields: list[tuple[bytes, bytes]], index: FieldIndex | None = None) -> Self:
        """Return ``Headers`` that own ``fields``, unchecked: each name a token, each value free of controls and OWS.

        Args:
            index: what ``index_lines`` makes of the fields, where it has been made already.
        """
        self: Self = object.__new__(cls)
        self._lines = fields
        self._index = index
        return self

    # -- reading -------------------------------------------------------------------------------------------------------

    def _indexed(self) -> FieldIndex:
        index = self._index
        if index is None:
            index = self._index = index_lines(self._lines)
        return index

    def __getitem__(self, name: str | bytes) -> str:
        value = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    @overload
    def get(self, name: str | bytes, /) -> str | None: ...
    @overload
    def get(self, name: str | bytes, /, default: str | _D) -> str | _D: ...
    def get(self, name: str | bytes, /, default: str | _D | None = None) -> str | _D | None:
        """Return the combined value of ``name``, or ``default``."""
        key = name.lower() if isinstance(name, bytes) else _keys[name]
        index = self._index
        value = (self._indexed() if index is None else index).get(key)
        if value is None:
            return default
        return value.decode("latin-1") if isinstance(value, bytes) else _combined(key, value)

    def get_all(self, name: str | bytes) -> list[str]:
        """Return the value of each line of ``name``, in order; an empty list when there is none."""
        value = self._indexed().get(name.lower() if isinstance(name, bytes) else _keys[name])
        if value is None:
            return []
        values = [value] if isinstance(value, bytes) else value
        return [value.decode("latin-1") for value in values]

    def get_bytes(self, name: str | bytes) -> bytes | None:
        """Return the value of the first line of ``name`` as the wire has it, None when there is none."""
        value = self._indexed().get(name.lower() if isinstance(name, bytes) else _keys[name])
        return value[0] if isinstance(value, list) else value

    def __contains__(self, name: object) -> bool:
        if isinstance(name, bytes):
            return name.lower() in self._indexed()
        return isinstance(name, str) and _keys[name] in self._indexed()

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[str]:
        seen: set[bytes] = set()
        for name, _ in self._lines:
            key = name.lower()
            if key not in seen:
                seen.add(key)
                yield name.decode("latin-1")

    def field_lines(self) -> Iterator[tuple[str, str]]:
        """Yield each line as (name, value), in order."""
        for name, value in self._lines:
            yield name.decode("latin-1"), value.decode("latin-1")

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """The lines as they are on the wire: the live list, to be read and not to be changed."""
        return self._lines

    def __eq__(self, other: object) -> bool:
        """Same values by name, whatever the names' case and the order of different names."""
        if not isinstance(other, Headers):
            if not isinstance(other, Mapping):
                return NotImplemented
            try:
                other = Headers(other)
            except (InvalidHeaderError, TypeError):
                return False
        return self._indexed() == other._indexed()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        lines = ", ".join(
            f"({name.decode('latin-1')!r}, {'***' if name.lower() in SECRET_FIELDS else value.decode('latin-1')!r})"
            for name, value in self._lines
        )
        return f"{type(self).__name__}([{lines}])"

    # -- writing -------------------------------------------------------------------------------------------------------

    def add(self, name: str | bytes, value: str | bytes) -> None:
        """Append a line, beside those that ``name`` already has."""
        self._append(encode_name(name), encode_value(value, name))

    def __setitem__(self, name: str | bytes, value: str | bytes) -> None:
        self._replace(encode_name(name), [encode_value(value, name)])

    def __delitem__(self, name: str | bytes) -> None:
        key = name.lower() if isinstance(name, bytes) else _keys[name]
        if key not in self._indexed():
            raise KeyError(name)
        self._lines[:] = [line for line in self._lines if line[0].lower() != key]
        self._index = None

    def setdefault(self, name: str | bytes, default: str | bytes = "") -> str:
        """Return the combined value of ``name``, after adding a line with ``default`` if there was none."""
        value = self.get(name)
        if value is None:
            self.add(name, default)
            return self[name]
        return value

    def update(self, other: HeadersInit = (), /) -> None:  # type: ignore[override]  # field names are no keywords
        """Replace the lines of each name in ``other`` by the lines that ``other`` has for it."""
        lines = _encode_lines(other)
        values: dict[bytes, tuple[bytes, list[bytes]]] = {}
        for name, value in lines:
            values.setdefault(name.lower(), (name, []))[1].append(value)
        for name, replacements in values.values():
            self._replace(name, replacements)

    def clear(self) -> None:
        """Remove every line."""
        self._lines.clear()
        self._index = None

    def copy(self) -> Headers:
        """Return ``Headers`` with the same lines, to be changed apart from these."""
        return Headers.from_wire(self._lines.copy())

    def _replace(self, name: bytes, values: list[bytes]) -> None:
        """Put ``values`` in the place of the first line of ``name``, or at the end, and remove its other lines."""
        key = name.lower()
        if key in self._indexed():
            kept: list[tuple[bytes, bytes]] = []
            placed = False
            for line in self._lines:
                if line[0].lower() != key:
                    kept.append(line)
                elif not placed:
                    placed = True
                    kept.extend((name, value) for value in values)
            self._lines[:] = kept
            self._index = None
        else:
            for value in values:
                self._append(name, value)

    def _append(self, name: bytes, value: bytes) -> None:
        """Add a checked line, keeping the index if there is one: heads are built and read by turns."""
        self._lines.append((name, value))
        index = self._index
        if index is not None:
            key = name.lower()
            known = index.get(key)
            if known is None:
                index[key] = value
            elif isinstance(known, list):
                known.append(value)
            else:
                index[key] = [known, value]


def check_trailers(init: HeadersInit) -> Headers:
    """Return fields that may follow the content.

    Raises:
        InvalidHeaderError: a field must not go on the wire, or not behind the content.
        TypeError: as ``Headers``.
    Source: RFC 9110 §6.5.1.
    """
    trailers = Headers(init)
    for name, _ in trailers.raw:
        if name.lower() in FORBIDDEN_TRAILERS:
            raise InvalidHeaderError(f"{name.decode('ascii')} must not be a trailer", name=name)
    return trailers


def index_lines(lines: list[tuple[bytes, bytes]]) -> FieldIndex:
    """Return the values of lines by their names."""
    index: FieldIndex = {name.lower(): value for name, value in lines}
    if len(index) == len(lines):
        return index
    groups: dict[bytes, list[bytes]] = {}
    for name, value in lines:
        groups.setdefault(name.lower(), []).append(value)
    return {key: values if len(values) > 1 else values[0] for key, values in groups.items()}


def _combined(key: bytes, values: list[bytes]) -> str:
    """Return the one value that several lines of the field ``key`` mean."""
    if key == b"set-cookie":
        return values[0].decode("latin-1")
    return (b"; " if key == b"cookie" else b", ").join(values).decode("latin-1")


def _encode_lines(init: HeadersInit) -> list[tuple[bytes, bytes]]:
    """Return the checked lines of whatever a ``Headers`` can be made of."""
    if isinstance(init, dict):  # first, as it is the most frequent, and asking abstract classes costs half of the rest
        return [(encode_name(name), encode_value(value, name)) for name, value in init.items()]
    if isinstance(init, Headers):
        return init._lines.copy()
    if isinstance(init, Mapping):
        return [(encode_name(name), encode_value(value, name)) for name, value in init.items()]
    _refuse_text(init)
    return [(encode_name(name), encode_value(value, name)) for name, value in init]


def _refuse_text(init: object) -> None:
    """Refuse a text, which iterates as characters and would fail with a riddle."""
    if isinstance(init, (str, bytes)):
        raise TypeError(f"headers must be a mapping or (name, value) pairs, not {clip(init)}")
