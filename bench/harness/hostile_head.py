"""What a head of 64 KiB of ``X:`` + spaces + NUL costs the server, and what it costs everybody else.

First what a newcomer costs that sends one plain request, or the hostile head, and goes. Then one innocent client asks
on a kept-alive connection, again and again: alone, beside plain newcomers, beside hostile ones. The plain newcomers
tell the price of the head from the price of a connection.

Rule 1: a phase ends after its seconds, but never in the middle of a newcomer: a head that costs 15 s is waited for.
"""

from __future__ import annotations

import socket
import threading
import time
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


def measure_hostile_heads(python: Path, peers: list[Peer], *, seconds: float) -> Table:
    """Run the phases against each server and return the figures."""
    table = Table(
        "A head of 64 KiB of `X:` + spaces + NUL: CPU of the server for a newcomer, ms; "
        "latency of an innocent request, ms on the clock; median (least–greatest)",
        [
            "server",
            "CPU, plain newcomer",
            "CPU, hostile head",
            "latency alone",
            "beside plain newcomers",
            "beside hostile heads",
        ],
    )
    for peer in peers:
        with serving(python, peer) as program, pin_this_process(LOAD_CORE):
            _innocent(program.port, None, 0.5)
            costs = [_newcomers_alone(program, head, seconds) for head in (_PLAIN, HOSTILE)]
            latencies = [_innocent(program.port, head, seconds) for head in (None, _PLAIN, HOSTILE)]
        progress(f"hostile head: {peer.title}: {costs[1]} ms CPU each")
        table.rows.append([peer.title, *costs, *latencies])
    return table


def _newcomers_alone(program: Program, head: bytes, seconds: float) -> Figure:
    """Return the server's CPU time for each newcomer while nobody else is there."""
    figure = Figure("ms")
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        before = program.cpu_seconds()
        _talk(program.port, head)
        time.sleep(_PAUSE_SECONDS)  # closing costs something too
        figure.readings.append((program.cpu_seconds() - before) * 1e3)
    return figure


def _innocent(port: int, beside: bytes | None, seconds: float) -> Figure:
    """Return the latencies of one client's requests, with newcomers (if any) from a thread beside it."""
    figure = Figure("ms")
    over = threading.Event()
    newcomers = threading.Thread(target=_newcomers, args=(port, beside, seconds, over))
    innocent = _connect(port)
    try:
        newcomers.start()
        while not over.is_set():
            started = time.perf_counter()
            while not _ask(innocent):  # closed by the server: an idle time may have passed while it could do nothing
                innocent.close()
                innocent = _connect(port)
            figure.readings.append((time.perf_counter() - started) * 1e3)
            time.sleep(0.001)
        newcomers.join()
    finally:
        innocent.close()
    return figure


def _ask(innocent: socket.socket) -> bool:
    """Send one request and read its answer; False when the server has closed the connection instead."""
    answer = b""
    try:
        innocent.sendall(_INNOCENT)
        while not answer.endswith(b"Hello, world!"):  # some servers send head and content apart
            data = innocent.recv(65536)
            if not data:
                break
            answer += data
    except ConnectionError:
        pass
    if answer and not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"an innocent request was answered with {answer!r}")
    return bool(answer)


def _connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=_GIVE_UP_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _newcomers(port: int, head: bytes | None, seconds: float, over: threading.Event) -> None:
    end = time.perf_counter() + seconds
    try:
        while time.perf_counter() < end:
            time.sleep(_PAUSE_SECONDS)
            if head is not None:
                _talk(port, head)
    finally:
        over.set()


def _talk(port: int, head: bytes) -> None:
    """Send the head on a connection of its own and read until the server closes, politely or not."""
    with _connect(port) as newcomer:
        try:
            newcomer.sendall(head)
            while newcomer.recv(65536):
                pass
        except ConnectionError:
            pass  # a reset is a refusal too
