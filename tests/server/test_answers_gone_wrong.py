"""A service that makes a mistake in its answer harms this answer, and never what is on the wire."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from triohttp import Headers
from triohttp.errors import BodyStateError, DisconnectedError, LocalProtocolError
from triohttp.lowlevel import AnswerState, Exchange, ResponseHead
from triohttp.testing import RawConnection, open_in_process

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = ResponseHead(200, Headers())
TEN = ResponseHead(200, Headers({"content-length": "10"}))


async def all_that_came(raw: RawConnection) -> bytes:
    """Return everything up to the end of the stream or its reset."""
    try:
        await raw.read_until_closed()
    except trio.BrokenResourceError:
        pass
    return raw.received


async def test_too_much_content_at_once_leaves_no_content_without_a_head() -> None:
    """A first send that is refused takes its head with it; nothing is sent in its place."""

    async def service(exchange: Exchange) -> None:
        exchange.begin(TEN)
        with pytest.raises(LocalProtocolError):
            await exchange.send(b"much more than ten")
        with pytest.raises(DisconnectedError):
            await exchange.send(b"smuggled: ")

    async with open_in_process(service) as site, await site.open_raw() as raw:
        await raw.send_all(GET)
        assert await all_that_came(raw) == b""


async def test_too_much_content_later_may_be_put_right() -> None:
    """A send that is refused once the head is out has sent nothing: the answer can still be completed."""

    async def service(exchange: Exchange) -> None:
        exchange.begin(TEN)
        await exchange.send(b"12345")
        with pytest.raises(LocalProtocolError):
            await exchange.send(b"1234567")
        await exchange.send(b"67890")
        await exchange.finish()

    async with open_in_process(service) as site, await site.open_raw() as raw:
        await raw.send_all(GET)
        assert (await raw.read_response()).content == b"1234567890"
        await raw.send_all(GET)
        assert (await raw.read_response()).content == b"1234567890"


@pytest.mark.parametrize(
    ("head", "trailers"),
    [
        (ResponseHead(200, Headers()), Headers({"content-length": "5"})),
        (ResponseHead(200, Headers({"content-length": "3"})), Headers({"x-sum": "1"})),
        (ResponseHead(200, Headers({"transfer-encoding": "chunked"})), None),
        (ResponseHead(200, Headers({"content-length": "4"})), None),
        (ResponseHead(99, Headers()), None),
    ],
    ids=["a framing trailer", "trailers behind a length", "a coding of its own", "a wrong length", "no status"],
)
async def test_an_impossible_answer_is_one_fault(
    head: ResponseHead, trailers: Headers | None, caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported once as the service's, and ends in a 500 or a cut, never in half of an answer."""

    async def service(exchange: Exchange) -> None:
        await exchange.respond(head, b"abc", trailers)

    async with open_in_process(service, raise_handler_errors=False) as site, await site.open_raw() as raw:
        await raw.send_all(GET)
        received = await all_that_came(raw) if trailers is not None else (await raw.read_until(b"\r\n"))
    assert received == b"" if trailers is not None else received == b"HTTP/1.1 500 Internal Server Error\r\n"
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.message.startswith("the service failed: LocalProtocolError")


async def test_a_head_that_cannot_go_out_may_be_replaced() -> None:
    """A staged head that the wire refuses stays staged; another one can take its place."""

    async def service(exchange: Exchange) -> None:
        exchange.begin(ResponseHead(99, Headers()))
        for _ in range(2):
            with pytest.raises(LocalProtocolError):
                await exchange.flush()
        await exchange.respond(CHUNKED, b"better")

    async with open_in_process(service) as site, await site.open_raw() as raw:
        await raw.send_all(GET)
        assert (await raw.read_response()).content == b"better"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("way", ["flush", "send nothing", "finish"])
async def test_a_cancellation_where_nothing_is_to_be_sent_cuts_nothing(
    way: str, method: str, autojump_clock: trio.testing.MockClock
) -> None:
    """A scope of the service's own that ends a call with nothing to send leaves the answer whole."""

    async def service(exchange: Exchange) -> None:
        exchange.begin(TEN)
        await exchange.flush()
        with trio.CancelScope() as scope:
            if way == "finish":
                await exchange.send(b"1234567890")
            scope.cancel()
            if way == "flush":
                await exchange.flush()
            elif way == "finish":
                await exchange.finish()
            else:
                await exchange.send(b"")
        assert scope.cancelled_caught
        if way == "finish":
            assert exchange.state is AnswerState.COMPLETE
        else:
            await exchange.send(b"1234567890")
            await exchange.finish()

    async with open_in_process(service) as site, await site.open_raw() as raw:
        for _ in range(2):
            await raw.send_all(GET.replace(b"GET", method.encode("ascii")))
            assert (await raw.read_response(method)).content == (b"1234567890" if method == "GET" else b"")


async def test_two_answers_at_once_are_one_answer_and_one_error(autojump_clock: trio.testing.MockClock) -> None:
    """Whoever comes second is told so, in whichever order two tasks get to send."""
    errors: list[BaseException] = []

    async def service(exchange: Exchange) -> None:
        async def respond() -> None:
            try:
                await exchange.respond(CHUNKED, b"x" * 200_000)
            except BodyStateError as exc:
                errors.append(exc)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(respond)
            nursery.start_soon(respond)

    async with open_in_process(service) as site, await site.open_raw() as raw:
        await raw.send_all(GET)
        await trio.sleep(1)
        assert len((await raw.read_response()).content) == 200_000
    assert len(errors) == 1


async def test_reading_after_the_answer_asks_for_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A task that waits to send 100 (Continue) behind the final answer does not send it any more."""
    received: list[bytes | bytearray] = []

    async def service(exchange: Exchange) -> None:
        async def receive() -> None:
            received.append(await exchange.content.receive_some())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.respond, CHUNKED, b"x" * 200_000)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(receive)

    async with open_in_process(service) as site, await site.open_raw() as raw:
        await raw.send_all(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        await trio.sleep(1)
        answer = await raw.read_response("PUT")
        assert (len(answer.content), answer.interim) == (200_000, ())
        await raw.send_all(b"late")
        assert await raw.read_until_closed() == b""
    assert received == [b"late"]
