"""The rooms of the package and the one way in which imports may point between them.

Rule 1: the table below is the architecture; a room that is not in it does not exist.
Rule 2: imports are read from the source, so nothing that is imported late or for type checking alone escapes.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest

import triohttp

PACKAGE = Path(triohttp.__file__).parent

VALUES = {"errors", "_values"}
WIRES = VALUES | {"_wire"}
PUBLIC = {"", "errors", "lowlevel"}

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "_values": {"errors"},
    "_wire": VALUES,
    "_turn": set(),
    "_connection": WIRES | {"_turn"},
    "_channels": WIRES | {"_turn"},
    "_server": WIRES | {"_connection"},
    "_client": WIRES | {"_connection", "_channels"},
    "_app": VALUES | {"_channels"},
    "middleware": PUBLIC,
    "har": PUBLIC,
    "servlets": PUBLIC,
    "integrations": PUBLIC,
    "testing": PUBLIC,
    "_cli": PUBLIC | {"testing", "integrations"},
    "__main__": {"_cli"},
    # The two façades re-export; they hold no logic of their own.
    "lowlevel": WIRES | {"_connection", "_server"},
    "": WIRES | {"_connection", "_channels", "_server", "_client", "_app"},
}
"""Room -> the rooms that it may import beside itself; "" is the front door, ``triohttp/__init__.py``."""

APP_WIRES = {
    f"triohttp._wire.{name}"
    for name in ("coding", "multipart", "sse", "websocket", "websocket_deflate", "websocket_handshake")
}
"""The wires that the web framework may use: formats that travel inside content, never HTTP itself."""

SANS_IO = {"_values", "_wire"}
OUTSIDE_OF_SANS_IO = {"anyio", "asyncio", "select", "selectors", "socket", "ssl", "threading", "trio"}


class Import(NamedTuple):
    file: str
    line: int
    room: str
    module: str
    name: str | None
    type_checking: bool
    relative: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.module}" + (f".{self.name}" if self.name else "")


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first if not first.endswith(".py") else first.removesuffix(".py").replace("__init__", "")


def imports_of(path: Path) -> list[Import]:
    """Every import of a file, absolute module names, with what is only imported for type checking marked."""
    found: list[Import] = []
    package = ("triohttp", *path.relative_to(PACKAGE).parts[:-1])

    def visit(node: ast.AST, type_checking: bool) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, True)
            for child in node.orelse:
                visit(child, type_checking)
            return
        if isinstance(node, ast.Import):
            for alias in node.names:
                add(node.lineno, alias.name, None, type_checking, False)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module or "") if part)
            for alias in node.names:
                add(node.lineno, module, alias.name, type_checking, bool(node.level))
        for child in ast.iter_child_nodes(node):
            visit(child, type_checking)

    def add(line: int, module: str, name: str | None, type_checking: bool, relative: bool) -> None:
        if module == "triohttp" and name and ((PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir()):
            module, name = f"triohttp.{name}", None
        where = str(path.relative_to(PACKAGE.parent))
        found.append(Import(where, line, room_of(path), module, name, type_checking, relative))

    visit(ast.parse(path.read_text(encoding="utf-8")), False)
    return found


FILES = sorted(PACKAGE.rglob("*.py"))
IMPORTS = [one for path in FILES for one in imports_of(path)]


def target_room(module: str) -> str | None:
    """The room that a module name belongs to, None when it is not ours."""
    parts = module.split(".")
    if parts[0] != "triohttp":
        return None
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES}))
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    """Layers point one way: a room imports itself and the rooms that the table names, nothing else."""
    assert room in ALLOWED, f"{room!r} is not a room of the architecture"
    wrong = []
    for one in IMPORTS:
        target = target_room(one.module)
        if one.room != room or target is None or target == room:
            continue
        if target in ALLOWED[room] or (room == "_app" and one.module in APP_WIRES):
            continue
        wrong.append(str(one))
    assert not wrong


def test_values_and_wires_do_no_io() -> None:
    """Below the connection there is no trio, no socket and no thread; annotations may name trio."""
    wrong = [
        str(one)
        for one in IMPORTS
        if one.room in SANS_IO and one.module.split(".")[0] in OUTSIDE_OF_SANS_IO and not one.type_checking
    ]
    assert not wrong


def test_values_and_wires_have_no_clock() -> None:
    """Below the connection nobody asks what time it is; the module ``time`` only converts dates there."""
    clocks = re.compile(r"\btime\.(?:time|monotonic|perf_counter|sleep)\b|\bdatetime\.now\b")
    sources = {path: path.read_text(encoding="utf-8") for path in FILES if room_of(path) in SANS_IO}
    assert not [str(path) for path, source in sources.items() if clocks.search(source)]


def test_the_framework_sees_no_transport() -> None:
    """The web framework imports no socket, no TLS and no HTTP parser."""
    transport = {"h11", "socket", "ssl", "trio.socket"}
    wrong = [str(one) for one in IMPORTS if one.room == "_app" and one.module in transport]
    assert not wrong


def test_only_the_wire_speaks_h11() -> None:
    """h11 is an implementation detail of one room; the test tools read raw connections with it, to check on us."""
    assert {one.room for one in IMPORTS if one.module.split(".")[0] == "h11"} <= {"_wire", "testing"}


def test_what_stands_on_the_public_names_uses_only_them() -> None:
    """Testing, archives, integrations, servlets and the command line import documented names, as a user would."""
    above = {"testing", "har", "integrations", "servlets", "middleware", "_cli"}
    wrong = [
        str(one)
        for one in IMPORTS
        if one.room in above and one.module in {"triohttp", "triohttp.lowlevel"} and (one.name or "").startswith("_")
    ]
    assert not wrong


def test_imports_are_absolute_across_rooms_and_relative_inside_one() -> None:
    """``from .headers import`` never leaves a room, ``from triohttp._values.headers import`` never stays in one."""
    wrong = []
    for one in IMPORTS:
        target = target_room(one.module)
        if target is None or one.room in {"", "testing"}:
            continue
        if one.relative != (target == one.room):
            wrong.append(str(one))
    assert not wrong
