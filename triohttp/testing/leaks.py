"""The leak check: what a block of code leaves behind that was not there before.

Rule 1: it compares, it does not count: what existed before is nobody's leak, what is new at the end is named.
Rule 2: idle worker threads of trio's cache are trio's own; a worker that still runs a job is a leak.
Rule 3: a block that raises keeps its own exception: its frames hold things open, and a report would hide the cause.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

__all__ = ["LeakError", "no_leaks"]

SETTLE_SECONDS = 1.0
"""What a thread that has been told to end gets for ending."""

IDLE_WORKER = re.compile(r"Trio thread \d+")


class LeakError(AssertionError):
    """A block left something behind.

    Attributes:
        leaks: one line a thing that was left.
    """

    def __init__(self, leaks: list[str]) -> None:
        super().__init__("left behind:\n" + "\n".join(f"  {leak}" for leak in leaks))
        self.leaks = leaks


@contextmanager
def no_leaks(*, temporary_files: Path | None = None, collect: bool = True) -> Iterator[None]:
    """Raise LeakError if the block leaves a task, a descriptor, a thread or a file, or drops something unclosed.

    It works around ``trio.run`` and inside of it; tasks are seen only from inside. Dropped coroutines and resources are
    found through their warnings, also while the block runs.

    Args:
        temporary_files: a directory in which no new entry may be left, best one that no other program writes to.
        collect: collect garbage at the end, so that what hangs in reference cycles is found too.
    Raises:
        LeakError: something was left; not raised when the block itself raises.
    """
    before = _Snapshot.take(temporary_files)
    dropped: list[str] = []
    with warnings.catch_warnings():
        show = warnings.showwarning

        def note(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: object = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, ResourceWarning) or "was never awaited" in str(message):
                dropped.append(f"{category.__name__}: {message} ({filename}:{lineno})")
            else:
                show(message, category, filename, lineno, None, line)

        warnings.showwarning = note
        warnings.filterwarnings("always", category=ResourceWarning)
        warnings.filterwarnings("always", message=".*was never awaited", category=RuntimeWarning)
        yield
        if collect:
            gc.collect()
    left = [*dropped, *_Snapshot.take(temporary_files).beyond(before)]
    if left:
        raise LeakError(left)


@dataclass(slots=True, frozen=True)
class _Snapshot:
    """What exists at one moment."""

    tasks: frozenset[trio.lowlevel.Task]
    threads: frozenset[threading.Thread]
    descriptors: frozenset[tuple[int, str]]
    files: frozenset[str]

    @classmethod
    def take(cls, temporary_files: Path | None) -> _Snapshot:
        return cls(
            tasks=frozenset(_walk_tasks()),
            threads=frozenset(thread for thread in threading.enumerate() if not _is_idle_worker(thread)),
            descriptors=frozenset(_list_descriptors()),
            files=frozenset(os.listdir(temporary_files)) if temporary_files is not None else frozenset(),
        )

    def beyond(self, before: _Snapshot) -> list[str]:
        """Describe what is here and was not there before."""
        return [
            *(f"task {task.name}" for task in self.tasks - before.tasks),
            *(f"thread {thread.name}" for thread in self.threads - before.threads if _is_alive(thread)),
            *(f"descriptor {number} ({target})" for number, target in sorted(self.descriptors - before.descriptors)),
            *(f"temporary file {name}" for name in sorted(self.files - before.files)),
        ]


def _walk_tasks() -> Iterator[trio.lowlevel.Task]:
    """Every task of the run that goes on, none outside of one."""
    if not trio.lowlevel.in_trio_run():
        return
    root = trio.lowlevel.current_root_task()
    waiting = [root] if root is not None else []
    while waiting:
        task = waiting.pop()
        yield task
        for nursery in task.child_nurseries:
            waiting.extend(nursery.child_tasks)


def _is_idle_worker(thread: threading.Thread) -> bool:
    return IDLE_WORKER.fullmatch(thread.name) is not None  # a worker bears its job's name while it works


def _is_alive(thread: threading.Thread) -> bool:
    thread.join(SETTLE_SECONDS)
    return thread.is_alive() and not _is_idle_worker(thread)


def _list_descriptors() -> Iterator[tuple[int, str]]:
    """Open descriptors and what they stand for; nothing on systems that do not tell."""
    if sys.platform != "linux":
        return
    for entry in os.listdir("/proc/self/fd"):
        try:
            yield int(entry), os.readlink(f"/proc/self/fd/{entry}")
        except OSError:  # the listing's own descriptor, closed by now
            continue
