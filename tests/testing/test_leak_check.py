"""The leak check finds what is left, and nothing else."""

from __future__ import annotations

import socket
import tempfile
import threading
import warnings
from functools import partial
from pathlib import Path

import pytest
import trio

from triohttp.testing import LeakError, no_leaks


def test_what_is_cleaned_up_is_no_leak(tmp_path: Path) -> None:
    """Sockets, threads and files that end inside the block are not reported."""
    with no_leaks(temporary_files=tmp_path):
        socket.socket().close()
        thread = threading.Thread(target=int)
        thread.start()
        with tempfile.TemporaryFile(dir=tmp_path):
            pass


def test_an_open_socket_is_a_leak() -> None:
    """A descriptor that was not there before is named with what it stands for."""
    with pytest.raises(LeakError, match=r"descriptor \d+ \(socket:") as caught, no_leaks():
        left = socket.socket()
    left.close()
    assert len(caught.value.leaks) == 1


def test_a_dropped_socket_is_a_leak() -> None:
    """A socket that only the garbage collector closed is reported, though its descriptor is gone."""

    class Owner:
        def __init__(self) -> None:
            self.itself = self
            self.socket = socket.socket()

    with pytest.raises(LeakError, match="ResourceWarning: unclosed <socket"), no_leaks():
        Owner()


def test_a_coroutine_that_is_never_awaited_is_a_leak() -> None:
    """A forgotten await is reported with the name of the function."""

    async def forgotten() -> None:
        await trio.lowlevel.checkpoint()

    with pytest.raises(LeakError, match=r"coroutine .*forgotten' was never awaited"), no_leaks():
        forgotten()  # type: ignore[unused-coroutine]  # that is the point


def test_other_warnings_pass() -> None:
    """Warnings that are no leaks go where they would have gone."""
    with pytest.warns(UserWarning, match="careful"), no_leaks():
        warnings.warn("careful", stacklevel=1)


def test_a_running_thread_is_a_leak() -> None:
    """A thread that still runs is named."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait, name="straggler")
    with pytest.raises(LeakError, match="thread straggler"), no_leaks():
        thread.start()
    end.set()
    thread.join()


def test_a_worker_of_trio_is_a_leak_only_while_it_works() -> None:
    """Trio keeps idle threads for later use; one that was abandoned at its job is named after the job."""
    begun, end = threading.Event(), threading.Event()

    def job() -> None:
        begun.set()
        end.wait()

    async def abandon() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(trio.to_thread.run_sync, job, abandon_on_cancel=True))
            while not begun.is_set():
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()

    with no_leaks():
        trio.run(trio.to_thread.run_sync, int)
    with pytest.raises(LeakError, match=r"thread .*job"), no_leaks():
        trio.run(abandon)
    end.set()
    with no_leaks():
        trio.run(trio.to_thread.run_sync, int)


def test_a_temporary_file_is_a_leak(tmp_path: Path) -> None:
    """A file in the directory that is watched is named."""
    (tmp_path / "old").touch()
    with pytest.raises(LeakError, match="temporary file new") as caught, no_leaks(temporary_files=tmp_path):
        (tmp_path / "new").touch()
    assert len(caught.value.leaks) == 1


async def test_a_task_is_a_leak() -> None:
    """Inside a run, a task that was started in the block and still runs is named."""
    async with trio.open_nursery() as nursery:
        with pytest.raises(LeakError, match=r"task .*sleep_forever"), no_leaks():
            nursery.start_soon(trio.sleep_forever)
        nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        with no_leaks():
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()


async def test_a_system_task_is_a_leak() -> None:
    """Tasks outside of every nursery of the program are found too."""
    task = None
    with pytest.raises(LeakError, match="task detached"), no_leaks():
        task = trio.lowlevel.spawn_system_task(trio.sleep, 0, name="detached")
    while task in task.parent_nursery.child_tasks:
        await trio.lowlevel.checkpoint()


def test_a_block_that_raises_keeps_its_exception() -> None:
    """The error that came first is not hidden behind what it left open."""
    left: list[socket.socket] = []

    def fail() -> None:
        left.append(socket.socket())
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), no_leaks():
        fail()
    left[0].close()
