"""The WebSocket client of the examples, run as a program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from triohttp import App, Request, Server, open_server

EXAMPLE = Path(__file__).parents[2] / "examples" / "websocket_client.py"

pytestmark = pytest.mark.wall_seconds(60)


def make_app() -> App:
    app = App()

    @app.get("/echo")
    async def echo(request: Request) -> None:
        async with request.websocket() as ws:
            async for message in ws:
                await ws.send(f"you said {message!r}")

    @app.get("/bye")
    async def bye(request: Request) -> None:
        async with request.websocket() as ws:
            await ws.send(bytes(range(40)))
            await ws.aclose(4001, "that was all")

    return app


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    async with open_server(make_app()) as server:
        yield server


async def run_example(url: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, str(EXAMPLE), url.replace("http", "ws", 1)]
    return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, **options)  # type: ignore[call-overload,no-any-return]  # what run_process takes


async def test_lines_go_out_and_messages_are_printed() -> None:
    """Every line is a message, the last one too, and the answers are printed though the input has ended."""
    async with serving() as server:
        done = await run_example(f"{server.urls[0]}/echo", stdin="one\nzwei, größer\n\nlast".encode())
    assert done.returncode == 0, done.stderr
    said = ["one", "zwei, größer", "", "last"]
    assert done.stdout.decode().splitlines() == [f"you said {line!r}" for line in said]
    assert done.stderr == b"closed with 1000\n"


async def test_the_input_may_be_a_file(tmp_path: Path) -> None:
    """A file is sent as it is, line by line."""
    lines = [f"line {number}" for number in range(2_000)]
    (tmp_path / "lines").write_text("\n".join(lines), encoding="utf-8")
    with (tmp_path / "lines").open("rb") as file:
        async with serving() as server:
            done = await run_example(f"{server.urls[0]}/echo", stdin=file)
    assert done.stdout.decode().splitlines() == [f"you said {line!r}" for line in lines]


async def test_it_ends_when_the_server_closes() -> None:
    """The program says why it was closed, and ends though nobody has ended its input."""
    async with serving() as server:
        command = [sys.executable, str(EXAMPLE), f"{server.urls[0].replace('http', 'ws', 1)}/bye"]
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with process.stdin, process.stdout:
            output = b""
            async for data in process.stdout:
                output += data
            assert await process.wait() == 0, output
    assert output.decode().splitlines() == [
        "40 bytes: 00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f 10 11 12 13 14 15 16 17",
        "closed with 4001 that was all",
    ]


async def test_what_cannot_be_opened_is_said_in_a_line() -> None:
    """A server that opens no WebSocket, or that is not there, is one line and status 1."""
    async with serving() as server:
        for url in (f"{server.urls[0]}/missing", "http://127.0.0.1:1/"):
            done = await run_example(url, stdin=b"")
            assert done.returncode == 1
            assert done.stderr.count(b"\n") == 1
