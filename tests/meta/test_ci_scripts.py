"""The scripts of continuous integration: a check that cannot fail would be worse than none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CASES = {
    "passed": '<testcase classname="a" name="test_one"/>',
    "skipped": '<testcase classname="a" name="test_two"><skipped type="pytest.skip" message="no curl"/></testcase>',
    "xfailed": '<testcase classname="a" name="test_three"><skipped type="pytest.xfail" message="a bug"/></testcase>',
}


def check(directory: Path, cases: list[str], allowed: str = "") -> subprocess.CompletedProcess[str]:
    report, leave = directory / "report.xml", directory / "allowed"
    inside = "".join(CASES[name] for name in cases)
    report.write_text(f"<testsuites><testsuite>{inside}</testsuite></testsuites>", encoding="utf-8")
    leave.write_text(allowed, encoding="utf-8")
    command = [sys.executable, str(ROOT / ".ci" / "check-skips"), str(report), str(leave)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("cases", "allowed", "status"),
    [
        (["passed"], "", 0),
        (["passed", "skipped"], "", 1),
        (["passed", "xfailed"], "", 1),
        (["passed", "skipped"], "# a comment\n^a::test_two: no curl$\n", 0),
        (["passed", "skipped", "xfailed"], "^a::test_two: no curl$\n", 1),
        ([], "", 1),
    ],
)
def test_a_skip_needs_leave(tmp_path: Path, cases: list[str], allowed: str, status: int) -> None:
    """A skipped test that nobody allowed fails the run, and so does a run without tests."""
    done = check(tmp_path, cases, allowed)
    assert done.returncode == status, done.stdout + done.stderr


def test_the_readme_has_the_two_commands() -> None:
    """The commands that continuous integration tries are in the README, one line each, ready to be copied."""
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("pip install")] == [
        "pip install -q uv rust-just && just demo",
        "pip install -q uv rust-just && just test",
    ]
