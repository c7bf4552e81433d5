"""Processor time of single parts in memory: ``micro.py``, run in the environment that holds the parts."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from .environment import BENCH
from .processes import MEASURED_CORE, pinned
from .report import Figure, Table, progress

__all__ = ["measure_parts"]


def measure_parts(python: Path, *, repeats: int) -> Table:
    """Time every part and return the figures."""
    progress("parts in memory")
    command = pinned(MEASURED_CORE, [str(python), str(BENCH / "micro.py"), str(repeats)])
    readings: dict[str, list[float]] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    table = Table(f"Parts in memory, µs CPU a call, median (least–greatest) of {repeats}", ["part", "µs"])
    table.rows.extend([name, Figure("µs CPU a call", values)] for name, values in readings.items())
    return table
