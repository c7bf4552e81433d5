"""CPU time of a WebSocket echo server a message, short and long, and its memory an idle connection.

Rule 1: as in ``server.py``: in a round all servers run side by side and take short turns; a ratio is taken within one.
Rule 2: messages are not compressed, and no connection lives long enough to be pinged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .echoes import Echoes
from .peers import OWN_WEBSOCKET, Peer, serving, turned, turns
from .processes import LOAD_CORE, allow_descriptors, pin_this_process
from .report import Figure, Table, progress, ratio

__all__ = ["measure_idle_websockets", "measure_websockets"]

_SIZES = {64: "64 B", 16_384: "16 KiB"}
_TURNS_A_ROUND = 3
_WARM_UP_SECONDS = 0.5
_SETTLE_SECONDS = 0.5


def measure_websockets(
    python: Path, peers: Sequence[Peer], *, rounds: int, seconds: float, connections: int
) -> Table:
    """Load the echo servers in turn and return the figures, beside ours where that is among the peers."""
    figures = {(peer, size): Figure("µs CPU a message") for peer in peers for size in _SIZES}
    rates = {peer: Figure("messages a second") for peer in peers}
    for number in range(rounds):
        with ExitStack() as stack:
            programs = {peer: stack.enter_context(serving(python, peer)) for peer in peers}
            stack.enter_context(pin_this_process(LOAD_CORE))
            for program in programs.values():
                with Echoes(program.port, connections=connections, size=64) as echoes:
                    echoes.run(_WARM_UP_SECONDS)
            for turn in range(_TURNS_A_ROUND):
                for size in _SIZES:
                    for peer in turned(peers, number + turn):
                        program = programs[peer]
                        with Echoes(program.port, connections=connections, size=size) as echoes:
                            before, started = program.cpu_seconds(), time.perf_counter()
                            messages = echoes.run(seconds)
                            used, took = program.cpu_seconds() - before, time.perf_counter() - started
                        figures[peer, size].readings.append(used / messages * 1e6)
                        if size == 64:
                            rates[peer].readings.append(messages / took)
                last = ", ".join(
                    f"{peer.key} " + "/".join(f"{figures[peer, size].readings[-1]:.0f}" for size in _SIZES)
                    for peer in peers
                )
                progress(f"websocket round {number + 1}/{rounds}, turn {turn + 1}/{_TURNS_A_ROUND}: {last}")
    table = Table(
        f"CPU of a WebSocket echo server, µs a binary message; {connections} connections, a message in flight on each; "
        f"median (least–greatest) of {rounds * _TURNS_A_ROUND} turns in {rounds} rounds",
        ["server", *_SIZES.values(), "triohttp ÷ it", "messages/s, 64 B"],
    )
    for peer in peers:
        shown = "–"
        if OWN_WEBSOCKET in peers:
            shown = " / ".join(ratio(figures[OWN_WEBSOCKET, size], figures[peer, size]) for size in _SIZES)
        table.rows.append([peer.title, *(figures[peer, size] for size in _SIZES), shown, rates[peer]])
    return table


def measure_idle_websockets(python: Path, peers: Sequence[Peer], *, rounds: int, connections: int) -> Table:
    """Open many connections to each server, a fresh process a round, and return what each of them keeps resident.

    Each connection has echoed one short message, so what a first message needs is there.
    """
    allow_descriptors(connections + 100)
    figures = {peer: Figure("KiB a connection") for peer in peers}
    for number, peer in turns(peers, rounds):
        with serving(python, peer) as program, pin_this_process(LOAD_CORE):
            with Echoes(program.port, connections=20, size=64) as echoes:
                echoes.run(_WARM_UP_SECONDS)
            time.sleep(_SETTLE_SECONDS)
            before = program.resident_bytes()
            with Echoes(program.port, connections=connections, size=64):
                time.sleep(_SETTLE_SECONDS)
                figures[peer].readings.append((program.resident_bytes() - before) / connections / 1024)
        progress(f"idle round {number + 1}/{rounds}: {peer.title}: {figures[peer].readings[-1]:.1f} KiB")
    table = Table(
        f"Resident memory of a WebSocket server, KiB an idle connection, at {connections} of them; "
        f"median (least–greatest) of {rounds} rounds",
        ["server", "KiB a connection", "triohttp ÷ it"],
    )
    for peer in peers:
        shown = ratio(figures[OWN_WEBSOCKET], figures[peer]) if OWN_WEBSOCKET in peers else "–"
        table.rows.append([peer.title, figures[peer], shown])
    return table
