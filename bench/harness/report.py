"""What the bench says: progress on standard error, tables on standard output and in files.

Rule 1: a figure is the median of its rounds, shown with the least and the greatest of them.
Rule 2: the tables are Markdown, so what is read on the terminal is what goes into the documentation; the JSON beside
them holds every single reading.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Figure", "Report", "Table", "progress", "ratio"]

_started = time.monotonic()


def progress(text: str) -> None:
    """Write one line about what is going on."""
    print(f"[{time.monotonic() - _started:6.1f} s] {text}", file=sys.stderr, flush=True)


@dataclass
class Figure:
    """Readings of one quantity, one a round."""

    unit: str
    readings: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.readings)

    def __str__(self) -> str:
        if not self.readings:
            return "–"
        digits = 0 if self.median >= 100 else 1 if self.median >= 10 else 2
        median, low, high = (f"{value:.{digits}f}" for value in (self.median, min(self.readings), max(self.readings)))
        return median if len(self.readings) == 1 else f"{median} ({low}–{high})"


def ratio(own: Figure, other: Figure) -> str:
    """Return the median of the ratios between readings that were taken in the same turn."""
    return f"{statistics.median(a / b for a, b in zip(own.readings, other.readings, strict=True)):.2f}"


@dataclass
class Table:
    """One table of a report; a cell is text or a figure."""

    title: str
    columns: Sequence[str]
    rows: list[list[str | Figure]] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the table as Markdown, its columns lined up for reading as plain text."""
        lines = [list(self.columns)] + [[str(cell) for cell in row] for row in self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        padded = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
            for line in lines
        ]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([f"{self.title}\n", padded[0], rule, *padded[1:]])

    def as_data(self) -> dict[str, object]:
        """Return the table as JSON takes it, with every reading."""
        rows = [
            [{"unit": cell.unit, "readings": cell.readings} if isinstance(cell, Figure) else cell for cell in row]
            for row in self.rows
        ]
        return {"title": self.title, "columns": list(self.columns), "rows": rows}


@dataclass
class Report:
    """Everything that one run of the bench found out."""

    command: str
    versions: dict[str, str]
    tables: list[Table] = field(default_factory=list)

    def add(self, table: Table) -> None:
        """Take one more table, and show it."""
        self.tables.append(table)
        print(f"\n{table.markdown()}\n", flush=True)

    def write(self, folder: Path) -> Path:
        """Write ``<date>-<time>.md`` and ``.json`` into the folder and return the path of the first."""
        folder.mkdir(parents=True, exist_ok=True)
        name = time.strftime("%Y%m%d-%H%M%S")
        machine = f"Python {platform.python_version()}, {platform.system()} {platform.release()}, {_processor()}"
        packages = ", ".join(f"{package} {version}" for package, version in sorted(self.versions.items()))
        text = [f"`{self.command}` on {time.strftime('%Y-%m-%d')}", machine, packages]
        path = folder / f"{name}.md"
        path.write_text("\n\n".join(text + [table.markdown() for table in self.tables]) + "\n")
        data = {
            "command": self.command,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "machine": machine,
            "versions": self.versions,
            "tables": [table.as_data() for table in self.tables],
        }
        (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
        return path


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
