"""CPU time of the server process a request: keep-alive connections, a short GET, with 3 and with 11 header fields.

Rule 1: a round starts a fresh process of every server; within it all of them take short turns under load, again and
again. Those that wait for their turn do nothing.
Rule 2: a ratio is taken within a turn, and the median of these ratios is shown: what slows a machine down for seconds
(its other users, its caches, its clock) falls on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .load import FIELDS, load
from .peers import Peer, serving, turned
from .report import Figure, Table, progress, ratio

__all__ = ["measure_servers"]

_WARM_UP_SECONDS = 1.0
_TURNS_A_ROUND = 3


def measure_servers(
    python: Path, peers: Sequence[Peer], own: Peer, *, rounds: int, seconds: float, connections: int
) -> Table:
    """Load the servers in turn and return the figures, beside ``own`` where that is among the peers."""
    figures = {(peer, fields): Figure("µs CPU a request") for peer in peers for fields in FIELDS}
    rates = {peer: Figure("requests a second") for peer in peers}
    for number in range(rounds):
        with ExitStack() as stack:
            programs = {peer: stack.enter_context(serving(python, peer)) for peer in peers}
            for program in programs.values():
                load(program.port, fields=3, connections=connections, seconds=_WARM_UP_SECONDS)
            for turn in range(_TURNS_A_ROUND):
                for fields in FIELDS:
                    for peer in turned(peers, number + turn):
                        program = programs[peer]
                        before = program.cpu_seconds()
                        requests = load(program.port, fields=fields, connections=connections, seconds=seconds)
                        used = program.cpu_seconds() - before
                        figures[peer, fields].readings.append(used / requests * 1e6)
                        if fields == 3:
                            rates[peer].readings.append(requests / seconds)
                progress(
                    f"server round {number + 1}/{rounds}, turn {turn + 1}/{_TURNS_A_ROUND}: {_last(figures, peers)}"
                )
    table = Table(
        f"CPU of the server process, µs a request; {connections} connections; "
        f"median (least–greatest) of {rounds * _TURNS_A_ROUND} turns in {rounds} rounds",
        ["server", *(f"{fields} fields" for fields in FIELDS), "triohttp ÷ it", "requests/s, 3 fields"],
    )
    for peer in peers:
        shown = "–"
        if own in peers:
            shown = " / ".join(ratio(figures[own, fields], figures[peer, fields]) for fields in FIELDS)
        table.rows.append([peer.title, *(figures[peer, fields] for fields in FIELDS), shown, rates[peer]])
    return table


def _last(figures: dict[tuple[Peer, int], Figure], peers: Sequence[Peer]) -> str:
    return ", ".join(
        f"{peer.key} " + "/".join(f"{figures[peer, fields].readings[-1]:.0f}" for fields in FIELDS) for peer in peers
    )
