"""The content of a request that goes out piece by piece, in passes: once, and again after a redirect or a challenge.

Rule 1: a pass begins with the first piece that is asked for and ends with ``aclose``, however the exchange ends; the
        task that asked for the pieces is the one that ends it.
Rule 2: what this program opened is closed at the end of each pass; what can be read only once is closed with its only
        pass, be it one that never began. Files that were given open stay open: they are the caller's.
Rule 3: a bare ``iter``/``aiter`` is used, no generator of ours: leaving early leaves nothing behind.
Rule 4: a length, once it is known, is kept: more or fewer bytes are an error here, before they are one on the wire.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Iterator
from typing import Final, Protocol, TypeAlias, cast

from triohttp.errors import BodyStateError, LocalProtocolError, clip

__all__ = [
    "SLICE_BYTES",
    "UNSET",
    "WHOLE_BYTES",
    "ContentInit",
    "ContentSource",
    "IterableSource",
    "Piece",
    "Readable",
    "StreamedContent",
    "Unset",
    "in_pieces",
    "wrong_length",
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


class Readable(Protocol):
    """A binary file as far as a request needs one; it is sent again when it has ``seek`` and ``tell`` too."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes, ``b""`` at the end."""


Piece: TypeAlias = bytes | bytearray | memoryview
"""What an iterable of content may yield; trio's own receive streams yield the first two."""
ContentInit: TypeAlias = "Piece | str | os.PathLike[str] | Readable | Iterable[Piece] | AsyncIterable[Piece]"
"""Bytes, text (sent as UTF-8), a path, a binary file, be it one of trio's, or an iterable of bytes."""


class ContentSource(Protocol):
    """Where the pieces of content come from: what ``StreamedContent`` is made of.

    Attributes:
        blocks: asking for a piece may wait.
        replayable: after ``aclose`` another pass can begin at the beginning.
    """

    blocks: bool
    replayable: bool

    async def measure(self) -> int | None:
        """Return how many bytes the next pass will give, None when nobody knows; nothing stays open."""

    async def next_piece(self, length: int | None) -> object:
        """Return the next piece of this pass, None at its end; ``length`` is what the whole pass has to give."""

    async def aclose(self) -> None:
        """End this pass, and close what can be read only once."""


class StreamedContent:
    """Content that goes out piece by piece.

    Args:
        source: where it comes from; an iterable of bytes will do.
        announced: bytes that the caller says it has, None for what ``measure`` finds.
    Attributes:
        blocks: asking for a piece may wait.
        length: bytes of this pass; None to send it chunked, as all content that has not been measured.
        replayable: ``rewind`` works.
        started: a piece of this pass has been asked for.
    """

    __slots__ = ("_announced", "_closed", "_passed", "_source", "blocks", "length", "replayable", "started")

    def __init__(
        self, source: ContentSource | Iterable[Piece] | AsyncIterable[Piece], announced: int | None = None
    ) -> None:
        if isinstance(source, (Iterable, AsyncIterable)):
            source = IterableSource(source)
        self._source = source
        self._announced = announced
        self._passed = 0
        self._closed = False
        self.blocks = source.blocks
        self.length = announced
        self.replayable = source.replayable
        self.started = False

    def __repr__(self) -> str:
        return f"<StreamedContent of {self._source!r}>"

    async def measure(self) -> None:
        """Find out the length of the pass to come, where it can be known; files are asked for it.

        Cancellation: atomic.
        Raises:
            LocalProtocolError: it is not the one that was announced.
            OSError: there is no such file, or it cannot be asked.
        """
        found = await self._source.measure()
        if found is not None and self._announced is not None and found != self._announced:
            raise wrong_length(self._announced, str(found))
        self.length = self._announced if found is None else found

    async def next_piece(self) -> bytes | None:
        """Return the next piece, None at the end; whatever the source raises passes through.

        Cancellation: fatal for this pass, unless the source says otherwise.
        Raises:
            BodyStateError: the pass is over.
            LocalProtocolError: there is more than ``length``, or less.
            TypeError: the source yielded something else than bytes.
        """
        if self._closed:
            raise BodyStateError("this pass over the content has ended; rewind() begins another one")
        self.started = True
        length = self.length
        piece = await self._source.next_piece(length)
        if piece is None:
            if length is not None and self._passed != length:
                raise wrong_length(length, f"only {self._passed}")
            return None
        if isinstance(piece, (bytearray, memoryview)):
            piece = bytes(piece)
        elif not isinstance(piece, bytes):
            raise _no_bytes(piece)
        self._passed += len(piece)
        if length is not None and self._passed > length:
            raise wrong_length(length, "more")
        return piece

    async def aclose(self) -> None:
        """End this pass; content that can be read once only is closed with it. A second time does nothing."""
        if self._closed:
            return
        self._closed = True
        await self._source.aclose()

    def rewind(self) -> None:
        """Let the next pass begin at the beginning, after ``aclose``; one that has not begun is left as it is.

        Raises:
            BodyStateError: the content can be read only once, or a pass is still going on.
        """
        if not self.started and not self._closed:
            return
        if not self.replayable:
            raise BodyStateError(
                f"{self!r} can be read only once, and has been; to send it again, give bytes, a path, a file that can "
                "seek, or an object whose iterators each begin at the beginning"
            )
        if not self._closed:
            raise BodyStateError("a pass over the content is still going on; aclose() ends it")
        self._passed = 0
        self.length = self._announced
        self._closed = self.started = False


def wrong_length(length: int, has: str, what: str = "the content") -> LocalProtocolError:
    """Return the error about content that has not the length that it should have."""
    return LocalProtocolError(f"{what} was to have {length} bytes and has {has}", slug="content-length")


def _no_bytes(piece: object) -> TypeError:
    advice = ""
    if isinstance(piece, Awaitable):
        advice = "; an asynchronous generator can await what yields them"
        if inspect.iscoroutine(piece):
            piece.close()  # or it would complain that nobody awaited it
    elif isinstance(piece, str):
        advice = '; encode text, and open files with "rb"'
    return TypeError(f"content must consist of bytes, not of {type(piece).__name__}: {clip(piece)}{advice}")


class IterableSource:
    """An iterable of bytes, synchronous or not; one that is both counts as asynchronous.

    It can be read again when each of its iterators begins at the beginning. So it is taken to be, unless it is its own
    iterator, or can be closed: then it is a resource, such as a stream, and closed after its only pass.
    """

    __slots__ = ("_iterable", "_iterator", "_previous", "blocks", "replayable")

    def __init__(self, iterable: Iterable[Piece] | AsyncIterable[Piece]) -> None:
        self._iterable = iterable
        self._iterator: Iterator[Piece] | AsyncIterator[Piece] | None = None
        self._previous: object = None
        self.blocks = isinstance(iterable, AsyncIterable)
        once = ("aclose", "close", "__anext__" if self.blocks else "__next__")
        self.replayable = not any(hasattr(iterable, name) for name in once)

    def __repr__(self) -> str:
        return f"a {type(self._iterable).__name__}"

    async def measure(self) -> int | None:
        """Return None: only the end will tell."""
        return None

    async def next_piece(self, length: int | None) -> object:
        """Return what the iterator gives."""
        if self._iterator is None:
            iterable = self._iterable
            iterator = aiter(iterable) if isinstance(iterable, AsyncIterable) else iter(iterable)
            if iterator is self._previous:  # it is used up: what would follow is the end, and a request cut short
                raise BodyStateError(f"{self!r} cannot be read again: it gave the same iterator a second time")
            self._iterator = self._previous = iterator
        if self.blocks:
            try:
                return await anext(cast("AsyncIterator[Piece]", self._iterator))
            except StopAsyncIteration:
                return None
        try:
            return next(cast("Iterator[Piece]", self._iterator))
        except StopIteration:
            return None

    async def aclose(self) -> None:
        """Close the iterator, and what it iterates over if that is read once, as far as they can be closed."""
        iterator, self._iterator = self._iterator, None
        if iterator is not None and iterator is not self._iterable:
            await _close(iterator)
        if not self.replayable:
            await _close(self._iterable)


async def _close(one: object) -> None:
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


def in_pieces(data: bytes) -> StreamedContent:
    """Return whole content as streamed content."""
    return StreamedContent(_Slices(data), len(data))
