"""Every request has a context of its own: what one sets, no other sees, on whatever way the next one came in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar, Token

import pytest
import trio
import trio.testing

from triohttp import Headers, open_server
from triohttp.lowlevel import Exchange, ResponseHead
from triohttp.testing import RawConnection, open_in_process

mark: ContextVar[str] = ContextVar("mark", default="unset")


def get(number: int) -> bytes:
    return b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number


async def answer(exchange: Exchange, text: str) -> None:
    await exchange.respond(ResponseHead(200, Headers()), text.encode("ascii"))


async def leave_a_mark(exchange: Exchange) -> None:
    """Answer with what an earlier request left in the context, and leave something for the next."""
    found = mark.get()
    mark.set(exchange.head.target)
    await answer(exchange, found)


async def set_and_reset(exchange: Exchange) -> None:
    """Use a token in the way of middleware: the variable is as it was when the request is over."""
    token = mark.set(exchange.head.target)
    try:
        await trio.lowlevel.checkpoint()
        await answer(exchange, mark.get())
    finally:
        mark.reset(token)


@asynccontextmanager
async def on_socket(service: Callable[[Exchange], Awaitable[None]]) -> AsyncIterator[RawConnection]:
    async with open_server(service) as server:
        async with RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) as raw:
            yield raw


@asynccontextmanager
async def in_memory(service: Callable[[Exchange], Awaitable[None]]) -> AsyncIterator[RawConnection]:
    async with open_in_process(service) as site, await site.open_raw() as raw:
        yield raw


Opener = Callable[[Callable[[Exchange], Awaitable[None]]], AbstractAsyncContextManager[RawConnection]]
everywhere = pytest.mark.parametrize("opened", [on_socket, in_memory])


@everywhere
async def test_requests_one_after_the_other_do_not_see_each_other(opened: Opener) -> None:
    """On a kept connection, what a request set is gone for the next."""
    async with opened(leave_a_mark) as raw:
        for number in range(5):
            await raw.send_all(get(number))
            assert (await raw.read_response()).content == b"unset"


@everywhere
async def test_pipelined_requests_do_not_see_each_other(opened: Opener) -> None:
    """Requests that came in one piece are as separate as any."""
    async with opened(leave_a_mark) as raw:
        await raw.send_all(b"".join(map(get, range(20))))
        assert [(await raw.read_response()).content for _ in range(20)] == [b"unset"] * 20


async def test_a_request_that_was_read_ahead_has_a_context_of_its_own(autojump_clock: trio.testing.MockClock) -> None:
    """A request that was taken from a stream while the one before it was still at work begins with a clean context."""
    second_is_in = trio.Event()

    async def service(exchange: Exchange) -> None:
        found = mark.get()
        mark.set(exchange.head.target)
        if exchange.request_number == 1:
            await second_is_in.wait()
        await answer(exchange, found)

    async with in_memory(service) as raw:
        await raw.send_all(get(1))
        await trio.sleep(1)  # long enough for the stream to be looked at for its end
        await raw.send_all(get(2))
        await trio.testing.wait_all_tasks_blocked()
        second_is_in.set()
        assert [(await raw.read_response()).content for _ in range(2)] == [b"unset"] * 2


@everywhere
async def test_tokens_can_be_given_back(opened: Opener) -> None:
    """A variable that is set and reset within a request stays in one context all the time."""
    async with opened(set_and_reset) as raw:
        await raw.send_all(b"".join(map(get, range(10))))
        assert [(await raw.read_response()).content for _ in range(10)] == [b"/%d" % number for number in range(10)]


@everywhere
async def test_a_token_of_another_request_is_refused(opened: Opener) -> None:
    """The contexts are different ones in the eyes of the interpreter too."""
    kept: list[Token[str]] = []

    async def service(exchange: Exchange) -> None:
        kept.append(mark.set("x"))
        if len(kept) == 2:
            with pytest.raises(ValueError, match="different Context"):
                mark.reset(kept[0])
        await answer(exchange, "")

    async with opened(service) as raw:
        await raw.send_all(get(1) + get(2))
        assert [(await raw.read_response()).status for _ in range(2)] == [200, 200]


@everywhere
async def test_children_of_a_request_inherit_its_context(opened: Opener) -> None:
    """Tasks and threads that a handler starts see what it has set."""

    async def service(exchange: Exchange) -> None:
        seen: list[str] = []
        mark.set(exchange.head.target)

        async def child() -> None:
            seen.append(mark.get())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
        seen.append(await trio.to_thread.run_sync(mark.get))
        await answer(exchange, " ".join(seen))

    async with opened(service) as raw:
        await raw.send_all(get(1) + get(2))
        assert [(await raw.read_response()).content for _ in range(2)] == [b"/1 /1", b"/2 /2"]


class Marking:
    """A service whose lifespan sets a variable."""

    @asynccontextmanager
    async def lifespan(self, nursery: trio.Nursery) -> AsyncIterator[None]:
        token = mark.set("lifespan")
        yield
        mark.reset(token)

    async def __call__(self, exchange: Exchange) -> None:
        await leave_a_mark(exchange)


async def test_every_request_sees_what_the_lifespan_set() -> None:
    """Variables of the lifespan reach the requests of every connection, and no request changes them for another."""
    async with open_server(Marking()) as server:
        for _ in range(2):
            async with RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) as raw:
                await raw.send_all(get(1) + get(2) + get(3))
                assert [(await raw.read_response()).content for _ in range(3)] == [b"lifespan"] * 3
