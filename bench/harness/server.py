"""CPU time of the server process a request: keep-alive connections, a short GET, with 3 and with 11 header fields."""

from __future__ import annotations

from pathlib import Path

from .load import FIELDS, load
from .peers import OWN_SERVER, Peer, serving, turns
from .report import Figure, Table, progress

__all__ = ["measure_servers"]

_WARM_UP_SECONDS = 1.0


def measure_servers(python: Path, peers: list[Peer], *, rounds: int, seconds: float, connections: int) -> Table:
    """Load each server in turn, a fresh process a round, and return the figures."""
    figures = {(peer, fields): Figure("µs CPU a request") for peer in peers for fields in FIELDS}
    rates = {peer: Figure("requests a second") for peer in peers}
    for number, peer in turns(peers, rounds):
        with serving(python, peer) as program:
            load(program.port, fields=3, connections=connections, seconds=_WARM_UP_SECONDS)
            for fields in FIELDS:
                before = program.cpu_seconds()
                requests = load(program.port, fields=fields, connections=connections, seconds=seconds)
                figures[peer, fields].readings.append((program.cpu_seconds() - before) / requests * 1e6)
                if fields == 3:
                    rates[peer].readings.append(requests / seconds)
            last = " / ".join(f"{figures[peer, fields].readings[-1]:.1f}" for fields in FIELDS)
            progress(f"server round {number + 1}/{rounds}: {peer.title}: {last} µs")
    table = Table(
        f"CPU of the server process, µs a request; {connections} connections, "
        f"median (least–greatest) of {rounds} rounds",
        ["server", *(f"{fields} fields" for fields in FIELDS), "triohttp is", "requests/s, 3 fields"],
    )
    own = OWN_SERVER if OWN_SERVER in peers else None
    for peer in peers:
        ratio = "–"
        if own is not None:
            ratio = " / ".join(f"{figures[own, fields].median / figures[peer, fields].median:.2f}" for fields in FIELDS)
        table.rows.append([peer.title, *(figures[peer, fields] for fields in FIELDS), ratio, rates[peer]])
    return table
