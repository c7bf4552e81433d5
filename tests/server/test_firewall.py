"""One connection's misfortune is its own: the server answers the next request whatever happened to the last."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

import pytest
import trio

from triohttp import Headers, open_server
from triohttp._server.firewall import contain
from triohttp.lowlevel import Connection, Exchange, H1Wire, ResponseHead
from triohttp.testing import InProcessServer, open_in_process


async def hello(exchange: Exchange) -> None:
    await exchange.respond(ResponseHead(200, Headers()), b"hello")


async def is_alive(server: InProcessServer) -> bool:
    async with await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return (await raw.read_response()).status in (200, 500)


def raiser(error: BaseException) -> Callable[[Exchange], object]:
    async def service(exchange: Exchange) -> None:
        raise error

    return service


FAULTS = [
    ValueError("plain"),
    ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
    RecursionError(),
    MemoryError(),
    BaseException("odd"),
    BaseExceptionGroup("odd group", [GeneratorExit(), ValueError("in a group")]),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_whatever_a_service_raises_is_answered_and_logged_leaf_by_leaf(
    fault: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault before the answer is a 500 without details, one record a leaf, and the server goes on."""
    with caplog.at_level(logging.ERROR, "triohttp.server"):
        async with open_in_process(raiser(fault), raise_handler_errors=False) as server:
            async with await server.open_raw() as raw:
                await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                answer = await raw.read_response()
            assert answer.status == 500
            assert answer.content == b"Internal Server Error\n"
            assert await is_alive(server)
    leaves = fault.exceptions if isinstance(fault, BaseExceptionGroup) else [fault]
    assert len(caplog.records) == 2 * len(leaves)


@pytest.mark.parametrize("place", ["next_event", "send_response", "receive", "start_next_cycle"])
async def test_a_fault_of_the_connection_code_ends_one_connection(
    place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug below the handler is logged, closes its connection, and the next one is served."""

    def broken(*args: object, **named: object) -> object:
        raise RuntimeError("a bug of ours")

    async with open_in_process(hello, raise_handler_errors=False) as server:
        with caplog.at_level(logging.CRITICAL, "triohttp.server"):
            async with await server.open_raw() as raw:
                with monkeypatch.context() as patch:
                    patch.setattr(H1Wire, place, broken)
                    await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                    with suppress(trio.BrokenResourceError):
                        await raw.read_until_closed()
        assert any("a bug of ours" in record.getMessage() for record in caplog.records)
        assert await is_alive(server)


async def test_a_fault_while_closing_ends_one_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Even the way out may fail without anybody else noticing."""

    async def broken(self: Connection) -> None:
        raise RuntimeError("cannot close")

    async with open_in_process(hello, raise_handler_errors=False) as server:
        with caplog.at_level(logging.CRITICAL, "triohttp.server"):
            async with await server.open_raw() as raw:
                with monkeypatch.context() as patch:
                    patch.setattr(Connection, "aclose", broken)
                    await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                    with suppress(trio.BrokenResourceError):
                        await raw.read_until_closed()
        assert await is_alive(server)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_a_request_to_exit_drains_the_server_and_is_raised(kind: type[BaseException]) -> None:
    """KeyboardInterrupt and SystemExit in a handler are no 500: the server drains, then raises them."""

    async def service(exchange: Exchange) -> None:
        raise kind(7)

    with pytest.raises(kind):
        async with open_server(service) as server:
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            async with stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                await trio.sleep_forever()


async def test_containment_passes_cancellation_on(caplog: pytest.LogCaptureFixture) -> None:
    """Cancelled is never swallowed, alone or in a group with faults; the faults are logged."""
    stopped: list[BaseException] = []

    async def both() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            raise BaseExceptionGroup("both", [cancelled, ValueError("beside the cancellation")]) from None

    with trio.CancelScope() as scope:
        scope.cancel()
        await contain("a test", both, stopped.append)
    assert scope.cancelled_caught
    assert stopped == []
    assert "beside the cancellation" in caplog.text


async def test_a_service_that_forgets_to_answer_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    """Returning without an answer is the service's fault, said so in the log."""

    async def forgetful(exchange: Exchange) -> None:
        await trio.lowlevel.checkpoint()

    with caplog.at_level(logging.ERROR, "triohttp.server"):
        async with open_in_process(forgetful, raise_handler_errors=False) as server, await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await raw.read_response()).status == 500
    assert "returned without having answered" in caplog.text


async def test_a_service_that_stops_in_the_middle_leaves_a_visible_cut(caplog: pytest.LogCaptureFixture) -> None:
    """An answer that was begun and not finished ends without its terminator."""

    async def half(exchange: Exchange) -> None:
        exchange.begin(ResponseHead(200, Headers()))
        await exchange.send(b"half")

    with caplog.at_level(logging.ERROR, "triohttp.server"):
        async with open_in_process(half, raise_handler_errors=False) as server, await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            with pytest.raises(trio.BrokenResourceError):
                await raw.read_until_closed()
    assert "in the middle of its answer" in caplog.text


async def test_a_cancellation_that_outlived_its_scope_reaches_nobody_else(caplog: pytest.LogCaptureFixture) -> None:
    """It would cancel every connection of the server; alone and in a group it is reported, and its connection ends."""

    async def leaked() -> trio.Cancelled:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                return exc
        raise AssertionError

    async def service(exchange: Exchange) -> None:
        if exchange.head.target == "/":
            await hello(exchange)
        elif exchange.head.target == "/alone":
            raise await leaked()
        else:
            raise BaseExceptionGroup("g", [await leaked(), await leaked()])

    with caplog.at_level(logging.ERROR, "triohttp.server"):
        async with open_in_process(service, raise_handler_errors=False) as server:
            for target in ("/alone", "/group"):
                async with await server.open_raw() as raw:
                    await raw.send_all(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                    with pytest.raises(trio.BrokenResourceError):
                        await raw.read_response()
                assert await is_alive(server)
    assert "Cancelled" in caplog.text
