"""The life of an app: lifespan, services, the nursery, and mounts of all that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TypeAlias

import pytest
import trio

from triohttp import App, Request, Response, Router
from triohttp.errors import RoutingError
from triohttp.testing import RawResponse, open_in_process

Ask: TypeAlias = Callable[..., Awaitable[RawResponse]]

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


def recording(name: str, events: list[str]) -> Callable[[App], object]:
    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        events.append(f"enter {name}")
        await trio.lowlevel.checkpoint()
        try:
            yield
        finally:
            await trio.lowlevel.checkpoint()
            events.append(f"leave {name}")

    return lifespan


async def test_the_lifespan_encloses_everything() -> None:
    """It is entered before services start and left after the last answer; its context variables reach handlers."""
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        events.append("enter")
        tenant.set("acme")
        assert isinstance(app.nursery, trio.Nursery)
        yield
        events.append("leave")

    app = App(lifespan=lifespan)

    @app.service
    async def service(task_status: trio.TaskStatus[None]) -> None:
        events.append("service")
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            events.append("service ends")

    @app.get("/")
    async def handler(request: Request) -> Response:
        events.append("answer")
        return Response.text(tenant.get())

    async with open_in_process(app) as server, await server.open_raw() as raw:
        assert events == ["enter", "service"]
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await raw.read_response()).content == b"acme"
    assert events == ["enter", "service", "answer", "service ends", "leave"]
    with pytest.raises(RuntimeError, match="while the app is served"):
        app.nursery  # noqa: B018


async def test_services_are_waited_for_before_the_server_listens() -> None:
    """One that takes ``task_status`` says when it is ready; one that does not just runs."""
    order: list[str] = []
    app = App()

    @app.service
    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        order.append("ready")
        task_status.started()
        await trio.sleep_forever()

    @app.service
    async def simple() -> None:
        await trio.lowlevel.checkpoint()
        order.append("ran")

    async with open_in_process(app):
        order.append("listening")
        await trio.testing.wait_all_tasks_blocked()
    assert order.index("ready") < order.index("listening")
    assert "ran" in order


async def test_a_lifespan_that_fails_fails_the_server() -> None:
    """The error itself, and nothing was ever served; so does a service that fails before it is ready."""

    @asynccontextmanager
    async def lifespan(app: App) -> AsyncIterator[None]:
        raise ValueError("no database")
        yield

    with pytest.raises(ValueError, match="no database"):
        async with open_in_process(App(lifespan=lifespan)):
            pytest.fail("it was served")
    app = App()

    @app.service
    async def service(task_status: trio.TaskStatus[None]) -> None:
        raise ValueError("no port")

    with pytest.raises(ValueError, match="no port"):
        async with open_in_process(app):
            pytest.fail("it was served")
    with pytest.raises(RuntimeError):
        app.nursery  # noqa: B018


async def test_a_service_that_crashes_drains_the_server(autojump_clock: trio.abc.Clock) -> None:
    """The answer that is under way is finished, and then the error is raised."""
    app = App()
    crash, answered = trio.Event(), []

    @app.service
    async def service() -> None:
        await crash.wait()
        raise ValueError("crashed")

    @app.get("/")
    async def handler(request: Request) -> Response:
        crash.set()
        await request.wait_draining()
        return Response.text("finished")

    with pytest.raises(ValueError, match="crashed"):
        async with open_in_process(app, raise_handler_errors=False) as server, await server.open_raw() as raw:
            await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            answered.append((await raw.read_response()).content)
            await trio.sleep_forever()
    assert answered == [b"finished"]


async def test_work_in_the_nursery_outlives_its_answer() -> None:
    """It ends after the connections."""
    app = App()
    done: list[str] = []

    async def later(go_on: trio.Event) -> None:
        await go_on.wait()
        done.append("later")

    go_on = trio.Event()

    @app.get("/")
    async def handler(request: Request) -> Response:
        request.app.nursery.start_soon(later, go_on)
        return Response.text("accepted", status=202)

    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await raw.read_response()).status == 202
        assert done == []
        go_on.set()
        await trio.testing.wait_all_tasks_blocked()
        assert done == ["later"]


async def test_lifespans_of_mounted_apps_compose() -> None:
    """Outer before inner, each once however often it is mounted, left in the opposite order."""
    events: list[str] = []
    app = App(lifespan=recording("outer", events))  # type: ignore[arg-type]
    inner = App(lifespan=recording("inner", events))  # type: ignore[arg-type]
    deepest = App(lifespan=recording("deepest", events))  # type: ignore[arg-type]
    router = Router()

    @inner.service
    async def service() -> None:
        events.append("service")

    @deepest.get("/")
    async def handler(request: Request) -> Response:
        assert request.app is deepest
        assert deepest.nursery is app.nursery
        return Response.text("deep")

    router.mount("/deep", deepest)
    app.mount("/a", inner)
    app.mount("/b", inner)
    inner.mount("/r", router)
    async with open_in_process(app) as server, await server.open_raw() as raw:
        await raw.send_all(b"GET /b/r/deep/ HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await raw.read_response()).content == b"deep"
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(RoutingError, match="served"):
            router.mount("/late", App())
        router.mount("/late", Router())
    assert events == [
        "enter outer", "enter inner", "enter deepest", "service", "leave deepest", "leave inner", "leave outer",
    ]  # fmt: skip


async def test_an_app_runs_once_at_a_time() -> None:
    """A second server is refused while the first runs, also for an app that is mounted in it; afterwards it is fine."""
    app, inner = App(), App()
    app.mount("/i", inner)
    async with open_in_process(app):
        for busy in (app, inner):
            with pytest.raises(RuntimeError, match="once at a time"):
                async with open_in_process(busy):
                    pytest.fail("it was served twice")
        assert inner.nursery is app.nursery
    async with open_in_process(inner):
        pass


def test_a_service_is_an_async_function() -> None:
    """One that would block, or be done at once, is refused."""
    with pytest.raises(TypeError, match="async"):
        App().service(lambda: None)  # type: ignore[type-var]


async def test_a_service_cannot_join_an_app_that_is_served() -> None:
    """Nobody would start it; the error says where to go."""
    app = App()

    async def late() -> None:
        raise AssertionError

    async with open_in_process(app):
        with pytest.raises(RuntimeError, match=r"app\.nursery"):
            app.service(late)
