"""Instructions that the server process executes for a request, counted by valgrind: what a busy machine cannot disturb.

The count is of user space alone (no kernel, no caches, no waiting), so it is no measure of speed. It says which of two
servers in the same language does more work, and it says so to within a few per cent on any machine.

Rule 1: start-up is taken out by two runs of different length: the difference of the counts over that of the requests.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from .environment import BENCH
from .load import FIELDS, load
from .peers import OWN_SERVER, Peer
from .processes import free_port, running
from .report import Figure, Table, progress

__all__ = ["measure_instructions"]

_SHORT_SECONDS = 2
_COUNTED = re.compile(rb"I\s+refs:\s+([\d,]+)")


def measure_instructions(python: Path, peers: list[Peer], *, seconds: float, connections: int) -> Table:
    """Count for each server and each number of fields, and return the figures."""
    figures = {(peer, fields): Figure("thousands of instructions a request") for peer in peers for fields in FIELDS}
    for (peer, fields), figure in figures.items():
        few, start = _run(python, peer, fields, connections, _SHORT_SECONDS)
        many, whole = _run(python, peer, fields, connections, _SHORT_SECONDS + seconds)
        figure.readings.append((whole - start) / (many - few) / 1e3)
        progress(f"instructions: {peer.title}, {fields} fields: {figure} thousand, over {many - few} requests")
    table = Table(
        f"Thousands of user-space instructions of the server process a request; {connections} connections",
        ["server", *(f"{fields} fields" for fields in FIELDS), "triohttp ÷ it"],
    )
    for peer in peers:
        ratio = "–"
        if OWN_SERVER in peers:
            ratio = " / ".join(
                f"{figures[OWN_SERVER, fields].median / figures[peer, fields].median:.2f}" for fields in FIELDS
            )
        table.rows.append([peer.title, *(figures[peer, fields] for fields in FIELDS), ratio])
    return table


def _run(python: Path, peer: Peer, fields: int, connections: int, seconds: float) -> tuple[int, int]:
    """Return how many requests one process answered, and how many instructions it executed in all."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise SystemExit("bench: valgrind is needed to count instructions (apt-get install valgrind)")
    port = free_port()
    count = [valgrind, "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    server = [str(python), str(BENCH / "servers" / f"{peer.key}.py"), str(port)]
    with running([*count, *server], port, environment={"PYTHONHASHSEED": "0"}, slow=True) as program:
        requests = load(port, fields=fields, connections=connections, seconds=seconds)
    counted = _COUNTED.search(program.output)
    if counted is None:
        raise RuntimeError(f"valgrind counted nothing:\n{program.output.decode(errors='replace')[-4000:]}")
    return requests, int(counted[1].replace(b",", b""))
