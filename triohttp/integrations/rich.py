"""Progress bars by rich.

Needs the extra ``cli``. Rule 1: the bar goes to standard error, so that standard output stays what was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

try:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
except ImportError as exc:
    raise ImportError("progress bars need rich: pip install 'triohttp[cli]'") from exc

__all__ = ["Bar", "open_bar"]


class Bar:
    """A bar that tells how many bytes have been moved.

    Args:
        progress: where it is shown.
        name: of what.
    """

    def __init__(self, progress: Progress, name: str) -> None:
        self._progress = progress
        self._task = progress.add_task(name, total=None)

    def begin(self, done_bytes: int, total_bytes: int | None) -> None:
        """Start, or start again, from ``done_bytes`` of ``total_bytes``; None when nobody knows."""
        self._progress.reset(self._task, total=total_bytes, completed=done_bytes)

    def moved(self, done_bytes: int) -> None:
        """So much is done."""
        self._progress.update(self._task, completed=done_bytes)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(text, markup=False, highlight=False)


@contextmanager
def open_bar(name: str) -> Iterator[Bar]:
    """Show a bar on standard error while the block runs."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bar(progress, name)
