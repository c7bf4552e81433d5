"""The reference of log records names every logger that the package writes to, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import triohttp

PACKAGE = Path(triohttp.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "logging.md"


def test_every_logger_is_in_the_reference() -> None:
    """Whoever configures logging finds all names on one page."""
    sources = (path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py") if "testing" not in path.parts)
    used = {name for source in sources for name in re.findall(r'getLogger\("(triohttp[\w.]*)"\)', source)}
    told = set(re.findall(r"^\| `(triohttp[\w.]*)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    assert used == told
