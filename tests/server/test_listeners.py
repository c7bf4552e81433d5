"""Accepting goes on whatever happens to a connection, a listener, or the descriptors; what is handed in is closed."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial

import pytest
import trio
import trio.testing

from triohttp import Headers, Limits, open_server, serve
from triohttp.errors import InvalidHeaderError
from triohttp.lowlevel import Exchange, ResponseHead
from triohttp.testing import MemoryListener, RawConnection, open_in_process

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


async def hello(exchange: Exchange) -> None:
    await exchange.respond(ResponseHead(200, Headers()), b"hello")


class Listener(trio.abc.Listener[trio.abc.Stream]):
    """A listener that hands out or raises what it is given, and notes that it was closed."""

    def __init__(self, *accepted: trio.abc.Stream | BaseException) -> None:
        self._accepted = list(accepted)
        self.closed = False

    async def accept(self) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if not self._accepted:
            await trio.sleep_forever()
        accepted = self._accepted.pop(0)
        if isinstance(accepted, BaseException):
            raise accepted
        return accepted

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


def critical(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.CRITICAL]


@pytest.mark.parametrize("error", [RuntimeError("odd"), trio.ClosedResourceError(), trio.BrokenResourceError()])
async def test_a_broken_listener_does_not_end_the_others(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a listener raises is said once, and the server goes on with what it has."""
    good = MemoryListener()
    async with open_server(hello, listeners=[Listener(error), good]):
        await trio.testing.wait_all_tasks_blocked()
        async with RawConnection(await good.connect()) as raw:
            await raw.send_all(GET)
            assert (await raw.read_response()).content == b"hello"
    assert len(critical(caplog)) == 1


async def test_without_any_listener_left_the_server_ends(caplog: pytest.LogCaptureFixture) -> None:
    """A server that nobody can reach any more drains and returns."""
    await serve(hello, listeners=[Listener(RuntimeError("one")), Listener(RuntimeError("two"))])
    assert critical(caplog)[-1] == "no listener is left, the server drains"


async def test_a_listener_closed_under_the_server_is_a_broken_one(caplog: pytest.LogCaptureFixture) -> None:
    """Closing a listener is no way to end a server that has another."""
    one, two = await trio.open_tcp_listeners(0, host="127.0.0.1"), MemoryListener()
    async with open_server(hello, listeners=[*one, two]):
        await trio.testing.wait_all_tasks_blocked()
        await one[0].aclose()
        async with RawConnection(await two.connect()) as raw:
            await raw.send_all(GET)
            assert (await raw.read_response()).content == b"hello"
    assert len(critical(caplog)) == 1


@pytest.mark.parametrize("how", ["leave", "cancel", "raise"])
async def test_every_listener_is_closed_at_the_end(how: str) -> None:
    """However the server ends, and however many there are."""
    listeners = [Listener(), Listener(), Listener()]
    with trio.CancelScope() as scope, suppress(LookupError):
        async with open_server(hello, listeners=listeners):
            await trio.testing.wait_all_tasks_blocked()
            if how == "cancel":
                scope.cancel()
                await trio.lowlevel.checkpoint()
            if how == "raise":
                raise LookupError
    assert [listener.closed for listener in listeners] == [True] * 3


class Failing(AbstractAsyncContextManager[None]):
    """A service that cannot start."""

    def lifespan(self, nursery: trio.Nursery) -> AbstractAsyncContextManager[None]:
        return self

    async def __aenter__(self) -> None:
        raise LookupError("no start")

    async def __aexit__(self, *_: object) -> None:
        raise AssertionError

    async def __call__(self, exchange: Exchange) -> None:
        raise AssertionError


async def test_listeners_are_closed_when_the_start_fails() -> None:
    """They were handed over: a server that never accepted from them closes them all the same."""
    listeners = [Listener(), Listener()]
    with pytest.raises(LookupError):
        await serve(Failing(), listeners=listeners)
    assert [listener.closed for listener in listeners] == [True] * 2


class Unclosable(trio.abc.Stream):
    """A stream that has no way to be closed at once."""

    def __init__(self) -> None:
        self.closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise AssertionError

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()


async def test_a_stream_that_cannot_carry_http_is_closed_and_named(caplog: pytest.LogCaptureFixture) -> None:
    """The listener that handed it out is at fault, so it is said what is missing; nothing else suffers."""
    stream = Unclosable()
    async with open_server(hello, listeners=[Listener(stream)]) as server:
        await trio.testing.wait_all_tasks_blocked()
        assert stream.closed
        assert server.statistics().open_connections == 0
    [message] = critical(caplog)
    assert "a Unclosable cannot carry HTTP here: it needs a synchronous close() or abort()" in message


async def test_a_type_error_of_a_connection_is_no_word_about_its_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault below the service is reported with its traceback, whatever its class."""

    def broken(self: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr("triohttp._wire.h1_receiving.H1Receiver.next_event", broken)
    async with open_in_process(hello, raise_handler_errors=False) as site, await site.open_raw() as raw:
        assert (await raw.read_response()).status == 500
    [record] = [record for record in caplog.records if record.levelno >= logging.CRITICAL]
    assert record.message == "a connection failed: TypeError('a bug')"
    assert record.exc_info is not None


async def test_places_are_given_back_whatever_ends_a_connection(caplog: pytest.LogCaptureFixture) -> None:
    """A server with one place serves again after every kind of end, and says at most once that it was full."""

    async def service(exchange: Exchange) -> None:
        if exchange.head.target == "/raise":
            raise ValueError
        if exchange.head.target == "/group":
            raise ExceptionGroup("two", [ValueError(), KeyError()])
        if exchange.head.target == "/cut":
            exchange.begin(ResponseHead(200, Headers()))
            await exchange.send(b"some")
            raise ValueError
        if exchange.head.target == "/wait":
            await trio.sleep_forever()
        await hello(exchange)

    async with open_server(service, limits=Limits(max_connections=1)) as server:
        connect = partial(trio.open_tcp_stream, "127.0.0.1", server.port)
        for _ in range(5):
            for target in (b"/", b"/raise", b"/group", b"/cut", b"/wait"):
                raw = RawConnection(await connect())
                await raw.send_all(GET.replace(b"/", target, 1))
                await trio.testing.wait_all_tasks_blocked(0.005)
                raw.reset()
            raw = RawConnection(await connect())
            await raw.send_all(b"rubbish\r\n\r\n")
            assert (await raw.read_response()).status == 400
            await raw.aclose()
        async with RawConnection(await connect()) as raw:
            await raw.send_all(GET)
            assert (await raw.read_response()).content == b"hello"
    assert len([record for record in caplog.records if "max_connections" in record.message]) <= 1


SHORT_OF_DESCRIPTORS = r"""
import logging
import os
import resource
import sys

import trio
from triohttp import Headers, open_server
from triohttp.lowlevel import ResponseHead

logging.basicConfig(level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(message)s")

async def hello(exchange):
    await exchange.respond(ResponseHead(200, Headers()), b"hello")

async def ask(stream):
    await stream.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (await stream.receive_some(65536)).endswith(b"hello")

async def main():
    async with open_server(hello) as server:
        first = await trio.open_tcp_stream("127.0.0.1", server.port)
        await ask(first)
        sock = trio.socket.socket()
        free = os.dup(0)
        os.close(free)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        await sock.connect(("127.0.0.1", server.port))
        second = trio.SocketStream(sock)
        with trio.move_on_after(0.35) as scope:
            await ask(second)
        print("waits", scope.cancelled_caught)
        await ask(first)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        assert (await second.receive_some(65536)).endswith(b"hello")
        print("answered")
        await first.aclose()
        await second.aclose()

trio.run(main)
"""


def test_running_out_of_descriptors_ends_nothing() -> None:
    """Accepting pauses, says so once, and goes on when there is room again; what is open is served meanwhile."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHORT_OF_DESCRIPTORS], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    warning, waits, answered = done.stdout.splitlines()
    assert warning.startswith("WARNING accepting on ('127.0.0.1', ")
    assert "Too many open files; raise the descriptor limit or lower max_connections" in warning
    assert (waits, answered) == ("waits True", "answered")


async def test_the_backlog_of_a_full_server_is_served_later() -> None:
    """Nobody is refused for want of a place."""
    release = trio.Event()

    async def service(exchange: Exchange) -> None:
        await release.wait()
        await hello(exchange)

    async with open_server(service, limits=Limits(max_connections=2)) as server:
        raws = [RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) for _ in range(10)]
        for raw in raws:
            await raw.send_all(GET.replace(b"Host", b"Connection: close\r\nHost"))
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.statistics().open_connections == 2
        release.set()
        for raw in raws:
            assert (await raw.read_response()).content == b"hello"
            await raw.aclose()


def test_a_port_is_free_when_its_server_has_ended() -> None:
    """Serving twice on one port needs no waiting."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async def main() -> None:
        for _ in range(3):
            async with open_server(hello, port=port) as server:
                async with RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) as raw:
                    await raw.send_all(GET)
                    await raw.read_response()

    trio.run(main)


async def test_two_failures_are_one_error_and_one_record(caplog: pytest.LogCaptureFixture) -> None:
    """The block's own error is raised; what the server failed with meanwhile is not lost."""

    class Service:
        @asynccontextmanager
        async def lifespan(self, nursery: trio.Nursery) -> AsyncIterator[None]:
            try:
                yield
            finally:
                raise LookupError("the server's")

        async def __call__(self, exchange: Exchange) -> None:
            raise AssertionError

    with pytest.raises(ValueError, match="the block's"):
        async with open_server(Service()):
            raise ValueError("the block's")
    assert 'the server failed too: LookupError("the server\'s")' in [record.message for record in caplog.records]


async def test_a_server_header_that_is_no_field_value_is_refused() -> None:
    """Before anything is opened, and by name; not with every answer."""
    with pytest.raises(InvalidHeaderError):
        await serve(hello, server_header="a\r\nSet-Cookie: b")
