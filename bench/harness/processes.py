"""Programs that the bench starts, the core each one runs on, and the processor time each one has used.

Rule 1: what is measured runs on core 0, what loads it on core 1; with a single core, or without taskset, both share.
Rule 2: a program is ended by its own process id, whatever happens to the bench.
Rule 3: processor time is the kernel's own account of the process (user and system, all threads) in nanoseconds, read
from outside; time that the machine gave to others is not in it.
"""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "LOAD_CORE",
    "MEASURED_CORE",
    "Program",
    "allow_descriptors",
    "free_port",
    "pin_this_process",
    "pinned",
    "running",
]

MEASURED_CORE = 0
LOAD_CORE = 1
_START_SECONDS = 15.0
_STOP_SECONDS = 3.0
_SLOWED_BY = 20.0  # by an instrument such as valgrind


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """Return the command, made to run on one core where the machine can do that."""
    taskset = shutil.which("taskset")
    if taskset is None or core not in os.sched_getaffinity(0):
        return list(command)
    return [taskset, "--cpu-list", str(core), *command]  # it replaces itself: the process id stays that of the command


@contextmanager
def pin_this_process(core: int) -> Iterator[None]:
    """Run the block on one core, where the machine has it."""
    before = os.sched_getaffinity(0)
    if core in before:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_descriptors(count: int) -> None:
    """Let this process, and the programs that it starts from now on, have so many open descriptors each.

    Raises:
        SystemExit: the machine does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise SystemExit(f"bench: {count} open descriptors are needed, {hard} are allowed (ulimit -n)")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


class Program:
    """A running program and the port it listens on."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.output = b""
        """What it wrote, once it has ended."""

    def cpu_seconds(self) -> float:
        """Return the processor time used so far by the program and its living children."""
        return sum(map(_cpu_seconds, _family(self.process.pid)))

    def resident_bytes(self) -> int:
        """Return the memory of the program and its living children that is in RAM; what they share counts for each."""
        return sum(map(_resident_bytes, _family(self.process.pid)))


def _cpu_seconds(pid: int) -> float:
    # What clock_getcpuclockid(3) computes on Linux. /proc/<pid>/stat says the same in steps of 10 ms.
    return time.clock_gettime((~pid << 3) | 2)


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


def _family(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    *,
    core: int = MEASURED_CORE,
    environment: Mapping[str, str] | None = None,
    slow: bool = False,
) -> Iterator[Program]:
    """Run a server program for the length of the block; the block begins once it accepts connections.

    Args:
        command: what to run.
        port: where it will listen.
        core: where it runs.
        environment: variables that it gets beside ours.
        slow: it runs under an instrument, and gets twenty times as long to start and to stop.
    Raises:
        RuntimeError: the program ended, or did not listen in time, or the block raised it; a note says what it wrote.
    """
    patience = _SLOWED_BY if slow else 1.0
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            pinned(core, command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        program = Program(process, port)
        failure: RuntimeError | None = None
        try:
            _wait_listening(process, port, _START_SECONDS * patience)
            yield program
            if process.poll() is not None:
                raise RuntimeError(f"the program ended by itself with {process.returncode}")
        except RuntimeError as error:
            failure = error
            raise
        finally:
            _stop(process, _STOP_SECONDS * patience)
            output.seek(0)
            program.output = output.read()
            if failure is not None:  # it passes every program that runs; nobody knows here which one is at fault
                written = program.output.decode(errors="replace")[-4000:]
                failure.add_note(f"{' '.join(command)} wrote:\n{written or 'nothing'}")


def _wait_listening(process: subprocess.Popen[bytes], port: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"the program does not listen on port {port}")


def _stop(process: subprocess.Popen[bytes], seconds: float) -> None:
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:  # a peer may hold on to connections; nothing is measured any more
        process.kill()
        process.wait()
