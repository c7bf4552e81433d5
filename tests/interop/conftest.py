"""Programs that this project did not write, run beside a server or a client of ours.

Rule 1: a test starts what it talks to and ends it; what listens does so on a port that the system chose.
Rule 2: a program that is not installed means a skipped test, and with ``CI=true`` a failed one.
Rule 3: a program gets a directory of its own for its home and its temporary files, and no proxy.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

import pytest
import trio

from triohttp import Limits, Server, Timeouts, open_server
from triohttp.testing import open_error_trap
from triohttp.testing.in_process import Servable

HERE = Path(__file__).parent
SYSTEM_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
INHERITED = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "NODE_PATH")
CURL_SECONDS = 20
ENDING_SECONDS = 5


@dataclass
class Finished:
    """What a program that has ended leaves."""

    status: int
    output: bytes
    errors: bytes

    @property
    def text(self) -> str:
        """What it wrote, as text."""
        return self.output.decode()


class Beside:
    """A program that runs beside a block; all that it writes is read as it comes, so that nothing holds it up."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.output = ""
        self._written = trio.Event()
        self._ended = trio.Event()

    @property
    def line(self) -> str:
        """The first line that it wrote."""
        return self.output.splitlines()[0]

    async def read(self) -> None:
        """Read all that it writes."""
        assert self.process.stdout is not None
        async for data in self.process.stdout:
            self.output += data.decode(errors="replace")
            if "\n" in self.output:
                self._written.set()
        self._written.set()
        self._ended.set()

    async def wait_line(self) -> None:
        """Wait for its first line."""
        await self._written.wait()
        assert self.output, "it ended before it had said anything"

    async def wait_end(self) -> int:
        """Wait until it has ended and been read to its end; return its status."""
        status = await self.process.wait()
        await self._ended.wait()
        return status


def not_installed(name: str) -> NoReturn:
    """End a test that needs what is not there."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"{name} is not installed")
    pytest.skip(f"{name} is not installed")


class Programs:
    """Runs programs for one test, in a directory of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        self.environment = {**inherited, "PATH": SYSTEM_PATH, "HOME": str(directory), "TMPDIR": str(directory)}

    def find(self, name: str) -> str:
        """Return where a program is; without it the test is over."""
        found = shutil.which(name, path=SYSTEM_PATH)
        if found is None:
            not_installed(name)
        return found

    async def run(self, name: str, *arguments: str | Path, content: bytes = b"", check: bool = True) -> Finished:
        """Run a program to its end; it has to end well unless ``check`` says otherwise."""
        result = await trio.run_process(
            [self.find(name), *map(str, arguments)],
            stdin=content,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=self.environment,
            cwd=self.directory,
        )
        assert not check or result.returncode == 0, f"{name}: status {result.returncode}: {result.stderr.decode()}"
        return Finished(result.returncode, result.stdout, result.stderr)

    async def curl(self, *arguments: str | Path, content: bytes = b"", check: bool = True) -> Finished:
        """Run curl, without a configuration file and without its progress bar."""
        quiet = ("-q", "-sS", "--max-time", str(CURL_SECONDS))
        return await self.run("curl", *quiet, *arguments, content=content, check=check)

    def beside_tests(self, name: str) -> Path:
        """Return where a file is that lies beside the tests."""
        return HERE / name

    def need_node_package(self, name: str) -> None:
        """Without a package of npm's in one of the directories that ``NODE_PATH`` names the test is over."""
        self.find("node")
        places = os.environ.get("NODE_PATH", "").split(os.pathsep)
        if not any((Path(place) / name).is_dir() for place in places if place):
            not_installed(f"npm's {name}")

    def need_python_package(self, name: str) -> None:
        """Without a package of Python's the test is over."""
        if importlib.util.find_spec(name) is None:
            not_installed(name)

    async def node(self, script: str, *arguments: str | Path) -> Finished:
        """Run a script that lies beside the tests."""
        return await self.run("node", HERE / script, *arguments)

    @asynccontextmanager
    async def beside(self, name: str, *arguments: str | Path) -> AsyncIterator[Beside]:
        """Have a program run beside a block, from its first line of output on; at the end it gets SIGTERM."""
        process = await trio.lowlevel.open_process(
            [self.find(name), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment,
            cwd=self.directory,
        )
        assert process.stdout is not None
        beside = Beside(process)
        async with process.stdout, trio.open_nursery() as nursery:
            nursery.start_soon(beside.read)
            try:
                await beside.wait_line()
                yield beside
            finally:
                process.terminate()
                with trio.move_on_after(ENDING_SECONDS, shield=True):
                    await process.wait()
                process.kill()
                with trio.CancelScope(shield=True):  # bounded by the kill
                    await process.wait()
                nursery.cancel_scope.cancel()


class OpenSite(Protocol):
    """What the fixture ``open_site`` is."""

    def __call__(
        self,
        app: Servable,
        *,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
    ) -> AbstractAsyncContextManager[Server]: ...


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """What runs programs for this test."""
    return Programs(tmp_path)


@pytest.fixture
def open_site() -> OpenSite:
    """What serves an app on a socket for a block; what its handlers raise ends the block."""

    @asynccontextmanager
    async def opener(
        app: Servable,
        *,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
    ) -> AsyncIterator[Server]:
        async with open_error_trap(True), open_server(app, tls=tls, limits=limits, timeouts=timeouts) as server:
            yield server
            await server.shutdown(grace=0)

    return opener
