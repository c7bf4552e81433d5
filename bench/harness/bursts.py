"""How long the last of 64 newcomers waits: bursts of connections opened at once, on a server already under full load.

The time is from a connection's own ``connect`` to the first bytes of its answer. It is time on the clock, which a busy
machine makes worse; so the CPU time that the server used up to the slowest of them stands beside it.
"""

from __future__ import annotations

import selectors
import socket
import time
from pathlib import Path

from .load import FIELDS, TARGET, load, standing_load
from .peers import Peer, serving, turns
from .processes import LOAD_CORE, Program, pin_this_process
from .report import Figure, Table, progress

__all__ = ["measure_bursts"]

_NEWCOMERS = 64
_BURSTS_A_ROUND = 5
_PAUSE_SECONDS = 0.2
_GIVE_UP_SECONDS = 10.0


def measure_bursts(python: Path, peers: list[Peer], *, bursts: int, connections: int) -> Table:
    """Open the bursts on each server in turn, five a turn, and return the figures."""
    slowest = {peer: Figure("ms") for peer in peers}
    used = {peer: Figure("ms") for peer in peers}
    rounds = -(-bursts // _BURSTS_A_ROUND)
    for number, peer in turns(peers, rounds):
        with serving(python, peer) as program, pin_this_process(LOAD_CORE):
            load(program.port, fields=3, connections=connections, seconds=1)
            with standing_load(program.port, fields=3, connections=connections):
                for _ in range(min(_BURSTS_A_ROUND, bursts - number * _BURSTS_A_ROUND)):
                    time.sleep(_PAUSE_SECONDS)
                    wait, cpu = _burst(program)
                    slowest[peer].readings.append(wait * 1e3)
                    used[peer].readings.append(cpu * 1e3)
        last = slowest[peer].readings[number * _BURSTS_A_ROUND :]
        progress(f"bursts round {number + 1}/{rounds}: {peer.title}: slowest {max(last):.0f} ms")
    table = Table(
        f"First answers of {_NEWCOMERS} connections opened at once beside {connections} busy ones, ms on the clock; "
        f"median (least–greatest) of {bursts} bursts",
        ["server", "slowest of a burst", "CPU of the server until then, ms"],
    )
    for peer in peers:
        table.rows.append([peer.title, slowest[peer], used[peer]])
    return table


def _burst(program: Program) -> tuple[float, float]:
    """Open the connections at once, send one request on each, and return how long the slowest first answer took.

    With it comes the CPU time that the server used from the first connect to that answer.
    """
    port = program.port
    head = "\r\n".join([f"GET {TARGET} HTTP/1.1", f"Host: 127.0.0.1:{port}", *FIELDS[3], "", ""]).encode()
    waits: list[float] = []
    newcomers: list[socket.socket] = []
    with selectors.DefaultSelector() as selector:
        try:
            before = program.cpu_seconds()
            for _ in range(_NEWCOMERS):
                started = time.perf_counter()
                newcomer = socket.create_connection(("127.0.0.1", port), timeout=_GIVE_UP_SECONDS)
                newcomers.append(newcomer)
                newcomer.sendall(head)
                selector.register(newcomer, selectors.EVENT_READ, (newcomer, started))
            while len(waits) < _NEWCOMERS:
                ready = selector.select(_GIVE_UP_SECONDS)
                if not ready:
                    raise RuntimeError(f"{_NEWCOMERS - len(waits)} newcomers were not answered")
                for key, _ in ready:
                    newcomer, started = key.data
                    waits.append(time.perf_counter() - started)
                    selector.unregister(newcomer)
                    if not newcomer.recv(65536).startswith(b"HTTP/1.1 200"):
                        raise RuntimeError("a newcomer was not answered with 200")
            return max(waits), program.cpu_seconds() - before
        finally:
            for newcomer in newcomers:
                newcomer.close()
