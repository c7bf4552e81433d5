"""Many requests side by side: what is held, what comes out, and that nothing goes on afterwards."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from cancelling import check_cancelling_anywhere

from triohttp import (
    URL,
    App,
    Client,
    ClientAnswer,
    ClientLimits,
    ClientRequest,
    ClientResponse,
    Request,
    Response,
    Send,
)
from triohttp.errors import (
    ClientClosedError,
    ConnectError,
    InvalidURLError,
)
from triohttp.testing import open_in_process

HOME = "http://app.test"


class Site:
    """An app that counts what goes on in it at once."""

    def __init__(self) -> None:
        self.now = self.most = self.total = 0

    def app(self) -> App:
        app = App()

        @app.get("/sleep/{seconds}")
        async def sleep(request: Request) -> Response:
            self.total += 1
            self.now += 1
            self.most = max(self.most, self.now)
            try:
                await trio.sleep(float(request.path_params["seconds"]))
            finally:
                self.now -= 1
            return Response.text(request.path_params["seconds"])

        @app.post("/echo")
        async def echo(request: Request) -> Response:
            return (
                Response.bytes(await request.read()) if hasattr(Response, "bytes") else Response(await request.read())
            )

        @app.get("/status/{code:int}")
        async def status(request: Request) -> Response:
            return Response(status=int(request.path_params["code"]))

        return app


@asynccontextmanager
async def open_site(**options: Any) -> AsyncIterator[tuple[Client, Site]]:
    site = Site()
    async with open_in_process(site.app()) as origin, Client(HOME, mounts={HOME: origin}, **options) as client:
        yield client, site
        statistics = client.pool.statistics()
        assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0)


async def test_answers_come_as_they_are_there(autojump_clock: trio.testing.MockClock) -> None:
    """With the request that each of them answers, the fastest first."""
    async with open_site() as (client, _):
        urls = [f"/sleep/{seconds}" for seconds in (3, 1, 2)]
        found: list[tuple[str, str, float]] = []
        start = trio.current_time()
        async with client.map(urls, limit=10) as results:
            async for url, outcome in results:
                assert isinstance(outcome, ClientResponse)
                found.append((url, outcome.text, trio.current_time() - start))
        assert found == [("/sleep/1", "1", 1), ("/sleep/2", "2", 2), ("/sleep/3", "3", 3)]


async def test_kinds_of_requests(autojump_clock: trio.testing.MockClock) -> None:
    """A URL is a GET; a method, a URL and options are any request. The item comes back as it was given."""
    async with open_site() as (client, _):
        items = ["/sleep/0", URL(f"{HOME}/sleep/1"), ("POST", "/echo", {"content": b"abc"})]
        found = {}
        async with client.map(items, limit=10) as results:
            async for item, outcome in results:
                found[id(item)] = outcome.content
        assert [found[id(item)] for item in items] == [b"0", b"1", b"abc"]


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize("kind", ["list", "generator", "async generator", "channel"])
async def test_no_more_than_the_limit_at_once(kind: str, limit: int, autojump_clock: trio.testing.MockClock) -> None:
    """Requests are asked for only when there is room for them; all are answered in the end."""
    asked: list[int] = []

    def generate() -> Iterator[str]:
        for number in range(10):
            asked.append(number)
            yield "/sleep/1"

    async def generate_slowly() -> AsyncIterator[str]:
        for url in generate():
            await trio.sleep(0)
            yield url

    async with open_site(limits=ClientLimits(connections=100, connections_per_origin=100)) as (client, site):
        urls: Any = list(generate()) if kind == "list" else generate()
        if kind == "async generator":
            urls = generate_slowly()
        if kind == "channel":
            send, urls = trio.open_memory_channel[str](10)
            with send:
                for url in generate():
                    send.send_nowait(url)
        count = 0
        async with client.map(urls, limit=limit) as results:
            await trio.testing.wait_all_tasks_blocked()
            if "generator" in kind:
                assert len(asked) == min(limit, 10)
            async for _ in results:
                count += 1
        assert (count, site.total, site.most) == (10, 10, min(limit, 10))


async def test_answers_that_nobody_takes_are_not_more_than_the_limit(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A slow reader slows the requests down: what it has not taken keeps its place."""
    async with open_site() as (client, site):
        endless = iter(lambda: "/sleep/0", None)
        async with client.map(endless, limit=3) as results:
            for taken in range(1, 5):
                await trio.sleep(100)
                assert site.total == 2 + taken
                await anext(results)
        assert site.total == 6


async def test_a_request_that_fails_is_an_outcome(autojump_clock: trio.testing.MockClock) -> None:
    """Its error stands beside it; the others are not touched, and an answer of 404 is an answer."""
    async with open_site(mounts_only=True) as (client, _):
        client = client.derive(base_url=None)
        urls = [f"{HOME}/sleep/1", "http://elsewhere.test/", "not a url", f"{HOME}/status/404"]
        async with client.map(urls, limit=2) as results:
            found = {url: outcome async for url, outcome in results}
        assert found[urls[0]].status == 200
        assert isinstance(found[urls[1]], ConnectError)
        assert isinstance(found[urls[2]], InvalidURLError)
        assert found[urls[3]].status == 404


async def test_fail_fast(autojump_clock: trio.testing.MockClock) -> None:
    """The first error is raised, after the answers that came before it; what is under way is cancelled."""
    async with open_site(mounts_only=True) as (client, site):
        urls = [f"{HOME}/sleep/1", "http://elsewhere.test/", f"{HOME}/sleep/60"]

        async def slow_to_fail(request: ClientRequest, send: Send) -> ClientAnswer:
            await trio.sleep(2 if request.url.host != "app.test" else 0)
            return await send(request)

        failing = client.derive(base_url=None, middleware=[slow_to_fail])
        found = []
        start = trio.current_time()
        with pytest.raises(ConnectError) as caught:
            async with failing.map(urls, limit=9, fail_fast=True) as results:
                async for _, outcome in results:
                    found.append(outcome.text)
        assert found == ["1"]
        assert trio.current_time() - start < 10
        await trio.testing.wait_all_tasks_blocked()
        assert site.now == 0
        assert not isinstance(caught.value.__context__, ExceptionGroup)


@pytest.mark.parametrize("leave", ["break", "raise", "cancel", "return"])
@pytest.mark.parametrize("fail_fast", [False, True])
async def test_leaving_early(leave: str, fail_fast: bool, autojump_clock: trio.testing.MockClock) -> None:
    """Everything under way is cancelled, and what comes out of the block is what went into it."""
    closed: list[str] = []

    async def urls() -> AsyncIterator[str]:
        try:
            while True:
                yield "/sleep/1"
                yield "/sleep/100"
        finally:
            await trio.sleep(1)
            closed.append("closed")

    async with open_site() as (client, site):

        async def use() -> None:
            async with client.map(urls(), limit=5, fail_fast=fail_fast) as results:
                async for _ in results:
                    if leave == "break":
                        break
                    if leave == "raise":
                        raise KeyError("mine")
                    if leave == "cancel":
                        scope.cancel()
                    if leave == "return":
                        return

        with trio.CancelScope() as scope:
            if leave == "raise":
                with pytest.raises(KeyError, match="mine"):
                    await use()
            else:
                await use()
        assert scope.cancelled_caught == (leave == "cancel")
        assert closed == ([] if leave == "cancel" else ["closed"])
        await trio.testing.wait_all_tasks_blocked()
        assert site.now == 0


async def test_a_cancellation_while_it_waits_loses_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A result that was not handed out comes with the next call."""
    async with open_site() as (client, _):
        async with client.map([f"/sleep/{n}" for n in range(1, 6)], limit=9) as results:
            found = []
            while len(found) < 5:
                with trio.move_on_after(0.4):
                    found.append((await anext(results))[0])
            with pytest.raises(StopAsyncIteration):
                await anext(results)
        assert found == [f"/sleep/{n}" for n in range(1, 6)]


async def test_several_readers(autojump_clock: trio.testing.MockClock) -> None:
    """Each result goes to one of them, and all of them end."""
    async with open_site() as (client, _):
        found: list[str] = []

        async def read(results: Any) -> None:
            async for url, _ in results:
                found.append(url)
                await trio.sleep(1)

        urls = [f"/sleep/{n}" for n in range(10)]
        async with client.map(urls, limit=4) as results, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(read, results)
        assert sorted(found) == urls


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_the_iterable_raises(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    """It comes out of the iteration as it is, after the answers that came before."""

    def fail() -> Iterator[str]:
        yield "/sleep/0"
        raise KeyError("mine")

    async def fail_slowly() -> AsyncIterator[str]:
        yield "/sleep/0"
        await trio.sleep(1)
        raise KeyError("mine")

    async with open_site() as (client, _):
        found = []
        async with client.map(fail() if kind == "sync" else fail_slowly(), limit=1) as results:
            with pytest.raises(KeyError, match="mine"):
                async for url, _ in results:
                    found.append(url)
            with pytest.raises(KeyError, match="mine"):
                await anext(results)
        assert found == ["/sleep/0"]


async def test_a_mistake_that_nobody_heard_of(autojump_clock: trio.testing.MockClock) -> None:
    """It is raised when the block is left, be it one of the iterable's cleanup; what a request met with is not."""

    def clumsy() -> Iterator[str]:
        try:
            while True:
                yield "/sleep/0"
        finally:
            raise KeyError("cleanup")

    async with open_site() as (client, _):
        with pytest.raises(KeyError, match="cleanup"):
            async with client.map(clumsy(), limit=1) as results:
                await anext(results)
        async with client.map(["//", "/sleep/9"], limit=2, fail_fast=True) as results:
            await trio.testing.wait_all_tasks_blocked()


@pytest.mark.parametrize("item", [5, None, ("GET", "/"), ["GET", "/", {}]], ids=str)
async def test_what_is_no_request(item: Any, autojump_clock: trio.testing.MockClock) -> None:
    """It is the program's mistake, and ends the iteration."""
    async with open_site() as (client, _):
        with pytest.raises(TypeError, match="a request is a URL, or a tuple of method, URL and options"):
            async with client.map([item], limit=1) as results:
                async for _ in results:
                    pass


async def test_wrong_options_of_a_request(autojump_clock: trio.testing.MockClock) -> None:
    """They are no outcome either."""
    async with open_site() as (client, _):
        with pytest.raises(TypeError, match="unknown option 'no'"):
            async with client.map([("GET", "/", {"no": 1})], limit=1) as results:
                async for _ in results:
                    pass


async def test_closing_the_client_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    """An endless iterable does not become endless errors."""
    async with open_site() as (client, _):
        with pytest.raises(ClientClosedError):
            async with client.map(iter(lambda: "/sleep/9", None), limit=3) as results:
                await trio.testing.wait_all_tasks_blocked()
                await client.aclose()
                async for _ in results:
                    pass


async def test_a_block_is_entered_once(autojump_clock: trio.testing.MockClock) -> None:
    """And outside of it there are no results."""
    async with open_site() as (client, _):
        context = client.map(["/sleep/0"], limit=1)
        async with context as results:
            with pytest.raises(RuntimeError, match="entered before"):
                await context.__aenter__()
        with pytest.raises(trio.ClosedResourceError):
            await anext(results)


@pytest.mark.parametrize(
    ("requests", "limit", "error", "message"),
    [
        ("/a", 1, TypeError, "map takes an iterable of requests, not '/a'"),
        (URL(HOME), 1, TypeError, "map takes an iterable of requests"),
        (b"/a", 1, TypeError, "map takes an iterable of requests"),
        (5, 1, TypeError, "map takes an iterable of requests, not 5"),
        ([], 0, ValueError, "limit must be an integer of at least 1, not 0"),
    ],
    ids=str,
)
async def test_arguments_of_map(requests: Any, limit: int, error: type[Exception], message: str) -> None:
    """They are checked at once."""
    async with open_site() as (client, _):
        with pytest.raises(error, match=re.escape(message)):
            client.map(requests, limit=limit)


# -- cancelling anywhere -----------------------------------------------------------------------------------------------


async def map_all(client: Client, url: str) -> None:
    async with client.map([url] * 4, limit=2) as results:
        outcomes = [outcome.content async for _, outcome in results]
    assert outcomes == [b"ok"] * 4


async def map_some(client: Client, url: str) -> None:
    async def urls() -> AsyncIterator[str]:
        while True:
            yield url
            await trio.lowlevel.checkpoint()

    async with client.map(urls(), limit=2) as results:
        async for _, outcome in results:
            assert outcome.content == b"ok"
            break


@pytest.mark.sweep
@pytest.mark.wall_seconds(120)
@pytest.mark.parametrize("use", [map_all, map_some])
@pytest.mark.parametrize("every_task", [False, True])
def test_cancelling_anywhere_leaks_nothing(use: Callable[[Client, str], Awaitable[None]], every_task: bool) -> None:
    """Every slot is there afterwards, and the client goes on working."""
    check_cancelling_anywhere(use, every_task=every_task)
