"""What reads a stranger's text takes time in proportion to it: shown by counting and by form, never by a clock."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable
from re import _constants as ops
from re import _parser as parser

import pytest

import triohttp._values
from triohttp._values.authority import parse_authority
from triohttp._values.cookies import parse_cookies, parse_set_cookie
from triohttp._values.dates import parse_cookie_date, parse_http_date
from triohttp._values.grammar import split_list, split_parameters
from triohttp._values.headers import Headers
from triohttp._values.json import loads
from triohttp._values.media_types import MediaType
from triohttp._values.query import Query
from triohttp._values.url import URL
from triohttp.errors import TrioHTTPError


def lines_run(function: Callable[[str], object], text: str) -> int:
    """Return how many lines of Python ran in ``function(text)``, whatever came of it."""
    count = 0

    def trace(_frame, event, _argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(text)
    except TrioHTTPError:
        pass
    finally:
        sys.settrace(before)
    return count


READERS = {
    "cookies": lambda text: parse_cookies([text], max_pairs=10**9, max_bytes=10**9),
    "set-cookie": parse_set_cookie,
    "query": lambda text: Query.parse(text, max_fields=10**9),
    "query, strictly": lambda text: Query.parse(text, max_fields=10**9, strict=True),
    "media type": lambda text: MediaType.parse("a/b;" + text),
    "list": lambda text: list(split_list(text)),
    "parameters": lambda text: list(split_parameters(text)),
    "date": parse_http_date,
    "cookie date": parse_cookie_date,
    "authority": lambda text: parse_authority(text.encode()),
    "url": URL,
    "path": lambda text: URL("http://a/" + text),
    "userinfo": lambda text: URL("http://" + text + "@a/"),
    "reference": lambda text: URL("http://a/b").join(text),
    "json": lambda text: loads(text.encode()),
    "json in an array": lambda text: loads(b"[" + text.encode() + b"]"),
    "fields": lambda text: [
        headers := Headers.from_wire([(b"a", piece.encode()) for piece in text.split(";")]),
        headers["a"],
        headers.get_all("a"),
    ],
}
SHAPES = [
    "a=b;",
    "\\",
    '"',
    '"\\',
    '="\\"',
    ";",
    ",",
    "a;q=",
    "&",
    "%",
    "%41",
    "a=1&",
    "/..",
    "/a",
    "[",
    "[]",
    "{",
    '"a",',
    " ",
    "\t;",
    "@",
    ":",
    "é",
    "1",
    "1:",
    "for=a  ",
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reader", READERS)
def test_twice_the_text_runs_twice_the_lines(reader, shape):
    """Every reader, with every shape that made some parser quadratic, runs lines in proportion to the text."""
    once, twice = (lines_run(READERS[reader], shape * count) for count in (400, 800))
    assert twice <= 2.2 * once + 50


def patterns() -> dict[str, re.Pattern]:
    """Return every compiled expression of the room by its place."""
    found = {}
    for module in pkgutil.iter_modules(triohttp._values.__path__):
        for name, value in vars(importlib.import_module(f"triohttp._values.{module.name}")).items():
            for number, pattern in enumerate(value if isinstance(value, tuple) else [value]):
                if isinstance(pattern, re.Pattern):
                    found[f"{module.name}.{name}[{number}]"] = pattern
    return found


def unbounded_repeats(pattern, inside: bool = False) -> list[tuple[bool, object]]:
    """Return each repeat without a bound: whether it stands in another one, and what it repeats."""
    found: list[tuple[bool, object]] = []
    for code, argument in pattern:
        if code in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
            unbounded = argument[1] is ops.MAXREPEAT
            if unbounded:
                found.append((inside, argument[2]))
            found += unbounded_repeats(argument[2], inside or unbounded)
        elif code is ops.SUBPATTERN:
            found += unbounded_repeats(argument[3], inside)
        elif code is ops.BRANCH:
            for branch in argument[1]:
                found += unbounded_repeats(branch, inside)
        elif code in (ops.ASSERT, ops.ASSERT_NOT):
            found += unbounded_repeats(argument[1], inside)
        elif code is ops.ATOMIC_GROUP:
            found += unbounded_repeats(argument, inside)
    return found


@pytest.mark.parametrize("place", patterns())
def test_no_expression_repeats_within_a_repeat(place):
    """No regular expression can try a text in exponentially many ways: no repeat without a bound inside another one."""
    pattern = patterns()[place]
    assert not [body for inside, body in unbounded_repeats(parser.parse(pattern.pattern, pattern.flags)) if inside]


def test_there_are_expressions_to_look_at():
    """The search for expressions finds them, and the check sees a bad one."""
    assert len(patterns()) > 15
    assert any(inside for inside, _ in unbounded_repeats(parser.parse("(a+b?)*c")))
