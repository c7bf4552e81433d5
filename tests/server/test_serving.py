"""serve and open_server: how they start, what they hand out, and whose errors come out of them."""

from __future__ import annotations

import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

from triohttp import App, ClientTimeouts, Headers, Limits, Server, open_server, serve
from triohttp.lowlevel import Exchange, ResponseHead
from triohttp.testing import MemoryListener, RawConnection


async def hello(exchange: Exchange) -> None:
    await exchange.respond(ResponseHead(200, Headers({"content-type": "text/plain"})), b"hello")


async def ask(server: Server) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    async with stream:
        await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = b""
        while data := await stream.receive_some(65536):
            answer += data
    return answer


async def test_start_returns_a_live_server(nursery: trio.Nursery) -> None:
    """nursery.start returns when the server accepts, with its addresses, URLs and port."""
    server = await nursery.start(serve, hello, "127.0.0.1", 0)
    assert server.ready and not server.draining
    assert server.addresses == [("127.0.0.1", server.port)]
    assert server.urls == [f"http://127.0.0.1:{server.port}"]
    assert (await ask(server)).endswith(b"hello")
    await server.shutdown(grace=1)
    assert not server.ready and server.draining
    with pytest.raises(OSError, match="all attempts to connect"):
        await trio.open_tcp_stream("127.0.0.1", server.port)


async def test_several_servers_in_one_nursery_are_independent(nursery: trio.Nursery) -> None:
    """Ending one server leaves the other serving."""
    one = await nursery.start(serve, hello, "127.0.0.1", 0)
    other = await nursery.start(serve, hello, "127.0.0.1", 0)
    await one.shutdown(grace=0)
    assert (await ask(other)).endswith(b"hello")
    await other.shutdown(grace=0)


async def test_localhost_has_one_port_on_every_address() -> None:
    """With port 0 the addresses of one host share the port that the first was given."""
    async with open_server(hello, "localhost") as server:
        assert len({address[1] for address in server.addresses if isinstance(address, tuple)}) == 1


async def test_a_port_that_is_taken_is_an_error_that_says_so() -> None:
    """The caller gets an OSError of its own, with the address, and no group around it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1 port {port}") as caught:
            await serve(hello, "127.0.0.1", port)
        assert caught.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match="cannot listen on"):
            async with open_server(hello, "127.0.0.1", port):
                raise AssertionError("the block must not run")


async def test_a_host_without_an_address_is_named() -> None:
    """The error of the operating system says nothing about which name it was."""
    with pytest.raises(socket.gaierror, match=r"cannot listen on '127\.0\.0\.1:8080'"):
        await serve(hello, "127.0.0.1:8080")


@pytest.mark.parametrize(
    ("host", "port", "error", "message"),
    [
        (8080, 0, TypeError, "host must be a name or an address, or None for every address, not 8080"),
        ("127.0.0.1", "8080", TypeError, "port must be a whole number, not '8080'"),
        ("127.0.0.1", None, TypeError, "port must be a whole number, not None"),
        ("127.0.0.1", 65536, ValueError, "port must be from 0 to 65535, not 65536"),
        ("127.0.0.1", -1, ValueError, "port must be from 0 to 65535, not -1"),
    ],
)
async def test_what_is_no_address_is_told_at_once(
    host: object, port: object, error: type[Exception], message: str
) -> None:
    """Nothing is opened, and the message says what was given."""
    with pytest.raises(error, match=message):
        await serve(hello, host, port)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize("app", [None, 3, object(), lambda exchange: None, App])
async def test_what_is_not_a_service_is_refused_by_name(app: object) -> None:
    """A wrong app is a TypeError before anything is opened, and the message says what is allowed."""
    with pytest.raises(TypeError, match="app must be an App, a Service or an async function"):
        await serve(app)  # type: ignore[arg-type]  # wrong on purpose


async def test_the_blocks_own_error_comes_out_of_open_server_unwrapped() -> None:
    """An exception of the block stops the server hard and is raised as it was, in no group."""
    with pytest.raises(ZeroDivisionError):
        async with open_server(hello):
            raise ZeroDivisionError


async def test_leaving_open_server_drains() -> None:
    """A request in flight when the block ends is answered, with Connection: close."""
    started = trio.Event()

    async def slow(exchange: Exchange) -> None:
        started.set()
        await exchange.wait_draining()
        await exchange.respond(ResponseHead(200, Headers()), b"late")

    async with trio.open_nursery() as nursery:
        answers: list[bytes] = []

        async def client(server: Server) -> None:
            answers.append(await ask(server))

        async with open_server(slow) as server:
            nursery.start_soon(client, server)
            await started.wait()
    assert b"Connection: close" in answers[0] and answers[0].endswith(b"late")


class Lifespan:
    """A service whose lifespan does what a test asks."""

    def __init__(self, body: AbstractAsyncContextManager[None] | None = None, job: object = None) -> None:
        self.events: list[str] = []
        self.job = job

    @asynccontextmanager
    async def lifespan(self, nursery: trio.Nursery) -> AsyncIterator[None]:
        self.events.append("enter")
        if callable(self.job):
            nursery.start_soon(self.job, self)
        try:
            yield
        finally:
            self.events.append("exit")

    async def __call__(self, exchange: Exchange) -> None:
        await hello(exchange)


async def test_the_lifespan_encloses_the_serving() -> None:
    """The lifespan is entered before listening and left after the last connection."""
    service = Lifespan()
    async with open_server(service) as server:
        assert service.events == ["enter"]
        await ask(server)
    assert service.events == ["enter", "exit"]


async def test_a_lifespan_that_raises_opens_no_listener_and_raises_from_serve() -> None:
    """A failing start is the caller's one error."""

    class Failing(Lifespan):
        @asynccontextmanager
        async def lifespan(self, nursery: trio.Nursery) -> AsyncIterator[None]:
            raise LookupError("no database")
            yield

    with pytest.raises(LookupError, match="no database"):
        async with open_server(Failing()):
            raise AssertionError("the block must not run")


async def test_a_service_task_that_crashes_drains_the_server_and_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    """Work in the services nursery is supervised: its crash ends the server, and the block, with its own error."""
    crash = trio.Event()

    async def job(service: Lifespan) -> None:
        await crash.wait()
        raise ValueError("the job is broken")

    service = Lifespan(job=job)
    with caplog.at_level(logging.CRITICAL, "triohttp.server"), pytest.raises(ValueError, match="the job is broken"):
        async with open_server(service) as server:
            assert (await ask(server)).endswith(b"hello")
            crash.set()
            await trio.sleep_forever()
    assert service.events == ["enter", "exit"]


async def test_service_tasks_end_after_the_connections_and_before_the_lifespan() -> None:
    """Order of ending: connections, services, lifespan."""

    async def job(service: Lifespan) -> None:
        try:
            await trio.sleep_forever()
        finally:
            service.events.append("job ended")

    class Noting(Lifespan):
        async def __call__(self, exchange: Exchange) -> None:
            await exchange.respond(ResponseHead(200, Headers()), b"")
            self.events.append("answered")

    service = Noting(job=job)
    async with open_server(service) as server:
        await ask(server)
    assert service.events == ["enter", "answered", "job ended", "exit"]


async def test_any_listener_is_accepted() -> None:
    """A listener of the program's own is served from, and closed at the end."""
    listener = MemoryListener()
    async with open_server(hello, listeners=[listener]) as server:
        assert server.urls == []
        async with RawConnection(await listener.connect()) as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answer = await raw.read_response()
            assert (answer.status, answer.content) == (200, b"hello")
    with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError, OSError)):
        await listener.connect()


async def test_max_connections_pauses_accepting_and_loses_nobody() -> None:
    """The connection over the bound waits in the backlog and is served when another leaves."""
    async with open_server(hello, limits=Limits(max_connections=2)) as server:
        first = await trio.open_tcp_stream("127.0.0.1", server.port)
        second = await trio.open_tcp_stream("127.0.0.1", server.port)
        third = await trio.open_tcp_stream("127.0.0.1", server.port)
        for stream in (first, second, third):
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await first.receive_some(65536)).startswith(b"HTTP/1.1 200")
        assert (await second.receive_some(65536)).startswith(b"HTTP/1.1 200")
        with trio.move_on_after(0.05) as scope:
            await third.receive_some(65536)
        assert scope.cancelled_caught
        assert server.statistics().open_connections == 2
        await first.aclose()
        assert (await third.receive_some(65536)).startswith(b"HTTP/1.1 200")
        await second.aclose()
        await third.aclose()


async def test_statistics_count() -> None:
    """Connections, requests and rejects are counted."""
    async with open_server(hello) as server:
        await ask(server)
        await ask(server)
        stream = await trio.open_tcp_stream("127.0.0.1", server.port)
        async with stream:
            await stream.send_all(b"nonsense\r\n\r\n")
            while await stream.receive_some(65536):
                pass
        counted = server.statistics()
    assert (counted.connections, counted.requests, counted.rejects) == (3, 2, 1)


@pytest.mark.parametrize("header", ["custom/1", None])
async def test_the_server_field_is_what_was_asked_for(header: str | None) -> None:
    """The Server field can be set, or left out; Date is always there, once."""
    async with open_server(hello, server_header=header) as server:
        answer = await ask(server)
    assert answer.count(b"Date: ") == 1
    assert answer.count(b"Server: ") == (0 if header is None else 1)
    assert header is None or b"Server: custom/1\r\n" in answer


async def test_a_handlers_own_date_and_server_are_not_doubled() -> None:
    """What the handler sets itself is left alone, and nothing is added beside it."""

    async def own(exchange: Exchange) -> None:
        await exchange.respond(ResponseHead(200, Headers({"date": "Thu, 01 Jan 1970 00:00:00 GMT", "server": "me"})))

    async with open_server(own) as server:
        answer = (await ask(server)).lower()
    assert answer.count(b"date: ") == answer.count(b"server: ") == 1


async def test_a_wrong_tls_argument_is_named() -> None:
    """tls= takes a context, and says so."""
    with pytest.raises(TypeError, match=r"tls must be an ssl\.SSLContext"):
        await serve(hello, tls=True)  # type: ignore[arg-type]  # wrong on purpose


async def test_a_context_for_clients_is_refused() -> None:
    """With it every handshake would fail, one record each; the message says how a context for servers is made."""
    with pytest.raises(ValueError, match=r"ssl\.Purpose\.CLIENT_AUTH"):
        await serve(hello, tls=ssl.create_default_context())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeouts": 5}, "timeouts must be of type Timeouts, not 5"),
        ({"timeouts": ClientTimeouts()}, "timeouts must be of type Timeouts, not ClientTimeouts"),
        ({"limits": {"max_body_bytes": 1}}, "limits must be of type Limits, not {"),
        ({"listeners": MemoryListener()}, "listeners= takes a sequence"),
    ],
)
async def test_a_wrong_argument_is_told_before_anything_is_served(options: dict[str, Any], message: str) -> None:
    """Not by the first connection, in the words of whoever used it."""
    with pytest.raises(TypeError, match=message):
        await serve(hello, **options)


async def test_a_negative_grace_is_refused() -> None:
    """shutdown names the argument, the value and what is allowed."""
    async with open_server(hello) as server:
        with pytest.raises(ValueError, match="grace must be at least 0 seconds, not -1"):
            await server.shutdown(grace=-1)


async def test_a_drain_serves_what_was_waiting_to_be_accepted() -> None:
    """A request that was sent to a listener before the drain began is answered, not reset."""
    async with open_server(hello) as server:
        clients = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await server.shutdown(grace=5)  # in the same step: not one of them has been accepted
    for client in clients:
        with client:
            client.settimeout(5)
            answer = b""
            while data := client.recv(65536):
                answer += data
            assert b"Connection: close" in answer
            assert answer.endswith(b"hello")
