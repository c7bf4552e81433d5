"""A gate in front of h11 for chunked content: nothing passes that a strict reader would refuse (RFC 9112 §7.1).

Rule 1: what is let through is a whole size line, part of a chunk's data, a whole CRLF, or a whole trailer section.
Rule 2: everything before an offending byte is let through first, so that content already received stays valid.
Rule 3: the parts that are not content are bounded, each and all together.
"""

from __future__ import annotations

import enum
import re
from typing import Final, NoReturn

from triohttp._values.limits import WireLimits
from triohttp.errors import RemoteProtocolError

from .fields import MAX_LENGTH
from .strict import TrailerScanner, refuse

__all__ = ["ChunkedGate"]

_WINDOW_BYTES: Final = 64 * 1024
"""Bytes let through at a time: what h11 holds at most."""
_WINDOW_CHUNKS: Final = 64
"""Chunks let through at a time: h11 takes about 6 µs for each, and nothing else runs meanwhile."""
_EXTENSIONS: Final = 16
"""All chunk extensions of a message together may be this many times as long as one."""
_FREE_OVERHEAD: Final = 16 * 1024
_OVERHEAD: Final = 7
"""Framing bytes allowed for each byte of content, beyond the free ones; chunks of one byte need 5."""

_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}")
_EXTENSION = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")


class _Part(enum.Enum):
    SIZE_LINE = "size line"
    DATA = "data"
    DATA_END = "CRLF after the data"
    TRAILERS = "trailers"
    OVER = "over"


class ChunkedGate:
    """Decides how many of the bytes that came may go on.

    Attributes:
        announced: the sizes of all chunks begun so far together, in bytes.
        spans: where content lies in the bytes that were let through last, as pairs of start and stop.
    """

    __slots__ = (
        "_data_left",
        "_extension_bytes",
        "_framing_bytes",
        "_limits",
        "_part",
        "_trailers",
        "announced",
        "spans",
    )

    def __init__(self, limits: WireLimits) -> None:
        self.announced = 0
        self.spans: list[tuple[int, int]] = []
        self._limits = limits
        self._part = _Part.SIZE_LINE
        self._data_left = 0
        self._extension_bytes = 0
        self._framing_bytes = 0
        self._trailers = TrailerScanner(limits)

    @property
    def over(self) -> bool:
        """The trailer section, the last of the message, was let through, by itself."""
        return self._part is _Part.OVER

    def admit(self, data: bytes | bytearray) -> int:
        """Return how many bytes from the front of ``data`` may go on now; they must be gone at the next call.

        0 means that more must come.

        Raises:
            RemoteProtocolError: the first byte of ``data``, or one after it that belongs to it, is wrong.
        """
        position = 0
        chunks = 0
        self.spans = spans = []
        while position < min(len(data), _WINDOW_BYTES) and chunks < _WINDOW_CHUNKS:
            if self._part is _Part.DATA:
                step = min(self._data_left, len(data) - position, _WINDOW_BYTES - position)
                self._data_left -= step
                spans.append((position, position + step))
                if not self._data_left:
                    self._part = _Part.DATA_END
                    chunks += 1
            elif self._part is _Part.TRAILERS:
                # The scanner remembers where it was, counted from the beginning of the section.
                step = 0 if position else self._take_trailers(data)
            else:
                try:
                    step = self._take_line(data, position)
                except RemoteProtocolError:
                    if not position:
                        raise
                    break  # it will be met again, at the front
            if not step:
                break
            position += step
        return position

    def _take_line(self, data: bytes | bytearray, start: int) -> int:
        return self._take_data_end(data, start) if self._part is _Part.DATA_END else self._take_size_line(data, start)

    def _take_trailers(self, data: bytes | bytearray) -> int:
        if self._part is _Part.OVER:
            return 0
        end = self._trailers.scan(data)
        if end:
            self._part = _Part.OVER
        return end

    def _take_size_line(self, data: bytes | bytearray, start: int) -> int:
        match = _SIZE.match(data, start)
        if match is None:
            self._refuse("chunk-size", "a chunk size must begin with a hexadecimal digit", data[start : start + 1])
        stop = match.end()
        if stop == len(data):
            return 0
        extension = 0
        if data[stop] == 0x3B:  # ";"
            longest = self._limits.max_chunk_extension_bytes
            found = _EXTENSION.match(data, stop, stop + longest + 1)
            extension = 0 if found is None else len(found[0])
            stop += extension
            if extension > longest or self._extension_bytes + extension > _EXTENSIONS * longest:
                self._refuse("chunk-ext", "chunk extensions are too long", match[0])
            if stop == len(data):
                return 0
        end = stop + 2
        if data[stop] != 0x0D or (end <= len(data) and data[stop + 1] != 0x0A):
            slug = "chunk-ext" if extension else "chunk-size"
            self._refuse(slug, "a chunk's size line must end in CRLF", match[0])
        if end > len(data):
            return 0
        size = int(match[0], 16)
        announced = self.announced + size
        framing = self._framing_bytes + end - start + 2
        if announced > MAX_LENGTH:
            self._refuse("body-too-large", "content that nobody can hold", match[0], 413)
        if framing > _FREE_OVERHEAD + _OVERHEAD * announced:
            self._refuse("chunk-overhead", "far more chunk framing than content", match[0])
        self.announced = announced
        self._framing_bytes = framing
        self._extension_bytes += extension
        self._data_left = size
        self._part = _Part.DATA if size else _Part.TRAILERS
        return end - start

    def _take_data_end(self, data: bytes | bytearray, start: int) -> int:
        end = bytes(data[start : start + 2])
        if end == b"\r\n":
            self._part = _Part.SIZE_LINE
            return 2
        if end != b"\r":
            self._refuse("chunk-crlf", "a chunk's data must be followed by CRLF", end if end[0] == 0x0D else end[:1])
        return 0

    def _refuse(self, slug: str, message: str, detail: bytes | bytearray, status: int = 400) -> NoReturn:
        refuse(slug, message, status=status, at="content", received=self.announced, detail=bytes(detail))
