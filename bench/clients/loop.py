"""What every client program shares: a warm-up, a timed run of some workers, the CPU time of this process a request.

Rule 1: the figure is the processor time of this process alone, between two readings taken inside it: imports, set-up
and the opening of the connections come before the first reading.
Rule 2: nothing here knows a client library; a client gives one coroutine function that fetches the URL once.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

CONTENT = b"Hello, world!"
WARM_UP_SECONDS = 0.5

Fetch = Callable[[], Awaitable[bytes]]


@dataclass
class Run:
    """One run: where to, how many workers at once, how long, and what was counted."""

    url: str
    connections: int
    seconds: float
    requests: int = 0
    _deadline: float = field(default=0.0, repr=False)

    @classmethod
    def from_arguments(cls) -> Run:
        """Read ``URL CONNECTIONS SECONDS`` from the command line."""
        url, connections, seconds = sys.argv[1:]
        return cls(url, int(connections), float(seconds))

    async def worker(self, fetch: Fetch) -> None:
        """Fetch, one after the other, until the time is over."""
        while time.perf_counter() < self._deadline:
            if await fetch() != CONTENT:
                raise RuntimeError("the answer is not the one that nginx was told to give")
            self.requests += 1

    async def measure(self, run_workers: Callable[[], Awaitable[None]]) -> None:
        """Warm up, run, and print the result as one line of JSON on standard output."""
        self._deadline = time.perf_counter() + WARM_UP_SECONDS
        await run_workers()
        self.requests = 0
        self._deadline = time.perf_counter() + self.seconds
        cpu, wall = time.process_time(), time.perf_counter()
        await run_workers()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        print(json.dumps({"requests": self.requests, "cpu_seconds": cpu, "wall_seconds": wall}))

    async def measure_on_trio(self, fetch: Fetch) -> None:
        """``measure`` with the workers as trio tasks."""
        import trio

        async def run_workers() -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(self.connections):
                    nursery.start_soon(self.worker, fetch)

        await self.measure(run_workers)

    async def measure_on_asyncio(self, fetch: Fetch) -> None:
        """``measure`` with the workers as asyncio tasks."""
        import asyncio

        async def run_workers() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.connections):
                    group.create_task(self.worker(fetch))

        await self.measure(run_workers)
