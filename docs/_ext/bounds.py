"""What the reference says of each bound, read from the classes that hold them.

Rule 1: everything is read from the package when it is asked for, so it cannot grow old.
Rule 2: no Sphinx and no docutils here: a test reads the same rows.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import math
from typing import Any

UNITS = {"bytes": "bytes", "seconds": "seconds", "rate": "bytes a second", "ratio": "ratio"}


def unit_of(name: str) -> str:
    """The unit that a bound's name ends in; a count has none."""
    return UNITS.get(name.rpartition("_")[2], "count")


def default_of(field: dataclasses.Field[Any]) -> str:
    """A default as people write it: binary multiples for sizes, words for no bound."""
    value = field.default
    if value is None or value == math.inf:
        return "none"
    if unit_of(field.name) == "bytes" and isinstance(value, int) and value >= 1024:
        return f"{value // (1024 * 1024)} MiB" if value % (1024 * 1024) == 0 else f"{value // 1024} KiB"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def field_docs(cls: type) -> dict[str, str]:
    """The string that follows each field in the source of a class."""
    body = ast.parse(inspect.cleandoc(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            docs[field.target.id] = inspect.cleandoc(str(text.value.value))
    return docs


def bounds_rows(cls: type) -> list[tuple[str, str, str, str]]:
    """One row a field: name, default, unit, and what the bound is about (empty when nobody wrote it down)."""
    docs = field_docs(cls)
    fields = dataclasses.fields(cls)
    return [(one.name, default_of(one), unit_of(one.name), docs.get(one.name, "")) for one in fields]
