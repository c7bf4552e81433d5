"""The content of a request: whole, or streamed from an iterable.

Rule 1: what was made into bytes goes out in one piece with the head; it can be sent again.
Rule 2: an iterable is iterated once, by one task, and closed by that same task, however the exchange ends.
Rule 3: a bare ``iter``/``aiter`` is used, no generator of ours: leaving early leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Final, TypeAlias, cast

from triohttp._values import json
from triohttp._values.query import QueryInit, encode_query
from triohttp.errors import BodyStateError, LocalProtocolError, clip

__all__ = [
    "SLICE_BYTES",
    "UNSET",
    "WHOLE_BYTES",
    "ContentInit",
    "StreamedContent",
    "Unset",
    "encode_content",
    "in_pieces",
]

SLICE_BYTES = 16 * 1024
"""The progress that a write deadline sees: a server that takes so little in its time takes nothing."""
WHOLE_BYTES = 64 * 1024
"""Content up to this goes out in one piece; a kernel takes that much without the peer."""


class Unset:
    """The type of ``UNSET``."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset()
"""No value was given; None is a value, and JSON."""

Piece: TypeAlias = bytes | bytearray | memoryview
"""What an iterable of content may yield; trio's own receive streams yield the first two."""
ContentInit: TypeAlias = "Piece | str | Iterable[Piece] | AsyncIterable[Piece]"
"""Bytes, text (sent as UTF-8), or an iterable of bytes."""


class StreamedContent:
    """Content that goes out piece by piece.

    Args:
        source: an iterable of bytes, synchronous or not; one that is asynchronous and synchronous counts as the first.
        length: bytes that it will yield, None to send it chunked.
    Attributes:
        blocks: asking for a piece may wait.
        started: a piece has been asked for.
    """

    __slots__ = ("_closed", "_iterator", "_source", "blocks", "length", "started")

    def __init__(self, source: Iterable[Piece] | AsyncIterable[Piece], length: int | None) -> None:
        self._source = source
        self._iterator: Iterator[Piece] | AsyncIterator[Piece] | None = None
        self._closed = False
        self.blocks = isinstance(source, AsyncIterable)
        self.length = length
        self.started = False

    def __repr__(self) -> str:
        return f"<StreamedContent of a {type(self._source).__name__}>"

    @property
    def replayable(self) -> bool:
        """It can be sent again from the beginning."""
        return False

    def rewind(self) -> None:
        """Let the next pass begin at the beginning.

        Raises:
            BodyStateError: it can be read only once.
        """
        raise BodyStateError("this content can be read only once, and has been")

    async def next_piece(self) -> bytes | None:
        """Return the next piece, None at the end; whatever the source raises passes through.

        Raises:
            TypeError: the source yielded something else than bytes.
        """
        self.started = True
        if self._iterator is None:
            source = self._source
            self._iterator = aiter(source) if isinstance(source, AsyncIterable) else iter(source)
        piece: object
        if self.blocks:
            try:
                piece = await anext(cast("AsyncIterator[Piece]", self._iterator))
            except StopAsyncIteration:
                return None
        else:
            try:
                piece = next(cast("Iterator[Piece]", self._iterator))
            except StopIteration:
                return None
        if isinstance(piece, bytes):
            return piece
        if isinstance(piece, (bytearray, memoryview)):
            return bytes(piece)
        raise TypeError(f"content must consist of bytes, not of {type(piece).__name__}: {clip(piece)}")

    async def aclose(self) -> None:
        """Close the iterator and what it iterates over, if they can be closed; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        iterates_itself = self._iterator is None or self._iterator is self._source
        ours = (self._source,) if iterates_itself else (self._iterator, self._source)
        for one in ours:
            if (aclose := getattr(one, "aclose", None)) is not None:
                await aclose()
            elif (close := getattr(one, "close", None)) is not None:
                close()


class _Slices:
    """A buffer as an iterable of slices."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __iter__(self) -> Iterator[bytes]:
        return _SliceIterator(memoryview(self._data))


class _SliceIterator:
    __slots__ = ("_at", "_view")

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._at = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        start = self._at
        if start >= len(self._view):
            raise StopIteration
        self._at = start + SLICE_BYTES
        return bytes(self._view[start : self._at])


def encode_content(
    *, content: ContentInit | None, json_value: object, form: QueryInit | None, length: int | None
) -> tuple[bytes | StreamedContent, str | None]:
    """Return the content of a request, and the Content-Type that it has by itself.

    Args:
        content: bytes, text or an iterable.
        json_value: anything that JSON can say, ``UNSET`` for nothing.
        form: fields of a form.
        length: what the caller announced as Content-Length.
    Raises:
        ContentError: the value is no JSON.
        LocalProtocolError: the content has another length.
        TypeError: more than one was given, or something of another type.
    """
    given = [name for name, value in (("content", content), ("form", form)) if value is not None]
    if not isinstance(json_value, Unset):
        given.append("json")
    if len(given) > 1:
        raise TypeError(f"a request has one content, not {' and '.join(given)}")
    media_type: str | None = None
    if content is None:
        if form is not None:
            data, media_type = encode_query(form).encode("ascii"), "application/x-www-form-urlencoded"
        elif given:
            data, media_type = json.dumps(json_value), "application/json"
        else:
            data = b""
    elif isinstance(content, str):
        data, media_type = content.encode("utf-8"), "text/plain; charset=utf-8"
    elif isinstance(content, (bytes, bytearray, memoryview)):
        data = bytes(content)
    else:
        source: object = content  # whatever the annotation says
        if isinstance(source, Mapping) or not isinstance(source, (AsyncIterable, Iterable)):
            raise TypeError(f"content must be bytes, str or an iterable of bytes, not {clip(content)}")
        return StreamedContent(source, length), None
    if length is not None and length != len(data):
        raise LocalProtocolError(
            f"Content-Length says {length} bytes, the content has {len(data)}", slug="content-length"
        )
    return data, media_type


def in_pieces(data: bytes) -> StreamedContent:
    """Return whole content as streamed content that can be sent again."""
    return StreamedContent(_Slices(data), len(data))
