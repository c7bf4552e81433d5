"""What a process that runs ``trio.run(serve, app)`` does with signals, seen from outside it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from triohttp import serve
from triohttp.lowlevel import Exchange

PROGRAM = """
import sys
from functools import partial
import trio
from triohttp import Headers, Timeouts, serve
from triohttp.lowlevel import ResponseHead

async def service(exchange):
    what = exchange.head.target
    if what == "/drain":
        print("waiting", flush=True)
        await exchange.wait_draining()
        await exchange.respond(ResponseHead(200, Headers()), b"finished")
    elif what == "/big":
        exchange.begin(ResponseHead(200, Headers()))
        print("sending", flush=True)
        try:
            while True:
                await exchange.send(bytes(1_000_000))
        finally:
            print("big ended", flush=True)
    elif what == "/stubborn":
        print("stubborn", flush=True)
        while True:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                pass
    else:
        await exchange.respond(ResponseHead(200, Headers()), b"hello")

try:
    trio.run(partial(serve, service, "127.0.0.1", 0, timeouts=Timeouts(drain_seconds=float(sys.argv[1]))))
finally:
    print("left", flush=True)
"""


class Program:
    """A serving process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("triohttp is serving on http://127.0.0.1:"), line
        self.port = int(line.split()[4].rsplit(":", 1)[1])

    def connect(self, target: str = "/") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.settimeout(10)
        sock.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return sock

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ends(self, seconds: float = 15) -> int:
        return self.process.wait(seconds)


@contextmanager
def running(tmp_path: Path, drain_seconds: float = 10) -> Iterator[Program]:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, str(path), str(drain_seconds)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Program(process)
        finally:
            process.kill()
            process.wait()


def read_all(sock: socket.socket) -> bytes:
    received = b""
    with sock:
        while data := sock.recv(65536):
            received += data
    return received


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_drains_and_returns(number: signal.Signals, tmp_path: Path) -> None:
    """Idle connections close, nothing is printed but the two lines, and the exit status is 0."""
    with running(tmp_path) as program:
        with program.connect() as idle:
            assert b"hello" in idle.recv(65536)
            program.process.send_signal(number)
            assert idle.recv(65536) == b""
        assert program.ends() == 0
        assert program.says() == "left"
        assert program.process.stderr is not None
        rest = program.process.stderr.read()
        assert rest == f"triohttp is draining after {number.name}; once more stops it at once\n"


def test_a_request_in_flight_is_finished(tmp_path: Path) -> None:
    """What was being answered when the signal came is answered whole, and closed."""
    with running(tmp_path) as program:
        sock = program.connect("/drain")
        assert program.says() == "waiting"
        program.process.send_signal(signal.SIGTERM)
        answer = read_all(sock)
        assert b"Connection: close" in answer
        assert answer.endswith(b"finished")
        assert program.ends() == 0


def test_a_reader_that_stopped_reading_does_not_hold_the_end(tmp_path: Path) -> None:
    """At the grace's end a blocked send is cut and the process ends, status 0."""
    with running(tmp_path, drain_seconds=0.3) as program, program.connect("/big"):
        assert program.says() == "sending"
        program.process.send_signal(signal.SIGTERM)
        assert program.ends() == 0
        assert program.says() == "big ended"


def test_a_second_signal_ends_it_with_status_1(tmp_path: Path) -> None:
    """Ctrl-C twice does not wait for the grace."""
    with running(tmp_path, drain_seconds=60) as program, program.connect("/big"):
        assert program.says() == "sending"
        program.process.send_signal(signal.SIGINT)
        assert program.process.stderr is not None
        assert "draining" in program.process.stderr.readline()
        program.process.send_signal(signal.SIGINT)
        assert program.ends() == 1
        assert program.says() == "big ended"


def test_a_handler_that_ignores_its_cancellation_is_named_and_the_process_ends(tmp_path: Path) -> None:
    """Five seconds after the grace the stack of what will not go is on stderr and the process is gone."""
    with running(tmp_path, drain_seconds=0.1) as program, program.connect("/stubborn"):
        assert program.says() == "stubborn"
        program.process.send_signal(signal.SIGTERM)
        assert program.ends() == 70
        assert program.process.stderr is not None
        said = program.process.stderr.read()
        assert "ignores its cancellation" in said
        assert "in service" in said
        assert "sleep_forever" in said


async def test_an_embedded_server_leaves_signals_alone(nursery: trio.Nursery) -> None:
    """Under nursery.start no handler is installed: the process' signals are its own."""

    async def service(exchange: Exchange) -> None:
        raise AssertionError("nobody calls")

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    server = await nursery.start(serve, service, "127.0.0.1", 0)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    await server.shutdown(grace=0)
