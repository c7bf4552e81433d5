"""Whose turn it is to send: a lock that costs nothing when nobody contends; connections and channels both need one.

``trio.Lock`` as a context manager checkpoints fully each time, 8 µs; an answer has one or two turns, and its send is a
cancellation point already.
"""

from __future__ import annotations

import trio

__all__ = ["SendTurn"]


class SendTurn:
    """A fair lock; taken at once when it is free, without a checkpoint."""

    __slots__ = ("_queue", "taken")

    def __init__(self) -> None:
        self.taken = False
        self._queue: trio.lowlevel.ParkingLot | None = None

    async def take(self) -> None:
        """Wait for the turn.

        Cancellation: atomic.
        """
        if not self.taken:
            self.taken = True
            return
        if self._queue is None:
            self._queue = trio.lowlevel.ParkingLot()
        await self._queue.park()  # whoever gives the turn back hands it over: it stays taken

    def give_back(self) -> None:
        """Hand the turn to whoever has waited longest."""
        if self._queue is not None and self._queue:
            self._queue.unpark()
        else:
            self.taken = False

    async def __aenter__(self) -> None:
        await self.take()

    async def __aexit__(self, *_: object) -> None:
        self.give_back()
