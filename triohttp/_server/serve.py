"""The three ways to serve: ``trio.run(serve, app)``, ``nursery.start(serve, app)``, ``async with open_server(app)``.

Rule 1: signals are touched only when ``serve`` itself is what ``trio.run`` runs, in the main thread (``signals=``
        overrides): a library that is embedded leaves the process alone.
Rule 2: the caller gets the server's own error or its own, never an ExceptionGroup of ours.
"""

from __future__ import annotations

import contextlib
import inspect
import signal
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeAlias, TypeVar

import trio

from triohttp._values.limits import Limits, Timeouts
from triohttp._values.service import Exchange, Service
from triohttp.errors import clip

from .listeners import ForeignListener, OwnListener, open_tcp
from .records import server_log
from .server import Server, no_lifespan

__all__ = ["Servable", "open_server", "serve"]

Servable: TypeAlias = Service | Callable[[Exchange], Awaitable[None]]
B = TypeVar("B", Limits, Timeouts)
Listeners: TypeAlias = Sequence[trio.abc.Listener[trio.abc.Stream]]


async def serve(
    app: Servable,
    host: str | None = "127.0.0.1",
    port: int = 8080,
    *,
    listeners: Listeners | None = None,
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    signals: bool | None = None,
    server_header: str | None = "triohttp",
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an app until it is told to stop.

    As the main function of ``trio.run`` it says where it serves on stderr, and the first SIGINT or SIGTERM drains it;
    a second one ends it with ``SystemExit(1)``. Under ``nursery.start`` it returns a live ``Server`` once it accepts.

    Args:
        app: an ``App``, or anything that is a ``Service``, or a bare ``async def service(exchange)``.
        host: a name or address to listen on; None means every address of this machine.
        port: a TCP port; 0 lets the system choose.
        listeners: open listeners to accept from instead of ``host`` and ``port``; they are closed at the end.
        tls: the context for TLS on every listener; None means plain.
        limits: how much is taken from a peer; None means the defaults of ``Limits``.
        timeouts: how long each phase may take, in seconds; None means the defaults of ``Timeouts``.
        signals: whether to handle SIGINT and SIGTERM; None means only as the main function of ``trio.run``.
        server_header: the Server field of every answer; None leaves it out.
    Cancellation: hard: connections are reset, services and the lifespan are ended.
    Raises:
        TypeError, ValueError: an argument is not what is said above.
        InvalidHeaderError: ``server_header`` cannot be a field value.
        OSError: an address cannot be bound.
        SystemExit: a second signal came.
        Exception: whatever the lifespan or a service raised.
    """
    is_main = runs_as_main()
    if isinstance(listeners, trio.abc.Listener):
        raise TypeError("listeners= takes a sequence, not one listener alone")
    server = Server(
        service_of(app),
        limits=check_bounds("limits", limits, Limits),
        timeouts=check_bounds("timeouts", timeouts, Timeouts),
        tls=check_tls(tls),
        server_header=server_header,
        owns_process=is_main,
        listeners=[ForeignListener(listener) for listener in listeners or ()],
    )
    started = partial(announce, task_status, is_main)
    open_listeners = partial(open_tcp, host, port) if listeners is None else None
    if not (is_main if signals is None else signals):
        await server.run(open_listeners, started)
        return
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as received:
        await _run_with_signals(server, open_listeners, started, received)


def announce(task_status: trio.TaskStatus[Server], aloud: bool, server: Server) -> None:
    """Hand the server to whoever started it, and say where it is when nobody else would."""
    if aloud:
        for url in server.urls:
            say(f"triohttp is serving on {url} (Ctrl-C to stop)")
    task_status.started(server)


def say(line: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


async def _run_with_signals(
    server: Server,
    open_listeners: Callable[[], Awaitable[Sequence[OwnListener]]] | None,
    started: Callable[[Server], None],
    received: AsyncIterator[int],
) -> None:
    failure: BaseException | None = None
    forced = False

    async def obey() -> None:
        nonlocal forced
        asked = False
        async for number in received:
            if not server.started:  # there is nothing to drain
                nursery.cancel_scope.cancel(reason="a signal during the start")
                return
            if not asked:
                asked = True
                say(f"triohttp is draining after {signal.Signals(number).name}; once more stops it at once")
                server.begin_drain()
            else:
                forced = True
                server.stop_now(f"a second signal, {signal.Signals(number).name}")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(obey)
        try:
            await server.run(open_listeners, started)
        except trio.Cancelled:
            raise
        except BaseException as exc:  # noqa: BLE001  # kept, to be raised outside the nursery
            failure = exc
        nursery.cancel_scope.cancel(reason="the server has ended")
    if forced:
        raise SystemExit(1) from failure
    if failure is not None:
        raise failure


@asynccontextmanager
async def open_server(
    app: Servable,
    host: str | None = "127.0.0.1",
    port: int = 0,
    *,
    listeners: Listeners | None = None,
    tls: ssl.SSLContext | None = None,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    server_header: str | None = "triohttp",
) -> AsyncIterator[Server]:
    """Serve an app while a block runs; the block gets the live ``Server``.

    Leaving the block normally drains (``Timeouts.drain_seconds``); by an exception or a cancellation it stops hard. If
    the server fails meanwhile, the block is cancelled and the server's error is raised. The arguments are those of
    ``serve``; ``port`` is 0 by default.
    """
    server_failure: BaseException | None = None
    block_failure: BaseException | None = None

    async def run(task_status: trio.TaskStatus[Server]) -> None:
        nonlocal server_failure
        try:
            await serve(
                app,
                host,
                port,
                listeners=listeners,
                tls=tls,
                limits=limits,
                timeouts=timeouts,
                signals=False,
                server_header=server_header,
                task_status=task_status,
            )
        except trio.Cancelled:
            raise
        except BaseException as exc:  # noqa: BLE001  # kept, to be raised outside the nursery
            server_failure = exc
            nursery.cancel_scope.cancel(reason="the server failed")

    async with trio.open_nursery() as nursery:
        server: Server | None = None
        with contextlib.suppress(RuntimeError):  # trio's word for "ended before it had started"; the cause is stored
            server = await nursery.start(run)
        if server is not None:
            try:
                yield server
            except (trio.Cancelled, GeneratorExit):
                raise
            except BaseException as exc:  # noqa: BLE001  # kept, to be raised outside the nursery
                block_failure = exc
                nursery.cancel_scope.cancel(reason="the block was left by an exception")
            else:
                await server.shutdown()
    if block_failure is not None:
        if server_failure is not None:
            server_log.error("the server failed too: %r", server_failure, exc_info=server_failure)
        raise block_failure
    if server_failure is not None:
        raise server_failure


def runs_as_main() -> bool:
    """Say whether ``serve`` itself is the main function of ``trio.run``, in the main thread."""
    task = trio.lowlevel.current_task()
    nursery = task.parent_nursery
    return (
        nursery is not None
        and nursery.parent_task is trio.lowlevel.current_root_task()
        and getattr(task.coro, "cr_code", None) is serve.__code__
        and threading.current_thread() is threading.main_thread()
    )


def check_bounds(name: str, given: B | None, kind: type[B]) -> B:
    """Return limits or timeouts, the defaults for None."""
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise TypeError(f"{name} must be of type {kind.__name__}, not {clip(given)}")
    return given


def check_tls(context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """Return a context made fit for serving: renegotiation off (RFC 8446 has none, TLS 1.2's is only ever abused)."""
    if context is not None:
        if not isinstance(context, ssl.SSLContext):
            raise TypeError(f"tls must be an ssl.SSLContext or None, not {context!r}")
        if context.protocol is ssl.PROTOCOL_TLS_CLIENT:  # every handshake would fail
            raise ValueError("tls is for clients; a server's is ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)")
        context.options |= ssl.OP_NO_RENEGOTIATION
    return context


class BareService:
    """A bare handler as a service."""

    def __init__(self, handler: Callable[[Exchange], Awaitable[None]]) -> None:
        self._handler = handler

    def lifespan(self, nursery: trio.Nursery) -> AbstractAsyncContextManager[None]:
        """Enclose the serving with nothing."""
        return no_lifespan(nursery)

    def __call__(self, exchange: Exchange) -> Awaitable[None]:
        """Answer one exchange."""
        return self._handler(exchange)


def service_of(app: object) -> Service:
    """Return what is served, or say what it should have been."""
    if callable(app) and hasattr(app, "lifespan") and not inspect.isclass(app):
        return app
    call = type(app).__call__ if callable(app) else None
    if inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(call):
        return BareService(app)  # type: ignore[arg-type]  # just seen to be an async callable
    raise TypeError(f"app must be an App, a Service or an async function of one exchange, not {app!r}")
