"""A sweep cancels at every point, finds what breaks there, and says where."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from triohttp.testing import CancelPoint, CancelSweepError, SweepRun, cancel_sweep, memory_stream_pair


def test_every_step_is_cancelled_once() -> None:
    """A block of three waits is cancelled at each of them, asleep and just woken, and each in a run of its own."""
    seen: list[CancelPoint | None] = []

    async def scenario(sweep: SweepRun) -> None:
        seen.append(sweep.point)
        with sweep.block():
            for _ in range(3):
                await trio.sleep(1)

    report = cancel_sweep(scenario)
    expected = [point for step in (1, 2, 3) for point in (CancelPoint(step, "waiting"), CancelPoint(step, "woken"))]
    assert list(report.points) == expected
    assert seen[: len(expected) + 1] == [None, *expected]
    assert report.cancelled == 6


def test_a_leaked_slot_is_found_at_its_step() -> None:
    """Code that forgets to give something back when it is cancelled fails, with the step and the place."""

    async def scenario(sweep: SweepRun) -> None:
        slots = trio.Semaphore(1)
        with sweep.block():
            await trio.lowlevel.checkpoint()
            await slots.acquire()  # from here on, a cancellation loses the slot
            await trio.sleep(1)
            slots.release()
        assert slots.value == 1

    with pytest.raises(CancelSweepError) as caught:
        cancel_sweep(scenario)
    assert caught.value.point is not None
    assert "a cancellation loses the slot" in caught.value.stack
    assert "a cancellation loses the slot" in str(caught.value)
    assert isinstance(caught.value.__cause__, AssertionError)


def test_a_handed_over_slot_is_lost_only_when_woken() -> None:
    """The moment between a wake-up and the next step is a point of its own: hand-offs break there."""

    async def scenario(sweep: SweepRun) -> None:
        lot = trio.lowlevel.ParkingLot()
        owner: list[str] = []

        async def wait_for_slot() -> None:
            await lot.park()
            await trio.lowlevel.checkpoint()  # the slot is ours by now, and a cancellation here forgets it
            owner.append("taken")

        async def hand_over() -> None:
            await trio.sleep(1)
            owner.append("given") if lot.unpark() else None

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hand_over)
            with sweep.block():
                await wait_for_slot()
        assert owner in ([], ["given", "taken"])

    with pytest.raises(CancelSweepError) as caught:
        cancel_sweep(scenario)
    assert caught.value.point == CancelPoint(1, "woken")


def test_the_other_ends_progress_is_swept_too() -> None:
    """With every task counted, a block that sleeps once is cancelled at each step of whoever works for it."""

    async def scenario(sweep: SweepRun, every_task: bool) -> None:
        async def work() -> None:
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            done.set()

        done = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            with sweep.block(every_task=every_task):
                await done.wait()

    own = cancel_sweep(partial(scenario, every_task=False))
    every = cancel_sweep(partial(scenario, every_task=True))
    assert len(own.points) == 2
    assert len(every.points) >= 20
    assert every.cancelled >= 18


def test_an_action_takes_the_place_of_cancelling() -> None:
    """A sweep can do something else at each point, such as resetting the peer's connection."""
    outcomes: set[str] = set()

    async def scenario(sweep: SweepRun) -> None:
        one, other = memory_stream_pair()
        with sweep.block(action=other.abort):
            try:
                for _ in range(6):
                    await one.send_all(b"x")
            except trio.BrokenResourceError:
                outcomes.add("broken")
            else:
                outcomes.add("sent")

    report = cancel_sweep(scenario)
    assert report.cancelled == 0
    assert outcomes == {"broken", "sent"}


def test_an_action_that_raises_fails_the_scenario() -> None:
    """A mistake in the action is not lost in the scheduler."""

    async def scenario(sweep: SweepRun) -> None:
        with sweep.block(action=lambda: 1 // 0):
            await trio.sleep(1)

    with pytest.raises(CancelSweepError) as caught:
        cancel_sweep(scenario)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_hanging_scenario_fails() -> None:
    """A scenario that waits for ever after a cancellation ends at its time limit."""

    async def scenario(sweep: SweepRun) -> None:
        done = trio.Event()
        with sweep.block():
            await trio.sleep(1)
            done.set()
        await done.wait()

    with pytest.raises(CancelSweepError, match="step 1, waiting") as caught:
        cancel_sweep(scenario, seconds=60)
    assert isinstance(caught.value.__cause__, trio.TooSlowError)


def test_a_scenario_that_fails_by_itself_is_told_apart() -> None:
    """A scenario must pass undisturbed before anything is cancelled in it."""

    async def scenario(sweep: SweepRun) -> None:
        with sweep.block():
            await trio.lowlevel.checkpoint()
        raise KeyError("mine")

    with pytest.raises(CancelSweepError, match="without any cancellation: KeyError") as caught:
        cancel_sweep(scenario)
    assert caught.value.point is None


def test_a_sweep_is_bounded() -> None:
    """A block with more points than allowed is an error, and not a test that never ends."""

    async def scenario(sweep: SweepRun) -> None:
        with sweep.block():
            for _ in range(100):
                await trio.lowlevel.checkpoint()

    with pytest.raises(CancelSweepError, match="more than 20 points"):
        cancel_sweep(scenario, max_points=20)


def test_a_block_is_used_once() -> None:
    """Two blocks in one run would make the points ambiguous."""

    async def scenario(sweep: SweepRun) -> None:
        for _ in range(2):
            with sweep.block():
                await trio.lowlevel.checkpoint()

    with pytest.raises(CancelSweepError) as caught:
        cancel_sweep(scenario)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_what_a_run_leaves_fails_the_sweep() -> None:
    """A task that a cancellation leaves behind is found in the very run that left it."""

    async def scenario(sweep: SweepRun) -> None:
        with sweep.block():
            await trio.sleep(1)
        if sweep.reached:
            trio.lowlevel.spawn_system_task(trio.sleep_forever, name="detached")

    with pytest.raises(CancelSweepError, match="task detached"):
        cancel_sweep(scenario)
