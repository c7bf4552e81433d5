"""Undoing gzip and deflate, a bounded step at a time.

Each decompressor here is what ``coding.Stage`` describes: it is given some input when ``needs_input`` says so, and
gives at most so many bytes of output a call; what it could not use yet it keeps.

Rule 1: the end is looked for: content that stops before it is not ``complete``, and what follows it is an error.
Rule 2: checksums and lengths are checked where the format has them: zlib does it, for gzip and for zlib's own format.
Rule 3: only zlib's errors are translated here, once, into ``ContentError``.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from typing import ClassVar

from triohttp.errors import ContentError

__all__ = ["MAX_SMALL_MEMBERS", "SMALL_MEMBER_BYTES", "DeflateDecompressor", "GzipDecompressor"]

MAX_SMALL_MEMBERS = 1000
"""Members of gzip content with little in them: each costs a new inflater, for as little as 20 bytes."""
SMALL_MEMBER_BYTES = 4096
"""Below this a member counts as small, in decoded bytes. Block-compressed files (BGZF) have one for every 64 KiB."""

_GZIP_BITS = 31
_ZLIB_BITS = 15
_RAW_BITS = -15


class _Inflating(ABC):
    """What both have in common: one run of zlib, from a header to an end.

    Attributes:
        needs_input: everything that was given has been used; the next call wants more.
    """

    __slots__ = ("_rest", "_zlib", "needs_input")

    name: ClassVar[str]

    def __init__(self) -> None:
        self._zlib: zlib._Decompress | None = None
        self._rest = b""
        self.needs_input = True

    @property
    def complete(self) -> bool:
        """The content may end here: nothing has come, or an end did."""
        return self._zlib is None

    def decompress(self, data: bytes, max_bytes: int) -> bytes:
        """Return at most ``max_bytes`` of output; none when there is too little input.

        Args:
            data: more input when ``needs_input``, else empty.
        Raises:
            ContentError: ``coding``: the input is corrupt.
        """
        data = data or self._rest
        try:
            while True:
                inflater = self._zlib
                if inflater is None:
                    if not data:  # an empty call, or nothing behind the end of a member
                        break
                    inflater = self._zlib = zlib.decompressobj(self._begin(data))
                out = inflater.decompress(data, max_bytes)
                if inflater.eof:
                    data = inflater.unused_data
                    self._zlib = None
                    self._add(len(out), ended=True)
                else:
                    data = inflater.unconsumed_tail
                    self._add(len(out), ended=False)
                if out:
                    self._rest = data
                    # zlib keeps up to some KiB of output behind its last bit of input: only a call that gave less than
                    # it might have says that there is none.
                    self.needs_input = not data and (len(out) < max_bytes or self._zlib is None)
                    return out
                if not data:
                    break
        except zlib.error as exc:
            raise ContentError(f"the {self.name} content is corrupt: {exc}", reason="coding") from exc
        self._rest = b""
        self.needs_input = True
        return b""

    @abstractmethod
    def _begin(self, data: bytes) -> int:
        """Return the window bits for what begins with ``data``."""

    @abstractmethod
    def _add(self, size: int, *, ended: bool) -> None:
        """Hear that ``size`` bytes came out, and whether an end was reached."""


class GzipDecompressor(_Inflating):
    """Undoes gzip: any number of members, one after the other.

    Source: RFC 1952 §2.2; RFC 9110 §8.4.1.3.
    """

    __slots__ = ("_member_bytes", "_members", "_small_members")

    name = "gzip"

    def __init__(self) -> None:
        super().__init__()
        self._members = 0
        self._small_members = 0
        self._member_bytes = 0

    def _begin(self, data: bytes) -> int:
        # zlib would find it out as well, but not say that the content had been whole up to there.
        if self._members and data[0] != 0x1F:
            raise ContentError("the gzip content goes on behind its end with something else", reason="coding")
        self._members += 1
        self._member_bytes = 0
        return _GZIP_BITS

    def _add(self, size: int, *, ended: bool) -> None:
        self._member_bytes += size
        if ended and self._member_bytes < SMALL_MEMBER_BYTES:
            self._small_members += 1
            if self._small_members > MAX_SMALL_MEMBERS:
                raise ContentError(
                    f"the gzip content has more than {MAX_SMALL_MEMBERS} members of less than {SMALL_MEMBER_BYTES} "
                    "bytes",
                    reason="coding",
                )


class DeflateDecompressor(_Inflating):
    """Undoes deflate: zlib's format, as it should be, or bare deflate data, as some servers send it.

    Which of them it is the first byte tells, once: its lower half is 8 in zlib's format. Bare data could only begin so
    with a stored block whose padding is not zero, and nobody writes that.

    Source: RFC 9110 §8.4.1.2; RFC 1950 §2.2, RFC 1951 §3.2.
    """

    __slots__ = ("_begun",)

    name = "deflate"

    def __init__(self) -> None:
        super().__init__()
        self._begun = False

    def _begin(self, data: bytes) -> int:
        if self._begun:
            raise ContentError("the deflate content goes on behind its end", reason="coding")
        self._begun = True
        return _ZLIB_BITS if data[0] & 0x0F == 8 else _RAW_BITS

    def _add(self, size: int, *, ended: bool) -> None:
        """There is only one end."""
