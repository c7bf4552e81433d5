"""Everything for testing programs that use triohttp: an in-process network, mocks, faults, sweeps and a leak check."""

from __future__ import annotations

from .certificates import CertificateAuthority
from .faults import BlackHole, Clog, Cut, Delay, Dribble, Fault, FaultyOrigin, FaultyStream
from .in_process import InProcessServer, open_error_trap, open_in_process
from .leaks import LeakError, no_leaks
from .mock import MockAnswer, MockCall, MockError, MockRoute, MockServer
from .raw import RawConnection, RawInterim, RawRequest, RawResponse
from .scripted import ScriptedServer, open_scripted
from .streams import MemoryListener, MemoryStream, end_sending, memory_stream_pair, reset_stream
from .sweep import CancelPoint, CancelSweepError, SweepReport, SweepRun, cancel_sweep

__all__ = [
    "BlackHole",
    "CancelPoint",
    "CancelSweepError",
    "CertificateAuthority",
    "Clog",
    "Cut",
    "Delay",
    "Dribble",
    "Fault",
    "FaultyOrigin",
    "FaultyStream",
    "InProcessServer",
    "LeakError",
    "MemoryListener",
    "MemoryStream",
    "MockAnswer",
    "MockCall",
    "MockError",
    "MockRoute",
    "MockServer",
    "RawConnection",
    "RawInterim",
    "RawRequest",
    "RawResponse",
    "ScriptedServer",
    "SweepReport",
    "SweepRun",
    "cancel_sweep",
    "end_sending",
    "memory_stream_pair",
    "no_leaks",
    "open_error_trap",
    "open_in_process",
    "open_scripted",
    "reset_stream",
]
