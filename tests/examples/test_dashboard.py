"""The dashboard of the examples: every page gets every sample, whenever it comes and however often it is cut off."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import trio

from triohttp import Client, Event, EventReceiver
from triohttp.testing import open_in_process

EXAMPLE = Path(__file__).parents[2] / "examples" / "dashboard.py"
URL = "http://dashboard.test"


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples_dashboard", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def open_client(module: ModuleType) -> AsyncIterator[Client]:
    async with open_in_process(module.app) as origin, Client(mounts={URL: origin}) as client:
        yield client


async def next_sample(events: EventReceiver) -> dict[str, Any]:
    """The next sample; the mark of missing ones may come before it."""
    event = await events.receive()
    if event.type == "gap":
        event = await events.receive()
    sample = json.loads(event.data)
    assert isinstance(sample, dict)
    return sample


async def test_a_sample_a_second(autojump_clock: trio.abc.Clock) -> None:
    """What is measured is there once a second: requests are counted, and so are the pages that are open."""
    async with open_client(load_example()) as client:
        assert "<title>Dashboard</title>" in (await client.get(URL)).text
        async with client.events(f"{URL}/samples") as events:
            assert await events.receive() == Event("epoch", type="gap")
            began = trio.current_time()
            first = await next_sample(events)
            assert (first["requests"], first["pages"]) == (2, 1)
            assert {"cpu", "load", "lag"} < set(first)
            for _ in range(9):
                assert (await next_sample(events))["requests"] == 0
            assert 9 <= trio.current_time() - began <= 10


async def test_a_new_page_begins_with_the_last_minute(autojump_clock: trio.abc.Clock) -> None:
    """A page that comes late gets what is retained at once, and then what is new."""
    module = load_example()
    async with open_client(module) as client:
        await trio.sleep(500.5)
        async with client.events(f"{URL}/samples") as events:
            for _ in range(module.SECONDS):
                await next_sample(events)
            assert trio.current_time() < 501
            await next_sample(events)
            assert trio.current_time() >= 501


async def test_a_page_that_was_cut_off_misses_nothing(autojump_clock: trio.abc.Clock) -> None:
    """With the id of the last sample a page goes on right behind it."""
    async with open_client(load_example()) as client:
        async with client.events(f"{URL}/samples") as events:
            await next_sample(events)
            last = events.last_event_id
        await trio.sleep(10)
        began = trio.current_time()
        async with client.events(f"{URL}/samples", last_event_id=last) as events:
            pages = [(await next_sample(events))["pages"] for _ in range(10)]
            assert trio.current_time() - began < 1
            assert pages == [0] * 10
