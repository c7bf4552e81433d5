"""Lines of text from a stream of bytes.

Rule 1: a line ends with LF or CRLF and nothing else: other "line breaks" of Unicode are text.
Rule 2: linear whatever the pieces: only new bytes are searched.
Rule 3: an object, not a generator: leaving a loop early leaves nothing open.
"""

from __future__ import annotations

import codecs
from typing import Self

import trio

from triohttp.errors import ContentError, LimitError

__all__ = ["LineReader"]


class LineReader:
    """An asynchronous iterator over the lines of a stream, without their ends.

    Args:
        stream: where to receive.
        codec: how a line is decoded, each by itself; a byte order mark of UTF-8 is no part of the first one.
        max_line_bytes: bound on one line.
    Raises:
        ContentError: ``charset``: LF is not one byte in it, so that lines cannot be told apart (UTF-16).
    """

    __slots__ = ("_begun", "_buffer", "_codec", "_ended", "_max", "_searched", "_start", "_stream")

    def __init__(self, stream: trio.abc.ReceiveStream, codec: str, max_line_bytes: int) -> None:
        if "\n".encode(codec) != b"\n":
            raise ContentError(f"{codec} cannot be read line by line", reason="charset")
        self._stream = stream
        self._codec = codec
        self._max = max_line_bytes
        self._buffer = bytearray()
        self._start = 0
        self._searched = 0
        self._ended = False
        self._begun = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """Return the next line; it checkpoints where it receives, not for each of many lines that are there already.

        Cancellation: resumable.
        Raises:
            ContentError: ``charset``: the line is not in its charset.
            LimitError: the line passes ``max_line_bytes``.
        """
        buffer = self._buffer
        while True:
            end = buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(buffer[self._start : end])
                self._start = self._searched = end + 1
                return self._decoded(line[:-1] if line.endswith(b"\r") else line)
            self._searched = len(buffer)
            if self._searched - self._start > self._max:
                raise LimitError(f"a line passes max_line_bytes={self._max}", limit="max_line_bytes", bound=self._max)
            if self._ended:
                line = bytes(buffer[self._start :])
                self._start = self._searched
                if not line:
                    raise StopAsyncIteration
                return self._decoded(line)
            data = await self._stream.receive_some()
            del buffer[: self._start]
            self._searched -= self._start
            self._start = 0
            if data:
                buffer += data
            else:
                self._ended = True

    def _decoded(self, line: bytes) -> str:
        if len(line) > self._max:
            raise LimitError(f"a line passes max_line_bytes={self._max}", limit="max_line_bytes", bound=self._max)
        if not self._begun:
            self._begun = True
            if self._codec == "utf-8":
                line = line.removeprefix(codecs.BOM_UTF8)
        try:
            return line.decode(self._codec)
        except UnicodeDecodeError as exc:
            raise ContentError(f"a line is not {self._codec}: {exc.reason}", reason="charset") from exc
