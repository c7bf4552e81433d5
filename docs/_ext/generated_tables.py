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
    summary = (inspect.getdoc(root) or "").splitlines()[0]
    status = vars(root).get("status")
    told = f" → {status}" if isinstance(status, int) and status != 500 and not summary.startswith(str(status)) else ""
    if root.__name__.startswith("_"):  # what its children have in common is nobody's business
        depth -= 1
    else:
        yield f"{'  ' * depth}* `{root.__name__}`{told}: {summary}"
    for child in sorted(root.__subclasses__(), key=lambda one: one.__name__):
        if child.__module__.startswith("triohttp"):
            yield from error_lines(child, depth + 1)


class _Generated(Directive):
    """What a directive returns is parsed as the page is: as Markdown."""

    required_arguments = 1

    def parse(self, lines: list[str]) -> list[nodes.Node]:
        container = nodes.Element()
        self.state.nested_parse(StringList(lines, source="generated"), self.content_offset, container)
        return list(container.children)


class BoundsTable(_Generated):
    """``{bounds-table} Limits``: the fields of one class of bounds."""

    def run(self) -> list[nodes.Node]:
        rows = [(f"`{name}`", *rest) for name, *rest in bounds_rows(getattr(triohttp, self.arguments[0]))]
        table = [("Field", "Default", "Unit", "What it bounds"), ("---",) * 4, *rows]
        return self.parse([f"| {' | '.join(' '.join(cell.split()) for cell in row)} |" for row in table])


class ErrorTree(_Generated):
    """``{error-tree} TrioHTTPError``: the exceptions of the package below one class."""

    def run(self) -> list[nodes.Node]:
        root = getattr(triohttp.errors, self.arguments[0], None) or getattr(triohttp, self.arguments[0])
        return self.parse(list(error_lines(root)))


def own_sections(_app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Turn our one-line docstring sections into fields, and keep napoleon from seeing types where there are none."""
    if what == "module":  # it speaks to those who change the file
        lines.clear()
    if what in {"attribute", "data", "property"} and lines and ":" in lines[0]:
        lines[0] = f": {lines[0]}"  # an empty type, so that what stands before the colon is not taken for one
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
