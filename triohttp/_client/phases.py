"""The deadlines of an exchange as the client sees it: one scope whose deadline moves from phase to phase.

A phase is what an exchange waits for just now: a free connection, a dial, the server taking bytes, the head, content.
Nested scopes would cost 8 µs each; moving one costs 3, and nothing where the old deadline is as good as the new one.

Rule 1: a scope of ours that fires becomes the named error of its phase; a scope of the caller's stays ``Cancelled``.
Rule 2: a deadline may come early by a thousandth of its bound, never late: within that it is not moved.
Rule 3: the caller's code (content iterables, the block of ``client.stream``) runs under no phase's deadline.
"""

from __future__ import annotations

import math

import trio

from triohttp._values.limits import ClientTimeouts
from triohttp.errors import (
    ConnectTimeout,
    HeadTimeout,
    InactivityError,
    PoolTimeout,
    ReadTimeout,
    TotalTimeout,
    WriteTimeout,
)

__all__ = ["CONNECT", "CONTENT", "HEAD", "LATE_HEAD", "POOL", "SEND", "UPLOAD", "Phases"]

POOL = "pool"
CONNECT = "connect"
SEND = "send"
UPLOAD = "upload"
"""The head is awaited while content still goes out; that has its own deadlines."""
HEAD = "head"
LATE_HEAD = "late head"
"""Sending has failed; an answer that the server gave before it closed may still be read."""
CONTENT = "content"

_ERRORS: dict[str, tuple[type[InactivityError], str]] = {
    POOL: (PoolTimeout, "no connection became free"),
    CONNECT: (ConnectTimeout, "no connection could be opened"),
    SEND: (WriteTimeout, "the server took nothing"),
    HEAD: (HeadTimeout, "no response head came"),
    LATE_HEAD: (HeadTimeout, "no response head came after sending failed"),
    CONTENT: (ReadTimeout, "no content came"),
}

_EARLY = 0.001


class Phases:
    """The moving deadline of one exchange.

    Attributes:
        timeouts: the bounds.
        phase: the phase that is going on.
        scope: the scope that is entered, or was last.
        detail: more about the phase, for its error's message.
    """

    __slots__ = ("_seconds", "_total_deadline", "detail", "phase", "scope", "timeouts")

    def __init__(self, timeouts: ClientTimeouts, total_deadline: float = math.inf) -> None:
        self.timeouts = timeouts
        self.phase = ""
        self.detail = ""
        self._seconds = math.inf
        self._total_deadline = total_deadline
        self.scope: trio.CancelScope | None = None

    def open(self, phase: str, seconds: float) -> trio.CancelScope:
        """Return a new scope in which ``phase`` begins now; it is to be entered at once."""
        self.phase = phase
        self._seconds = seconds
        deadline = trio.current_time() + seconds
        if deadline > self._total_deadline:
            deadline = self._total_deadline
        scope = self.scope = trio.CancelScope(deadline=deadline)
        return scope

    def enter(self, phase: str, seconds: float) -> None:
        """Let ``phase`` begin now, in the scope that is open."""
        scope = self.scope
        assert scope is not None, "a phase began outside a scope"
        self.phase = phase
        self._seconds = seconds
        deadline = trio.current_time() + seconds
        if deadline > self._total_deadline:
            deadline = self._total_deadline
        early = deadline - scope.deadline
        if not 0.0 <= early < seconds * _EARLY:  # never true of a bound that is infinite
            scope.deadline = deadline

    def expired(self, *, sent: bool) -> InactivityError:
        """Return the error for the scope that has just ended by its deadline."""
        if trio.current_time() >= self._total_deadline:
            seconds = self.timeouts.total_seconds
            return TotalTimeout(
                f"the exchange was not over in {seconds:g} s; it was in its {self.phase} phase",
                phase=self.phase,
                seconds=seconds,
                sent=sent,
                safe_to_retry=not sent,
            )
        error, what = _ERRORS.get(self.phase, (InactivityError, "nothing happened"))
        message = f"{what} in {self._seconds:g} s"
        if self.detail:
            message = f"{message}: {self.detail}"
        return error(message, phase=self.phase, seconds=self._seconds, sent=sent, safe_to_retry=not sent)
