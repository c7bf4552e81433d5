"""What a head of 64 KB of ``X:`` + spaces + NUL costs the server, and what it costs everybody else.

One innocent client asks on a kept-alive connection, again and again, through three phases: alone; beside newcomers that
send one plain request each; beside newcomers that send the hostile head. The middle phase tells the price of the head
from the price of a connection.

Rule 1: a newcomer's share of the server's CPU time is what the phase used, less what its innocent requests cost alone.
Rule 2: a phase ends after its seconds, but never in the middle of a newcomer: a head that costs 15 s is waited for.
"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from .load import TARGET
from .peers import Peer, serving
from .processes import LOAD_CORE, Program, pin_this_process
from .report import Figure, Table, progress

__all__ = ["measure_hostile_heads"]

_HOST = "Host: 127.0.0.1\r\n"
_INNOCENT = f"GET {TARGET} HTTP/1.1\r\n{_HOST}User-Agent: bench\r\n\r\n".encode()
_PLAIN = f"GET {TARGET} HTTP/1.1\r\n{_HOST}Connection: close\r\n\r\n".encode()
_START = f"GET {TARGET} HTTP/1.1\r\n{_HOST}X:".encode()
_END = b"\0\r\n\r\n"
HOSTILE = _START + b" " * (65_536 - len(_START) - len(_END)) + _END
"""A head of exactly 64 KiB that no server may accept, and that h11 by itself takes quadratic time to refuse."""

_PAUSE_SECONDS = 0.02
_GIVE_UP_SECONDS = 120.0


@dataclass
class _Phase:
    latencies: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    cpu_seconds: float = 0.0


def measure_hostile_heads(python: Path, peers: list[Peer], *, seconds: float) -> Table:
    """Run the three phases against each server and return the figures."""
    table = Table(
        "A head of 64 KiB of `X:` + spaces + NUL: latency of an innocent request, ms on the clock, "
        "median (least–greatest); CPU of the server for each newcomer, ms",
        [
            "server",
            "alone",
            "beside plain newcomers",
            "beside hostile heads",
            "CPU, plain",
            "CPU, hostile",
            "answered in, ms",
        ],
    )
    for peer in peers:
        with serving(python, peer) as program, pin_this_process(LOAD_CORE):
            _run(program, None, 0.5)
            alone, plain, hostile = (_run(program, head, seconds) for head in (None, _PLAIN, HOSTILE))
        innocent = alone.cpu_seconds / len(alone.latencies)
        costs = [
            Figure("ms", [(phase.cpu_seconds - innocent * len(phase.latencies)) / len(phase.answers) * 1e3])
            for phase in (plain, hostile)
        ]
        latencies = [Figure("ms", [value * 1e3 for value in phase.latencies]) for phase in (alone, plain, hostile)]
        progress(f"hostile head: {peer.title}: {len(hostile.answers)} heads, {costs[1]} ms each")
        table.rows.append([peer.title, *latencies, *costs, Figure("ms", [value * 1e3 for value in hostile.answers])])
    return table


def _run(program: Program, head: bytes | None, seconds: float) -> _Phase:
    """Run one phase: the innocent client here, the newcomers (if any) in a thread beside it."""
    phase = _Phase()
    over = threading.Event()
    newcomers = threading.Thread(target=_newcomers, args=(program.port, head, seconds, phase, over))
    before = program.cpu_seconds()
    with socket.create_connection(("127.0.0.1", program.port), timeout=_GIVE_UP_SECONDS) as innocent:
        innocent.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        newcomers.start()
        while not over.is_set():
            started = time.perf_counter()
            innocent.sendall(_INNOCENT)
            answer = innocent.recv(65536)
            while not answer.endswith(b"Hello, world!"):  # some servers send head and content apart
                data = innocent.recv(65536)
                if not data:
                    raise RuntimeError(f"an innocent request was answered with {answer!r}")
                answer += data
            phase.latencies.append(time.perf_counter() - started)
            time.sleep(0.001)
        newcomers.join()
    phase.cpu_seconds = program.cpu_seconds() - before
    return phase


def _newcomers(port: int, head: bytes | None, seconds: float, phase: _Phase, over: threading.Event) -> None:
    end = time.perf_counter() + seconds
    try:
        while time.perf_counter() < end:
            time.sleep(_PAUSE_SECONDS)
            if head is not None:
                started = time.perf_counter()
                _talk(port, head)
                phase.answers.append(time.perf_counter() - started)
    finally:
        over.set()


def _talk(port: int, head: bytes) -> None:
    """Send the head on a connection of its own and read until the server closes, politely or not."""
    with socket.create_connection(("127.0.0.1", port), timeout=_GIVE_UP_SECONDS) as newcomer:
        try:
            newcomer.sendall(head)
            while newcomer.recv(65536):
                pass
        except ConnectionError:
            pass  # a reset is a refusal too
