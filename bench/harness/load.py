"""wrk, the load from outside, and the two request heads that it sends.

Rule 1: one answer that is not a 200, or one failed connection, ends the bench: a server that refuses is fast.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from .processes import LOAD_CORE, pinned

__all__ = ["FIELDS", "TARGET", "load", "standing_load"]

TARGET = "/hello/world"

_THREE = ["User-Agent: bench", "Accept: */*"]  # and Host, which wrk writes itself
_ELEVEN = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.7,de;q=0.3",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: http://127.0.0.1/hello/somebody",
    "Cookie: session=2f9ca1de0b7e4d3a8c61; theme=dark",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Upgrade-Insecure-Requests: 1",
]
FIELDS = {3: _THREE, 11: _ELEVEN}
"""Header fields of a request beside Host, by how many there are with it."""


def _command(port: int, fields: int, connections: int, seconds: float) -> list[str]:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("bench: wrk is needed for the load (apt-get install wrk)")
    command = [wrk, "--threads", "1", "--connections", str(connections), "--duration", f"{max(1, round(seconds))}s"]
    command += ["--timeout", "60s"]  # a slow answer is an answer
    for field in FIELDS[fields]:
        command += ["--header", field]
    return pinned(LOAD_CORE, [*command, f"http://127.0.0.1:{port}{TARGET}"])


def load(port: int, *, fields: int, connections: int, seconds: float) -> int:
    """Load the server for some whole seconds and return how many requests it answered.

    Raises:
        RuntimeError: an answer was not a 200, or a connection failed.
    """
    summary = subprocess.run(
        _command(port, fields, connections, seconds), check=True, capture_output=True, text=True
    ).stdout
    if "Socket errors" in summary or "Non-2xx" in summary:
        raise RuntimeError(f"not every request was answered with 200:\n{summary}")
    counted = re.search(r"(\d+) requests in", summary)
    if counted is None or int(counted[1]) == 0:
        raise RuntimeError(f"wrk counted no request:\n{summary}")
    return int(counted[1])


@contextmanager
def standing_load(port: int, *, fields: int, connections: int) -> Iterator[None]:
    """Keep the server loaded for the length of the block; nothing is counted."""
    process = subprocess.Popen(
        _command(port, fields, connections, 600), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError("wrk ended before the block did")
    finally:
        process.terminate()
        process.wait()
