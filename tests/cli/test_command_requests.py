"""The commands that make requests, as a shell and a terminal see them."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from triohttp import App, Event, Request, Response, Server, open_server

COMMAND = [sys.executable, "-m", "triohttp"]
SECONDS = 60
CONTENT = bytes(range(256)) * 4000

pytestmark = pytest.mark.wall_seconds(2 * SECONDS)


def make_app(cuts: list[int]) -> App:
    app = App()

    @app.route("/echo", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
    async def echo(request: Request) -> Response:
        fields = {name.lower(): value for name, value in request.headers.field_lines()}
        seen = {"method": request.method, "query": request.url.query, "headers": fields}
        seen["content"] = (await request.read()).decode("utf-8", "replace")
        return Response.json(seen)

    @app.get("/status/{code:int}")
    async def status(request: Request) -> Response:
        return Response(b"why\n", status=int(request.path_params["code"]), media_type="text/plain")

    @app.get("/moved")
    async def moved(request: Request) -> Response:
        return Response.redirect("/echo", status=302)

    @app.get("/slow")
    async def slow(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    @app.get("/file.bin")
    async def file(request: Request) -> Response | None:
        """A file with a validator, of which the first answers are cut."""
        start = 0
        if (field := request.headers.get("range")) and request.headers.get("if-range") == '"v1"':
            start = int(field.removeprefix("bytes=").rstrip("-"))
        end = len(CONTENT) if not cuts else start + cuts.pop(0)
        headers = {"ETag": '"v1"', "Content-Length": str(len(CONTENT) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
        async with request.respond(206 if start else 200, headers) as body:
            await body.send_all(CONTENT[start:end])
            if end < len(CONTENT):
                raise ConnectionAbortedError
        return None

    @app.get("/events")
    async def events(request: Request) -> None:
        async with request.events() as sender:
            await sender.send(Event("one", id="1"))
            await sender.send(Event("two\nlines", type="note"))
            await trio.sleep_forever()

    @app.get("/ws")
    async def talk(request: Request) -> None:
        async with request.websocket() as ws:
            async for message in ws:
                await ws.send(message[::-1])

    return app


@pytest.fixture(scope="module")
def cuts() -> list[int]:
    return []


@pytest.fixture(scope="module")
def url(cuts: list[int]) -> Iterator[str]:
    """Where a server in a thread of its own listens."""
    started: queue.Queue[tuple[str, trio.lowlevel.TrioToken, trio.Event]] = queue.Queue()

    async def main() -> None:
        stop = trio.Event()
        server: Server
        async with open_server(make_app(cuts)) as server:
            started.put((server.urls[0].rstrip("/"), trio.lowlevel.current_trio_token(), stop))
            await stop.wait()
            await server.shutdown(grace=0)

    thread = threading.Thread(target=trio.run, args=(main,))
    thread.start()
    address, token, stop = started.get(timeout=SECONDS)
    yield address
    trio.from_thread.run_sync(stop.set, trio_token=token)
    thread.join()


def run(*arguments: str, text: str = "", cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=SECONDS, input=text, cwd=cwd,
        env={**os.environ, **environ},
    )  # fmt: skip


def test_a_request_with_everything(url: str) -> None:
    """Method, query, fields, credentials and JSON arrive; the answer goes to standard output as it came."""
    done = run(
        "put", f"{url}/echo?a=1", "-p", "b=2", "-H", "X-Own: yes", "-a", "user:pass", "-j", '{"k": [1, null]}'
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    assert (seen["method"], seen["query"], seen["headers"]["x-own"]) == ("PUT", "a=1&b=2", "yes")
    assert json.loads(seen["content"]) == {"k": [1, None]}
    assert seen["headers"]["authorization"] == "Basic dXNlcjpwYXNz"


@pytest.mark.parametrize(
    ("arguments", "text", "content"),
    [
        (["-d", "plain"], "", "plain"),
        (["-d", "@-"], "from a pipe", "from a pipe"),
        (["-f", "a=1", "-f", "b=ü"], "", "a=1&b=%C3%BC"),
        (["-j", "null"], "", "null"),
    ],
)
def test_content(url: str, arguments: list[str], text: str, content: str) -> None:
    """From an argument, from standard input, as a form, as JSON."""
    done = run("post", f"{url}/echo", *arguments, text=text)
    assert json.loads(done.stdout)["content"] == content


def test_files(url: str, tmp_path: Path) -> None:
    """A form with a file, and a file as it is."""
    path = tmp_path / "note.txt"
    path.write_text("inside")
    seen = json.loads(run("post", f"{url}/echo", "-f", "a=1", "-F", f"f={path}").stdout)
    assert 'name="f"; filename="note.txt"' in seen["content"]
    assert "inside" in seen["content"]
    assert json.loads(run("post", f"{url}/echo", "-d", f"@{path}").stdout)["content"] == "inside"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["get", "{url}/status/204"], 0),
        (["get", "{url}/moved"], 0),
        (["get", "{url}/moved", "--no-redirects"], 3),
        (["get", "{url}/status/404"], 4),
        (["get", "{url}/status/503"], 5),
        (["get", "http://127.0.0.1:1/"], 6),
        (["get", "{url}/slow", "--timeout", "0.2"], 8),
        (["get", "{url}/echo", "-d", "a", "-j", "1"], 2),
        (["get", "http://a b/"], 2),
        (["get", "{url}/echo", "--digest"], 2),
        (["get", "{url}/echo", "--auth-env", "NOT_SET_ANYWHERE"], 2),
        (["post", "{url}/echo", "-j", "[broken"], 2),
        (["post", "{url}/echo", "-F", "f=/not/there"], 2),
        (["request", "PROPFIND", "{url}/status/200"], 4),
        (["ws", "{url}/echo"], 7),
        (["ws", "{url}/status/404"], 4),
        (["get", "{url}/echo", "--events"], 7),
    ],
)
def test_exit_statuses(url: str, arguments: list[str], status: int) -> None:
    """What went wrong is told in one line, never by a traceback, and by a status of its own."""
    done = run(*(one.format(url=url) for one in arguments))
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    if status not in (0, 3, 4, 5):
        assert "triohttp" in done.stderr


def test_the_head_and_what_goes_on(url: str) -> None:
    """``-i`` prints the head before the content, ``-v`` tells the rest on standard error, secrets aside."""
    done = run("get", f"{url}/echo", "-i", "-v", "-a", "user:pass")
    assert done.stdout.startswith("HTTP/1.1 200 OK\n")
    assert re.search(r"> Authorization: \*\*\*\n", done.stderr)
    assert "dXNlcjpwYXNz" not in done.stderr


def test_a_secret_from_the_environment(url: str) -> None:
    """No argument shows it."""
    done = run("get", f"{url}/echo", "--bearer", "--auth-env", "TOKEN", TOKEN="abc")
    assert json.loads(done.stdout)["headers"]["authorization"] == "Bearer abc"


def test_output_into_a_file(url: str, tmp_path: Path) -> None:
    """Nothing is printed."""
    done = run("get", f"{url}/echo", "-o", str(tmp_path / "out"))
    assert (done.stdout, json.loads((tmp_path / "out").read_text())["method"]) == ("", "GET")


def test_a_download_goes_on_where_it_was_cut(url: str, cuts: list[int], tmp_path: Path) -> None:
    """Connections break twice; the file is whole, and nothing else is left beside it."""
    cuts[:] = [300_000, 200_000]
    done = run("get", f"{url}/file.bin", "--download", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["file.bin"]
    assert done.stderr.count("asking for the rest") == 2
    assert not cuts


def test_a_download_goes_on_after_the_command_was_ended(url: str, cuts: list[int], tmp_path: Path) -> None:
    """What an earlier one left is continued; when it was of something else it begins again."""
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    facts = tmp_path / "file.bin.part.json"
    facts.write_text(json.dumps({"of": hashlib.sha256(f"{url}/file.bin".encode()).hexdigest(), "validator": '"v1"'}))
    assert run("get", f"{url}/file.bin", "--download", "-v", cwd=tmp_path).stderr.count("Range: bytes=1000-") == 1
    assert (tmp_path / "file.bin").read_bytes() == CONTENT
    (tmp_path / "file.bin.part").write_bytes(b"other")
    facts.write_text(json.dumps({"of": hashlib.sha256(f"{url}/file.bin".encode()).hexdigest(), "validator": '"v0"'}))
    assert run("get", f"{url}/file.bin", "--download", cwd=tmp_path).returncode == 0
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_the_time_of_a_download_is_that_of_all_attempts(url: str, cuts: list[int], tmp_path: Path) -> None:
    """A server that gives a little at a time does not get the time anew; what has come is kept for the next command."""
    cuts[:] = [10] * 100
    done = run("get", f"{url}/file.bin", "--download", "--timeout", "2.5", cwd=tmp_path)
    cuts.clear()
    assert done.returncode == 8
    assert "not over in 2.5 s" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["file.bin.part", "file.bin.part.json"]


def test_a_download_that_is_refused_leaves_nothing(url: str, tmp_path: Path) -> None:
    """The status says why."""
    done = run("get", f"{url}/status/404", "--download", cwd=tmp_path)
    assert (done.returncode, os.listdir(tmp_path)) == (4, [])


def on_a_terminal(*arguments: str, command: list[str] = COMMAND) -> str:
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen([*command, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the terminal is gone with the process
            break
        if not piece:
            break
        seen += piece
    process.wait(SECONDS)
    os.close(ours)
    return seen.decode()


WITHOUT_RICH = "import sys; sys.modules['rich'] = None; from triohttp._cli.main import main; sys.exit(main())"


@pytest.mark.parametrize("command", [COMMAND, [sys.executable, "-c", WITHOUT_RICH]], ids=["rich", "plain"])
def test_a_bar_is_for_terminals(url: str, tmp_path: Path, command: list[str]) -> None:
    """A terminal sees how far a download is, with rich and without; a pipe does not."""
    seen = on_a_terminal("get", f"{url}/file.bin", "--download", "-o", str(tmp_path / "a"), command=command)
    assert re.search(r"100 % of 1\.0 MB|1\.0/1\.0 MB", seen)
    assert "\x1b[" in seen
    done = run("get", f"{url}/file.bin", "--download", "-o", str(tmp_path / "b"))
    assert done.stderr == f"{tmp_path / 'b'}: {len(CONTENT):,} bytes\n"


def test_json_is_indented_on_a_terminal(url: str) -> None:
    """For people; a pipe gets what the server sent."""
    assert '\r\n  "method": "GET"' in on_a_terminal("get", f"{url}/echo")
    assert "\n" not in run("get", f"{url}/echo").stdout.rstrip()


def test_events_are_lines(url: str) -> None:
    """One JSON object a line, as they come; Ctrl-C ends with 130."""
    process = subprocess.Popen(
        [*COMMAND, "get", f"{url}/events", "--events"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"event": "message", "data": "one", "id": "1"}
        assert json.loads(process.stdout.readline())["data"] == "two\nlines"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (130, "")


def test_a_websocket_is_lines_both_ways(url: str) -> None:
    """Each line of the input is a message; answers are printed until the input has ended for a while."""
    done = run("ws", f"{url}/ws", "--linger", "0.5", text="abc\nüx\n")
    assert (done.returncode, done.stdout) == (0, "cba\nxü\n")
