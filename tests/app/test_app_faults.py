"""Whose fault something is: peers that leave, requests to exit, and who may read a traceback."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio

from triohttp import App, Handler, NotFound, Request, Response, open_server
from triohttp.errors import TransportError
from triohttp.testing import RawConnection, RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]


async def reset_during(app: App) -> None:
    """Ask an app for ``/`` over TCP, take the first bytes, and reset the connection; leaving the server waits."""
    async with open_server(app, port=0) as server:
        with trio.socket.socket() as client:
            await client.connect(("127.0.0.1", server.port))
            await client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await client.recv(1000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def test_tasks_that_lose_their_one_peer_together_are_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Each of them gets an error, so a group of several leaves the handler; nothing of it is the program's doing."""
    app = App(on_disconnect="finish")

    @app.get("/")
    async def two(request: Request) -> None:
        async def push() -> None:
            while True:
                await body.send_all(bytes(100_000))

        async with request.respond() as body, trio.open_nursery() as nursery:
            nursery.start_soon(push)
            nursery.start_soon(push)

    await reset_during(app)
    assert errors(caplog) == []


@pytest.mark.parametrize("which", [0, 1])
async def test_any_of_several_losses_may_be_raised(caplog: pytest.LogCaptureFixture, which: int) -> None:
    """Where tasks keep what happened to them, the handler says which error comes out: all are the peer's."""
    app = App(on_disconnect="finish")
    lost: list[TransportError] = []

    @app.get("/")
    async def two(request: Request) -> None:
        async def push() -> None:
            try:
                while True:
                    await body.send_all(bytes(100_000))
            except TransportError as exc:
                lost.append(exc)

        async with request.respond() as body:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(push)
                nursery.start_soon(push)
            raise lost[which]

    await reset_during(app)
    assert len(lost) == 2
    assert errors(caplog) == []


async def test_a_peer_that_leaves_while_it_is_informed_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Interim answers go to the same peer as all others."""
    app = App(on_disconnect="finish")

    @app.get("/")
    async def hints(request: Request) -> Response:
        while True:
            await request.inform(103, {"Link": "</a.css>"})
            await trio.sleep(0)

    await reset_during(app)
    assert errors(caplog) == []


async def test_answering_for_a_peer_that_has_left_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    """Middleware that makes a page of any error cannot know that nobody is there to read it."""
    app = App(on_disconnect="finish")

    @app.middleware
    async def pages(request: Request, handler: Handler) -> Response:
        try:
            return await handler(request)
        except Exception:
            return Response.text("sorry", status=500)

    @app.get("/")
    async def pushes(request: Request) -> None:
        async with request.respond() as body:
            while True:
                await body.send_all(bytes(100_000))

    await reset_during(app)
    assert errors(caplog) == []


async def test_generator_exit_raised_by_hand_is_a_fault_of_the_handler(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody closes a coroutine of a running task, so it is an exception like another: 500, and one record."""
    app = App()

    @app.get("/")
    async def fails(request: Request) -> Response:
        raise GeneratorExit

    assert (await ask(app, "GET /", faults=True)).status == 500
    assert len(errors(caplog)) == 1


async def test_a_constant_exception_does_not_grow_in_a_mounted_app() -> None:
    """A handler of that app's answers for it again and again; its traceback is not kept."""
    missing = NotFound()
    app, inner = App(), App()
    app.mount("/in", inner)

    @inner.get("/")
    async def raises(request: Request) -> Response:
        raise missing

    @inner.error_handler(404)
    def sorry(request: Request, error: Exception) -> Response:
        return Response.text("sorry", status=404)

    async with open_in_process(app) as server, await server.open_raw() as raw:
        for _ in range(3):
            await raw.send_all(b"GET /in/ HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await raw.read_response()).content == b"sorry"
    assert missing.__traceback__ is None
    assert missing.__context__ is None


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ("Host: localhost", True),
        ("Host: localhost:8080", True),
        ("Host: app.localhost", True),
        ("Host: 127.0.0.1:1", True),
        ("Host: [::1]:1", True),
        ("Host: evil.example", False),
        ("Host: localhost.evil.example", False),
        ("Host: 10.0.0.1", False),
        ("Host: localhost\r\nX-Forwarded-For: 10.0.0.1", False),
        ("Host: localhost\r\nForwarded: for=10.0.0.1", False),
        ("Host: localhost\r\nVia: 1.1 proxy", False),
        ("Host: localhost\r\nX-Real-IP: 10.0.0.1", False),
    ],
)
async def test_a_traceback_is_for_this_machine_alone(fields: str, shown: bool) -> None:
    """Not for who comes through a proxy here, nor for another site that let its own name point here."""
    app = App(debug=True)

    @app.get("/")
    async def fails(request: Request) -> Response:
        raise ValueError("telling")

    async with open_server(app, port=0) as server:
        async with RawConnection(await trio.open_tcp_stream("127.0.0.1", server.port)) as raw:
            await raw.send_all(f"GET / HTTP/1.1\r\n{fields}\r\n\r\n".encode())
            response = await raw.read_response()
    assert response.status == 500
    assert (b"telling" in response.content) is shown


async def test_a_cancellation_that_outlived_its_scope_is_a_fault(ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    """Alone or in a group, it is no cancellation of anything around the handler: 500, one record, others go on."""
    app = App()

    @app.get("/{how}")
    async def leaks(request: Request) -> Response:
        leaked: BaseException | None = None
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep_forever()
            except trio.Cancelled as exc:
                leaked = exc
        assert leaked is not None
        raise leaked if request.path_params["how"] == "alone" else BaseExceptionGroup("g", [leaked, ValueError("x")])

    begun = trio.Event()

    @app.get("/other")
    async def other(request: Request) -> Response:
        begun.set()
        await request.wait_draining()
        return Response.text("other")

    async with open_in_process(app, raise_handler_errors=False) as server, await server.open_raw() as neighbour:
        await neighbour.send_all(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        for path in ("/alone", "/group"):
            async with await server.open_raw() as raw:
                await raw.send_all(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                assert (await raw.read_response()).status == 500
        assert len(errors(caplog)) == 2
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.server.shutdown, 5)
            assert (await neighbour.read_response()).content == b"other"
