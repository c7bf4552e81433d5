"""``SyncClient``: one-shot calls, from one thread and from many."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio
from threaded_server import serve_in_thread

from triohttp import App, Client, ClientAnswer, ClientRequest, ClientTimeouts, Request, Response, Send
from triohttp._client.sync_client import SyncClient
from triohttp._client.sync_input import SyncEventsOptions, SyncWebSocketOptions
from triohttp.errors import ConnectError, StatusError, TotalTimeout

SECRET: contextvars.ContextVar[str] = contextvars.ContextVar("SECRET", default="none")


@pytest.fixture
def url() -> Iterator[str]:
    app = App()

    @app.get("/hello")
    async def hello(request: Request) -> Response:
        return Response.text("hello", headers={"x-seen": request.headers.get("x-id", "")})

    @app.get("/secret")
    async def secret(request: Request) -> Response:
        return Response.text(request.headers.get("authorization", "none"))

    @app.route("/echo", methods=["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
    async def echo(request: Request) -> Response:
        return Response.text(f"{request.method} {(await request.read()).decode()}")

    @app.get("/never")
    async def never(request: Request) -> Response:
        await trio.sleep_forever()
        raise AssertionError

    with serve_in_thread(app) as url:
        yield url


def test_a_call_returns_the_answer_and_the_pool_keeps_the_connection(url: str) -> None:
    """What ``Client.get`` returns is what ``SyncClient.get`` returns, and two calls share one connection."""
    with SyncClient(url, headers={"x-id": "7"}) as client:
        answer = client.get("/hello")
        assert (answer.status, answer.text, answer.headers["x-seen"]) == (200, "hello", "7")
        assert client.get("/hello").text == "hello"
        figures = client.pool_statistics()
        assert (figures.opened, figures.reused, figures.idle) == (1, 1, 1)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "options"])
def test_each_method_sends_its_method(url: str, method: str) -> None:
    """The methods are those of the asynchronous client."""
    with SyncClient(url) as client:
        assert getattr(client, method)("/echo", content=b"abc").text == f"{method.upper()} abc"
        assert client.head("/hello").content == b""


def test_threads_share_one_client(url: str) -> None:
    """Eight threads make fifty calls each over one pool, and each gets its own answers."""

    def work(number: int) -> list[str]:
        return [client.get("/hello", headers={"x-id": f"{number}-{i}"}).headers["x-seen"] for i in range(50)]

    with SyncClient(url) as client, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(8))) == [[f"{n}-{i}" for i in range(50)] for n in range(8)]
        assert client.pool_statistics().opened <= 8


def test_a_client_without_a_block_is_closed_by_hand(url: str) -> None:
    """A script may do without ``with``: the first call begins the thread, ``close`` ends it."""
    client = SyncClient(url)
    assert client.get("/hello").text == "hello"
    client.close()
    client.close()


def test_a_client_that_was_never_used_has_no_thread() -> None:
    """Making a client begins nothing, so nothing has to be closed."""
    before = threading.active_count()
    SyncClient()
    assert threading.active_count() == before


def test_a_derived_client_has_its_own_defaults(url: str) -> None:
    """``derive`` gives other defaults over the same pool and thread."""
    with SyncClient(url) as client:
        derived = client.derive(headers={"x-id": "derived"})
        assert derived.get("/hello").headers["x-seen"] == "derived"
        assert client.get("/hello").headers["x-seen"] == ""
        assert derived.pool_statistics().opened == 1
        with pytest.raises(RuntimeError, match="derived client"):
            derived.__enter__()
        derived.close()
        assert client.get("/hello").status == 200


def test_errors_are_those_of_the_client(url: str) -> None:
    """What goes wrong is raised in the caller's thread as it is, with the caller in its traceback."""
    with SyncClient(url) as client:
        with pytest.raises(StatusError) as caught:
            client.get("/missing").raise_for_status()
        assert caught.value.code == 404
        with pytest.raises(ConnectError) as refused:
            client.derive(base_url=None).get("http://127.0.0.1:1/")
        names = [entry.name for entry in refused.traceback]
        assert names[0] == "test_errors_are_those_of_the_client"
        assert "fetch" in names
        with pytest.raises(TypeError, match="unknown option 'jsom'"):
            client.get("/hello", jsom=1)  # type: ignore[call-arg]  # the mistake that it is about


@pytest.mark.parametrize("timeouts", [ClientTimeouts(), ClientTimeouts(total_seconds=60)])
def test_a_timeout_ends_a_call(url: str, timeouts: ClientTimeouts) -> None:
    """``timeout=`` ends the call with ``TotalTimeout``, which says how far it had come; the client goes on."""
    with SyncClient(url, timeouts=timeouts) as client:
        with pytest.raises(TotalTimeout) as caught:
            client.get("/never", timeout=0.05)
        assert (caught.value.seconds, caught.value.phase, caught.value.sent) == (0.05, "head", True)
        assert client.get("/hello", timeout=10).text == "hello"


def test_the_shorter_bound_counts(url: str) -> None:
    """A timeout that is longer than ``total_seconds`` changes nothing."""
    with SyncClient(url, timeouts=ClientTimeouts(total_seconds=0.05)) as client:
        with pytest.raises(TotalTimeout) as caught:
            client.get("/never", timeout=60)
        assert caught.value.seconds == 0.05


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), True, "5"])
def test_a_timeout_is_a_number_above_zero(url: str, timeout: float) -> None:
    """Nonsense is refused before anything is sent."""
    with SyncClient(url) as client:
        with pytest.raises(ValueError, match="timeout must be"):
            client.get("/hello", timeout=timeout)


async def test_it_refuses_to_hold_up_trio() -> None:
    """Inside of trio it would stop every task, so it says what to use instead."""
    client = SyncClient()
    with pytest.raises(RuntimeError, match="use Client"):
        client.get("http://127.0.0.1:1/")
    with pytest.raises(RuntimeError, match="use Client"):
        client.__enter__()


async def test_a_worker_thread_of_trio_may_use_it() -> None:
    """A thread that trio has started is no loop: there it works."""

    def work() -> None:
        with SyncClient() as client, pytest.raises(ConnectError):
            client.get("http://127.0.0.1:1/")

    await trio.to_thread.run_sync(work)


def test_it_works_inside_of_asyncio(url: str) -> None:
    """It holds up that loop, as whatever blocks does, but a cell of a notebook runs in one and may use it."""

    async def main() -> str:
        with SyncClient(url) as client:
            return client.get("/hello").text

    assert asyncio.run(main()) == "hello"


def test_it_refuses_its_own_thread(url: str) -> None:
    """Middleware runs in the thread that would have to answer: it is told, instead of waiting for ever."""

    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        client.get("/hello")
        return await send(request)

    with SyncClient(url, middleware=[middleware]) as client:
        with pytest.raises(RuntimeError, match="own thread"):
            client.get("/hello")
        with pytest.raises(RuntimeError, match="own thread"):
            client.get("/hello")  # it can still be used, and refuses again


def test_middleware_is_asynchronous_and_sees_the_callers_context(url: str) -> None:
    """Middleware is that of ``Client``; context variables are those of the thread that calls."""

    async def middleware(request: ClientRequest, send: Send) -> ClientAnswer:
        await trio.lowlevel.checkpoint()
        request.headers["x-id"] = SECRET.get()
        return await send(request)

    def work(value: str) -> str:
        SECRET.set(value)
        return client.get("/hello").headers["x-seen"]

    with SyncClient(url, middleware=[middleware]) as client, ThreadPoolExecutor(2) as threads:
        assert list(threads.map(work, ["one", "two"])) == ["one", "two"]


@pytest.mark.parametrize("whose", ["client", "origin", "call"])
def test_a_function_for_credentials_may_block_and_use_the_client(url: str, whose: str) -> None:
    """``auth`` as a function runs in a thread of its own, so it may ask the same client for a token."""

    def authorize(request: ClientRequest) -> None:
        request.headers["authorization"] = f"Token {client.get('/hello', auth=None).text}"

    options = {"client": {"auth": authorize}, "origin": {"auth": {url: authorize}}, "call": {}}[whose]
    with SyncClient(url, **options) as client:  # type: ignore[arg-type]  # one of three kinds
        answer = client.get("/secret", auth=authorize) if whose == "call" else client.get("/secret")
        assert answer.text == "Token hello"


def test_an_asynchronous_function_for_credentials_is_one_too(url: str) -> None:
    """A coroutine function runs in the loop."""

    async def authorize(request: ClientRequest) -> None:
        await trio.lowlevel.checkpoint()
        request.headers["authorization"] = "async"

    with SyncClient(url) as client:
        assert client.get("/secret", auth=authorize).text == "async"
        assert client.get("/secret", auth=("a", "b")).text == "Basic YTpi"


@pytest.mark.parametrize(
    ("method", "options", "own"),
    [("events", SyncEventsOptions, {"self", "url", "options"}), ("websocket", SyncWebSocketOptions, {"self", "url"})],
)
def test_blocks_take_what_those_of_the_client_take(method: str, options: type, own: set[str]) -> None:
    """Who adds an option to ``Client.events`` or ``Client.websocket`` is told that it is missing here."""
    theirs = set(inspect.signature(getattr(Client, method)).parameters) - own
    assert theirs <= set(inspect.get_annotations(options)) | set(getattr(options, "__annotations__", {}))


def test_every_method_of_the_client_is_there() -> None:
    """What the asynchronous client can do, this one can, but for what only trio has a use for."""

    def public(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    only_trio = {"aclose", "hedge", "make_call", "map", "nursery", "pool", "upgrade"}
    assert public(Client) - public(SyncClient) == only_trio
