"""Everything for testing programs that use triohttp: an in-process network, faults, sweeps and a leak check."""

from __future__ import annotations

from .leaks import LeakError, no_leaks
from .streams import MemoryListener, MemoryStream, memory_stream_pair, reset_stream
from .sweep import CancelPoint, CancelSweepError, SweepReport, SweepRun, cancel_sweep

__all__ = [
    "CancelPoint",
    "CancelSweepError",
    "LeakError",
    "MemoryListener",
    "MemoryStream",
    "SweepReport",
    "SweepRun",
    "cancel_sweep",
    "memory_stream_pair",
    "no_leaks",
    "reset_stream",
]
