"""What every downloading program shares: one download to warm up, then some that are measured.

Rule 1: nothing here knows a client library; a client gives one coroutine function that downloads the URL once, piece by
piece, and returns how many bytes came.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Download = Callable[[], Awaitable[int]]


@dataclass
class Transfer:
    """What to download, and how often."""

    url: str
    expected_bytes: int
    downloads: int

    @classmethod
    def from_arguments(cls) -> Transfer:
        """Read ``URL BYTES DOWNLOADS`` from the command line."""
        url, expected_bytes, downloads = sys.argv[1:]
        return cls(url, int(expected_bytes), int(downloads))

    async def measure(self, download: Download) -> None:
        """Warm up, run, and print the result as one line of JSON on standard output."""
        before = _peak_kib()
        await self._checked(download)
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(self.downloads):
            await self._checked(download)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        result = {"cpu_seconds": cpu, "wall_seconds": wall, "kib_before": before, "peak_kib": _peak_kib()}
        print(json.dumps(result))

    async def _checked(self, download: Download) -> None:
        received = await download()
        if received != self.expected_bytes:
            raise RuntimeError(f"{received} bytes came, and not {self.expected_bytes}")


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
