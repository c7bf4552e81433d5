"""Progress bars: of rich where it is installed, of one plain line where not, and none where nobody looks.

Rule 1: a bar goes to standard error, and only to a terminal.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Progress", "open_progress"]

REDRAW_SECONDS = 0.1


class Progress(Protocol):
    """What tells how far something is."""

    def begin(self, done_bytes: int, total_bytes: int | None) -> None:
        """Start, or start again, from ``done_bytes`` of ``total_bytes``; None when nobody knows."""

    def moved(self, done_bytes: int) -> None:
        """So much is done."""

    def say(self, text: str) -> None:
        """Print a line beside the bar."""


class _Silent:
    def begin(self, done_bytes: int, total_bytes: int | None) -> None:
        pass

    def moved(self, done_bytes: int) -> None:
        pass

    def say(self, text: str) -> None:
        print(text, file=sys.stderr)


class _Line:
    """One line that is written over and over."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._total: int | None = None
        self._began = time.monotonic()
        self._from = 0
        self._drawn = 0.0

    def begin(self, done_bytes: int, total_bytes: int | None) -> None:
        self._total, self._from, self._began = total_bytes, done_bytes, time.monotonic()
        self._draw(done_bytes)

    def moved(self, done_bytes: int) -> None:
        if time.monotonic() - self._drawn >= REDRAW_SECONDS or done_bytes == self._total:
            self._draw(done_bytes)

    def say(self, text: str) -> None:
        print(f"\r\x1b[K{text}", file=sys.stderr)

    def _draw(self, done: int) -> None:
        self._drawn = time.monotonic()
        speed = (done - self._from) / max(self._drawn - self._began, 0.001)
        share = f"{done * 100 // self._total:3d} % of {_size(self._total)}" if self._total else _size(done)
        print(f"\r\x1b[K{self._name}  {share}  {_size(speed)}/s", end="", file=sys.stderr, flush=True)


@contextmanager
def open_progress(name: str) -> Iterator[Progress]:
    """Show how far ``name`` is, as far as anybody looks."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    try:
        from triohttp.integrations.rich import open_bar
    except ImportError:
        yield _Line(name)
        print(file=sys.stderr)
        return
    with open_bar(name) as bar:
        yield bar


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"
