"""Brotli content (``Content-Encoding: br``), undone by the package ``brotli``.

Nobody has to import this: once the package is there, clients ask for the coding and undo it.

Rule 1: output is bounded for each call, which brotli can do since 1.2; what it gives beyond a bound waits here.
"""

from __future__ import annotations

from triohttp.errors import ContentError

try:
    import brotli
except ImportError as exc:
    raise ImportError("br content needs brotli: pip install 'triohttp[brotli]'") from exc
if not hasattr(brotli.Decompressor, "can_accept_more_data"):
    raise ImportError("br content needs brotli 1.2 or later: pip install 'triohttp[brotli]'")

__all__ = ["BrotliDecompressor"]

OUTPUT_BYTES = 16 * 1024
"""The bound that brotli is given: it fills a buffer before it looks, of 32 KiB for any bound up to that."""


class BrotliDecompressor:
    """Undoes brotli a bounded step at a time.

    Source: RFC 7932; RFC 9110 §8.4.1.
    """

    __slots__ = ("_begun", "_brotli", "_more", "_rest")

    def __init__(self) -> None:
        self._brotli = brotli.Decompressor()
        self._begun = False
        self._more = False
        self._rest = b""

    @property
    def needs_input(self) -> bool:
        """All input has been used and all output given."""
        return not (self._rest or self._more)

    @property
    def complete(self) -> bool:
        """The content may end here: nothing has come, or its end did."""
        return not self._begun or self._brotli.is_finished()

    def decompress(self, data: bytes, max_bytes: int) -> bytes:
        """Return at most ``max_bytes`` of output; none when there is too little input.

        Args:
            data: more input when ``needs_input``, else empty.
        Raises:
            ContentError: ``coding``: the content is corrupt, or goes on behind its end.
        """
        if data:
            self._begun = True
        out = self._rest
        if not out:
            try:
                out = self._brotli.process(data, output_buffer_limit=OUTPUT_BYTES)
            except brotli.error as exc:
                raise ContentError("the br content is corrupt, or goes on behind its end", reason="coding") from exc
            # It may have used all its input and still have output: only a buffer that was not filled says that not.
            filled = len(out) >= OUTPUT_BYTES or not self._brotli.can_accept_more_data()
            self._more = filled and not self._brotli.is_finished()
        self._rest = out[max_bytes:]
        return out[:max_bytes]
