"""The corpus of cookies: what servers say, and which requests then carry what."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from triohttp._client.cookie_jar import CookieJar
from triohttp._client.public_suffixes import is_known_suffix
from triohttp._values.url import URL
from triohttp.integrations.publicsuffix import is_public_suffix

CASES = tomllib.loads((Path(__file__).parent / "cookie_corpus.toml").read_text(encoding="utf-8"))["case"]
START = 1767225600.0  # 2026-01-01T00:00:00Z


def written_out(text: str) -> str:
    """Return a field with the letters that ``{v*9}`` stands for."""
    return re.sub(r"\{([a-z])\*([0-9]+)\}", lambda match: match[1] * int(match[2]), text)


@pytest.mark.parametrize("suffixes", [is_public_suffix, is_known_suffix], ids=["list", "built-in"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_what_is_kept_and_sent(case, suffixes):
    """Each request carries the cookies that RFC 6265bis gives it, with the public list and without."""
    now = START
    jar = CookieJar(clock=lambda: now, public_suffix=suffixes)
    for step in case["steps"]:
        if "from" in step:
            jar.store(URL(step["from"]), [written_out(line) for line in step["set"]])
        elif "to" in step:
            expected = written_out(step["sent"]) if step["sent"] else None
            assert jar.field_for(URL(step["to"])) == expected, step["to"]
        else:
            now += step["wait"]


def test_every_case_has_a_name_of_its_own():
    """A case that fails can be found."""
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names)) > 80
