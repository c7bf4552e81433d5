"""Content whose codings are undone while it is received: as a stream, or collected.

Rule 1: raw content is received only when all that came before is decoded and handed out: backpressure goes through.
Rule 2: the decoder is driven without awaiting, and one thing is awaited a turn: a cancellation of the stream loses
        nothing.
Rule 3: decoding yields: a step of 64 KiB at most lies between two checkpoints of the stream, 1 MiB between two of
        the collector, however much a few bytes become.
"""

from __future__ import annotations

import trio

from triohttp._wire.coding import Decoder
from triohttp.errors import BodyTooLargeError

__all__ = ["DecodedCollector", "DecodedStream"]

YIELD_STEPS = 16
"""Steps without yielding: at most 1 MiB collected, a few ms of decoding."""


class DecodedStream(trio.abc.ReceiveStream):
    """Decoded content as a trio receive stream, over one of content as it was sent.

    Args:
        raw: where to receive; it is closed with this stream.
        decoder: what undoes the codings; it belongs to this stream from now on.
    """

    __slots__ = ("_at_end", "_closed", "_decoder", "_offset", "_piece", "_raw", "_raw_ended", "_receiving")

    def __init__(self, raw: trio.abc.ReceiveStream, decoder: Decoder) -> None:
        self._raw = raw
        self._decoder = decoder
        self._piece = b""
        self._offset = 0
        self._raw_ended = False
        self._at_end = False
        self._closed = False
        self._receiving = False

    @property
    def raw_bytes(self) -> int:
        """Bytes received as they were sent."""
        return self._decoder.raw_bytes

    @property
    def decoded_bytes(self) -> int:
        """Bytes decoded so far: those handed out, and at most 64 KiB more."""
        return self._decoder.decoded_bytes

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return some decoded content, at most ``max_bytes`` and at most 64 KiB; ``b""`` at its end.

        Cancellation: resumable.
        Raises:
            BodyTooLargeError: ``max_decode_ratio``: the content becomes much more than it was.
            ContentError: ``coding``: it is corrupt, was cut off, or goes on behind its end. Either of these is raised
                again by every later call.
            trio.BusyResourceError: another task is receiving.
            trio.ClosedResourceError: the stream was closed.
            BaseException: what receiving raw content raises.
        """
        if max_bytes is not None and max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, not {max_bytes!r}")
        if self._closed:
            raise trio.ClosedResourceError("this content was closed before")
        if self._receiving:
            raise trio.BusyResourceError("another task is already receiving this content")
        self._receiving = True
        try:
            if self._piece or self._at_end:
                await trio.lowlevel.checkpoint()
            else:
                await self._fill()
        finally:
            self._receiving = False
        if self._closed:  # by another task, meanwhile
            raise trio.ClosedResourceError("this content was closed before")
        return self._take(max_bytes)

    async def _fill(self) -> None:
        """Get the next piece, or see the end."""
        decoder = self._decoder
        turns = 0
        while not self._piece and not self._closed:
            turns += 1
            # Content that has come already is received without yielding; with nothing to show for it, that adds up.
            if decoder.needs_input and not self._raw_ended and turns % YIELD_STEPS:
                data = await self._raw.receive_some()
                if data:
                    decoder.feed(bytes(data))
                else:
                    self._raw_ended = True
            else:
                await trio.lowlevel.checkpoint()
            if decoder.needs_input and self._raw_ended:
                decoder.finish()
                self._at_end = True
                return
            self._piece = decoder.next_piece()

    def _take(self, max_bytes: int | None) -> bytes:
        piece, start = self._piece, self._offset
        if max_bytes is None or len(piece) - start <= max_bytes:
            self._piece, self._offset = b"", 0
            return piece[start:]
        self._offset = start + max_bytes
        return piece[start : start + max_bytes]

    async def aclose(self) -> None:
        """Close the raw stream, and with it this one; what was not handed out is lost."""
        self._closed = True
        self._piece = b""
        self._offset = 0
        await self._raw.aclose()


class DecodedCollector:
    """Whole decoded content, from raw pieces as they come in.

    Args:
        decoder: what undoes the codings.
        max_bytes: bound on the decoded content, in bytes; None for none.
    """

    __slots__ = ("_decoder", "_max_bytes", "_pieces", "_steps")

    def __init__(self, decoder: Decoder, max_bytes: int | None) -> None:
        self._decoder = decoder
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._steps = 0

    async def add(self, data: bytes) -> None:
        """Decode and keep what came in.

        It checkpoints only once in 16 steps, of 64 KiB at most; whoever received ``data`` has checkpointed.

        Cancellation: fatal.
        Raises:
            BodyTooLargeError: the decoded content passes ``max_bytes`` (``max_body_bytes``), by no more than 64 KiB; or
                it becomes much more than it was (``max_decode_ratio``).
            ContentError: ``coding``: it is corrupt, or goes on behind its end.
        """
        decoder, limit = self._decoder, self._max_bytes
        decoder.feed(data)
        while not decoder.needs_input:
            if self._steps == YIELD_STEPS:
                self._steps = 0
                await trio.lowlevel.checkpoint()
            self._steps += 1
            if piece := decoder.next_piece():
                self._pieces.append(piece)
                if limit is not None and decoder.decoded_bytes > limit:
                    raise BodyTooLargeError(
                        f"the content passes max_body_bytes={limit} after its codings were undone",
                        limit="max_body_bytes",
                        bound=limit,
                    )

    def finish(self) -> bytes:
        """Return the whole content, once all of it was added.

        Raises:
            ContentError: ``coding``: it was cut off.
        """
        self._decoder.finish()
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
