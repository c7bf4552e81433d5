"""How calls of ``SyncClient`` end that do not end by themselves, and how the client itself does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trio
from threaded_server import serve_in_thread

import triohttp
from triohttp import App, Auth, Client, ClientAnswer, ClientRequest, Request, Response, Send
from triohttp._client import sync_portal
from triohttp._client.sync_client import SyncClient
from triohttp.errors import ClientClosedError

SUPPORT = Path(__file__).parents[1] / "support"
SCRIPT_SECONDS = 20


class Served:
    """A server, and what it has seen."""

    def __init__(self) -> None:
        self.url = ""
        self.entered = threading.Event()
        self.left = threading.Event()
        self.interrupt = False


@pytest.fixture
def served() -> Iterator[Served]:
    app = App()
    served = Served()

    @app.get("/hello")
    async def hello(request: Request) -> Response:
        return Response.text("hello")

    @app.get("/never")
    async def never(request: Request) -> Response:
        served.entered.set()
        if served.interrupt:
            os.kill(os.getpid(), signal.SIGINT)
        try:
            await trio.sleep_forever()
        finally:
            served.left.set()
        raise AssertionError

    @app.get("/endless")
    async def endless(request: Request) -> None:
        try:
            async with request.respond(200) as body:
                await body.send_all(b"first")
                if served.interrupt:
                    os.kill(os.getpid(), signal.SIGINT)
                await trio.sleep_forever()
        finally:
            served.left.set()

    with serve_in_thread(app) as served.url:
        yield served


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------


def test_ctrl_c_cancels_a_call(served: Served) -> None:
    """The waiting call raises KeyboardInterrupt, its request is gone, and the client goes on."""
    served.interrupt = True
    with SyncClient(served.url) as client:
        with pytest.raises(KeyboardInterrupt):
            client.get("/never")
        assert served.left.wait(10)
        assert client.pool_statistics().connections == 0
        assert client.get("/hello").text == "hello"


@pytest.mark.parametrize("url", ["/endless", "/never"])
def test_ctrl_c_cancels_a_block(served: Served, url: str) -> None:
    """Before the head and in the middle of the content: the block is left, its connection closed."""
    served.interrupt = True
    with SyncClient(served.url) as client:
        with pytest.raises(KeyboardInterrupt):
            with client.stream("GET", url) as answer:
                answer.read()
        assert served.left.wait(10)
        assert client.pool_statistics().connections == 0
        assert client.get("/hello").text == "hello"


def test_whatever_a_signal_handler_raises_cancels_a_call(served: Served) -> None:
    """An alarm is as good as Ctrl-C."""

    def ring(number: int, frame: object) -> None:
        raise InterruptedError("the alarm")

    served.interrupt = True
    previous = signal.signal(signal.SIGINT, ring)
    try:
        with SyncClient(served.url) as client, pytest.raises(InterruptedError):
            client.get("/never")
    finally:
        signal.signal(signal.SIGINT, previous)
    assert served.left.wait(10)


def test_an_interrupted_call_waits_for_its_end_only_so_long(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Middleware that does not let itself be cancelled holds up nobody who has stopped waiting."""
    monkeypatch.setattr(sync_portal, "CANCEL_SECONDS", 0.05)
    may_end = threading.Event()

    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        os.kill(os.getpid(), signal.SIGINT)
        with trio.CancelScope(shield=True):
            while not may_end.is_set():
                await trio.sleep(0.01)
        return await send(request)

    with SyncClient(served.url, middleware=[middleware]) as client:
        with pytest.raises(KeyboardInterrupt):
            client.get("/hello")
        may_end.set()


# -- the client's end --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["call", "stream"])
def test_closing_ends_what_other_threads_wait_for(served: Served, what: str) -> None:
    """Who waits when the client is closed gets ClientClosedError, and so does who comes later."""

    def work() -> None:
        if what == "call":
            client.get("/never")
        with client.stream("GET", "/endless") as answer:
            assert answer.body.receive_some() == b"first"
            served.entered.set()
            answer.body.receive_some()

    client = SyncClient(served.url)
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(work)
        assert served.entered.wait(10)
        client.close()
        assert isinstance(working.exception(10), ClientClosedError)
    with pytest.raises(ClientClosedError):
        client.get("/hello")
    with pytest.raises(ClientClosedError):
        client.__enter__()
    assert served.left.wait(10)


def test_closing_ends_what_waits_for_something_else(served: Served) -> None:
    """A call that is not on the wire, but in a middleware for instance, ends too."""
    waiting = threading.Event()

    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        waiting.set()
        await trio.sleep_forever()
        raise AssertionError

    with ThreadPoolExecutor(1) as thread, SyncClient(served.url, middleware=[middleware]) as client:
        working = thread.submit(client.get, "/hello")
        assert waiting.wait(10)
        client.close()
        assert isinstance(working.exception(10), ClientClosedError)


def test_closing_waits_only_so_long(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A callback that holds up the client's thread is named in the log; who waits is told all the same."""
    monkeypatch.setattr(sync_portal, "CLOSE_SECONDS", 0.05)
    waiting, may_end = threading.Event(), threading.Event()

    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        waiting.set()
        may_end.wait(10)
        return await send(request)

    client = SyncClient(served.url, middleware=[middleware])
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(client.get, "/hello")
        assert waiting.wait(10)
        client.close()
        assert isinstance(working.exception(10), ClientClosedError)
        may_end.set()
    assert "did not end in 0.05 s" in caplog.text


def test_a_client_is_not_closed_from_its_own_thread(served: Served) -> None:
    """It would wait for itself."""

    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        client.close()
        return await send(request)

    with SyncClient(served.url, middleware=[middleware]) as client:
        with pytest.raises(RuntimeError, match="own thread"):
            client.get("/hello")


def test_a_crash_is_told_to_everybody() -> None:
    """What a background task raises ends the client: who waits hears of it, and closing raises it itself."""

    class Crashing(Auth):
        async def authorize(self, request: ClientRequest, client: Client) -> None:
            async def crash() -> None:
                await trio.lowlevel.checkpoint()
                raise LookupError("in the background")

            client.nursery.start_soon(crash)
            await trio.sleep_forever()

    client = SyncClient("http://127.0.0.1:1", auth=Crashing())
    with pytest.raises(ClientClosedError, match="in the background") as caught:
        client.get("/")
    assert isinstance(caught.value.__cause__, LookupError)
    with pytest.raises(ClientClosedError, match="in the background"):
        client.get("/")
    with pytest.raises(LookupError, match="in the background"):
        client.close()
    client.close()


def test_a_crash_does_not_hide_the_exception_of_the_block() -> None:
    """The program's own exception is what leaves the block."""

    class Crashing(Auth):
        async def authorize(self, request: ClientRequest, client: Client) -> None:
            client.nursery.cancel_scope.cancel()
            await trio.sleep_forever()

    with pytest.raises(ZeroDivisionError):
        with SyncClient("http://127.0.0.1:1", auth=Crashing()) as client:
            with pytest.raises(ClientClosedError):
                client.get("/")
            _ = 1 / 0


def test_a_client_that_was_forgotten_ends_and_complains(served: Served) -> None:
    """Dropped without being closed, it says so when it is collected, and its thread ends."""
    clients = [SyncClient(served.url)]
    clients[0].get("/hello")
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "triohttp SyncClient")
    with pytest.warns(ResourceWarning, match="never closed"):
        clients.clear()
    thread.join(10)
    assert not thread.is_alive()


# -- processes ---------------------------------------------------------------------------------------------------------


def run_script(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(SUPPORT), str(Path(triohttp.__file__).parents[1])])
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, *options, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SCRIPT_SECONDS,
        check=False,
    )


BEGINNING = """
import os, sys, threading, time
from threaded_server import serve_in_thread
from triohttp import App, Response
from triohttp._client.sync_client import SyncClient

app = App()

@app.get("/hello")
async def hello(request):
    return Response.text("hello")
"""


def test_the_interpreter_ends_although_a_client_was_never_closed() -> None:
    """The thread does not hold up the end, not even with a stream open; a ResourceWarning says what is missing."""
    script = """
with serve_in_thread(app) as url:
    client = SyncClient(url)
    block = client.stream("GET", "/hello")
    answer = block.__enter__()
    print(answer.status, flush=True)
"""
    finished = run_script(BEGINNING + script, "-W", "always::ResourceWarning")
    assert (finished.returncode, finished.stdout) == (0, "200\n"), finished.stderr
    assert "ResourceWarning: a SyncClient was never closed" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_client_does_not_survive_a_fork() -> None:
    """The child is told instead of waiting for a thread that it has not; closing there does nothing."""
    script = """
with serve_in_thread(app) as url, SyncClient(url) as client:
    with client.stream("GET", "/hello") as answer:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            try:
                client.get("/hello")
            except RuntimeError as exc:
                print("refused:", exc, flush=True)
        else:
            print(os.waitpid(child, 0)[1], answer.text(), client.get("/hello").text, flush=True)
    client.close()
    if child == 0:
        os._exit(0)  # the server's thread is not here either, which its own block would wait for
"""
    finished = run_script(BEGINNING + script, "-W", "ignore::DeprecationWarning")
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[0].startswith("refused: this client was made before a fork")
    assert lines[1:] == ["0 hello hello"]
    assert finished.stderr == ""
