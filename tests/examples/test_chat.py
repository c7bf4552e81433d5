"""The chat of the examples: everybody hears everybody, and nobody waits for a client that does not read."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio

from triohttp import Client, WebSocket
from triohttp.errors import HandshakeError
from triohttp.testing import open_in_process

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat.py"
URL = "http://chat.test"


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples_chat", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def open_client(module: ModuleType) -> AsyncIterator[Client]:
    async with open_in_process(module.app) as origin, Client(mounts={URL: origin}) as client:
        yield client


async def hear(ws: WebSocket) -> dict[str, Any]:
    heard = json.loads(await ws.receive())
    assert isinstance(heard, dict)
    return heard


def said(name: str, what: str, text: str = "") -> dict[str, str]:
    return {"name": name, "what": what, "text": text}


async def test_everybody_hears_who_comes_speaks_and_leaves(autojump_clock: trio.abc.Clock) -> None:
    """Messages reach everybody, who said them as well; so do the news of who came and who left."""
    async with open_client(load_example()) as client, client.websocket(f"{URL}/chat?name=Ada") as ada:
        assert await hear(ada) == said("Ada", "joined")
        async with client.websocket(f"{URL}/chat?name=Grace") as grace:
            assert await hear(ada) == await hear(grace) == said("Grace", "joined")
            await grace.send("hello 🐫")
            assert await hear(ada) == await hear(grace) == said("Grace", "says", "hello 🐫")
            await ada.send(b"binary messages say nothing here")
            await ada.send("welcome")
            assert await hear(ada) == await hear(grace) == said("Ada", "says", "welcome")
        assert await hear(ada) == said("Grace", "left")


async def test_a_client_that_does_not_read_holds_nobody_up(autojump_clock: trio.abc.Clock) -> None:
    """Two clients exchange a thousand messages beside one that never reads; it is dropped in the end, and they hear."""
    module = load_example()
    async with open_client(module) as client, AsyncExitStack() as stack:
        ada = await stack.enter_async_context(client.websocket(f"{URL}/chat?name=Ada"))
        grace = await stack.enter_async_context(client.websocket(f"{URL}/chat?name=Grace"))
        await stack.enter_async_context(client.websocket(f"{URL}/chat?name=Stone", compression=None))
        while await hear(ada) != said("Stone", "joined"):
            pass
        while await hear(grace) != said("Stone", "joined"):
            pass

        text = "x" * 1000
        began = trio.current_time()
        for number in range(500):
            await ada.send(f"{number} {text}")
            assert await hear(ada) == await hear(grace) == said("Ada", "says", f"{number} {text}")
            await grace.send(f"{number} {text}")
            assert await hear(ada) == await hear(grace) == said("Grace", "says", f"{number} {text}")
        assert trio.current_time() - began < 1
        assert module.hub.statistics().dropped > 0
        assert module.hub.statistics().pending <= 65

        assert await hear(ada) == await hear(grace) == said("Stone", "left")
        assert trio.current_time() - began > 20


async def test_a_client_that_missed_messages_is_told(autojump_clock: trio.abc.Clock) -> None:
    """Whoever reads again after having been too slow hears that something is missing, and then the newest."""
    async with open_client(load_example()) as client, AsyncExitStack() as stack:
        ada = await stack.enter_async_context(client.websocket(f"{URL}/chat?name=Ada"))
        slow = await stack.enter_async_context(client.websocket(f"{URL}/chat?name=Slow", compression=None))
        while await hear(ada) != said("Slow", "joined"):
            pass
        for number in range(1000):
            await ada.send(f"{number} " + "x" * 1000)
            await hear(ada)
        await ada.send("the last")
        heard = [await hear(slow)]
        while heard[-1] != said("Ada", "says", "the last"):
            heard.append(await hear(slow))
        assert len(heard) < 1000
        assert heard.count({"what": "missed"}) >= 1


async def test_a_lost_client_is_heard_of(autojump_clock: trio.abc.Clock) -> None:
    """A client whose connection ends without a word has left all the same."""
    async with open_client(load_example()) as client, client.websocket(f"{URL}/chat?name=Ada") as ada:
        assert await hear(ada) == said("Ada", "joined")
        with trio.CancelScope() as scope:
            async with client.websocket(f"{URL}/chat") as other:
                assert await hear(ada) == await hear(other) == said("somebody", "joined")
                scope.cancel()
        assert await hear(ada) == said("somebody", "left")


async def test_pages_of_others_do_not_chat() -> None:
    """The page is there, and pages of other hosts cannot speak in their visitors' names."""
    async with open_client(load_example()) as client:
        assert "<title>Chat</title>" in (await client.get(URL)).text
        with pytest.raises(HandshakeError) as caught:
            async with client.websocket(f"{URL}/chat", headers={"Origin": "https://evil.test"}):
                pass
        assert caught.value.code == 403
