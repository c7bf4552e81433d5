"""Hundreds of requests with random deadlines over four slots: none is lost, and no answer reaches the wrong request."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
import trio

from triohttp import App, Client, ClientLimits, ClientTimeouts, Limits, Request, Response, Timeouts

if TYPE_CHECKING:
    from conftest import Network

SLOTS = 4
TASKS = 40
CALLS = 12
SLOW_SECONDS = 0.02


def make_app(rng: random.Random) -> App:
    app = App()

    def repeated(request: Request) -> bytes:
        return request.query["id"].encode() * int(request.query["times"])

    async def dawdle() -> None:
        if rng.random() < 0.5:
            await trio.sleep(rng.random() * SLOW_SECONDS)

    @app.get("/whole")
    async def whole(request: Request) -> Response:
        await dawdle()
        return Response(repeated(request))

    @app.get("/pieces")
    async def pieces(request: Request) -> None:
        content = repeated(request)
        async with request.respond(200) as body:
            for start in range(0, len(content), 1000):
                await dawdle()
                await body.send_all(content[start : start + 1000])

    @app.get("/lead")
    async def lead(request: Request) -> Response:
        await dawdle()
        fields = [("Location", f"/{request.query['to']}?{request.url.query}")]
        return Response(b"this is " + repeated(request), status=302, headers=fields)

    async def echo(request: Request) -> Response:
        content = await request.read()
        await dawdle()
        return Response(content)

    app.add_route("/echo", echo, methods=["POST"])
    return app


class Soak:
    """Tasks that make calls, and what became of them."""

    def __init__(self, client: Client, rng: random.Random) -> None:
        self._client = client
        self._rng = rng
        self.outcomes: Counter[str] = Counter()

    async def run(self, task: int) -> None:
        """Make calls one after the other; some are cancelled on the way."""
        for call in range(CALLS):
            name = f"<{task}.{call}>"
            kind = self._rng.choice(["whole", "pieces", "stream", "leave", "lead", "lead-stream", "echo"])
            times = self._rng.choice([1, 10, 400, 3000])
            limit = self._rng.choice([0.0, 0.001, SLOW_SECONDS, SLOW_SECONDS * 4, 60.0, 60.0, 60.0])
            received: bytes | None = None
            with trio.move_on_after(self._rng.random() * limit if limit < 1 else limit) as scope:
                received = await self._call(kind, name, times)
            if received is None:
                assert scope.cancelled_caught
                self.outcomes["cancelled"] += 1
                continue
            self.outcomes[kind] += 1
            expected = name.encode() * times
            assert received == (expected[: len(received)] if kind == "leave" else expected)

    async def _call(self, kind: str, name: str, times: int) -> bytes:
        client = self._client
        params = {"id": name, "times": str(times), "to": self._rng.choice(["whole", "pieces"])}
        if kind in ("whole", "pieces", "lead"):
            return (await client.get(f"/{kind}", params=params)).content
        if kind == "echo":
            return (await client.post("/echo", content=name.encode() * times)).content
        async with client.stream("GET", "/lead" if kind == "lead-stream" else "/pieces", params=params) as response:
            if kind == "leave":
                return await response.body.receive_some(50)
            return await response.read()


@pytest.mark.parametrize("network", ["memory", "tls-memory"], indirect=True)
@pytest.mark.parametrize("seed", [1, 2])
async def test_four_slots_serve_everybody(network: Network, seed: int, autojump_clock: trio.abc.Clock) -> None:
    """Whatever is cancelled when: at the end all slots are free, and who was not cancelled got an answer of its own."""
    rng = random.Random(seed)
    # A handler whose client has left ends when it next looks.
    await network.serve(make_app(rng), limits=Limits(max_body_bytes=None), timeouts=Timeouts())
    client = await network.client(
        limits=ClientLimits(connections=SLOTS, connections_per_origin=SLOTS), timeouts=ClientTimeouts(pool_seconds=300)
    )
    soak = Soak(client, rng)
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            statistics = client.pool.statistics()
            most = max(most, statistics.connections)
            assert statistics.in_use <= SLOTS
            await trio.sleep(SLOW_SECONDS / 10)

    async with trio.open_nursery() as watching:
        watching.start_soon(watch)
        async with trio.open_nursery() as nursery:
            for task in range(TASKS):
                nursery.start_soon(soak.run, task)
        watching.cancel_scope.cancel()
    statistics = client.pool.statistics()
    assert (statistics.in_use, statistics.connecting, statistics.waiting) == (0, 0, 0), statistics
    assert most == SLOTS
    assert sum(soak.outcomes.values()) == TASKS * CALLS
    assert len(soak.outcomes) == 8, soak.outcomes
    assert soak.outcomes["cancelled"] >= 50, soak.outcomes
    for slot in range(SLOTS + 1):
        assert (await client.get("/whole", params={"id": str(slot), "times": "1"})).text == str(slot)
