"""One task that watches every deadline of a server, so that a request pays for none.

A deadline is a plain number on whatever has one. Setting it later than what is armed costs an attribute; the timer
looks again when the armed time comes and arms the real one. Moving a ``CancelScope.deadline`` twice a request costs
4-5 µs, this 0.4-0.7.

Rule 1: ``late`` never awaits and never raises; it wakes or cancels whoever is late.
Rule 2: at most 64 are acted on in one step: ten thousand at once would stall everything else for a third of a second.
Rule 3: the entries of what is closed are dropped by ``forget``, and compacted when they are half of the heap.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import Protocol

import trio

__all__ = ["Entry", "Timed", "Timer"]

STEP = 64


class Timed(Protocol):
    """What a timer watches."""

    armed: float
    """When the timer will look again, ``math.inf`` for never; the timer's own."""
    entry: Entry | None
    """The timer's own."""

    def next_deadline(self) -> float:
        """Return the earliest of its deadlines, ``math.inf`` for none."""
        ...

    def late(self, now: float) -> None:
        """Act on every deadline that is not after ``now``, and take it back."""
        ...


class Entry:
    """A place in the heap; ``what`` is None when it no longer counts."""

    __slots__ = ("order", "what", "when")

    def __init__(self, when: float, order: int, what: Timed) -> None:
        self.when = when
        self.order = order
        self.what: Timed | None = what

    def __lt__(self, other: Entry) -> bool:
        return self.when < other.when or (self.when == other.when and self.order < other.order)


class Timer:
    """A heap of deadlines and the task that sleeps until the earliest."""

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        self._order = 0
        self._dead = 0
        self._nap: trio.CancelScope | None = None

    def arm(self, what: Timed, when: float) -> None:
        """Look at ``what`` at ``when``; called only when that is earlier than ``what.armed``."""
        if what.entry is not None:
            what.entry.what = None
            self._dead += 1
        what.armed = when
        self._order += 1
        what.entry = Entry(when, self._order, what)
        heappush(self._heap, what.entry)
        if self._nap is not None and when < self._nap.deadline:
            self._nap.deadline = when

    def forget(self, what: Timed) -> None:
        """Never look at ``what`` again."""
        if what.entry is not None:
            what.entry.what = None
            what.entry = None
            what.armed = math.inf
            self._dead += 1
            if self._dead > 64 and self._dead * 2 > len(self._heap):
                self._heap = [entry for entry in self._heap if entry.what is not None]
                heapify(self._heap)
                self._dead = 0

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            if self._step(trio.current_time()):
                await trio.lowlevel.checkpoint()
                continue
            with trio.CancelScope(deadline=self._heap[0].when if self._heap else math.inf) as self._nap:
                await trio.sleep_forever()
            self._nap = None

    def _step(self, now: float) -> bool:
        """Act on what is late; True when there was more than one step's worth."""
        acted = 0
        while self._heap and self._heap[0].when <= now:
            if acted == STEP:
                return True
            what = heappop(self._heap).what
            if what is None:
                self._dead -= 1
                continue
            what.entry = None
            what.armed = math.inf
            if what.next_deadline() <= now:
                acted += 1
                what.late(now)
            again = what.next_deadline()
            if again < what.armed:
                self.arm(what, again)
        return False
