"""The command line, as a shell sees it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from importlib.metadata import version

import pytest

COMMAND = [sys.executable, "-m", "triohttp"]
SECONDS = 60

pytestmark = pytest.mark.wall_seconds(2 * SECONDS)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=SECONDS, stdin=subprocess.DEVNULL
    )


def test_the_version_is_the_packages() -> None:
    """``triohttp --version`` says which version is installed."""
    done = run("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"triohttp {version('triohttp')}")


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("demo", "--port", "70000"), ("demo", "--port", "http")])
def test_wrong_arguments_are_explained(arguments: tuple[str, ...]) -> None:
    """Arguments that mean nothing end with status 2 and the usage, never with a traceback."""
    done = run(*arguments)
    assert done.returncode == 2
    assert "usage: triohttp" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_demo_calls_itself_and_ends() -> None:
    """``triohttp demo --once`` shows one call of each kind, and ends by itself."""
    done = run("demo", "--once", "--port", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "200 {'hello': 'world'" in done.stdout
    assert "1,048,576 bytes came back" in done.stdout
    assert "5 lines" in done.stdout
    assert re.search(r"GET /nothing/here +404", done.stdout)
    assert re.search(r"DELETE /echo +405, allowed: .*POST", done.stdout)
    assert "the handler of /wait ended after 0." in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_on_a_signal(number: signal.Signals) -> None:
    """Ctrl-C and SIGTERM close the demo's server and leave with status 0 and without a traceback."""
    process = subprocess.Popen(
        [*COMMAND, "demo", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Ctrl-C" in line:
                break
        process.send_signal(number)
        rest = process.communicate(timeout=SECONDS)[0]
    assert process.returncode == 0
    assert "The server has closed." in rest
    assert "Traceback" not in rest


def test_a_port_in_use_is_told_in_one_line() -> None:
    """A demo that cannot listen says where and why on standard error, with status 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("demo", "--once", "--port", str(port))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"127.0.0.1 port {port}" in done.stderr
