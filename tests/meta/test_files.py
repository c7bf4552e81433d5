"""What every tracked file of the repository keeps to.

Rule 1: the list of files is git's, so build products and caches are never looked at.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 600


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, check=True, capture_output=True,
    ).stdout.decode()
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


FILES = tracked_files()
PYTHON = [path for path in FILES if path.suffix == ".py"]
TESTS = [path for path in PYTHON if path.relative_to(ROOT).parts[0] == "tests"]


def text_of(path: Path) -> str | None:
    """A file's text, None when it is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def lines_with(pattern: str, files: list[Path]) -> list[str]:
    compiled = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path in files
        for number, line in enumerate((text_of(path) or "").splitlines(), 1)
        if compiled.search(line)
    ]


def test_no_python_file_is_too_long() -> None:
    """A file holds one subject; 600 lines is the ceiling."""
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in PYTHON}
    assert not {name: length for name, length in lengths.items() if length > MAX_LINES}


def test_no_file_is_named_after_nothing() -> None:
    """``utils`` and its kin say nothing about what is inside."""
    empty_words = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}
    assert not [str(path) for path in PYTHON if path.stem.lstrip("_") in empty_words]


def test_no_machine_path_is_written_down() -> None:
    """Nobody's home directory is part of the project."""
    assert not lines_with(r"(^|[^a-zA-Z])/(?:root|home)/[a-z]", FILES)


def test_no_registry_address_is_written_down() -> None:
    """Where packages come from is the business of whoever installs them."""
    words = ["files.python" + "hosted", "pypi" + ".org", "index" + "-url", "find" + "-links", "registry" + ".npmjs"]
    assert not lines_with("|".join(map(re.escape, words)), FILES)


def test_no_lock_file_is_tracked() -> None:
    """Locks record download addresses, which differ from place to place."""
    locks = {"uv.lock", "pylock.toml", "poetry.lock", "Pipfile.lock", "package-lock.json"}
    assert not [path.name for path in FILES if path.name in locks]


def test_no_debt_is_left_in_the_code() -> None:
    """No stubs, no notes to ourselves: what is missing is said in the parity table."""
    words = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "Not" + "ImplementedError", "pragma: no " + "cover"]
    code = [path for path in PYTHON if path.relative_to(ROOT).parts[0] in {"triohttp", "tests", "examples"}]
    assert not lines_with(r"\b(?:" + "|".join(words) + r")\b", code)


def test_every_ignored_type_error_says_which() -> None:
    """``# type: ignore`` names its code, so that it hides one thing and not everything."""
    assert not lines_with(r"#\s*type:\s*ignore(?!\[)", [path for path in PYTHON if path != Path(__file__)])


def test_test_files_have_names_of_their_own() -> None:
    """Two test files never share a name, so a failure's name says where it is."""
    names = Counter(path.name for path in TESTS if path.name != "conftest.py")
    assert not [name for name, count in names.items() if count > 1]
    assert not [path for path in TESTS if path.name == "__init__.py"]


@pytest.mark.parametrize("path", [p for p in TESTS if p.name.startswith("test_")], ids=lambda path: path.name)
def test_every_test_is_a_promise(path: Path) -> None:
    """A test's docstring says what users may rely on."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    silent = [one.name for one in functions if one.name.startswith("test_") and not ast.get_docstring(one)]
    assert not silent


@pytest.mark.parametrize(
    "path", [p for p in PYTHON if p.relative_to(ROOT).parts[0] == "triohttp"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_file_of_the_package_says_what_it_owns(path: Path) -> None:
    """A file opens with a docstring, and its annotations are lazy."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    code = [node for node in tree.body if not isinstance(node, ast.Expr)]
    lazy = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in code)
    assert lazy or not any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in code)
