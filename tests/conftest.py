"""What holds for every test: it leaves nothing behind, and it ends.

Rule 1: the leak check is a synchronous fixture around the test and a second one inside its trio run, where tasks are
seen; an asynchronous autouse fixture would silently not run.
Rule 2: a test is bounded in seconds of the wall, whatever clock its own time runs on.
"""

from __future__ import annotations

import gc
import inspect
import signal
import tempfile
import traceback
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from triohttp.testing import CertificateAuthority, no_leaks

pytest_plugins = ["pytester"]

WALL_SECONDS = 30
"""What one test may take; ``@pytest.mark.wall_seconds(n)`` says otherwise."""

FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it puts into the background
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "wall_seconds(seconds): what a test may take on the wall clock, instead of 30 s")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let every asynchronous test run by ``run_test``; pytest-trio takes the first runner that it finds."""
    for item in items:
        if inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=partial(run_test, item)), append=False)


def pytest_collection_finish() -> None:
    """Take what exists by now out of the collector's sight: a collection after each test then costs next to nothing."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Bound the test; what runs in trio is bounded once more in ``run_test``, which can say where its tasks were."""
    seconds = wall_seconds(item)

    def expire() -> None:
        raise TimeoutError(f"the test took more than {seconds} s")

    with alarm(seconds + 1, expire):
        return (yield)


@pytest.fixture(scope="session")
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of all temporary files of this run; pytest's own lie elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("temporary_files")
        patch.setattr(tempfile, "tempdir", str(directory))
        patch.setenv("TMPDIR", str(directory))
        yield directory


@pytest.fixture(autouse=True)
def nothing_is_left(request: pytest.FixtureRequest, temporary_files: Path) -> Iterator[None]:
    """Fail a test that passed but left a descriptor, a thread or a file, or dropped something unclosed."""
    gc.freeze()  # what earlier tests left to pytest is not looked at again; it cost each later one 0.1 s
    check = no_leaks(temporary_files=temporary_files)
    check.__enter__()  # by hand, since a failed test holds its frames, and with them everything that was open in them
    yield
    if not request.node.stash.get(FAILED, False):
        check.__exit__(None, None, None)


def run_test(
    item: pytest.Item,
    test: Callable[[], Awaitable[object]],
    *,
    clock: trio.abc.Clock | None = None,
    instruments: Sequence[trio.abc.Instrument] = (),
) -> None:
    """Run an asynchronous test with its asynchronous fixtures; no task may be left, and no time limit be passed."""
    seconds = wall_seconds(item)

    async def main() -> None:
        with task_wall_bound(seconds), no_leaks(collect=False):
            await test()

    if clock is None and runs_in_memory(item):
        clock = trio.testing.MockClock(autojump_threshold=0)
    trio.run(main, clock=clock, instruments=instruments)


def runs_in_memory(item: pytest.Item) -> bool:
    """Whether a test's ``network`` is one without sockets; time is then virtual."""
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return str(parameters.get("network", "")).endswith("memory")


def wall_seconds(item: pytest.Item) -> float:
    marker = item.get_closest_marker("wall_seconds")
    return WALL_SECONDS if marker is None else float(marker.args[0])


@contextmanager
def alarm(seconds: float, ring: Callable[[], object]) -> Iterator[None]:
    """Call ``ring`` when the block takes longer, and every five seconds from then on."""
    previous = signal.signal(signal.SIGALRM, lambda number, frame: ring())
    outer, interval = signal.setitimer(signal.ITIMER_REAL, seconds, 5.0)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, previous)
        signal.setitimer(signal.ITIMER_REAL, outer, interval)


@contextmanager
def task_wall_bound(seconds: float) -> Iterator[None]:
    """Cancel the block when it takes longer than that on the wall clock, and fail with what every task was doing."""
    token = trio.lowlevel.current_trio_token()
    scope = trio.CancelScope()
    where: list[str] = []

    def expire() -> None:
        where.extend(describe(task) for task in walk(trio.lowlevel.current_root_task()))
        scope.cancel()

    def ring() -> None:
        if not rung:
            rung.append(True)
            token.run_sync_soon(expire)
        else:  # no task has yielded for five seconds: only an exception in the middle of it can end that
            raise TimeoutError(f"the test took more than {seconds} s and does not yield")

    rung: list[bool] = []
    with alarm(seconds, ring), scope:
        yield
    if scope.cancelled_caught:
        pytest.fail(f"the test took more than {seconds} s; its tasks were at:\n" + "\n".join(where))


def walk(task: trio.lowlevel.Task | None) -> Iterator[trio.lowlevel.Task]:
    if task is not None:
        yield task
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                yield from walk(child)


def describe(task: trio.lowlevel.Task) -> str:
    return f"task {task.name}\n" + "".join(traceback.StackSummary.extract(task.iter_await_frames()).format())


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    """The one authority of this run: making keys takes time."""
    return CertificateAuthority()
