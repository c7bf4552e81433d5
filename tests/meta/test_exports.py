"""Every public name: it exists, it is documented, and the reference lists it.

Rule 1: public is what a public module holds under a name without an underscore: the façades import nothing else.
"""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
PUBLIC_MODULES = [
    "triohttp", "triohttp.errors", "triohttp.lowlevel", "triohttp.testing", "triohttp.har",
    "triohttp.integrations.oauth", "triohttp.integrations.redis",
]  # fmt: skip


def public_names(module: str) -> list[str]:
    """The names that a module promises: ``__all__``, or all that it holds when it only re-exports."""
    loaded = importlib.import_module(module)
    held = (name for name, value in vars(loaded).items() if not (name.startswith("_") or inspect.ismodule(value)))
    return list(getattr(loaded, "__all__", None) or (name for name in held if name != "annotations"))


def exports() -> list[tuple[str, str]]:
    return [(module, name) for module in PUBLIC_MODULES for name in public_names(module)]


def listed_names() -> set[str]:
    """Every name that a page of the reference documents, by itself or with its whole module."""
    names: set[str] = set()
    for page in REFERENCE.glob("*.md"):
        text = page.read_text(encoding="utf-8")
        names.update(re.findall(r"^\.\. (?:auto\w+|py:data):: ([\w.]+)", text, re.MULTILINE))
    names |= {f"{module}.{name}" for module in names & set(PUBLIC_MODULES) for name in public_names(module)}
    return names


LISTED = listed_names()


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_a_public_module_says_exactly_what_is_public(module: str) -> None:
    """A public module names things that exist, each once, none of them private."""
    loaded = importlib.import_module(module)
    names = public_names(module)
    assert names
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(loaded, name)] == []
    assert [name for name in names if name.startswith("_")] == []


@pytest.mark.parametrize(("module", "name"), exports(), ids=lambda value: value)
def test_a_public_name_is_documented(module: str, name: str) -> None:
    """A public class or function has a docstring, and so has each public method of a public class."""
    value = getattr(importlib.import_module(module), name)
    if not (inspect.isclass(value) or inspect.isroutine(value)):
        return
    assert (value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__), f"{name} has no docstring"
    if not inspect.isclass(value):
        return
    silent = []
    for attribute, member in vars(value).items():
        function = getattr(member, "__func__", member)
        if attribute.startswith("_") or not (inspect.isroutine(function) or isinstance(function, property)):
            continue
        if not inspect.getdoc(getattr(value, attribute)):
            silent.append(attribute)
    assert not silent, f"without a docstring in {name}: {silent}"


@pytest.mark.parametrize(("module", "name"), exports(), ids=lambda value: value)
def test_a_public_name_is_in_the_reference(module: str, name: str) -> None:
    """Whoever finds a name in the package finds it in the reference."""
    assert f"{module}.{name}" in LISTED, f"{module}.{name} is not in docs/reference"
