"""Zstandard content (``Content-Encoding: zstd``), undone by Python's own module, or before 3.14 by ``backports.zstd``.

Nobody has to import this: once it is there, clients ask for the coding and undo it.

Rule 1: a frame whose window is larger than 8 MiB is refused: that is what a receiver has to have (RFC 9659 §3).
"""

from __future__ import annotations

import sys

from triohttp.errors import ContentError

try:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
except ImportError as exc:
    raise ImportError("zstd content needs backports.zstd: pip install 'triohttp[zstd]'") from exc

__all__ = ["ZstdDecompressor"]

WINDOW_LOG = 23
"""The largest window: two to the power of this, in bytes."""
MAX_SMALL_FRAMES = 1000
"""Frames with little in them: each costs a new decompressor, for as little as 9 bytes."""
SMALL_FRAME_BYTES = 4096
"""Below this a frame counts as small, in decoded bytes."""
OPTIONS = {int(zstd.DecompressionParameter.window_log_max): WINDOW_LOG}


class ZstdDecompressor:
    """Undoes Zstandard a bounded step at a time: any number of frames, one after the other.

    Attributes:
        needs_input: all input has been used and all output given.
    Source: RFC 8878 §3.1, RFC 9659; RFC 9110 §8.4.1.
    """

    __slots__ = ("_frame_bytes", "_rest", "_small_frames", "_zstd", "needs_input")

    def __init__(self) -> None:
        self._zstd: zstd.ZstdDecompressor | None = None
        self._rest = b""
        self._frame_bytes = 0
        self._small_frames = 0
        self.needs_input = True

    @property
    def complete(self) -> bool:
        """The content may end here: nothing has come, or a frame's end did."""
        return self._zstd is None

    def decompress(self, data: bytes, max_bytes: int) -> bytes:
        """Return at most ``max_bytes`` of output; none when there is too little input.

        Args:
            data: more input when ``needs_input``, else empty.
        Raises:
            ContentError: ``coding``: the content is corrupt, or has a larger window or more small frames than are
                taken.
        """
        data = data or self._rest
        out = b""
        while not out and (data or self._zstd is not None):
            if self._zstd is None:
                self._zstd = zstd.ZstdDecompressor(options=OPTIONS)
                self._frame_bytes = 0
            try:
                out = self._zstd.decompress(data, max_bytes)
            except zstd.ZstdError as exc:
                raise ContentError(f"the zstd content is corrupt: {exc}", reason="coding") from exc
            self._frame_bytes += len(out)
            data = b""
            if self._zstd.eof:
                data = self._zstd.unused_data
                self._zstd = None
                self._count_frame()
            else:
                break
        self._rest = data
        self.needs_input = not data and (self._zstd is None or self._zstd.needs_input)
        return out

    def _count_frame(self) -> None:
        if self._frame_bytes < SMALL_FRAME_BYTES:
            self._small_frames += 1
            if self._small_frames > MAX_SMALL_FRAMES:
                raise ContentError(
                    f"the zstd content has more than {MAX_SMALL_FRAMES} frames of less than {SMALL_FRAME_BYTES} bytes",
                    reason="coding",
                )
