"""The reverse proxy of the examples: what happens at one end happens at the other."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import ModuleType

import pytest
import trio
import trio.testing

from triohttp import App, Client, Headers, Request, Response
from triohttp.errors import DisconnectedError, LocalProtocolError
from triohttp.testing import open_in_process

EXAMPLE = Path(__file__).parents[2] / "examples" / "reverse_proxy.py"
URL = "http://proxy.test"
ENDLESS = bytes(16 * 1024)
BUFFERED = 2 * 1024 * 1024
"""More than all buffers on the way hold together, far less than a transfer without backpressure would reach."""


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples_reverse_proxy", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def proxied(upstream: App, seconds: float = 60) -> AsyncIterator[Client]:
    """A client whose requests go through the proxy to ``upstream``."""
    async with (
        open_in_process(upstream) as origin,
        Client(mounts={"http://upstream.test": origin}) as inner,
        open_in_process(load_example().make_proxy(inner, "http://upstream.test", seconds)) as proxy,
        Client(mounts={URL: proxy}) as client,
    ):
        yield client


def test_the_example_is_short() -> None:
    """The proxy itself, without imports and the command line, is about forty lines."""
    source = EXAMPLE.read_text(encoding="utf-8")
    body = source[source.index("HOP_BY_HOP") : source.index("async def main")]
    assert len([line for line in body.splitlines() if line.strip()]) <= 40


async def test_requests_and_answers_pass() -> None:
    """Method, target, fields, content and status arrive at the other end; hop-by-hop fields do not."""
    upstream = App()

    @upstream.put("/items/{name}")
    async def item(request: Request) -> Response:
        seen = {
            "target": request.target,
            "content": await request.text(),
            "own": request.headers.get("x-own"),
            "hop": request.headers.get("x-hop"),
        }
        return Response.json(seen, status=201, headers={"x-answer": "yes"})

    async with proxied(upstream) as client:
        reply = await client.put(
            f"{URL}/items/a%2Fb?q=1", content="hello", headers={"x-own": "1", "x-hop": "2", "connection": "x-hop"}
        )
        assert reply.status == 201
        assert reply.json() == {"target": "/items/a%2Fb?q=1", "content": "hello", "own": "1", "hop": None}
        assert reply.headers["x-answer"] == "yes"
        assert (await client.get(f"{URL}/missing")).status == 404


async def test_trailers_pass_both_ways() -> None:
    """A trailer section of the request reaches upstream, and that of the answer reaches the client."""
    upstream = App()

    @upstream.post("/sum")
    async def summed(request: Request) -> None:
        async with request.respond(200) as body:
            async for chunk in request.body:
                await body.send_all(chunk)
            assert request.trailers is not None
            body.trailers = Headers({"x-sum": request.trailers["x-sum"] + "!"})

    async def content() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    async with proxied(upstream) as client:
        reply = await client.post(f"{URL}/sum", content=content(), trailers={"x-sum": "42"})
        assert reply.content == b"onetwo"
        assert reply.trailers is not None
        assert reply.trailers["x-sum"] == "42!"


async def test_a_client_that_does_not_read_stops_upstream(autojump_clock: trio.abc.Clock) -> None:
    """Backpressure passes: upstream has sent what buffers hold, and waits."""
    upstream = App()
    sent = 0

    @upstream.get("/endless")
    async def endless(request: Request) -> None:
        nonlocal sent
        async with request.respond(200) as body:
            while True:
                await body.send_all(ENDLESS)
                sent += len(ENDLESS)

    async with proxied(upstream) as client, client.stream("GET", f"{URL}/endless") as response:
        assert await response.body.receive_some(1)
        await trio.testing.wait_all_tasks_blocked()
        stopped_at = sent
        assert stopped_at < BUFFERED
        await trio.sleep(1)
        assert sent == stopped_at


async def test_upstream_that_does_not_read_stops_the_client(autojump_clock: trio.abc.Clock) -> None:
    """Backpressure passes the other way: the client's upload waits for upstream's handler."""
    upstream = App()
    sent = 0

    @upstream.post("/slow", limits={"max_body_bytes": None})
    async def slow(request: Request) -> Response:
        await trio.sleep(5)
        return Response.text("enough")

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            yield ENDLESS
            sent += len(ENDLESS)

    async with proxied(upstream) as client:
        with trio.move_on_after(4) as scope:
            await client.post(f"{URL}/slow", content=endless())
        assert scope.cancelled_caught
        assert 0 < sent < BUFFERED


async def test_a_client_that_leaves_cancels_upstream(autojump_clock: trio.abc.Clock) -> None:
    """Cancellation passes: the handler at the far end is cancelled when the client at the near end is."""
    upstream = App()
    ended = trio.Event()

    @upstream.get("/wait")
    async def wait(request: Request) -> Response:
        try:
            await trio.sleep(3600)
        finally:
            ended.set()
        return Response.text("never")

    async with proxied(upstream) as client:
        with trio.move_on_after(1):
            await client.get(f"{URL}/wait")
        with trio.fail_after(5):
            await ended.wait()


async def test_the_deadline_becomes_504(autojump_clock: trio.abc.Clock) -> None:
    """Upstream without an answer in time is a 504, and its handler is cancelled too."""
    upstream = App()
    ended = trio.Event()

    @upstream.get("/wait")
    async def wait(request: Request) -> Response:
        try:
            await trio.sleep(3600)
        finally:
            ended.set()
        return Response.text("never")

    async with proxied(upstream, seconds=3) as client:
        started = trio.current_time()
        assert (await client.get(f"{URL}/wait")).status == 504
        assert trio.current_time() - started == pytest.approx(3)
        with trio.fail_after(5):
            await ended.wait()


async def test_the_deadline_cuts_an_answer_that_has_begun(autojump_clock: trio.abc.Clock) -> None:
    """After its head an answer can only be cut, and the client sees that it is."""
    upstream = App()

    @upstream.get("/stuck")
    async def stuck(request: Request) -> None:
        async with request.respond(200) as body:
            await body.send_all(b"the beginning")
            await trio.sleep(3600)

    async with proxied(upstream, seconds=3) as client, client.stream("GET", f"{URL}/stuck") as response:
        assert response.status == 200
        with pytest.raises(DisconnectedError):
            await response.read()


async def test_upstream_that_cuts_its_answer_cuts_ours(autojump_clock: trio.abc.Clock) -> None:
    """An answer that upstream did not finish is not passed on as a complete one."""
    upstream = App()

    @upstream.get("/broken")
    async def broken(request: Request) -> None:
        with suppress(LocalProtocolError):  # what is missing is missing on purpose
            async with request.respond(200, {"content-length": "100"}) as body:
                await body.send_all(b"the beginning")
                with trio.move_on_after(1):
                    await trio.sleep_forever()

    async with proxied(upstream) as client, client.stream("GET", f"{URL}/broken") as response:
        with pytest.raises(DisconnectedError):
            await response.read()


async def test_upstream_that_is_not_there_is_a_bad_gateway() -> None:
    """A refused connection is a 502."""
    async with (
        Client() as inner,
        open_in_process(load_example().make_proxy(inner, "http://127.0.0.1:1")) as proxy,
        Client(mounts={URL: proxy}) as client,
    ):
        assert (await client.get(f"{URL}/")).status == 502
