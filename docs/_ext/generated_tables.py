"""Directives for what the reference takes from the code, and a reader for our docstring sections."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bounds import bounds_rows
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList

import triohttp

if TYPE_CHECKING:
    from sphinx.application import Sphinx

OWN_SECTIONS = re.compile(r"(Cancellation|Source|Checkpoints): ")


def error_lines(root: type[BaseException], depth: int = 0) -> Iterator[str]:
    """The classes below ``root`` that the package owns, as a nested list."""
    summary = (inspect.getdoc(root) or "").splitlines()[0].replace("\\", "\\\\")
    status = getattr(root, "status", None)
    told = f" Left alone by a handler it becomes {status}." if isinstance(status, int) else ""
    yield f"{'  ' * depth}* ``{root.__name__}``: {summary}{told}"
    yield ""
    for child in sorted(root.__subclasses__(), key=lambda one: one.__name__):
        if child.__module__.startswith("triohttp"):
            yield from error_lines(child, depth + 1)


class _Generated(Directive):
    required_arguments = 1

    def parse(self, lines: list[str]) -> list[nodes.Node]:
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, source="generated"), self.content_offset, container)
        return list(container.children)


class BoundsTable(_Generated):
    """``{bounds-table} Limits``: the fields of one class of bounds."""

    def run(self) -> list[nodes.Node]:
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 26 12 14 48", ""]
        rows = [(f"``{name}``", *rest) for name, *rest in bounds_rows(getattr(triohttp, self.arguments[0]))]
        for row in [("Field", "Default", "Unit", "What it bounds"), *rows]:
            for index, cell in enumerate(row):
                lines.append(f"   {'* -' if index == 0 else '  -'} {' '.join(cell.split())}")
        return self.parse([*lines, ""])


class ErrorTree(_Generated):
    """``{error-tree} TrioHTTPError``: the exceptions of the package below one class."""

    def run(self) -> list[nodes.Node]:
        root = getattr(triohttp.errors, self.arguments[0], None) or getattr(triohttp, self.arguments[0])
        return self.parse(list(error_lines(root)))


def own_sections(_app: Sphinx, _what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Turn our one-line docstring sections into fields."""
    out: list[str] = []
    inside = False
    for line in lines:
        found = OWN_SECTIONS.match(line)
        if found:
            out += ["", f":{found[1]}: {line[found.end() :]}"]
        elif inside and line.strip() and not line.startswith(" "):
            out += ["", line]
        else:
            out.append(line)
        inside = bool(found) or (inside and line.startswith(" "))
    lines[:] = out


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives; called by Sphinx."""
    app.add_directive("bounds-table", BoundsTable)
    app.add_directive("error-tree", ErrorTree)
    # Before napoleon, which would read an unknown section as the end of the one above it.
    app.connect("autodoc-process-docstring", own_sections, priority=400)
    return {"parallel_read_safe": True}
