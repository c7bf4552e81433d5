"""HTTP archives (HAR 1.2): what a client asked and was answered, recorded to a file and replayed from one."""

from __future__ import annotations

from .recording import HarRecorder, record_har
from .replay import HarReplay, NotRecordedError, replay_har

__all__ = ["HarRecorder", "HarReplay", "NotRecordedError", "record_har", "replay_har"]
