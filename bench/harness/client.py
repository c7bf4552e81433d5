"""CPU time of the client process a request: short GETs from nginx over kept connections, 1 and 50 at once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from .environment import BENCH
from .load import TARGET
from .nginx import serving_nginx
from .peers import OWN_CLIENT, Peer, turns
from .processes import MEASURED_CORE, pinned
from .report import Figure, Table, progress, ratio

__all__ = ["measure_clients"]

_CONNECTIONS = (1, 50)


def measure_clients(python: Path, peers: list[Peer], *, rounds: int, seconds: float) -> Table:
    """Run each client in turn, a fresh process a run, and return the figures."""
    figures = {(peer, count): Figure("µs CPU a request") for peer in peers for count in _CONNECTIONS}
    rates = {(peer, count): Figure("requests a second") for peer in peers for count in _CONNECTIONS}
    with serving_nginx() as port:
        for number, peer in turns(peers, rounds):
            for count in _CONNECTIONS:
                result = _run(python, peer, port, count, seconds)
                figures[peer, count].readings.append(result["cpu_seconds"] / result["requests"] * 1e6)
                rates[peer, count].readings.append(result["requests"] / result["wall_seconds"])
            last = " / ".join(f"{figures[peer, count].readings[-1]:.0f}" for count in _CONNECTIONS)
            progress(f"client round {number + 1}/{rounds}: {peer.title}: {last} µs")
    table = Table(
        f"CPU of the client process, µs a request, against nginx; median (least–greatest) of {rounds} rounds",
        [
            "client",
            *(f"{n} at once" for n in _CONNECTIONS),
            "triohttp ÷ it",
            *(f"requests/s, {n}" for n in _CONNECTIONS),
        ],
    )
    own = OWN_CLIENT if OWN_CLIENT in peers else None
    for peer in peers:
        shown = "–"
        if own is not None:
            shown = " / ".join(ratio(figures[own, n], figures[peer, n]) for n in _CONNECTIONS)
        table.rows.append(
            [peer.title, *(figures[peer, n] for n in _CONNECTIONS), shown, *(rates[peer, n] for n in _CONNECTIONS)]
        )
    return table


def _run(python: Path, peer: Peer, port: int, connections: int, seconds: float) -> dict[str, float]:
    command = [str(python), str(BENCH / "clients" / f"{peer.key}.py"), f"http://127.0.0.1:{port}{TARGET}"]
    finished = subprocess.run(
        pinned(MEASURED_CORE, [*command, str(connections), str(seconds)]), capture_output=True, text=True, check=False
    )
    if finished.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {finished.returncode}\n{finished.stderr[-4000:]}")
    result: dict[str, float] = json.loads(finished.stdout)
    return result
