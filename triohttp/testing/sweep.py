"""Cancel a piece of code at every point in time at which it can be cancelled, once each, and look what is left.

A cancellation arrives while a task waits, so the points in time are the ends of scheduler steps. Two moments belong to
each: the task has just gone to sleep (the wait itself is cancelled), and the task has been woken but does not run yet
(the wait has succeeded, so the cancellation comes out of the next one). Hand-offs break in the second.

Rule 1: every point has a run of its own, from nothing to nothing; no state survives from one to the next.
Rule 2: points are counted by an instrument, so the code under test is not changed, wrapped or slowed down.
Rule 3: the sweep ends by itself: at the first point that is never reached, or at ``max_points`` with an error.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Literal

import trio
from trio.testing import MockClock

from .leaks import no_leaks

__all__ = ["CancelPoint", "CancelSweepError", "SweepReport", "SweepRun", "cancel_sweep"]

Moment = Literal["waiting", "woken"]


@dataclass(frozen=True, slots=True)
class CancelPoint:
    """One place of a sweep: the moment, and how many steps the block had made by then (from 1)."""

    step: int
    moment: Moment

    def __str__(self) -> str:
        return f"step {self.step}, {self.moment}"


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did: the points at which it cancelled, and at how many of them the block ended by cancellation."""

    points: tuple[CancelPoint, ...]
    cancelled: int


class CancelSweepError(AssertionError):
    """The scenario failed after a cancellation, or without one.

    Attributes:
        point: where the block was cancelled; None when the scenario fails by itself.
        stack: where the block's task was at that point, as a traceback would show it.
    """

    def __init__(self, message: str, *, point: CancelPoint | None = None, stack: str = "") -> None:
        super().__init__(message)
        self.point = point
        self.stack = stack


class SweepRun(trio.abc.Instrument):
    """One run of a scenario; ``block`` marks what is to be cancelled in it."""

    def __init__(self, point: CancelPoint | None) -> None:
        self.point = point
        self.reached = False
        """True once the block was cancelled, or the action done."""
        self.ended_by_cancellation = False
        """True once the cancellation came out of the block as ``Cancelled``, and not as a result or another error."""
        self.stack = ""
        self.arrived = False
        """True once the block came to its point; an action may still have been too late for it."""
        self._step = 0
        self._block: _Block | None = None
        self._used = False
        self._failure: Exception | None = None

    @contextmanager
    def block(self, *, action: Callable[[], object] | None = None, every_task: bool = False) -> Iterator[None]:
        """Mark the code that is to be cancelled; use it once a run, around awaits of the current task.

        Args:
            action: what to do instead of cancelling the block, such as resetting the peer's connection or cancelling
                the server; it must not await. It is done one round of the scheduler after its point.
            every_task: count the steps of all tasks while the block runs, not only its own; this finds what happens
                when the cancellation comes at odds with the progress of the other end.
        """
        if self._used:
            raise RuntimeError("a sweep's block may be entered only once a run")
        self._used = True
        with trio.CancelScope() as scope:
            self._block = _Block(trio.lowlevel.current_task(), every_task, scope, action)
            try:
                yield
            finally:
                self._block = None
        self.ended_by_cancellation = scope.cancelled_caught
        if self._failure is not None:
            raise self._failure

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Cancel a task that has been woken but does not run yet."""
        block = self._block
        if block is not None and block.counts(task):
            self._reach(block, "woken")

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step, and cancel a task that has just gone to sleep."""
        block = self._block
        if block is not None and block.counts(task):
            self._step += 1
            self._reach(block, "waiting")

    def _reach(self, block: _Block, moment: Moment) -> None:
        point = self.point
        if point is None or self.arrived or point.moment != moment or point.step != self._step:
            return
        self.arrived = True
        self.stack = _describe_stack(block.task)
        if block.action is None:
            self.reached = True
            block.scope.cancel()
        else:
            # Within an instrument the task that has just made its step still counts as running, and closing a socket
            # that it waits for would not wake it: the action is another task's, in the next round.
            trio.lowlevel.current_trio_token().run_sync_soon(self._act, block, block.action)

    def _act(self, block: _Block, action: Callable[[], object]) -> None:
        if self._block is not block:
            return  # it has ended meanwhile
        self.reached = True
        try:
            action()
        except Exception as error:  # noqa: BLE001  # raised at the end of the block; here it would be trio's end
            self._failure = error
            block.scope.cancel()  # a block that waits for the action must not wait for ever


@dataclass(frozen=True, slots=True)
class _Block:
    """The code that is to be cancelled, while it runs."""

    task: trio.lowlevel.Task
    every_task: bool
    scope: trio.CancelScope
    action: Callable[[], object] | None

    def counts(self, task: trio.lowlevel.Task) -> bool:
        return self.every_task or task is self.task


def cancel_sweep(
    scenario: Callable[[SweepRun], Awaitable[object]],
    *,
    virtual_time: bool = True,
    seconds: float = 300.0,
    max_points: int = 2000,
) -> SweepReport:
    """Run ``scenario`` once undisturbed, then once for every point of its block, cancelled there.

    A scenario sets up what it needs, runs ``with sweep.block():`` around the part to be cancelled, and checks after it
    whatever must hold: slots, statistics, that the next request is answered rightly. It is called outside of trio, and
    nothing may be left behind by any run: tasks, descriptors, threads::

        async def scenario(sweep: SweepRun) -> None:
            async with open_in_process(app) as server, Client(mounts={server.url: server}) as client:
                with sweep.block():
                    await client.get(server.url)
                assert (await client.get(server.url)).status == 200

        cancel_sweep(scenario)

    Args:
        scenario: an async function; it gets the run, a new one each time.
        virtual_time: run on a clock that jumps; false for scenarios over sockets.
        seconds: what one run may take on its clock.
        max_points: bound on the points of a block.
    Raises:
        CancelSweepError: a run failed; from the error that it failed with.
    """
    point = None
    try:
        _run_once(scenario, SweepRun(None), virtual_time, seconds)
        points: list[CancelPoint] = []
        cancelled = 0
        for step in range(1, max_points // 2 + 1):
            arrived = False
            for moment in ("waiting", "woken"):
                point = CancelPoint(step, moment)
                run = SweepRun(point)
                try:
                    _run_once(scenario, run, virtual_time, seconds)
                except Exception as error:
                    message = f"the scenario failed when its block was cancelled at {point}: {error!r}\n{run.stack}"
                    raise CancelSweepError(message, point=point, stack=run.stack) from error
                arrived = arrived or run.arrived
                if run.reached:
                    points.append(point)
                    cancelled += run.ended_by_cancellation
            if not arrived:
                return SweepReport(tuple(points), cancelled)
    except CancelSweepError:
        raise
    except Exception as error:
        raise CancelSweepError(f"the scenario fails without any cancellation: {error!r}") from error
    raise CancelSweepError(f"the block has more than {max_points} points to cancel at", point=point)


def _run_once(
    scenario: Callable[[SweepRun], Awaitable[object]], run: SweepRun, virtual_time: bool, seconds: float
) -> None:
    async def main() -> None:
        with no_leaks(collect=False), trio.fail_after(seconds):
            await scenario(run)

    clock = MockClock(autojump_threshold=0) if virtual_time else None
    # Warnings of dropped coroutines and resources come when they are freed, which for cycles is the collector's choice;
    # one collection a point would cost more than all the rest, so cycles are left to the test's own leak check.
    with no_leaks(collect=False):
        trio.run(main, clock=clock, instruments=[run])


def _describe_stack(task: trio.lowlevel.Task) -> str:
    """Return where a sleeping task is, outermost frame first, without the frames of trio itself."""
    frames: list[tuple[FrameType, int]] = [
        (frame, line) for frame, line in task.iter_await_frames() if not frame.f_code.co_filename.startswith(TRIO)
    ]
    return "".join(traceback.StackSummary.extract(iter(frames), lookup_lines=True).format())


TRIO = trio.__file__.removesuffix("__init__.py")
