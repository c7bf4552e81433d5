"""Every Python block of the documentation and of the README, executed.

The blocks of a page are one program: each sees the names of those before it, ``await`` may stand at its outermost
level, and they run on one trio loop, over real sockets of the loopback network.

Rule 1: blocks that define ``test_…`` functions are run by pytest, below the page's other definitions, all at once.
Rule 2: ``trio.run(f, …)`` at the outermost level awaits ``f``; ``trio.run(serve, app)`` serves on a free port until the
        page ends or calls ``_page.interrupt()``, and ``http://127.0.0.1:8080`` in later blocks means that server.
Rule 3: ``<!-- run … -->`` holds code that readers do not see: what the page takes for granted, and what it promises.
Rule 4: every block names its language; only ``python`` is executed.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

import pytest
import trio

import triohttp

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]
LANGUAGES = {"console", "http", "ini", "python", "sh", "text", "toml"}
PAGE_SECONDS = 30
DEFAULT_URL = "http://127.0.0.1:8080"

FENCE = re.compile(r"^(?P<fence>`{3,}|:{3,}) ?(?P<info>.*?)\n(?P<code>.*?)^(?P=fence)\n", re.MULTILINE | re.DOTALL)
HIDDEN = re.compile(r"^<!-- run\n(?P<code>.*?)^-->\n", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    line: int
    language: str
    code: str

    @property
    def has_tests(self) -> bool:
        return bool(re.search(r"^(?:async )?def test_", self.code, re.MULTILINE))


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page in order, hidden ones included."""
    text = page.read_text(encoding="utf-8")
    found = [(match, match["info"].strip()) for match in FENCE.finditer(text)]
    found += [(match, "python") for match in HIDDEN.finditer(text)]
    blocks = [Block(text.count("\n", 0, match.start("code")) + 1, info, match["code"]) for match, info in found]
    return sorted(blocks)


def python_blocks(page: Path) -> list[Block]:
    return [block for block in blocks_of(page) if block.language == "python"]


class _RunBecomesAwait(ast.NodeTransformer):
    """Turn ``trio.run(f, …)`` outside of functions into ``await _page.run(f, …)``."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if ast.unparse(node.func) != "trio.run":
            return node
        node.func = ast.parse("_page.run", mode="eval").body
        return ast.copy_location(ast.Await(node), node)


class PageRun:
    """One page's namespace, nursery and server."""

    def __init__(self, page: Path, nursery: trio.Nursery) -> None:
        self._page = page
        self._nursery = nursery
        self._url = DEFAULT_URL
        self._server: triohttp.Server | None = None
        self.module = ModuleType(f"page_{page.stem.replace('-', '_')}")
        self.module.__dict__.update(_page=self, __name__=self.module.__name__)

    def compile(self, block: Block) -> CodeType:
        source = block.code.replace(DEFAULT_URL, self._url).replace('__name__ == "__main__"', "True")
        tree = ast.increment_lineno(_RunBecomesAwait().visit(ast.parse(source)), block.line - 1)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        return compile(ast.fix_missing_locations(tree), self._page, "exec", flags=flags, dont_inherit=True)

    async def execute(self, block: Block) -> None:
        code = self.compile(block)
        if code.co_flags & inspect.CO_COROUTINE:
            await eval(code, self.module.__dict__)
        else:
            exec(code, self.module.__dict__)

    async def run(self, function: Callable[..., Awaitable[object]], *args: object) -> None:
        """What ``trio.run`` does on a page."""
        options = {}
        target = function
        if isinstance(function, functools.partial):
            target, args, options = function.func, (*function.args, *args), function.keywords
        if target is triohttp.serve:
            await self.serve(*args, **options)
        else:
            await target(*args, **options)

    async def serve(self, app: object, *_address: object, **options: object) -> triohttp.Server:
        """Serve ``app`` on a free port until the page ends."""
        start = functools.partial(triohttp.serve, app, "127.0.0.1", 0, **options)
        self._server = await self._nursery.start(start)
        self._url = self._server.urls[0]
        return self._server

    async def interrupt(self) -> None:
        """What Ctrl-C does to the server of the page."""
        assert self._server is not None
        await self._server.shutdown(grace=1)


def run_tests_of(page: Path, directory: Path) -> None:
    """Give the tests of a page to pytest, with the definitions that stand around them."""
    statements = [one for block in python_blocks(page) for one in ast.parse(block.code).body]
    source = "\n".join(ast.unparse(one) for one in statements if not awaits(one))
    name = f"test_{page.stem.replace('-', '_')}.py"
    (directory / name).write_text(source, encoding="utf-8")
    (directory / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", name],
        cwd=directory, capture_output=True, text=True, check=False, timeout=80,
    )
    assert done.returncode == 0, f"{page.name}\n{done.stdout}{done.stderr}"


def awaits(statement: ast.stmt) -> bool:
    """Whether a statement of a page's outermost level awaits something, and so defines nothing."""
    tree = ast.Module([_RunBecomesAwait().visit(copy.deepcopy(statement))], [])
    compiled = compile(ast.fix_missing_locations(tree), "", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return bool(compiled.co_flags & inspect.CO_COROUTINE)


@pytest.mark.wall_seconds(120)
@pytest.mark.parametrize(
    "page", [one for one in PAGES if python_blocks(one)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever types in a page from top to bottom gets what the page says."""
    monkeypatch.chdir(tmp_path)

    async def run_page() -> None:
        async with trio.open_nursery() as nursery:
            run = PageRun(page, nursery)
            monkeypatch.setitem(sys.modules, run.module.__name__, run.module)
            with trio.fail_after(PAGE_SECONDS):
                for block in python_blocks(page):
                    if not block.has_tests:
                        await run.execute(block)
            nursery.cancel_scope.cancel()

    trio.run(run_page)
    if any(block.has_tests for block in python_blocks(page)):
        run_tests_of(page, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_block_escapes(page: Path) -> None:
    """A block in a language that nobody knows would be a block that nobody runs."""
    languages = {block.language for block in blocks_of(page)}
    unknown = {one for one in languages if one not in LANGUAGES and not re.match(r"\{[a-z-]+\}", one)}
    assert not unknown
    assert not [block.line for block in python_blocks(page) if not block.code.strip()]
