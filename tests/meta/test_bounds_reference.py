"""The reference of limits and timeouts: every field is in it, with a default and a meaning."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

import triohttp

DOCS = Path(__file__).parents[2] / "docs"
CLASSES = ["Limits", "Timeouts", "ClientLimits", "ClientTimeouts", "WebSocketLimits", "WebSocketTimeouts"]


def load_bounds() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_bounds", DOCS / "_ext" / "bounds.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CLASSES)
def test_every_bound_is_in_the_reference(name: str) -> None:
    """A bound that a program can set is in the table, with its default, its unit and what happens at it."""
    cls = getattr(triohttp, name)
    rows = load_bounds().bounds_rows(cls)
    assert [row[0] for row in rows] == [field.name for field in dataclasses.fields(cls)]
    assert [row[0] for row in rows if not all(row)] == []
    assert f"{{bounds-table}} {name}\n" in (DOCS / "reference" / "bounds.md").read_text(encoding="utf-8")
