"""Stores that this project did not write, run beside the tests of what uses them.

Rule 1: a server listens on a socket of the file system, in a directory of the test's own; where TCP is wanted, a proxy
        of the test listens on a port that the system chose, and can cut its connections.
Rule 2: a server that is not installed means a skipped test, and with ``CI=true`` a failed one.
"""

from __future__ import annotations

import os
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

STARTING_SECONDS = 10


def find_program(name: str) -> str:
    """Return where a program is; without it the test is over."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return found


class RedisServer:
    """A redis-server that a test may kill and start again."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "redis.sock"
        self._directory = directory
        self._program = find_program("redis-server")
        self._client = find_program("redis-cli")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"unix://{self.path}"

    def start(self, *options: str) -> None:
        """Start it, with the data of its directory, and wait until it answers."""
        options = ("--port", "0", "--unixsocket", str(self.path), "--dir", str(self._directory), "--save", "", *options)
        self._process = subprocess.Popen(
            [self._program, *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
        )
        end = time.monotonic() + STARTING_SECONDS
        while self.cli("ping", check=False) != "PONG":
            assert time.monotonic() < end, "redis-server does not answer"
            time.sleep(0.01)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it, by default without giving it the time to save anything."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it stand still, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)  # until then it may answer

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def cli(self, *arguments: str, check: bool = True) -> str:
        """Run redis-cli and return what it says."""
        command = [self._client, "-s", str(self.path), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=check, timeout=STARTING_SECONDS)
        return done.stdout.strip()

    def clients(self) -> list[str]:
        """Return a line for each client but the one that asks."""
        return [line for line in self.cli("client", "list").splitlines() if "cmd=client" not in line]

    def cut(self) -> int:
        """Cut the connections of all other clients, and return how many there were."""
        return int(self.cli("client", "kill", "type", "normal")) + int(self.cli("client", "kill", "type", "pubsub"))

    async def wait_no_clients(self) -> None:
        """Wait until the server has noticed that everybody left."""
        with trio.fail_after(5):
            while self.clients():
                await trio.sleep(0.01)


class Proxy:
    """Stands before a server on TCP, passes bytes on, and cuts when it is told to."""

    def __init__(self, path: Path) -> None:
        self.port = 0
        self.connections = 0
        """How many were made in all."""
        self.refusing = False
        """Whether new ones are ended at once."""
        self.tls: ssl.SSLContext | None = None
        """What to speak TLS with, if at all."""
        self._path = path
        self._open: dict[trio.CancelScope, trio.Event] = {}

    def cut(self) -> None:
        """End every connection."""
        for scope in self._open:
            scope.cancel()

    def freeze(self) -> None:
        """Keep the connections that are open, and pass nothing on over them any more."""
        for frozen in self._open.values():
            frozen.set()

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        """Accept and pass on."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listeners[0].socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._pass_on, listeners)

    async def _pass_on(self, socket: trio.SocketStream) -> None:
        if self.refusing:
            await socket.aclose()
            return
        self.connections += 1
        near: trio.abc.Stream = socket
        if self.tls is not None:
            near = trio.SSLStream(socket, self.tls, server_side=True, https_compatible=True)
        frozen = trio.Event()
        with trio.CancelScope() as scope:
            self._open[scope] = frozen
            try:
                async with near, await trio.open_unix_socket(str(self._path)) as far, trio.open_nursery() as nursery:
                    nursery.start_soon(self._copy, near, far, scope, frozen)
                    nursery.start_soon(self._copy, far, near, scope, frozen)
            except OSError:
                pass  # the server is away; so are we, for this client
            finally:
                del self._open[scope]

    @staticmethod
    async def _copy(
        source: trio.abc.ReceiveStream, target: trio.abc.SendStream, scope: trio.CancelScope, frozen: trio.Event
    ) -> None:
        try:
            async for data in source:
                if not frozen.is_set():
                    await target.send_all(data)
        except trio.BrokenResourceError:
            pass
        scope.cancel()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A redis-server of this test's own."""
    server = RedisServer(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def standing_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server that many tests use one after the other."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
async def proxy(redis_server: RedisServer, nursery: trio.Nursery) -> Proxy:
    """A proxy before this test's server."""
    proxy = Proxy(redis_server.path)
    await nursery.start(proxy.serve)
    return proxy
