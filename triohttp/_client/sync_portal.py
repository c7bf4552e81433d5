"""The thread in which a synchronous client has its trio loop, and how calls get in and answers out.

A call is a ``Job``: the caller's thread posts it, the loop runs it in a task of its own, and the caller waits on a lock
that the job's end releases. A lock is what a signal interrupts: Ctrl-C is felt while waiting.

Rule 1: whoever waits is told: by the job's end, or by the end of the loop, whatever ended it.
Rule 2: whoever stops waiting cancels what it waited for first, and gives that a bounded time to end.
Rule 3: nothing that a job raises gets into the nursery: it is the caller's. Only a cancellation from outside passes,
        and whoever waits for a job that was cancelled so is told at the end of the loop.
Rule 4: the thread is a daemon, so that a client that nobody closed does not hold up the end of the interpreter. It
        knows the client, not what programs hold; so that one can be collected, and complain.
Rule 5: after a fork the child has no such thread: everything refuses there, or does nothing, and never waits.
"""

from __future__ import annotations

import atexit
import contextvars
import logging
import math
import os
import threading
import warnings
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar, cast

import trio

from triohttp.errors import ClientClosedError, TotalTimeout, clip

from .client import Client

__all__ = ["Portal", "check_timeout", "has_cancelled"]

LOGGER = logging.getLogger("triohttp.client")

CANCEL_SECONDS = 2.0
"""How long a call that is interrupted waits for its request to end."""
CLOSE_SECONDS = 5.0
"""How long closing waits for the thread; what the client itself does then takes less than half of it."""
EXIT_SECONDS = 0.5
"""How long the end of the interpreter waits for a client that nobody has closed."""

T = TypeVar("T")
_NOTHING: Final = object()


class _Job(Generic[T]):
    """One call on its way. All but ``wait`` and ``result`` happens in the loop's thread, or after it."""

    __slots__ = ("_lock", "_value", "begun", "cancelled", "context", "done", "error", "run", "scope")

    def __init__(self, run: Callable[[], Awaitable[T]]) -> None:
        self.run = run
        self.context = contextvars.copy_context()
        self.scope: trio.CancelScope | None = None
        self.begun = False
        self.cancelled = False
        self.done = False
        self.error: BaseException | None = None
        self._value: object = _NOTHING
        self._lock = threading.Lock()
        self._lock.acquire()

    @property
    def given_up(self) -> bool:
        """It was cancelled before anything came out of it."""
        return self._value is _NOTHING and self.error is None

    def cancel(self) -> None:
        """Let it end soon; a second time does nothing."""
        self.cancelled = True
        if self.scope is not None:
            self.scope.cancel(reason="the thread that called does not wait any more")

    def finish(self, value: object = _NOTHING, error: BaseException | None = None) -> None:
        """Wake whoever waits, once."""
        if not self.done:
            self._value = value
            self.error = error
            self.done = True
            try:
                self._lock.release()
            except RuntimeError:  # `close` has given up on a thread that is held up, and was at it in the same moment
                pass

    def wait(self, seconds: float = math.inf) -> bool:
        """Return whether it ended in time; the one thread that called does this, if need be again."""
        if not self.done:
            timeout = min(seconds, threading.TIMEOUT_MAX) if seconds < math.inf else -1
            self._lock.acquire(timeout=timeout)
        return self.done

    def result(self) -> T:
        """Return or raise what came out of it."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # else its traceback and this frame would hold each other
        return cast("T", self._value)


class Portal:
    """The way into the loop of a client.

    Args:
        client: open as long as the loop runs.
    Attributes:
        nursery: where jobs run.
        error: what ended the loop, None for ``close``.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._mutex = threading.Lock()
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()
        self._token: trio.lowlevel.TrioToken | None = None
        self._stop = trio.Event()
        self._jobs: set[_Job[object]] = set()
        self._closed = False
        self._ready = threading.Event()
        self.nursery: trio.Nursery | None = None
        self.error: BaseException | None = None

    # -- the callers' side ---------------------------------------------------------------------------------------------

    def is_running(self) -> bool:
        """Tell whether the loop was begun by this process, nobody has closed it, and nothing has ended it."""
        return self._thread is not None and not self._closed and self.error is None and self._pid == os.getpid()

    def check(self) -> None:
        """Begin the loop unless it has begun.

        Raises:
            ClientClosedError: it is over.
            RuntimeError: waiting would hold up a loop of trio, or the thread stayed behind in a fork's parent.
        """
        if trio.lowlevel.in_trio_run():
            if threading.current_thread() is self._thread:
                raise RuntimeError(
                    "this is the synchronous client's own thread, which must not wait for itself: middleware, "
                    "observers and progress callbacks run in it; use what they are given"
                )
            raise RuntimeError("a SyncClient would hold up all of trio here: use Client")
        if self._pid != os.getpid():
            raise RuntimeError("this client was made before a fork: each process makes one of its own")
        if self._token is None or self._closed:
            self._start()

    def call(self, run: Callable[[], Awaitable[T]], timeout: float | None = None, late_seconds: float = 0.0) -> T:
        """Return what ``run`` gives, or raise what it raises, from a task of its own in the loop.

        Interrupted by a signal handler that raises (Ctrl-C), it cancels that task, waits for its end for a moment, and
        lets the exception through.

        Args:
            timeout: seconds until the task is cancelled; None for no bound.
            late_seconds: how much longer it is waited for, when it knows its timeout and will end by itself.
        Raises:
            ClientClosedError: the loop is over, or ended meanwhile.
            RuntimeError: as ``check``.
            TotalTimeout: the time is up.
            ValueError: the timeout is not above 0.
        """
        seconds = check_timeout(timeout)
        self.check()
        job = _Job(run)
        try:
            self._post(job)
            in_time = job.wait(seconds + late_seconds)
        except BaseException:
            self._cancel(job)
            raise
        if not in_time:
            self._cancel(job)
            if not job.done or job.given_up:
                raise TotalTimeout(f"the call was not over in {seconds:g} s", phase="call", seconds=seconds, sent=True)
        return job.result()

    def send(self, function: Callable[[], object]) -> None:
        """Have ``function`` called in the loop, soon, if it runs at all; it must not raise. Never waits."""
        if self._token is not None and self._pid == os.getpid():
            try:
                self._token.run_sync_soon(function)
            except (trio.RunFinishedError, OSError):  # the second after a crash
                pass

    def close(self) -> None:
        """End the loop: whoever waits for something gets ClientClosedError. A second time does nothing.

        Raises:
            BaseException: what a task in ``Client.nursery`` has raised, which ended the loop before.
            RuntimeError: this is the loop's own thread.
        """
        if threading.current_thread() is self._thread:
            raise RuntimeError("the synchronous client cannot be closed from its own thread")
        if self._pid != os.getpid():
            return
        with self._mutex:
            if self._closed:
                return
            self._closed = True
        if self._thread is not None:
            atexit.unregister(self._at_exit)
            self.send(self._stop.set)
            self._thread.join(CLOSE_SECONDS)
            if self._thread.is_alive():
                LOGGER.warning(
                    "the thread of a synchronous client did not end in %g s: a middleware or a callback holds it up",
                    CLOSE_SECONDS,
                )
                self._end_jobs()
            error = self.error
            if error is not None:
                raise error

    def abandon(self) -> None:
        """End the loop some time soon, without waiting: for finalizers, which run in any thread."""
        self._closed = True
        if self._pid == os.getpid():
            atexit.unregister(self._at_exit)
        self.send(self._stop.set)

    def _at_exit(self) -> None:
        if self._pid != os.getpid() or self._thread is None:
            return
        self._closed = True
        self.send(self._stop.set)
        self._thread.join(EXIT_SECONDS)
        warnings.warn(
            "a SyncClient was never closed: leave its `with` block, or close() it", ResourceWarning, stacklevel=1
        )

    def _start(self) -> None:
        with self._mutex:
            if self._closed:
                raise closed_error(self.error)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="triohttp SyncClient", daemon=True)
                thread.start()
                self._thread = thread
                atexit.register(self._at_exit)
        self._ready.wait()
        if self._token is None:
            raise closed_error(self.error) from self.error

    def _post(self, job: _Job[T]) -> None:
        assert self._token is not None
        known = cast("_Job[object]", job)
        self._jobs.add(known)
        try:
            self._token.run_sync_soon(self._begin, known)
        except (trio.RunFinishedError, OSError):
            self._jobs.discard(known)
            raise closed_error(self.error) from self.error

    def _cancel(self, job: _Job[T]) -> None:
        if job in self._jobs:
            self.send(lambda: self._end(job))
            job.wait(CANCEL_SECONDS)

    # -- the loop's side -----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as exc:  # noqa: BLE001  # kept for those who wait, and for close
            self.error = _only(exc)
        finally:
            self._end_jobs()
            self._ready.set()

    def _end_jobs(self) -> None:
        while self._jobs:
            job = self._jobs.pop()
            error = closed_error(self.error)
            error.__cause__ = self.error
            job.finish(error=error)

    async def _main(self) -> None:
        async with self._client, trio.open_nursery() as nursery:
            self.nursery = nursery
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set()
            await self._stop.wait()
            await self._client.aclose()  # what goes on ends with an error that says how far it was
            nursery.cancel_scope.cancel(reason="the client was closed")

    def _begin(self, job: _Job[object]) -> None:
        assert self.nursery is not None
        job.begun = True
        try:
            job.context.run(self.nursery.start_soon, self._work, job)
        except RuntimeError:  # the nursery is closed: the job is told at the end of the loop
            pass

    def _end(self, job: _Job[T]) -> None:
        job.cancel()
        if not job.begun:  # callbacks keep their order: it was interrupted before it was posted
            self._jobs.discard(cast("_Job[object]", job))
            job.finish()

    async def _work(self, job: _Job[object]) -> None:
        value: object = _NOTHING
        error: BaseException | None = None
        try:
            with trio.CancelScope() as scope:
                job.scope = scope
                if job.cancelled:
                    scope.cancel(reason="the thread that called does not wait any more")
                value = await job.run()
        except BaseException as exc:
            if has_cancelled(exc):
                raise
            error = exc
        self._jobs.discard(job)
        job.finish(value, error)


def check_timeout(timeout: float | None) -> float:
    """Return the seconds that a call may take.

    Raises:
        ValueError: it is not above 0, or no number.
    """
    if timeout is None:
        return math.inf
    value: object = timeout  # whatever the annotation says
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ValueError(f"timeout must be a number of seconds above 0, not {clip(timeout)}")
    return value


def has_cancelled(exc: BaseException) -> bool:
    """Tell whether a cancellation is (also) meant, which has to get to whoever asked for it."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.split(trio.Cancelled)[0] is not None
    return isinstance(exc, trio.Cancelled)


def closed_error(cause: BaseException | None) -> ClientClosedError:
    """Return the error for using a synchronous client that is over."""
    if cause is None:
        return ClientClosedError("the client was closed")
    return ClientClosedError(f"the client's loop has ended: {clip(cause)}")


def _only(exc: BaseException) -> BaseException:
    """Return what a group consists of, if it is one thing."""
    if isinstance(exc, BaseExceptionGroup):
        inner: tuple[BaseException, ...] = exc.exceptions
        if len(inner) == 1:
            return _only(inner[0])
    return exc
