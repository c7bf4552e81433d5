"""What the shared conftest promises about every test of ours holds: nothing left, and an end."""

from __future__ import annotations

from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    """A directory with our conftest and our settings, in which sample tests are run by a pytest of their own."""
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\ntrio_mode = true\nfilterwarnings = ["error"]\n')
    return pytester


def test_a_test_that_leaves_something_fails(run: pytest.Pytester) -> None:
    """A task, a socket and a file that a test leaves are each an error of that test and of no other."""
    run.makepyfile("""
        import socket, tempfile, trio
        kept = []

        async def test_task():
            trio.lowlevel.spawn_system_task(trio.sleep_forever, name="detached")

        def test_socket():
            kept.append(socket.socket())

        def test_dropped_socket():
            class Owner:
                pass
            owner = Owner()
            owner.itself, owner.socket = owner, socket.socket()

        def test_file():
            kept.append(tempfile.NamedTemporaryFile(delete=False).close())

        async def test_clean(autojump_clock):
            await trio.sleep(1000)
    """)
    result = run.runpytest_subprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*LeakError*", "*task detached*"])
    result.stdout.fnmatch_lines(["*LeakError*", "*descriptor *socket:*"])
    result.stdout.fnmatch_lines(["*LeakError*", "*temporary file tmp*"])
    result.stdout.fnmatch_lines(["*unclosed <socket*"])
    result.assert_outcomes(passed=4, failed=1, errors=3)


def test_a_test_that_hangs_fails_on_every_clock(run: pytest.Pytester) -> None:
    """A test that waits for ever is ended by the wall clock, with what its tasks were doing."""
    run.makepyfile("""
        import pytest, time, trio
        pytestmark = pytest.mark.wall_seconds(0.2)

        async def test_on_the_real_clock():
            await trio.sleep_forever()

        async def test_on_a_clock_that_stands_still(mock_clock):
            await trio.sleep(1)

        async def test_on_a_clock_that_jumps(autojump_clock, nursery):
            nursery.start_soon(trio.sleep_forever)
            await trio.Event().wait()

        def test_without_trio():
            time.sleep(60)
    """)
    result = run.runpytest_subprocess("-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*took more than 0.2 s; its tasks were at:*", "*sleep_forever*"])
    result.assert_outcomes(failed=4)
