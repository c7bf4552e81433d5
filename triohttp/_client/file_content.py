"""Files as the content of a request: paths, binary files that are open, and those of trio.

Rule 1: the event loop never waits for a disk: files are asked in threads, all but those that lie in memory.
Rule 2: a thread that reads a file with positions is waited for, even when cancelled: a read of a disk ends soon, and
        one that went on would move the position under the next pass, or under the caller.
Rule 3: a thread that reads a pipe or a terminal is left behind when cancelled: it may never end. What it reads then is
        lost, which no second pass can notice: there is none.
Rule 4: before the last bytes go out the file is asked whether there are more: a file that grew while it was sent
        is an error of the program's, and the server must not take its first part for the whole.
"""

from __future__ import annotations

import errno
import inspect
import io
import os
import stat
from collections.abc import AsyncIterable, Callable
from typing import Any, BinaryIO, TypeVar, cast

import trio

from triohttp.errors import clip

from .body import ContentSource, Readable, wrong_length

__all__ = ["PIECE_BYTES", "file_source"]

PIECE_BYTES = 64 * 1024
"""How much is asked for at a time: a hop into a thread costs 200 µs, which bounds this at some 300 MB a second."""

T = TypeVar("T")


def file_source(content: object) -> ContentSource | None:
    """Return the source for a path or a file, None for anything else.

    Raises:
        TypeError: the file gives text.
        ValueError: the file is closed.
    """
    if isinstance(content, os.PathLike):
        return PathSource(content)
    if hasattr(content, "wrapped") and inspect.iscoroutinefunction(getattr(content, "read", None)):
        # What `trio.open_file` and `trio.wrap_file` return does the same in threads, one call in each: in one call of
        # ours a cancellation cannot come between a seek and what depends on it.
        content = content.wrapped
    read = getattr(content, "read", None)
    if not callable(read) or inspect.iscoroutinefunction(read) or isinstance(content, AsyncIterable):
        return None  # the method is another one, such as the `read` of content that comes in
    if isinstance(content, io.TextIOBase) or getattr(content, "encoding", None) is not None:
        raise TypeError(f'a file must give bytes: open it with "rb", {clip(content)} gives text')
    if isinstance(content, io.BytesIO):
        return MemorySource(content)
    return FileSource(cast("Readable", content))


def _can_seek(file: object) -> bool:
    seekable = getattr(file, "seekable", None)
    if seekable is not None:
        return bool(seekable())
    return hasattr(file, "seek") and hasattr(file, "tell")


class FileSource:
    """A binary file that the caller has opened: from where it stands to its end.

    One request at a time may use it; its position is left wherever reading it stopped.
    """

    __slots__ = ("_at_end", "_began", "_file", "_passed", "_read", "_start", "blocks", "replayable")

    def __init__(self, file: Readable) -> None:
        self._file: Any = file
        self._began = self._at_end = False
        self._passed = 0
        self._start: int | None = None
        self.blocks = True
        self.replayable = _can_seek(file)
        # From a pipe what is there, instead of waiting until there is more.
        self._read: Callable[[int], Any] = file.read if self.replayable else getattr(file, "read1", file.read)

    def __repr__(self) -> str:
        return f"the file {clip(getattr(self._file, 'name', self._file))}"

    async def measure(self) -> int | None:
        """Return how many bytes there are from the position to the end."""
        return await self._ask(self._find_length) if self.replayable else None

    async def next_piece(self, length: int | None) -> object:
        """Return the next piece.

        Cancellation: resumable for a file with positions; what a pipe gives meanwhile is lost.
        """
        return None if self._at_end else await self._ask(lambda: self._next_piece(length))

    async def aclose(self) -> None:
        """End the pass; the file stays open, it is the caller's."""
        self._began = self._at_end = False
        self._passed = 0

    async def _ask(self, question: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(question, abandon_on_cancel=not self.replayable)

    def _find_length(self) -> int | None:
        file = self._file
        if self._start is None:
            self._start = file.tell()
        try:
            file.seek(0, os.SEEK_END)
        except io.UnsupportedOperation:  # it only goes forth and back where it has been
            return None
        end: int = file.tell()  # not what seek returns: a memory map's returns nothing
        file.seek(self._start)
        return max(0, end - self._start)

    def _next_piece(self, length: int | None) -> object:
        if not self._began:
            self._begin(length)
            self._began = True
        piece = self._read(PIECE_BYTES)
        if piece is None:
            raise BlockingIOError(
                errno.EAGAIN, "the file is in non-blocking mode and has nothing to give now", repr(self)
            )
        if not isinstance(piece, (bytes, bytearray)):
            return piece  # it is refused with an explanation
        self._passed += len(piece)
        if not piece:
            self._at_end = True
            if length is not None and self._passed != length:
                raise wrong_length(length, f"only {self._passed} by now", repr(self))
            return None
        if length is not None and self._passed >= length and self.replayable:
            if self._passed > length or self._read(1):
                raise wrong_length(length, "more by now", repr(self))
            self._at_end = True
        return piece

    def _begin(self, length: int | None) -> None:
        if not self.replayable:
            return
        if self._start is None:
            self._start = self._file.tell()
        else:
            self._file.seek(self._start)


class MemorySource(FileSource):
    """A file that lies in memory: no thread is needed."""

    __slots__ = ()

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(cast("Readable", file))
        self.blocks = False

    async def _ask(self, question: Callable[[], T]) -> T:
        return question()


class PathSource(FileSource):
    """A regular file by its path: opened when its first piece is asked for, closed at the end of each pass.

    Only its size is asked for in advance, so that a request that waits for a connection holds no file open.
    """

    __slots__ = ("_path",)

    def __init__(self, path: os.PathLike[str] | os.PathLike[bytes]) -> None:
        self._path = path
        self._file: BinaryIO | io.FileIO | None = None
        self._began = self._at_end = False
        self._passed = 0
        self.blocks = self.replayable = True

    def __repr__(self) -> str:
        return f"the file {clip(os.fspath(self._path))}"

    async def aclose(self) -> None:
        """End the pass and close the file; one that was only read has nothing to write, so that closing never waits."""
        await super().aclose()
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _find_length(self) -> int | None:
        status = os.stat(self._path)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(self._path))
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{self!r} is no regular file: open it, and give the open file")
        return status.st_size

    def _begin(self, length: int | None) -> None:
        file = self._file = open(self._path, "rb", buffering=0)  # noqa: SIM115  # closed by `aclose`
        self._read = file.read
        size = os.fstat(file.fileno()).st_size
        if length is not None and size != length:
            raise wrong_length(length, f"{size} by now", repr(self))
