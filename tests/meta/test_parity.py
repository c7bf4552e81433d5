"""The parity table: what is built, what is not, and the tests that show it.

Rule 1: a row that says done or partly done names at least one test file, and every file that it names exists.
Rule 2: rows of finished work never fall back.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "parity.md"

ROWS = {"S": 16, "H": 18, "T": 5, "V": 9, "R": 2, "L": 1, "C": 16, "Z": 6, "O": 5}
"""Letter -> how many rows the table has of it."""

FINISHED = {
    "S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S14", "S15", "S16",
    "H1", "H2", "H3", "H4", "H6", "H7", "H11",
    *(f"C{number}" for number in range(1, 17)),
    "T4",
    "Z1", "Z2", "Z3", "Z4", "Z6",
}  # fmt: skip
STATES = {"done", "part", "not yet"}


class Row(NamedTuple):
    id: str
    capability: str
    state: str
    tests: list[str]


def read_rows() -> list[Row]:
    rows = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if re.fullmatch(r"[A-EG-Z]\d+", cells[0]):  # F is for findings
            assert len(cells) == 4, f"a row has four cells: {line}"
            rows.append(Row(cells[0], cells[1], cells[2], re.findall(r"`([^`]+)`", cells[3])))
    return rows


TABLE = read_rows()
FINDINGS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| F\d+ \|", line)
]


def test_the_table_has_every_row_once() -> None:
    """The table is complete: nothing that is missing is left out of it."""
    expected = [f"{letter}{number}" for letter, count in ROWS.items() for number in range(1, count + 1)]
    assert [row.id for row in TABLE] == expected


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.id)
def test_a_row_is_backed_by_tests_that_exist(row: Row) -> None:
    """What is called done has tests to show for it; what is not built yet claims none."""
    assert row.capability
    assert row.state in STATES
    missing = [name for name in row.tests if not (ROOT / "tests" / name).exists()]
    assert not missing
    assert bool(row.tests) == (row.state != "not yet")


def test_every_finding_is_answered() -> None:
    """What hurts users of other clients names its tests, which exist, or why it has none."""
    assert [row[0] for row in FINDINGS] == [f"F{number}" for number in range(1, 55)]
    assert all(len(row) == 3 and row[2] for row in FINDINGS)
    named = [name for row in FINDINGS for name in re.findall(r"`(\S+\.py)`", row[2])]
    assert not [name for name in named if not (ROOT / "tests" / name).exists()]


@pytest.mark.parametrize("identity", sorted(FINISHED))
def test_finished_work_stays_finished(identity: str) -> None:
    """A row that was filled once is never empty again."""
    row = next(row for row in TABLE if row.id == identity)
    assert row.state in {"done", "part"}
    assert row.tests
