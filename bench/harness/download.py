"""A download of 100 MB from nginx, streamed: its speed, its CPU time and the memory that the client process takes.

Rule 1: a fresh process a run; it downloads once before anything is measured, and the speed is that of the downloads
after it. The memory is the most that the process ever had, less what it had before the first download.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from .environment import BENCH
from .nginx import DOWNLOAD_BYTES, DOWNLOAD_TARGET, serving_nginx
from .peers import OWN_DOWNLOAD, Peer, turns
from .processes import MEASURED_CORE, pinned
from .report import Figure, Table, progress, ratio

__all__ = ["measure_downloads"]


def measure_downloads(python: Path, peers: list[Peer], *, rounds: int, downloads: int) -> Table:
    """Run each client in turn, a fresh process a run, and return the figures."""
    speeds = {peer: Figure("MB/s") for peer in peers}
    times = {peer: Figure("ms CPU a download") for peer in peers}
    peaks = {peer: Figure("MiB") for peer in peers}
    growths = {peer: Figure("MiB") for peer in peers}
    with serving_nginx() as port:
        for number, peer in turns(peers, rounds):
            result = _run(python, peer, port, downloads)
            speeds[peer].readings.append(downloads * DOWNLOAD_BYTES / result["wall_seconds"] / 1e6)
            times[peer].readings.append(result["cpu_seconds"] / downloads * 1e3)
            peaks[peer].readings.append(result["peak_kib"] / 1024)
            growths[peer].readings.append((result["peak_kib"] - result["kib_before"]) / 1024)
            progress(f"download round {number + 1}/{rounds}: {peer.title}: {speeds[peer].readings[-1]:.0f} MB/s")
    table = Table(
        f"A download of 100 MB, streamed from nginx; median (least–greatest) of {rounds} rounds",
        ["client", "MB/s", "triohttp ÷ it", "ms CPU", "peak memory, MiB", "of it for the download, MiB"],
    )
    for peer in peers:
        shown = ratio(speeds[OWN_DOWNLOAD], speeds[peer]) if OWN_DOWNLOAD in peers else "–"
        table.rows.append([peer.title, speeds[peer], shown, times[peer], peaks[peer], growths[peer]])
    return table


def _run(python: Path, peer: Peer, port: int, downloads: int) -> dict[str, float]:
    command = [str(python), str(BENCH / "clients" / f"{peer.key}.py"), f"http://127.0.0.1:{port}{DOWNLOAD_TARGET}"]
    finished = subprocess.run(
        pinned(MEASURED_CORE, [*command, str(DOWNLOAD_BYTES), str(downloads)]),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {finished.returncode}\n{finished.stderr[-4000:]}")
    result: dict[str, float] = json.loads(finished.stdout)
    return result
