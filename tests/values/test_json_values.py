"""JSON content: what is read, what is refused before it costs anything, what is written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triohttp._values.json import _depth, dumps, loads
from triohttp.errors import ContentError

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.sampled_from('[]{}"\\a'), max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def nesting(value) -> int:
    """Return how deep a value is."""
    if isinstance(value, dict):
        return 1 + max(map(nesting, value.values()), default=0)
    return 1 + max(map(nesting, value), default=0) if isinstance(value, list) else 0


@given(VALUES)
def test_what_is_written_reads_back(value):
    """Any value survives, in UTF-8, whoever reads it."""
    data = dumps(value)
    assert loads(data) == value
    assert json.loads(data) == value


@given(VALUES, st.booleans())
def test_depth_is_counted_outside_strings(value, ascii_only):
    """The bound is exact: brackets in strings, quoted quotes and backslashes do not confuse it."""
    data = json.dumps(value, ensure_ascii=ascii_only, indent=1).encode()
    depth = nesting(value)
    assert _depth(data, 100) == depth
    assert loads(data, max_depth=depth) == value
    if depth:
        with pytest.raises(ContentError, match="nested"):
            loads(data, max_depth=depth - 1)


def test_the_default_depth():
    """64 levels are read, 65 are not, however much stands beside them."""
    assert loads(b"[" * 64 + b"]" * 64)
    assert loads(b"[" + b"[]," * 5000 + b"[]]")
    with pytest.raises(ContentError, match="at most 64 deep"):
        loads(b"[" * 65 + b"]" * 65)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"]" * 100_000 + b"[" * 100_000,
        b'["\\' * 50_000,
        b"[" * 65 + b'"' + b"]" * 65,
        b"",
        b" ",
        b"{",
        b'"',
        b'"\\',
        b"[1,]",
        b"{'a':1}",
        b"1 2",
        b"nul",
        b"\x00",
        b"NaN",
        b"-Infinity",
        b"[Infinity]",
        b"1e999999",
        b"-1e999",
        b"1" * 5000,
        b"01",
        b"\xef\xbb\xbf{}",
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        '{"a":1}'.encode("utf-32"),
        b'{"a":"\xff"}',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'{"\\uDFFF":1}',
        b'["\\ud800\\u0041"]',
        b'"a\nb"',
        b'"a\x00"',
    ],
)
def test_what_is_not_json(data):
    """Malformed, too deep, not UTF-8, no number, half a character: one error, and its text is short."""
    with pytest.raises(ContentError) as caught:
        loads(data)
    assert caught.value.reason == "json"
    assert caught.value.status == 400
    assert len(str(caught.value)) < 200


def test_pairs_of_surrogates_are_one_character():
    """An escaped pair is what it says, and so is an escaped backslash in front of a u."""
    assert loads(b'"\\ud83d\\ude00"') == "😀"
    assert loads(b'"\\\\ud800"') == "\\ud800"


def test_unique_keys():
    """The last of two equal names counts, unless one asks for an error."""
    data = b'{"a":1,"b":{"c":1,"c":2},"a":3}'
    assert loads(data) == {"a": 3, "b": {"c": 2}}
    with pytest.raises(ContentError, match="same name twice"):
        loads(data, unique_keys=True)
    assert loads(b'{"a":{"a":1}}', unique_keys=True) == {"a": {"a": 1}}


def test_writing_is_compact_and_utf_8():
    """No spaces, no escapes that UTF-8 does not need."""
    assert dumps({"a": [1, None, True, "é"]}) == '{"a":[1,null,true,"é"]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", [float("-inf")]])
def test_what_json_cannot_say(value):
    """A value outside JSON is our program's ValueError, which blames no peer."""
    with pytest.raises(ValueError) as caught:
        dumps(value)
    assert not isinstance(caught.value, ContentError)


def test_what_json_does_not_know():
    """An object of no JSON type is a TypeError, one inside itself a ValueError."""
    with pytest.raises(TypeError):
        dumps({"a": object()})
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ValueError, match=r"[Cc]ircular"):
        dumps(loop)
