from __future__ import annotations

import math

import trio
from trio.testing import MockClock

from triohttp._connection.timer import Entry, Timer


class Late:
    """Something with one deadline that notes when it was told to be late."""

    def __init__(self, timer: Timer) -> None:
        self.timer = timer
        self.deadline = math.inf
        self.armed = math.inf
        self.entry: Entry | None = None
        self.told: list[float] = []

    def due(self, when: float) -> None:
        self.deadline = when
        if when < self.armed:
            self.timer.arm(self, when)

    def next_deadline(self) -> float:
        return self.deadline

    def late(self, now: float) -> None:
        self.told.append(now)
        self.deadline = math.inf


async def test_a_deadline_is_acted_on_at_its_time(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """A deadline is noticed at exactly the time it names."""
    timer = Timer()
    nursery.start_soon(timer.run)
    await trio.testing.wait_all_tasks_blocked()
    one, other = Late(timer), Late(timer)
    one.due(5)
    other.due(2.5)
    await trio.sleep(10)
    assert (one.told, other.told) == ([5.0], [2.5])


async def test_a_deadline_moved_later_is_not_acted_on_early(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Moving a deadline later costs no look at the heap, and the first time passes without an act."""
    timer = Timer()
    nursery.start_soon(timer.run)
    late = Late(timer)
    late.due(5)
    entry = late.entry
    late.due(7)
    assert late.entry is entry
    await trio.sleep(10)
    assert late.told == [7.0]


async def test_a_deadline_moved_earlier_wakes_the_sleeping_timer(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A deadline that comes before everything the timer sleeps for moves its nap."""
    timer = Timer()
    nursery.start_soon(timer.run)
    late = Late(timer)
    late.due(100)
    await trio.sleep(1)
    late.due(3)
    await trio.sleep(10)
    assert late.told == [3.0]


async def test_what_is_forgotten_is_never_told_and_not_kept(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Forgetting drops the entry; a heap full of the forgotten is compacted."""
    timer = Timer()
    nursery.start_soon(timer.run)
    kept = Late(timer)
    kept.due(1000)
    gone = [Late(timer) for _ in range(1000)]
    for late in gone:
        late.due(5)
        timer.forget(late)
    assert len(timer._heap) < 200
    await trio.sleep(1001)
    assert not any(late.told for late in gone)
    assert kept.told == [1000.0]


async def test_a_crowd_that_is_late_at_once_is_told_in_steps(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    """Other tasks run between steps of 64, however many are late at the same moment."""
    timer = Timer()
    nursery.start_soon(timer.run)
    crowd = [Late(timer) for _ in range(1000)]
    for late in crowd:
        late.due(1)
    most = 0

    async def watch() -> None:
        nonlocal most
        told = 0
        await trio.sleep_until(1)
        while told < len(crowd):
            await trio.lowlevel.checkpoint()
            now = sum(1 for late in crowd if late.told)
            most = max(most, now - told)
            told = now

    nursery.start_soon(watch)
    await trio.sleep(2)
    assert all(late.told == [1.0] for late in crowd)
    assert most <= 2 * 64
