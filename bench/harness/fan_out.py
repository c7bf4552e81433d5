"""CPU time of an event-stream server a delivered event, when one event goes to many subscribers.

Rule 1: as in ``server.py``: in a round all servers run side by side and take short turns; a ratio is taken within one.
Rule 2: the subscribers of a turn are opened for it and closed after it: the servers that wait have none.
Rule 3: each event is published by a POST, whose cost is in the figure; it is one for all subscribers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .peers import OWN_FAN_OUT, Peer, serving, turned
from .processes import LOAD_CORE, allow_descriptors, pin_this_process
from .report import Figure, Table, progress, ratio
from .subscribers import Subscribers

__all__ = ["measure_fan_out"]

_TURNS_A_ROUND = 3
_WARM_UP_EVENTS = 3
_SETTLE_SECONDS = 0.2


def measure_fan_out(python: Path, peers: Sequence[Peer], *, rounds: int, seconds: float, subscribers: int) -> Table:
    """Publish to each server's subscribers in turn and return the figures, beside ours if that is among the peers."""
    allow_descriptors(subscribers + 100)
    figures = {peer: Figure("µs CPU a delivered event") for peer in peers}
    waits = {peer: Figure("ms") for peer in peers}
    for number in range(rounds):
        with ExitStack() as stack:
            programs = {peer: stack.enter_context(serving(python, peer)) for peer in peers}
            stack.enter_context(pin_this_process(LOAD_CORE))
            for turn in range(_TURNS_A_ROUND):
                for peer in turned(peers, number + turn):
                    program = programs[peer]
                    with Subscribers(program.port, count=subscribers) as everybody:
                        time.sleep(_SETTLE_SECONDS)  # the answer's head may go out before the subscription
                        for _ in range(_WARM_UP_EVENTS):
                            everybody.publish()
                        events = 0
                        before, end = program.cpu_seconds(), time.perf_counter() + seconds
                        while time.perf_counter() < end:
                            waits[peer].readings.append(everybody.publish() * 1e3)
                            events += 1
                        used = program.cpu_seconds() - before
                    figures[peer].readings.append(used / events / subscribers * 1e6)
                last = ", ".join(f"{peer.key} {figures[peer].readings[-1]:.0f}" for peer in peers)
                progress(f"fan-out round {number + 1}/{rounds}, turn {turn + 1}/{_TURNS_A_ROUND}: {last}")
    table = Table(
        f"CPU of an event-stream server, µs a delivered event, one event at a time to {subscribers} subscribers; "
        f"median (least–greatest) of {rounds * _TURNS_A_ROUND} turns in {rounds} rounds",
        ["server", "CPU a delivered event", "triohttp ÷ it", "last subscriber has it after, ms"],
    )
    for peer in peers:
        shown = ratio(figures[OWN_FAN_OUT], figures[peer]) if OWN_FAN_OUT in peers else "–"
        table.rows.append([peer.title, figures[peer], shown, waits[peer]])
    return table
