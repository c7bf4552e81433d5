"""The examples of event streams run, and do what their docstrings say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import trio

from triohttp import Client
from triohttp.errors import StatusError
from triohttp.testing import open_in_process

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"event_examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_clock_ticks(autojump_clock: trio.abc.Clock) -> None:
    """Once a second, for whoever listens; the page asks for that stream."""
    async with open_in_process(load("event_clock").app) as origin, Client(mounts={"http://a.test": origin}) as client:
        page = await client.get("http://a.test/")
        assert 'new EventSource("/ticks")' in page.text
        async with client.events("http://a.test/ticks") as events:
            for _ in range(3):
                event = await events.receive()
                assert event.type == "tick"
                assert len(event.data) == len("12:34:56")
            assert 0 < trio.current_time() <= 3


async def test_the_clock_goes_on_after_a_restart(autojump_clock: trio.abc.Clock) -> None:
    """A page that was connected is connected again when the program is, without anybody's doing."""
    first, second = load("event_clock").app, load("event_clock").app
    origins = []

    class Either:
        async def connect(self) -> trio.abc.Stream:
            return await origins[-1].connect()

    async with open_in_process(first) as before, Client(mounts={"http://a.test": Either()}) as client:
        origins.append(before)
        async with client.events("http://a.test/ticks") as events:
            await events.receive()
            await before.server.shutdown()
            async with open_in_process(second) as after:
                origins.append(after)
                while events.reconnects == 0:
                    await events.receive()


async def test_a_job_tells_how_far_it_is(autojump_clock: trio.abc.Clock) -> None:
    """From start to end, to a page that comes late and to one that comes afterwards; then there is nothing more."""
    module = load("progress")
    async with (
        open_in_process(module.app) as origin,
        Client("http://a.test", mounts={"http://a.test": origin}) as client,
    ):
        assert "Start a job" in (await client.get("/")).text
        reply = await client.post("/jobs", redirects=False)
        assert (reply.status, reply.headers["location"]) == (303, "/jobs/1")
        assert "EventSource" in (await client.get("/jobs/1")).text
        await trio.sleep(2)
        async with client.events("/jobs/1/progress") as events:
            seen = [(event.type, event.data) async for event in events]
        assert seen[0][0] == "message"
        assert 35 <= int(seen[0][1]) <= 40
        assert seen[-1] == ("done", "done")
        numbers = [int(data) for kind, data in seen if kind == "message"]
        assert numbers == sorted(set(numbers))
        async with client.events("/jobs/1/progress") as events:
            assert [event.data async for event in events] == ["done"]
        with pytest.raises(StatusError):
            async with client.events("/jobs/2/progress"):
                raise AssertionError
